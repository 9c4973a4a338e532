"""Graphs of TensorFlow 1: a `.pb` or `.pbtxt`, frozen or with the `.ckpt` of its variables.

Such a file names no inputs and outputs, and a graph from the days of training holds much that a
step has no use for: the loop over time, the loss, the optimizer, the saver. Inputs are the
placeholders; outputs are ends of the graph, of which those are taken that come without a loop
from placeholders which look like states, or, where there are none, the largest part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2

from train.convert.source import (
    Arrays,
    Entry,
    Source,
    Variable,
    clean,
    first_line,
    make_entry,
    spec,
)

v1 = tf.compat.v1

_VARIABLES = frozenset(("Variable", "VariableV2", "VarHandleOp"))
_LOOPS = frozenset(
    ("Enter", "Exit", "NextIteration", "LoopCond", "While", "StatelessWhile", "Switch", "Merge",
     "If", "StatelessIf", "Case")
)  # fmt: skip
# Ends of a graph that say nothing of what it predicts.
_NO_OUTPUT = frozenset(
    ("NoOp", "Assert", "Const", "Placeholder", "PlaceholderWithDefault", "SaveV2", "RestoreV2",
     "Assign", "AssignVariableOp", "AssignAdd", "AssignSub", "VarIsInitializedOp",
     "IsVariableInitialized", "ReadVariableOp", "BroadcastGradientArgs", "Shape", "StringJoin",
     "ShardedFilename", "MergeV2Checkpoints", "TruncatedNormal", "RandomUniform",
     "RandomStandardNormal", "ScalarSummary", "HistogramSummary", "MergeSummary", "Print", "Exit")
)  # fmt: skip
_MAKES_STATES = frozenset(("Add", "AddV2", "Mul", "Sub", "Select", "SelectV2"))
_PICKS = frozenset(("ArgMax", "ArgMin", "TopK", "TopKV2", "InTopK", "InTopKV2"))
_NO_OUTPUT_BEGINNINGS = ("save/", "gradients/", "init", "report_uninitialized")


class End(NamedTuple):
    """An end of the graph: its tensor, the placeholders it comes from, whether a loop is on the
    way, and how many ops are."""

    tensor: str
    inputs: frozenset[str]
    looped: bool
    ops: int


def read_graphdef(
    path: Path, checkpoint: Path | None, inputs: Sequence[str], outputs: Sequence[str]
) -> Source:
    """A graph with the tensors that are given, or found, as inputs and outputs.

    Raises ValueError where the file is no graph, where its variables have no values, or where
    no inputs and outputs are found.
    """
    definition = _read(path)
    values, chosen = {}, []
    variables = [node.name for node in definition.node if node.op in _VARIABLES]
    if variables:
        checkpoint = checkpoint or _beside(path)
        if checkpoint is None:
            raise ValueError(
                f"{path} has {len(variables)} variables and no values for them; give --checkpoint "
                "the .ckpt that was saved with it, or freeze it"
            )
        values = _values(checkpoint)
        chosen.append(f"variables from the checkpoint {checkpoint}")
    elif checkpoint is not None:
        raise ValueError(f"{path} is frozen and has no variables; leave --checkpoint away")
    graph = tf.Graph()
    with graph.as_default():
        try:
            tf.import_graph_def(definition, name="")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is no graph that this TensorFlow can read ({first_line(error)}); give "
                "another"
            ) from error
    ends = find_ends(graph)
    gives = [_tensor(graph, name) for name in outputs] or choose(
        graph, ends, [_tensor(graph, name).name for name in inputs]
    )
    takes = [_tensor(graph, n) for n in inputs] or placeholders_of(graph, gives)
    if not takes or not gives:
        raise ValueError(
            f"{path}: no inputs and outputs are found; give them with --inputs and --outputs, of "
            f"{', '.join(_some(op.name for op in graph.get_operations()))}"
        )
    if not (inputs and outputs):
        left = sorted({end.tensor for end in ends} - {t.name for t in gives})
        chosen.append(
            f"inputs {', '.join(t.name for t in takes)}; outputs "
            f"{', '.join(t.name for t in gives)}"
            + (f"; not {', '.join(_some(left, 4))}" if left else "")
            + " (--inputs, --outputs)"
        )
    chosen += lost_states(graph, takes, gives)
    session = v1.Session(graph=graph)
    known = _restore(session, values, gives)
    entry = _entry("step", session, _named(takes), _named(gives))
    kind = (
        "a graph of TensorFlow 1 with a checkpoint" if values else "a frozen graph of TensorFlow 1"
    )
    return Source(kind, (entry,), known, tuple(chosen))


def is_of_tensorflow_1(path: Path) -> bool:
    """Whether a SavedModel's folder was written by TensorFlow 1, which kept no objects."""
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((path / "saved_model.pb").read_bytes())
    except DecodeError as error:
        raise ValueError(first_line(error)) from error
    graphs = saved.meta_graphs
    return bool(graphs) and not graphs[0].HasField("object_graph_def")


