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
from kbengine.protocols import Constraint
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
# With a channel, words that fill the list are no sign that known ones agree with the letters. Of
# 2, 3 and 5, on 150 lines of sms_nus, self_dialogue and tweets_mixed dev, 3 saves as much as 5 and
# costs 15 % less a key.
FEW_BEGUN = 3
CALLS = 10  # of a search among what taps may mean: 4 to 25 save as many keystrokes there
# Of a finished word that nobody knows, log P(it is meant as it stands): -3 to -7 put the right word
# first for 76 to 81 % of the misspellings held back, and correct .5 to .9 % of the words of
# slack_developers dev, half of them misspelt there (`kbengine eval --typos --misspellings`).
UNKNOWN_LOGP = -5.0
OTHER_CASE_LOGP = -1.5  # of a word that mostly is written otherwise; by hand
UNKNOWN_NAME_LOGP = -2.0  # the same where a capital inside a sentence says that it is a name
CAPITAL_LOGP = -7.0  # of a word in small letters that would take the place of such a name
# No word is meant as often as the language model has read it that the lexicon does not know:
# what is common and left out (tommorow) is a common mistake. By hand, as those above and below.
MOST_UNKNOWN_LOGP = -12.0
HABIT_LOGP = -3.0  # of another word, where what was typed is one without its apostrophe (wont)
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
            aside = self._stands(query)
            found = self._known(query, k, aside)
            begun = [word for word, _ in found.words if word.startswith(query.lower)]
            few = len(begun) - (aside in begun) < (k if query.sound is None else FEW_BEGUN)
            if few and query.typed and not query.finished and text.is_word(query.lower + "a"):
                free = search(
                    self._tree, query.node, Typed(self._vocabulary, query.lower),
                    self._vocabulary.spell, k, UNKNOWN_OPTIONS, aside, query.clean_logp,
                )  # fmt: skip
                if query.sound is not None:
                    free = self._doubted(free)
                found = self._join(found, free, k, aside)
            found = self._with_said(query, found, k, aside)
            query.found[k] = found = self._with_accents(query, found, k, aside)
        return found

    def _with_accents(self, query: Query, found: Found, k: int, aside: str | None) -> Found:
        """The words that what is typed is without its accents, among those found: beside a known
        one they are as likely as in all text, which a model of few such words does not know."""
        best = dict(found.words)
        plain = self._lexicon.find(query.lower) if query.sound is not None else None
        sound = query.sound
        for word in sound.ear.trie.accented.get(query.lower, ()) if sound and plain else ():
            node = self._lexicon.find(word)
            pieces = self._vocabulary.encode_token(word)
            channel_logp = self.channel_logp(query, word)
            if word == query.lower or node is None or channel_logp == -math.inf:
                continue
            own, _ = self._tree.path_logp(query.node, self._vocabulary.encode_token(query.lower))
            hypothesis = self._spelt(query.node, pieces, channel_logp, -math.inf)
            assert hypothesis is not None
            assert plain is not None
            least = own + self._lexicon.logp(node) - self._lexicon.logp(plain)
            more = max(0.0, least - hypothesis.lm_logp)
            best[word] = hypothesis._replace(channel_logp=channel_logp + more)
        return (
            found._replace(words=in_order(best, k, aside))
            if len(best) > len(found.words)
            else found
        )

    def _known(self, query: Query, k: int, aside: str | None) -> Found:
        """Those of the lexicon."""
        options = BeamOptions(calls=CALLS if query.sound is not None else BeamOptions.calls + k)
        constraint: Constraint = Known(self._lexicon, query.lower)
        base = 0.0
        if query.sound is not None:
            constraint, base = query.sound.heard, query.sound.heard.best_logp
            if base == -math.inf:
                return Found([], query.clean_logp + NO_WORD_LOGP, True)
        spell = self._vocabulary.spell
        return search(self._tree, query.node, constraint, spell, k, options, aside, base)

    def channel_logp(self, query: Query, word: str) -> float:
        """What the taps say for a word in lower case, -inf where they rule it out."""
        clean = -math.inf
        if word == query.lower or (word.startswith(query.lower) and not query.finished):
            clean = query.clean_logp
        if query.sound is None:
            return clean
        node = self._lexicon.find(word)
        if node is not None:
            return max(clean, query.sound.heard.word_logp(node))
        return max(clean, query.sound.said(query.place.said).get(word, -math.inf))

    def _with_said(self, query: Query, found: Found, k: int, aside: str | None) -> Found:
        """The words of the conversation among those found, the last ones that agree. Each is
        stepped only as long as it can be among the k best."""
        best, mass = dict(found.words), found.total_logp
        scores = sorted(hypothesis.score for word, hypothesis in found.words if word != aside)
        if query.sound is None:
            said = {w: 0.0 for w in query.place.said if w.startswith(query.lower)}
        else:
            said = query.sound.said(query.place.said)
        agreeing = (word for word in reversed(query.place.said) if word in said)
        for word in islice((word for word in agreeing if word not in best), MOST_SAID):
            pieces = self._vocabulary.encode_token(word)
            if self._vocabulary.spell(pieces) != word:
                continue
            least = scores[-k] if len(scores) >= k else -math.inf
            hypothesis = self._spelt(query.node, pieces, said[word], least)
            if hypothesis is not None:
                best[word] = hypothesis
                if word != aside:
                    bisect.insort(scores, hypothesis.score)
                mass = float(np.logaddexp(mass, hypothesis.score))
        if len(best) == len(found.words):
            return found
        return Found(in_order(best, k, aside), mass, found.exact)

    def _spelt(
        self, node: Node, pieces: tuple[int, ...], channel_logp: float, least: float
    ) -> Hypothesis | None:
        """A word of given pieces, None where it comes to no more than `least`."""
        logp = 0.0
        for piece in pieces:
            self._tree.predict([node])
            assert node.logp is not None
            logp += float(node.logp[piece])
            if logp + channel_logp <= least:
                return None
            node = node.child(piece)
        self._tree.predict([node])
        logp += node.end_logp
        found = Hypothesis(pieces, node, 0, logp, channel_logp)
        return found if found.score > least else None

    def _doubted(self, free: Found) -> Found:
        """Words of any pieces, those that the lexicon leaves out held back; see
        `MOST_UNKNOWN_LOGP`."""
        words = {
            word: hypothesis
            if word in self._lexicon
            else hypothesis._replace(lm_logp=min(hypothesis.lm_logp, MOST_UNKNOWN_LOGP))
            for word, hypothesis in free.words
        }
        return free._replace(words=in_order(words, len(words), None))

    @staticmethod
    def _join(known: Found, free: Found, k: int, aside: str | None) -> Found:
        total = max(known.total_logp, free.total_logp)
        best = {w: h for w, h in free.words if h.score - total >= LEAST_UNKNOWN_LOGP}
        for word, hypothesis in known.words:
            if word not in best or hypothesis.score >= best[word].score:
                best[word] = hypothesis
        return Found(in_order(best, k, aside), total, known.exact and free.exact)

    def counted(self, query: Query) -> bool:
        """Whether what is typed is in the mass of the words that are searched, as it should be
        written."""
        if query.sound is None:
            return True
        return self.known(query) and self._stands(query) is not None

    def known_word(self, word: str) -> bool:
        """Whether a word in lower case is one of the lexicon, and no loose spelling of another."""
        node = self._lexicon.find(word)
        return node is not None and not self._lexicon.is_loose(node)

    def known(self, query: Query) -> bool:
        """Whether what is typed is a word of the lexicon, and no loose spelling of another, or was
        said in the conversation."""
        return self.known_word(query.lower) or query.lower in query.place.said

    def written(self, query: Query, word: str) -> str:
        """A word in lower case as it should stand in the field."""
        written = query.place.said.get(word) or self._lexicon.in_sentence(word)
        start = query.place.sentence_start
        if start and query.finished and not query.place.small:
            written = text.title(written) if written.islower() else written
        return text.follow_case(written, query.typed, start)

    def _stands(self, query: Query) -> str | None:
        """The word in lower case that stands in the field already, as it should be written."""
        stands = query.typed and self.written(query, query.lower) == query.typed
        return query.lower if stands else None

    def _candidate(
        self, query: Query, word: str, hypothesis: Hypothesis, total: float
    ) -> Candidate:
        parts = {
            "language model": hypothesis.lm_logp,
            # Bayes: what the keys say for this word, less what they say for all of them.
            "channel": hypothesis.channel_logp - total,
            "lexicon": self._lexicon_logp(query, word),
            "trigger": self.trigger(query),
        }
        return candidate(self.written(query, word), "word", "words", parts, query.replaces)

    def _lexicon_logp(self, query: Query, word: str) -> float:
        """What a finished word loses that is a loose spelling, or that is no name where a capital
        inside a sentence asks for one."""
        if not query.finished:
            return 0.0
        node = self._lexicon.find(word)
        if node is not None and self._lexicon.is_loose(node):
            return UNKNOWN_LOGP
        if word.replace("'", "") != query.lower and self._lacks_apostrophe(query.lower):
            return HABIT_LOGP
        asked = text.shape(query.typed) is text.Shape.TITLE and not query.place.sentence_start
        small = asked and word != query.lower and self._lexicon.in_sentence(word).islower()
        return CAPITAL_LOGP if small else 0.0

    def _lacks_apostrophe(self, word: str) -> bool:
        """Whether a loose word is a known one without its apostrophe."""
        node = self._lexicon.find(word)
        if node is None or not self._lexicon.is_loose(node):
            return False
        forms = (f"{word[:i]}'{word[i:]}" for i in range(1, len(word)))
        return any(form in self._lexicon for form in forms)

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
        """A word in lower case that the taps may mean; None where it cannot be spelt, or not so."""
        pieces = self._vocabulary.encode_token(word)
        if len(word) > LONGEST_WORD or not text.is_word(word):
            return None
        channel_logp = self.channel_logp(query, word)
        if self._vocabulary.spell(pieces) != word or channel_logp == -math.inf:
            return None
        found = self.search(query, LEAST_WORDS)
        total = found.total_logp if query.typed else 0.0
        hypothesis = dict(found.words).get(word)
        if hypothesis is None:
            hypothesis = self._spelt(query.node, pieces, channel_logp, -math.inf)
        assert hypothesis is not None
        return self._candidate(
            query, word, hypothesis, max(total, hypothesis.score if query.typed else total)
        )

    def literal(self, query: Query, n: int) -> Candidate:
        """What was typed, as it stands, as a finished word."""
        total, clean = self.search(query, n).total_logp, query.clean_logp
        if text.is_word(query.lower) and len(query.lower) <= LONGEST_WORD:
            pieces = self._vocabulary.encode_token(query.lower)
            logp, node = self._tree.path_logp(query.node, pieces)
            self._tree.predict([node])
            logp += node.end_logp
        else:
            logp = max(total - clean, -100.0) + NO_WORD_LOGP
        # Of people who end a word that nobody knows, most had another in mind.
        lexicon = 0.0
        if query.finished and not self.known(query):
            name = text.shape(query.typed) is text.Shape.TITLE and not query.place.sentence_start
            lexicon = UNKNOWN_NAME_LOGP if name else UNKNOWN_LOGP
            if self._lexicon.find(query.lower) is None:
                lexicon += min(0.0, MOST_UNKNOWN_LOGP - logp)
        elif query.finished and self.written(query, query.lower) != query.typed:
            lexicon = OTHER_CASE_LOGP
        apart = query.sound is not None and not self.counted(query)
        channel = clean - (total if apart else max(total, logp + clean))
        parts = {
            "language model": logp, "channel": channel, "lexicon": lexicon,
            "trigger": NO_EMOJI_LOGP,
        }  # fmt: skip
        return candidate(query.raw, "literal", "typed", parts, query.replaces)
