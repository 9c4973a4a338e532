"""The emoji that the last words of a text name, and how much that says."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kbengine import text
from kbengine.emojitable import EmojiHit, EmojiTable
from kbengine.lexicon import Lexicon

WORDS = 4  # of the text, the last, that may name an emoji, alone or some together
LONGEST_NAME = 3  # words
HITS = 64  # emoji of one name, at most
UNKNOWN_RARITY = 14.0  # of a word that the lexicon lacks, in nats
LEAST_STRENGTH = 1e-3  # of all names together; below it nothing is named


@dataclass(frozen=True)
class NameOptions:
    """How much names and keywords say. A word of the text names an emoji the more, the rarer it
    is and the fewer emoji share it: 1 / (1 + exp(-(-unigram logp - rarity) / slope)) times its
    `telling` share ^ telling, times `decay` for each word that it stands away. Of the emoji that
    come, a share of s / (s + against), s their sum, are those of the names. An emoji that the
    model does not know, being newer than its text, weighs `new` times as much: of the others it
    has had its say. From ``python -m train names`` on dev text; `against` and `new` are set lower
    and higher than the text asks for, which has no emoji after 2017 (train/EXPERIMENTS.md)."""

    rarity: float = 8.0
    slope: float = 0.4
    decay: float = 0.5
    telling: float = 1.0
    against: float = 2.0
    new: float = 2.0

    def strength(self, rarity: float) -> float:
        """How much a name of this rarity in nats says, 0 to 1."""
        return 1.0 / (1.0 + math.exp(-(rarity - self.rarity) / self.slope))


def telling(name: str, hits: Mapping[str, float]) -> float:
    """How much a name says of which emoji: its greatest share; all shares of a phrase together, and
    twice, for it was listed by what people say with it."""
    return 2 * sum(hits.values()) if " " in name else max(hits.values())


class EmojiNames:
    """The names of a table, weighed by how rare their words are."""

    def __init__(
        self, table: EmojiTable, lexicon: Lexicon, options: NameOptions | None = None
    ) -> None:
        self._table, self._lexicon = table, lexicon
        self.options = options or NameOptions()
        # Kept for all places: the last words are asked about at every one.
        self._hits = functools.lru_cache(1024)(self._hits_of)
        self.rarity = functools.lru_cache(1024)(self._rarity_of)

    def begun(self, typed: str, n: int) -> list[EmojiHit]:
        """Up to n emoji with a name that begins as typed."""
        return self._table.find(typed, n)

    def strength(self, name: str) -> float:
        """How much a name says, 0 to 1."""
        return self.options.strength(self.rarity(name))

    def named(
        self, last_tokens: tuple[str, ...], known: Mapping[str, int]
    ) -> tuple[dict[str, float], float]:
        """P(emoji | it is one of those that the last words name), and the share of those that are;
        no emoji, and 0, where nothing is named. known: the emoji that the model knows."""
        options = self.options
        weights: dict[str, float] = {}
        total = 0.0
        for name, away, hits in self.names(last_tokens):
            weight = self.strength(name) * options.decay**away
            weight *= telling(name, hits) ** options.telling
            total += weight
            for emoji, share in hits.items():
                new = 1.0 if emoji in known else options.new
                weights[emoji] = weights.get(emoji, 0.0) + weight * share * new
        whole = sum(weights.values())
        if whole < LEAST_STRENGTH:
            return {}, 0.0
        named = {emoji: weight / whole for emoji, weight in weights.items()}
        return named, total / (total + options.against)

    def names(self, last_tokens: tuple[str, ...]) -> Iterator[tuple[str, int, dict[str, float]]]:
        """The words and phrases among the last words that name emoji: how many words away each
        ends, and the emoji with their shares of it."""
        words = last_tokens[-WORDS:]
        for end in range(len(words), 0, -1):
            for begin in range(end - 1, max(0, end - LONGEST_NAME) - 1, -1):
                if not text.is_word(words[begin]):
                    break
                hits = self._hits(" ".join(words[begin:end]))
                if hits:
                    yield " ".join(words[begin:end]), len(words) - end, hits

    def _hits_of(self, name: str) -> dict[str, float]:
        """The emoji of a word or phrase, also in the plural, and their shares."""
        names = [name, name.removesuffix("s")] if name.endswith("s") else [name]
        hits = next((found for found in (self._table.exact(n, HITS) for n in names) if found), [])
        return {hit.emoji: hit.share for hit in hits}

    def _rarity_of(self, name: str) -> float:
        """-log of the share of a name's words in the text, in nats."""
        nodes = map(self._lexicon.find, name.split(" "))
        return sum(UNKNOWN_RARITY if n is None else -self._lexicon.logp(n) for n in nodes)
