"""What is converted: functions of named tensors, whatever file they came from.

Every kind of source ends as the same value: for each entry the source itself as something to
call, and a copy of it with its variables as constants, which is what the converter gets. A copy
keeps no Keras object alive, and so can't be emptied by one (a Keras 3 model that is handed to the
converter as such gives, without a word, a file of 5 kB whose output is NaN).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import (  # public in TensorFlow 1 alone
    convert_variables_to_constants_v2,
)

from kbengine.quiet import quiet_stderr

tf.get_logger().setLevel("ERROR")  # what is deprecated in TensorFlow 1 is no news

Function: TypeAlias = "tf.types.experimental.ConcreteFunction"
Arrays = Mapping[str, NDArray[Any]]
Specs = Mapping[str, tf.TensorSpec]
Shape = tuple[int | None, ...]
# Ops that reach beyond the graph.
TOUCHING = frozenset(
    ("WriteFile", "ReadFile", "SaveV2", "Save", "SaveSlices", "RestoreV2", "Restore", "PyFunc",
     "PyFuncStateless", "EagerPyFunc", "MergeV2Checkpoints", "WholeFileReaderV2", "MatchingFiles",
     "WriteSummary", "CreateSummaryFileWriter", "FixedLengthRecordReaderV2", "TextLineReaderV2",
     "TFRecordReaderV2", "PrintV2", "LookupTableExportV2")
)  # fmt: skip
FREE = -1  # a free dimension, as it is written


@dataclass(frozen=True)
class Variable:
    """What was learned: its name, shape, type, bytes."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int

    @classmethod
    def of(cls, name: str, shape: Iterable[int], dtype: tf.DType) -> Variable:
        """Of a TensorFlow type."""
        dims = tuple(int(n) for n in shape)
        return cls(name, dims, dtype.name, int(np.prod(dims, dtype=np.int64)) * dtype.size)


@dataclass(frozen=True, eq=False)
class Entry:
    """A function of a source.

    call: the source itself, arrays by name -> arrays by name. function: its copy with constants,
    all on one level but for the bodies of control flow; tensors: the copy's inputs. inputs,
    outputs: types and shapes of both by name; None is a free dimension. unused: inputs that
    nothing reads, which `call` wants and `function` has not. make: the same with other shapes and
    fewer outputs.
    """

    name: str
    call: Callable[[Arrays], dict[str, NDArray[Any]]]
    function: Function
    tensors: Mapping[str, tf.Tensor]
    inputs: Specs
    outputs: Specs
    unused: Specs = field(default_factory=dict)
    make: Callable[[Specs, Iterable[str]], Entry] | None = None

    @property
    def graph(self) -> tf.Graph:
        """The copy's ops."""
        return self.function.graph

    def reshaped(self, shapes: Mapping[str, Shape]) -> Entry:
        """The same with other shapes of some inputs.

        Raises ValueError where the source can't take them.
        """
        if self.make is None:
            return self
        changed = {
            n: spec(shapes.get(n, s.shape), s.dtype, n)
            for n, s in {**self.inputs, **self.unused}.items()
        }
        try:
            return self.make(changed, self.outputs)
        except (ValueError, TypeError) as error:
            told = ", ".join(f"{n} {written(s)}" for n, s in shapes.items())
            raise ValueError(
                f"{self.name} does not take {told} ({first_line(error)}); give other shapes"
            ) from error

    def narrowed(self, outputs: Iterable[str]) -> Entry:
        """The same with some of its outputs; inputs that only the others read are left out."""
        return self if self.make is None else self.make({**self.inputs, **self.unused}, outputs)


