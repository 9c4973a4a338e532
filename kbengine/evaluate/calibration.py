"""Whether a candidate's probability is how often it is right.

Lines are typed key by key. Before each key the first candidates are looked at, words and the
phrase; after each word and emoji, and before the first, the emoji and signs too. A candidate is
right where the line goes on with it. Those of `LEAST_P` at least are put in bins of equal mass by
kind: the expected calibration error is the mean difference, over all candidates, of a bin's mean
probability and its share of right ones (Naeini, Cooper & Hauskrecht 2015); the Brier skill is the
share by which the mean squared error is less than that of the kind's own rate (Brier 1950).

An emoji of LEAST_P is rare, since few places have one. So where one came, and not right after
another, the probability that it is this one, given that one comes, is a kind of its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kbengine import text
from kbengine.engine import Engine
from kbengine.evaluate.lines import Line, TextFile, words
from kbengine.evaluate.plots import axes_of
from kbengine.evaluate.typist import fold, goes_on
from kbengine.mix import Slots
from kbengine.predict import Predictor, Wish
from kbengine.sources.signs import SIGNS
from kbengine.types import Context, Tap

LEAST_P = 0.05
BINS = 15
AT_KEYS = Wish(Slots.parse("words:3,phrase:1"))
BETWEEN = Wish(Slots.parse("emoji:3,signs:3"))
WHICH = "which emoji"
KINDS = ("word", "phrase", "emoji", "sign", WHICH)


class Shown(NamedTuple):
    """A candidate's probability, and whether the line went on with it."""

    p: float
    right: bool


class Bin(NamedTuple):
    """The mean probability of its candidates, the share of right ones, and how many they are."""

    p: float
    right: float
    size: int


@dataclass(frozen=True)
class Calibration:
    """One kind. error: the expected calibration error; skill: the Brier skill, None where nothing
    or everything was right."""

    kind: str
    count: int
    error: float
    skill: float | None
    bins: tuple[Bin, ...]


def calibration(kind: str, shown: Sequence[Shown]) -> Calibration | None:
    """Of some candidates of a kind; None where there are none."""
    if not shown:
        return None
    p = np.array([one.p for one in shown])
    right = np.array([one.right for one in shown], float)
    order = np.argsort(p, kind="stable")
    parts: list[NDArray[Any]] = np.array_split(order, min(BINS, len(order)))
    bins = tuple(Bin(float(p[i].mean()), float(right[i].mean()), len(i)) for i in parts)
    error = sum(one.size * abs(one.p - one.right) for one in bins) / len(p)
    rate = float(right.mean())
    base = rate * (1 - rate)
    skill = 1 - float(((p - right) ** 2).mean()) / base if base else None
    return Calibration(kind, len(p), error, skill, bins)


def collect(
    engine: Engine, file: TextFile, done: Callable[[], object] = lambda: None
) -> dict[str, list[Shown]]:
    """All candidates of LEAST_P or more that are shown while a file is typed. done: called after
    each line."""
    found: defaultdict[str, list[Shown]] = defaultdict(list)
    predictor = engine.predictor()
    for line in file.lines:
        for kind, logp, right in _line(predictor, line):
            if logp >= math.log(LEAST_P):
                found[kind].append(Shown(math.exp(logp), right))
        done()
    return dict(found)


def _line(predictor: Predictor, line: Line) -> Iterator[tuple[str, float, bool]]:
    """Kind, log-probability, and whether it was right, of all that is shown for a line."""
    for word in words(line.text):
        before = line.text[: word.start]
        for letters in range(len(word.text)):
            context = Context(line.earlier, before, tuple(map(Tap, word.text[:letters])))
            for c in predictor.suggest(context, 4, AT_KEYS):
                phrase = c.kind == "phrase"
                right = goes_on(line.text, word.start, c.text) if phrase else False
                yield c.kind, c.logp, right or fold(c.text) == fold(word.text)
    for place in between(line):
        found = predictor.suggest(place.context, 6, BETWEEN)
        for c in found:
            yield c.kind, c.logp, c.text in (place.emoji, place.sign)
        if place.emoji is not None and not place.after_emoji:
            trigger = predictor.query(place.context).place.expected.trigger_logp
            for c in (c for c in found if c.kind == "emoji"):
                yield WHICH, c.logp - trigger, c.text == place.emoji


class Between(NamedTuple):
    """A place between two tokens of a line, where a space is typed and no letter.

    emoji, sign: the emoji or sentence sign that comes there, None where it is none; after_emoji:
    whether an emoji stands before it.
    """

    context: Context
    emoji: str | None
    sign: str | None
    after_emoji: bool


def between(line: Line) -> Iterator[Between]:
    """The start and the end of a line, and its places after words and about emoji."""
    spans = text.emoji_spans(line.text)
    emoji_ends = {end for _, end, _ in spans}
    ends = {0, len(line.text), *(word.end for word in words(line.text)), *emoji_ends}
    ends |= {len(line.text[:start].rstrip()) for start, _, _ in spans}
    for end in sorted(ends):
        rest = len(line.text) - len(line.text[end:].lstrip())
        emoji = next((base for start, _, base in spans if start == rest), None)
        sign = None
        if emoji is None:
            first = next(iter(text.tokens(text.normalise(line.text[end:]))), None)
            sign = first if first in SIGNS else None
        before = line.text[:end].rstrip()
        context = Context(line.earlier, f"{before} " if before else "")
        yield Between(context, emoji, sign, end in emoji_ends)


def draw(path: Path, found: Sequence[Calibration], about: str) -> None:
    """The reliability diagram: how often candidates are right, by what their probability says."""
    figure, axes = axes_of(
        "Is a candidate as often right as it says?", about, "probability (%)", "right (%)"
    )
    axes.plot([0, 100], [0, 100], color="#999999", linewidth=1, linestyle="--")
    for one in found:
        p, right = ([100 * value for value in row] for row in list(zip(*one.bins, strict=True))[:2])
        axes.plot(p, right, marker="o", markersize=4, label=f"{one.kind}: error {one.error:.3f}")
    axes.legend(frameon=False)
    figure.savefig(path)
