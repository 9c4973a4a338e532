"""The ops that a step model is made of, and what each makes of which inputs.

Shapes, types, constants and options as `train export` writes them; what the runtime's
kernels would allow beyond that is refused. The numbers are those of TensorFlow's
`schema.fbs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from kbengine.lm.flatbuffer import Table

Shape = tuple[int, ...]
BATCH = -1  # the free dimension, always the first
FLOAT32, INT32, INT8 = 0, 2, 9
LARGEST = 1e6  # of a constant: far above any trained weight, far below an overflow


@dataclass(frozen=True)
class Tensor:
    """A tensor as its file declares it; `data`, flat, where it is a constant."""

    kind: int
    shape: Shape
    data: NDArray[Any] | None = None
    scales: NDArray[Any] | None = None


Made = tuple[int, Shape]  # type and shape of what an op gives


def need(holds: bool, otherwise: str) -> None:
    """Raise ValueError with what the model has, unless what it must be holds."""
    if not holds:
        raise ValueError(f"it has {otherwise}")


def bounded(values: NDArray[Any]) -> bool:
    """Whether floats are all finite, and none so large that sums of them overflow."""
    return not len(values) or bool(np.abs(values).max() <= LARGEST)  # False for NaN


@dataclass
class Call:
    """An op at work: what goes in (None where an input is left out), its options, and how
    much comes out. `piece` is the input of the graph that tables are read by."""

    inputs: Sequence[Tensor | None]
    options: Table | None
    outputs: int
    piece: Tensor

    def given(self, place: int) -> Tensor:
        """An input that must be there."""
        found = self.inputs[place]
        return found if found is not None else _missing()

    def varying(self, place: int, kind: int, rank: int) -> Tensor:
        """An input that is computed, with rows for the batch."""
        found = self.given(place)
        need(found.data is None, "an op on constants alone")
        need(found.kind == kind and len(found.shape) == rank, "an op on another type of tensor")
        return found

    def width(self, place: int) -> int:
        """n of an input that is a computed float32[B, n]."""
        return self.varying(place, FLOAT32, 2).shape[1]

    def constant(self, place: int, kind: int, rank: int) -> NDArray[Any]:
        """The values of an input that must be a constant."""
        found = self.given(place)
        if found.data is None or found.kind != kind or len(found.shape) != rank:
            raise ValueError("it has an op whose constant varies or is of another type")
        return found.data

    def option(self, number: int, kind: str = "i") -> int:
        """An option's value, 0 where it is left out; kind: as for `Table.number`."""
        return self.options.number(number, kind) if self.options else 0


def _missing() -> NoReturn:
    raise ValueError("it has an op that lacks an input")


def _gather(call: Call) -> Made:
    table = call.given(0)
    need(table.data is not None and len(table.shape) in (1, 2), "a table that is no constant")
    need(call.given(1) is call.piece, "a table that is not read by the piece")
    need(call.option(0) == call.option(1) == 0, "a table that is read along another axis")
    if table.kind == INT32 and table.data is not None:  # the bits of the scales of its rows
        need(bounded(table.data.view("<f4")), "scales that are no numbers")
    return table.kind, (BATCH, *table.shape[1:])


def _bitcast(call: Call) -> Made:
    return FLOAT32, call.varying(0, INT32, 1).shape


def _cast(call: Call) -> Made:
    return FLOAT32, call.varying(0, INT8, 2).shape


def _reshape(call: Call) -> Made:
    call.varying(0, FLOAT32, 1)
    need(call.constant(1, INT32, 1).tolist() == [BATCH, 1], "a reshape into more than a column")
    return FLOAT32, (BATCH, 1)


def _strided_slice(call: Call) -> Made:
    width = call.width(0)
    begin, end, strides = (call.constant(i, INT32, 1).tolist() for i in (1, 2, 3))
    need(len(begin) == len(end) == len(strides) == 2, "a slice of another rank")
    from_start, to_end = call.option(0), call.option(1)
    odd = any(call.option(i) for i in (2, 3, 4)) or call.option(5, "b")
    need(not odd and from_start in (1, 3) and to_end in (1, 3), "a slice with foreign options")
    first = 0 if from_start == 3 else begin[1]
    last = width if to_end == 3 else end[1]
    need(strides == [1, 1] and 0 <= first < last <= width, "a slice beyond its input")
    return FLOAT32, (BATCH, last - first)


def _concatenation(call: Call) -> Made:
    need(call.option(0) in (1, -1) and not call.option(1, "b"), "tensors joined along another axis")
    return FLOAT32, (BATCH, sum(call.width(i) for i in range(len(call.inputs))))


def _fully_connected(call: Call) -> Made:
    weights = call.given(1)
    need(weights.kind in (INT8, FLOAT32), "weights of another type")
    call.constant(1, weights.kind, 2)
    rows, columns = weights.shape
    need(call.width(0) == columns, "a product whose sizes differ")
    scales = 0 if weights.scales is None else len(weights.scales)
    need(scales in ((1, rows) if weights.kind == INT8 else (0,)), "weights of foreign scales")
    bias = call.inputs[2] is not None
    need(not bias or len(call.constant(2, FLOAT32, 1)) == rows, "a bias of another size")
    need(not any(call.option(i, "b") for i in (0, 1, 2, 4)), "a product with foreign options")
    return FLOAT32, (BATCH, rows)


def _split(call: Call) -> Made:
    axis, width, parts = call.constant(0, INT32, 0), call.width(1), call.option(0)
    need(int(axis[0]) in (1, -1) and parts == call.outputs, "a split along another axis")
    need(width % parts == 0, "a split with a rest")
    return FLOAT32, (BATCH, width // parts)


def _unary(call: Call) -> Made:
    return FLOAT32, (BATCH, call.width(0))


def _binary(call: Call) -> Made:
    """Columns as many on both sides, or one that goes with all of the other's."""
    widths = []
    for place in (0, 1):
        side = call.given(place)
        if side.data is not None and call.given(1 - place).data is None:
            widths.append(len(call.constant(place, FLOAT32, min(1, len(side.shape)))))
        else:
            widths.append(call.width(place))
    need(min(widths) in (1, max(widths)), "a sum or product of unlike tensors")
    need(not call.option(0, "b"), "a fused activation")
    return FLOAT32, (BATCH, max(widths))


class Op(NamedTuple):
    """How many inputs an op has, at least and at most; the number of its options table and
    the fields that may stand in it (0: no table); what it gives for a call."""

    least: int
    most: int
    options: int
    fields: frozenset[int]
    made: Callable[[Call], Made]


def _op(least: int, most: int, options: int, fields: int, made: Callable[[Call], Made]) -> Op:
    return Op(least, most, options, frozenset(range(fields)), made)


OPS: Mapping[int, Op] = {
    0: _op(2, 2, 11, 2, _binary),  # ADD
    2: _op(1, 8, 10, 2, _concatenation),
    9: _op(3, 3, 8, 5, _fully_connected),
    14: _op(1, 1, 0, 0, _unary),  # LOGISTIC
    18: _op(2, 2, 21, 1, _binary),  # MUL
    22: _op(2, 2, 0, 0, _reshape),
    28: _op(1, 1, 0, 0, _unary),  # TANH
    36: _op(2, 2, 23, 2, _gather),
    41: _op(2, 2, 28, 2, _binary),  # SUB
    45: _op(4, 4, 32, 6, _strided_slice),
    49: _op(2, 2, 35, 1, _split),
    53: _op(1, 1, 0, 0, _cast),
    159: _op(1, 1, 0, 0, _bitcast),
}
