"""Tables that a model file holds twice.

Compared are constant tables and the scales and zero points of quantized ones. Two are the
same where their bytes are, or where they stand for the same numbers: an int8 table and the
float table it was rounded from, or one that is the transpose of the other.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbengine.inspect.graph import Graph, Stored, Tensor

MIN_BYTES = 256  # below that a table is a constant of an op, and saving it saves nothing
MIN_VALUES = 64
_MOST = 200  # tables compared by value, the largest; each unlike pair costs some 50 us
_MOST_VALUES = 200_000_000  # compared one by one in all, a few seconds; then what is found is told
_SAMPLES = 256
_CHUNK = 1 << 20
_FLOATS = {"float32": ("<f4", 0.0), "float16": ("<f2", 2.0**-11), "float64": ("<f8", 0.0)}
_INTEGERS = {"int8": "<i1", "uint8": "<u1", "int16": "<i2"}

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Tables that are one. kind: ``bytes``, ``values`` or ``transposed``."""

    kind: str
    names: tuple[str, ...]
    stored_bytes: tuple[int, ...]

    @property
    def wasted_bytes(self) -> int:
        """What goes where only the smallest stays."""
        return sum(self.stored_bytes) - min(self.stored_bytes)


def duplicates(graph: Graph) -> list[Duplicate]:
    """All that is there twice, the most wasteful first."""
    groups: dict[bytes, list[Stored]] = {}
    for stored in graph.stored():
        if stored.data.nbytes >= MIN_BYTES:
            digest = hashlib.blake2b(stored.data.tobytes()).digest()
            groups.setdefault(digest, []).append(stored)
    found = [_duplicate("bytes", group) for group in groups.values() if len(group) > 1]
    found += _same_values([group[0] for group in groups.values()])
    return sorted(found, key=lambda d: -d.wasted_bytes)


def _duplicate(kind: str, group: Sequence[Stored]) -> Duplicate:
    names = (s.name if s.kind == "table" else f"{s.kind} of {s.name}" for s in group)
    return Duplicate(kind, tuple(names), tuple(s.data.nbytes for s in group))


def _same_values(group: Sequence[Stored]) -> list[Duplicate]:
    """Pairs of tables, no two of which have the same bytes, that hold the same numbers."""
    tables = [t for t in map(_table, group) if t is not None]
    tables = sorted(tables, key=lambda t: -t.stored.data.nbytes)[:_MOST]
    found = []
    compared = 0
    for one, other in itertools.combinations(tables, 2):
        if compared > _MOST_VALUES:
            break
        if sorted(one.shape) == sorted(other.shape):
            compared += one.size
        kind = _relation(one, other)
        if kind:
            found.append(_duplicate(kind, (one.stored, other.stored)))
    return found


class _Table:
    """A constant tensor whose values can be had at any places of its flat data."""

    def __init__(self, stored: Stored, tensor: Tensor, raw: NDArray[Any]) -> None:
        self.stored, self._raw, self._tensor = stored, raw, tensor
        self.shape = tuple(n for n in tensor.shape if n != 1)
        self.size = len(raw)

    def values(self, at: Places) -> tuple[Floats, Floats]:
        """The values at flat places float64[N], and how far each may be off by rounding."""
        q, raw = self._tensor.quantization, self._raw[at].astype(np.float64)
        if q is None:
            return raw, np.abs(raw) * _FLOATS[self._tensor.type][1]
        if len(q.scales) == 1:
            channel: Places = np.zeros(len(at), np.intp)
        else:
            stride = math.prod(self._tensor.shape[q.axis + 1 :])
            channel = at // stride % len(q.scales)
        scales = q.scales[channel].astype(np.float64)
        zeros = q.zero_points[channel] if len(q.zero_points) == len(q.scales) else 0
        return (raw - zeros) * scales, np.abs(scales) / 2


def _table(stored: Stored) -> _Table | None:
    """A table of the float or quantized tensor that uses a buffer; None where none does."""
    for _, tensor in stored.users if stored.kind == "table" else ():
        q, shape = tensor.quantization, tensor.shape
        if q is None:
            known = _FLOATS.get(tensor.type, ("", 0.0))[0]
        else:
            along = shape[q.axis] if 0 <= q.axis < len(shape) else 0
            known = _INTEGERS.get(tensor.type, "") if len(q.scales) in (1, along) else ""
        if not known or tensor.sparse or (q is not None and q.block_size is not None):
            continue
        if MIN_VALUES <= math.prod(shape) == len(stored.data) / np.dtype(known).itemsize:
            return _Table(stored, tensor, np.ascontiguousarray(stored.data).view(known))
    return None


def _relation(one: _Table, other: _Table) -> str:
    """``values`` or ``transposed`` where the tables hold the same numbers, else nothing."""
    if one.shape == other.shape and _same(one, other, lambda at: at):
        return "values"
    if len(one.shape) == 2 and one.shape == other.shape[::-1]:
        rows, columns = one.shape
        if _same(one, other, lambda at: at % columns * rows + at // columns):
            return "transposed"
    return ""


@np.errstate(all="ignore")  # a damaged scale may be anything
def _same(one: _Table, other: _Table, there: Callable[[Places], Places]) -> bool:
    """Whether the values agree, up to rounding; `there` maps a place of `one` to `other`."""
    samples = np.linspace(0, one.size - 1, min(_SAMPLES, one.size)).astype(np.intp)
    chunks = (np.arange(i, min(i + _CHUNK, one.size)) for i in range(0, one.size, _CHUNK))
    for at in itertools.chain([samples], chunks):
        left, left_slack = one.values(at)
        right, right_slack = other.values(there(at))
        slack = left_slack + right_slack
        # Tables of one number, or rounded to next to nothing, agree without being copies.
        if at is samples and not left.std() > slack.mean():
            return False
        # A tenth more than half a step: the rounding was of float32 values.
        if not (np.abs(left - right) <= 1.1 * slack).all():
            return False
    return True
