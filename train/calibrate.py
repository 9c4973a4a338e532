"""Whether an emoji comes as often as the engine says: the constants of `kbengine.emojimodel` that
put its trigger right, fitted on dev text (Platt 1999), right after an emoji and elsewhere.

What words, phrases and signs say needs none: ``kbengine eval --calibration`` shows it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kbengine.emojimodel import TriggerOptions
from kbengine.engine import Engine
from kbengine.evaluate.calibration import between
from kbengine.evaluate.lines import TextFile, read_text
from kbengine.loading import load
from kbengine.protocols import Floats
from train.progress import Progress

HELP = "fit how often an emoji comes (the trigger's constants in kbengine.emojimodel)"
NONE: Floats = np.zeros(0, np.float32)
TEMPERATURES = tuple(round(0.9 + 0.02 * i, 2) for i in range(31))
STEPS = 50  # of Newton's method; it is there after ten


class Came(NamedTuple):
    """A place between tokens: whether an emoji stands before it, the trigger's log-odds as
    they are before any correction, whether an emoji came; what the emoji model gives each, and
    which it was, -1 where the model does not know it."""

    after_emoji: bool
    logit: float
    came: bool
    kinds: Floats
    which: int


def read(engine: Engine, file: TextFile, tick: Progress) -> Iterator[Came]:
    """All places of a file."""
    predictor = engine.predictor()
    for line in file.lines:
        for place in between(line):
            expected = predictor.query(place.context).place.expected
            logit = expected.trigger_logp - expected.other_logp
            which = predictor.emoji.places.get(place.emoji or "", -1)
            kinds = expected.kinds if which >= 0 else NONE
            yield Came(place.after_emoji, logit, place.emoji is not None, kinds, which)
        tick.step(1)


def fit(places: Sequence[Came]) -> tuple[float, float]:
    """slope and shift of the log-odds that make what came likeliest; 1 and 0 for no places. A place
    where one came and one where none did, at even odds, are added: few places move little."""
    x = np.array([*(p.logit for p in places), 0.0, 0.0])
    y = np.array([*(p.came for p in places), 1.0, 0.0])
    features = np.stack([x, np.ones_like(x)], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-features @ weights))
        slope = features.T @ (y - p)
        curve = (features * (p * (1 - p))[:, np.newaxis]).T @ features
        weights += np.linalg.solve(curve + 1e-6 * np.eye(2), slope)
    return float(weights[0]), float(weights[1])


def fit_temperature(places: Sequence[Came]) -> float:
    """The temperature that makes the emoji that came likeliest, of those not after another."""
    told = [p for p in places if p.which >= 0 and not p.after_emoji]

    def loss(temperature: float) -> float:
        total = 0.0
        for place in told:
            scaled = place.kinds / temperature
            total += float(np.logaddexp.reduce(scaled) - scaled[place.which])
        return total

    return min(TEMPERATURES, key=loss)


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--bundle", type=Path, metavar="FILE", help="default: the English one of the package")
    add("--text", nargs="+", type=Path, required=True, metavar="FILE", help="dev text with emoji")
    add("--chosen", nargs="*", type=Path, default=[], metavar="FILE",
        help="text chosen for its emoji: says which come, and what comes after one")  # fmt: skip
    add("--limit", type=int, default=2000, help="lines of each file (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Fit on files and print what was found.

    Raises ValueError for text that cannot be read and BundleError for a broken bundle.
    """
    texts = [read_text(path, args.limit, 1) for path in (*args.text, *args.chosen)]
    engine = load(args.bundle)
    if engine.emoji_model is not None:
        engine.emoji_model.options = TriggerOptions()  # as it is before any correction
    found: list[Came] = []
    chosen_ones: list[Came] = []
    with Progress("reading", sum(len(text.lines) for text in texts), "line") as bar:
        for number, text in enumerate(texts):
            chosen = number >= len(args.text)
            for place in read(engine, text, bar):
                # Text chosen for its emoji says which they are, not how often they come.
                (found if place.after_emoji or not chosen else chosen_ones).append(place)
    options = TriggerOptions()
    for name, after in (("", False), ("_after", True)):
        places = [place for place in found if place.after_emoji == after]
        slope, shift = fit(places)
        said = math.fsum(1 / (1 + math.exp(-p.logit)) for p in places) / max(1, len(places))
        came = sum(p.came for p in places) / max(1, len(places))
        print(
            f"{len(places):,} places{' after an emoji' * after}: said {said:.4f}, came {came:.4f}"
        )
        fields = {f"slope{name}": round(slope, 3), f"shift{name}": round(shift, 3)}
        options = replace(options, **fields)
    print(replace(options, temperature=fit_temperature([*found, *chosen_ones])))
