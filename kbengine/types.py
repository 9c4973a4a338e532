"""The values that cross the borders of the engine; all frozen. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["word", "phrase", "emoji", "literal"]


@dataclass(frozen=True, slots=True)
class Tap:
    """A key press: the key, and where and when the finger fell if the host knows.

    x, y: in key widths from the top left corner of the letter keys.
    """

    char: str
    x: float | None = None
    y: float | None = None
    t_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What stands left of the caret.

    earlier: the messages before this one, both sides', oldest first.
    before: this message up to the open word.
    taps: the keys of the open word.
    """

    earlier: tuple[str, ...] = ()
    before: str = ""
    taps: tuple[Tap, ...] = ()

    @property
    def typed(self) -> str:
        """The letters of the open word."""
        return "".join(tap.char for tap in self.taps)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One suggestion.

    text: as it would stand in the field, without the space after it.
    source: which part of the engine proposed it.
    logp: log-probability (natural) that the text goes on so, given all that was typed.
    replaces: how many characters left of the caret it takes the place of.
    parts: the summands of logp by name.
    """

    text: str
    kind: Kind
    source: str
    logp: float
    replaces: int = 0
    parts: Mapping[str, float] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Edit:
    """What a host does at the caret: delete so many characters to its left and to its
    right, then insert; the caret stands after what was inserted."""

    delete: int = 0
    insert: str = ""
    delete_after: int = 0
