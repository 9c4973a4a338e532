"""What fingers do: log P(taps | letters), from where each finger falls and how people slip.

A person means letters, and spells them as they think fit (*recieve*); of the letters so spelt
each is tapped, left out, tapped twice or in the wrong order, and the finger falls near its key:

    spelling   a -> b of up to three letters each, learned from misspellings; after Brill and Moore
               2000, "An Improved Error Model for Noisy Channel Spelling Correction"
    slips      a letter left out, an extra tap, a letter doubled, two letters swapped: a rate each
    taps       a Gaussian around the key for a tap whose place is known, its mass over the key's
               area for one whose key alone is; a share of taps falls anywhere; after Goodman et al.
               2002, "Language Modeling for Soft Keyboards"

`Channel.table` gives what a tap says for each letter; the search over letters is
`kbengine.decoder`'s. On disk a model is UTF-8 text of lines with tabs between the fields:

    rate   NAME   LOGP         natural logarithms, see `Rates`
    key    CHAR   X   Y        the keyboard that it is for, see `kbengine.layout`
    spell  MEANT  SPELT  LOGP  a rule of spelling
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kbengine.errors import BundleError
from kbengine.layout import SPACE, Layout
from kbengine.protocols import Floats, Ints
from kbengine.types import Tap

Reals: TypeAlias = NDArray[np.float64]
LONGEST_RULE = 3  # letters on either side
_MOST_RULES = 20_000
APOSTROPHE = "'"
ASTRAY_KW = 3.0  # so far from its key in either direction, a place says nothing
FAR_LOGP = -30.0  # of a letter that a tap cannot have been
_SPACE_KW = 5.0  # how wide a space key is: half of a row on the shipped layouts


@dataclass(frozen=True)
class Rates:
    """How often fingers slip, as natural logarithms; each found by `python -m train channel`.

    omitted, doubled, extra, swapped: for a letter; apostrophe: for an apostrophe left out; accent:
    for a letter typed without its accent; missed_space, extra_space: for a space; anywhere: for a
    tap that falls anywhere. sigma_kw: of the Gaussian in key widths, where places are known;
    keys_sigma_kw: where keys alone are, as a host with keys to see or to feel gives them.
    """

    omitted: float = -5.3
    doubled: float = -5.3
    extra: float = -6.2
    swapped: float = -5.3
    apostrophe: float = -1.5
    accent: float = -0.7
    missed_space: float = -4.6
    extra_space: float = -5.5
    anywhere: float = -6.2
    sigma_kw: float = 0.28
    keys_sigma_kw: float = 0.15


@dataclass(frozen=True)
class ChannelModel:
    """Rates, the keyboard they hold for, and rules of spelling: (meant, spelt) -> logp."""

    rates: Rates
    layout: Layout
    rules: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, data: bytes) -> ChannelModel:
        """The model that `to_bytes` wrote; raises BundleError where `data` is none."""
        try:
            return cls._parse(data.decode("utf-8"))
        except ValueError as error:
            raise BundleError(
                f"the channel is not readable ({error}); build the bundle again"
            ) from error

    @classmethod
    def _parse(cls, lines: str) -> ChannelModel:
        rates: dict[str, float] = {}
        keys: dict[str, tuple[float, float]] = {}
        rules: dict[tuple[str, str], float] = {}
        known = {f.name for f in fields(Rates)}
        if not lines.endswith("\n") or "\r" in lines:
            raise ValueError("its last line is cut off, or lines end otherwise than in a line feed")
        for number, line in enumerate(lines.split("\n")[:-1], 1):
            match line.split("\t"):
                case ["rate", name, value] if name in known and name not in rates:
                    rates[name] = float(value)
                case ["key", char, x, y] if char not in keys:
                    keys[char] = float(x), float(y)
                case ["spell", meant, spelt, value] if (meant, spelt) not in rules:
                    rules[meant, spelt] = float(value)
                case _:
                    raise ValueError(f"line {number} is no rate, key or rule")
        for name, rate in rates.items():
            if not (0.05 <= rate <= 5 if name.endswith("sigma_kw") else -50 <= rate <= 0):
                raise ValueError(f"the rate {name} cannot be {rate}")
        for (meant, spelt), logp in rules.items():
            lengths = 0 < len(meant) <= LONGEST_RULE and 0 < len(spelt) <= LONGEST_RULE
            if not lengths or meant == spelt or not -50 <= logp <= 0:
                raise ValueError(f"the rule {meant!r} -> {spelt!r} cannot be")
        if len(rules) > _MOST_RULES:
            raise ValueError("it has too many rules")
        return cls(Rates(**rates), Layout(keys), rules)

    def to_bytes(self) -> bytes:
        """The model on disk; see the module's docstring."""
        rates = "".join(f"rate\t{name}\t{rate:.4g}\n" for name, rate in asdict(self.rates).items())
        keys = "".join(f"key\t{line}\n" for line in str(self.layout).splitlines())
        rules = "".join(f"spell\t{a}\t{b}\t{p:.3g}\n" for (a, b), p in self.rules.items())
        return (rates + keys + rules).encode("utf-8")


