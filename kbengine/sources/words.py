"""Words: those of the lexicon that agree with what is typed, then any that pieces spell."""

from __future__ import annotations

import bisect
import math
from itertools import islice

import numpy as np

from kbengine import text
from kbengine.beam import BeamOptions, Found, Hypothesis, in_order, search
from kbengine.constraint import Known, Typed
from kbengine.lexicon import Lexicon
from kbengine.sources.query import EMOJI_WANTED_P, Offered, Query, anything
from kbengine.tree import Node, StateTree
from kbengine.types import Candidate, candidate
from kbengine.vocab import Vocabulary

# Unknown words are asked for only where known ones do not fill the list, and the search
# for them is stopped early rather than finished: on 150 lines of sms_nus dev, three calls of
# five saved as many keystrokes as three of eight (38.13 and 38.16 %) and cost 2 % less a key,
# 14 % less at the 99th percentile; four of five 38.18 % and 7 % more. The two thresholds are
# set by hand.
UNKNOWN_OPTIONS = BeamOptions(batch=5, calls=3, fan=16)
LEAST_UNKNOWN_LOGP = math.log(1e-3)  # of a made-up word among all that agree with the letters
NO_WORD_LOGP = math.log(1e-6)  # of what is typed and is no word: last in any list
LONGEST_WORD = 64  # letters; what is longer is no word, and not worth a search
MOST_SAID = 12  # words of the conversation tried at a key; a piece of each is a step of its own
LEAST_WORDS = 5  # searched for at least, so that most callers share one search
# Of a word whose letters are typed: at most so much is an emoji that they name (`EMOJI_WANTED_P`).
NO_EMOJI_LOGP = math.log1p(-EMOJI_WANTED_P)
MOST_WORDS = 256  # searched for at most in the place of words that are held back


