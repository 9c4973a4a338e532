"""Rates of slips, from the counts of a text.

A token that is no right word and one slip away from much commoner right words is theirs, in shares,
as often as their counts and the rates so far make likely (expectation maximisation).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from kbengine import text
from kbengine.channel import APOSTROPHE, Rates
from kbengine.layout import Layout
from train.spelling import VOWELS, Rule, left_out, swaps

SURE = 1000.0  # a token that the text has so often counts as a right word, without --words
COMMONER = 50.0  # a source must be so many times commoner than a token that it explains
LETTERS = 5  # of words whose slips are counted: what is one slip from a shorter one is often slang
# A token counts for its sources at most as one in so many of their uses: what comes oftener is a
# habit or a word of its own, no slip.
RARE = 1000.0
ROUNDS = 12  # of expectation maximisation; it is there after eight
NEAR_KW = 1.7  # keys whose centres are so near are neighbours: one key beside, one row off
_LEAST_LOGP = -30.0


# Rates of slips


def right_words(tokens: Mapping[str, float], listed: Collection[str]) -> dict[str, float]:
    """The tokens that are right words: the listed ones, or without a list those that the text has
    `SURE` times or more and that are not a commoner one without its apostrophe."""
    if listed:
        return {token: n for token, n in tokens.items() if n > 0 and token in listed}
    sure = {token: n for token, n in tokens.items() if n >= SURE and text.is_word(token)}
    bare = {word.replace(APOSTROPHE, ""): n for word, n in sure.items() if APOSTROPHE in word}
    return {word: n for word, n in sure.items() if n > bare.get(word, 0.0)}


class Sources(NamedTuple):
    """What a token may be a slip of. uses: of all those words in the text; expected: by kind of
    slip, how often the token would stand there if each opportunity for one were taken."""

    uses: float
    expected: Mapping[str, float]


KINDS = ("omitted", "doubled", "extra", "swapped", "neighbour", "far", "missed_space")


class Slips:
    """Which right words a token may be a slip of. Letters are those that have a key."""

    def __init__(
        self, right: Mapping[str, float], layout: Layout, spared: Collection[Rule]
    ) -> None:
        """spared: exchanges of a letter that are spelling, not fingers."""
        self._letters = {char for char in layout.keys if len(char) == 1 and char.isalpha()}
        self._right = {w: n for w, n in right.items() if self._typed(w)}
        self._left_out = {word.replace(APOSTROPHE, "") for word in right if APOSTROPHE in word}
        self._total = sum(self._right.values())
        self._without: defaultdict[str, list[str]] = defaultdict(list)
        self._but_one: defaultdict[str, list[str]] = defaultdict(list)
        for word in self._right:
            if len(word) >= LETTERS:
                for i, short in enumerate(left_out(word)):
                    self._without[short].append(word)
                    self._but_one[word[:i] + "?" + word[i + 1 :]].append(word)
        self.near = neighbours(layout, self._letters)
        vowels = {(a, b) for a in VOWELS for b in VOWELS}
        self.far = {
            a: sorted(
                b
                for b in self._letters
                if b != a and b not in near and (a, b) not in vowels and (a, b) not in spared
            )
            for a, near in self.near.items()
        }

    def _typed(self, word: str) -> bool:
        return len(word) > 1 and self._letters.issuperset(word)

    def opportunities(self) -> dict[str, float]:
        """How often each slip could have happened in the right words."""
        found = dict.fromkeys(KINDS, 0.0)
        for word, n in self._right.items():
            if len(word) < LETTERS:
                continue
            for kind in ("doubled", "extra", "omitted", "neighbour"):
                found[kind] += n * len(word)
            found["far"] += n * sum(bool(self.far[c]) for c in word)
            found["swapped"] += n * sum(a != b for a, b in pairwise(word))
        found["missed_space"] = self._total
        return found

    def of(self, token: str, count: float) -> Sources | None:
        """The ways to a token from words that are `COMMONER` times as common as it."""
        if not self._typed(token) or len(token) < LETTERS - 1 or token in self._left_out:
            return None
        uses: dict[str, float] = {}
        found: defaultdict[str, float] = defaultdict(float)

        def came(kind: str, word: str, share: float = 1.0) -> None:
            n = self._right.get(word, 0.0)
            if len(word) >= LETTERS and n and n >= COMMONER * count:
                uses[word] = n
                found[kind] += n * share

        for word in self._without.get(token, ()):  # once for each letter that may be missing
            came("omitted", word)
        for i, word in enumerate(left_out(token)):
            if i and token[i - 1] == token[i]:
                came("doubled", word)
            came("extra", word, 1 / len(self._letters))
        for word in swaps(token):
            came("swapped", word)
        for i, char in enumerate(token):
            for word in self._but_one.get(token[:i] + "?" + token[i + 1 :], ()):
                for kind, letters in (("neighbour", self.near), ("far", self.far)):
                    if char in letters[word[i]]:
                        came(kind, word, 1 / len(letters[word[i]]))
        for i in range(1, len(token)):
            one, two = (self._right.get(part, 0.0) for part in (token[:i], token[i:]))
            if min(one, two) > COMMONER * count:
                # How often the two stand side by side is not counted: as if by chance.
                found["missed_space"] += one * two / self._total
                uses[token[:i] + " " + token[i:]] = min(one, two)
        return Sources(sum(uses.values()), found) if found else None


def neighbours(layout: Layout, letters: Collection[str]) -> dict[str, list[str]]:
    """The letters whose keys touch a letter's."""
    return {
        a: sorted(
            b for b in letters if b != a and math.dist(layout.keys[a], layout.keys[b]) <= NEAR_KW
        )
        for a in letters
    }


