"""Emoji by the words that people know them by: ``pizz`` -> 🍕.

The table is a bundle's own, so that finding an emoji needs neither the `emoji` package
nor CLDR. On disk it is UTF-8 text, a line an emoji (the bundle compresses it):

    emoji TAB name TAB keyword|keyword|...

The lines stand in Unicode keyboard order, which settles ties.

P(emoji | keyword) is crude and needs no counts: an emoji weighs by how the keyword is
tied to it (see `_weights`), its share is its weight over the weights of all emoji of the
keyword, and a little is left for what the table does not know. So ``pizza`` is 🍕 and
hardly anything else, and ``red`` is spread thinly over many.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kbengine import text
from kbengine.errors import BundleError

# How strongly a keyword stands for an emoji; whole numbers, so that sums are exact and
# ties are ties. Set by hand, not tuned: no text says which emoji a keyword was meant for.
_WHOLE_NAME = 120
_NAME_WORD = 5  # and _NAME_SHARED split over the name's words: few words say more each
_NAME_SHARED = 20
_SECOND_NAME = 16
_KEYWORD = 4
_WEAK = 1
_REST = 8  # kept back from every keyword, for the emoji that the table does not tie to it

# What stands between words, and what is merely dropped (``U.S.``). A hyphen parts words
# only after a letter or digit: ``t-shirt``, but ``-1`` is one word.
_BETWEEN_RE = re.compile(r"[\s_:;,()\[\]{}&/!?\"\u00ab\u00bb\u201c\u201d]+|(?<=\w)[-\u2013\u2014]+")
_RESERVED_RE = re.compile("[\t\n|]")
_LONGEST_NAME = 100  # characters of a name or keyword; the shipped table's longest has 49
_LONGEST_EMOJI = 32  # code points; families and flags have ten at most
_LAST = "\U0010ffff"  # sorts behind whatever may follow a prefix


@dataclass(frozen=True, slots=True)
class EmojiEntry:
    """One emoji in its fully qualified form, its name, and its keywords.

    The first keyword is a second name, which sets the emoji apart from those that share
    its other keywords (``heart`` of ❤️, ``joy`` of 😂); it repeats the name if there is none.
    """

    emoji: str
    name: str
    keywords: tuple[str, ...]


class EmojiHit(NamedTuple):
    """An emoji, the full word or phrase (folded) that it was found by, and the share of
    that word's uses that are this emoji: P(emoji | keyword), in (0, 1]."""

    emoji: str
    keyword: str
    share: float


def fold(phrase: str) -> str:
    """`phrase` as the index spells it: NFC, lower case, one space between words.

    >>> fold("Smiling cat with heart-eyes"), fold("U.S. Virgin Islands")
    ('smiling cat with heart eyes', 'us virgin islands')
    """
    if phrase.isascii() and phrase.replace(" ", "").isalpha():  # nearly all of a table
        return " ".join(phrase.lower().split())
    lower = text.normalise(phrase).lower().replace(".", "")
    # Again NFC: lower case and a dropped full stop can bring letter and accent together.
    return unicodedata.normalize("NFC", " ".join(_BETWEEN_RE.sub(" ", lower).split()))


