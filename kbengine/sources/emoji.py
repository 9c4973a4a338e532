"""Emoji: those the language model expects, and those whose name is being typed."""

from __future__ import annotations

import math

import numpy as np

from kbengine import text
from kbengine.emojitable import EmojiTable
from kbengine.sources.query import Query
from kbengine.tree import Node, StateTree
from kbengine.types import Candidate
from kbengine.vocab import Vocabulary

# P(the emoji is wanted | a word that names it is wanted) where the model has no say: the
# emoji of the training text are 1.0 % of its words (`python -m train vocab` prints it).
BY_NAME_LOGP = math.log(0.01)
LEAST_LETTERS = 2  # a single letter names nothing
KEYWORDS = 8  # how many names are weighed at a key


class EmojiSource:
    """Before a word is begun: log P(emoji | context), from the model's own pieces, and for
    an emoji that the last words name. While it is typed: log P(its name | context, typed)
    + log P(the emoji | its name)."""

    def __init__(self, tree: StateTree, vocabulary: Vocabulary, table: EmojiTable) -> None:
        self._tree, self._vocabulary, self._table = tree, vocabulary, table
        self._emoji = [p for p in vocabulary.pieces if text.is_emoji(p)]
        ids = [vocabulary.id_of(e) for e in self._emoji]
        self._ids = np.array([i for i in ids if i is not None], np.intp)

    def propose(self, query: Query, n: int) -> list[Candidate]:
        return self._by_name(query, n) if query.typed else self._by_context(query, n)

    def _by_context(self, query: Query, n: int) -> list[Candidate]:
        self._tree.predict([query.node])
        assert query.node.logp is not None
        logp = query.node.logp[self._ids]
        n = min(n, len(logp))
        best = np.argpartition(-logp, n - 1)[:n] if n else []
        found = {
            self._emoji[i]: Candidate(
                self._emoji[i], "emoji", "language model", float(logp[i]),
                parts={"language model": float(logp[i])},
            )
            for i in best
        }  # fmt: skip
        last = [t for t in query.last_tokens if text.is_word(t)]
        named = [" ".join(last[i:]) for i in range(len(last))]
        place = {e: i for i, e in enumerate(self._emoji)}
        for phrase in named:
            for hit in self._table.exact(phrase, n):
                parts = {"by name": BY_NAME_LOGP, "emoji of the name": math.log(hit.share)}
                known = place.get(hit.emoji)
                own = float(logp[known]) if known is not None else -math.inf
                if hit.emoji not in found and own < sum(parts.values()):
                    found[hit.emoji] = Candidate(
                        hit.emoji, "emoji", "name", sum(parts.values()), parts=parts
                    )
        return list(found.values())

    def _by_name(self, query: Query, n: int) -> list[Candidate]:
        if len(query.lower) < LEAST_LETTERS:
            return []
        hits = self._table.find(query.lower, KEYWORDS)
        words = {hit.keyword: 0.0 for hit in hits}
        for word in words:
            words[word] = self._word_logp(query.node, word.split()[0])
        total = query.found.total_logp if query.found is not None else 0.0
        found = []
        for hit in hits:
            parts = {
                "language model": words[hit.keyword],
                "typed so far": -total,
                "by name": BY_NAME_LOGP,
                "emoji of the name": math.log(hit.share),
            }
            parts["typed so far"] = -max(total, words[hit.keyword])
            found.append(
                Candidate(hit.emoji, "emoji", "name", sum(parts.values()), len(query.typed), parts)
            )
        return sorted(found, key=lambda c: -c.logp)[:n]

    def _word_logp(self, node: Node, word: str) -> float:
        """log P(a word that begins with these pieces | context)."""
        logp = 0.0
        for piece in self._vocabulary.encode_token(word) if word else ():
            self._tree.predict([node])
            assert node.logp is not None
            logp += float(node.logp[piece])
            node = node.child(piece)
        return logp