@dataclass(frozen=True)
class Rules:
    """Rules of spelling by the length of what is spelt, over the letters' numbers.

    meant: intp[R, 3] and lengths; spelt: intp[R, length]; logp: float32[R].
    """

    meant: Ints
    meant_lengths: Ints
    spelt: Ints
    logp: Floats


class Channel:
    """A model over an alphabet and a keyboard. Immutable; threads may share it.

    Attributes: model, layout; letters: how many the alphabet has; rules: by the length of what is
    spelt, from 1.
    """

    def __init__(self, model: ChannelModel, alphabet: str, layout: Layout | None = None) -> None:
        self.model, self.layout = model, layout or model.layout
        self.alphabet, self.rates = alphabet, model.rates
        self.number = {letter: i for i, letter in enumerate(alphabet)}
        self._base = {letter: _base(letter) for letter in alphabet}
        centres = [self._centre(letter) for letter in alphabet]
        self._centres = np.array([c or (np.nan, np.nan) for c, _ in centres], np.float64).reshape(
            -1, 2
        )
        self._penalty = np.array([p for _, p in centres], np.float32)
        self.apostrophe = self.number.get(APOSTROPHE, -1)
        self.rules = [self._of_length(length) for length in range(1, LONGEST_RULE + 1)]
        self.by_key = lru_cache(maxsize=256)(self._by_key)

    def _centre(self, letter: str) -> tuple[tuple[float, float] | None, float]:
        """Where a letter is tapped, and what it costs to do so: that of the letter without its
        accent where it has no key of its own."""
        own = self.layout.keys.get(letter)
        if own is not None:
            return own, 0.0
        base = self.layout.keys.get(self._base[letter])
        return base, (self.rates.accent if base is not None else 0.0)

    def _of_length(self, length: int) -> Rules:
        known = [
            (meant, spelt, logp)
            for (meant, spelt), logp in self.model.rules.items()
            if len(spelt) == length and all(c in self.number for c in meant + spelt)
        ]
        meant = np.zeros((len(known), LONGEST_RULE), np.intp)
        spelt = np.zeros((len(known), length), np.intp)
        for row, (a, b, _) in enumerate(known):
            meant[row, : len(a)] = [self.number[c] for c in a]
            spelt[row] = [self.number[c] for c in b]
        lengths = np.array([len(a) for a, _, _ in known], np.intp)
        return Rules(meant, lengths, spelt, np.array([p for _, _, p in known], np.float32))

    def table(self, tap: Tap, offset_kw: tuple[float, float] = (0.0, 0.0)) -> Floats:
        """float32[letters], log P(tap | letter): a density over square key widths where the
        finger's place is known, a probability where it is not. offset_kw: how far from the keys'
        centres this person's finger falls."""
        char = _plain(tap.char)
        key = self.layout.keys.get(char)
        if key is None or tap.x is None or tap.y is None:
            return self.by_key(char)
        if max(abs(tap.x - key[0]), abs(tap.y - key[1])) > ASTRAY_KW:
            return self.by_key(char)  # of another keyboard than this, or of none
        sigma, away = self.rates.sigma_kw, np.array([tap.x, tap.y]) - offset_kw
        square = ((self._centres - away) ** 2).sum(axis=1) / (2 * sigma**2)
        logp = -square - math.log(2 * math.pi * sigma**2)
        return self._finish(logp, char, -math.log(self._area()))

    def _by_key(self, char: str) -> Floats:
        """The same of a tap whose key alone is known: the Gaussian's mass over its area."""
        key = self.layout.keys.get(char)
        if key is None:
            logp = np.full(len(self.alphabet), np.nan)
        else:
            sigma, half = self.rates.keys_sigma_kw, (0.5, self.layout.row_kw / 2)
            logp = sum(
                (
                    np.log(_mass(self._centres[:, axis] - key[axis], half[axis], sigma))
                    for axis in (0, 1)
                ),
                np.zeros(len(self.alphabet)),
            )
        return self._finish(logp, char, -math.log(len(self.layout.keys)))

    def _finish(self, logp: Reals, char: str, anywhere: float) -> Floats:
        """With taps that fall anywhere, the letter's own price, and letters that have no key."""
        floor = self.rates.anywhere + anywhere
        table: Floats = np.logaddexp(np.nan_to_num(logp, nan=FAR_LOGP), floor).astype(np.float32)
        table += self._penalty
        here = self.number.get(char)
        if here is not None and (np.isnan(self._centres[here, 0]) or self._penalty[here]):
            # Taken from a long press or another page of keys: nobody gets there by a slip.
            table[:] = FAR_LOGP
            table[here] = 0.0
        return table

    def _area(self) -> float:
        """Of the keyboard, in square key widths."""
        return len(self.layout.keys) * self.layout.row_kw

    def clean_logp(self, taps: Sequence[Tap], offset_kw: tuple[float, float] = (0.0, 0.0)) -> float:
        """log P(taps | exactly the letters that they typed)."""
        total = 0.0
        for tap in taps:
            here = self.number.get(_plain(tap.char))
            # A letter that no known word has is no slip of another.
            total += 0.0 if here is None else float(self.table(tap, offset_kw)[here])
        return total

    def extra(self, tap: Tap) -> float:
        """log P(this tap, and that nothing was meant by it)."""
        char = _plain(tap.char)
        if char.isalpha() and char not in self.layout.keys:
            return FAR_LOGP  # taken from a long press: meant
        known = tap.x is not None and char in self.layout.keys
        anywhere = self._area() if known else len(self.layout.keys)
        return self.rates.extra - math.log(anywhere)

    def space(self, tap: Tap) -> float:
        """log P(tap | the space key was meant)."""
        key = self.layout.keys.get(SPACE)
        here = self.layout.keys.get(tap.char.lower())
        if key is None or here is None:
            return FAR_LOGP
        placed = tap.x is not None and tap.y is not None
        if placed and max(abs(tap.x - here[0]), abs(tap.y - here[1])) > ASTRAY_KW:  # type: ignore[operator]
            return FAR_LOGP
        sigma, half = self.rates.sigma_kw, self.layout.row_kw / 2
        if tap.x is None or tap.y is None:
            # A thumb on its way to the widest key misses it more than fingers do theirs.
            x, high = here[0], float(_mass(np.array([here[1] - key[1]]), half, sigma)[0])
        else:
            x, away = tap.x, (tap.y - key[1]) / sigma
            high = math.exp(-away * away / 2) / (math.sqrt(2 * math.pi) * sigma)
        wide = float(_mass(np.array([x - key[0]]), _SPACE_KW / 2, sigma)[0])
        return max(FAR_LOGP, math.log(max(wide * high / _SPACE_KW, 1e-30)))


def _plain(char: str) -> str:
    """A key as it stands in a layout."""
    return char.lower().replace("\u2019", APOSTROPHE)


def _base(letter: str) -> str:
    """A letter without its accent."""
    return unicodedata.normalize("NFD", letter)[0]


def _mass(away: Reals, half: float, sigma: float) -> Reals:
    """The mass of Gaussians over a stretch of 2 * half whose middle is `away` from theirs."""
    scale = sigma * math.sqrt(2)
    upper = [math.erf(v) for v in ((away + half) / scale).tolist()]
    lower = [math.erf(v) for v in ((away - half) / scale).tolist()]
    found: Reals = np.maximum((np.array(upper) - np.array(lower)) / 2, 1e-13)
    return found
