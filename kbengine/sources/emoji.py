"""Emoji: those that are expected here, and those whose name is typed or was just typed."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from kbengine import text
from kbengine.emojimodel import EmojiModel
from kbengine.emojitable import EmojiTable
from kbengine.lexicon import Lexicon
from kbengine.sources.query import Query
from kbengine.sources.words import WordSource
from kbengine.tree import StateTree
from kbengine.types import Candidate, candidate
from kbengine.vocab import Vocabulary


@dataclass(frozen=True)
class NameOptions:
    """How much names and keywords say. A word of the text names an emoji the more, the rarer it
    is and the fewer emoji share it: 1 / (1 + exp(-(-unigram logp - rarity) / slope)) times its
    greatest share (a phrase: all its shares) ^ telling, times `decay` for each word that it stands away. Of the emoji that
    come, a share of s / (s + against), s their sum, are those of the names. An emoji that the
    model does not know, being newer than its text, weighs `new` times as much: of the others it
    has had its say. From ``python -m train names`` on dev text; `against` and `new` are set lower
    and higher than the text asks for, which has no emoji after 2017 (train/EXPERIMENTS.md).

    typed_p: P(an emoji is wanted | a word that names it is being typed): the shipped model's text
    has 6.3 emoji to a thousand words ("emoji a word in the text", in its model card), and nothing
    says which word stood for which."""

    rarity: float = 8.0
    slope: float = 0.4
    decay: float = 0.5
    telling: float = 1.0
    against: float = 2.0
    new: float = 2.0
    typed_p: float = 0.0063

    def strength(self, rarity: float) -> float:
        """How much a name of this rarity in nats says, 0 to 1."""
        return 1.0 / (1.0 + math.exp(-(rarity - self.rarity) / self.slope))


def telling(name: str, hits: Mapping[str, float]) -> float:
    """How much a name says of which emoji: its greatest share, all of a phrase's together."""
    return sum(hits.values()) if " " in name else max(hits.values())


LEAST_TYPED_LOGP = math.log(1e-5)  # below it the name is hardly what is being typed
LEAST_LETTERS = 2  # a single letter names nothing
NAMES = 8  # how many names are weighed at a key
LONGEST_NAME = 3  # words
LEAST_STRENGTH = 1e-3  # of all names together; below it nothing is named
WORDS = 4  # of the text, the last, that may name an emoji, alone or two or three together
HITS = 64  # emoji of one name, at most
UNKNOWN_RARITY = 14.0  # of a word that the lexicon lacks, in nats


