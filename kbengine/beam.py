"""The search: the k most probable words that a constraint allows. Nothing else.

Best first over paths of pieces. A path's log-probability only falls as it grows, so it
bounds every word that begins with it; when the k-th best finished word is above the
bound of all that is left, the result is exact. The best few open paths are stepped in
one call of the language model. `BeamOptions.calls` bounds the time: a search that
reaches it returns the best it has found.

A word ends by the mass of the pieces that begin something new, so that ``run`` does not
win by the mass of ``running``:

    score(word) = sum log P(piece | before) + log P(boundary | word) + channel
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from kbengine.protocols import Constraint, Cursor, Extensions, Floats, Ints
from kbengine.tree import Node, StateTree


@dataclass(frozen=True)
class BeamOptions:
    """batch: open paths stepped in one call; calls: how many calls at most; fan: how many
    extensions of a path are opened at a time, the rest when their turn comes."""

    batch: int = 6
    calls: int = 16
    fan: int = 32


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A path of pieces under a constraint.

    lm_logp: log P(pieces | context), for a finished word with its end; channel_logp: what
    the constraint charged. The score is their sum.
    """

    pieces: tuple[int, ...]
    node: Node
    cursor: Cursor
    lm_logp: float
    channel_logp: float = 0.0

    @property
    def score(self) -> float:
        """What the search ranks by."""
        return self.lm_logp + self.channel_logp


class Found(NamedTuple):
    """The result of a search.

    words: finished hypotheses by their text, best first, at most k.
    total_logp: log of the mass of everything the constraint allows, as far as it is known:
    finished words, and open paths at their bound.
    exact: whether the search ended by its bound, not by its budget.
    """

    words: list[tuple[str, Hypothesis]]
    total_logp: float
    exact: bool


class _Open(NamedTuple):
    """An extension of a path whose turn has not come: the cheapest form of a hypothesis."""

    parent: Hypothesis
    piece: int
    cursor: Cursor
    score: float
    channel_logp: float

    def path(self) -> Hypothesis:
        channel = self.parent.channel_logp + self.channel_logp
        return Hypothesis(
            (*self.parent.pieces, self.piece),
            self.parent.node.child(self.piece),
            self.cursor,
            self.score - channel,
            channel,
        )


class _Rest(NamedTuple):
    """The extensions of a path beyond the best `fan`, not looked at one by one yet."""

    parent: Hypothesis
    extensions: Extensions
    scores: Floats
    places: Ints


@dataclass
class _Search:
    """One run; see `search`."""

    constraint: Constraint
    spell: Callable[[tuple[int, ...]], str]
    k: int
    options: BeamOptions
    heap: list[tuple[float, int, _Open | _Rest]] = field(default_factory=list)
    best: dict[str, Hypothesis] = field(default_factory=dict)
    kth: float = -math.inf
    open_mass: float = 0.0
    done_mass: float = 0.0
    _count: itertools.count[int] = field(default_factory=itertools.count)

    def push(self, bound: float, item: _Open | _Rest) -> None:
        heapq.heappush(self.heap, (-bound, next(self._count), item))

    def expand(self, parent: Hypothesis) -> None:
        """Open what may follow a path whose node has its prediction."""
        extensions = self.constraint.expand(parent.cursor)
        if not len(extensions.pieces):
            return
        assert parent.node.logp is not None
        scores = parent.node.logp[extensions.pieces]
        scores += np.float32(parent.score)
        scores += extensions.channel_logp
        self.open_mass += float(np.exp(scores).sum())
        places = np.flatnonzero(scores > self.kth)
        if len(places):
            self.open_some(_Rest(parent, extensions, scores, places))

    def open_some(self, rest: _Rest) -> None:
        """Push the best `fan` extensions one by one, and the others as one, at their bound."""
        parent, extensions, scores, places = rest
        fan = self.options.fan
        if len(places) > fan:
            split = np.argpartition(-scores[places], fan)
            left = places[split[fan:]]
            self.push(float(scores[left[0]]), _Rest(parent, extensions, scores, left))
            places = places[split[:fan]]
        channel = extensions.channel_logp
        for i in places.tolist():
            score = float(scores[i])
            cost = channel if isinstance(channel, float) else float(channel[i])
            piece = int(extensions.pieces[i])
            self.push(score, _Open(parent, piece, extensions.cursors[i], score, cost))

    def next_batch(self) -> list[Hypothesis]:
        """The best open paths that can still matter."""
        batch: list[Hypothesis] = []
        while self.heap and len(batch) < self.options.batch and -self.heap[0][0] > self.kth:
            item = heapq.heappop(self.heap)[2]
            if isinstance(item, _Rest):
                self.open_some(item)
            else:
                batch.append(item.path())
        return batch

    def finish(self, path: Hypothesis) -> None:
        """Count a path whose node has its prediction as a word, if it may end there."""
        self.open_mass -= math.exp(path.score)
        if not self.constraint.may_end(path.cursor):
            return
        word = Hypothesis(
            path.pieces, path.node, path.cursor,
            path.lm_logp + path.node.end_logp, path.channel_logp,
        )  # fmt: skip
        self.done_mass += math.exp(word.score)
        text = self.spell(word.pieces)
        known = self.best.get(text)
        if known is None or word.score > known.score:
            self.best[text] = word
        if len(self.best) >= self.k:
            self.kth = heapq.nlargest(self.k, (w.score for w in self.best.values()))[-1]


def search(
    tree: StateTree,
    root: Node,
    constraint: Constraint,
    spell: Callable[[tuple[int, ...]], str],
    k: int,
    options: BeamOptions | None = None,
) -> Found:
    """The k best words after `root`.

    `spell` gives the text of a path; of two paths with one text the better counts.
    """
    options = options or BeamOptions()
    run = _Search(constraint, spell, k, options)
    tree.predict([root])
    run.expand(Hypothesis((), root, constraint.start(), 0.0))
    exact = False
    for _ in range(options.calls):
        batch = run.next_batch()
        if not batch:
            exact = True
            break
        tree.predict([path.node for path in batch])
        for path in batch:
            run.finish(path)
            run.expand(path)
    ranked = sorted(run.best.items(), key=lambda item: (-item[1].score, item[0]))[:k]
    mass = run.done_mass + max(0.0, run.open_mass)
    # Sums of float32 may fall short of their largest part by a rounding.
    least = ranked[0][1].score if ranked else -math.inf
    total = max(least, math.log(mass) if mass > 0 else -math.inf)
    return Found(ranked, total, exact)
