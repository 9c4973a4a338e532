"""Words that are not offered unasked: swearing, and what is intimate or gloomy.

The list is a bundle's own, as it is of a language. On disk it is UTF-8 text, a line an
entry, with one of two classes:

    word TAB offensive    offered to nobody who has not typed it to its end
    word TAB delicate     offered from its first letter on, not out of nothing

A word stands in lower case and in normal form; one that ends in ``*`` stands for all words
that begin so (``fuck*``). A word's own line counts before such a beginning, a longer
beginning before a shorter one. Two words (``kill yourself``) are the second after the first, which
counts before what the second is by itself. An emoji may stand in the place of a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

from kbengine import text
from kbengine.errors import BundleError

WordClass = Literal["offensive", "delicate"]
_LONGEST = 64  # characters of an entry; no word that is longer is offered
_SYMBOL_RE = re.compile(r"[^\w\s*]+")


class WordFilter:
    """See the module's docstring. Immutable; threads may share it."""

    def __init__(self, entries: Mapping[str, WordClass]) -> None:
        """Raises ValueError for an entry that no word can be; the empty filter holds nothing
        back."""
        for entry in entries:
            if not _can_be(entry):
                raise ValueError(
                    f"{entry[:_LONGEST]!r} is no word in lower case, beginning of one, two words "
                    "or emoji"
                )
        self._entries = dict(entries)
        self._words = {e: c for e, c in entries.items() if not e.endswith("*")}
        self._beginnings = {e[:-1]: c for e, c in entries.items() if e.endswith("*")}
        self._lengths = sorted({len(beginning) for beginning in self._beginnings}, reverse=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> WordFilter:
        """The filter that `to_bytes` wrote; raises BundleError where `data` is none."""
        try:
            lines = data.decode("utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError:
            raise BundleError("the word filter is not UTF-8 text; build the bundle again") from None
        entries: dict[str, WordClass] = {}
        for number, line in enumerate(lines, 1):
            entry, _, name = line.partition("\t")
            found = next((known for known in get_args(WordClass) if known == name), None)
            if found is None or entry in entries or not _can_be(entry):
                raise BundleError(
                    f"line {number} of the word filter is not a new word in lower case, a tab, and "
                    f"{' or '.join(get_args(WordClass))}; mend it and build the bundle again"
                )
            entries[entry] = found
        return cls(entries)

    def to_bytes(self) -> bytes:
        """The filter on disk, its entries in their order."""
        return "".join(f"{e}\t{c}\n" for e, c in self._entries.items()).encode("utf-8")

    def __len__(self) -> int:
        return len(self._entries)

    def class_of(self, word: str, before: str = "") -> WordClass | None:
        """The class of a word in lower case that follows another, or of an emoji; None for nearly
        all. What is another's (``'s``) is of the class of the word."""
        entries = (f"{before} {word}", word, word.removesuffix("'s"))
        found = next((self._words[entry] for entry in entries if entry in self._words), None)
        for length in self._lengths if found is None else ():
            found = self._beginnings.get(word[:length])
            if found is not None:
                break
        return found

    def offers(self, word: str, typed: str = "", before: str = "") -> bool:
        """Whether a word, in lower case, may be offered where `typed` stands of it, after the word
        `before`."""
        found = self.class_of(word, before)
        return found is None or (word == typed if found == "offensive" else bool(typed))


def _can_be(entry: str) -> bool:
    """Whether there can be a word, a beginning, an emoji or two words of this spelling."""
    word = entry.removesuffix("*")
    if not 0 < len(entry) <= _LONGEST or word != text.normalise(word).lower():
        return False
    first, space, second = entry.partition(" ")
    if space:
        return text.is_word(first) and text.is_word(second)
    symbol = not entry.isascii() and _SYMBOL_RE.fullmatch(entry) is not None
    return text.is_word(word) or symbol


NOTHING_HELD_BACK = WordFilter({})
