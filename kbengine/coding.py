"""Stretches of bytes, coded so that they take less room, and back again exactly.

    bytes    LZMA as for text: the byte before says most about the next
    words    LZMA as for 16-bit numbers
    floats   LZMA as for 32-bit numbers
    rising   uint16 numbers as their differences, modulo 65,536, then as `words`
    codes    a Huffman code alone, in Deflate's format: for weights, which nothing foretells
    grid     int8 rows that stand on grids of their own: a step for each row, then small codes

A weight of a `grid` is (step * code + 2) // 4, bounded to -127..127, in whole numbers: steps are
uint8, in quarters of an int8 step, codes int8. So every machine gives the same weights.

What is decoded may come from anywhere. No stretch gives more bytes than were asked for, and the
room that a decoder takes is bounded by that.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

STEPS_PER_UNIT = 4  # of a grid's steps in a step of int8
_SPLIT = 4  # bytes before the steps of a grid, with their coded size

# The bits of context (lc, lp, pb) that came out best of seven choices for the parts of the
# English bundle: `python -m train quantize kbengine/models/en.bundle --ship en.shipped`.
_TEXT, _WORDS, _FLOATS = (3, 0, 0), (1, 1, 1), (2, 2, 2)


class Coding(NamedTuple):
    """encode: bytes as fewer; decode: back, of so many bytes. width: of a number, in bytes.

    Both raise ValueError where the bytes are no such stretch.
    """

    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes, int], bytes]


def _filters(context: tuple[int, int, int], raw_bytes: int) -> list[dict[str, Any]]:
    lc, lp, pb = context
    # No further back than the stretch is long: the decoder takes this much memory.
    return [
        {
            "id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": lc, "lp": lp,
            "pb": pb, "dict_size": max(4096, raw_bytes),
        }
    ]  # fmt: skip


def _lzma(context: tuple[int, int, int]) -> Coding:
    def encode(data: bytes) -> bytes:
        return lzma.compress(data, lzma.FORMAT_RAW, filters=_filters(context, len(data)))

    def decode(data: bytes, raw_bytes: int) -> bytes:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(context, raw_bytes))
        try:
            found = decoder.decompress(data, raw_bytes + 1)
        except lzma.LZMAError as error:
            raise ValueError("it is no LZMA") from error
        return _whole(found, raw_bytes, decoder.eof and not decoder.unused_data)

    return Coding(encode, decode)


def _encode_codes(data: bytes) -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
    return coder.compress(data) + coder.flush()


def _decode_codes(data: bytes, raw_bytes: int) -> bytes:
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = decoder.decompress(data, raw_bytes + 1)
    except zlib.error as error:
        raise ValueError("it is no Deflate") from error
    left = decoder.unused_data or decoder.unconsumed_tail
    return _whole(found, raw_bytes, decoder.eof and not left)


def _whole(found: bytes, raw_bytes: int, ended: bool) -> bytes:
    if len(found) != raw_bytes or not ended:
        raise ValueError("it is longer or shorter than it says")
    return found


def _encode_rising(data: bytes) -> bytes:
    differences = np.diff(_u2(data), prepend=np.zeros(1, "<u2"))
    return CODINGS["words"].encode(differences.astype("<u2").tobytes())


def _decode_rising(data: bytes, raw_bytes: int) -> bytes:
    differences = _u2(CODINGS["words"].decode(data, raw_bytes))
    return np.cumsum(differences, dtype=np.uint16).astype("<u2").tobytes()


def _u2(data: bytes) -> NDArray[np.uint16]:
    if len(data) % 2:
        raise ValueError("it has half a number")
    return np.frombuffer(data, "<u2")


CODINGS = {
    "bytes": _lzma(_TEXT),
    "words": _lzma(_WORDS),
    "floats": _lzma(_FLOATS),
    "rising": Coding(_encode_rising, _decode_rising),
    "codes": Coding(_encode_codes, _decode_codes),
}


def on_grid(codes: NDArray[np.int8], steps: NDArray[np.uint8]) -> NDArray[np.int8]:
    """The weights int8[R, C] of codes int8[R, C] and steps uint8[R]; see the module's docstring."""
    # 255 * 128 + 2 is below 2**15.
    found = codes * steps.astype(np.int16)[:, np.newaxis]
    found += STEPS_PER_UNIT // 2
    found //= STEPS_PER_UNIT
    return np.clip(found, -127, 127, out=found).astype(np.int8)


def encode_grid(codes: NDArray[np.int8], steps: NDArray[np.uint8]) -> bytes:
    """A `grid` of codes int8[R, C] and steps uint8[R]."""
    first = CODINGS["bytes"].encode(steps.tobytes())
    return len(first).to_bytes(_SPLIT, "little") + first + _encode_codes(codes.tobytes())


def decode_grid(data: bytes, raw_bytes: int, rows: int) -> bytes:
    """The weights of a `grid` of so many rows. Raises ValueError where it is none."""
    if not 0 < rows <= raw_bytes or raw_bytes % rows:
        raise ValueError("its rows do not divide it")
    end = _SPLIT + int.from_bytes(data[:_SPLIT], "little")
    steps = np.frombuffer(CODINGS["bytes"].decode(data[_SPLIT:end], rows), np.uint8)
    codes = np.frombuffer(_decode_codes(data[end:], raw_bytes), np.int8)
    return on_grid(codes.reshape(rows, -1), steps).tobytes()
