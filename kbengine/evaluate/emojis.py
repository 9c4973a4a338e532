"""How well emoji are foreseen: whether one comes, and which.

At every place between two tokens that is not right after an emoji: the area under the ROC curve of
P(an emoji comes) says how often a place where one came got more than a place where none did. Where
one came, its rank among the emoji offered; by kind too, for a dozen kinds make half of all text.
Forms that differ by skin tone or U+FE0F alone are one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbengine import text
from kbengine.emojistyle import EmojiStyle
from kbengine.engine import Engine
from kbengine.evaluate.calibration import between
from kbengine.evaluate.lines import TextFile
from kbengine.mix import Slots
from kbengine.predict import Wish

OFFERED = 5


@dataclass(frozen=True)
class EmojiFigures:
    """auc: at all places; end_auc: of those the ends of messages without emoji, and the places
    where one came; None where there are not both. sent: emoji that came; top1, top5: share of
    them that are first, or among the first five; kinds: of each kind how many came, were first,
    were among the five."""

    places: int
    auc: float | None
    end_auc: float | None
    sent: int
    top1: float | None
    top5: float | None
    kinds: Mapping[str, tuple[int, int, int]]

    @property
    def by_kind(self) -> tuple[float, float] | None:
        """top1 and top5 with every kind counting the same, however often it came."""
        if not self.kinds:
            return None
        rows = np.array(list(self.kinds.values()), float)
        mean = (rows[:, 1:] / rows[:, :1]).mean(axis=0)
        return float(mean[0]), float(mean[1])


def area_under_curve(scores: NDArray[Any], right: NDArray[np.bool_]) -> float | None:
    """The area under the ROC curve, by ranks; ties count half. None without both kinds."""
    if right.all() or not right.any():
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    n = int(right.sum())
    return float((ranks[right].sum() - n * (n + 1) / 2) / (n * (len(right) - n)))


def foresee(
    engine: Engine,
    file: TextFile,
    style: EmojiStyle,
    done: Callable[[], object] = lambda: None,
) -> EmojiFigures:
    """The figures of a file. done: called after each line."""
    predictor = engine.predictor()
    wish = Wish(Slots.parse("emoji"), unfiltered=True, emoji_style=style)
    scores: list[tuple[float, bool, bool]] = []
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for line in file.lines:
        places = [place for place in between(line) if not place.after_emoji]
        plain = all(place.emoji is None for place in places)
        for place in places:
            came, at_end = place.emoji is not None, plain and place is places[-1]
            trigger = predictor.query(place.context).place.expected.trigger_logp
            scores.append((trigger, came, at_end or came))
            if place.emoji is not None:
                shown = [c.text for c in predictor.suggest(place.context, OFFERED, wish)]
                wanted = text.base_emoji(place.emoji)
                bases = [text.base_emoji(emoji) for emoji in shown]
                row = kinds[wanted]
                row["sent"] += 1
                row["first"] += bases[:1] == [wanted]
                row["five"] += wanted in bases
        done()
    score, came_, end = (np.array(column) for column in zip(*scores, strict=True))
    counts = {kind: (row["sent"], row["first"], row["five"]) for kind, row in kinds.items()}
    sent = sum(row[0] for row in counts.values())
    return EmojiFigures(
        len(scores),
        area_under_curve(score, came_),
        area_under_curve(score[end], came_[end]),
        sent,
        sum(row[1] for row in counts.values()) / sent if sent else None,
        sum(row[2] for row in counts.values()) / sent if sent else None,
        dict(sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))),
    )
