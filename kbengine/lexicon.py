"""Known words: their pieces as one tree, how common they are, how they are written.

The words share a tree of pieces whose nodes stand in breadth-first order, the children of
a node side by side and sorted by their letters, so that the words that begin as typed are
a range found by bisection. On disk (`kbengine.arrays`; N nodes, node 0 the root):

    pieces    uint16[N]  the piece that leads to the node
    children  uint16[N]  how many children it has; their places follow by summing up
    rarity    uint8[N]   -12 times the word's unigram logp, 255 where no word ends
    form      uint8[N]   casing: 0 lower, 1 Title, 2 UPPER, 3 as listed in `written`; and 4 where
                         the word is loose: offered, but not protected from correction
    written   uint8[M]   the casings that are listed, in UTF-8, a line each, by node
"""

from __future__ import annotations

import functools
import math
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kbengine import text
from kbengine.arrays import dump_arrays, load_arrays
from kbengine.errors import BundleError
from kbengine.protocols import Floats, Ints
from kbengine.vocab import MARK, Vocabulary

_ARRAYS = {"pieces": "u2", "children": "u2", "rarity": "u1", "form": "u1", "written": "u1"}
_STEPS_PER_NAT = 12
_NO_WORD = 255
_LISTED, _LOOSE = 3, 4  # of `form`: the casing that stands in `written`, the bit of loose words
_FORMS = {text.Shape.LOWER: 0, text.Shape.TITLE: 1, text.Shape.UPPER: 2, text.Shape.MIXED: _LISTED}


class Entry(NamedTuple):
    """A word in lower case, its unigram log-probability, how it is written, and whether it is
    loose: offered, but not protected from correction (dont, which people send for don't)."""

    word: str
    logp: float
    written: str
    loose: bool = False


