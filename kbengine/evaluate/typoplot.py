"""Typing errors as tables and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from kbengine.evaluate.figures import Figure
from kbengine.evaluate.noise import CLEAN, SLIPS
from kbengine.evaluate.typos import SHOWN, Reliability, SpellingFigures, TypoFigures

_SHARES = {
    "first": "first",
    "top3": f"first {SHOWN}",
    "right": "corrected rightly",
    "wrong": "corrected wrongly",
    "left": "left as typed",
    "typing": f"first {SHOWN} at half",
}
_OF_CLEAN = {
    "first": "first",
    "wrong": "false corrections",
    "split": "split in two",
    "joined": "joined with the last",
    "typing": f"first {SHOWN} at half",
}
_OVERALL = {
    "precision": "precision",
    "recall": "recall",
    "f0.9": "F0.9",
    "corrections_right": "corrections right",
}
_BARS = {"first": "#1f5a92", "top3": "#92c5de", "right": "#4d9221", "wrong": "#c51b7d"}


def _percent(figure: Figure) -> Text:
    """``39.0 ±0.9``"""
    if figure.value is None:
        return Text("-")
    shown = Text(f"{100 * figure.value:.1f}")
    if figure.half is not None:
        shown.append(f" ±{100 * figure.half:.1f}", "dim")
    return shown


def _table(title: str, first: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for header in columns:
        table.add_column(header, justify="right", max_width=11)
    return table


def _of_kinds(
    title: str, found: TypoFigures, kinds: Sequence[str], names: Mapping[str, str]
) -> Table:
    table = _table(title, "kind", ["words", *names.values()])
    for kind in kinds:
        if found.words[kind]:
            row = (_percent(found.kinds[kind][name]) for name in names)
            table.add_row(kind, f"{found.words[kind]:,}", *row)
    return table


def tables(found: TypoFigures) -> Iterator[Table]:
    """Slips and clean words by kind, all together, and what probabilities are worth; in %."""
    yield _of_kinds("Slips (%)", found, SLIPS, _SHARES)
    yield _of_kinds("Clean words (%)", found, CLEAN, _OF_CLEAN)
    times = ["CPU ms p50", "p99"]
    overall = _table("All words (%)", "lines", ["words", *_OVERALL.values(), *times])
    overall.add_row(
        f"{found.lines:,}", f"{sum(found.words.values()):,}",
        *(_percent(found.overall[name]) for name in _OVERALL),
        *(f"{ms:.1f}" for ms in found.cpu_ms.values()),
    )  # fmt: skip
    yield overall
    yield _reliability(found.reliability)


def _reliability(found: Mapping[str, Reliability]) -> Table:
    """Side by side, the lowest probabilities first."""
    errors = ", ".join(f"{name} {one.error:.3f}" for name, one in found.items())
    names = [f"{name}: {what}" for name in found for what in ("words", "said %", "right %")]
    table = _table(f"Calibration error: {errors}", "bin", names)
    for number in range(max(len(one.bins) for one in found.values())):
        row = []
        for one in found.values():
            bins = one.bins[number : number + 1]
            row += [f"{b.size:,}" for b in bins] or [""]
            row += [f"{100 * share:.1f}" for b in bins for share in (b.p, b.right)] or ["", ""]
        table.add_row(str(number + 1), *row)
    return table


def spelling(name: str, found: SpellingFigures) -> Table:
    """A row for each context."""
    title = f"{name}: {found.rows:,} rows, right word not known {100 * found.unknown:.1f} %"
    names = ("first", "top3", "right", "wrong", "left")
    table = _table(title, "typed (%)", [_SHARES[one] for one in names])
    for context, shares in found.contexts.items():
        table.add_row(context, *(_percent(shares[one]) for one in names))
    return table


def draw(path: Path, found: TypoFigures, about: str) -> None:
    """Bars for each kind of slip, and the reliability diagram beside them."""
    # No pyplot: it keeps figures, and looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(12, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(picture)
    bars, lines = picture.subplots(1, 2, width_ratios=(2.2, 1))
    bars.set_title("What becomes of slips", loc="left", fontsize=14, fontweight="bold", pad=24)
    bars.text(0, 1.03, about, transform=bars.transAxes, fontsize=8, color="#555555")
    lines.set_title("Is it as often right as it says?", loc="left", fontsize=12, pad=24)
    for axes in (bars, lines):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
        axes.set_axisbelow(True)
    _draw_bars(bars, found)
    _draw_reliability(lines, found.reliability)
    picture.savefig(path)


def _draw_bars(axes: Any, found: TypoFigures) -> None:
    kinds = [kind for kind in SLIPS if found.words[kind]]
    for number, (name, colour) in enumerate(_BARS.items()):
        figures = [found.kinds[kind][name] for kind in kinds]
        values = [100 * (figure.value or 0.0) for figure in figures]
        at = [place + (number - 1.5) * 0.21 for place in range(len(kinds))]
        axes.bar(at, values, 0.2, color=colour, label=_SHARES[name])
        for x, value, (_, low, high) in zip(at, values, figures, strict=True):
            # An interval of nothing is that of a single line, and says nothing.
            if low is not None and high is not None and high > low:
                span = [[max(0.0, value - 100 * low)], [max(0.0, 100 * high - value)]]
                axes.errorbar(x, value, yerr=span, ecolor="#333333", linewidth=0.7)
    axes.set_xticks(range(len(kinds)), kinds, rotation=25, ha="right")
    axes.set_ylabel("words of the kind (%)")
    axes.set_ylim(0, 112)  # room for the legend
    axes.legend(frameon=False, ncols=len(_BARS), loc="upper left", fontsize=9)


def _draw_reliability(axes: Any, found: Mapping[str, Reliability]) -> None:
    axes.plot([0, 100], [0, 100], color="#999999", linewidth=1, linestyle="--")
    for name, one in found.items():
        p, right = ([100 * getattr(each, part) for each in one.bins] for part in ("p", "right"))
        axes.plot(p, right, marker="o", markersize=4, label=f"{name}: error {one.error:.3f}")
    axes.set_xlabel("probability of what is committed (%)")
    axes.set_ylabel("right (%)")
    axes.legend(frameon=False, fontsize=9)
