"""Graphs of TensorFlow 1: a `.pb` or `.pbtxt`, frozen or with the `.ckpt` of its variables.

A graph is run in a session as it is, to compare with, and frozen for the converter. Which of its
tensors are inputs and outputs is found in `train.convert.ends` where nobody says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2

from train.convert.ends import VARIABLES, choose, find_ends, lost_states, placeholders_of, some
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


def read_graphdef(
    path: Path, checkpoint: Path | None, inputs: Sequence[str], outputs: Sequence[str]
) -> Source:
    """A graph with the tensors that are given, or found, as inputs and outputs.

    Raises ValueError where the file is no graph, where its variables have no values, or where
    no inputs and outputs are found.
    """
    definition = _read(path)
    values, chosen = {}, []
    variables = [node.name for node in definition.node if node.op in VARIABLES]
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
            f"{', '.join(some(op.name for op in graph.get_operations()))}"
        )
    if not (inputs and outputs):
        left = sorted({end.tensor for end in ends} - {t.name for t in gives})
        chosen.append(
            f"inputs {', '.join(t.name for t in takes)}; outputs "
            f"{', '.join(t.name for t in gives)}"
            + (f"; not {', '.join(some(left, 4))}" if left else "")
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


def _tensor(graph: tf.Graph, name: str) -> tf.Tensor:
    try:
        return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError):
        raise ValueError(
            f"the graph has no tensor {name}; there are "
            f"{', '.join(some(op.name for op in graph.get_operations()))}"
        ) from None


def _named(tensors: Iterable[tf.Tensor]) -> dict[str, tf.Tensor]:
    names: dict[str, tf.Tensor] = {}
    for tensor in tensors:
        names[clean(tensor.name, names)] = tensor
    return names


def _needs_no_more(takes: Mapping[str, tf.Tensor], gives: Mapping[str, tf.Tensor]) -> None:
    """Raise ValueError where outputs come from placeholders that are no inputs."""
    given = {t.op.name for t in takes.values()}
    left, seen = [t.op for t in gives.values()], set[str]()
    while left:
        op = left.pop()
        if op.name in seen or op.name in given:
            continue
        seen.add(op.name)
        left += [t.op for t in op.inputs]
        if op.type == "Placeholder":
            raise ValueError(
                f"{', '.join(gives)} cannot be had from {', '.join(takes)} alone: {op.name} is "
                "read as well; name it with --inputs"
            )


def _entry(
    name: str, session: Any, takes: Mapping[str, tf.Tensor], gives: Mapping[str, tf.Tensor]
) -> Entry:
    """Run in a session as it is, and frozen for the converter."""

    def live(arrays: Arrays) -> dict[str, NDArray[Any]]:
        fed = {takes[n].name: value for n, value in arrays.items() if n in takes}
        found = session.run(dict(gives), fed)
        return {n: np.asarray(value) for n, value in found.items()}

    _needs_no_more(takes, gives)
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
        if op.type not in VARIABLES:
            continue
        name = op.name
        shape = op.get_attr("shape")
        dtype = tf.dtypes.as_dtype(op.get_attr("dtype"))
        if name not in values:
            raise ValueError(
                f"the checkpoint has no value for {name}; it has {', '.join(some(sorted(values)))}"
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
