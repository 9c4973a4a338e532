"""One question to the sources: where the caret stands and what is typed there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kbengine.beam import Found
from kbengine.tree import Node

Offered = Callable[[str], bool]  # whether a word, in lower case, may be offered


def anything(word: str) -> bool:
    """Nothing is held back."""
    return True


@dataclass(frozen=True)
class Place:
    """Between two words. node: the end of the committed text; last_tokens: its last few; said:
    the words of the conversation that the lexicon lacks, in lower case -> as written."""

    node: Node
    sentence_start: bool
    last_tokens: tuple[str, ...]
    said: dict[str, str] = field(default_factory=dict)

    @property
    def last_word(self) -> str:
        """The token before the caret, in lower case; empty where there is none."""
        return self.last_tokens[-1].lower() if self.last_tokens else ""


@dataclass(frozen=True)
class Query:
    """A place, and the open word there.

    raw: as it stands in the field; typed: in normal form; lower: that in lower case.
    `found` keeps the word searches by their size, for the sources that build on them.
    """

    place: Place
    raw: str
    typed: str
    lower: str
    found: dict[int, Found] = field(default_factory=dict, compare=False)

    @property
    def node(self) -> Node:
        """The end of the committed text."""
        return self.place.node

    @property
    def replaces(self) -> int:
        """How many characters of the field a candidate takes the place of."""
        return len(self.raw)
