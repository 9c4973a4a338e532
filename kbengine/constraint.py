"""What the next word may be: one of the lexicon, or any word, that begins as typed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from kbengine.lexicon import Lexicon
from kbengine.protocols import Cursor, Extensions, Ints
from kbengine.vocab import Vocabulary

LONGEST_PIECE = 16  # letters; SentencePiece makes none that are longer
_LAST = "\U0010ffff"  # sorts after every letter


def agreeing(texts: Sequence[str], rest: str, lo: int, hi: int) -> tuple[int, int, list[int]]:
    """Of sorted `texts[lo:hi]`, those that agree with the letters still to come.

    Returns the range of those that cover all of `rest`, and the places of those that are
    its beginning (the empty text included).
    """
    begin = bisect_left(texts, rest, lo, hi)
    end = bisect_left(texts, rest + _LAST, begin, hi)
    parts = []
    for length in range(min(len(rest), LONGEST_PIECE + 1)):
        place = bisect_left(texts, rest[:length], lo, hi)
        while place < hi and texts[place] == rest[:length]:
            parts.append(place)
            place += 1
    return begin, end, parts


class Known:
    """Words of the lexicon that begin with `typed` (in lower case). Cursors are its nodes."""

    def __init__(self, lexicon: Lexicon, typed: str) -> None:
        self._lexicon, self._typed = lexicon, typed

    def start(self) -> Cursor:
        return 0

    def expand(self, cursor: Cursor) -> Extensions:
        assert isinstance(cursor, int)
        lexicon = self._lexicon
        lo, hi = lexicon.children(cursor)
        rest = self._typed[lexicon.letters(cursor) :]
        if not rest:
            return Extensions(lexicon.pieces[lo:hi], range(lo, hi))
        begin, end, parts = agreeing(lexicon.texts, rest, lo, hi)
        if not parts:
            return Extensions(lexicon.pieces[begin:end], range(begin, end))
        nodes = [*range(begin, end), *parts]
        return Extensions(lexicon.pieces[nodes], nodes)

    def may_end(self, cursor: Cursor) -> bool:
        assert isinstance(cursor, int)
        return self._lexicon.is_word(cursor) and self._lexicon.letters(cursor) >= len(self._typed)


class Typed:
    """Any word at all that begins with `typed`, of whatever pieces.

    A cursor is how many of the typed letters are spelt, -1 before the first piece.
    """

    def __init__(self, vocabulary: Vocabulary, typed: str) -> None:
        self._first, self._inner = vocabulary.first_letters, vocabulary.inner_letters
        self._typed = typed

    def start(self) -> Cursor:
        return -1

    def expand(self, cursor: Cursor) -> Extensions:
        assert isinstance(cursor, int)
        index = self._first if cursor < 0 else self._inner
        spelt = max(0, cursor)
        rest = self._typed[spelt:]
        begin, end, parts = agreeing(index.texts, rest, 0, len(index.texts))
        whole = index.ids[begin:end]
        if not parts:
            return Extensions(whole, _Same(len(self._typed), len(whole)))
        pieces: Ints = np.concatenate([whole, index.ids[parts]])
        cursors = [len(self._typed)] * len(whole)
        return Extensions(pieces, cursors + [spelt + len(index.texts[i]) for i in parts])

    def may_end(self, cursor: Cursor) -> bool:
        return cursor == len(self._typed)


class _Same(Sequence[int]):
    """`count` times the same cursor, without a list of them."""

    def __init__(self, value: int, count: int) -> None:
        self._value, self._count = value, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place):  # type: ignore[no-untyped-def]
        return self._value
