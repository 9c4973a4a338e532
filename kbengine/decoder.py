"""Which letters may have been meant by taps: the noisy channel over the tree of letters.

After each tap the decoder holds the nodes of `LetterTrie` that the taps so far may have spelt, each
with log P(taps | its letters), the best way of those that lead there. A tap extends them, a
backspace takes the last step back; nothing is computed again. What is unlikely is dropped:
`DecoderOptions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kbengine.channel import Channel, Rules
from kbengine.lettertrie import LetterTrie
from kbengine.protocols import Floats, Ints
from kbengine.types import Tap


@dataclass(frozen=True)
class DecoderOptions:
    """width: nodes that are so many nats worse than the best are dropped, `wider` nats more with
    each tap, for a long word has room for more slips; nodes: how many are kept at most, those whose
    commonest word is likeliest. On 100 lines of self_dialogue dev with slips, 9, .75 and 300
    correct as many words as 14, 0 and 400, and 7, .75 and 250 2 % fewer."""

    width: float = 9.0
    wider: float = 0.75
    nodes: int = 300


class Front(NamedTuple):
    """Nodes and log P(the taps so far | their letters)."""

    nodes: Ints
    logp: Floats


@dataclass(slots=True)
class _Step:
    """After one tap. reached: by it; front: those, and what goes on from there with a letter that
    was not typed; whole: the words among the front, None until asked for."""

    tap: Tap
    table: Floats
    top: float
    reached: Front
    front: Front
    whole: Front | None = None


class Decoder:
    """The taps of one word. Not safe to share between threads."""

    def __init__(
        self, trie: LetterTrie, channel: Channel, options: DecoderOptions | None = None
    ) -> None:
        self._trie, self._channel = trie, channel
        self._options = options or DecoderOptions()
        self._width = self._options.width
        root = Front(np.zeros(1, np.intp), np.zeros(1, np.float32))
        self._start = self._omit(root)
        self._root = root
        self._steps: list[_Step] = []
        self._offset_kw = (0.0, 0.0)

    def feed(self, taps: Sequence[Tap], offset_kw: tuple[float, float] = (0.0, 0.0)) -> None:
        """Hold these taps: what they share with those held before stands already. offset_kw: see
        `Channel.table`."""
        if offset_kw != self._offset_kw:
            self._offset_kw, self._steps = offset_kw, []
        same = 0
        for step, tap in zip(self._steps, taps, strict=False):
            if step.tap is not tap and step.tap != tap:
                break
            same += 1
        del self._steps[same:]
        for tap in taps[same:]:
            self._press(tap)

    @property
    def reached(self) -> Front:
        """Beginnings of words that all taps may have spelt."""
        return self._steps[-1].reached if self._steps else self._root

    @property
    def front(self) -> Front:
        """The same and, letters left out at the end, whole words."""
        return self._steps[-1].front if self._steps else self._start

    def whole(self, taps: int) -> Front:
        """The words that the first so many taps may have spelt, by their numbers in the trie."""
        step = self._steps[taps - 1]
        if step.whole is None:
            nodes, logp = step.front
            words = self._trie.word[nodes]
            ends = words >= 0
            step.whole = Front(words[ends].astype(np.intp), logp[ends])
        return step.whole

    @property
    def tops(self) -> list[float]:
        """What each tap says for the letter that it says most for."""
        return [step.top for step in self._steps]

    def _front(self, back: int) -> Front | None:
        """The front so many taps ago."""
        at = len(self._steps) - back
        return None if at < 0 else self._start if at == 0 else self._steps[at - 1].front

    def _press(self, tap: Tap) -> None:
        channel, trie, rates = self._channel, self._trie, self._channel.rates
        self._width = self._options.width + self._options.wider * len(self._steps)
        table = channel.table(tap, self._offset_kw)
        before = self._front(0)
        assert before is not None
        match = self._children(before)
        logp = match.logp + table[trie.letter[match.nodes]]
        found = [(match.nodes, logp)]
        best = float(logp.max()) if len(logp) else -np.inf
        extra = channel.extra(tap)
        # The same letter once more: from the taps before, its node was reached already.
        doubled = rates.doubled + table[trie.letter[before.nodes]]
        doubled[before.nodes == 0] = -np.inf
        found.append((before.nodes, before.logp + np.maximum(doubled, np.float32(extra))))
        best = max(best, float(found[-1][1].max()) if len(before.nodes) else -np.inf)
        least = best - self._width
        swapped = self._swapped(table, least)
        if swapped is not None:
            found.append(swapped)
        for length, rules in enumerate(channel.rules, 1):
            spelt = self._spelt(rules, length, table, least)
            if spelt is not None:
                found.append(spelt)
        reached = self._kept(
            np.concatenate([nodes for nodes, _ in found]),
            np.concatenate([logp for _, logp in found]),
        )
        self._steps.append(_Step(tap, table, float(table.max()), reached, self._omit(reached)))

    def _children(self, front: Front) -> Front:
        """The nodes one letter on, at the price of those they come from."""
        first = self._trie.first
        low = first[front.nodes]
        counts = first[front.nodes + 1] - low
        ends = np.cumsum(counts)
        nodes = np.arange(ends[-1] if len(ends) else 0) + np.repeat(low - ends + counts, counts)
        return Front(nodes, np.repeat(front.logp, counts))

    def _omit(self, reached: Front) -> Front:
        """With the nodes that are reached by a letter that was not typed, apostrophes cheaply."""
        rates = self._channel.rates
        if not len(reached.nodes):
            return reached
        best = reached.logp.max()
        free = self._width + rates.omitted
        likely = reached.logp > best - max(free, 0.0)
        likely |= reached.logp > best - self._width - rates.apostrophe
        more = self._children(Front(reached.nodes[likely], reached.logp[likely]))
        price = np.where(
            self._trie.letter[more.nodes] == self._channel.apostrophe,
            np.float32(rates.apostrophe),
            np.float32(rates.omitted),
        )
        nodes = np.concatenate([reached.nodes, more.nodes])
        return self._kept(nodes, np.concatenate([reached.logp, more.logp + price]))

    def _swapped(self, table: Floats, least: float) -> tuple[Ints, Floats] | None:
        """Two letters whose taps came in the wrong order, the last two."""
        before = self._front(1)
        if before is None:
            return None
        last = self._steps[-1].table
        price = self._channel.rates.swapped
        likely = before.logp + price + float(last.max()) + float(table.max()) >= least
        if not likely.any():
            return None
        one = self._children(Front(before.nodes[likely], before.logp[likely]))
        logp = one.logp + table[self._trie.letter[one.nodes]] + np.float32(price)
        likely = logp + float(last.max()) >= least
        two = self._children(Front(one.nodes[likely], logp[likely]))
        return two.nodes, two.logp + last[self._trie.letter[two.nodes]]

    def _spelt(
        self, rules: Rules, length: int, table: Floats, least: float
    ) -> tuple[Ints, Floats] | None:
        """What was spelt otherwise by the last `length` taps."""
        before = self._front(length - 1)
        if before is None or not len(rules.logp) or not len(before.nodes):
            return None
        taps = rules.logp + table[rules.spelt[:, -1]]
        for back in range(1, length):
            taps += self._steps[-back].table[rules.spelt[:, -1 - back]]
        top = float(before.logp.max())
        usable = np.flatnonzero(taps + top >= least)
        if not len(usable):
            return None
        sums = before.logp[:, None] + taps[usable]
        at, rule = np.nonzero(sums >= least)
        nodes, logp = before.nodes[at], sums[at, rule]
        rule = usable[rule]
        done_nodes, done_logp = [], []
        for depth in range(rules.meant.shape[1]):
            nodes = self._trie.child(nodes, rules.meant[rule, depth])
            alive = nodes > 0
            nodes, logp, rule = nodes[alive], logp[alive], rule[alive]
            ends = rules.meant_lengths[rule] == depth + 1
            done_nodes.append(nodes[ends])
            done_logp.append(logp[ends])
            nodes, logp, rule = nodes[~ends], logp[~ends], rule[~ends]
            if not len(nodes):
                break
        return np.concatenate(done_nodes), np.concatenate(done_logp)

    def _kept(self, nodes: Ints, logp: Floats) -> Front:
        """Each node once, at its best; those that are likely enough."""
        if not len(nodes):
            return Front(nodes, logp.astype(np.float32))
        keep = logp >= logp.max() - self._width
        nodes, logp = nodes[keep], logp[keep]
        order = np.argsort(nodes, kind="stable")
        nodes, logp = nodes[order], logp[order]
        starts = np.flatnonzero(np.diff(nodes, prepend=-1))
        nodes, logp = nodes[starts], np.maximum.reduceat(logp, starts)
        most = self._options.nodes
        if len(nodes) > most:
            prior = logp + self._trie.best_logp[nodes]
            kept = np.sort(np.argpartition(-prior, most)[:most])
            nodes, logp = nodes[kept], logp[kept]
        return Front(nodes, logp.astype(np.float32, copy=False))
