"""How much the conversation is trusted: the constants of `kbengine.lm.cache`, fitted on dev text.

Each piece of a line is asked for its probability by the language model, and for how often it
followed each history before: all that the cache's formula needs. The constants that make the
mean log-probability of a piece greatest, each file and each way of reading it (alone, after
earlier messages) weighing the same, are found one after the other, in ever smaller steps.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kbengine.evaluate.lines import Line, read_text
from kbengine.lm.cache import CacheOptions
from kbengine.loading import load
from kbengine.predict import context_pieces
from kbengine.protocols import LanguageModel
from kbengine.vocab import BOS, EOS, UNK, Vocabulary
from train.progress import Progress

HELP = "fit how much the conversation is trusted (the constants of kbengine.lm.cache)"
Table = NDArray[np.float64]
ORDERS = len(CacheOptions().strength)
FIRST, LAST = 1.0, 0.1  # steps of the search, in nats of strength and logits of discount


def counts_along(pieces: Sequence[int], begin: int, boundary: NDArray[np.bool_]) -> Table:
    """For each piece from `begin` on, and each history of 0 to ORDERS - 1 pieces before it: how
    often the piece followed it so far, how often any did (each times its weight), how many
    kinds; float64[N, ORDERS, 3]."""
    after: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    weights = np.where(boundary, 1.0, CacheOptions().inside)
    found = np.zeros((len(pieces) - begin, ORDERS, 3))
    for place in range(len(pieces)):
        histories = [tuple(pieces[place - k : place]) for k in range(min(ORDERS, place + 1))]
        if place >= begin:
            for k, history in enumerate(histories):
                if known := after.get(history):
                    row = known[pieces[place]], known.total(), len(known)
                    found[place - begin, k] = row
        if pieces[place] not in (BOS, UNK):
            for k, history in enumerate(histories):
                weight = weights[pieces[place]] if k else 1.0
                after[history][pieces[place]] += weight  # type: ignore[assignment]
    return found


def read_line(
    model: LanguageModel, vocabulary: Vocabulary, line: Line
) -> tuple[NDArray[np.float64], Table]:
    """Of a line's pieces and its end: log P by the language model [N], and `counts_along`."""
    heard, stepped = context_pieces(vocabulary, line.earlier, "")
    before = [*heard, *stepped]
    pieces = [*before, *vocabulary.encode(line.text), EOS]
    state = model.start(heard)
    for piece in stepped[:-1]:
        (state,) = model.advance([piece], [state])
    logps = []
    for place in range(len(before), len(pieces)):
        logp, (state,) = model.step([pieces[place - 1]], [state])
        logps.append(float(logp[0, pieces[place]]))
    return np.array(logps), counts_along(pieces, len(before), vocabulary.boundary)


def mixed_logp(logp: Table, counts: Table, options: CacheOptions) -> Table:
    """What the cache makes of the language model's log-probabilities [N]."""
    p = np.exp(logp)
    for k, (a, d) in enumerate(zip(options.strength, options.discount, strict=True)):
        c, n, kinds = counts[:, k].T
        mixed = (np.maximum(c - d, 0) * (c > 0) + (a + d * kinds) * p) / (n + a)
        p = np.where(n > 0, mixed, p)
    return np.log(p)


def _options(point: NDArray[np.float64]) -> CacheOptions:
    strength = np.exp(point[:ORDERS])
    discount = 1 / (1 + np.exp(-point[ORDERS:]))
    return CacheOptions(tuple(strength.tolist()), tuple(discount.tolist()))


def fit(sets: Sequence[tuple[Table, Table]]) -> tuple[CacheOptions, float]:
    """The best constants, and the mean gain of a piece in nats, over sets of (logp, counts)."""

    def gain(point: NDArray[np.float64]) -> float:
        options = _options(point)
        return float(np.mean([np.mean(mixed_logp(*s, options) - s[0]) for s in sets]))

    start = CacheOptions()
    strength, discount = np.array(start.strength), np.array(start.discount)
    point = np.concatenate([np.log(strength), np.log(discount / (1 - discount))])
    best, step = gain(point), FIRST
    while step > LAST:
        better = False
        for i in range(len(point)):
            for way in (step, -step):
                other = point.copy()
                other[i] += way
                if (value := gain(other)) > best + 1e-5:
                    point, best, better = other, value, True
        step = step if better else step / 2
    return _options(point), best


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--bundle", type=Path, metavar="FILE", help="default: the English one of the package")
    add("--text", nargs="+", type=Path, required=True, metavar="FILE", help="dev text, in order")
    add("--limit", type=int, default=500, help="lines of each file (default: %(default)s)")
    add("--earlier", type=int, default=5, metavar="N",
        help="files are read alone and after N earlier lines (default: %(default)s)")  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Fit on files and print what was found.

    Raises ValueError for text that cannot be read and BundleError for a broken bundle.
    """
    ways = (0, args.earlier)
    texts = [(read_text(path, args.limit, 1, n), n) for path in args.text for n in ways]
    engine = load(args.bundle)
    sets = []
    with Progress("reading", sum(len(text.lines) for text, _ in texts), "line") as bar:
        for text, _ in texts:
            parts = []
            for line in text.lines:
                parts.append(read_line(engine.model.base, engine.vocabulary, line))
                bar.step(1)
            sets.append(
                (np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))
            )
    options, gain = fit(sets)
    for (text, earlier), (logp, counts) in zip(texts, sets, strict=True):
        each = float(np.mean(mixed_logp(logp, counts, options) - logp))
        print(f"{text.name:28} {earlier} earlier {-logp.mean():7.3f} nats a piece {-each:+.4f}")
    print(f"all of them: perplexity a piece x{math.exp(-gain):.4f}")
    print(f"strength = {_digits(options.strength)}\ndiscount = {_digits(options.discount)}")


def _digits(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in values) + ")"
