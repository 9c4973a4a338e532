"""Phrases: how the text goes on past the next word, where the model is sure of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kbengine.beam import BeamOptions, search
from kbengine.constraint import Known
from kbengine.lexicon import Lexicon
from kbengine.sources.query import Query
from kbengine.sources.words import WordSource
from kbengine.tree import StateTree
from kbengine.types import Candidate
from kbengine.vocab import Vocabulary


@dataclass(frozen=True)
class PhraseOptions:
    """A phrase grows while its next word has at least `next_p`, to `words` words at most,
    and is offered where it has at least `least_p` in all. `heads`: how many of the best
    words are tried as its beginning."""

    next_p: float = 0.3
    least_p: float = 0.02
    words: int = 4
    heads: int = 2


class PhraseSource:
    """logp = log P(all its words | context, typed), with the end of the last."""

    SEARCH = BeamOptions(batch=4, calls=2, fan=8)

    def __init__(
        self,
        tree: StateTree,
        vocabulary: Vocabulary,
        lexicon: Lexicon,
        words: WordSource,
        options: PhraseOptions | None = None,
    ) -> None:
        self._tree, self._vocabulary = tree, vocabulary
        self._words = words
        self._next = Known(lexicon, "")
        self._options = options or PhraseOptions()

    def propose(self, query: Query, n: int) -> list[Candidate]:
        """At most one phrase for each likely first word."""
        o = self._options
        found = self._words.search(query, max(n, o.heads))
        total = found.total_logp if query.typed else 0.0
        candidates = []
        for first, head in found.words[: o.heads]:
            words, node = [self._words.written(query, first)], head.node
            logp = head.lm_logp - node.end_logp + head.channel_logp
            end_logp = node.end_logp
            while len(words) < o.words:
                best = search(
                    self._tree, node, self._next, self._vocabulary.spell, 1, self.SEARCH
                ).words
                # P(next word | this one has ended): the end is the next word's own mark.
                if not best or best[0][1].lm_logp < math.log(o.next_p) + end_logp:
                    break
                word, hypothesis = best[0]
                words.append(self._words.plain(word))
                node, end_logp = hypothesis.node, hypothesis.node.end_logp
                logp += hypothesis.lm_logp - end_logp
            if len(words) > 1 and logp + end_logp - total >= math.log(o.least_p):
                parts = {"language model": logp + end_logp, "typed so far": -total}
                candidates.append(
                    Candidate(
                        " ".join(words), "phrase", "phrases", sum(parts.values()),
                        len(query.typed), parts,
                    )
                )  # fmt: skip
        return candidates
