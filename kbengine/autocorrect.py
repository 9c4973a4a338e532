"""What a space commits: what was typed, or the word that was meant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

from kbengine.types import Candidate, Correction

Margin = Literal["off", "timid", "normal", "bold"]
# A correction is made where it is likelier than what was typed by so much, P(it | one of the two),
# and P(it) is no less than the second number. Chosen on dev text: `kbengine eval --typos` says
# which share of slips each margin mends, and of clean words spoils.
_UNKNOWN_P: Mapping[str, tuple[float, float]] = {
    "timid": (0.99, 0.9), "normal": (0.9, 0.5), "bold": (0.7, 0.3),
}  # fmt: skip
# The same for a known word with an apostrophe,
_APOSTROPHE_P: Mapping[str, tuple[float, float]] = {
    "timid": (0.95, 0.9), "normal": (0.7, 0.5), "bold": (0.6, 0.3),
}  # fmt: skip
# and for another in the place of a known word, by where the fingers fell alone.
_KNOWN_P: Mapping[str, tuple[float, float]] = {
    "timid": (0.9999, 0.99), "normal": (0.98, 0.9), "bold": (0.9, 0.7),
}  # fmt: skip
LIKELY_P = 0.5  # a word takes its own capitals where it is likelier than all others together
APOSTROPHE = "'"


def margin(name: str) -> Margin:
    """A margin by its name; raises ValueError for none."""
    for known in get_args(Margin):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise ValueError(f"there is no margin {name!r}; give {', '.join(get_args(Margin))}")


class _Meant(NamedTuple):
    """One word in its casings: P(it is meant), and the likeliest of them."""

    p: float
    best: Candidate


def meant(candidates: Sequence[Candidate]) -> dict[str, _Meant]:
    """P(each word is meant), in lower case, of candidates of which one is meant."""
    top = max(c.logp for c in candidates)
    weights = [math.exp(c.logp - top) for c in candidates]
    found: dict[str, _Meant] = {}
    for c, weight in sorted(zip(candidates, weights, strict=True), key=lambda each: -each[1]):
        before = found.get(c.text.lower(), _Meant(0.0, c))
        found[c.text.lower()] = _Meant(before.p + weight / sum(weights), before.best)
    return found


def _mixed(typed: str) -> bool:
    """Whether letters behind the first are capitals, and not all."""
    return not typed.isupper() and any(c.isupper() for c in typed[1:])


def decide(
    candidates: Sequence[Candidate], known: bool, fingers: bool, margin: Margin
) -> Correction:
    """Which of the candidates, the literal among them, a space commits.

    known: whether what was typed is a word; fingers: whether it is known where they fell. A known
    word gives way to another only by where the fingers fell or where the word before it makes
    sense with it alone, to itself with an apostrophe by what stands before it, and to itself with
    its capitals. Letters in mixed case are meant.
    """
    literal = next(c for c in candidates if c.kind == "literal")
    typed = literal.text.lower()
    words = meant(candidates)
    if margin == "off" or (not known and _mixed(literal.text)):
        return Correction(literal.text, literal.text, words[typed].p, literal.replaces)
    own = words[typed]
    for word, (p, best) in sorted(words.items(), key=lambda item: -item[1].p):
        if word == typed:
            break
        apostrophe = word.replace(APOSTROPHE, "") == typed
        apart = best.replaces > literal.replaces  # the word before is explained as well
        if known and not (apostrophe or apart or fingers):
            continue
        over, least = ((_APOSTROPHE_P if apostrophe else _KNOWN_P) if known else _UNKNOWN_P)[margin]
        if p >= least and p >= over * (p + own.p):
            return Correction(literal.text, best.text, p, best.replaces)
        break
    text = own.best.text if own.p >= LIKELY_P else literal.text
    return Correction(literal.text, text, own.p, literal.replaces)
