"""One question to the sources: where the caret stands and what is typed there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from kbengine.beam import Found
from kbengine.ear import Sound
from kbengine.emojimodel import Expected
from kbengine.tree import Node
from kbengine.types import Candidate

# P(an emoji is wanted | a word that names one is being typed): the shipped model's text has 6.3
# emoji to a thousand words ("emoji a word in the text", in its model card), and nothing says which
# word stood for which.
EMOJI_WANTED_P = 0.0063
Offered = Callable[[str], bool]  # whether a word, in lower case, may be offered


def anything(word: str) -> bool:
    """Nothing is held back."""
    return True


@dataclass(frozen=True)
class Place:
    """Between two words.

    node: the end of the committed text; expected: whether an emoji comes, and which; last_tokens:
    the last few; spaces: how many stand there; on_line: whether no line break or tab is before
    them; said: the words of the conversation that the lexicon lacks, in lower case -> as written;
    small: whether this message has a sentence that begins with a small letter.
    """

    node: Node
    expected: Expected
    sentence_start: bool
    last_tokens: tuple[str, ...]
    spaces: int = 0
    on_line: bool = True
    said: dict[str, str] = field(default_factory=dict)
    small: bool = False

    @property
    def last_word(self) -> str:
        """The token before the caret, in lower case; empty where there is none."""
        return self.last_tokens[-1].lower() if self.last_tokens else ""

    @cached_property
    def trigger(self) -> float:
        """What all that is no emoji gains by the emoji model's word on whether one comes: the
        difference of log P(no emoji comes) to the language model's own."""
        return self.expected.other_logp - math.log1p(-math.exp(min(self.expected.lm_logp, -1e-6)))


@dataclass(frozen=True)
class Query:
    """A place, and the open word there.

    raw: as it stands in the field; typed: in normal form; lower: that in lower case; sound: what
    its taps may mean, None where they are taken at their word. `found` keeps the word searches by
    their size, for the sources that build on them, `apart` the words whose spaces are not in place.
    """

    place: Place
    raw: str
    typed: str
    lower: str
    sound: Sound | None = field(default=None, compare=False)
    found: dict[int, Found] = field(default_factory=dict, compare=False)
    apart: dict[int, list[Candidate]] = field(default_factory=dict, compare=False)

    @property
    def node(self) -> Node:
        """The end of the committed text."""
        return self.place.node

    @property
    def finished(self) -> bool:
        """Whether the word is typed to its end."""
        return self.sound is not None and self.sound.finished

    @property
    def clean_logp(self) -> float:
        """log P(taps | exactly the letters typed), 0 where they are taken at their word."""
        return self.sound.clean_logp if self.sound is not None else 0.0

    @property
    def replaces(self) -> int:
        """How many characters of the field a candidate takes the place of."""
        return len(self.raw)