def slip_rates(
    tokens: Mapping[str, float], right: Mapping[str, float], slips: Slips
) -> dict[str, float]:
    """How often each kind of slip stands in the text, per opportunity."""
    chances = slips.opportunities()
    known = [
        (min(count, found.uses / RARE), found.expected)
        for token, count in tokens.items()
        if token not in right and text.is_word(token) and (found := slips.of(token, count))
    ]
    rates = dict.fromkeys(KINDS, 1e-4)
    for _ in range(ROUNDS):
        explained = dict.fromkeys(KINDS, 0.0)
        for count, expected in known:
            weights = {kind: rates[kind] * n for kind, n in expected.items()}
            whole = sum(weights.values())
            for kind, weight in weights.items():
                explained[kind] += count * weight / whole
        # One slip more than was seen, in a text that is 1,000 letters longer: none is impossible.
        rates = {k: (explained[k] + 1e-3) / (chances[k] + 1e3) for k in KINDS}
    return rates


def left_out_share(
    tokens: Mapping[str, float], right: Mapping[str, float], plain: Mapping[str, str]
) -> float | None:
    """How often words are typed without their apostrophes or accents; None where the text does not
    say. plain: each such word without them. One whose plain form is a right word, or so common
    beside it that it is one, says nothing."""
    with_them = without = 0.0
    for word, bare in plain.items():
        n, m = tokens.get(word, 0.0), tokens.get(bare, 0.0)
        if bare not in right and m <= COMMONER * n:
            with_them, without = with_them + n, without + m
    whole = with_them + without
    return (without + 0.5) / (whole + 1) if whole else None


def sigma_of(rate: float, layout: Layout, use: Mapping[str, float]) -> float:
    """The Gaussian, in key widths, whose mass on other letters' keys is `rate` of all taps.
    use: how often each letter is typed."""
    letters = [char for char in layout.keys if char in use]
    places = np.array([layout.keys[c] for c in letters])
    weights = np.array([use[c] for c in letters])
    away = np.abs(places[:, None] - places[None])
    half = np.array([0.5, layout.row_kw / 2])

    def mass(sigma: float) -> float:
        scale = sigma * math.sqrt(2)
        erf = np.vectorize(math.erf)
        on = np.prod((erf((away + half) / scale) - erf((away - half) / scale)) / 2, axis=2)
        np.fill_diagonal(on, 0.0)
        return float((weights @ on.sum(axis=1)) / weights.sum())

    low, high = 0.05, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if mass(middle) < rate else (low, middle)
    return (low + high) / 2


def fit_rates(
    tokens: Mapping[str, float],
    right: Mapping[str, float],
    layout: Layout,
    mended: float,
    spared: Collection[Rule] = (),
) -> tuple[Rates, dict[str, float]]:
    """The rates, and those of the text as they stand there, per opportunity.

    mended: which share of slips people mend before they send.
    """
    slips = Slips(right, layout, spared)
    raw = slip_rates(tokens, right, slips)
    bare = {w: w.replace(APOSTROPHE, "") for w in right if APOSTROPHE in w}
    raw_apostrophe = left_out_share(tokens, right, bare)
    accents = {
        w: plain
        for w in tokens
        if not w.isascii() and text.is_word(w) and (plain := text.without_accents(w)).isascii()
    }
    raw_accent = left_out_share(tokens, right, accents)
    use: defaultdict[str, float] = defaultdict(float)
    for word, n in right.items():
        for char in word:
            use[char] += n
    made = {k: min(0.2, rate / (1 - mended)) for k, rate in raw.items()}
    far = sum(map(len, slips.far.values())) / max(1, len(slips.far))
    logs = {
        k: log_rate(made[k]) for k in ("omitted", "doubled", "extra", "swapped", "missed_space")
    }
    default = Rates()
    rates = Rates(
        **logs,
        apostrophe=default.apostrophe if raw_apostrophe is None else log_rate(raw_apostrophe),
        accent=default.accent if raw_accent is None else log_rate(raw_accent),
        # Counts of words do not show a space too many: as often as one is missed.
        extra_space=logs["missed_space"],
        # `far` of the keys were looked at; a tap that falls anywhere may hit them all.
        anywhere=log_rate(made["far"] * len(layout.keys) / max(1.0, far)),
        keys_sigma_kw=sigma_of(made["neighbour"], layout, use),
    )
    measured = {**raw, "neighbour_made": made["neighbour"]}
    if raw_apostrophe is not None:
        measured["apostrophe"] = raw_apostrophe
    if raw_accent is not None:
        measured["accent"] = raw_accent
    return rates, measured


def log_rate(rate: float) -> float:
    return max(_LEAST_LOGP, min(0.0, math.log(max(rate, 1e-13))))
