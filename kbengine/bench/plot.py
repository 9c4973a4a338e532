"""Pictures of the bench: how cost grows, and how times are spread. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kbengine.bench.clock import NS_PER_MS, Samples
from kbengine.bench.growth import Curve
from kbengine.bench.suite import Measured

DPI = 110


def pyplot() -> Any:
    """matplotlib's pyplot, drawing to files.

    Raises ValueError where it is missing.
    """
    try:
        import matplotlib
    except ImportError:
        raise ValueError("a plot needs matplotlib; install kbengine[eval]") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def plot(measured: Measured, folder: Path) -> list[Path]:
    """Write growth.png and distributions.png into a folder; returns their paths."""
    plt = pyplot()
    paths = [folder / "growth.png", folder / "distributions.png"]
    _plot_growth(plt, measured.growth, paths[0])
    _plot_distributions(plt, {"typing": measured.typing, "steps": measured.steps}, paths[1])
    return paths


def _plot_growth(plt: Any, curves: Sequence[Curve], path: Path) -> None:
    """A panel for each x, a line for each cost: the median, its band from p5 to p95."""
    sizes = list(dict.fromkeys(curve.against for curve in curves))
    figure, panels = plt.subplots(2, -(-len(sizes) // 2), figsize=(11, 8), squeeze=False)
    for panel, against in zip(panels.flat, sizes, strict=False):
        for curve in (c for c in curves if c.against == against):
            xs = list(curve.samples)
            low, middle, high = np.transpose(
                [np.percentile(s.cpu_ns, (5, 50, 95)) / NS_PER_MS for s in curve.samples.values()]
            )
            panel.plot(xs, middle, marker="o", label=f"{curve.what} (x10: x{curve.factor:.2f})")
            panel.fill_between(xs, low, high, alpha=0.15)
        panel.set(xscale="log", yscale="log", xlabel=against, ylabel="CPU ms")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
        _plain_numbers(panel.yaxis)
    figure.suptitle("What ten times as much costs: medians, bands from p5 to p95")
    figure.tight_layout()
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def _plot_distributions(plt: Any, groups: Mapping[str, Mapping[str, Samples]], path: Path) -> None:
    """For each group the share of times below each time."""
    figure, panels = plt.subplots(1, len(groups), figsize=(11, 4.5), squeeze=False)
    for panel, (group, named) in zip(panels.flat, groups.items(), strict=True):
        for name, samples in named.items():
            times = np.sort(samples.wall_ns) / NS_PER_MS
            panel.plot(times, np.arange(1, len(times) + 1) / len(times), label=name, lw=1)
        panel.set(xscale="log", xlabel="wall ms", ylabel="share of times below", title=group)
        # The few calls that were interrupted would leave no room for the others.
        panel.set_xlim(right=max(np.percentile(s.wall_ns, 99) for s in named.values()) / NS_PER_MS)
        _plain_numbers(panel.xaxis)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def _plain_numbers(axis: Any) -> None:
    """1, 2 and 5 times the powers of ten on a logarithmic axis, written as one says them."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