def read_saved_model_1(path: Path) -> Source:
    """A SavedModel of TensorFlow 1, its signatures by the tensors that they name."""
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    tags = [list(graph.meta_info_def.tags) for graph in saved.meta_graphs]
    wanted = next((t for t in tags if t == [v1.saved_model.tag_constants.SERVING]), tags[0])
    graph = tf.Graph()
    session = v1.Session(graph=graph)
    with graph.as_default():
        meta = v1.saved_model.load(session, wanted, str(path))
    entries = []
    for name, signature in sorted(meta.signature_def.items()):
        takes, gives = (
            {clean(key): graph.get_tensor_by_name(info.name) for key, info in ends.items()}
            for ends in (signature.inputs, signature.outputs)
        )
        if takes and gives:
            entries.append(_entry(clean(name), session, takes, gives))
    if not entries:
        raise ValueError("it has no signatures with inputs and outputs")
    with graph.as_default():
        variables = tuple(
            Variable.of(v.op.name, v.shape, v.dtype.base_dtype) for v in v1.global_variables()
        )
    chosen = (f"signatures {', '.join(e.name for e in entries)} (--signature)",)
    return Source(
        "a SavedModel of TensorFlow 1", tuple(entries), variables,
        chosen if len(entries) > 1 else (),
    )  # fmt: skip


def _read(path: Path) -> Any:
    definition = v1.GraphDef()
    try:
        if path.suffix == ".pbtxt":
            text_format.Parse(path.read_text(encoding="utf-8"), definition)
        else:
            definition.ParseFromString(path.read_bytes())
    except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no GraphDef ({first_line(error)}); give another file"
        ) from error
    if not definition.node:
        raise ValueError(f"{path} holds an empty graph; give another file")
    return definition


def _beside(path: Path) -> Path | None:
    """The checkpoint that lies by a graph: of the same name, or the latest of the folder."""
    for prefix in (path.with_suffix(".ckpt"), path.with_suffix("")):
        if prefix.with_name(prefix.name + ".index").exists():
            return prefix
    latest = tf.train.latest_checkpoint(str(path.parent))
    only = list(path.parent.glob("*.index"))
    if latest is None and len(only) == 1:
        return only[0].with_suffix("")
    return None if latest is None else Path(latest)


def _values(prefix: Path) -> dict[str, NDArray[Any]]:
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{prefix} is no checkpoint ({first_line(error)}); give the prefix that stands before "
            ".index and .data"
        ) from error


def find_ends(graph: tf.Graph) -> list[End]:
    """The tensors that nothing reads but what trains, saves, checks or picks the best."""
    found = []
    for op in graph.get_operations():
        if _says_nothing(op) or not op.outputs:
            continue
        readers = [c for out in op.outputs for c in out.consumers()]
        if any(not _says_nothing(c) and c.type not in _PICKS for c in readers):
            continue
        for out in op.outputs:
            if out.dtype.is_floating or out.dtype.is_integer:
                end = _end(out)
                if end.inputs:
                    found.append(end)
    return found


