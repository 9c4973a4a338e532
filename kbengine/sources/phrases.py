"""Phrases: how the text goes on past the next word, where the model is sure of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kbengine import text
from kbengine.beam import BeamOptions, Hypothesis, search
from kbengine.constraint import Known
from kbengine.lexicon import Lexicon
from kbengine.sources.query import Query
from kbengine.sources.words import WordSource
from kbengine.tree import Node, StateTree
from kbengine.types import Candidate
from kbengine.vocab import Vocabulary


@dataclass(frozen=True)
class PhraseOptions:
    """A phrase grows while its next word has at least `next_p`, to `words` words at most,
    and is offered where it has at least `least_p` in all. `heads`: how many of the best
    words are tried as its beginning. Set by hand; nothing is fitted on text yet."""

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
        self._lexicon, self._next = lexicon, Known(lexicon, "")
        self._options = options or PhraseOptions()

    def propose(self, query: Query, n: int) -> list[Candidate]:
        """At most one phrase for each of the likeliest first words."""
        found = self._words.search(query, n)
        total = found.total_logp if query.typed else 0.0
        grown = (
            self._grow(self._words.written(query, word), head)
            for word, head in found.words[: self._options.heads]
        )
        candidates = []
        for words, logp in grown:
            if len(words) > 1 and logp - total >= math.log(self._options.least_p):
                parts = {"language model": logp, "typed so far": -total}
                phrase = " ".join(words)
                if text.shape(query.typed) is text.Shape.UPPER:
                    phrase = phrase.upper()
                candidates.append(
                    Candidate(phrase, "phrase", "phrases", logp - total, query.replaces, parts)
                )
        return candidates

    def _grow(self, first: str, head: Hypothesis) -> tuple[list[str], float]:
        """A word and those that surely follow it, and log P(all of them | context)."""
        words, node, logp = [first], head.node, head.score
        while len(words) < self._options.words:
            hypothesis = self._next_word(node)
            if hypothesis is None:
                break
            word = self._vocabulary.spell(hypothesis.pieces)
            words.append(self._lexicon.in_sentence(word))
            # The end of the word before is in P(next word): it begins something new.
            logp += hypothesis.lm_logp - node.end_logp
            node = hypothesis.node
        return words, logp

    def _next_word(self, node: Node) -> Hypothesis | None:
        """The best word after a finished one, if the model is sure of it."""
        self._tree.predict([node])
        assert node.logp is not None
        least = math.log(self._options.next_p) + node.end_logp
        if float(node.logp.max()) < least:  # no piece, and so no word, is as likely
            return None
        spell = self._vocabulary.spell
        found = search(self._tree, node, self._next, spell, 1, self.SEARCH).words
        return found[0][1] if found and found[0][1].lm_logp >= least else None
