"""Where a graph of TensorFlow 1 begins and ends, which it does not say.

A graph from the days of training holds much that a step has no use for: the loop over time, the
loss, the optimizer, the saver. Inputs are the placeholders; outputs are ends of the graph, of which
those are taken that come without a loop from placeholders which look like states, or, where there
are none, the largest part of it, without labels and loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import tensorflow as tf

VARIABLES = frozenset(("Variable", "VariableV2", "VarHandleOp"))
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


def some(names: Iterable[str], most: int = 12) -> list[str]:
    """The first of many names, and how many more."""
    found = list(names)
    return found if len(found) <= most else [*found[:most], f"{len(found) - most} more"]
