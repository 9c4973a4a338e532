"""How sure a phrase must be to be offered at a share of all places: the table of
`kbengine.sources.phrases`, from dev text, with a curve of precision against coverage.

At every word, before its first letter, the best phrase is looked at, however unsure it is. So many
of the surest as a coverage asks for give the least confidence of that coverage; how many of those
are right in full is the precision.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kbengine import text
from kbengine.engine import Engine
from kbengine.evaluate.lines import Line, read_text, words
from kbengine.evaluate.typist import goes_on, type_line
from kbengine.loading import load
from kbengine.mix import Slots
from kbengine.predict import Predictor, Wish
from kbengine.sources.phrases import CONFIDENCE, PhraseOptions, confidence
from kbengine.types import Context, Tap
from train.progress import Progress

HELP = "find how sure a phrase must be for a coverage (the table of kbengine.sources.phrases)"
SLOTS = Slots.parse("words:2,phrase:1")
PHRASE = Wish(Slots.parse("phrase:1"))
LOOSEST = -4.0  # confidence; what is less sure is not looked at
COVERAGES = (0.01, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)


class Place(NamedTuple):
    """The best phrase at a place, and whether the line goes on with all of it."""

    confidence: float
    right: bool


def places(predictor: Predictor, line: Line) -> list[Place | None]:
    """Each word of a line, before its first letter; None where there is no phrase."""
    found: list[Place | None] = []
    for word in words(line.text):
        context = Context(line.earlier, line.text[: word.start])
        shown = predictor.suggest(context, 1, PHRASE)
        best = next((c for c in shown if c.kind == "phrase"), None)
        if best is None:
            found.append(None)
        else:
            count = len(text.tokens(best.text))
            logp = best.parts["language model"] + best.parts["channel"]
            right = goes_on(line.text, word.start, best.text)
            found.append(Place(confidence(logp, count, predictor.phrases.options), right))
    return found


def saved(engine: Engine, lines: Sequence[Line], slots: Slots, options: PhraseOptions) -> float:
    """Of all characters, the share of keystrokes that a user saves who takes phrases too."""
    sums: Counter[str] = Counter()
    predictor = engine.predictor()
    predictor.phrases.options = options
    wish = Wish(slots, phrases=options.coverage)
    for line in lines:

        def suggest(before: str, typed: str, line: Line = line) -> list[str]:
            context = Context(line.earlier, before, tuple(map(Tap, typed)))
            return [c.text for c in predictor.suggest(context, 3, wish)]

        sums.update(type_line(line.text, suggest, 3, 1).sums)
    return 1 - sums["keys_phrases"] / sums["chars"]


def curve(found: Sequence[Place | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coverage, least confidence and precision, float64[N] each, the surest first."""
    shown = sorted((p for p in found if p is not None), reverse=True)
    right = np.cumsum([p.right for p in shown])
    number = np.arange(1, len(shown) + 1)
    return number / max(1, len(found)), np.array([p.confidence for p in shown]), right / number


def draw(path: Path, curves: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Precision against coverage, a line for each text."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, (coverage, _, precision) in curves.items():
        some = coverage >= 0.01  # of a few places there is no share
        axes.plot(100 * coverage[some], 100 * precision[some], label=name)
    axes.set_title("Phrases: precision against coverage", loc="left", fontweight="bold")
    axes.set_xlabel("places at which a phrase is offered (%)")
    axes.set_ylabel("of those, right in full (%)")
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--bundle", type=Path, metavar="FILE", help="default: the English one of the package")
    add("--text", nargs="+", type=Path, required=True, metavar="FILE", help="dev text")
    add("--limit", type=int, default=300, help="lines of each file (default: %(default)s)")
    add("--plot", type=Path, metavar="PNG", help="draw the curve of each file")
    add("--compare", action="store_true",
        help="also type the text, by expected keystrokes and by probability alone")  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Print the table, and how well phrases at each coverage do.

    Raises ValueError for text that cannot be read and BundleError for a broken bundle.
    """
    texts = {path.stem: read_text(path, args.limit, 1).lines for path in args.text}
    engine = load(args.bundle)
    every: list[Place | None] = []
    curves = {}
    with Progress("phrases", sum(map(len, texts.values())), "line") as bar:
        for name, lines in texts.items():
            predictor = engine.predictor()
            predictor.phrases.options = replace(PhraseOptions(), table=((0.0, LOOSEST),))
            found = []
            for line in lines:
                found += places(predictor, line)
                bar.step(1)
            curves[name], every = curve(found), every + found
    if not all(len(curve[0]) for curve in curves.values()):
        raise ValueError("there is no phrase in some text; give more of it")
    curves["all"] = curve(every)
    print(f"{'coverage':>10}{'confidence':>12}  precision of {', '.join(curves)}")
    table = []
    for coverage in COVERAGES:
        if coverage > curves["all"][0][-1]:
            print(f"{coverage:>10.0%}  there is a phrase at no more places")
            break
        at = [min(len(c[0]) - 1, int(np.searchsorted(c[0], coverage))) for c in curves.values()]
        least = float(curves["all"][1][at[-1]])
        table.append((coverage, round(least, 2)))
        shares = [f"{100 * c[2][i]:6.1f} %" for c, i in zip(curves.values(), at, strict=True)]
        print(f"{coverage:>10.0%}{least:>12.2f} {''.join(shares)}")
    table.append((1.0, LOOSEST))
    print(f"CONFIDENCE = {tuple(table)}  # in the package: {CONFIDENCE}")
    if args.plot:
        draw(args.plot, curves)
    if args.compare:
        _compare(engine, texts, tuple(table))


def _compare(
    engine: Engine, texts: dict[str, tuple[Line, ...]], table: tuple[tuple[float, float], ...]
) -> None:
    three = Slots.parse("words:3")
    by_keys = replace(PhraseOptions(), table=table)
    ways = {
        "words:3": (three, by_keys),
        "words:2,phrase:1, by expected keystrokes": (SLOTS, by_keys),
        "words:2,phrase:1, by probability alone": (SLOTS, replace(by_keys, by_p=True)),
    }
    for name, (slots, options) in ways.items():
        shares = [100 * saved(engine, lines, slots, options) for lines in texts.values()]
        told = "".join(f"{share:8.2f}" for share in shares)
        print(f"{name:<44}{told}{math.fsum(shares) / len(shares):8.2f} % saved")
