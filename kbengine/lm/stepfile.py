"""What a step model's `.tflite` must hold, checked before the native runtime sees it.

A sha256 proves that a file came whole, not that it means well, and files that pass the
runtime's own verifier can still crash or hang it. So the graphs are type-checked here: of
few ops (`kbengine.lm.stepops`), every tensor made once and before its use, constants as
long as their shapes say. A field that is not known here is refused. The field numbers are
those of TensorFlow's `schema.fbs`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from kbengine.lm.flatbuffer import Table
from kbengine.lm.stepops import (
    BATCH,
    FLOAT32,
    INT8,
    INT32,
    OPS,
    Call,
    Op,
    Tensor,
    bounded,
    need,
)

_TYPES = {FLOAT32: "<f4", INT32: "<i4", INT8: "i1"}
_METADATA = {"min_runtime_version", "CONVERSION_METADATA"}  # the converter's; others may steer
_MOST_FLOATS = 1 << 20  # of a graph, for one row: an arena of 4 MB; the shipped one has 32,133
# The runtime packs the weights of every op apart, also where two ops share one buffer: of the
# shipped model the ops read 2.6 bytes for each of the file.
_MOST_READ = 4
_GATHER = 36


class Sizes(NamedTuple):
    """S, the floats of a state, and V, the pieces of the vocabulary."""

    state: int
    vocab: int


class _Graph(NamedTuple):
    """A signature's graph: what goes in and comes out by name, the rows of its tables, the
    bytes of constants that its ops read."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    table_rows: set[int]
    read_bytes: int


def check(content: bytes) -> Sizes:
    """The sizes of a step model. Raises ValueError, saying what is wrong, for all else."""
    need(content[4:8] == b"TFL3", "not the mark of a .tflite")
    model = Table.root(content)
    model.only({0, 1, 2, 3, 4, 5, 6, 7})
    need(model.number(0, "I") == 3, "another schema version")
    buffers = []
    for buffer in model.tables(4):
        need(not buffer.number(1, "Q") and not buffer.number(2, "Q"), "data outside of the file")
        buffers.append(buffer.array(0, "u1"))
    need(all(entry.text(0) in _METADATA for entry in model.tables(6)), "foreign metadata")
    need(not len(model.array(5, "<i4")), "foreign metadata")
    codes = [_op(code) for code in model.tables(1)]
    signatures = {s.text(2): s for s in model.tables(7)}
    need(set(signatures) == {"logits", "state"}, "other signatures than logits and state")
    graphs = model.tables(2)
    places = {signature.number(4, "I") for signature in signatures.values()}
    need(len(model.tables(7)) == len(graphs) == 2 and places == {0, 1}, "a graph without a name")
    state, logits = (
        _Reader(graphs[signature.number(4, "I")], buffers, codes).signature(signature)
        for signature in (signatures["state"], signatures["logits"])
    )
    read = sum(graph.read_bytes for graph in (state, logits))
    need(read <= _MOST_READ * len(content), "weights that too many ops read")
    return _sizes(state, logits)


def _sizes(state: _Graph, logits: _Graph) -> Sizes:
    """S and V, as both graphs must have them."""
    for graph, outputs in ((state, {"state"}), (logits, {"state", "logits"})):
        named = set(graph.inputs) == {"piece", "state"} and set(graph.outputs) == outputs
        need(named, "inputs or outputs of other names")
    states = [
        t for graph in (state, logits) for t in (graph.inputs["state"], graph.outputs["state"])
    ]
    scores = logits.outputs["logits"]
    need(
        all(t.kind == FLOAT32 and len(t.shape) == 2 for t in (*states, scores)),
        "a state or logits of another type or shape",
    )
    need(len({t.shape for t in states}) == 1, "states of several sizes")
    vocab = scores.shape[1]
    need(state.table_rows | logits.table_rows == {vocab}, "tables of another vocabulary")
    return Sizes(states[0].shape[1], vocab)


def _op(code: Table) -> int:
    """The number of an op, of those that are known here."""
    code.only({0, 2, 3})
    number = max(code.number(0, "b"), code.number(3))
    need(number in OPS, f"the foreign op {number}")
    return number