@dataclass(frozen=True, eq=False)
class Source:
    """kind: what it is, in words. chosen: what was found, a sentence each. variables: what was
    learned, where the source still tells it from other constants. converters: for some modes a
    conversion of the source's own. vocabulary: the SentencePiece model its inputs count in.
    layers: classes of known layers by name."""

    kind: str
    entries: tuple[Entry, ...]
    variables: tuple[Variable, ...] = ()
    chosen: tuple[str, ...] = ()
    converters: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    vocabulary: bytes | None = None
    layers: Mapping[str, str] = field(default_factory=dict)

    def reshaped(self, shapes: Mapping[str, Shape]) -> Source:
        """The same with other shapes of inputs. Raises ValueError for names that it has not."""
        known = {n for entry in self.entries for n in entry.inputs}
        if strange := sorted(set(shapes) - known):
            raise ValueError(
                f"no input is called {strange[0]}; there are {', '.join(sorted(known))}"
            )
        return replace(self, entries=tuple(entry.reshaped(shapes) for entry in self.entries))

    def only(self, names: Iterable[str]) -> Source:
        """The same with some of its entries. Raises ValueError for names that it has not."""
        by_name = {entry.name: entry for entry in self.entries}
        wanted = tuple(names)
        if strange := sorted(set(wanted) - set(by_name)):
            raise ValueError(f"no signature is called {strange[0]}; there are {', '.join(by_name)}")
        return replace(self, entries=tuple(by_name[n] for n in wanted)) if wanted else self

    def giving(self, outputs: Iterable[str]) -> Source:
        """The same with some of its outputs. Raises ValueError for names that it has not."""
        wanted = tuple(outputs)
        known = {n: None for entry in self.entries for n in entry.outputs}
        if strange := sorted(set(wanted) - set(known)):
            raise ValueError(f"no output is called {strange[0]}; there are {', '.join(known)}")
        entries = []
        for entry in self.entries:
            own = [n for n in entry.outputs if n in wanted]
            entries += [entry.narrowed(own)] if own else []
        return replace(self, entries=tuple(entries)) if wanted else self


def spec(shape: Any, dtype: Any, name: str) -> tf.TensorSpec:
    """What a tensor holds and is called."""
    return tf.TensorSpec(shape, dtype, name=name)


def dims(shape: tf.TensorShape | Shape) -> Shape | None:
    """A shape as a tuple; None where its rank is not known."""
    known = tf.TensorShape(shape)
    return None if known.rank is None else tuple(known.as_list())


def written(shape: tf.TensorShape | Shape) -> str:
    """A shape as it is read: [?, 64]."""
    found = dims(shape)
    if found is None:
        return "[of any rank]"
    return f"[{', '.join('?' if n is None else str(n) for n in found)}]"


def clean(name: str, taken: Iterable[str] = ()) -> str:
    """A tensor's name as one of a signature: letters, digits, underlines; another than those
    `taken`."""
    found = re.sub(r"\W", "_", name.removesuffix(":0"), flags=re.ASCII).strip("_") or "x"
    found = found if found[0].isalpha() else f"x_{found}"
    known, number, numbered = set(taken), 1, found
    while numbered in known:
        numbered, number = f"{found}_{number}", number + 1
    return numbered


_HEADS = (
    "graph execution error",
    "detected at node",
    "file ",
    "node",
    "[[",
    "defined at",
    "<stack",
    "exception encountered when calling",
)


def first_line(error: BaseException) -> str:
    """What an error says, in one line: the first that says something."""
    plain = re.sub("\x1b\\[[0-9;]*m", "", str(error))  # Keras writes in bold
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    told = [line for line in lines if not line.lower().startswith(_HEADS)] or lines
    return (told[0] if told else type(error).__name__)[:300].rstrip(".:")


