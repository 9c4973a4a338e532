"""Whether there is memory enough, asked before native code needs it.

The runtime, SentencePiece and the C library end the process where an allocation fails
in their hands, and a keyboard lives in its host's. So the room is asked for first, in one
piece, and given back at once.
"""

from __future__ import annotations

import mmap

from kbengine.errors import ModelError

# What a process grows by, from `import kbengine` over loading to the end of some typing in
# several fields: `python -m tests.memory [BUNDLE]` says 128.4 MB for the shipped bundle, whose
# parts have 12.7 MB, and 8.2 MB for that of `tests.toys` with 0.23 MB. Fields that stay open take
# some 5 MB more each.
_FIXED_BYTES = 8_000_000
_BYTES_FOR_A_BYTE = 10


def needed(parts_bytes: int) -> int:
    """Bytes that a bundle with so many bytes of parts takes to load, and to type with."""
    return _FIXED_BYTES + _BYTES_FOR_A_BYTE * parts_bytes


def reserve(size_bytes: int) -> None:
    """Raise ModelError where the process cannot grow by so many bytes."""
    try:
        mmap.mmap(-1, size_bytes).close()
    except (OSError, MemoryError) as error:
        raise ModelError(
            f"not enough memory for the model: it needs about {size_bytes / 1e6:.0f} MB; "
            "free some or raise the process's limit"
        ) from error
