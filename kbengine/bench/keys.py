"""What a person waits for while typing: a key, a committed word, a jump of the caret.

The garbage collector runs, as it does in a host.
"""

from __future__ import annotations

import gc
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from kbengine.bench.clock import Samples
from kbengine.session import Session
from kbengine.types import Candidate

LONG_PREFIX = 4  # prefixes of so many letters and more are counted as one
BACKSPACES = 5  # at the end of each line
JUMPS = 2  # in each line
KEY_PRESS, COMMIT = "key press", "committed word"
_FIRST_LINE = "Nobody times this one, it only fills the caches 🙂"


def key_name(letters: int) -> str:
    """The name of a key press after which so many letters of the open word stand."""
    more = " or more" if letters >= LONG_PREFIX else ""
    return f"{KEY_PRESS}, prefix of {min(letters, LONG_PREFIX)}{more}"


NAMES = (
    KEY_PRESS, *(key_name(n) for n in range(LONG_PREFIX + 1)),
    COMMIT, "cursor jump", "backspace",
)  # fmt: skip


def timed(
    samples: Samples, field: Session, change: Callable[[], object], n: int
) -> list[Candidate]:
    """Time a change of a field together with the n suggestions for the text it makes."""

    def step() -> list[Candidate]:
        change()
        return field.suggest(n)

    return samples.time(step)


class Typist:
    """Types lines into one field, and commits words in another: there nothing is known of a
    line yet but what stands before the caret.

    Attributes:
        samples: times by `NAMES`.
    """

    def __init__(self, new_field: Callable[[], Session], n: int) -> None:
        self._keys, self._commits, self._n = new_field(), new_field(), n
        self._rng = random.Random(1)
        self.samples: defaultdict[str, Samples] = defaultdict(Samples)

    def line(self, line: str) -> None:
        """Type a line key by key, jump back in it, delete its end; commit a word at each place
        where one begins."""
        field, samples, n = self._keys, self.samples, self._n
        field.set_context("")
        field.suggest(n)
        for char in line:
            key = Samples()
            timed(key, field, partial(field.type, char), n)
            for name in (KEY_PRESS, key_name(len(field.typed))):
                samples[name].extend(key)
        starts = [0, *(i + 1 for i, char in enumerate(line) if char == " ")]
        for start in self._rng.sample(starts, min(JUMPS, len(starts))):
            timed(samples["cursor jump"], field, partial(field.jump, start), n)
            field.jump(len(line))
            field.suggest(n)
        for _ in range(min(BACKSPACES, len(line))):
            timed(samples["backspace"], field, field.backspace, n)
        self._commit(line, starts)

    def _commit(self, line: str, starts: Sequence[int]) -> None:
        field = self._commits
        for start in starts:
            field.set_context(line[:start])
            for best in field.suggest(self._n)[:1]:
                timed(self.samples[COMMIT], field, partial(field.accept, best), self._n)


def type_lines(
    new_field: Callable[[], Session], lines: Sequence[str], n: int, tick: Callable[[], None]
) -> Mapping[str, Samples]:
    """The times of typing lines with n suggestions at every step, by `NAMES`; what the lines
    have none of (a prefix of 4) is left out."""
    typist = Typist(new_field, n)
    typist.line(_FIRST_LINE)
    typist.samples.clear()
    gc.collect()
    for line in lines:
        typist.line(line)
        tick()
    return {name: typist.samples[name] for name in NAMES if name in typist.samples}
