"""How much the n-grams are trusted: the constants of `kbengine.lm.mixture`, fitted on dev text."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kbengine.evaluate.lines import read_text
from kbengine.lm.mixture import MixtureModel, MixtureOptions, NgramTable, shares
from kbengine.loading import load
from kbengine.predict import context_pieces
from kbengine.vocab import BOS, EOS
from train.cache import read_line
from train.progress import Progress

HELP = "fit how much the n-grams are trusted (the constants of kbengine.lm.mixture)"
Table = NDArray[np.float64]
WEIGHTS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)


def shares_along(table: NgramTable, pieces: Sequence[int], begin: int) -> Table:
    """For each piece from `begin` on: its share among the pairs, that of all pairs that begin
    as it does, the same two of the triples; float64[N, 4]."""
    past = [EOS if piece == BOS else piece for piece in pieces]
    found = np.zeros((len(pieces) - begin, 4))
    for row, place in zip(found, range(begin, len(pieces)), strict=True):
        first = past[place - 2] if place > 1 else -1
        for i, (follow, share) in enumerate(shares(table, first, past[place - 1])):
            row[2 * i : 2 * i + 2] = share[follow == pieces[place]].sum(), share.sum()
    return found


def mixed_logp(logp: Table, along: Table, options: MixtureOptions) -> Table:
    """What the mixture makes of the language model's log-probabilities [N]."""
    share2, mass2, share3, mass3 = along.T
    pair = np.where(mass3 > 0, options.pair_beside, options.pair)
    left = 1 - pair * mass2 - options.triple * mass3
    found: Table = np.log(left * np.exp(logp) + pair * share2 + options.triple * share3)
    return found


def fit(sets: Sequence[tuple[Table, Table]]) -> tuple[MixtureOptions, float]:
    """The best of a grid of weights, and the mean gain of a piece in nats."""
    every = [MixtureOptions(*weights) for weights in product(WEIGHTS, repeat=3)]
    gains = [
        float(np.mean([np.mean(mixed_logp(*s, options) - s[0]) for s in sets])) for options in every
    ]
    best = int(np.argmax(gains))
    return every[best], gains[best]


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--bundle", type=Path, metavar="FILE", help="default: the English one of the package")
    add("--text", nargs="+", type=Path, required=True, metavar="FILE", help="dev text")
    add("--limit", type=int, default=500, help="lines of each file (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Fit on files, every line alone, and print what was found.

    Raises ValueError for text that cannot be read and for a bundle without n-grams, BundleError
    for a broken one.
    """
    texts = [read_text(path, args.limit, 1) for path in args.text]
    engine = load(args.bundle)
    model = engine.model.base
    if not isinstance(model, MixtureModel):
        raise ValueError("the bundle has no n-grams; give one of a preset that has")
    sets = []
    with Progress("reading", sum(len(text.lines) for text in texts), "line") as bar:
        for text in texts:
            parts = []
            for line in text.lines:
                _, before = context_pieces(engine.vocabulary, line.earlier, "")
                pieces = [*before, *engine.vocabulary.encode(line.text), EOS]
                logp, _ = read_line(engine.step_model, engine.vocabulary, line)
                parts.append((logp, shares_along(model.table, pieces, len(before))))
                bar.step(1)
            sets.append(
                (np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))
            )
    options, gain = fit(sets)
    for text, (logp, along) in zip(texts, sets, strict=True):
        each = float(np.mean(mixed_logp(logp, along, options) - logp))
        print(f"{text.name:28} {-logp.mean():7.3f} nats a piece {-each:+.4f}")
    print(f"all of them: perplexity a piece x{math.exp(-gain):.4f}\n{options}")
