"""What stands between a graph and TFLite, by op and layer, each with its usual mend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import tensorflow as tf

from kbengine.inspect.graph import read_graph
from train.convert.modes import with_flex
from train.convert.source import Entry, Specs, dims, written

LOOPS = frozenset(
    ("While", "StatelessWhile", "Enter", "Exit", "NextIteration", "LoopCond", "TensorListReserve",
     "TensorListFromTensor", "TensorListStack", "TensorListGetItem", "TensorListSetItem",
     "TensorArrayV3", "TensorArrayReadV3", "TensorArrayWriteV3", "TensorArrayGatherV3",
     "TensorArrayScatterV3")
)  # fmt: skip
BRANCHES = frozenset(("If", "StatelessIf", "Case", "StatelessCase", "Switch", "Merge"))
CONTROL_FLOW = LOOPS | BRANCHES
_REDUCTIONS = frozenset(("Sum", "Mean", "Max", "Min", "Prod", "All", "Any"))
_SHAPES = frozenset(("Shape", "ShapeN", "Rank", "Size"))
_RANDOM = re.compile(r"Random|Dropout|Multinomial")
_TEXT = re.compile(r"^String|Regex|HashTable|LookupTable|Decode|Unicode|ParseExample")
_ROLLED = frozenset(
    ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D")
)
_ROLLED_NAME = re.compile(r"lstm|gru|rnn", re.I)


OMITTED_AXIS = "an omitted axis: "
MENDS: Mapping[str, str] = {
    "squeeze": OMITTED_AXIS
    + "which dimensions go is only known when it runs; give squeeze its axis",
    "batch": OMITTED_AXIS + "it reduces over the batch as well; give it its axis",
    "rank": OMITTED_AXIS + "the op after it asks for the rank; give it its axis",
    "shape": "it asks for a shape that is free: give the axis instead of a shape, write -1 for the "
    "batch in reshape, or fix the shape with --batch or --shape",
    "chance": "chance belongs to training: call the model with training=False",
    "text": "text and its tables stay outside: feed numbers",
    "python": "Python code is no graph: write it in TensorFlow's ops, or do it outside",
    "loop": "a loop inside of the graph: give one step of it, and loop outside",
    "branch": "a branch inside of the graph: fix its condition (training=False), or compute both "
    "and choose with tf.where",
    "type": "TFLite reckons in float32 and whole numbers: cast what goes in and the weights to "
    "float32",
    "other": "TFLite has no such op: write it in those that it has, or do it outside of the graph",
}


@dataclass(frozen=True)
class Trouble:
    """What TFLite does badly or not at all: ops of one layer, `count` of them. mend: what one
    does about it."""

    op: str
    layer: str
    count: int
    mend: str


Found = tuple[str, str, str]  # op, layer, mend


def troubles(entry: Entry, layers: Mapping[str, str]) -> list[Trouble]:
    """What a graph holds that is likely to be in the way. layers: class by name of known layers."""
    rows = [
        (op.type, layer_of(op.name, layers), _mend(op, key, layers))
        for op in entry.graph.get_operations()
        if (key := _hard(op))
    ]
    looped = {layer for op, layer, _ in rows if op in LOOPS}
    # What else a loop is made of is no trouble of its own.
    own = [row for row in rows if row[1] not in looped or row[0] in CONTROL_FLOW]
    return together([*_baked_batch(entry.inputs), *own])


def together(rows: Iterable[Found]) -> list[Trouble]:
    """Those of one layer and mend as one."""
    found: dict[tuple[str, str], list[str]] = {}
    for op, layer, mend in rows:
        found.setdefault((layer, mend), []).append(op)
    return [
        Trouble(", ".join(dict.fromkeys(ops)), layer, len(ops), mend)
        for (layer, mend), ops in found.items()
    ]


def _hard(op: tf.Operation) -> str:
    """The key of an op's mend in `MENDS`; empty where there is nothing to mend."""
    if flow := _flow(op.type):
        return flow
    if op.type == "Squeeze":
        return "squeeze" if not op.get_attr("squeeze_dims") and not _static(op) else ""
    if op.type in _REDUCTIONS:
        return "batch" if _all_axes(op) else ""
    if op.type in _SHAPES:
        return "" if _static(op) else _shape(op)
    return _alien(op.type)


def _flow(kind: str) -> str:
    """As `_hard`, for control flow."""
    return "loop" if kind in LOOPS else "branch" if kind in BRANCHES else ""


