"""All candidates in one list on one scale, and which of them are shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from kbengine.types import Candidate, Kind

_NAMES = {
    "words": "word", "phrases": "phrase", "emojis": "emoji", "signs": "sign", "literals": "literal",
}  # fmt: skip
STRIP = "words:3,phrase:1,emoji:1"  # what the command line shows where it is told nothing else
_SLOT_RE = re.compile(r"\s*([a-z]+)\s*(?::\s*(\d{1,3}))?\s*")


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Best first; of two of one kind and text the better, a literal after its equals."""
    order = sorted(candidates, key=lambda c: (-c.score, c.kind == "literal", c.text, c.kind))
    first: dict[tuple[Kind, str], Candidate] = {}
    for candidate in order:
        first.setdefault((candidate.kind, candidate.text), candidate)
    return list(first.values())


@dataclass(frozen=True)
class Slots:
    """Which kinds are shown, and how many of each, in order: ``words:2,emoji:1``.

    Without a number a kind may fill all places (``words``). Where a kind has too few
    candidates its places go to the first kind named; `None` for all: the best of any kind.
    """

    places: tuple[tuple[Kind, int | None], ...] | None = None

    @classmethod
    def any(cls) -> Slots:
        """No policy: the best of all kinds."""
        return cls(None)

    @classmethod
    def parse(cls, policy: str) -> Slots:
        """Raises ValueError, naming what is wrong, for a policy that cannot be read.

        ``any`` is no policy.
        """
        if policy.strip() == "any":
            return cls.any()
        places: list[tuple[Kind, int | None]] = []
        for part in policy.split(","):
            match = _SLOT_RE.fullmatch(part)
            kind = _NAMES.get(match[1], match[1]) if match else ""
            if match is None or kind not in get_args(Kind):
                raise ValueError(
                    f"{part.strip()!r} is no slot; write words:2,phrase:1,emoji:1 "
                    f"(kinds: {', '.join(get_args(Kind))})"
                )
            if any(kind == known for known, _ in places):
                raise ValueError(f"the slots name {kind!r} twice; name each kind once")
            places.append((kind, int(match[2]) if match[2] else None))  # type: ignore[arg-type]
        return cls(tuple(places))

    def __str__(self) -> str:
        if self.places is None:
            return "any"
        return ",".join(k if n is None else f"{k}:{n}" for k, n in self.places)

    @property
    def total(self) -> int | None:
        """How many places there are, None where a kind may fill all."""
        numbers = [n for _, n in self.places or ((None, None),)]
        return None if None in numbers else sum(n for n in numbers if n is not None)

    def wants(self, kind: Kind) -> bool:
        """Whether candidates of this kind can be shown."""
        return self.places is None or any(kind == k and n != 0 for k, n in self.places)

    def fill(self, ranked: list[Candidate], n: int) -> list[Candidate]:
        """The n candidates to show, of a ranked list.

        Under a policy each kind first takes its places in the order the policy names
        them; empty places, and those beyond the policy's, go to the best that is left of
        the first kind named. A phrase takes its place only from a word that would save fewer
        keystrokes in expectation.
        """
        if self.places is None:
            # What was typed is no news where it is a known word as well.
            known = {c.text for c in ranked if c.kind != "literal"}
            return [c for c in ranked if c.kind != "literal" or c.text not in known][:n]
        shown: list[Candidate] = []
        own = dict(self.places).get("word", 0)
        spare = [c for c in ranked if c.kind == "word"][n if own is None else own :]

        def take(kind: Kind, most: int) -> None:
            texts = {c.text for c in shown}
            left = [c for c in ranked if c.kind == kind and c.text not in texts]
            if kind == "phrase" and self.places and self.places[0][0] == "word":
                left = _better(left, spare)
            shown.extend(left[: min(most, n - len(shown))])

        for kind, places in self.places:
            take(kind, n if places is None else places)
        take(self.places[0][0], n)
        return shown


def _better(phrases: list[Candidate], words: list[Candidate]) -> list[Candidate]:
    """The phrases that save more than the words whose places they take, best first both."""
    kept: list[Candidate] = []
    for phrase in phrases:
        if len(kept) >= len(words) or phrase.score >= words[len(kept)].score:
            kept.append(phrase)
    return kept
