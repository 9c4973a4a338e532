"""Two results on the same lines: the second less the first, paired line by line.

Both sides are resampled with the same weights, so that what makes a line hard for both
cancels. An interval that leaves out 0 says that the one is better on such text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kbengine.evaluate.counts import Counts, Floats64
from kbengine.evaluate.figures import Figure, Weights, intervals, values
from kbengine.evaluate.measures import Measure, measures
from kbengine.evaluate.result import Result


class Difference(NamedTuple):
    """b less a for each measure by name: of a file, or of all."""

    name: str
    lines: int
    figures: dict[str, Figure]


def clear(figure: Figure) -> bool:
    """Whether the interval of a difference leaves out 0."""
    return figure.low is not None and figure.high is not None and figure.low * figure.high > 0


def common_measures(a: Result, b: Result) -> tuple[Measure, ...]:
    """The measures that both results have counted."""
    return measures(min(a.settings.most_letters, b.settings.most_letters))


def compare(a: Result, b: Result) -> list[Difference]:
    """The differences of each file, and of all where there are several.

    Raises ValueError where the two were not made on the same lines.
    """
    if len(a.files) != len(b.files):
        raise ValueError(
            f"the first result has {len(a.files)} files, the second {len(b.files)}; "
            "evaluate both on the same files"
        )
    shown = common_measures(a, b)
    found = []
    for one, two in zip(a.files, b.files, strict=True):
        if one.sha256 != two.sha256:
            raise ValueError(
                f"{one.name} and {two.name} are different files; evaluate both on the same"
            )
        if any(
            not np.array_equal(one.counts.fields[name], two.counts.fields[name])
            for name in ("words", "chars")
        ):
            raise ValueError(
                f"the two results have other lines of {one.name}; evaluate both with the same "
                "--limit and --sample-seed"
            )
        found.append(
            Difference(one.name, len(one.counts), differences(one.counts, two.counts, shown))
        )
    if len(found) > 1:
        whole = a.pooled, b.pooled
        found.append(Difference("overall", len(whole[0]), differences(*whole, shown)))
    return found


def differences(a: Counts, b: Counts, shown: Sequence[Measure]) -> dict[str, Figure]:
    """b less a on the same lines, with 95 % intervals."""

    def under(weights: Weights) -> Floats64:
        return values(b, shown, weights) - values(a, shown, weights)

    return dict(zip((m.name for m in shown), intervals(len(a), under), strict=True))
