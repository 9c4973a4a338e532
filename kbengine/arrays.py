"""Named flat arrays as bytes, in a format with nothing to run and nothing to unpack.

One line of JSON, then the arrays one after the other, little-endian, without gaps:

    {"pieces": ["u2", 3], "rarity": ["u1", 2]}\\n
    01 00 02 00 03 00 ff 80

Numpy's own .npy headers are Python source, and an .npz is a zip: both are more than a
file that comes from anywhere should be trusted with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES = frozenset(("i1", "u1", "u2", "i8", "f4"))
_MOST_HEADER_BYTES = 4096  # a handful of names; parsed JSON takes many times its bytes


def dump_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """One-dimensional arrays of int8, uint8, uint16, int64 or float32 as bytes."""
    header = {name: [f"{a.dtype.kind}{a.dtype.itemsize}", len(a)] for name, a in arrays.items()}
    body = b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays.values())
    return json.dumps(header).encode() + b"\n" + body


def load_arrays(data: bytes, types: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """The arrays that `dump_arrays` wrote: name -> type, in that order.

    Raises ValueError, saying what is wrong, for anything else.
    """
    start = data.find(b"\n", 0, _MOST_HEADER_BYTES + 1) + 1
    if not start and len(data) > _MOST_HEADER_BYTES:
        raise ValueError("its header is too long")
    try:
        header = json.loads(data[: start or len(data)])
    except (ValueError, RecursionError) as error:
        raise ValueError("its header is not JSON") from error
    if not isinstance(header, dict) or list(header) != list(types):
        raise ValueError("it holds other arrays")
    found: dict[str, NDArray[Any]] = {}
    start = start or len(data)
    for name, entry in header.items():
        if not isinstance(entry, list) or len(entry) != 2 or entry[0] != types[name]:
            raise ValueError(f"the array {name!r} has another type")
        size = entry[1]
        if entry[0] not in _TYPES or type(size) is not int or not 0 <= size <= len(data):
            raise ValueError(f"the array {name!r} has an impossible size")
        end = start + size * int(entry[0][1])
        if end > len(data):
            raise ValueError(f"the array {name!r} is cut off")
        # A view: megabytes that stand in memory already are not copied.
        found[name] = np.frombuffer(data, np.dtype("<" + entry[0]), size, start)
        start = end
    if start != len(data):
        raise ValueError("there are bytes behind its arrays")
    return found


class Lift:
    """The levels of a tree in breadth-first order: largest values are handed upwards."""

    def __init__(self, parents: NDArray[Any], levels: Sequence[tuple[int, int]]) -> None:
        """parents: of every node but the root, in order; levels: where each begins and ends, the
        root's left out."""
        self._steps = []
        for begin, end in reversed(levels):
            here = parents[begin - 1 : end - 1]
            starts = np.flatnonzero(np.diff(here, prepend=-1))
            self._steps.append((slice(begin, end), starts, here[starts]))

    def __call__(self, values: NDArray[np.float32]) -> None:
        """Give every node the largest of the values at and below it, in place."""
        for level, starts, above in self._steps:
            best = np.maximum.reduceat(values[level], starts)
            values[above] = np.maximum(values[above], best)