def _alien(kind: str) -> str:
    """As `_hard`, for what is no business of a graph that predicts."""
    if _RANDOM.search(kind):
        return "chance"
    if _TEXT.search(kind):
        return "text"
    return "python" if "PyFunc" in kind else ""


def _mend(op: tf.Operation, key: str, layers: Mapping[str, str]) -> str:
    return _rolled(op.type, op.name, layers) or MENDS[key]


def _rolled(kind: str, name: str, layers: Mapping[str, str]) -> str:
    """The mend of a loop that is a recurrent layer; empty for all else."""
    layer = layers.get(layer_of(name, layers), "")
    if kind not in CONTROL_FLOW or not (layer in _ROLLED or _ROLLED_NAME.search(name)):
        return ""
    cell = f"{layer}Cell" if layer in ("LSTM", "GRU", "SimpleRNN") else "its cell"
    return (
        f"it rolls over time inside of the graph: call {cell} once, with the state as inputs and "
        f"outputs, and loop outside{_by_itself(layers)}"
    )


def _by_itself(layers: Mapping[str, str]) -> str:
    """How `--step` can do it, where it can."""
    if "Bidirectional" in layers.values():
        return ""
    return " (--step does so)" if layers else " (of the model's .keras file --step does so)"


def _all_axes(op: tf.Operation) -> bool:
    axes, rank = op.inputs[1], op.inputs[0].shape.rank
    if axes.op.type == "Range":  # over the rank, which is only known when it runs
        return True
    known = tf.get_static_value(axes)
    return bool(known is not None and rank and known.size == rank and rank > 1)


def _static(op: tf.Operation) -> bool:
    return all(t.shape.is_fully_defined() for t in op.inputs)


def _shape(op: tf.Operation) -> str:
    readers = {c.type for out in op.outputs for c in out.consumers()}
    return "rank" if op.type in ("Rank", "Size") or "Range" in readers else "shape"


def layer_of(name: str, layers: Mapping[str, str]) -> str:
    """The layer that an op belongs to: the innermost part of its path that is a known one, else
    the path without the op's own name."""
    parts = [p for p in name.split("/")[:-1] if not p.endswith("PartitionedCall")]
    inner = (n for n, p in enumerate(parts) if re.match("while|TensorArray", p))
    parts = parts[: next(inner, None)]  # what a loop is made of is no layer
    for part in reversed(parts):
        for known in (part, re.sub(r"_\d+$", "", part)):  # numbered anew when it is called again
            if known in layers:
                return known
    return "/".join(parts) or "the graph itself"


def _baked_batch(inputs: Specs) -> list[Found]:
    """Inputs of a batch that is fixed above one."""
    return [
        (
            name,
            "input",
            f"a batch dimension of {shape[0]} that should not be there ({written(spec.shape)}): a "
            "step takes any number of rows; build it with a batch of None",
        )
        for name, spec in inputs.items()
        if (shape := dims(spec.shape)) and len(shape) > 1 and (shape[0] or 0) > 1
    ]


def without_builtin(entry: Entry, layers: Mapping[str, str]) -> list[Trouble]:
    """The ops that TFLite has no built-in for: what the converter leaves to TensorFlow's own
    kernels where it may. Raises ModelError where it gives up even so."""
    graph = read_graph(with_flex({entry.name: entry.function}))
    rows = []
    for subgraph in graph.subgraphs:
        for op in subgraph.ops:
            if op.name.startswith("custom "):
                kind = op.name.removeprefix("custom ").removeprefix("Flex")
                name = _origin(kind, [subgraph.tensors[i].name for i in op.outputs], entry)
                key = (
                    _flow(kind)
                    or _alien(kind)
                    or ("type" if _strange_type(kind, entry) else "other")
                )
                mend = _rolled(kind, name, layers) or MENDS[key]
                rows.append((kind, layer_of(name, layers), mend))
    return together(rows)


def _strange_type(kind: str, entry: Entry) -> bool:
    """Whether ops of a kind give numbers of a type that TFLite does not reckon in."""
    found = [op.outputs[0].dtype for op in entry.graph.get_operations()
             if op.type == kind and op.outputs]  # fmt: skip
    return any(d in (tf.float64, tf.float16, tf.bfloat16) or d.is_complex for d in found)


def _origin(kind: str, outs: Iterable[str], entry: Entry) -> str:
    """The path of the op that a converted one came from: told by its outputs, else the first of
    its kind."""
    parts = [part for out in outs for part in out.split(";") if "/" in part]
    same = (op.name for op in entry.graph.get_operations() if op.type == kind)
    return parts[0] if parts else next(same, kind)
