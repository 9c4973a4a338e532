"""Pictures of points along logarithmic axes, side by side. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def figure(title: str, width: float, height: float, dpi: int = 150) -> Any:
    """A figure with a title; sizes in inches.

    Raises ValueError where there is nothing to draw with.
    """
    try:
        # No pyplot: it keeps figures, and looks for a display.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("--out needs matplotlib; install kbengine[eval]") from None
    found = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(found)
    found.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold", parse_math=False)
    return found


def along(axes: Any, xs: Sequence[float], label: str) -> None:
    """Make x logarithmic, with room on either side of what is there."""
    from matplotlib.ticker import LogLocator, NullFormatter

    xs = xs or [1.0]
    # A point alone has no span, and a doubling either way is what one compares.
    axes.set(xscale="log", xlim=(min(xs) / 2, max(xs) * 2), xlabel=label)
    axes.margins(y=0.15)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)


def save(path: Path, found: Any, told: str) -> None:
    """Write a figure as a PNG, with a line of small print below."""
    told = told if len(told) <= 150 else told[:149] + "…"
    found.supxlabel(told, fontsize=8, color="#555555", parse_math=False)
    found.savefig(path, format="png")
