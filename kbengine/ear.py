"""What the taps of the open word may mean, key by key, for one text field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TypeVar

import numpy as np

from kbengine.channel import FAR_LOGP, Channel
from kbengine.constraint import Heard
from kbengine.decoder import Decoder
from kbengine.lettertrie import LetterTrie
from kbengine.lexicon import Lexicon
from kbengine.protocols import Floats, Ints
from kbengine.types import Tap

# A slip in a word that is still open is unlikelier by this power: people see most at once and mend
# them. With 1 the slips' words cost .5 points of keystrokes on clean text, with 2.5 and 3 none
# (150 lines of sms_nus, self_dialogue and tweets_mixed dev, `kbengine eval`).
OPEN = 2.5
COMMON_LOGP = (
    -10.5
)  # where no word so common begins as typed (teh, recie), slips are not rarer; by hand
FAR_KW = 1.0  # what falls farther from its key in either direction was not aimed at it
PRIOR_TAPS = 20  # of offset 0 that stand against a person's own
_MOST_DECODERS = 8  # kept for a word: one for each place where a space may have been missed


Weighed = TypeVar("Weighed", Floats, np.float32)


class _Words:
    """A few words as a stock: equally likely."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = sorted(words)

    def alphabetical(self) -> tuple[list[str], Ints]:
        return list(self._words), np.arange(len(self._words))

    def logps(self, numbers: Ints) -> Floats:
        return np.zeros(len(numbers), np.float32)

    def ranks(self, numbers: Ints) -> Ints:
        return numbers


class Ear:
    """Decoders over the lexicon's letters, which go on from key to key. For one thread."""

    def __init__(self, lexicon: Lexicon, trie: LetterTrie, channel: Channel) -> None:
        self.lexicon, self.trie, self.channel = lexicon, trie, channel
        self.offset_kw = (0.0, 0.0)  # how far from the keys' centres this person's finger falls
        self._taps, self._away = 0, (0.0, 0.0)
        self._decoders: dict[int, Decoder] = {}
        self._said: tuple[tuple[str, ...], Decoder, LetterTrie] | None = None

    def adapt(self, taps: Sequence[Tap], word: str) -> None:
        """Learn from the taps of a word that was meant."""
        keys = self.channel.layout.keys
        letters = word.lower()
        if len(taps) != len(letters):
            return
        for tap, letter in zip(taps, letters, strict=True):
            centre = keys.get(letter)
            if centre is None or tap.x is None or tap.y is None:
                continue
            away = tap.x - centre[0], tap.y - centre[1]
            if max(map(abs, away)) < FAR_KW:
                self._taps += 1
                self._away = self._away[0] + away[0], self._away[1] + away[1]
        weight = 1 / (self._taps + PRIOR_TAPS)
        self.offset_kw = self._away[0] * weight, self._away[1] * weight

    def begins(self, letters: str) -> bool:
        """Whether a known word begins so."""
        return self._node(letters) > 0

    def commonest_logp(self, letters: str) -> float:
        """The unigram logp of the commonest word that begins so; little where there is none."""
        node = self._node(letters)
        return float(self.trie.best_logp[node]) if node else FAR_LOGP

    def _node(self, letters: str) -> int:
        node = np.zeros(1, np.intp)
        for letter in letters:
            number = self.channel.number.get(letter)
            if number is None:
                return 0
            node = self.trie.child(node, np.array([number]))
            if not node[0]:
                return 0
        return int(node[0])

    def decoder(self, taps: Sequence[Tap], start: int = 0) -> Decoder:
        """What the taps from `start` on may spell."""
        found = self._decoders.get(start)
        if found is None:
            if len(self._decoders) >= _MOST_DECODERS:
                del self._decoders[next(iter(self._decoders))]
            found = self._decoders[start] = Decoder(self.trie, self.channel)
        found.feed(taps[start:], self.offset_kw)
        return found

    def gaps(self, taps: Sequence[Tap], at: int) -> Iterator[tuple[int, float]]:
        """How a space may have been missed after the first `at` taps: where the second word
        begins, and log P(what is there between | a space was meant)."""
        yield at, self.channel.rates.missed_space
        if at + 1 < len(taps):
            yield at + 1, self.channel.space(taps[at])

    def said(self, taps: Sequence[Tap], words: Sequence[str], finished: bool) -> dict[str, float]:
        """log P(taps | word) of words that the lexicon lacks, where they may be meant."""
        key = tuple(words)
        if self._said is None or self._said[0] != key:
            trie = LetterTrie(_Words(words))
            channel = Channel(self.channel.model, trie.alphabet, self.channel.layout)
            self._said = key, Decoder(trie, channel), trie
        _, decoder, trie = self._said
        decoder.feed(taps, self.offset_kw)
        found: dict[str, float] = {}
        ends = trie.word[decoder.front.nodes]
        for word, logp in zip(ends.tolist(), decoder.front.logp.tolist(), strict=True):
            if word >= 0:
                found[trie.words[word]] = logp
        if not finished:
            nodes, begun = decoder.reached
            for node, logp in zip(nodes.tolist(), begun.tolist(), strict=True):
                for word in trie.words[trie.low[node] : trie.high[node]]:
                    found[word] = max(logp, found.get(word, -math.inf))
        return found


class Sound:
    """The taps of one open word. finished: whether it is typed to its end."""

    def __init__(self, ear: Ear, taps: Sequence[Tap], finished: bool) -> None:
        self.ear, self.taps, self.finished = ear, tuple(taps), finished

    @cached_property
    def heard(self) -> Heard:
        """The words of the lexicon that may be meant."""
        return self.rest(0)

    def rest(self, start: int) -> Heard:
        """The same of the taps from `start` on."""
        ear, taps = self.ear, self.taps[start:]
        decoder = ear.decoder(self.taps, start)
        weigh = partial(self.weigh, taps=taps)
        return Heard(ear.lexicon, ear.trie, decoder, self.finished, weigh)

    @cached_property
    def clean_logp(self) -> float:
        """log P(taps | exactly the letters typed)."""
        return self.ear.channel.clean_logp(self.taps, self.ear.offset_kw)

    @cached_property
    def power(self) -> float:
        """By which power a slip is unlikelier than at the end of the word."""
        if self.finished:
            return 1.0
        letters = "".join(tap.char for tap in self.taps).lower()
        return OPEN if self.ear.commonest_logp(letters) >= COMMON_LOGP else 1.0

    def weigh(self, logp: Weighed, taps: Sequence[Tap]) -> Weighed:
        """log P(taps | letters), as it is charged; see `power`."""
        if self.power == 1.0:
            return logp
        clean = np.float32(self.ear.channel.clean_logp(taps, self.ear.offset_kw))
        return clean + np.float32(self.power) * (logp - clean)

    def said(self, words: Mapping[str, str]) -> dict[str, float]:
        """log P(taps | word) of words of the conversation that the lexicon lacks."""
        if not words:
            return {}
        found = self.ear.said(self.taps, tuple(words), self.finished)
        logp = self.weigh(np.array(list(found.values()), np.float32), self.taps)
        return dict(zip(found, logp.tolist(), strict=True))
