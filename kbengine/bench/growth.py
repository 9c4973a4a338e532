"""How cost grows: with the context's length, the lexicon's size, how many are asked for.

A curve holds the median for each x; its slope, on two logarithmic scales, says what ten times
as much costs. CPU times are fitted, which the load of the machine moves least.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from kbengine.bench.clock import Samples, no_gc
from kbengine.bench.keys import COMMIT, KEY_PRESS, timed
from kbengine.session import Session

# What is called flat: ten times as much costs 15 % more at most. Seven runs of `kbengine bench`,
# at loads of 1.3 to 9.9 on two cores, gave key presses x0.98 to x1.14 against length of context
# and size of lexicon.
FLAT = 1.15
FIRST = "first suggestion"
LETTERS = 4  # of each word are typed
EARLIER_MESSAGES = "earlier messages"
CONTEXT_LENGTH = "characters of context"
CANDIDATES = "candidates asked for"

# One turn at one x: (field, x, turn, samples by name).
Trial = Callable[[Session, int, int, "defaultdict[str, Samples]"], None]


def factor_per_tenfold(xs: Sequence[float], costs: Sequence[float]) -> float:
    """What x ten times as large multiplies the cost by: 10 to the slope of the line that fits
    log cost over log x best (least squares).

    Raises ValueError for fewer than two different x, or where one is not above 0.
    """
    if len(set(xs)) < 2 or min(*xs, *costs) <= 0:
        raise ValueError("growth needs two sizes at least, and all above 0")
    return float(10 ** np.polyfit(np.log10(xs), np.log10(costs), 1)[0])


@dataclass(frozen=True)
class Curve:
    """The cost of one thing for growing x.

    must_be_flat: whether an engine whose cost grows here would be broken.
    """

    what: str
    against: str
    must_be_flat: bool
    samples: dict[int, Samples]

    @property
    def factor(self) -> float:
        """See `factor_per_tenfold`; of the medians of the CPU times."""
        return factor_per_tenfold(list(self.samples), [s.cpu_p50_ms for s in self.samples.values()])

    @property
    def flat(self) -> bool:
        """Whether ten times as much costs no more than FLAT times as much."""
        return self.factor <= FLAT

    def summary(self) -> dict[str, Any]:
        """The curve as JSON: its points, the factor, and the verdict."""
        return {
            "what": self.what,
            "against": self.against,
            "points": [{"x": x, **samples.summary()} for x, samples in self.samples.items()],
            "factor_per_tenfold": round(self.factor, 3),
            "verdict": "flat" if self.flat else "grows",
            "must_be_flat": self.must_be_flat,
        }


def curves(
    against: str,
    must_be_flat: Sequence[str],
    fields: dict[int, Session],
    trial: Trial,
    turns: int,
    tick: Callable[[], None],
) -> list[Curve]:
    """A curve for everything that `trial` times.

    fields: for each x a field of its own, so that none finds what another has computed. In
    every turn each x has its trial, in an order drawn anew; the first turn is not counted.
    """
    order = random.Random(1)
    found: dict[int, defaultdict[str, Samples]] = {x: defaultdict(Samples) for x in fields}
    with no_gc():
        for turn in range(turns + 1):
            for x in order.sample(list(fields), len(fields)):
                trial(fields[x], x, turn, found[x] if turn else defaultdict(Samples))
            tick()
    names = list(dict.fromkeys(name for samples in found.values() for name in samples))
    return [
        Curve(name, against, name in must_be_flat, {x: found[x][name] for x in fields})
        for name in names
    ]


def _type_word(field: Session, word: str, n: int, samples: Samples) -> None:
    for char in word[:LETTERS]:
        timed(samples, field, partial(field.type, char), n)


class ContextTrial:
    """A field that holds the last x characters of a long text: its first suggestion, keys of
    the next word, and the word committed."""

    def __init__(self, lines: Sequence[str], longest: int, turns: int, n: int) -> None:
        words = " ".join(lines).split()
        rng = random.Random(1)
        text = " ".join(words * (longest // len(" ".join(words)) + 2)) + " "
        ends = [i + 1 for i in range(longest, len(text) - 1) if text[i] == " "]
        self._text, self._n = text, n
        self._ends = [rng.choice(ends) for _ in range(turns + 1)]

    def __call__(
        self, field: Session, x: int, turn: int, samples: defaultdict[str, Samples]
    ) -> None:
        end, n = self._ends[turn], self._n
        left = partial(field.set_context, self._text[end - x : end])
        timed(samples[FIRST], field, left, n)
        word = self._text[end:].split(" ", 1)[0]
        _type_word(field, word, n, samples[KEY_PRESS])
        for best in field.suggest(n)[:1]:
            timed(samples[COMMIT], field, partial(field.accept, best), n)


class WordsTrial:
    """A line typed word by word: the keys that begin each. `candidates`: x is how many are
    asked for."""

    def __init__(self, lines: Sequence[str], n: int, candidates: bool = False) -> None:
        self._lines, self._n, self._candidates = lines, n, candidates

    def __call__(
        self, field: Session, x: int, turn: int, samples: defaultdict[str, Samples]
    ) -> None:
        n = x if self._candidates else self._n
        left = ""
        for word in self._lines[turn % len(self._lines)].split():
            field.set_context(left)
            field.suggest(n)
            _type_word(field, word, n, samples[KEY_PRESS])
            left += word + " "


class EarlierTrial:
    """A new message after x others: its first suggestion, and the keys of its words.

    The first word is typed uncounted: reading the others has left the caches cold, and a key
    right after it costs up to a third more, for no work of its own.
    """

    def __init__(self, lines: Sequence[str], n: int) -> None:
        self._lines, self._n = lines, n

    def __call__(
        self, field: Session, x: int, turn: int, samples: defaultdict[str, Samples]
    ) -> None:
        lines, n = self._lines, self._n
        earlier = [lines[(turn - back) % len(lines)] for back in range(x, 0, -1)]
        timed(samples[FIRST], field, partial(field.set_context, "", earlier), n)
        first, *words = lines[turn % len(lines)].split()
        _type_word(field, first, n, Samples())
        left = first + " "
        for word in words or [first]:
            field.set_context(left, earlier)
            field.suggest(n)
            _type_word(field, word, n, samples[KEY_PRESS])
            left += word + " "
