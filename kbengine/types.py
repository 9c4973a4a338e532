"""The values that cross the borders of the engine; all frozen. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp, log1p
from typing import Literal

Kind = Literal["word", "phrase", "emoji", "sign", "literal"]
# What a score is made of, in nats: log P of the text by the language model alone; what the keys say
# for it, and of the others that agree with them; what names and word lists say; what is known of
# the user; what the emoji model says of whether an emoji comes, and which; what the place in the
# list asks for beside probability.
PARTS = ("language model", "channel", "lexicon", "user", "trigger", "slot policy")


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
    parts: the summands of the score, by the names of PARTS.
    """

    text: str
    kind: Kind
    source: str
    logp: float
    replaces: int = 0
    parts: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def score(self) -> float:
        """What it is ranked by: the sum of its parts, which is logp and the slot policy's."""
        return self.logp + self.parts.get("slot policy", 0.0)


def candidate(
    text: str, kind: Kind, source: str, parts: Mapping[str, float], replaces: int = 0
) -> Candidate:
    """A candidate of some parts; those that are not given are 0."""
    full = {name: parts.get(name, 0.0) for name in PARTS}
    logp = sum(value for name, value in full.items() if name != "slot policy")
    return Candidate(text, kind, source, logp, replaces, full)


def shifted(one: Candidate, by_logp: float) -> Candidate:
    """A candidate of which the keys say more, or less, than was thought."""
    parts = {**one.parts, "channel": one.parts["channel"] + by_logp}
    return replace(one, logp=one.logp + by_logp, parts=parts)


def together(one: Candidate | None, other: Candidate) -> Candidate:
    """Two candidates that came to be the same: the better, with the probability of both."""
    if one is None:
        return other
    better, worse = sorted((one, other), key=lambda c: -c.score)
    more = log1p(exp(worse.logp - better.logp))
    parts = {**better.parts, "lexicon": better.parts["lexicon"] + more}
    return replace(better, logp=better.logp + more, parts=parts)


@dataclass(frozen=True, slots=True)
class Edit:
    """What a host does at the caret: delete so many characters to its left and to its
    right, then insert; the caret stands after what was inserted."""

    delete: int = 0
    insert: str = ""
    delete_after: int = 0


@dataclass(frozen=True, slots=True)
class Correction:
    """What a space would commit.

    literal: what was typed; text: what is committed in its place, the same where nothing is
    corrected; p: P(that text is meant); replaces: how many characters left of the caret it takes
    the place of.
    """

    literal: str
    text: str
    p: float
    replaces: int

    @property
    def corrects(self) -> bool:
        """Whether another text is committed than what was typed."""
        return self.text != self.literal