def _says_nothing(op: tf.Operation) -> bool:
    return op.type in _NO_OUTPUT or op.name.startswith(_NO_OUTPUT_BEGINNINGS)


def _is_input(op: tf.Operation) -> bool:
    """Whether an op is fed: a placeholder, also one with a default where that is a whole array,
    such as a zero state; a single number, such as what a dropout keeps, stays as it is."""
    whole = op.type == "PlaceholderWithDefault" and op.outputs[0].shape.rank != 0
    return bool(whole) or op.type == "Placeholder"


def _before(tensor: tf.Tensor) -> list[tf.Operation]:
    """The ops that a tensor comes from; of an input's default nothing."""
    left, seen = [tensor.op], {tensor.op.name: tensor.op}
    while left:
        op = left.pop()
        for before in () if _is_input(op) else (t.op for t in op.inputs):
            if before.name not in seen:
                seen[before.name] = before
                left.append(before)
    return list(seen.values())


def _end(tensor: tf.Tensor) -> End:
    ops = _before(tensor)
    inputs = frozenset(op.outputs[0].name for op in ops if _is_input(op))
    return End(tensor.name, inputs, any(op.type in _LOOPS for op in ops), len(ops))


def choose(graph: tf.Graph, ends: Sequence[End], inputs: Sequence[str]) -> list[tf.Tensor]:
    """The outputs, of the ends of a graph. inputs: those that may be read, where they are given."""
    able = [end for end in ends if not inputs or end.inputs <= set(inputs)]
    able = [end for end in able if not end.looped] or able
    stateful = [end for end in able if any(_same(graph, end.tensor, into) for into in end.inputs)]
    if stateful:
        states = frozenset(t for end in stateful for t in end.inputs)
        able = [end for end in able if end.inputs & states and end.inputs <= states]
    elif able:
        most = max(able, key=lambda end: end.ops)
        able = _unjudged(graph, most) or [end for end in able if end.inputs == most.inputs]
    return [graph.get_tensor_by_name(end.tensor) for end in able]


def _unjudged(graph: tf.Graph, end: End) -> list[End]:
    """Where an end is a single number, as a loss is: what it is made of that needs the least to
    be fed, the labels not, and is the furthest on of that."""
    tensor = graph.get_tensor_by_name(end.tensor)
    if tensor.shape.rank != 0 or len(end.inputs) < 2:
        return []
    inside = [
        _end(out)
        for op in _before(tensor)
        for out in op.outputs
        if out.dtype.is_floating and not _is_input(op)
        if out.shape.rank and out.shape[-1] is not None  # of the softmax's own insides it is not
    ]
    some = [found for found in inside if found.inputs and found.inputs < end.inputs]
    return [max(some, key=lambda found: found.ops)] if some else []


def _same(graph: tf.Graph, out: str, into: str) -> bool:
    """Whether an output could be fed back: of the type and shape of a placeholder."""
    return _fits(graph.get_tensor_by_name(out), graph.get_tensor_by_name(into))


def _fits(out: tf.Tensor, into: tf.Tensor) -> bool:
    return bool(
        out.dtype == into.dtype
        and out.dtype.is_floating
        and out.shape.rank
        and out.shape.rank == into.shape.rank
        and out.shape.is_compatible_with(into.shape)
    )


def placeholders_of(graph: tf.Graph, outputs: Iterable[tf.Tensor]) -> list[tf.Tensor]:
    """The inputs that outputs come from, in the order of the graph."""
    names = {name for out in outputs for name in _end(out).inputs}
    return [
        op.outputs[0] for op in graph.get_operations() if op.outputs and op.outputs[0].name in names
    ]


