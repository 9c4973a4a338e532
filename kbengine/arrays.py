"""Flat arrays in an .npz, read with suspicion: bundles come from anywhere."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 256 << 20  # of all arrays of one file, unpacked


def load_arrays(data: bytes, kinds: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """The one-dimensional arrays of an .npz: name -> kind of numbers (``u``, ``i``, ``f``).

    Raises ValueError, saying what is wrong, for anything else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise ValueError("the arrays are too large")
        with np.load(io.BytesIO(data), allow_pickle=False) as saved:
            found = {name: saved[name] for name in kinds}
    except (
        KeyError, EOFError, OSError, RuntimeError, MemoryError, SyntaxError, TypeError,
        struct.error, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        # What numpy and zipfile raise on damaged headers and bodies.
        raise ValueError(f"the arrays cannot be read ({type(error).__name__})") from error
    for name, array in found.items():
        if array.ndim != 1 or array.dtype.kind != kinds[name] or array.dtype.hasobject:
            raise ValueError(f"the array {name!r} has another shape or type")
    return found
