"""The figures as a picture: bars along logarithmic axes. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OURS, OTHERS = "#1f5a92", "#b8c4d0"
PANELS = (
    ("a step, ms", "p50_ms", "{:.3g}"), ("start, s", "start_ms", "{:.3g}"),
    ("memory used, MB", "steady_mb", "{:,.0f}"), ("library on disk, MB", "library_mb", "{:,.0f}"),
)  # fmt: skip


def need() -> None:
    """Raises ValueError where there is nothing to draw with."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError("--out needs matplotlib; install kbengine[eval]") from None


def draw(path: Path, found: dict[str, Any]) -> None:
    """Write the picture, a PNG."""
    # No pyplot: it keeps figures, and looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = found["rows"][::-1]  # the first on top
    figure = Figure(figsize=(13, 1.6 + 0.42 * len(rows)), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    plan = found["plan"]
    figure.suptitle(
        f"One model, stepped {plan['steps']:,} times: {found['model']}", x=0.01, ha="left",
        fontsize=14, fontweight="bold", parse_math=False,
    )  # fmt: skip
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (title, name, form) in zip(panels, PANELS, strict=True):
        values = [(row[name] or 0) / (1e3 if title.endswith(", s") else 1) for row in rows]
        colours = [OURS if row["kind"] in ("int8", "bare") else OTHERS for row in rows]
        axes.barh([row["label"] for row in rows], values, color=colours, height=0.7)
        for place, value in enumerate(values):
            if value:
                axes.annotate(
                    form.format(value), (value, place), (4, 0), textcoords="offset points",
                    va="center", fontsize=8,
                )  # fmt: skip
        some = [value for value in values if value] or [1.0]
        axes.set(xscale="log", xlim=(min(some) / 2, max(some) * 4))
        axes.set_title(title, loc="left", fontsize=10)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.tick_params(bottom=False, labelbottom=False, left=False, which="both")
    told = f"medians of {plan['runs']} runs, {plan['threads']} thread(s); logarithmic"
    figure.supxlabel(told, fontsize=8, color="#555555")
    figure.savefig(path, format="png")
