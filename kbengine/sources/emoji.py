"""Emoji: those that are expected here, and those whose name is typed or was just typed."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np

from kbengine.emojimodel import EmojiModel
from kbengine.sources.names import EmojiNames
from kbengine.sources.query import EMOJI_WANTED_P, Query
from kbengine.sources.words import WordSource
from kbengine.tree import StateTree
from kbengine.types import Candidate, candidate
from kbengine.vocab import Vocabulary

LEAST_TYPED_LOGP = math.log(1e-5)  # below it the name is hardly what is being typed
LEAST_LETTERS = 2  # a single letter names nothing
NAMES = 8  # how many names are weighed at a key


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
        names: EmojiNames,
        words: WordSource,
        model: EmojiModel | None = None,
    ) -> None:
        self._tree, self._vocabulary, self._words = tree, vocabulary, words
        self.names, self.model = names, model

    @functools.cached_property
    def _texts(self) -> list[str]:
        """The emoji that are pieces, in the order of what is expected."""
        if self.model is None:
            return self._vocabulary.emoji.texts
        return [self._vocabulary.pieces[i] for i in self.model.emoji.tolist()]

    @functools.cached_property
    def places(self) -> dict[str, int]:
        """Where each emoji stands in what is expected."""
        return {emoji: i for i, emoji in enumerate(self._texts)}

    def prepare(self) -> None:
        """Build now what the first emoji would have to wait for, some 50 ms: the index of
        names, the `emoji` package's tables and the pieces that are emoji."""
        self.names.begun("a", 1)
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
        """One emoji; None where nothing speaks for it."""
        if query.typed:
            named_here = self._being_named(query, 1)
            return next((c for c in named_here if c.text == emoji), None)
        named, share = self.names.named(query.place.last_tokens, self.places)
        if emoji not in self.places and emoji not in named:
            return None
        return self._candidate(query, emoji, named, share, 0.0)

    def _expected(self, query: Query, n: int, diversity: float) -> list[Candidate]:
        kinds = query.place.expected.kinds
        named, share = self.names.named(query.place.last_tokens, self.places)
        scores = kinds
        if diversity and self.model is not None:
            scores = kinds + np.float32(diversity) * self.model.rarity
        best = (
            np.argpartition(-scores, n - 1)[:n].tolist() if n < len(scores) else range(len(kinds))
        )
        emoji = dict.fromkeys([self._texts[i] for i in best])
        emoji |= dict.fromkeys(named)
        found = [self._candidate(query, e, named, share, diversity) for e in emoji]
        if not diversity or not found:
            return found
        # An order of emoji among themselves: the first stands where the likeliest would.
        shift = max(c.logp for c in found) - max(c.score for c in found)
        return [
            replace(c, parts={**c.parts, "slot policy": c.parts["slot policy"] + shift})
            for c in found
        ]

    def _candidate(
        self, query: Query, emoji: str, named: dict[str, float], share: float, diversity: float
    ) -> Candidate:
        expected, place = query.place.expected, self.places.get(emoji)
        # One that the model does not know is neither common nor rare.
        rarity = 0.0 if self.model is None else float(np.median(self.model.rarity))
        model_p, name_p = 0.0, share * named.get(emoji, 0.0)
        lm, trigger = expected.lm_logp, expected.trigger_logp - expected.lm_logp
        if place is not None:  # else the language model says nothing of which
            model_p = math.exp(expected.kinds[place])
            lm += float(expected.lm_kinds[place])
            trigger += float(expected.kinds[place] - expected.lm_kinds[place])
            rarity = 0.0 if self.model is None else float(self.model.rarity[place])
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
        hits = self.names.begun(query.lower, NAMES)
        total, clean = self._words.search(query, n).total_logp, query.clean_logp
        names: dict[str, float] = {}
        found = []
        for hit in hits:
            if hit.keyword not in names:  # a name of several words is weighed by its first
                pieces = self._vocabulary.encode_token(hit.keyword.split(" ")[0])
                names[hit.keyword] = self._tree.path_logp(query.node, pieces)[0]
            logp, strength = names[hit.keyword], self.names.strength(hit.keyword)
            parts = {
                "language model": logp,
                # No name is likelier than all words that begin so.
                "channel": clean - max(total, logp + clean),
                "trigger": math.log(EMOJI_WANTED_P * max(strength, 1e-6)),
                "lexicon": math.log(hit.share),
            }
            found.append(candidate(hit.emoji, "emoji", "names", parts, query.replaces))
        return [emoji for emoji in found if emoji.logp >= LEAST_TYPED_LOGP]
