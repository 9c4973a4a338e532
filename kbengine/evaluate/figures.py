"""Counts -> figures, each with a 95 % interval from lines resampled with replacement.

The bootstrap of Efron and Tibshirani 1993, chapter 13 (percentile intervals). Lines are
resampled and not words, because what goes wrong in a line goes wrong together. A resample
is a weight for each line: how often it was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kbengine.evaluate.counts import Counts, Floats64
from kbengine.evaluate.measures import Measure

# With 1,000, `kbengine eval --limit 100 --sample-seed 1` on 100 text messages under 20 seeds:
# the half intervals of top-3, KSR and perplexity vary by 2 to 4 % of themselves.
RESAMPLES = 1000
SEED = 0
_CHUNK = 50  # resamples held at once

Weights = NDArray[np.int64]


class Figure(NamedTuple):
    """A value and the ends of its 95 % interval; None where nothing was counted, or where a
    single line leaves nothing to resample."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def half(self) -> float | None:
        """Half the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def resamples(lines: int) -> Iterator[Weights]:
    """RESAMPLES draws of so many lines, int[_CHUNK, lines] at a time, always the same."""
    random = np.random.default_rng(SEED)
    for _ in range(RESAMPLES // _CHUNK):
        yield random.multinomial(lines, np.full(lines, 1 / lines), size=_CHUNK)


def values(counts: Counts, measures: Sequence[Measure], weights: Weights) -> Floats64:
    """The measures under R weightings of L lines, int[R, L] -> float64[R, measures]; NaN
    where nothing was counted."""
    names = list(counts.fields)
    summed = weights @ np.stack([counts.fields[name] for name in names], axis=1)
    sums = dict(zip(names, summed.T, strict=True))
    found = np.full((len(weights), len(measures)), np.nan)
    for column, measure in enumerate(measures):
        if measure.clock is None:
            found[:, column] = _ratio(measure, sums, len(weights))
    for clock in {m.clock for m in measures if m.clock}:
        columns = [i for i, m in enumerate(measures) if m.clock == clock]
        quantiles = [measures[i].quantile for i in columns]
        found[:, columns] = _quantiles(counts, clock, quantiles, weights)
    return found


def _ratio(measure: Measure, sums: Mapping[str, Floats64], size: int) -> Floats64:
    def total(fields: Sequence[str]) -> Floats64:
        found = np.zeros(size)
        for field in fields:
            sign = -1 if field[0] == "-" else 1
            found += sign * sums[field.removeprefix("-")]
        return found

    under = total(measure.under)
    ratio: Floats64 = np.divide(
        total(measure.over), under, out=np.full(size, np.nan), where=under != 0
    )
    if measure.unit == "perplexity":
        ratio = np.exp(ratio)
    return ratio / math.log(2) if measure.unit == "bits" else ratio


def _quantiles(
    counts: Counts, clock: str, quantiles: Sequence[float], weights: Weights
) -> Floats64:
    """float64[R, quantiles]: of N calls the time in place int(q * N), from 0, in order."""
    found = np.full((len(weights), len(quantiles)), np.nan)
    times = counts.times_ms[clock]
    order = np.argsort(times, kind="stable")
    lines = counts.call_lines[order]
    for row, weight in zip(found, weights, strict=True):
        upto = np.cumsum(weight[lines])
        if not len(upto) or upto[-1] == 0:
            continue
        places = [min(int(q * upto[-1]), upto[-1] - 1) for q in quantiles]
        row[:] = times[order[np.searchsorted(upto, places, side="right")]]
    return found


def figures(counts: Counts, measures: Sequence[Measure]) -> dict[str, Figure]:
    """Every measure by name, with its interval."""

    def under(weights: Weights) -> Floats64:
        return values(counts, measures, weights)

    return dict(zip((m.name for m in measures), intervals(len(counts), under), strict=True))


def intervals(lines: int, under: Callable[[Weights], Floats64]) -> list[Figure]:
    """Figures from a function of weights, int[R, lines] -> float64[R, figures]."""
    plain = under(np.ones((1, lines), np.int64))[0].tolist()
    if lines < 2:
        return [Figure(_number(value), None, None) for value in plain]
    drawn = np.concatenate([under(weights) for weights in resamples(lines)])
    found = []
    for value, column in zip(plain, drawn.T, strict=True):
        column = column[~np.isnan(column)]  # a draw may have none of what is counted
        ends = np.quantile(column, (0.025, 0.975)).tolist() if len(column) else (None, None)
        found.append(Figure(_number(value), *ends))
    return found


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
