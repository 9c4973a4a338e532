"""A bundle's parts as coded stretches: where to cut, and which coding is smallest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kbengine.arrays import load_arrays
from kbengine.coding import CODINGS, encode_grid
from kbengine.inspect.graph import IDENTIFIER, read_graph
from kbengine.shipping import GRID, Stretch

# Vectors shorter than this stay with what stands around them. `python -m train quantize
# en-nano.bundle --ship OUT` with 256 to 32,768: within 0.3 % of its bytes; en.bundle with 2,048 and
# 8,192: within 0.01 %.
_LEAST_BYTES = 2048
_ARRAY_PARTS = ("lexicon", "ngrams", "trigger", "model")  # the last: of the family `ngram`
# Of weights as many as these LZMA finds no matches: with and without it the same command makes the
# same bytes, of the model of en.bundle in 0.2 s and in 2.9.
_NOISE_BYTES = 1 << 19
_TRIED = {
    "i1": ("codes", "bytes"), "u1": ("bytes", "codes"), "u2": ("words", "rising", "bytes"),
    "f4": ("floats", "bytes"),
}  # fmt: skip


class Weights(NamedTuple):
    """An int8 matrix [rows, columns] in a `.tflite`, from `start` on."""

    start: int
    rows: int
    columns: int

    @property
    def end(self) -> int:
        return self.start + self.rows * self.columns

    def of(self, content: bytes) -> NDArray[np.int8]:
        """The matrix in a file."""
        flat = np.frombuffer(content, np.int8, self.rows * self.columns, self.start)
        return flat.reshape(self.rows, self.columns)


class Grid(NamedTuple):
    """A matrix as small codes int8[R, C], each row with its step uint8[R]."""

    codes: NDArray[np.int8]
    steps: NDArray[np.uint8]


def matrices(content: bytes) -> list[Weights]:
    """The int8 matrices of a `.tflite`, in the order of the file. Raises ModelError."""
    return [
        Weights(start, *shape)
        for start, kind, _, shape in _tables(content)
        if kind == "i1" and len(shape) == 2
    ]


def _tables(content: bytes) -> list[tuple[int, str, int, tuple[int, ...]]]:
    """Place, type, bytes and shape of the large flat data of a `.tflite`."""
    base = np.frombuffer(content, np.uint8).ctypes.data
    found = []
    for stored in read_graph(content).stored():
        if stored.data.nbytes >= _LEAST_BYTES and stored.kind in ("table", "scales"):
            tensor = stored.users[0][1]
            kind = {"int8": "i1"}.get(tensor.type, "f4") if stored.kind == "table" else "f4"
            place = stored.data.ctypes.data - base
            found.append((place, kind, stored.data.nbytes, tensor.shape))
    return found


def _cuts(name: str, data: bytes) -> list[tuple[int, int, str]]:
    """Start, end and type of the numbers in a part; what is between is bytes."""
    if data[4:8] == IDENTIFIER:
        return [(start, start + size, kind) for start, kind, size, _ in _tables(data)]
    if name not in _ARRAY_PARTS:
        return []
    line, _, _ = data.partition(b"\n")
    types = {key: entry[0] for key, entry in json.loads(line).items()}
    start, found = len(line) + 1, []
    for key, array in load_arrays(data, types).items():
        if array.nbytes >= _LEAST_BYTES:
            found.append((start, start + array.nbytes, types[key]))
        start += array.nbytes
    return found


def stretches(name: str, data: bytes, grids: Mapping[int, Grid] | None = None) -> list[Stretch]:
    """A part as stretches, the smallest of those tried. grids: the matrices that are coded by one,
    by their place."""
    found, done = [], 0
    for start, end, kind in _cuts(name, data):
        if start > done:
            found.append(_smallest(data[done:start], ""))
        grid = (grids or {}).get(start)
        if grid is not None:
            coded = encode_grid(*grid)
            found.append(Stretch(GRID, end - start, coded, len(grid.steps)))
        else:
            found.append(_smallest(data[start:end], kind))
        done = end
    if done < len(data) or not found:
        found.append(_smallest(data[done:], ""))
    return found


def _smallest(data: bytes, kind: str) -> Stretch:
    tried = _TRIED.get(kind, ("bytes",))
    if kind == "i1" and len(data) > _NOISE_BYTES:
        tried = ("codes",)
    every = [Stretch(name, len(data), CODINGS[name].encode(data)) for name in tried]
    return min(every, key=lambda stretch: len(stretch.data))


# The bound


def entropy_bytes(symbols: NDArray[Any]) -> float:
    """Order-0 entropy: what no code with one fixed word a symbol goes below, in bytes, without
    the words themselves. LZMA does, by what stands before a symbol."""
    counts = np.unique(symbols, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(counts * np.log2(shares)).sum() / 8)


def bound_bytes(
    data: bytes, coded: Sequence[Stretch], grids: Mapping[int, Grid] | None = None
) -> float:
    """The sum of the order-0 entropies of a part's stretches, over the symbols that are coded:
    the codes of grids, bytes elsewhere (each int8 weight is one)."""
    total, start = 0.0, 0
    for stretch in coded:
        grid = (grids or {}).get(start)
        symbols = np.frombuffer(data, np.uint8, stretch.raw_bytes, start)
        total += entropy_bytes(symbols if grid is None else grid.codes)
        start += stretch.raw_bytes
    return total
