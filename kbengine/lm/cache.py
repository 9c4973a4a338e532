"""What was said before is said again: a cache over any language model.

The pieces of the path itself are counted in histories of 0 to 4 pieces, each order smoothed
with the one below it and the lowest with the language model, as in a hierarchical Pitman-Yor
model (Teh 2006) whose base measure is the language model (a cache: Kuhn & De Mori 1990):

    P_k(w | h) = (max(c_k(w) - d_k, 0) + (a_k + d_k T_k) P_k-1(w | h)) / (N_k + a_k)

with c_k(w) how often w followed the last k pieces, N_k their sum and T_k how many kinds they
are; P_-1 is the language model. For k > 0 a piece inside a word counts `inside` times: how a
name goes on is surer than how a sentence does. So a name that was mentioned is likely again,
and more so after its first piece; with nothing said yet it is the language model, and it
always sums to 1. A prediction is a function of its path alone: any way of typing gives the
same.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kbengine.lm.layer import Layer
from kbengine.protocols import Floats, Ints, LanguageModel, State
from kbengine.vocab import BOS, UNK

Path: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class CacheOptions:
    """a_k and d_k, lowest order first. Found by ``python -m train cache --text`` on 500 lines of
    each dev set, alone and after five others; `inside` by trials (train/EXPERIMENTS.md)."""

    strength: tuple[float, ...] = (3910.0, 54.4, 6.4, 7.2, 3.0)
    discount: tuple[float, ...] = (0.345, 0.36, 0.75, 0.47, 0.82)
    inside: float = 6.0


_NEVER = frozenset((BOS, UNK))  # is no part of a text; is many things
_STRIDE = 16  # the pieces that are indexed fall so many behind, and are so many more then


class _Index(NamedTuple):
    """Of some pieces: their kinds int[M], how often each occurs float32[M], the place of each
    among the kinds, and the places in the text at which it stands."""

    ids: Ints
    counts: Floats
    kinds: dict[int, int]
    standing: dict[int, list[int]]


@functools.lru_cache(maxsize=8)  # a search needs two; made in 0.1 ms for a full window
def _index(pieces: Path) -> _Index:
    counts: dict[int, int] = {}
    standing: dict[int, list[int]] = {}
    for place, piece in enumerate(pieces):
        standing.setdefault(piece, []).append(place)
        if piece not in _NEVER:
            counts[piece] = counts.get(piece, 0) + 1
    return _Index(
        np.array(list(counts), np.intp),
        np.array(list(counts.values()), np.float32),
        {piece: i for i, piece in enumerate(counts)},
        standing,
    )


@functools.lru_cache(maxsize=8)
def _joined(pieces: Path, more: Path) -> Path:
    """One object for all the states that come by here."""
    return pieces + more


class CacheState(NamedTuple):
    """The language model's state, and the path: what is indexed, and the pieces after it."""

    base: State
    said: Path
    tail: Path


class CacheModel(Layer[CacheState]):
    """A language model that expects its own path again. Safe to share as that one is."""

    def __init__(
        self,
        base: LanguageModel,
        boundary: NDArray[np.bool_],
        options: CacheOptions | None = None,
    ) -> None:
        """boundary bool[V]: the pieces that begin something new, see `Vocabulary.boundary`."""
        super().__init__(base)
        self.options = options or CacheOptions()
        self._weights = np.where(boundary, 1.0, self.options.inside).tolist()

    def start(self, heard: Sequence[int] = ()) -> CacheState:
        """See `LanguageModel.start`."""
        return CacheState(self.base.start(heard), tuple(heard), ())

    def follow(self, state: CacheState, piece: int, base: State) -> CacheState:
        """The state after one more piece. The index stays some pieces behind, so that all the words
        that a search tries have the same one."""
        said, tail = state.said, (*state.tail, piece)
        if len(tail) == 2 * _STRIDE:
            said, tail = _joined(said, tail[:_STRIDE]), tail[_STRIDE:]
        return CacheState(base, said, tail)

    def alter(self, logp: Floats, state: CacheState) -> None:
        """See `Layer.alter`."""
        index = _index(state.said)
        ids, kinds = index.ids, index.kinds
        tail = [piece for piece in state.tail if piece not in _NEVER]
        fresh = [piece for piece in dict.fromkeys(tail) if piece not in kinds]
        if fresh:
            kinds = kinds | {piece: i for i, piece in enumerate(fresh, len(ids))}
            ids = np.concatenate([ids, np.array(fresh, np.intp)])
        if not len(ids):
            return
        counts = np.concatenate([index.counts, np.zeros(len(fresh), np.float32)])
        for piece in tail:
            counts[kinds[piece]] += 1
        a, d = self.options.strength, self.options.discount
        total = float(counts.sum()) + a[0]
        share = (a[0] + d[0] * len(ids)) / total
        p = np.exp(logp.take(ids))
        p *= share
        counts -= d[0]
        counts /= total
        p += counts
        for k, after in enumerate(_followers(state, index, self._weights, len(a) - 1), 1):
            total = sum(after.values()) + a[k]
            left = (a[k] + d[k] * len(after)) / total
            p *= left
            share *= left
            for piece, n in after.items():
                p[kinds[piece]] += (n - d[k]) / total
        logp += math.log(share)
        logp[ids] = np.log(p)


def _followers(
    state: CacheState, index: _Index, weights: Sequence[float], most: int
) -> list[dict[int, float]]:
    """For histories of 1, 2, ... `most` pieces, as far as the end of the path has stood in it
    before: what followed it there, and how often times its weight."""
    path = state.said + state.tail
    end = len(path) - 1
    last = path[end]
    in_tail = (i for i, piece in enumerate(state.tail, len(state.said)) if piece == last)
    found: list[dict[int, float]] = []
    for place in (*index.standing.get(last, ()), *in_tail):
        piece = path[place + 1] if place < end else BOS
        if piece in _NEVER:
            continue
        length = 1
        while length < most and length <= place and path[place - length] == path[end - length]:
            length += 1
        found += [{} for _ in range(length - len(found))]
        for after in found[:length]:
            after[piece] = after.get(piece, 0.0) + weights[piece]
    return found
