"""A `.tflite` file as plain values: signatures, subgraphs, tensors, ops, buffers.

The file is a flatbuffer; its schema is LiteRT's own, as `ai_edge_litert` carries it. No
native code sees the file here, and nothing of it is trusted: lengths are bounded by the
size of the file before anything is read, and every index is checked once, so that what
stands in a `Graph` can be followed without a look.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from kbengine.errors import ModelError

IDENTIFIER = b"TFL3"  # at byte 4 of every file
NO_TENSOR = -1  # an optional input that is left out

# What the flatbuffer reader raises for offsets and lengths that lead nowhere.
_BROKEN = (struct.error, IndexError, ValueError, TypeError, OverflowError)
_TYPES = {v: k.lower() for k, v in vars(schema.TensorType).items() if k.isupper()}
_OPS = {v: k for k, v in vars(schema.BuiltinOperator).items() if k.isupper()}
_TABLE_BYTES = 8  # the least that a table in a vector takes: its offset and its head

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Quantization:
    """real value = scale * (stored value - zero point), along `axis` where there are several.

    block_size: values to a scale for block-wise quantization (the scales are a tensor of
    their own then), else None.
    """

    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int
    block_size: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """shape: as stored, free dimensions as 1; `signature` has -1 there.

    type: LiteRT's name in lower case (``float32``). external: the number of the file group
    that holds its data where that is another file, else 0.
    """

    index: int
    name: str
    type: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    buffer: int
    variable: bool
    sparse: bool
    external: int
    quantization: Quantization | None


@dataclass(frozen=True, slots=True)
class Op:
    """name: LiteRT's, in capitals, or ``custom NAME``. Tensors by index; see `NO_TENSOR`."""

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Subgraph:
    """Tensors are numbered apart in every subgraph; ops stand in the order they run."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """An entry by name: which tensors of a subgraph take and give what."""

    name: str
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A stretch of flat data in the file.

    kind: ``table`` (a buffer of a tensor), ``scales`` or ``zero points`` of a quantized
    tensor, ``metadata``, or ``unused`` (a buffer of nothing). users: the tensors it is
    for, as (subgraph, tensor).
    """

    kind: str
    name: str
    data: NDArray[Any]
    users: tuple[tuple[Subgraph, Tensor], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A whole file. buffers: the constant data uint8[bytes] by number, mostly empty.
    metadata: name -> number of its buffer."""

    version: int
    description: str
    file_bytes: int
    signatures: tuple[Signature, ...]
    subgraphs: tuple[Subgraph, ...]
    buffers: tuple[NDArray[np.uint8], ...]
    metadata: Mapping[str, int]

    def called(self) -> list[int]:
        """The subgraphs that signatures call, each once; the main one where none does."""
        return list(dict.fromkeys(signature.subgraph for signature in self.signatures)) or [0]

    def stored(self) -> list[Stored]:
        """All flat data of the file, each stretch of bytes once, in the order of the file."""
        users: dict[int, list[tuple[Subgraph, Tensor]]] = {}
        found: list[Stored] = []
        for subgraph in self.subgraphs:
            for tensor in subgraph.tensors:
                users.setdefault(tensor.buffer, []).append((subgraph, tensor))
                if tensor.quantization:
                    user = ((subgraph, tensor),)
                    q = tensor.quantization
                    found.append(Stored("scales", tensor.name, q.scales, user))
                    found.append(Stored("zero points", tensor.name, q.zero_points, user))
        labels = {number: name for name, number in self.metadata.items()}
        for number, data in enumerate(self.buffers):
            if number in users:
                name = " = ".join(dict.fromkeys(tensor.name for _, tensor in users[number]))
                found.append(Stored("table", name, data, tuple(users[number])))
            elif number in labels:
                found.append(Stored("metadata", labels[number], data))
            else:
                found.append(Stored("unused", f"buffer {number}", data))
        # Two tensors may point at one vector, which is stored once then.
        places = {(s.data.ctypes.data, s.data.nbytes): s for s in reversed(found) if s.data.nbytes}
        return [places[place] for place in sorted(places)]


def read_graph(data: bytes) -> Graph:
    """Read a `.tflite`; raises ModelError where it is none, or a damaged one."""
    if data[4:8] != IDENTIFIER:
        raise ModelError("the model is no .tflite file; export it again")
    try:
        return _Reader(data).graph()
    except _BROKEN as error:
        raise _damaged("its offsets lead nowhere") from error


def _damaged(why: str) -> ModelError:
    return ModelError(f"the model file is damaged ({why}); export or fetch it again")


class _Reader:
    """Reads each part of a file once. `_left`, in bytes, bounds how much may be read in
    all: parts that overlap can't make a small file a huge graph."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = 2 * len(data)
        self._model = schema.Model.GetRootAs(data, 0)

    def _spend(self, n_bytes: int) -> None:
        self._left -= n_bytes
        if self._left < 0:
            raise _damaged("its parts are larger than the file")

    def _each(self, length: int, get: Callable[[int], T]) -> list[T]:
        self._spend(length * _TABLE_BYTES)
        return [get(i) for i in range(length)]

    def _text(self, raw: bytes | None) -> str:
        self._spend(len(raw or b""))
        return (raw or b"").decode("utf-8", "replace")

    def _array(self, vector: Any) -> NDArray[Any]:
        """What an ``AsNumpy`` gave: an array, or 0 where there is none."""
        found = np.asarray(vector).reshape(-1) if isinstance(vector, np.ndarray) else np.zeros(0)
        self._spend(found.nbytes)
        return found

    def _numbers(self, vector: Any) -> tuple[int, ...]:
        return tuple(self._array(vector).tolist())

    def graph(self) -> Graph:
        model = self._model
        buffers = tuple(
            self._buffer(b) for b in self._each(model.BuffersLength(), model.Buffers)
        )  # fmt: skip
        codes = [
            self._code(c) for c in self._each(model.OperatorCodesLength(), model.OperatorCodes)
        ]
        subgraphs = tuple(
            self._subgraph(i, s, codes, len(buffers))
            for i, s in enumerate(self._each(model.SubgraphsLength(), model.Subgraphs))
        )
        if not subgraphs:
            raise _damaged("it has no subgraph")
        metadata = {
            self._text(m.Name()): m.Buffer()
            for m in self._each(model.MetadataLength(), model.Metadata)
        }
        _check("metadata", metadata.values(), len(buffers), "buffers")
        signatures = tuple(
            self._signature(s, subgraphs)
            for s in self._each(model.SignatureDefsLength(), model.SignatureDefs)
        )
        return Graph(
            version=model.Version(),
            description=self._text(model.Description()),
            file_bytes=len(self._data),
            signatures=signatures,
            subgraphs=subgraphs,
            buffers=buffers,
            metadata=metadata,
        )

    def _buffer(self, buffer: Any) -> NDArray[np.uint8]:
        """Data inside the flatbuffer, or behind it in files above 2 GB."""
        start, size = buffer.Offset(), buffer.Size()
        if start <= 1:  # 0 and 1 say that it is inside
            return self._array(buffer.DataAsNumpy()).astype(np.uint8, copy=False)
        if start + size > len(self._data):
            raise _damaged("a table lies behind its end")
        self._spend(size)
        return np.frombuffer(self._data, np.uint8, size, start)

    def _code(self, code: Any) -> tuple[str, int]:
        # Old files have the number in a byte, which ran out at 127.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number == schema.BuiltinOperator.CUSTOM:
            return f"custom {self._text(code.CustomCode())}", code.Version()
        return _OPS.get(number, f"builtin {number}"), code.Version()

    def _subgraph(
        self, index: int, subgraph: Any, codes: list[tuple[str, int]], n_buffers: int
    ) -> Subgraph:
        tensors = tuple(
            self._tensor(i, t)
            for i, t in enumerate(self._each(subgraph.TensorsLength(), subgraph.Tensors))
        )
        _check(f"a tensor of subgraph {index}", (t.buffer for t in tensors), n_buffers, "buffers")
        found = Subgraph(
            index=index,
            name=self._text(subgraph.Name()),
            inputs=self._numbers(subgraph.InputsAsNumpy()),
            outputs=self._numbers(subgraph.OutputsAsNumpy()),
            tensors=tensors,
            ops=tuple(
                self._op(o, codes)
                for o in self._each(subgraph.OperatorsLength(), subgraph.Operators)
            ),
        )
        ends = [*found.inputs, *found.outputs]
        used = [i for op in found.ops for i in (*op.inputs, *op.outputs) if i != NO_TENSOR]
        _check(f"subgraph {index}", [*ends, *used], len(tensors), "tensors")
        return found

    def _tensor(self, index: int, tensor: Any) -> Tensor:
        shape = self._numbers(tensor.ShapeAsNumpy())
        return Tensor(
            index=index,
            name=self._text(tensor.Name()),
            type=_TYPES.get(tensor.Type(), f"type {tensor.Type()}"),
            shape=shape,
            signature=self._numbers(tensor.ShapeSignatureAsNumpy()) or shape,
            buffer=tensor.Buffer(),
            variable=bool(tensor.IsVariable()),
            sparse=tensor.Sparsity() is not None,
            external=tensor.ExternalBuffer(),
            quantization=self._quantization(tensor.Quantization()),
        )

    def _quantization(self, found: Any) -> Quantization | None:
        """None where there are no scales: the converter writes an empty table then."""
        if found is None:
            return None
        scales = self._array(found.ScaleAsNumpy()).astype(np.float32, copy=False)
        zero_points = self._array(found.ZeroPointAsNumpy()).astype(np.int64, copy=False)
        block_size = None
        if found.DetailsType() == schema.QuantizationDetails.BlockwiseQuantization:
            details = schema.BlockwiseQuantization()
            details.Init(found.Details().Bytes, found.Details().Pos)
            block_size = int(details.BlockSize())
        if not len(scales) and block_size is None:
            return None
        return Quantization(
            scales=scales,
            zero_points=zero_points,
            axis=found.QuantizedDimension(),
            block_size=block_size,
        )

    def _op(self, op: Any, codes: list[tuple[str, int]]) -> Op:
        _check("an op", [op.OpcodeIndex()], len(codes), "kinds of op")
        name, version = codes[op.OpcodeIndex()]
        return Op(
            name=name,
            version=version,
            inputs=self._numbers(op.InputsAsNumpy()),
            outputs=self._numbers(op.OutputsAsNumpy()),
        )

    def _signature(self, signature: Any, subgraphs: tuple[Subgraph, ...]) -> Signature:
        name = self._text(signature.SignatureKey())
        where = signature.SubgraphIndex()
        _check("a signature", [where], len(subgraphs), "subgraphs")
        inputs, outputs = (
            {self._text(m.Name()): m.TensorIndex() for m in self._each(length, get)}
            for length, get in (
                (signature.InputsLength(), signature.Inputs),
                (signature.OutputsLength(), signature.Outputs),
            )
        )
        ends = [*inputs.values(), *outputs.values()]
        _check("a signature", ends, len(subgraphs[where].tensors), "tensors")
        return Signature(name, where, inputs, outputs)


def _check(who: str, numbers: Iterable[int], count: int, of: str) -> None:
    """Raise ModelError for a number that points beyond the `count` things there are."""
    for number in numbers:
        if not 0 <= number < count:
            raise _damaged(f"{who} names number {number} of {count} {of}")