class _Reader:
    """One graph, checked op by op in the order in which they run."""

    def __init__(self, graph: Table, buffers: Sequence[NDArray[Any]], codes: Sequence[int]) -> None:
        graph.only({0, 1, 2, 3, 4, 5})
        self._graph, self._codes, self._read_bytes = graph, codes, 0
        self.tensors = [_tensor(tensor, buffers) for tensor in graph.tables(0)]
        floats = sum(math.prod(t.shape[1:]) for t in self.tensors if t.data is None)
        need(floats <= _MOST_FLOATS, "tensors too large for a step")

    def _at(self, place: int) -> Tensor:
        need(0 <= place < len(self.tensors), "a tensor that is not there")
        return self.tensors[place]

    def signature(self, signature: Table) -> _Graph:
        """Check all ops under the names of a signature."""
        signature.only({0, 1, 2, 4})
        inputs, outputs = ({}, {})  # type: tuple[dict[str, int], dict[str, int]]
        for names, field in ((inputs, 0), (outputs, 1)):
            for entry in signature.tables(field):
                names[entry.text(0)] = entry.number(1, "I")
            own = self._graph.integers(field + 1)
            need(sorted(names.values()) == sorted(own), "inputs or outputs without a name")
        piece = self._at(inputs.get("piece", -1))
        need(piece.kind == INT32 and piece.shape == (BATCH,), "a piece of another type")
        known = set(inputs.values())
        need(all(self._at(i).data is None for i in known), "a constant input")
        made: set[int] = set()
        rows: set[int] = set()
        for operator in self._graph.tables(3):
            made |= self._run(operator, known | made, piece, rows)
        need(set(outputs.values()) <= made, "an output that no op makes")
        return _Graph(
            {name: self._at(i) for name, i in inputs.items()},
            {name: self._at(i) for name, i in outputs.items()},
            rows,
            self._read_bytes,
        )

    def _run(self, operator: Table, known: set[int], piece: Tensor, rows: set[int]) -> set[int]:
        """The places of what an op makes."""
        operator.only({0, 1, 2, 3, 4, 6, 13})
        place = operator.number(0, "I")
        need(place < len(self._codes), "an op that is not there")
        op = OPS[self._codes[place]]
        read, written = operator.integers(1), operator.integers(2)
        need(
            op.least <= len(read) <= op.most and len(written) >= 1, "an op with more or less inputs"
        )
        inputs = [None if i == -1 else self._at(i) for i in read]
        self._read_bytes += sum(
            t.data.nbytes for t in inputs if t is not None and t.data is not None
        )
        need(
            all(
                t is None or t.data is not None or i in known
                for i, t in zip(read, inputs, strict=True)
            ),
            "an op that runs before its inputs",
        )
        fresh = set(written)
        need(len(fresh) == len(written) and not fresh & known, "a tensor that is made twice")
        kind, shape = op.made(Call(inputs, _options(operator, op), len(written), piece))
        for i in written:
            out = self._at(i)
            right = out.data is None and (out.kind, out.shape) == (kind, shape)
            need(right, "an op that makes another shape than its tensor has")
        if self._codes[place] == _GATHER and inputs[0] is not None:
            rows.add(inputs[0].shape[0])
        return fresh


def _options(operator: Table, op: Op) -> Table | None:
    """The options of an op, of its own kind and with no foreign fields."""
    options = operator.table(4)
    need(operator.number(3, "B") == (op.options if options else 0), "options of another op")
    if options:
        need(op.options > 0, "options of another op")
        options.only(set(op.fields))
    return options


def _tensor(table: Table, buffers: Sequence[NDArray[Any]]) -> Tensor:
    """A tensor, its free dimension as BATCH; a constant's data by its type and size."""
    table.only({0, 1, 2, 3, 4, 5, 7, 8})
    shape, signature = table.integers(0), table.integers(7)
    kind, place = table.number(1, "b"), table.number(2, "I")
    need(kind in _TYPES and not table.number(5, "b"), "a tensor of another type")
    need(place < len(buffers), "a tensor whose data is not there")
    scales = _scales(table.table(4))
    raw = buffers[place]
    if not len(raw):
        free = signature[:1] == (BATCH,) and shape == (1, *signature[1:])
        need(free and min(shape) > 0 and scales is None, "a tensor without a free batch")
        return Tensor(kind, signature)
    item = int(_TYPES[kind][-1])
    need(min(shape, default=1) > 0 and signature in ((), shape), "a constant of no size")
    need(math.prod(shape) * item == len(raw), "a constant of another size than its shape")
    need(raw.ctypes.data % item == 0, "a constant that is not aligned")
    data = raw.view(_TYPES[kind])
    need(kind != FLOAT32 or bounded(data), "weights that are no numbers")
    return Tensor(kind, shape, data, scales)


def _scales(quantization: Table | None) -> NDArray[Any] | None:
    """The scales of symmetric quantization along the first axis; None where there are none."""
    if quantization is None:
        return None
    quantization.only({0, 1, 2, 3, 4, 6})
    scales, zeros = quantization.array(2, "<f4"), quantization.array(3, "<i8")
    simple = not quantization.number(4, "B") and not quantization.number(6)
    need(simple and len(zeros) == len(scales) and not zeros.any(), "a foreign quantization")
    need(bounded(scales), "scales that are no numbers")
    return scales if len(scales) else None
