"""The signs that end a sentence, where the language model expects one."""

from __future__ import annotations

import math

from kbengine import text
from kbengine.sources.query import Query
from kbengine.tree import StateTree
from kbengine.types import Candidate, candidate
from kbengine.vocab import Vocabulary

SIGNS = (".", "?", "!")
LEAST_LOGP = math.log(0.02)  # below it a place is better left to a word; set by hand


class SignSource:
    """logp = log P(the sign comes next | context), between two words."""

    def __init__(self, tree: StateTree, vocabulary: Vocabulary) -> None:
        self._tree = tree
        pieces = ((sign, vocabulary.encode_token(sign)) for sign in SIGNS)
        self._pieces = {sign: ids[0] for sign, ids in pieces if vocabulary.spell(ids) == sign}

    def score(self, query: Query, sign: str) -> Candidate | None:
        """A sign at a place; None where it cannot stand there."""
        last = query.place.last_word
        ends = bool(last) and (text.is_word(last) or last.isdigit() or text.is_emoji(last))
        if query.typed or not ends or not query.place.on_line or sign not in self._pieces:
            return None
        self._tree.predict([query.node])
        assert query.node.logp is not None
        logp = float(query.node.logp[self._pieces[sign]])
        parts = {"language model": logp, "trigger": query.place.trigger}
        # It takes the place of the spaces before it.
        return candidate(sign, "sign", "signs", parts, replaces=query.place.spaces)

    def propose(self, query: Query) -> list[Candidate]:
        """The signs that are likely here."""
        found = (self.score(query, sign) for sign in SIGNS)
        return [sign for sign in found if sign is not None and sign.logp >= LEAST_LOGP]
