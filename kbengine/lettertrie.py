"""Words as one tree of letters, in flat arrays.

Nodes stand in breadth-first order, the children of a node side by side and sorted by their
letters; the words stand in alphabetical order, so that those below a node are a range.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kbengine.arrays import Lift
from kbengine.protocols import Floats, Ints, WordStock
from kbengine.text import without_accents

Int32s = NDArray[np.int32]
LEAST_LOGP = -30.0  # below that of any word


MOST_LETTERS = 64  # of an alphabet: the bits of a mask; rarer letters' words are left out


class LetterTrie:
    """See the module's docstring. N nodes, node 0 the root; W words.

    Attributes:
        alphabet: the letters in order; a letter's number is its place there.
        letter: uint8[N], the letter that leads to a node.
        first: int32[N + 1], children of node i are first[i] to first[i + 1].
        low, high: int32[N], the words below a node.
        word: int32[N], the word that ends at a node, -1 for none.
        best_logp: float32[N], unigram logp of the commonest word below.
        rank: intp[W], a word's place in the order of the stock's own.
        place: intp[W], a word's number in the stock: its node in a lexicon.
    """

    def __init__(self, stock: WordStock) -> None:
        words, places = stock.alphabetical()
        self.alphabet = _alphabet(words)
        known = set(self.alphabet)
        if len(known) == MOST_LETTERS:
            kept = [i for i, word in enumerate(words) if known.issuperset(word)]
            words, places = [words[i] for i in kept], places[kept]
        self.words, self.place = words, places
        self.rank: Ints = stock.ranks(places)
        table = _numbers(words, self.alphabet)  # uint8[W, longest], 0 after a word's end
        lengths = (table > 0).sum(axis=1)
        # A node is made by the first word that has it: the first that differs from the one before.
        differs = np.ones(table.shape, np.bool_)
        differs[1:] = table[1:] != table[:-1]
        new = np.logical_or.accumulate(differs, axis=1) & (table > 0)
        size = 1 + int(new.sum())
        self.letter = np.zeros(size, np.uint8)
        parent = np.zeros(size, np.int32)
        self.low, self.high = np.zeros(size, np.int32), np.zeros(size, np.int32)
        self.high[0] = len(words)
        self.word = np.full(size, -1, np.int32)
        above: Ints = np.zeros(len(words), np.intp)  # of each word, its node one level up
        levels = []
        begin = 1
        for depth in range(table.shape[1]):
            made = np.flatnonzero(new[:, depth])
            end = begin + len(made)
            if end > begin:
                levels.append((begin, end))
            self.letter[begin:end] = table[made, depth] - 1
            parent[begin:end] = above[made]
            here = begin - 1 + np.cumsum(new[:, depth])
            alive = lengths > depth
            self.low[begin:end] = made
            self.high[begin:end] = made + np.bincount(here[alive] - begin, minlength=len(made))
            ending = np.flatnonzero(lengths == depth + 1)
            self.word[here[ending]] = ending
            above = np.where(alive, here, 0)
            begin = end
        counts = np.bincount(parent[1:], minlength=size)
        self.first: Int32s = np.concatenate([[1], 1 + np.cumsum(counts)]).astype(np.int32)
        self._mask = np.zeros(size, np.uint64)
        np.bitwise_or.at(self._mask, parent[1:], np.uint64(1) << self.letter[1:].astype(np.uint64))
        self.best_logp: Floats = np.full(size, LEAST_LOGP, np.float32)
        ends = self.word >= 0
        self.best_logp[ends] = stock.logps(places[self.word[ends]])
        Lift(parent[1:], levels)(self.best_logp)

    @cached_property
    def accented(self) -> Mapping[str, Sequence[str]]:
        """Words without their accents -> as they are; no words that have none."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for word in self.words:
            if not word.isascii():
                found[without_accents(word)].append(word)
        return found

    def child(self, nodes: Ints, letters: Ints) -> Ints:
        """The child of each node by a letter, 0 where there is none."""
        masks = self._mask[nodes]
        bits = np.uint64(1) << letters.astype(np.uint64)
        found = self.first[nodes] + np.bitwise_count(masks & (bits - np.uint64(1)))
        return np.where(masks & bits, found, 0)


def _alphabet(words: list[str]) -> str:
    """The letters of words in order, the commonest where they are too many."""
    counts = Counter("".join(words))
    # An alphabet has a letter, even where there is no word.
    return "".join(sorted(letter for letter, _ in counts.most_common(MOST_LETTERS))) or "'"


def _numbers(words: list[str], alphabet: str) -> NDArray[np.uint8]:
    """Words as rows of 1 + the number of each letter, 0 behind the last."""
    if not words:
        return np.zeros((0, 0), np.uint8)
    codes = np.array(words).view(np.uint32).reshape(len(words), -1)
    number = np.zeros(int(codes.max()) + 1, np.uint8)
    number[[ord(c) for c in alphabet]] = np.arange(1, len(alphabet) + 1)
    return number[codes]
