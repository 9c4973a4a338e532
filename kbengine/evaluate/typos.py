"""Whether slips of the finger and misspellings are mended, and what was right is left alone.

Each word of a line is typed to its end by `kbengine.evaluate.noise`, after the right text before
it. Then the words it may stand for are asked for, and what a space would commit. Words match
whatever their case, but where the slip is a capital left out; a candidate is right where it takes
the place of all that stands for the word and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kbengine.autocorrect import Margin
from kbengine.channel import Channel
from kbengine.engine import Engine
from kbengine.evaluate.calibration import Bin
from kbengine.evaluate.counts import Floats64
from kbengine.evaluate.figures import Figure, Weights, intervals
from kbengine.evaluate.lines import TextFile, clean_line
from kbengine.evaluate.noise import CLEAN, KINDS, Noise, Typed
from kbengine.evaluate.typist import fold
from kbengine.mix import Slots
from kbengine.predict import Predictor, Wish
from kbengine.types import Candidate, Context, Correction, Tap

SHOWN = 3
BINS = 10
BETA = 0.9  # of the F measure: what was right counts a little more than what was mended
NEUTRAL = {"alone": "", "after a few words": "I typed the word "}
ROWS = {"odd": slice(1, None, 2), "even": slice(0, None, 2), "all": slice(None)}
_WORDS = Wish(Slots.parse("words"))


class Outcome(NamedTuple):
    """One word.

    rank: its place among the first SHOWN candidates, from 1; text: what a space commits, p: P(it
    is meant), corrects: whether that differs from what was typed; result: ``right``, ``wrong``, or
    ``left`` as it was typed, where that is not right; joined: whether the word before is taken
    with it; typing: whether it was among the first SHOWN when half of it was typed, None where
    that was not asked; cpu_ms: of the candidates and the correction together.
    """

    kind: str
    typed: str
    meant: str
    rank: int | None
    text: str
    p: float
    corrects: bool
    result: str
    joined: bool
    typing: bool | None
    cpu_ms: float

    @property
    def split(self) -> bool:
        """Whether one word was made two."""
        return " " in self.text and " " not in self.meant


@dataclass(frozen=True)
class Reliability:
    """Of what a space commits, by P(it is meant): the expected calibration error over bins of
    equal size."""

    count: int
    error: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class TypoFigures:
    """Shares with their intervals. words: of each kind how many; kinds: kind -> share -> figure;
    overall: precision, recall, F; reliability: of words that are corrected and that are left;
    cpu_ms: by percentile; wrong: what was corrected wrongly."""

    lines: int
    words: Mapping[str, int]
    kinds: Mapping[str, Mapping[str, Figure]]
    overall: Mapping[str, Figure]
    reliability: Mapping[str, Reliability]
    cpu_ms: Mapping[str, float]
    wrong: Sequence[tuple[str, str, str, str, float]]


class Misspellings(NamedTuple):
    """Wrong and right words of a file."""

    name: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SpellingFigures:
    """unknown: share of the right words that the lexicon lacks; contexts: for each of NEUTRAL
    the shares, as in `TypoFigures`."""

    rows: int
    unknown: float
    contexts: Mapping[str, Mapping[str, Figure]]


def channel_of(engine: Engine) -> Channel:
    """How fingers slip, by the engine; raises ValueError where it takes keys at their word."""
    ear = engine.predictor().ear
    if ear is None:
        raise ValueError(
            f"{engine.bundle.name} has no channel, so it mends no typing errors; give a bundle "
            "that was built with one (`python -m train channel`)"
        )
    return ear.channel


def collect(
    engine: Engine,
    file: TextFile,
    noise: Noise,
    margin: Margin = "normal",
    done: Callable[[], object] = lambda: None,
) -> list[list[Outcome]]:
    """The words of each line of a file. done: called after each line."""
    predictor = engine.predictor()
    found = []
    for line in file.lines:
        found.append([_outcome(predictor, one, line.earlier, margin) for one in noise.type(line)])
        done()
    return found


def _outcome(predictor: Predictor, one: Typed, earlier: tuple[str, ...], margin: Margin) -> Outcome:
    """A word typed: half of it, then to its end."""
    typing = None
    half = max(2, (len(one.taps) + 1) // 2)
    if half < len(one.taps) and not one.kind.endswith("space"):
        context = Context(earlier, one.before, one.taps[:half])
        shown = predictor.suggest(context, SHOWN, _WORDS)
        typing = any(_right(c, one, half) for c in shown)
    # What stands before the word is known when it is typed, and not counted.
    predictor.query(Context(earlier, one.before))
    context = Context(earlier, one.before, one.taps)
    start = time.thread_time_ns()
    candidates = predictor.finish(context, SHOWN)
    commit = predictor.autocorrect(context, margin)
    cpu_ms = (time.thread_time_ns() - start) / 1e6
    rank = next((i for i, c in enumerate(candidates, 1) if _right(c, one, one.stands)), None)
    assert commit is not None, "a word is open"
    if _right(commit, one, one.stands):
        result = "right"
    else:
        result = "left" if fold(commit.text) == fold(commit.literal) else "wrong"
    return Outcome(
        one.kind, one.typed, one.meant, rank, commit.text, commit.p, commit.corrects, result,
        commit.replaces > len(one.taps), typing, cpu_ms,
    )  # fmt: skip


def _right(found: Candidate | Correction, one: Typed, stands: int) -> bool:
    """Whether this is what was meant, in the place of all that stands for it."""
    same = found.text == one.meant if one.kind == "capital" else fold(found.text) == fold(one.meant)
    return same and found.replaces == stands


# Figures


Count = Callable[[Outcome], float]
# A share is the sum of the first over the words of which the second is not 0.
SHARES: Mapping[str, tuple[Count, Count]] = {
    "first": (lambda o: o.rank == 1, lambda o: 1),
    "top3": (lambda o: o.rank is not None, lambda o: 1),
    "right": (lambda o: o.result == "right", lambda o: 1),
    "wrong": (lambda o: o.result == "wrong", lambda o: 1),
    "left": (lambda o: o.result == "left", lambda o: 1),
    "split": (lambda o: o.split, lambda o: 1),
    "joined": (lambda o: o.joined, lambda o: 1),
    "typing": (lambda o: bool(o.typing), lambda o: o.typing is not None),
}


def _hit(o: Outcome) -> bool:
    """A slip that was mended."""
    return o.kind not in CLEAN and o.result == "right"


def _missed(o: Outcome) -> bool:
    return o.kind not in CLEAN and o.result != "right"


def _spoilt(o: Outcome) -> bool:
    """A word that was right and was changed."""
    return o.kind in CLEAN and o.result != "right"


_SQUARE = BETA**2
OVERALL: Mapping[str, tuple[Count, Count]] = {
    "precision": (_hit, lambda o: _hit(o) + _spoilt(o)),
    "recall": (_hit, lambda o: o.kind not in CLEAN),
    "f0.9": (
        lambda o: (1 + _SQUARE) * _hit(o),
        lambda o: (1 + _SQUARE) * _hit(o) + _SQUARE * _missed(o) + _spoilt(o),
    ),
    # Precision counts a wrong word for a wrong word as missed alone; this one as wrong.
    "corrections_right": (_hit, lambda o: _hit(o) + (o.result == "wrong")),
}


def figures(lines: Sequence[Sequence[Outcome]]) -> TypoFigures:
    """Of the words of lines; raises ValueError where there are none."""
    every = [one for line in lines for one in line]
    if not every:
        raise ValueError("the text has no word of two letters or more; give more of it")
    kinds = {
        kind: _shares([[one for one in line if one.kind == kind] for line in lines], SHARES)
        for kind in KINDS
    }
    return TypoFigures(
        len(lines),
        {kind: sum(one.kind == kind for one in every) for kind in KINDS},
        kinds,
        _shares(lines, OVERALL),
        {
            name: reliability([(one.p, one.result == "right") for one in some])
            for name, some in (
                ("corrected", [one for one in every if one.corrects]),
                ("left as typed", [one for one in every if not one.corrects]),
            )
            if some
        },
        {f"p{q}": float(np.percentile([one.cpu_ms for one in every], q)) for q in (50, 99)},
        [(o.kind, o.typed, o.meant, o.text, o.p) for o in every if o.result == "wrong"],
    )


def reliability(shown: Sequence[tuple[float, bool]]) -> Reliability:
    """Of what was said and whether it was right, of one at least."""
    p, right = np.array(shown, np.float64).T
    parts = np.array_split(np.argsort(p, kind="stable"), min(BINS, len(p)))
    bins = tuple(Bin(float(p[i].mean()), float(right[i].mean()), len(i)) for i in parts)
    error = sum(one.size * abs(one.p - one.right) for one in bins) / len(p)
    return Reliability(len(p), error, bins)


def _shares(
    lines: Sequence[Sequence[Outcome]], counts: Mapping[str, tuple[Count, Count]]
) -> dict[str, Figure]:
    """Every share by name, with its interval, the lines resampled."""
    over, under = (
        np.array(
            [[sum(pair[side](o) for o in line) for pair in counts.values()] for line in lines],
            np.float64,
        )
        for side in (0, 1)
    )

    def of(weights: Weights) -> Floats64:
        below = weights @ under
        found: Floats64 = np.divide(
            weights @ over, below, out=np.full(below.shape, np.nan), where=below != 0
        )
        return found

    return dict(zip(counts, intervals(len(lines), of), strict=True))


# Misspellings


def read_misspellings(path: Path, rows: str = "odd") -> Misspellings:
    """The rows `wrong TAB right` of a file, by name in ROWS, without what can be typed as no one
    word and, of some rows, without those that stand among the others too.

    Raises ValueError for a file that cannot be read, and for a row that is none.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); give rows of a wrong word, a tab, the right word"
        ) from None
    pairs = []
    for number, row in enumerate(content.splitlines(), 1):
        fields = [clean_line(field) for field in row.split("\t")]
        if len(fields) != 2 or "" in fields:
            raise ValueError(f"{path}, line {number}: write the wrong word, a tab, the right word")
        pairs.append((fields[0], fields[1]))
    kept = pairs[ROWS[rows]]
    others = set() if rows == "all" else set(pairs[ROWS["even" if rows == "odd" else "odd"]])
    found = tuple(
        pair for pair in kept
        if pair not in others and all(c.isalpha() or c == "'" for c in pair[0])
    )  # fmt: skip
    if not found:
        raise ValueError(f"{path} has no such rows; give more of it, or --rows all")
    return Misspellings(path.name, found)


def spell(
    engine: Engine,
    file: Misspellings,
    margin: Margin = "normal",
    done: Callable[[], object] = lambda: None,
) -> SpellingFigures:
    """Each wrong word typed by itself, and after a few words. done: called after each row."""
    predictor = engine.predictor()
    found: dict[str, list[list[Outcome]]] = {name: [] for name in NEUTRAL}
    for wrong, meant in file.lines:
        for name, before in NEUTRAL.items():
            one = Typed("spelt", meant, before, tuple(map(Tap, wrong)), len(wrong))
            found[name].append([_outcome(predictor, one, (), margin)])
        done()
    unknown = sum(
        any(word.lower() not in engine.lexicon for word in right.split()) for _, right in file.lines
    )
    shares = {name: _shares(rows, SHARES) for name, rows in found.items()}
    return SpellingFigures(len(file.lines), unknown / len(file.lines), shares)