def make_entry(
    name: str,
    function: Callable[..., Mapping[str, Any]],
    inputs: Specs,
    live: Callable[[Arrays], dict[str, NDArray[Any]]] | None = None,
    wanted: Iterable[str] | None = None,
) -> Entry:
    """An entry of a function that takes tensors by keyword and gives a dict of them.

    live: what is called in its place to compare with, where that is another thing. wanted: its
    outputs, where not all.
    """
    gives = None if wanted is None else frozenset(wanted)

    def given(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return {n: t for n, t in function(**tensors).items() if gives is None or n in gives}

    names = sorted(inputs)  # the order in which TensorFlow has keywords
    named = {n: spec(inputs[n].shape, inputs[n].dtype, n) for n in names}
    concrete = tf.function(given, autograph=False).get_concrete_function(**named)

    def call(arrays: Arrays) -> dict[str, NDArray[Any]]:
        fed = {n: tf.constant(arrays[n], s.dtype) for n, s in named.items()}
        return {n: np.asarray(value) for n, value in concrete(**fed).items()}

    def alive(arrays: Arrays) -> dict[str, NDArray[Any]]:
        found = (live or call)(arrays)
        return {n: value for n, value in found.items() if gives is None or n in gives}

    frozen = _frozen(concrete, name, len(names))
    definition = without_guards(frozen.graph.as_graph_def())
    read = _read(definition, [t.op.name for t in frozen.outputs])
    placeholders = {n: t.name for n, t in zip(names, frozen.inputs, strict=True)}
    used = [n for n in names if placeholders[n].removesuffix(":0") in read]
    outputs = sorted(concrete.structured_outputs)

    def renamed(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        fed = {placeholders[n]: t for n, t in zip(used, tensors, strict=True)}
        wanted = [t.name for t in frozen.outputs]
        return dict(
            zip(outputs, tf.import_graph_def(definition, fed, wanted, name=""), strict=True)
        )

    signature = [named[n] for n in used]
    copy = tf.function(renamed, input_signature=signature, autograph=False).get_concrete_function()
    return Entry(
        name,
        alive,
        copy,
        dict(zip(used, copy.inputs, strict=True)),
        {n: named[n] for n in inputs if n in used},
        {n: spec(t.shape, t.dtype, n) for n, t in copy.structured_outputs.items()},
        {n: named[n] for n in inputs if n not in used},
        lambda specs, outputs: make_entry(name, function, specs, live, outputs),
    )


def _frozen(concrete: Function, name: str, inputs: int) -> Function:
    """A function with its variables as constants, by places.

    Raises ValueError where it changes something, or holds what is no variable.
    """
    _refuse(concrete.graph.as_graph_def(), name)
    with quiet_stderr():  # it tells of GPUs that there are none
        frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    if more := frozen.inputs[inputs:]:
        held = ", ".join(f"{t.op.name} ({t.dtype.name})" for t in more)
        raise ValueError(
            f"{name} holds {held}, which no constant can stand for: text and its tables stay "
            "outside, feed numbers"
        )
    return frozen


def _refuse(definition: tf.compat.v1.GraphDef, name: str) -> None:
    """Raise ValueError where a graph changes something: variables of its own, or files, which a
    stranger's graph may write as well as any program."""
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    for node in nodes:
        layer = "/".join(p for p in node.name.split("/")[:-1] if "PartitionedCall" not in p) or name
        if node.op.startswith(("AssignVariable", "AssignAdd", "AssignSub", "Assign")):
            raise ValueError(
                f"{layer} keeps its state in itself ({node.op}), where no step can give it back: "
                "take a Keras model as a step with --step, or build it with state in and out"
            )
        if node.op in TOUCHING:
            raise ValueError(
                f"{layer} touches files, prints or runs Python ({node.op}); leave that outside"
            )


def without_guards(definition: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """A graph that takes no index from the end of a table, as pieces are never negative: Keras
    has `where(i < 0, i + rows, i)` before each, three ops more a step, over which 16x8 stumbles."""
    nodes = {node.name: node for node in definition.node}

    def at(name: str) -> Any:
        found = nodes.get(name.removesuffix(":0"))
        while found is not None and found.op == "Identity":
            found = nodes.get(found.input[0].removesuffix(":0"))
        return found

    for node in definition.node:
        if node.op != "SelectV2":
            continue
        less, moved, index = (at(name) for name in node.input[:3])
        if less is None or moved is None or index is None:
            continue
        guards = less.op == "Less" and moved.op == "AddV2" and _is_zero(at(less.input[1]))
        whole = tf.dtypes.as_dtype(node.attr["T"].type).is_integer
        if guards and whole and at(less.input[0]) is index is at(moved.input[0]):
            node.op = "Identity"
            del node.input[:2]
    return definition


def _is_zero(node: Any) -> bool:
    return (
        node is not None
        and node.op == "Const"
        and not np.any(tf.make_ndarray(node.attr["value"].tensor))
    )


def _read(definition: tf.compat.v1.GraphDef, outputs: Iterable[str]) -> set[str]:
    """The names of the nodes that outputs come from."""
    nodes = {node.name: node for node in definition.node}
    left, found = list(outputs), set[str]()
    while left:
        name = left.pop().lstrip("^").partition(":")[0]
        if name in nodes and name not in found:
            found.add(name)
            left += nodes[name].input
    return found


def weight_bytes(entries: Iterable[Entry]) -> int:
    """The bytes of the constants of several entries, bodies of control flow with them, equal ones
    counted once."""
    found: dict[bytes, int] = {}
    for entry in entries:
        definition = entry.graph.as_graph_def()
        bodies = (node for f in definition.library.function for node in f.node_def)
        for node in (*definition.node, *bodies):
            if node.op == "Const":
                tensor = node.attr["value"].tensor
                size = int(np.prod([d.size for d in tensor.tensor_shape.dim], dtype=np.int64))
                found[tensor.SerializeToString(deterministic=True)] = (
                    size * tf.dtypes.as_dtype(tensor.dtype).size
                )
    return sum(found.values())