class EmojiTable:
    """See the module's docstring. Immutable; threads may share it."""

    def __init__(self, entries: Sequence[EmojiEntry]) -> None:
        """Raises ValueError where there are no entries, an emoji comes twice, or a field
        is empty or holds a tab, a line break or ``|``."""
        self._entries = tuple(entries)
        if not self._entries:
            raise ValueError("there are no emoji")
        for entry in self._entries:
            fields = (entry.emoji, entry.name, *entry.keywords)
            if not all(fields) or _RESERVED_RE.search("".join(fields)):
                raise ValueError(f"{entry.emoji!r} has a field that is empty or holds a separator")
        if len({entry.emoji for entry in self._entries}) < len(self._entries):
            raise ValueError("an emoji comes twice")

    @classmethod
    def from_bytes(cls, data: bytes) -> EmojiTable:
        """The table that `to_bytes` wrote; raises BundleError where `data` is none."""
        try:
            lines = data.decode("utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError:
            raise BundleError("the emoji table is not UTF-8 text; build the bundle again") from None
        entries = []
        for number, line in enumerate(lines if data else [], 1):
            columns = line.split("\t")
            if len(columns) != 3:
                raise BundleError(
                    f"line {number} of the emoji table has {len(columns)} columns, not 3;"
                    " build the bundle again"
                )
            symbol, name, keywords = columns
            if len(symbol) > _LONGEST_EMOJI:
                raise BundleError(
                    f"line {number} of the emoji table begins with no emoji; build the bundle again"
                )
            if max(map(len, (name, *keywords.split("|")))) > _LONGEST_NAME:
                raise BundleError(
                    f"line {number} of the emoji table has a name of more than {_LONGEST_NAME} "
                    "characters; build the bundle again"
                )
            entries.append(EmojiEntry(symbol, name, tuple(keywords.split("|")) if keywords else ()))
        try:
            return cls(entries)
        except ValueError as error:
            raise BundleError(
                f"the emoji table is broken ({error}); build the bundle again"
            ) from None

    def to_bytes(self) -> bytes:
        """The table on disk; raises ValueError where a field holds a lone surrogate."""
        lines = (f"{e.emoji}\t{e.name}\t{'|'.join(e.keywords)}\n" for e in self._entries)
        return "".join(lines).encode("utf-8")

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[EmojiEntry]:
        return iter(self._entries)

    def find(self, prefix: str, n: int) -> list[EmojiHit]:
        """Up to `n` emoji with a word that begins with `prefix`, the best first.

        An emoji comes once, with its best keyword. First come the emoji of `prefix` as a
        complete word, then those that are tied most strongly to a word that is typed for
        the most part. A prefix with a space or a hyphen in it is the beginning of a phrase
        instead: ``red hea`` -> red heart.
        """
        key = _key(fold(prefix))
        if not key or n < 1:
            return []
        if prefix[-1].isspace() or prefix[-1] == "-":
            key = f" {key.lstrip()} "  # the first word is complete, another one is to follow
        return [self._hit(posting) for posting in self._index.best(key, n)]

    def exact(self, word: str, n: int) -> list[EmojiHit]:
        """Up to `n` emoji of this complete word or phrase, the greatest share first."""
        return [self._hit(posting) for posting in self._index.of(_key(fold(word)))[: max(n, 0)]]

    def _hit(self, posting: int) -> EmojiHit:
        index = self._index
        key = index.keys[index.key_of[posting]]
        entry = self._entries[index.entry_of[posting]]
        return EmojiHit(entry.emoji, key.lstrip(), float(index.shares[posting]))

    @cached_property
    def _index(self) -> _Index:
        # Built on first use; two threads may both build it, which wastes some milliseconds.
        return _Index(self._entries)


def _key(folded: str) -> str:
    """What the index sorts by. Phrases get a space before them, which sets them apart from
    the words: ``red`` is to find an apple by "red", not by "red apple"."""
    return f" {folded}" if " " in folded else folded


def _weights(name: str, keywords: Sequence[str], telling: Container[str]) -> dict[str, int]:
    """Key -> how strongly it stands for an emoji of that folded name and those keywords.

    What is both in the name and a keyword counts twice. Words inside a name or keyword
    that are not `telling` hardly count: the "of" and "the" of the language.
    """
    weights: dict[str, int] = {}
    weight = _SECOND_NAME
    for keyword in keywords:
        if keyword != name:
            key = _key(keyword)
            weights[key] = max(weights.get(key, 0), weight)
            if key != keyword:
                for word in keyword.split(" "):
                    weights.setdefault(word, _WEAK)
        weight = _KEYWORD
    key = _key(name)
    if key != name:
        words = name.split(" ")
        strong = _NAME_WORD + _NAME_SHARED // len(words)
        for word in dict.fromkeys(words):
            weights[word] = weights.get(word, 0) + (strong if word in telling else _WEAK)
    weights[key] = weights.get(key, 0) + _WHOLE_NAME
    weights.pop("", None)  # of names and keywords that are signs only
    return weights


class _Index:
    """Sorted keys, and for each a stretch of *postings*, the emoji of that key.

    K keys, P postings; a posting is known by its place, 0 to P - 1. `key_of` and
    `entry_of`, int[P], say whose it is and which entry it names; `shares` is float[P].
    Within a key the greatest share comes first.
    """

    def __init__(self, entries: Sequence[EmojiEntry]) -> None:
        folded = [(fold(e.name), [fold(k) for k in e.keywords]) for e in entries]
        telling = {k for name, keywords in folded for k in (name, *keywords)}
        found: dict[str, int] = {}  # key -> a number, in order of appearance
        numbers: list[int] = []
        weight_list: list[int] = []
        sizes: list[int] = []
        for name, keywords in folded:
            weights = _weights(name, keywords, telling)
            numbers += [found.setdefault(key, len(found)) for key in weights]
            weight_list += weights.values()
            sizes.append(len(weights))
        self.keys = sorted(found)
        sorted_place = np.empty(len(found), np.intp)
        sorted_place[[found[key] for key in self.keys]] = np.arange(len(found))
        key_of = sorted_place[numbers]
        weight_of = np.array(weight_list, np.intp)
        entry_of = np.repeat(np.arange(len(entries)), sizes)
        order = np.lexsort((entry_of, -weight_of, key_of))
        self.key_of: NDArray[np.intp] = key_of[order]
        self.entry_of: NDArray[np.intp] = entry_of[order]
        weight_of = weight_of[order]
        totals = np.zeros(len(found), np.intp)
        np.add.at(totals, self.key_of, weight_of)
        self.shares: NDArray[np.float64] = weight_of / (totals + _REST)[self.key_of]
        places = np.arange(len(found) + 1)
        self._starts: list[int] = np.searchsorted(self.key_of, places).tolist()
        # Of a key, len(prefix) / len(key) is typed. Only the divisor differs from key to
        # key, so that one ranking of all postings serves every prefix.
        lengths = np.array([len(key) for key in self.keys], np.intp)
        order = np.lexsort((self.entry_of, -weight_of / lengths[self.key_of]))
        self._ranks: NDArray[np.intp] = np.empty(len(order), np.intp)
        self._ranks[order] = np.arange(len(order))

    def of(self, key: str) -> range:
        """The postings of a key; none where it is unknown."""
        place = bisect_left(self.keys, key)
        if self.keys[place : place + 1] != [key]:
            return range(0)
        return range(self._starts[place], self._starts[place + 1])

    def best(self, prefix: str, n: int) -> list[int]:
        """The `n` best postings of keys with that prefix, the best first, an entry once."""
        complete = self.of(prefix)[:n]
        found = dict(
            zip(self.entry_of[complete.start : complete.stop].tolist(), complete, strict=True)
        )
        first = self._starts[bisect_left(self.keys, prefix)]
        ranks = self._ranks[first : self._starts[bisect_left(self.keys, prefix + _LAST)]]
        seen, take = 0, 4 * n  # an entry comes several times under most prefixes
        while len(found) < n and seen < len(ranks):
            chosen = np.argpartition(ranks, take)[:take] if take < len(ranks) else slice(None)
            places = np.arange(len(ranks))[chosen]
            for place in places[np.argsort(ranks[places])].tolist():
                found.setdefault(int(self.entry_of[first + place]), first + place)
            seen, take = len(places), 4 * take
        return list(found.values())[:n]
