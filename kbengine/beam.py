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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from kbengine.protocols import Constraint, Cursor, Extensions, Floats, Ints
from kbengine.tree import Node, StateTree

FEW = 16  # up to so many extensions, lists are faster than arrays (`kbengine bench`)
NONE: Ints = np.zeros(0, np.intp)


@dataclass(frozen=True)
class BeamOptions:
    """batch: open paths stepped in one call; calls: how many calls at most; fan: how many
    extensions of a path are put in order at a time. On the keys of self_dialogue's first 60
    dev lines, batches of 3 to 8 and fans of 8 to 32 differ by a third in time, these cost
    the least, all of them exact. (The runtime takes rows by fives where it has AVX-512: six
    cost as much as ten, see `kbengine bench`.)"""

    batch: int = 5
    calls: int = 20
    fan: int = 12


class Hypothesis(NamedTuple):
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

    words: finished hypotheses by their text, best first, at most k and the one left aside.
    total_logp: log of the mass of everything the constraint allows, as far as it is known:
    finished words, and open paths at their bound.
    exact: whether the search ended by its bound, not by its budget.
    """

    words: list[tuple[str, Hypothesis]]
    total_logp: float
    exact: bool


@dataclass(slots=True)
class _Brood:
    """The extensions of one path, best first.

    ready: (-score, place) of those in order, from `at` on; rest: places of the others, none
    of them better. Only a few of thousands are ever asked for, so few are put in order.
    """

    parent: Hypothesis
    extensions: Extensions
    scores: Floats
    rest: Ints
    ready: list[tuple[float, int]]
    at: int = 0

    def bound(self, fan: int) -> float | None:
        """The score of the next extension, None where there is none; puts `fan` more of them
        in order where needed."""
        if self.at == len(self.ready):
            places, self.rest = self.rest, self.rest[:0]
            if not len(places):
                return None
            if len(places) > fan:
                places = places[np.argpartition(-self.scores[places], fan)]
                places, self.rest = places[:fan], places[fan:]
            self.ready = sorted(zip((-self.scores[places]).tolist(), places.tolist(), strict=True))
            self.at = 0
        return -self.ready[self.at][0]

    def take(self) -> Hypothesis:
        """The next extension as a path of its own."""
        negative, place = self.ready[self.at]
        self.at += 1
        cost = self.extensions.channel_logp
        channel = self.parent.channel_logp
        channel += cost if isinstance(cost, float) else float(cost[place])
        piece = int(self.extensions.pieces[place])
        return Hypothesis(
            (*self.parent.pieces, piece),
            self.parent.node.child(piece),
            self.extensions.cursors[place],
            -negative - channel,
            channel,
        )


@dataclass
class _Search:
    """One run; see `search`. The heap holds a brood at the bound of its next extension."""

    constraint: Constraint
    spell: Callable[[tuple[int, ...]], str]
    k: int
    aside: str | None
    options: BeamOptions
    heap: list[tuple[float, int, _Brood]] = field(default_factory=list)
    best: dict[str, Hypothesis] = field(default_factory=dict)
    kth: float = -math.inf
    open_mass: float = 0.0
    done_mass: float = 0.0
    _count: itertools.count[int] = field(default_factory=itertools.count)

    def push(self, brood: _Brood) -> None:
        """Queue a brood again, unless nothing of it is left that can still matter."""
        bound = brood.bound(self.options.fan)
        if bound is not None and bound > self.kth:
            heapq.heappush(self.heap, (-bound, next(self._count), brood))

    def expand(self, parent: Hypothesis) -> None:
        """Open what may follow a path whose node has its prediction."""
        extensions = self.constraint.expand(parent.cursor)
        if not len(extensions.pieces):
            return
        assert parent.node.logp is not None
        scores = parent.node.logp.take(extensions.pieces)
        scores += np.float32(parent.score)
        scores += extensions.channel_logp
        if len(scores) > FEW:
            self.open_mass += float(np.exp(scores).sum())
            rest = (scores > self.kth).nonzero()[0]
            self.push(_Brood(parent, extensions, scores, rest, []))
        else:
            listed = scores.tolist()
            self.open_mass += sum(map(math.exp, listed))
            ready = sorted((-score, place) for place, score in enumerate(listed))
            self.push(_Brood(parent, extensions, scores, NONE, ready))

    def next_batch(self) -> list[Hypothesis]:
        """The best open paths that can still matter."""
        batch: list[Hypothesis] = []
        while self.heap and len(batch) < self.options.batch and -self.heap[0][0] > self.kth:
            brood = heapq.heappop(self.heap)[2]
            batch.append(brood.take())
            self.push(brood)
        return batch

    def finish(self, path: Hypothesis) -> None:
        """Count a path whose node has its prediction as a word, if it may end there."""
        score = path.score
        self.open_mass -= math.exp(score)
        channel_end = self.constraint.end_logp(path.cursor)
        if channel_end == -math.inf:
            return
        end_logp = path.node.end_logp
        score += end_logp + channel_end
        self.done_mass += math.exp(score)
        if score <= self.kth:
            return
        text = self.spell(path.pieces)
        known = self.best.get(text)
        if known is None or score > known.score:
            self.best[text] = path._replace(
                lm_logp=path.lm_logp + end_logp, channel_logp=path.channel_logp + channel_end
            )
        if len(self.best) >= self.k:
            scores = (w.score for text, w in self.best.items() if text != self.aside)
            self.kth = nth_best(scores, self.k)


def nth_best(scores: Iterable[float], n: int) -> float:
    """The n-th highest score, -inf where there are fewer."""
    ordered = sorted(scores, reverse=True)
    return ordered[n - 1] if len(ordered) >= n else -math.inf


def in_order(
    words: Mapping[str, Hypothesis], k: int, aside: str | None
) -> list[tuple[str, Hypothesis]]:
    """The k best words, best first, and the one left aside where it is better than the last."""
    ordered = sorted(words.items(), key=lambda item: (-item[1].score, item[0]))
    most = k + any(text == aside for text, _ in ordered[:k])
    return ordered[:most]


def search(
    tree: StateTree,
    root: Node,
    constraint: Constraint,
    spell: Callable[[tuple[int, ...]], str],
    k: int,
    options: BeamOptions | None = None,
    aside: str | None = None,
    channel_logp: float = 0.0,
) -> Found:
    """The k best words after `root`, not counting the word `aside`.

    `spell` gives the text of a path; of two paths with one text the better counts. channel_logp:
    what the taps say for all words that the constraint allows.
    """
    options = options or BeamOptions()
    run = _Search(constraint, spell, k, aside, options)
    tree.predict([root])
    run.expand(Hypothesis((), root, constraint.start(), 0.0, channel_logp))
    exact = False
    for _ in range(options.calls):
        batch = run.next_batch()
        if not batch:
            exact = True
            break
        # The root along with them, so that a wide search does not push out its own row.
        tree.predict([root, *(path.node for path in batch)])
        for path in batch:
            run.finish(path)
            run.expand(path)
    ranked = in_order(run.best, k, aside)
    mass = run.done_mass + max(0.0, run.open_mass)
    # Sums of float32 may fall short of their largest part by a rounding.
    least = ranked[0][1].score if ranked else -math.inf
    total = max(least, math.log(mass) if mass > 0 else -math.inf)
    return Found(ranked, total, exact)
