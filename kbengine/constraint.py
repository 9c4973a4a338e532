"""What the next word may be: one of the lexicon that begins as typed, or that the taps may have
meant, or any word that begins as typed."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np

from kbengine.decoder import Decoder
from kbengine.lettertrie import LetterTrie
from kbengine.lexicon import Lexicon
from kbengine.protocols import Cursor, Extensions, Floats, Ints
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

    def end_logp(self, cursor: Cursor) -> float:
        assert isinstance(cursor, int)
        lexicon = self._lexicon
        ends = lexicon.is_word(cursor) and lexicon.letters(cursor) >= len(self._typed)
        return 0.0 if ends else -math.inf


# Beginnings of words that the taps make so much unlikelier than the best are not gone on with: of
# 5 to 14 nats, 7 finds as much and costs a fifth less a key than 14.
REACH = 7.0


class Heard:
    """Words of the lexicon that taps may have meant, finished or, unless `finished`, begun.

    What the taps say for a word is charged as early as it is sure: a node's cost so far is that of
    the best word below it. Cursors are the lexicon's nodes.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        trie: LetterTrie,
        decoder: Decoder,
        finished: bool = False,
        weigh: Callable[[Floats], Floats] | None = None,
    ) -> None:
        """weigh: what becomes of log P(taps | words) before it is charged."""
        self._lexicon = lexicon
        self._low, self._high = lexicon.word_ranges
        self._words: Floats = np.full(self._high[0], -np.inf, np.float32)
        nodes, logp = decoder.front
        ends = trie.word[nodes]
        whole = ends >= 0
        ends, logp = ends[whole], logp[whole]
        if not finished:
            nodes, begun = decoder.reached
            likely = begun >= begun.max(initial=-np.inf) - REACH
            order = np.argsort(begun[likely], kind="stable")
            nodes, begun = nodes[likely][order], begun[likely][order]
            said = begun if weigh is None else weigh(begun)
            low, high = trie.low[nodes].tolist(), trie.high[nodes].tolist()
            for begin, end, value in zip(low, high, said.tolist(), strict=True):
                self._words[trie.rank[begin:end]] = value  # the best last
        said = logp if weigh is None else weigh(logp)
        ranks = trie.rank[ends]
        self._words[ranks] = np.maximum(self._words[ranks], said)
        best = float(self._words.max(initial=-np.inf))
        self.best_logp = best

    def word_logp(self, node: int) -> float:
        """What the taps say for the word that ends at a node, -inf where they rule it out."""
        return float(self._words[self._low[node]]) if self._lexicon.is_word(node) else -math.inf

    def start(self) -> Cursor:
        return 0

    def expand(self, cursor: Cursor) -> Extensions:
        assert isinstance(cursor, int)
        low, high = self._lexicon.children(cursor)
        if low == high:
            return Extensions(self._lexicon.pieces[low:high], ())
        begins = self._low[low:high] - self._low[low]
        words = self._words[self._low[low] : self._high[high - 1]]
        best = np.maximum.reduceat(words, begins)
        alive = np.flatnonzero(best > -np.inf)
        nodes = alive + low
        cost = best[alive] - np.float32(self._best(cursor))
        return Extensions(self._lexicon.pieces[nodes], nodes.tolist(), cost)

    def _best(self, node: int) -> float:
        """What the taps say for the best of the words at and below a node."""
        if not node:
            return self.best_logp
        return float(self._words[self._low[node] : self._high[node]].max())

    def end_logp(self, cursor: Cursor) -> float:
        assert isinstance(cursor, int)
        own = self.word_logp(cursor)
        return own - self._best(cursor) if own > -math.inf else own


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

    def end_logp(self, cursor: Cursor) -> float:
        return 0.0 if cursor == len(self._typed) else -math.inf


class _Same(Sequence[int]):
    """`count` times the same cursor, without a list of them."""

    def __init__(self, value: int, count: int) -> None:
        self._value, self._count = value, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place):  # type: ignore[no-untyped-def]
        return self._value