class Lexicon:
    """See the module's docstring. A word is known by its node, 1 to N - 1."""

    def __init__(self, arrays: dict[str, NDArray[np.generic]], vocabulary: Vocabulary) -> None:
        """Raises BundleError where the arrays contradict each other or the vocabulary."""
        self._vocabulary = vocabulary
        pieces, children = arrays["pieces"], arrays["children"]
        size = len(pieces)
        same = all(arrays[name].shape == (size,) for name in ("children", "rarity", "form"))
        if not same or not size or int(children.sum()) != size - 1:
            raise BundleError("the lexicon's tables do not fit together; build the bundle again")
        if int(pieces.max()) >= len(vocabulary):
            raise BundleError("the lexicon is of another vocabulary; build the bundle again")
        self.pieces: Ints = pieces.astype(np.intp)
        ends = np.cumsum(children.astype(np.intp)) + 1
        self._ends = array("i", ends.tolist())  # lists of so many numbers take ten times as much
        self._parents: Ints = np.repeat(np.arange(size), children.astype(np.intp))
        spelt = [piece.replace(MARK, "") for piece in vocabulary.pieces]
        self.texts: list[str] = [spelt[i] for i in self.pieces.tolist()]
        if np.any(self._parents >= np.arange(1, size)):
            raise BundleError("the lexicon is no tree; build the bundle again")
        self._letters = self._count_letters(np.array([len(s) for s in spelt], np.intp))
        self._rarity = arrays["rarity"]
        # Kept here, for all fields: asked for each word that is shown.
        self.in_sentence = functools.lru_cache(maxsize=8192)(self._in_sentence)
        self._ends_word: bytes = (self._rarity != _NO_WORD).tobytes()  # asked for at every path
        self._form = arrays["form"]
        special = np.flatnonzero(_is_listed(self._form)).tolist()
        written = bytes(arrays["written"].astype(np.uint8)).decode("utf-8", "replace").split("\n")
        self._written = dict(zip(special, written, strict=False))
        self._size = int((self._rarity != _NO_WORD).sum())

    def _count_letters(self, lengths: Ints) -> array[int]:
        """How many letters lead to each node, a level of the tree at a time."""
        letters = lengths[self.pieces]
        letters[0] = 0
        begin, end = 1, self._ends[0]
        while begin < end:
            letters[begin:end] += letters[self._parents[begin - 1 : end - 1]]
            begin, end = end, self._ends[end - 1]
        return array("i", letters.tolist())

    def __len__(self) -> int:
        return self._size

    def __contains__(self, word: str) -> bool:
        return self.find(word) is not None

    def __iter__(self) -> Iterator[Entry]:
        for node in np.flatnonzero(self._rarity != _NO_WORD).tolist():
            written, loose = self.written(node), self.is_loose(node)
            yield Entry(self.spelling(node), self.logp(node), written, loose)

    @functools.cached_property
    def word_ranges(self) -> tuple[Ints, Ints]:
        """The words in the order of a walk through the tree, each before those that begin with its
        pieces: intp[N] where those at and below a node begin, and where they end."""
        size, ends = len(self.pieces), np.array(self._ends, np.intp)
        firsts = np.concatenate([[1], ends[:-1]])
        own = np.asarray(self._rarity != _NO_WORD, np.intp)
        counts, levels = own.copy(), self._levels()
        for begin, end in reversed(levels):
            np.add.at(counts, self._parents[begin - 1 : end - 1], counts[begin:end])
        before = np.cumsum(counts) - counts  # of a node in the list of all
        low = np.zeros(size, np.intp)
        for begin, end in levels:
            parents = self._parents[begin - 1 : end - 1]
            siblings = before[begin:end] - before[firsts[parents]]
            low[begin:end] = low[parents] + own[parents] + siblings
        return low, low + counts

    def ranks(self, nodes: Ints) -> Ints:
        """The places of words in that order."""
        return self.word_ranges[0][nodes]

    @functools.cached_property
    def first_pieces(self) -> Ints:
        """intp[N], the first of the pieces that lead to each node."""
        found = self.pieces.copy()
        for begin, end in self._levels()[1:]:
            found[begin:end] = found[self._parents[begin - 1 : end - 1]]
        return found

    def _levels(self) -> list[tuple[int, int]]:
        """Where each level of the tree begins and ends, the root's left out."""
        levels, begin, end = [], 1, self._ends[0]
        while begin < end:
            levels.append((begin, end))
            begin, end = end, self._ends[end - 1]
        return levels

    def children(self, node: int) -> tuple[int, int]:
        """The range of a node's children."""
        return (self._ends[node - 1] if node else 1), self._ends[node]

    def letters(self, node: int) -> int:
        """How many letters lead to a node."""
        return self._letters[node]

    def is_word(self, node: int) -> bool:
        """Whether a word ends at a node."""
        return bool(self._ends_word[node])

    def is_loose(self, node: int) -> bool:
        """Whether the word that ends at a node is not protected from correction."""
        return bool(self._form[node] & _LOOSE)

    def logp(self, node: int) -> float:
        """The unigram log-probability of the word that ends at a node."""
        return -float(self._rarity[node]) / _STEPS_PER_NAT

    def logps(self, nodes: Ints) -> Floats:
        """float32, the unigram log-probabilities of words."""
        return self._rarity[nodes].astype(np.float32) / np.float32(-_STEPS_PER_NAT)

    def alphabetical(self) -> tuple[list[str], Ints]:
        """All words in order, and the node of each."""
        spelt = [""]
        for parent, piece in zip(self._parents.tolist(), self.texts[1:], strict=True):
            spelt.append(spelt[parent] + piece)
        nodes = np.flatnonzero(self._rarity != _NO_WORD).tolist()
        # Two paths of pieces may spell one word; a word has one node.
        order = sorted({spelt[node]: node for node in nodes}.items())
        return [word for word, _ in order], np.array([node for _, node in order], np.intp)

    def find(self, word: str) -> int | None:
        """The node of a word, in any casing; None where it is not known."""
        node = 0
        lower = word.lower()
        if not lower or not text.is_word(lower):
            return None
        for piece in self._vocabulary.encode_token(lower):
            lo, hi = self.children(node)
            places = np.flatnonzero(self.pieces[lo:hi] == piece)
            if not len(places):
                return None
            node = lo + int(places[0])
        return node if self.is_word(node) else None

    def spelling(self, node: int) -> str:
        """The letters that lead to a node, in lower case."""
        parts = []
        while node:
            parts.append(self.texts[node])
            node = int(self._parents[node - 1])
        return "".join(reversed(parts))

    def path(self, node: int) -> tuple[int, ...]:
        """The pieces that lead to a node."""
        found = []
        while node:
            found.append(int(self.pieces[node]))
            node = int(self._parents[node - 1])
        return tuple(reversed(found))

    def written(self, node: int) -> str:
        """The word that ends at a node, as it is mostly written inside a sentence."""
        word = self.spelling(node)
        form = int(self._form[node]) & _LISTED
        if form == _LISTED:
            return self._written.get(node, word)
        return word if form == 0 else text.title(word) if form == 1 else word.upper()

    def _in_sentence(self, word: str) -> str:
        """A word in lower case as it stands inside a sentence, also one that is not known."""
        node = self.find(word)
        return self.written(node) if node is not None else word

    def to_bytes(self) -> bytes:
        """The lexicon as it stands on disk; see the module's docstring."""
        special = "\n".join(self._written[i] for i in sorted(self._written))
        counts = np.diff(np.array([1, *self._ends]))
        return dump_arrays(
            {
                "pieces": self.pieces.astype(np.uint16),
                "children": counts.astype(np.uint16),
                "rarity": self._rarity,
                "form": self._form,
                "written": np.frombuffer(special.encode(), np.uint8),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, vocabulary: Vocabulary) -> Lexicon:
        """Raises BundleError where `data` is no lexicon for this vocabulary."""
        try:
            found = load_arrays(data, _ARRAYS)
            _check_words(found)
        except ValueError as error:
            raise BundleError("the lexicon is not readable; build the bundle again") from error
        return cls(found, vocabulary)

    @classmethod
    def build(cls, entries: Iterable[Entry], vocabulary: Vocabulary) -> Lexicon:
        """The lexicon of some words; each is entered under its likeliest pieces.

        A word that the vocabulary cannot spell (an unknown letter) is left out.
        """
        root: dict[int, dict] = {}  # type: ignore[type-arg]
        words: dict[tuple[int, ...], Entry] = {}
        for entry in entries:
            pieces = vocabulary.encode_token(entry.word)
            if not text.is_word(entry.word) or vocabulary.spell(pieces) != entry.word:
                continue
            words[pieces] = entry
            node = root
            for piece in pieces:
                node = node.setdefault(piece, {})
        rows: list[tuple[int, int, int, int]] = []
        written: list[str] = []
        level: list[tuple[tuple[int, ...], dict]] = [((), root)]  # type: ignore[type-arg]
        while level:
            below = []
            for path, node in level:
                order = sorted(node, key=lambda i: (vocabulary.spell((i,)), i))
                below += [((*path, i), node[i]) for i in order]
                word = words.get(path)
                rarity, form = _NO_WORD, 0
                if word is not None:
                    rarity = min(_NO_WORD - 1, max(0, round(-word.logp * _STEPS_PER_NAT)))
                    form = _FORMS[text.shape(word.written)]
                    if form == 1 and text.title(word.word) != word.written:
                        form = _LISTED
                    if form == _LISTED:
                        written.append(word.written)
                    form |= _LOOSE if word.loose else 0
                rows.append((path[-1] if path else 0, len(node), rarity, form))
            level = below
        table = np.array(rows, np.int64)
        return cls(
            {
                "pieces": table[:, 0].astype(np.uint16),
                "children": table[:, 1].astype(np.uint16),
                "rarity": table[:, 2].astype(np.uint8),
                "form": table[:, 3].astype(np.uint8),
                "written": np.frombuffer("\n".join(written).encode(), np.uint8),
            },
            vocabulary,
        )


def _is_listed(form: NDArray[Any]) -> NDArray[np.bool_]:
    """bool[N], whether the casing of a node stands in `written`."""
    listed: NDArray[np.bool_] = (form.astype(np.uint8) & _LISTED) == _LISTED
    return listed


def _check_words(arrays: dict[str, NDArray[Any]]) -> None:
    """Raise ValueError where forms and casings are none that `to_bytes` writes, or the tree is
    so deep that a word would take long to follow."""
    children, form = arrays["children"].astype(np.intp), arrays["form"]
    listed = arrays["written"].tobytes().decode("utf-8")
    lines = listed.count("\n") + 1 if listed else 0
    if not len(form) or form.max() > _LISTED + _LOOSE or int(_is_listed(form).sum()) != lines:
        raise ValueError("its casings are not those of its words")
    if len(children) != len(form) or int(children.sum()) != len(children) - 1:
        raise ValueError("its tables do not fit together")
    ends = np.cumsum(children) + 1
    begin, end = 1, int(ends[0])
    for _ in range(text.MAX_WORD):
        if begin >= end:
            return
        begin, end = end, int(ends[end - 1])
    raise ValueError("its words are too long")


def unigram_logp(count: float, total: float) -> float:
    """log of a word's share of all words."""
    return math.log(count / total)
