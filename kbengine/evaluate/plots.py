"""Pictures of an evaluation: what is saved on which words, and how long a call takes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from kbengine.evaluate.counts import CLOCKS, Counts
from kbengine.evaluate.figures import Figure

_COLOURS = {"wall": "#1f5a92", "cpu": "#e08214"}
_WORDS = {"wall": "by the clock", "cpu": "CPU time"}


def check_plots() -> None:
    """Raises ValueError where there is nothing to draw with."""
    if find_spec("matplotlib") is None:
        raise ValueError(
            "pictures need matplotlib; run `make train-env`, or install kbengine[eval]"
        )


def draw(folder: Path, document: Mapping[str, Any], counts: Counts) -> list[Path]:
    """Write the PNGs of all files pooled into a folder; returns their paths.

    Raises ValueError as `check_plots` does.
    """
    check_plots()
    overall, k = document["overall"], document["settings"]["k"]
    names = ", ".join(file["name"] for file in document["files"])
    about = f"{document['bundle']['name']}, {len(counts):,} lines of {names}"
    about = about if len(about) <= 90 else about[:89] + "…"
    saved = f"keystrokes saved with {k} candidates (%)"
    paths = [folder / f"{name}.png" for name in ("by_length", "by_position", "latency")]
    bars = f"{about}; 95 % intervals, lines resampled"
    for path, by, x in (
        (paths[0], "length", "letters of the word"),
        (paths[1], "position", "place of the word in the message"),
    ):
        figure, axes = axes_of(f"Savings by {by} of the word", bars, x, saved)
        _draw_bars(axes, overall[f"savings_by_{by}"])
        figure.savefig(path)
    figure, axes = axes_of("Latency of suggest", about, "ms for a call", "calls")
    _draw_times(axes, counts, overall["figures"])
    figure.savefig(paths[2])
    return paths


def axes_of(title: str, about: str, x: str, y: str) -> tuple[Any, Any]:
    """An empty picture and its axes."""
    # No pyplot: it keeps figures, and looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Picture

    figure = Picture(figsize=(8, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=14, fontweight="bold", pad=24)
    axes.text(0, 1.03, about, transform=axes.transAxes, fontsize=8, color="#555555")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _draw_bars(axes: Any, figures: Mapping[str, tuple[Any, ...]]) -> None:
    """Bars with their intervals, in %, for as many numbers as there is anything for."""
    found = {name: Figure(*figure) for name, figure in figures.items()}
    shown = {name: figure for name, figure in found.items() if figure.value is not None}
    values = [100 * (figure.value or 0.0) for figure in shown.values()]
    axes.bar(list(shown), values, color=_COLOURS["wall"], width=0.75)
    for name, value, (_, low, high) in zip(shown, values, shown.values(), strict=True):
        # An interval of nothing is that of a single line, and says nothing.
        if low is not None and high is not None and high > low:
            span = [[max(0.0, value - 100 * low)], [max(0.0, 100 * high - value)]]
            axes.errorbar(name, value, yerr=span, ecolor="#333333", capsize=3, linewidth=1)
    axes.margins(x=0.02)


def _draw_times(axes: Any, counts: Counts, figures: Mapping[str, tuple[Any, ...]]) -> None:
    """A histogram for each clock, over the logarithm of the time."""
    times = {clock: np.maximum(counts.times_ms[clock], 1e-3) for clock in CLOCKS}
    every = np.concatenate(list(times.values()))
    if not len(every):
        return
    bins = np.geomspace(every.min(), max(every.max(), every.min() * 1.1), 80)
    for clock, ms in times.items():
        ends = ", ".join(f"{q} {figures[f'{clock}_{q}_ms'][0]:.2f}" for q in ("p50", "p95", "p99"))
        axes.hist(
            ms, bins, histtype="stepfilled" if clock == "wall" else "step", linewidth=1.6,
            color=_COLOURS[clock], alpha=0.5 if clock == "wall" else 1,
            label=f"{_WORDS[clock]}: {ends} ms",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_ylim(top=1.2 * axes.get_ylim()[1])  # room for the legend
    axes.xaxis.set_major_formatter(lambda ms, _: f"{ms:g}")
    axes.legend(frameon=False, fontsize=9)
