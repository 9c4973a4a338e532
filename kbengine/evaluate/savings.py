"""Keystrokes saved by kinds of words: how long they are, and where in the line they stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kbengine.evaluate.counts import Floats64
from kbengine.evaluate.figures import Figure, Weights, intervals
from kbengine.evaluate.typist import TypedWord

LONGEST = 12  # letters; longer words count with those
LAST = 20  # position in the line; later words count with those

TypedWords = Sequence[Sequence[TypedWord]]  # of each line


def by_length(lines: TypedWords) -> dict[str, Figure]:
    """Of the characters of words of 1, 2, ... letters, with the space that a pick types, the
    share of keystrokes saved."""
    return _shares(lines, lambda word: word.letters, LONGEST)


def by_position(lines: TypedWords) -> dict[str, Figure]:
    """The same for the first word of a line, the second, and so on."""
    return _shares(lines, lambda word: word.position + 1, LAST)


def _shares(lines: TypedWords, number: Callable[[TypedWord], int], last: int) -> dict[str, Figure]:
    room, saved = np.zeros((len(lines), last)), np.zeros((len(lines), last))
    for i, words in enumerate(lines):
        for word in words:
            column = min(number(word), last) - 1
            room[i, column] += word.room
            saved[i, column] += word.saved

    def under(weights: Weights) -> Floats64:
        rooms = weights @ room
        empty = np.full(rooms.shape, np.nan)
        found: Floats64 = np.divide(weights @ saved, rooms, out=empty, where=rooms > 0)
        return found

    names = [*map(str, range(1, last)), f"{last}+"]
    return dict(zip(names, intervals(len(lines), under), strict=True))
