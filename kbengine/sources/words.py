"""Words: those of the lexicon that agree with what is typed, then any that pieces spell."""

from __future__ import annotations

import math

from kbengine import text
from kbengine.beam import BeamOptions, Found, Hypothesis, search
from kbengine.constraint import Known, Typed
from kbengine.lexicon import Lexicon
from kbengine.sources.query import Query
from kbengine.tree import StateTree
from kbengine.types import Candidate
from kbengine.vocab import Vocabulary

# Unknown words are asked for only where known ones do not fill the list, and the search
# for them is wide and shallow: it is stopped early rather than finished.
UNKNOWN_OPTIONS = BeamOptions(batch=8, calls=3, fan=16)


class WordSource:
    """logp = log P(word | context) - log P(some word that begins as typed | context)."""

    def __init__(self, tree: StateTree, vocabulary: Vocabulary, lexicon: Lexicon) -> None:
        self._tree, self._vocabulary, self._lexicon = tree, vocabulary, lexicon

    def search(self, query: Query, k: int) -> Found:
        """The k best words that agree with the query, as hypotheses."""
        if query.found is None or query.found_k < k:
            spell = self._vocabulary.spell
            found = search(self._tree, query.node, Known(self._lexicon, query.lower), spell, k)
            if len(found.words) < k and query.typed and text.is_word(query.lower + "a"):
                free = search(
                    self._tree, query.node, Typed(self._vocabulary, query.lower), spell, k,
                    UNKNOWN_OPTIONS,
                )  # fmt: skip
                found = self._join(found, free, k)
            query.found, query.found_k = found, k
        return query.found

    @staticmethod
    def _join(known: Found, free: Found, k: int) -> Found:
        best = dict(free.words)
        for word, hypothesis in known.words:
            if word not in best or hypothesis.score >= best[word].score:
                best[word] = hypothesis
        words = sorted(best.items(), key=lambda item: (-item[1].score, item[0]))[:k]
        return Found(words, max(known.total_logp, free.total_logp), known.exact and free.exact)

    def written(self, query: Query, word: str) -> str:
        """A word in lower case as it should stand in the field."""
        return text.follow_case(self.plain(word), query.typed, query.sentence_start)

    def plain(self, word: str) -> str:
        """A word in lower case as it stands inside a sentence."""
        node = self._lexicon.find(word)
        return self._lexicon.written(node) if node is not None else word

    def candidate(self, query: Query, word: str, hypothesis: Hypothesis, total: float) -> Candidate:
        parts = {"language model": hypothesis.lm_logp, "typed so far": -total}
        if hypothesis.channel_logp:
            parts["channel"] = hypothesis.channel_logp
        return Candidate(
            self.written(query, word), "word", "words", sum(parts.values()),
            len(query.typed), parts,
        )  # fmt: skip

    def propose(self, query: Query, n: int) -> list[Candidate]:
        found = self.search(query, n)
        total = found.total_logp if query.typed else 0.0
        return [self.candidate(query, word, hyp, total) for word, hyp in found.words]

    def literal(self, query: Query) -> Candidate:
        """What was typed, as it stands, as a finished word."""
        pieces = self._vocabulary.encode_token(query.lower) if text.is_word(query.lower) else ()
        found = self.search(query, max(1, query.found_k))
        node, logp = query.node, 0.0
        for piece in pieces:
            self._tree.predict([node])
            assert node.logp is not None
            logp += float(node.logp[piece])
            node = node.child(piece)
        self._tree.predict([node])
        logp = logp + node.end_logp if pieces else math.log(1e-9)
        total = max(found.total_logp, logp)
        parts = {"language model": logp, "typed so far": -total}
        return Candidate(query.typed, "literal", "typed", logp - total, len(query.typed), parts)
