"""A space that was missed or put in the middle of a word: ``tothe``, ``ibwant``, ``th e``.

    missed   log P(first | context) + log P(second | context, first) + log P(taps | both, no space)
    extra    as any word, of the letters on both sides of the space

Both are divided by the mass of single words, as those are, and so can be above 0: `Predictor` takes
all together. That of a word over a space is less log P of what stands before the space, which would
have to be explained as well.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kbengine import text
from kbengine.beam import BeamOptions, search
from kbengine.ear import Ear
from kbengine.lexicon import Lexicon
from kbengine.protocols import Floats, Ints
from kbengine.sources.query import Query
from kbengine.sources.words import NO_EMOJI_LOGP, WordSource
from kbengine.tree import StateTree
from kbengine.types import Candidate, candidate
from kbengine.vocab import Vocabulary

LEAST_TAPS, MOST_TAPS = 3, 24
# A known word before the space that is likelier than this stands for itself, and two parts make no
# word that is rarer in all text than this: `ok kk` is not `okkk`. By hand.
LIKELY_LOGP = -7.0
RARE_LOGP = -12.0
# A second word is no surer than this; what cannot come near the best single word even so is not
# searched. Bounds on time, set by hand: of 200 words of self_dialogue dev that were run together
# 96 % are parted with them.
SURE_LOGP = -1.0
LEAST_LOGP = math.log(0.02)
ELSEWHERE_LOGP = 5.0  # a word is seldom so much likelier in its place than in all text
HEADS = 4  # first words tried at a key
OPTIONS = BeamOptions(calls=4)


class Before(NamedTuple):
    """A word before the space left of the open word, and the query for both as one."""

    word: str
    whole: Query


class _Head(NamedTuple):
    """A first word: its node in the lexicon, where the second begins, log P of the taps up to
    there with the space, and a bound on the whole."""

    place: int
    start: int
    channel_logp: float
    bound: float


class SpaceSource:
    """Two words for the taps of one."""

    def __init__(
        self, tree: StateTree, vocabulary: Vocabulary, lexicon: Lexicon, words: WordSource
    ) -> None:
        self._tree, self._vocabulary, self._lexicon = tree, vocabulary, lexicon
        self._words = words
        self._first: Ints = np.zeros(0, np.intp)
        self._unigram: Floats = np.zeros(0, np.float32)

    def propose(self, query: Query, n: int) -> list[Candidate]:
        """The n best pairs of words."""
        if query.sound is None or not LEAST_TAPS <= len(query.sound.taps) <= MOST_TAPS:
            return []
        if not len(self._first):
            self._prepare(query.sound.ear)
        found = self._words.search(query, n)
        best = max((h.score for _, h in found.words), default=-math.inf)
        pairs: dict[str, Candidate] = {}
        for head in self._heads(query, best):
            pair = self._pair(query, head, best, found.total_logp)
            if pair is not None and (pair.text not in pairs or pair.logp > pairs[pair.text].logp):
                pairs[pair.text] = pair
        return sorted(pairs.values(), key=lambda c: (-c.logp, c.text))[:n]

    def _prepare(self, ear: Ear) -> None:
        """The first piece of every word, and how common it is."""
        self._first = self._lexicon.first_pieces[ear.trie.place]
        self._unigram = self._lexicon.logps(ear.trie.place)

    def joined(self, query: Query, before: Before, n: int) -> list[Candidate]:
        """The n best words for the open word and the one before it together."""
        whole, sound = before.whole, query.sound
        if sound is None or whole.sound is None:
            return []
        # What stands before the space must be explained too: by itself, as it is.
        pieces = self._vocabulary.encode_token(before.word.lower())
        alone_logp, _ = self._tree.path_logp(whole.node, pieces)
        if alone_logp > LIKELY_LOGP and self._words.known_word(before.word.lower()):
            return []
        found, both = self._words.search(query, n), self._words.search(whole, n)
        best = max((h.score for _, h in found.words), default=-math.inf)
        fewer = whole.sound.taps[: len(whole.sound.taps) - len(sound.taps)]
        clean = sound.ear.channel.clean_logp(fewer, sound.ear.offset_kw)
        price = sound.weigh(np.float32(sound.ear.channel.rates.extra_space), ()) - clean
        words = []
        for word, hypothesis in both.words:
            lm = hypothesis.lm_logp - alone_logp
            channel = hypothesis.channel_logp + float(price)
            node = self._lexicon.find(word)
            rare = node is None or self._lexicon.logp(node) < RARE_LOGP
            if rare or lm + channel < best + LEAST_LOGP:
                continue
            parts = {
                "language model": lm,
                "channel": channel - found.total_logp,
                "trigger": NO_EMOJI_LOGP,
            }
            shown = self._words.written(whole, word)
            words.append(candidate(shown, "word", "spaces", parts, whole.replaces))
        return sorted(words, key=lambda c: (-c.logp, c.text))[:n]

    def _heads(self, query: Query, best: float) -> list[_Head]:
        """The likeliest first words, with what may stand between them and the second."""
        sound, node = query.sound, query.node
        assert sound is not None
        self._tree.predict([node])
        assert node.logp is not None
        ear, taps = sound.ear, sound.taps
        decoder = ear.decoder(taps)
        rest = sum(decoder.tops) + SURE_LOGP
        found: list[_Head] = []
        for at in range(1, len(taps)):
            rest -= decoder.tops[at - 1]
            words, channel = decoder.whole(at)
            if not len(words):
                continue
            # No word is likelier than its first piece, and few are much likelier than elsewhere.
            lm = np.minimum(node.logp[self._first[words]], self._unigram[words] + ELSEWHERE_LOGP)
            for start, price in ear.gaps(taps, at):
                left = rest - (decoder.tops[at] if start > at else 0.0)
                charged = sound.weigh(channel + np.float32(price), taps[:start])
                bounds = lm + charged + np.float32(left)
                for i in np.flatnonzero(bounds >= best + LEAST_LOGP).tolist():
                    place = int(ear.trie.place[words[i]])
                    if self._lexicon.is_loose(place):
                        continue
                    found.append(_Head(place, start, float(charged[i]), float(bounds[i])))
        return sorted(found, key=lambda head: -head.bound)[:HEADS]

    def _pair(self, query: Query, head: _Head, best: float, total: float) -> Candidate | None:
        """The best second word after a first; None where that is none worth telling."""
        sound = query.sound
        assert sound is not None
        first_logp, node = self._tree.path_logp(query.node, self._lexicon.path(head.place))
        first_logp += head.channel_logp
        if first_logp < best + LEAST_LOGP:
            return None
        heard = sound.rest(head.start)
        if first_logp + heard.best_logp < best + LEAST_LOGP:
            return None
        spell = self._vocabulary.spell
        found = search(self._tree, node, heard, spell, 1, OPTIONS, None, heard.best_logp)
        if not found.words:
            return None
        second, hypothesis = found.words[0]
        logp = first_logp + hypothesis.score
        if logp < best + LEAST_LOGP:
            return None
        first = self._lexicon.spelling(head.place)
        if not self._words.known_word(second) or second == first[-1]:
            return None  # hii is no "hi I"
        shown = f"{self._words.written(query, first)} {self._lexicon.in_sentence(second)}"
        if text.shape(query.typed) is text.Shape.UPPER:
            shown = shown.upper()
        channel = head.channel_logp + hypothesis.channel_logp
        parts = {
            "language model": logp - channel,
            "channel": channel - total,
            "trigger": NO_EMOJI_LOGP,
        }
        return candidate(shown, "word", "spaces", parts, query.replaces)