class WordSource:
    """logp = log P(word | context) - log P(some word that begins as typed | context)."""

    def __init__(self, tree: StateTree, vocabulary: Vocabulary, lexicon: Lexicon) -> None:
        self._tree, self._vocabulary, self._lexicon = tree, vocabulary, lexicon

    def search(self, query: Query, n: int) -> Found:
        """The best words that agree with the query, n or more, as hypotheses; among them, beyond
        the number, the one that stands in the field."""
        k = max(n, LEAST_WORDS)
        found = query.found.get(k)
        if found is None and len(query.lower) > LONGEST_WORD:
            found = query.found[k] = Found([], -math.inf, True)
        if found is None:
            spell, options = self._vocabulary.spell, BeamOptions(calls=BeamOptions.calls + k)
            aside = self._stands(query)
            known = Known(self._lexicon, query.lower)
            found = search(self._tree, query.node, known, spell, k, options, aside)
            few = sum(word != aside for word, _ in found.words) < k
            if few and query.typed and text.is_word(query.lower + "a"):
                any_word = Typed(self._vocabulary, query.lower)
                free = search(self._tree, query.node, any_word, spell, k, UNKNOWN_OPTIONS, aside)
                found = self._join(found, free, k, aside)
            query.found[k] = found = self._with_said(query, found, k, aside)
        return found

    def _with_said(self, query: Query, found: Found, k: int, aside: str | None) -> Found:
        """The words of the conversation among those found, the last ones that agree. Each is
        stepped only as long as it can be among the k best."""
        best, mass = dict(found.words), found.total_logp
        scores = sorted(hypothesis.score for word, hypothesis in found.words if word != aside)
        agreeing = (
            word
            for word in reversed(query.place.said)
            if word.startswith(query.lower) and word not in best
        )
        for word in islice(agreeing, MOST_SAID):
            pieces = self._vocabulary.encode_token(word)
            if self._vocabulary.spell(pieces) != word:
                continue
            least = scores[-k] if len(scores) >= k else -math.inf
            hypothesis = self._spelt(query.node, pieces, least)
            if hypothesis is not None:
                best[word] = hypothesis
                if word != aside:
                    bisect.insort(scores, hypothesis.score)
                mass = float(np.logaddexp(mass, hypothesis.score))
        if len(best) == len(found.words):
            return found
        return Found(in_order(best, k, aside), mass, found.exact)

    def _spelt(self, node: Node, pieces: tuple[int, ...], least: float) -> Hypothesis | None:
        """A word of given pieces, None where it comes to no more than `least`."""
        logp = 0.0
        for piece in pieces:
            self._tree.predict([node])
            assert node.logp is not None
            logp += float(node.logp[piece])
            if logp <= least:
                return None
            node = node.child(piece)
        self._tree.predict([node])
        logp += node.end_logp
        return Hypothesis(pieces, node, 0, logp) if logp > least else None

    @staticmethod
    def _join(known: Found, free: Found, k: int, aside: str | None) -> Found:
        total = max(known.total_logp, free.total_logp)
        best = {w: h for w, h in free.words if h.score - total >= LEAST_UNKNOWN_LOGP}
        for word, hypothesis in known.words:
            if word not in best or hypothesis.score >= best[word].score:
                best[word] = hypothesis
        return Found(in_order(best, k, aside), total, known.exact and free.exact)

    def written(self, query: Query, word: str) -> str:
        """A word in lower case as it should stand in the field."""
        written = query.place.said.get(word) or self._lexicon.in_sentence(word)
        return text.follow_case(written, query.typed, query.place.sentence_start)

    def _stands(self, query: Query) -> str | None:
        """The word in lower case that stands in the field already, as it should be written."""
        stands = query.typed and self.written(query, query.lower) == query.raw
        return query.lower if stands else None

    def _candidate(
        self, query: Query, word: str, hypothesis: Hypothesis, total: float
    ) -> Candidate:
        parts = {
            "language model": hypothesis.lm_logp,
            # Bayes: what the keys say for this word, less what they say for all of them.
            "channel": hypothesis.channel_logp - total,
            "trigger": self.trigger(query),
        }
        return candidate(self.written(query, word), "word", "words", parts, query.replaces)

    @staticmethod
    def trigger(query: Query) -> float:
        """What words lose to emoji: those that are expected, or that the letters name."""
        return NO_EMOJI_LOGP if query.typed else query.place.trigger

    def propose(self, query: Query, n: int, offered: Offered = anything) -> list[Candidate]:
        """The n best words, best first, without the one that stands in the field already: to
        take it would save nothing, and it is the literal. (On 250 lines of dailydialog_pp,
        emocontext_chat and reddit_posts dev its place is worth 0.3 points of keystrokes.)
        Words that are not `offered` give their places to the next."""
        found = self.search(query, n)
        total = found.total_logp if query.typed else 0.0
        aside, asked = self._stands(query), n
        while True:
            words = [(word, hyp) for word, hyp in found.words if word != aside]
            kept = [(word, hyp) for word, hyp in words if offered(word)][:n]
            all_known = len(kept) == len(words) or len(words) < asked
            asked *= 2
            if len(kept) == n or all_known or asked > MOST_WORDS:
                return [self._candidate(query, word, hyp, total) for word, hyp in kept]
            found = self.search(query, asked)

    def score(self, query: Query, word: str) -> Candidate | None:
        """A word in lower case that begins as typed; None where it cannot be spelt."""
        pieces = self._vocabulary.encode_token(word)
        if len(word) > LONGEST_WORD or not text.is_word(word):
            return None
        if self._vocabulary.spell(pieces) != word:
            return None
        found = self.search(query, LEAST_WORDS)
        total = found.total_logp if query.typed else 0.0
        hypothesis = dict(found.words).get(word)
        if hypothesis is None:
            hypothesis = self._spelt(query.node, pieces, -math.inf)
        assert hypothesis is not None
        return self._candidate(
            query, word, hypothesis, max(total, hypothesis.score if query.typed else total)
        )

    def literal(self, query: Query, n: int) -> Candidate:
        """What was typed, as it stands, as a finished word."""
        total = self.search(query, n).total_logp
        if text.is_word(query.lower) and len(query.lower) <= LONGEST_WORD:
            pieces = self._vocabulary.encode_token(query.lower)
            logp, node = self._tree.path_logp(query.node, pieces)
            self._tree.predict([node])
            logp += node.end_logp
        else:
            logp = max(total, -100.0) + NO_WORD_LOGP
        parts = {"language model": logp, "channel": -max(total, logp), "trigger": NO_EMOJI_LOGP}
        return candidate(query.raw, "literal", "typed", parts, query.replaces)
