"""How much names and keywords say of emoji: the constants of `kbengine.sources.names`, fitted on
the emoji that people sent after words, in text that the model was not trained on.

At each emoji the emoji model's probability of it is at hand, and which names stand among the last
words, how rare they are and how far away. The constants that make the mean log-probability of the
emoji greatest are found by a grid.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kbengine import text
from kbengine.engine import Engine
from kbengine.evaluate.lines import read_text
from kbengine.loading import load
from kbengine.predict import Predictor
from kbengine.sources.names import NameOptions, telling
from kbengine.types import Context
from train.progress import Progress

HELP = "fit how much the names of emoji say (the constants of kbengine.sources.names)"
RARITIES = (6.0, 7.0, 8.0, 9.0, 10.0)
SLOPES = (0.4, 0.8, 1.6)
DECAYS = (0.3, 0.5, 0.8)
TELLINGS = (0.0, 1.0, 2.0, 3.0)
AGAINSTS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


class Sent(NamedTuple):
    """An emoji after a text. model_p: by the emoji model; names: of each name among the last
    words its rarity in nats, how many words away it ends, its share of this emoji and of all, and
    how telling it is."""

    model_p: float
    names: list[tuple[float, int, float, float, float]]


def before_emoji(line: str) -> tuple[str, str] | None:
    """The text before the first emoji of a line, and that; None where there is no such text."""
    before = ""
    for stretch, is_emoji in text.split_emoji(text.normalise(line)):
        if is_emoji:
            return (before.rstrip() + " ", stretch) if before.strip() else None
        before += stretch
    return None


def sent(engine: Engine, predictor: Predictor, before: str, emoji: str) -> Sent:
    """What is known of an emoji after a text."""
    source, told = predictor.emoji, predictor.emoji.names
    place = predictor.query(Context(before=before)).place
    at = source.places.get(emoji)
    p = 0.0 if at is None else float(np.exp(place.expected.kinds[at]))
    names = [
        (told.rarity(name), away, hits.get(emoji, 0.0), sum(hits.values()), telling(name, hits))
        for name, away, hits in told.names(place.last_tokens)
    ]
    return Sent(p, names)


def gain(found: Sequence[Sent], options: NameOptions) -> float:
    """The mean log-probability that the names add."""
    total = 0.0
    for one in found:
        weights = [
            options.strength(rarity) * options.decay**away * most**options.telling
            for rarity, away, _, _, most in one.names
        ]
        whole = sum(w * n[3] for w, n in zip(weights, one.names, strict=True))
        if whole <= 0:
            continue
        share = sum(weights) / (sum(weights) + options.against)
        right = sum(w * n[2] for w, n in zip(weights, one.names, strict=True))
        # An emoji that nothing speaks for gets a millionth, with and without the names.
        p = one.model_p + 1e-6
        total += float(np.log((1 - share) * p + share * right / whole) - np.log(p))
    return total / max(1, len(found))


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--bundle", type=Path, metavar="FILE", help="default: the English one of the package")
    add("--text", nargs="+", type=Path, required=True, metavar="FILE", help="dev text with emoji")
    add("--skip", type=int, default=0, help="lines of each file to leave out, the first")
    add("--limit", type=int, default=1500, help="emoji of each file (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Fit on files and print what was found.

    Raises ValueError for text that cannot be read or has no emoji, BundleError for a broken bundle.
    """
    engine = load(args.bundle)
    predictor = engine.predictor()
    found = []
    for path in args.text:
        lines = [line.text for line in read_text(path).lines[args.skip :]]
        pairs = [pair for pair in map(before_emoji, lines) if pair][: args.limit]
        with Progress(path.name, len(pairs), "emoji") as bar:
            for before, emoji in pairs:
                found.append(sent(engine, predictor, before, emoji))
                bar.step(1)
    if not found:
        raise ValueError("the text has no emoji after words; give other files")
    grid = product(RARITIES, SLOPES, DECAYS, TELLINGS, AGAINSTS)
    every = [
        replace(NameOptions(), rarity=r, slope=s, decay=d, telling=t, against=a)
        for r, s, d, t, a in grid
    ]
    best = max(every, key=lambda options: gain(found, options))
    print(f"{len(found):,} emoji, {sum(bool(f.names) for f in found):,} of them after a name")
    print(f"as shipped: {gain(found, NameOptions()):+.4f} nats an emoji")
    print(f"best:       {gain(found, best):+.4f} nats an emoji with {best}")
