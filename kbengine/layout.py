"""Keyboards: where each key stands.

A file has a line a key, `char TAB x TAB y`: the character in lower case (`space` for the space
key) and its centre in key widths, y downwards. Lines that begin with ``#`` are notes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from kbengine.errors import BundleError

SPACE = "space"
_MOST_KEYS = 400
_ROW_KW = 1.5  # how high a row is where a layout has one alone; as on the shipped ones


class Layout:
    """The keys of a keyboard. Immutable.

    keys: char -> centre (x, y) in key widths; row_kw: how high a row is, in key widths.
    """

    def __init__(self, keys: Mapping[str, tuple[float, float]]) -> None:
        """Raises ValueError, naming the key, for one that cannot be."""
        if not keys or len(keys) > _MOST_KEYS:
            raise ValueError(f"a keyboard has 1 to {_MOST_KEYS} keys, not {len(keys)}")
        for char, place in keys.items():
            if not isinstance(char, str) or not _is_place(place):
                raise ValueError(f"the key {char!r} stands nowhere; give x and y in key widths")
            if char != SPACE and (len(char) != 1 or char != char.lower() or char.isspace()):
                raise ValueError(f"{char!r} is no key; give one character in lower case, or space")
        self.keys = dict(keys)
        rows = sorted({y for _, y in keys.values()})
        self.row_kw = min((b - a for a, b in pairwise(rows) if b - a > 0.1), default=_ROW_KW)

    @classmethod
    def parse(cls, lines: str) -> Layout:
        """The keyboard of a file's text; raises ValueError, naming the line, for no keyboard."""
        keys: dict[str, tuple[float, float]] = {}
        for number, line in enumerate(lines.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                char, x, y = line.split("\t")
                place = float(x), float(y)
            except ValueError:
                raise ValueError(
                    f"line {number} of the layout is no key; write: a character, tab, x, tab, y"
                ) from None
            if char in keys:
                raise ValueError(f"line {number} of the layout has the key {char!r} once more")
            keys[char] = place
        return cls(keys)

    def __str__(self) -> str:
        return "".join(f"{char}\t{x:.6g}\t{y:.6g}\n" for char, (x, y) in self.keys.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self.keys == other.keys

    def __hash__(self) -> int:
        return hash(tuple(self.keys.items()))


def _is_place(place: object) -> bool:
    """Whether a value is x and y, near enough for a keyboard."""
    return (
        isinstance(place, tuple)
        and len(place) == 2
        and all(isinstance(v, (int, float)) and math.isfinite(v) and abs(v) < 100 for v in place)
    )


def read_layout(path: str | Path) -> Layout:
    """The keyboard of a file such as data/layouts/qwertz.tsv.

    Raises BundleError, in one sentence, where it is none.
    """
    path = Path(path)
    try:
        return Layout.parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BundleError(f"{path}: no such file; give a layout such as qwertz.tsv") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} is no keyboard layout: {error}") from error
