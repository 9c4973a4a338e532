"""Graphs of TensorFlow 1: a `.pb` or `.pbtxt`, frozen or with the `.ckpt` of its variables.

Such a file names no inputs and outputs, and a graph from the days of training holds much that a
step has no use for: the loop over time, the loss, the optimizer, the saver. Inputs are the
placeholders; outputs are ends of the graph, of which those are taken that come without a loop
from placeholders which look like states, or, where there are none, the largest part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

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
    graph = tf.Graph()
    with graph.as_default():
        try:
            tf.import_graph_def(definition, name="")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is no graph that this TensorFlow can read ({first_line(error)}); give "
                "another"
            ) from error
    ends = _ends(graph)
    wanted_outputs = [_tensor(graph, name) for name in outputs] or _choose(graph, ends, inputs)
    fed = [_tensor(graph, n) for n in inputs] or _placeholders_of(graph, wanted_outputs)
    if not fed or not wanted_outputs:
        raise ValueError(
            f"{path}: no inputs and outputs are found; give them with --inputs and --outputs, of "
            f"{', '.join(_some(op.name for op in graph.get_operations()))}"
        )
    if not (inputs and outputs):
        left = sorted({end.tensor for end in ends} - {t.name for t in wanted_outputs})
        chosen.append(
            f"inputs {', '.join(t.name for t in fed)}; outputs "
            f"{', '.join(t.name for t in wanted_outputs)}"
            + (f"; not {', '.join(_some(left, 4))}" if left else "")
            + " (--inputs, --outputs)"
        )
    return _source(graph, values, fed, wanted_outputs, tuple(chosen), bool(variables))


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


def _ends(graph: tf.Graph) -> list[End]:
    """The tensors that nothing reads but what trains, saves or checks."""
    found = []
    for op in graph.get_operations():
        if _says_nothing(op) or not op.outputs:
            continue
        readers = [c for out in op.outputs for c in out.consumers()]
        if any((not _says_nothing(c) and c.type != "Identity") or _plain_end(c) for c in readers):
            continue
        for out in op.outputs:
            if out.dtype.is_floating or out.dtype.is_integer:
                end = _end(out)
                if end.inputs:
                    found.append(end)
    return found


def _says_nothing(op: tf.Operation) -> bool:
    return op.type in _NO_OUTPUT or op.name.startswith(_NO_OUTPUT_BEGINNINGS)


def _plain_end(op: tf.Operation) -> bool:
    """Whether an Identity goes on to something or is an end itself."""
    return op.type == "Identity" and not _says_nothing(op)


def _end(tensor: tf.Tensor) -> End:
    left, seen = [tensor.op], {tensor.op.name}
    inputs, looped = set[str](), False
    while left:
        op = left.pop()
        looped |= op.type in _LOOPS
        if op.type == "Placeholder":
            inputs.add(op.outputs[0].name)
        for before in (t.op for t in op.inputs):
            if before.name not in seen:
                seen.add(before.name)
                left.append(before)
    return End(tensor.name, frozenset(inputs), looped, len(seen))


def _choose(graph: tf.Graph, ends: Sequence[End], inputs: Sequence[str]) -> list[tf.Tensor]:
    """The outputs, of the ends of a graph."""
    wanted = {_tensor(graph, name).name for name in inputs}
    able = [end for end in ends if not wanted or end.inputs <= wanted]
    able = [end for end in able if not end.looped] or able
    stateful = [end for end in able if any(_same(graph, end.tensor, into) for into in end.inputs)]
    if stateful:
        states = frozenset(t for end in stateful for t in end.inputs)
        able = [end for end in able if end.inputs & states and end.inputs <= states]
    elif able:
        most = max(able, key=lambda end: end.ops)
        able = [end for end in able if end.inputs == most.inputs]
    return [graph.get_tensor_by_name(end.tensor) for end in able]


def _same(graph: tf.Graph, out: str, into: str) -> bool:
    """Whether an output could be fed back: of the type and shape of a placeholder."""
    one, other = graph.get_tensor_by_name(out), graph.get_tensor_by_name(into)
    return bool(
        one.dtype == other.dtype
        and one.dtype.is_floating
        and one.shape.rank
        and one.shape.rank == other.shape.rank
        and one.shape.is_compatible_with(other.shape)
    )


def _placeholders_of(graph: tf.Graph, outputs: Iterable[tf.Tensor]) -> list[tf.Tensor]:
    names = {name for out in outputs for name in _end(out).inputs}
    return [
        op.outputs[0] for op in graph.get_operations() if op.outputs and op.outputs[0].name in names
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


def _source(
    graph: tf.Graph,
    values: dict[str, NDArray[Any]],
    inputs: Sequence[tf.Tensor],
    outputs: Sequence[tf.Tensor],
    chosen: tuple[str, ...],
    saved: bool,
) -> Source:
    """Run in a session as it is, and frozen for the converter."""
    names: dict[str, tf.Tensor] = {}
    for tensor in inputs:
        names[clean(tensor.name, names)] = tensor
    gives: dict[str, tf.Tensor] = {}
    for tensor in outputs:
        gives[clean(tensor.name, gives)] = tensor
    session = v1.Session(graph=graph)
    variables = _restore(session, values, outputs)

    def live(arrays: Arrays) -> dict[str, NDArray[Any]]:
        found = session.run(
            gives, {names[n].name: value for n, value in arrays.items() if n in names}
        )
        return {n: np.asarray(value) for n, value in found.items()}

    frozen = v1.graph_util.convert_variables_to_constants(
        session, graph.as_graph_def(), [t.op.name for t in outputs]
    )

    def function(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        found = tf.import_graph_def(
            frozen, {names[n].name: t for n, t in tensors.items()},
            [t.name for t in outputs], name="",
        )  # fmt: skip
        return dict(zip(gives, found, strict=True))

    specs = {n: spec(t.shape, t.dtype, n) for n, t in names.items()}
    entry: Entry = make_entry("step", function, specs, live)
    kind = (
        "a graph of TensorFlow 1 with a checkpoint" if saved else "a frozen graph of TensorFlow 1"
    )
    return Source(kind, (entry,), variables, chosen)


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
