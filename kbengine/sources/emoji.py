"""Emoji: those the language model expects, and those whose name is typed or was just typed."""

from __future__ import annotations

import math

import numpy as np

from kbengine import text
from kbengine.emojitable import EmojiTable
from kbengine.protocols import Floats
from kbengine.sources.query import Query
from kbengine.sources.words import WordSource
from kbengine.tree import StateTree
from kbengine.types import Candidate
from kbengine.vocab import UNK, Vocabulary

# P(the emoji is wanted | a word that names it is): the shipped model's text has 6.3 emoji
# to a thousand words ("emoji a word in the text", in the model card that `train bundle`
# writes), and nothing in it says which word stood for which.
BY_NAME_LOGP = math.log(0.0063)
LEAST_BY_NAME_LOGP = math.log(1e-5)  # below it the name is hardly what is being typed
LEAST_LETTERS = 2  # a single letter names nothing
NAMES = 8  # how many names are weighed at a key


class EmojiSource:
    """Three kinds of emoji, on the scale of the words:

    * before a word is begun, those the language model expects: log P(emoji | context);
    * there, those that the last words name: log P(by name) + log P(emoji | name);
    * while a word is typed, those that it may name: log P(name | context, typed) + the
      same two.
    """

    def __init__(
        self, tree: StateTree, vocabulary: Vocabulary, table: EmojiTable, words: WordSource
    ) -> None:
        self._tree, self._vocabulary, self._table, self._words = tree, vocabulary, table, words

    def prepare(self) -> None:
        """Build now what the first emoji would have to wait for, some 50 ms: the index of
        names, the `emoji` package's tables and the pieces that are emoji."""
        self._table.find("a", 1)
        _ = self._vocabulary.emoji

    def propose(self, query: Query, n: int) -> list[Candidate]:
        """The best n emoji, best first."""
        if not query.typed:
            found = self._expected(query, n)
        elif len(query.lower) >= LEAST_LETTERS:
            found = self._being_named(query, n)
        else:
            found = []
        found = [c for c in found if c.source != "name" or c.logp >= LEAST_BY_NAME_LOGP]
        return sorted(found, key=lambda c: (-c.logp, c.text))[:n]

    def _expected(self, query: Query, n: int) -> list[Candidate]:
        self._tree.predict([query.node])
        assert query.node.logp is not None
        all_logp, known = query.node.logp, self._vocabulary.emoji
        logp: Floats = all_logp[known.ids]
        best = np.argsort(-logp, kind="stable")[:n].tolist()
        found = [
            _candidate(known.texts[i], "language model", {"language model": float(logp[i])})
            for i in best
        ]
        shown = {known.texts[i] for i in best}
        for hit in self._just_named(query, n):
            (piece, *_) = self._vocabulary.encode_token(hit.text)
            # An emoji that the model knows may be named as well: the likelier counts.
            likelier = piece == UNK or float(all_logp[piece]) < hit.logp
            if likelier and hit.text in shown:
                found = [c for c in found if c.text != hit.text]
            if likelier:
                found.append(hit)
        return found

    def _just_named(self, query: Query, n: int) -> list[Candidate]:
        """Emoji of the last word, and of the last two and three as a phrase."""
        words = [token for token in query.place.last_tokens if text.is_word(token)]
        best: dict[str, Candidate] = {}
        for start in range(len(words)):
            for hit in self._table.exact(" ".join(words[start:]), n):
                parts = {"by name": BY_NAME_LOGP, "emoji of the name": math.log(hit.share)}
                candidate = _candidate(hit.emoji, "name", parts)
                if hit.emoji not in best or candidate.logp > best[hit.emoji].logp:
                    best[hit.emoji] = candidate
        return list(best.values())

    def _being_named(self, query: Query, n: int) -> list[Candidate]:
        hits = self._table.find(query.lower, NAMES)
        total = self._words.search(query, n).total_logp
        names = {hit.keyword: 0.0 for hit in hits}
        for name in names:  # a name of several words is weighed by its first
            pieces = self._vocabulary.encode_token(name.split(" ")[0])
            names[name], _ = self._tree.path_logp(query.node, pieces)
        found = []
        for hit in hits:
            parts = {
                "language model": names[hit.keyword],
                # No name is likelier than all words that begin so.
                "typed so far": -max(total, names[hit.keyword]),
                "by name": BY_NAME_LOGP,
                "emoji of the name": math.log(hit.share),
            }
            found.append(_candidate(hit.emoji, "name", parts, query.replaces))
        return found


def _candidate(emoji: str, source: str, parts: dict[str, float], replaces: int = 0) -> Candidate:
    return Candidate(emoji, "emoji", source, sum(parts.values()), replaces, parts)