class EmojiSource:
    """Two kinds of emoji, on the scale of the words:

    * before a word is begun: P(an emoji comes) P(which), the emoji model's which mixed with the
      emoji that the last words name;
    * while a word is typed, those that it may name: P(name | context, typed) P(an emoji is
      wanted) P(emoji | name).
    """

    def __init__(
        self,
        tree: StateTree,
        vocabulary: Vocabulary,
        table: EmojiTable,
        words: WordSource,
        lexicon: Lexicon,
        model: EmojiModel | None = None,
        options: NameOptions | None = None,
    ) -> None:
        self._tree, self._vocabulary, self._table, self._words = tree, vocabulary, table, words
        self._lexicon, self._model = lexicon, model
        self.options = options or NameOptions()
        self._hits = functools.lru_cache(1024)(self._hits_of)
        self._strength = functools.lru_cache(1024)(
            lambda name: self.options.strength(self.rarity(name))
        )

    @functools.cached_property
    def _texts(self) -> list[str]:
        """The emoji that are pieces, in the order of what is expected."""
        if self._model is None:
            return self._vocabulary.emoji.texts
        return [self._vocabulary.pieces[i] for i in self._model.emoji.tolist()]

    @functools.cached_property
    def places(self) -> dict[str, int]:
        """Where each emoji stands in what is expected."""
        return {emoji: i for i, emoji in enumerate(self._texts)}

    def prepare(self) -> None:
        """Build now what the first emoji would have to wait for, some 50 ms: the index of
        names, the `emoji` package's tables and the pieces that are emoji."""
        self._table.find("a", 1)
        _ = self.places

    def propose(self, query: Query, n: int, diversity: float = 0.0) -> list[Candidate]:
        """The best n emoji, best first."""
        if not query.typed:
            found = self._expected(query, n, diversity)
        elif len(query.lower) >= LEAST_LETTERS:
            found = self._being_named(query, n)
        else:
            found = []
        return sorted(found, key=lambda c: (-c.score, c.text))[:n]

    def score(self, query: Query, emoji: str) -> Candidate | None:
        """One emoji before a word is begun; None where nothing speaks for it."""
        named, share = self.named(query.place.last_tokens)
        if query.typed or (emoji not in self.places and emoji not in named):
            return None
        return self._candidate(query, emoji, named, share, 0.0)

    def named(self, last_tokens: tuple[str, ...]) -> tuple[dict[str, float], float]:
        """P(emoji | it is one of those that the last words name), and the share of those that are;
        no emoji, and 0, where nothing is named."""
        options = self.options
        weights: dict[str, float] = {}
        total = 0.0
        for name, away, hits in self.names(last_tokens):
            weight = self._strength(name) * options.decay**away * telling(name, hits) ** options.telling
            total += weight
            for emoji, share in hits.items():
                new = 1.0 if emoji in self.places else options.new
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

    def rarity(self, name: str) -> float:
        """-log of the share of a name's words in the text, in nats."""
        nodes = map(self._lexicon.find, name.split(" "))
        return sum(UNKNOWN_RARITY if n is None else -self._lexicon.logp(n) for n in nodes)

    def _expected(self, query: Query, n: int, diversity: float) -> list[Candidate]:
        kinds = query.place.expected.kinds
        named, share = self.named(query.place.last_tokens)
        scores = kinds
        if diversity and self._model is not None:
            scores = kinds + np.float32(diversity) * self._model.rarity
        best = (
            np.argpartition(-scores, n - 1)[:n].tolist() if n < len(scores) else range(len(kinds))
        )
        emoji = dict.fromkeys([self._texts[i] for i in best])
        emoji |= dict.fromkeys(named)
        return [self._candidate(query, e, named, share, diversity) for e in emoji]

    def _candidate(
        self, query: Query, emoji: str, named: dict[str, float], share: float, diversity: float
    ) -> Candidate:
        expected, place = query.place.expected, self.places.get(emoji)
        rarity = 0.0 if self._model is None else float(self._model.rarity.max())
        model_p, name_p = 0.0, share * named.get(emoji, 0.0)
        lm, trigger = expected.lm_logp, expected.trigger_logp - expected.lm_logp
        if place is not None:  # else the language model says nothing of which
            model_p = math.exp(expected.kinds[place])
            lm += float(expected.lm_kinds[place])
            trigger += float(expected.kinds[place] - expected.lm_kinds[place])
            rarity = 0.0 if self._model is None else float(self._model.rarity[place])
        p = (1 - share) * model_p + name_p
        parts = {
            "language model": lm,
            "trigger": trigger,
            "lexicon": math.log(p / (model_p or 1.0)),
            "slot policy": diversity * rarity,
        }
        source = "names" if name_p > (1 - share) * model_p else "language model"
        return candidate(emoji, "emoji", source, parts)

    def _being_named(self, query: Query, n: int) -> list[Candidate]:
        hits = self._table.find(query.lower, NAMES)
        total = self._words.search(query, n).total_logp
        names: dict[str, float] = {}
        found = []
        for hit in hits:
            if hit.keyword not in names:  # a name of several words is weighed by its first
                pieces = self._vocabulary.encode_token(hit.keyword.split(" ")[0])
                names[hit.keyword] = self._tree.path_logp(query.node, pieces)[0]
            logp, strength = names[hit.keyword], self._strength(hit.keyword)
            parts = {
                "language model": logp,
                # No name is likelier than all words that begin so.
                "channel": -max(total, logp),
                "trigger": math.log(self.options.typed_p * max(strength, 1e-6)),
                "lexicon": math.log(hit.share),
            }
            found.append(candidate(hit.emoji, "emoji", "names", parts, query.replaces))
        return [emoji for emoji in found if emoji.logp >= LEAST_TYPED_LOGP]
