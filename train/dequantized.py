"""The float weights that an exported step model stands for.

An int8 weight is its place on a grid times the grid's step, so the file holds a float model
of its own: the one that was rounded. `train.export` also scaled and turned what it wrote
(`train.spread`); scales are taken back here, the turn and the order of the cells stay, as
they change no prediction. Tensors are found by following the ops back from the logits:
names are the converter's, and change with its version.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kbengine.errors import ModelError
from kbengine.inspect.graph import NO_TENSOR, Graph, Op, Subgraph, read_graph
from kbengine.lm.stepfile import check

Floats = NDArray[np.float32]


def read_weights(content: bytes) -> dict[str, Floats]:
    """The weights of `train.model.RecurrentLM`, by name, of what `train.export` wrote.

    Raises ModelError where `content` is no step model, or one of other ops.
    """
    try:
        check(content)
    except ValueError as error:
        raise _foreign(str(error)) from error
    graph = read_graph(content)
    signature = next(s for s in graph.signatures if s.name == "logits")
    trace = _Trace(graph, graph.subgraphs[signature.subgraph])
    scores = trace.made(signature.outputs["logits"], "FULLY_CONNECTED")
    table = trace.weights(scores.inputs[1])
    hidden, projection = _projection(trace, scores.inputs[0])
    gates, gain = _gates(trace, hidden)
    x = trace.made(gates.inputs[0], "CONCATENATION").inputs[0]
    kernel = trace.weights(gates.inputs[1]).T
    split = len(kernel) - table.shape[1]
    if kernel.shape[1] != 3 * len(gain) or split != table.shape[1]:
        raise _foreign("its gates have another size than its cells")
    return {
        "table": table,
        "bias": trace.vector(scores.inputs[2], len(table)),
        "input": kernel[:split] * _lift(trace, x, scores.inputs[1]),
        "state": np.ascontiguousarray(kernel[split:]),
        "gate_bias": trace.vector(gates.inputs[2], 3 * len(gain)),
        "projection": projection * gain[:, None],
    }


def _foreign(why: str) -> ModelError:
    return ModelError(f"the model is none that `python -m train export` wrote: {why}; export again")


class _Trace:
    """One graph, followed from what an op gives to the op that made it."""

    def __init__(self, graph: Graph, subgraph: Subgraph) -> None:
        self._graph, self._subgraph = graph, subgraph
        self._makers = {place: op for op in subgraph.ops for place in op.outputs}

    def made(self, place: int, name: str) -> Op:
        """The op that makes a tensor, which has to be one of this name."""
        op = self._makers.get(place)
        if op is None or op.name != name:
            raise _foreign(f"{op.name if op else 'an input'} stands where {name} should")
        return op

    def is_made(self, place: int, name: str) -> bool:
        """Whether an op of this name makes a tensor."""
        op = self._makers.get(place)
        return op is not None and op.name == name

    def either(self, places: Sequence[int], name: str) -> tuple[Op, int]:
        """Of the two inputs of an op the one made by `name`, and the other's place: the
        converter may write a product either way round."""
        first, second = places
        if self.is_made(first, name):
            return self.made(first, name), second
        return self.made(second, name), first

    def stored(self, place: int) -> NDArray[np.generic]:
        """A constant as the file has it."""
        if place == NO_TENSOR:
            raise _foreign("a constant is left out")
        tensor = self._subgraph.tensors[place]
        data = self._graph.buffers[tensor.buffer]
        kinds = {"float32": "<f4", "int32": "<i4", "int8": "i1"}
        if not len(data) or tensor.type not in kinds:
            raise _foreign(f"{tensor.name!r} is no constant")
        return data.view(kinds[tensor.type]).reshape(tensor.shape)

    def vector(self, place: int, size: int) -> Floats:
        """A float32 constant of `size` values, copied out of the file."""
        found = np.array(self.stored(place), np.float32)
        if found.shape != (size,):
            raise _foreign(f"{self._subgraph.tensors[place].name!r} has another size")
        return found

    def weights(self, place: int) -> Floats:
        """What a product multiplies by, float32[out, in]."""
        found = self.stored(place).astype(np.float32)
        # The converter leaves what has few values as it is.
        quantized = self._subgraph.tensors[place].quantization is not None
        return found * self.scales(place)[:, None] if quantized else found

    def scales(self, place: int) -> Floats:
        """The step of the grid that each row of int8 weights is on, float32[out]."""
        tensor = self._subgraph.tensors[place]
        if tensor.quantization is None:
            raise _foreign(f"{tensor.name!r} is not quantized")
        return np.broadcast_to(tensor.quantization.scales, tensor.shape[:1])


def _projection(trace: _Trace, place: int) -> tuple[int, Floats]:
    """What the cells say, and the projection [H, P] that meets it in parts, one behind the
    other: r = h[:first] A + h[first:] B."""
    parts = []
    for part in trace.made(place, "ADD").inputs:
        product = trace.made(part, "FULLY_CONNECTED")
        cut = trace.made(product.inputs[0], "STRIDED_SLICE")
        begin = int(np.ravel(trace.stored(cut.inputs[1]))[-1])
        parts.append((begin, cut.inputs[0], trace.weights(product.inputs[1]).T))
    parts.sort(key=lambda part: part[0])
    begins = np.cumsum([0, *(len(weights) for _, _, weights in parts)])[:-1]
    if len({hidden for _, hidden, _ in parts}) != 1 or [p[0] for p in parts] != begins.tolist():
        raise _foreign("its projection is in parts that do not meet")
    return parts[0][1], np.concatenate([weights for _, _, weights in parts])


def _gates(trace: _Trace, hidden: int) -> tuple[Op, Floats]:
    """The product that makes all gates, and the gain [H], of h = (sigmoid(o) gain) tanh(c)."""
    scaled, _ = trace.either(trace.made(hidden, "MUL").inputs, "MUL")
    sigmoid, gain = trace.either(scaled.inputs, "LOGISTIC")
    split = trace.made(sigmoid.inputs[0], "SPLIT")
    if len(split.outputs) != 3 or split.outputs[2] != sigmoid.inputs[0]:
        raise _foreign("its gates stand in another order")
    values = np.array(trace.stored(gain), np.float32)
    return trace.made(split.inputs[1], "FULLY_CONNECTED"), values.reshape(-1)


def _lift(trace: _Trace, x: int, table: int) -> float:
    """What x, a row of the table on its grid, was multiplied by beside the row's own scale."""
    cast, scale = trace.either(trace.made(x, "MUL").inputs, "CAST")
    for name in ("STRIDED_SLICE", "RESHAPE"):
        if trace.is_made(scale, name):
            scale = trace.made(scale, name).inputs[0]
    bits = trace.made(trace.made(scale, "BITCAST").inputs[0], "GATHER").inputs[0]
    grid = trace.made(cast.inputs[0], "GATHER").inputs[0]
    lifted = np.ascontiguousarray(trace.stored(bits)).view(np.float32)
    if not np.array_equal(trace.stored(grid), trace.stored(table)):
        raise _foreign("it reads pieces by another table than it scores them by")
    some = trace.stored(grid).any(axis=1)  # a row of zeros may have any scale
    factors = lifted[some] / trace.scales(table)[some]
    lift = float(np.median(factors)) if len(factors) else 1.0
    if not np.allclose(factors, lift, rtol=1e-3):
        raise _foreign("the rows of its table are lifted each by another factor")
    return lift