def lost_states(
    graph: tf.Graph, takes: Sequence[tf.Tensor], gives: Sequence[tf.Tensor]
) -> list[str]:
    """A sentence where inputs may be states that no output gives back, with what inside of the
    graph could: the last sums and products of that shape on the way, as c and h of a cell are."""
    lost = [t for t in takes if t.dtype.is_floating and (t.shape.rank or 0) > 1]
    lost = [t for t in lost if not any(_fits(out, t) for out in gives)]
    on_the_way = {op.name for out in gives for op in _before(out)}
    inside = [
        op
        for op in graph.get_operations()
        if op.name in on_the_way
        and op.type in _MAKES_STATES
        and any(_fits(op.outputs[0], t) and t.name in _end(op.outputs[0]).inputs for t in lost)
    ]
    if not inside:
        return []
    likely = ", ".join(op.name for op in inside[-3:])
    return [
        f"{', '.join(t.op.name for t in lost)} may be states, and no output gives them back; the "
        f"last of their shape are {likely} (--outputs)"
    ]


def _tensor(graph: tf.Graph, name: str) -> tf.Tensor:
    try:
        return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError):
        raise ValueError(
            f"the graph has no tensor {name}; there are "
            f"{', '.join(_some(op.name for op in graph.get_operations()))}"
        ) from None


def _some(names: Iterable[str], most: int = 12) -> list[str]:
    found = list(names)
    return found if len(found) <= most else [*found[:most], f"{len(found) - most} more"]


def _named(tensors: Iterable[tf.Tensor]) -> dict[str, tf.Tensor]:
    names: dict[str, tf.Tensor] = {}
    for tensor in tensors:
        names[clean(tensor.name, names)] = tensor
    return names


def _entry(
    name: str, session: Any, takes: Mapping[str, tf.Tensor], gives: Mapping[str, tf.Tensor]
) -> Entry:
    """Run in a session as it is, and frozen for the converter."""

    def live(arrays: Arrays) -> dict[str, NDArray[Any]]:
        fed = {takes[n].name: value for n, value in arrays.items() if n in takes}
        found = session.run(dict(gives), fed)
        return {n: np.asarray(value) for n, value in found.items()}

    definition = session.graph.as_graph_def()
    ends = [t.op.name for t in gives.values()]
    frozen = v1.graph_util.convert_variables_to_constants(session, definition, ends)

    def function(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        # What nothing reads is not in the frozen graph.
        kept = {node.name for node in frozen.node}
        fed = {takes[n].name: t for n, t in tensors.items() if takes[n].op.name in kept}
        wanted = [t.name for t in gives.values()]
        return dict(zip(gives, tf.import_graph_def(frozen, fed, wanted, name=""), strict=True))

    specs = {n: spec(t.shape, t.dtype, n) for n, t in takes.items()}
    return make_entry(name, function, specs, live)


def _restore(
    session: Any, values: dict[str, NDArray[Any]], outputs: Sequence[tf.Tensor]
) -> tuple[Variable, ...]:
    """Give the variables that outputs read their values; raises ValueError where one has none."""
    left, seen, found = [t.op for t in outputs], set[str](), []
    while left:
        op = left.pop()
        if op.name in seen:
            continue
        seen.add(op.name)
        left += [t.op for t in op.inputs]
        if op.type not in _VARIABLES:
            continue
        name = op.name
        shape = op.get_attr("shape")
        dtype = tf.dtypes.as_dtype(op.get_attr("dtype"))
        if name not in values:
            raise ValueError(
                f"the checkpoint has no value for {name}; it has {', '.join(_some(sorted(values)))}"
            )
        with session.graph.as_default():
            value = tf.constant(values[name], dtype)
            if op.type == "VarHandleOp":
                assign = tf.raw_ops.AssignVariableOp(resource=op.outputs[0], value=value)
            else:
                assign = tf.raw_ops.Assign(ref=op.outputs[0], value=value)
        session.run(assign)
        found.append(Variable.of(name, [d.size for d in shape.dim], dtype))
    return tuple(sorted(found, key=lambda v: v.name))
