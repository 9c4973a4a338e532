"""Words of the conversation that the lexicon lacks: names, places, the words of a trade.

Whoever has read a name may want to write it; whoever has written it wants so sooner or later.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from kbengine import text
from kbengine.lexicon import Lexicon

MOST = 200  # of these words, the last
LONGEST = 24  # letters of one: each of its pieces is a step


class Said:
    """The unknown words of texts, for one lexicon."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._known: Callable[[str], bool] = functools.lru_cache(4096)(lexicon.__contains__)
        # A message is asked about at every word of those after it.
        self._unknown = functools.lru_cache(64)(self._unknown_words)

    def words(self, texts: Iterable[str]) -> dict[str, str]:
        """Each unknown word of some texts in lower case -> as it was last written.

        A word's capital at a sentence's start says nothing: there it is as it was elsewhere, or
        keeps the capital where it stood nowhere else.
        """
        found: dict[str, str] = {}
        for whole in texts:
            for lower, word, start in self._unknown(whole):
                before = found.pop(lower, word)  # the last said stands last
                found[lower] = before if start else word
        return dict(list(found.items())[-MOST:])

    def _unknown_words(self, whole: str) -> list[tuple[str, str, bool]]:
        """Those of a text in lower case, as written, and whether each starts a sentence."""
        casings = text.count_casings(text.normalise(whole))
        words = ((word.lower(), word, start) for word, start in casings if 1 < len(word) <= LONGEST)
        return [each for each in words if not self._known(each[0])]
