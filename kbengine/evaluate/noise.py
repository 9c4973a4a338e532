"""Fingers that slip: a line typed word by word, each word with one kind of slip, or none.

The kind of a word is drawn by `SHARES` from those that it can have, the place of the slip evenly
from those where there can be one. Only `touch` and the two that end in ``places`` or ``right keys``
know where the finger fell; the others are keys alone. What is drawn depends on the seed and the
line, not on the lines around it.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from kbengine import text
from kbengine.channel import APOSTROPHE
from kbengine.evaluate.lines import Line, Word, words
from kbengine.layout import Layout
from kbengine.types import Tap

# Weights, of which those of the kinds that a word cannot have fall away. What few words can have
# weighs more, or nothing could be said of it: of words with an apostrophe one in two loses it.
SHARES: Mapping[str, float] = {
    "clean": 0.30,
    "touch": 0.25,
    "neighbour": 0.10,
    "omitted": 0.07,
    "doubled": 0.05,
    "extra": 0.05,
    "swapped": 0.07,
    "apostrophe": 1.0,
    "accent": 1.0,
    "capital": 0.5,
    "missed space": 0.06,
    "extra space": 0.05,
}
CLEAN = ("clean", "clean, places", "touch, right keys")  # all letters as they are meant
SLIPS = tuple(kind for kind in SHARES if kind != "clean")
KINDS = (*SLIPS, *CLEAN)
LEAST_LETTERS = 2  # of a word that is typed
_LEAST_OMITTED = 3  # of one that loses a letter: nobody knows what a single one stands for
_LEAST_PARTED = 4  # of one with a space in it


class Typed(NamedTuple):
    """What came out.

    kind: of `KINDS`; meant: what should stand in the field; before: the line up to the taps of
    the open word; stands: how many characters left of the caret stand for what is meant.
    """

    kind: str
    meant: str
    before: str
    taps: tuple[Tap, ...]
    stands: int

    @property
    def typed(self) -> str:
        """The characters that stand for what is meant."""
        return (self.before + "".join(tap.char for tap in self.taps))[-self.stands :]


Way = Callable[[random.Random], list[Typed]]


@dataclass(frozen=True)
class Noise:
    """Fingers over a keyboard. sigma_kw: of the Gaussian around a key, in key widths."""

    layout: Layout
    sigma_kw: float = 0.3
    seed: int = 0
    _near: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises ValueError for a sigma that cannot be."""
        if not 0 < self.sigma_kw <= 5:
            raise ValueError(f"a sigma of {self.sigma_kw} key widths cannot be; give 0 to 5")

    def type(self, line: Line) -> Iterator[Typed]:
        """The words of a line of two letters or more, as they come out."""
        rng = random.Random(f"{self.seed} {line.number} {line.text}")
        found = [word for word in words(line.text) if len(word.text) >= LEAST_LETTERS]
        place = 0
        while place < len(found):
            word = found[place]
            after = found[place + 1] if place + 1 < len(found) else None
            ways = self.ways(line, word, after)
            kinds = [kind for kind in SHARES if kind in ways]
            kind = rng.choices(kinds, [SHARES[kind] for kind in kinds])[0]
            yield from ways[kind](rng)
            place += 2 if kind == "missed space" else 1

    def ways(self, line: Line, word: Word, after: Word | None) -> dict[str, Way]:
        """How a word can be typed, by kind. after: the next one of the line."""
        before = line.text[: word.start]

        def keys(kind: str, letters: str, meant: str = word.text) -> list[Typed]:
            return [Typed(kind, meant, before, tuple(map(Tap, letters)), len(letters))]

        def clean(_: random.Random) -> list[Typed]:
            aimed = Typed(
                "clean, places", word.text, before, self._aimed(word.text), len(word.text)
            )
            return [*keys("clean", word.text), aimed]

        def slip(kind: str, spellings: list[str]) -> Way:
            return lambda rng: keys(kind, rng.choice(spellings))

        found: dict[str, Way] = {
            "clean": clean,
            "touch": lambda rng: [self._touched(before, word.text, rng)],
        }
        for kind, spellings in self.spellings(word.text).items():
            if spellings:
                found[kind] = slip(kind, spellings)
        inside = not text.starts_sentence(before) and not line.text.isupper()
        if word.text[0].isupper() and inside:
            found["capital"] = lambda _: keys("capital", word.text.lower())
        if after is not None and after.start == word.end + 1:
            both = f"{word.text} {after.text}"
            found["missed space"] = lambda _: keys("missed space", word.text + after.text, both)
        parts = _parts(word.text)
        if parts:
            found["extra space"] = lambda rng: [_parted(before, word.text, rng.choice(parts))]
        return found

    def spellings(self, word: str) -> dict[str, list[str]]:
        """What a word with one slip may look like, by kind: its capitals stay in their place."""
        letters, cased = _by_case(word)
        spots = [i for i, c in enumerate(letters) if c.isalpha()]
        near = [(i, key) for i in spots for key in self.neighbours(letters[i])]
        pairs = [i for i in spots if i + 1 in spots and letters[i] != letters[i + 1]]
        accentless = "".join(
            c for c in unicodedata.normalize("NFD", letters) if not unicodedata.combining(c)
        )
        found = {
            "neighbour": [letters[:i] + key + letters[i + 1 :] for i, key in near],
            "omitted": [letters[:i] + letters[i + 1 :] for i in spots],
            "doubled": [letters[: i + 1] + letters[i:] for i in spots],
            "extra": [letters[:j] + key + letters[j:] for i, key in near for j in (i, i + 1)],
            "swapped": [
                letters[:i] + letters[i + 1] + letters[i] + letters[i + 2 :] for i in pairs
            ],
            "apostrophe": [letters.replace(APOSTROPHE, "")] if APOSTROPHE in letters else [],
            "accent": [accentless] if accentless != letters else [],
        }
        if len(letters) < _LEAST_OMITTED:
            found["omitted"] = []
        return {
            kind: [cased(one) for one in some if one[0].isalpha() and one[-1].isalpha()]
            for kind, some in found.items()
        }

    def neighbours(self, letter: str) -> tuple[str, ...]:
        """The letter keys that share an edge with a letter's own, none where it has none."""
        if letter not in self._near:
            here = self.layout.keys.get(letter)
            self._near[letter] = tuple(
                key
                for key, place in self.layout.keys.items()
                if here and key != letter and len(key) == 1 and key.isalpha()
                and self._share_edge(here, place)
            )  # fmt: skip
        return self._near[letter]

    def _share_edge(self, here: tuple[float, float], there: tuple[float, float]) -> bool:
        x, y = abs(here[0] - there[0]), abs(here[1] - there[1])
        same_row = y < self.layout.row_kw / 2
        return x < 1.01 if same_row else x < 0.99 and y < 1.01 * self.layout.row_kw

    @cached_property
    def _rows(self) -> dict[float, dict[str, float]]:
        """The keys that a word is typed with: y -> key -> x. A finger that falls beyond them, or
        on the space key, has hit the nearest: it does not end the word."""
        found: dict[float, dict[str, float]] = {}
        for key, (x, y) in self.layout.keys.items():
            if len(key) == 1 and (key.isalpha() or key == APOSTROPHE):
                found.setdefault(y, {})[key] = x
        return found

    def key_at(self, x: float, y: float) -> str:
        """The key under a finger; x, y in key widths."""
        row = self._rows[min(self._rows, key=lambda at: abs(at - y))]
        return min(row, key=lambda key: abs(row[key] - x))

    def _centre(self, char: str) -> tuple[float, float] | None:
        known = char.isalpha() or char == APOSTROPHE
        return self.layout.keys.get(char.lower()) if known else None

    def _aimed(self, word: str) -> tuple[Tap, ...]:
        """Taps in the middle of the keys, where the letters have one."""
        return tuple(Tap(c, *(self._centre(c) or (None, None))) for c in word)

    def _touched(self, before: str, word: str, rng: random.Random) -> Typed:
        """Taps around the keys. Letters without one are typed as they are, from a long press."""
        taps = []
        for char in word:
            centre = self._centre(char)
            if centre is None:
                taps.append(Tap(char))
                continue
            x, y = (round(rng.gauss(at, self.sigma_kw), 3) for at in centre)
            key = self.key_at(x, y)
            taps.append(Tap(key.upper() if char.isupper() else key, x, y))
        right = "".join(tap.char for tap in taps) == word
        return Typed(
            "touch, right keys" if right else "touch", word, before, tuple(taps), len(word)
        )


def _by_case(word: str) -> tuple[str, Callable[[str], str]]:
    """The letters that slip, and what gives the result the capitals of the word."""
    lower, shape = word.lower(), text.shape(word)
    if shape is text.Shape.MIXED or len(lower) != len(word):
        return word, str
    if shape is text.Shape.UPPER:
        return lower, str.upper
    return lower, text.title if shape is text.Shape.TITLE else str


def _parts(word: str) -> list[int]:
    """Where a space may be put in a word: between two letters."""
    if len(word) < _LEAST_PARTED:
        return []
    return [i for i in range(1, len(word)) if word[i - 1].isalpha() and word[i].isalpha()]


def _parted(before: str, word: str, at: int) -> Typed:
    """A word with a space in it: its first part stands in the line already."""
    taps = tuple(map(Tap, word[at:]))
    return Typed("extra space", word, f"{before}{word[:at]} ", taps, len(word) + 1)
