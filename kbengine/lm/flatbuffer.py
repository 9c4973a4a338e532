"""A small strict reader of FlatBuffers (https://flatbuffers.dev/internals): whatever a file
says is checked against its end before it is believed.

The reader that comes with the format checks nothing: a forged offset would read bytes from
elsewhere, a forged length loop for minutes.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_U16, _U32, _I32 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<i")
_MOST = 256  # elements of a short list: the longest of the shipped model, its buffers, has 82


class Table:
    """A table of a FlatBuffer. Fields go by their number in the schema.

    All methods raise ValueError, saying what is wrong, where the bytes are no such thing.
    """

    __slots__ = ("_data", "_fields")

    def __init__(self, data: bytes, place: int) -> None:
        self._data = data
        vtable = place - self._number(_I32, place)
        size = self._number(_U16, vtable)
        if not 4 <= size <= 2 * _MOST or vtable + size > len(data):
            raise ValueError("it has a table that cannot be")
        entries = struct.unpack_from(f"<{size // 2 - 2}H", data, vtable + 4)
        self._fields = {i: place + entry for i, entry in enumerate(entries) if entry}

    @classmethod
    def root(cls, data: bytes) -> Table:
        """The outermost table of a file."""
        return cls(data, cls._number_of(data, _U32, 0))

    @staticmethod
    def _number_of(data: bytes, form: struct.Struct, place: int) -> int:
        if not 0 <= place <= len(data) - form.size:
            raise ValueError("it points beyond its end")
        return int(form.unpack_from(data, place)[0])

    def _number(self, form: struct.Struct, place: int) -> int:
        return self._number_of(self._data, form, place)

    def _target(self, field: int) -> int | None:
        """Where an offset field leads; None where the field is left out."""
        place = self._fields.get(field)
        return None if place is None else place + self._number(_U32, place)

    def only(self, fields: set[int]) -> None:
        """Refuse fields beside these: they would mean something that nobody has checked."""
        if more := self._fields.keys() - fields:
            raise ValueError(f"it has a table with the foreign field {min(more)}")

    def number(self, field: int, kind: str = "i", default: int = 0) -> int:
        """A scalar field; kind: its letter in `struct`."""
        place = self._fields.get(field)
        if place is None:
            return default
        return self._number(struct.Struct("<" + kind), place)

    def array(self, field: int, dtype: str) -> NDArray[Any]:
        """A vector of scalars, as a view of the file; empty where the field is left out."""
        start = self._target(field)
        if start is None:
            return np.zeros(0, dtype)
        count = self._number(_U32, start)
        if start + 4 + count * np.dtype(dtype).itemsize > len(self._data):
            raise ValueError("it has a list that goes beyond its end")
        return np.frombuffer(self._data, dtype, count, start + 4)

    def integers(self, field: int, kind: str = "i4") -> tuple[int, ...]:
        """A short vector of whole numbers."""
        found = self.array(field, "<" + kind)
        if len(found) > _MOST:
            raise ValueError(f"it has a list of {len(found)} numbers where a few stand")
        return tuple(found.tolist())

    def text(self, field: int) -> str:
        """A string field."""
        return self.array(field, "u1").tobytes().decode("utf-8", "replace")

    def table(self, field: int) -> Table | None:
        """A field that is a table."""
        start = self._target(field)
        return None if start is None else Table(self._data, start)

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        start = self._target(field)
        if start is None:
            return []
        count = self._number(_U32, start)
        if count > _MOST:
            raise ValueError(f"it has {count} tables where at most {_MOST} can stand")
        places = range(start + 4, start + 4 + 4 * count, 4)
        return [Table(self._data, place + self._number(_U32, place)) for place in places]
