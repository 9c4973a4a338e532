"""The pairs and triples of pieces that are worth their bytes beside the language model.

An n-gram is worth what the text's log-probability gains by it over the shorter one behind it,
under absolute discounting (entropy pruning: Stolcke 1998). An n-gram is discounted by how often
it stands in the text; its mass and its worth are weighted as the sources are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kbengine.lm.mixture import STEPS_PER_NAT, NgramTable
from kbengine.vocab import EOS

DISCOUNT = 0.75
MOST_AFTER = 250  # pairs that begin with one piece; each costs time wherever that piece stands
LEAST_HISTORY = 4  # times that two pieces stand together before triples of theirs are counted
BITS = 16


@dataclass(frozen=True)
class NgramOptions:
    """How many pairs and triples are kept, at most. A pair takes about 3 bytes of the bundle, a
    triple 2; what they are worth stands in EXPERIMENTS.md."""

    pairs: int
    triples: int


@dataclass(frozen=True)
class _Counted:
    """Distinct n-grams int64[N] in order, BITS for each piece, how often each occurs, and the
    sum of the weights of the text that it occurs in."""

    keys: NDArray[np.int64]
    counts: NDArray[np.int64]
    mass: NDArray[np.float64]

    @property
    def history(self) -> NDArray[np.int64]:
        return self.keys >> BITS

    @property
    def last(self) -> NDArray[np.int64]:
        return self.keys & ((1 << BITS) - 1)

    @property
    def discounted(self) -> NDArray[np.float64]:
        """The mass without the share that the discount is of the count."""
        return self.mass * (1 - DISCOUNT / self.counts)

    def kept(self, keep: NDArray[np.bool_]) -> _Counted:
        return _Counted(self.keys[keep], self.counts[keep], self.mass[keep])


def _count(keys: NDArray[np.int64], weights: NDArray[np.float32]) -> _Counted:
    order = np.argsort(keys)
    ordered = keys[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    mass = np.add.reduceat(weights[order].astype(np.float64), first)
    return _Counted(ordered[first], np.diff(np.append(first, len(keys))), mass)


def build(
    encoded: Sequence[NDArray[np.uint16]],
    vocab_size: int,
    options: NgramOptions,
    weights: Sequence[float],
) -> NgramTable:
    """The table of a text: pieces uint16[N] of each source, each message closed by EOS, and how
    much each source counts, 0 for not at all."""
    counted = [ids for ids, weight in zip(encoded, weights, strict=True) if weight > 0]
    text = np.concatenate(counted).astype(np.int64)
    each = np.array([weight for weight in weights if weight > 0], np.float32)
    weight = np.repeat(each, [len(ids) for ids in counted])
    single = np.bincount(text, weight, minlength=vocab_size)
    p1 = np.maximum(single, 0.5) / single.sum()
    pairs = _count((text[:-1] << BITS) | text[1:], weight[:-1])
    inside = text[1:-1] != EOS  # a message knows nothing of the end of the one before
    keys = ((text[:-2] << BITS | text[1:-1]) << BITS | text[2:])[inside]
    triples = _count(keys, weight[:-2][inside])
    triples = triples.kept(triples.counts > 1)

    share2 = pairs.discounted / single[pairs.history]
    shorter = (1 - np.bincount(pairs.history, share2, vocab_size))[pairs.history] * p1[pairs.last]
    p2 = share2 + shorter
    pair_worth = pairs.mass * np.log(p2 / shorter)
    pair_worth[pairs.counts < 2] = 0
    pair_worth[_place_in_history(pairs, pair_worth) >= MOST_AFTER] = 0
    keep2 = _best(pair_worth, options.pairs)

    place = np.searchsorted(pairs.keys, triples.history)
    history = pairs.counts[place]
    share3 = triples.discounted / pairs.mass[place]
    # Kinds that occur once are not there any more; they are left to the pair as the rest is.
    behind = np.searchsorted(pairs.keys, triples.keys & ((1 << 2 * BITS) - 1))
    held = np.bincount(place, share3, len(pairs.keys))[place]
    shorter = np.maximum(1 - held, 1 / history) * p2[behind]
    triple_worth = triples.mass * np.log((share3 + shorter) / shorter)
    triple_worth[(history < LEAST_HISTORY) | ~keep2[place]] = 0
    keep3 = _best(triple_worth, options.triples)

    kept2, kept3 = pairs.kept(keep2), triples.kept(keep3)
    pair_of = np.searchsorted(kept2.keys, kept3.history)
    return NgramTable(
        {
            "follow": np.bincount(kept2.history, minlength=vocab_size).astype(np.uint16),
            "pairs": kept2.last.astype(np.uint16),
            "shares2": _steps(share2[keep2]),
            "follow2": np.bincount(pair_of, minlength=len(kept2.keys)).astype(np.uint16),
            "triples": kept3.last.astype(np.uint16),
            "shares3": _steps(share3[keep3]),
        }
    )


def _place_in_history(ngrams: _Counted, worth: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many n-grams of the same history are worth more than each."""
    order = np.lexsort((-worth, ngrams.history))
    ordered = ngrams.history[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    begin = np.repeat(first, np.diff(np.concatenate([first, [len(order)]])))
    found = np.empty(len(order), np.int64)
    found[order] = np.arange(len(order)) - begin
    return found


def _best(worth: NDArray[np.float64], most: int) -> NDArray[np.bool_]:
    """Which are worth something and among the `most` that are worth most."""
    keep: NDArray[np.bool_] = worth > (0 if most else np.inf)
    if int(keep.sum()) > most:
        keep &= worth >= np.partition(worth, len(worth) - most)[len(worth) - most]
    return keep


def _steps(shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    steps: NDArray[np.uint8] = np.clip(np.rint(-STEPS_PER_NAT * np.log(shares)), 0, 255).astype(
        "u1"
    )
    return steps
