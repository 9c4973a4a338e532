"""Rules of spelling, learned from lists of misspellings.

Brill and Moore 2000, "An Improved Error Model for Noisy Channel Spelling Correction": a wrong and a
right word are aligned at least cost, and each edit is counted with the letters around it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kbengine import text
from kbengine.channel import LONGEST_RULE, Rates

_LEAST_LOGP = -30.0
VOWELS = frozenset("aeiouy")
Pair = tuple[str, str]  # wrong, right
Rule = tuple[str, str]  # meant, spelt


@dataclass(frozen=True)
class SpellingOptions:
    """How rules are learned; `choose` tries those of `TRIED`.

    context: letters on either side of an edit, at most; against: so many right words with the
    letters and without the mistake are added, the smoothing; seen: how often at least a rule was
    seen; gain: nats that a rule must be better than what its letters cost without it; most: rules,
    at most, those that save most: each takes time at every key press.
    """

    context: int = 2
    against: float = 2.0
    seen: float = 2.0
    gain: float = 0.2
    most: int = 1500


class Op(NamedTuple):
    """A step of an alignment: letters of the right word, and what stands for them."""

    meant: str
    spelt: str


def align(wrong: str, right: str) -> list[Op]:
    """The steps from a right word to a wrong one at the least number of letters left out, added,
    exchanged, or swapped with the next (Damerau). Of several ways the one that exchanges vowels
    for vowels and leaves out or adds a letter beside the same."""
    rows, columns = len(right), len(wrong)
    best = [[math.inf] * (columns + 1) for _ in range(rows + 1)]
    came: dict[tuple[int, int], Op] = {}
    best[0][0] = 0.0
    for i in range(rows + 1):
        for j in range(columns + 1):
            for op, price in _steps(right, wrong, i, j):
                cost = best[i - len(op.meant)][j - len(op.spelt)] + price
                if cost < best[i][j]:
                    best[i][j], came[i, j] = cost, op
    ops = []
    i, j = rows, columns
    while i or j:
        op = came[i, j]
        ops.append(op)
        i, j = i - len(op.meant), j - len(op.spelt)
    return ops[::-1]


def _steps(right: str, wrong: str, i: int, j: int) -> Iterator[tuple[Op, float]]:
    """The steps that end before letter i of the right word and j of the wrong one, with prices:
    1 an edit, a little more for the unlikelier."""
    if i and j:
        a, b = right[i - 1], wrong[j - 1]
        price = 0.0 if a == b else 1.0 if (a in VOWELS) == (b in VOWELS) else 1.2
        yield Op(a, b), price
    if i:
        yield Op(right[i - 1], ""), 1.0 if i > 1 and right[i - 2] == right[i - 1] else 1.05
    if j:
        yield Op("", wrong[j - 1]), 1.0 if j > 1 and wrong[j - 2] == wrong[j - 1] else 1.05
    if i > 1 and j > 1 and right[i - 2] != right[i - 1]:
        pair = right[i - 2 : i]
        if pair == wrong[j - 1] + wrong[j - 2]:
            yield Op(pair, pair[::-1]), 1.0


def rules_of(pair: Pair, context: int) -> set[Rule]:
    """What was spelt for what in a misspelling: its edits, also several together, with up to
    `context` letters on either side, up to three letters on each side of a rule."""
    ops = align(*pair)
    found = set()
    for begin in range(len(ops)):
        for end in range(begin + 1, min(len(ops), begin + 2 * LONGEST_RULE) + 1):
            window = ops[begin:end]
            edits = [i for i, op in enumerate(window) if op.meant != op.spelt]
            if not edits or edits[0] > context or len(window) - 1 - edits[-1] > context:
                continue
            meant = "".join(op.meant for op in window)
            spelt = "".join(op.spelt for op in window)
            fits = 0 < len(meant) <= LONGEST_RULE and 0 < len(spelt) <= LONGEST_RULE
            # Spaces and hyphens are the search's affair.
            if (
                fits
                and meant != spelt
                and text.is_word(f"a{meant}a")
                and text.is_word(f"a{spelt}a")
            ):
                found.add((meant, spelt))
    return found


def _parts(word: str) -> Iterator[str]:
    """All stretches of up to three letters."""
    for length in range(1, LONGEST_RULE + 1):
        for begin in range(len(word) - length + 1):
            yield word[begin : begin + length]


def learn_rules(
    pairs: Sequence[Pair], rates: Rates, level: float, options: SpellingOptions
) -> dict[Rule, float]:
    """Rules with log P(spelt | meant, in running text), the strongest first.

    level: log of how often a word is misspelt at all. A rule that costs as much as its letters
    cost by a shorter rule or by a slip is left out.
    """
    seen: Counter[Rule] = Counter()
    stands: Counter[str] = Counter()
    for wrong, right in pairs:
        seen.update(rules_of((wrong, right), options.context))
        stands.update(_parts(right))
    found: dict[Rule, float] = {}
    worth: dict[Rule, float] = {}
    often = [rule for rule, n in seen.items() if n >= options.seen]
    for rule in sorted(often, key=lambda r: (len(r[0]) + len(r[1]), r)):
        meant, spelt = rule
        p = seen[rule] / (stands[meant] + options.against)
        logp = level + math.log(min(p, 0.95))
        gain = logp - _without(meant, spelt, found, rates)
        if gain >= options.gain:
            found[rule], worth[rule] = logp, gain * seen[rule]
    kept = sorted(found, key=lambda rule: (-worth[rule], rule))[: options.most]
    return {rule: found[rule] for rule in sorted(kept, key=lambda rule: (-found[rule], rule))}


def _without(meant: str, spelt: str, rules: Mapping[Rule, float], rates: Rates) -> float:
    """log P(spelt | meant) of two stretches by one shorter rule or one slip, the rest as meant."""
    best = _LEAST_LOGP
    for before in range(min(len(meant), len(spelt))):
        if meant[:before] != spelt[:before]:
            break
        for after in range(min(len(meant), len(spelt)) - before):
            if after and meant[-after:] != spelt[-after:]:
                break
            core = meant[before : len(meant) - after], spelt[before : len(spelt) - after]
            best = max(best, rules.get(core, _LEAST_LOGP))
    if len(meant) == len(spelt) + 1 and spelt in left_out(meant):
        best = max(best, rates.omitted)
    if len(meant) == len(spelt) and sorted(meant) == sorted(spelt) and spelt in swaps(meant):
        best = max(best, rates.swapped)
    if len(spelt) == len(meant) + 1 and any(
        spelt[i] == spelt[i - 1] and meant == spelt[:i] + spelt[i + 1 :]
        for i in range(1, len(spelt))
    ):
        best = max(best, rates.doubled)
    return best


def left_out(word: str) -> Iterator[str]:
    """A word with each of its letters left out in turn, the same ones as often as they come."""
    for i in range(len(word)):
        yield word[:i] + word[i + 1 :]


def swaps(word: str) -> Iterator[str]:
    """A word with each two different neighbours swapped in turn."""
    for i in range(len(word) - 1):
        if word[i] != word[i + 1]:
            yield word[:i] + word[i + 1] + word[i] + word[i + 2 :]
