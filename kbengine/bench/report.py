"""The figures as tables for a terminal, 100 columns wide at most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from kbengine.bench.growth import FLAT

WIDTH = 100
_PLACES = {
    "python_bytes": "bare Python",
    "after_load_bytes": "after load",
    "after_typing_bytes": "after typing",
    "peak_bytes": "peak",
}
_PARTS = {
    "language_model": "language model: runtime, softmax, n-grams, cache",
    "search": "search and candidates",
    "protocol": "a line of JSON in and out",
}
_STEPS = {
    "import_ms": "import kbengine",
    "load_ms": "load the bundle",
    "first_suggestion_ms": "first suggestion",
    "whole_ms": "all, with Python's own start",
}


def show(figures: Mapping[str, Any], console: Console | None = None) -> None:
    """Print all figures."""
    console = console or Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    bundle, machine, options = figures["bundle"], figures["machine"], figures["options"]
    console.print(
        f"[bold]{bundle['name']}[/] ({bundle['family']}, {bundle['file_bytes'] / 1e6:.1f} MB, "
        f"{bundle['words']:,} words) on {machine['processor']}, {machine['cores']} cores, "
        f"Python {machine['python']}, load {machine['load']}"
    )
    console.print(
        f"{options['n']} suggestions ({options['slots']}), {options['lines']} lines of text\n"
    )
    for table in (
        _steps(figures["steps"]), _typing(figures["typing"]), _shares(figures["shares"]),
        _process(figures),
    ):  # fmt: skip
        console.print(table)
    console.print(_growth(figures["growth"]))
    console.print(
        "[dim]Times are wall times unless CPU is said. Steps and growth: garbage collector off, "
        "calls to warm up\nnot counted, what is compared takes turns; typing: collector on.[/]"
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title,
        caption_justify="left",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    return table


def _ms(value: float) -> str:
    """Three digits that matter, as far as the clock has them."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _steps(rows: Iterable[Mapping[str, Any]]) -> Table:
    table = _table(
        "A step of the model, ms", "signature", "B", "p50", "p95", "p99", "CPU p50",
        "runtime p50", "weights MB", "GB/s", "of a read",
    )  # fmt: skip
    for row in rows:
        wall = (_ms(ms) for ms in row["wall_ms"].values())
        cells = [row["signature"], str(row["batch"]), *wall, _ms(row["cpu_ms"]["p50"])]
        if row["runtime"] is None:
            cells += ["-"] * 4
        else:
            cells += [
                _ms(row["runtime"]["wall_ms"]["p50"]),
                f"{row['weight_bytes'] / 1e6:.2f}",
                f"{row['step_gb_s']:.0f}",
                f"{100 * row['step_gb_s'] / row['read_gb_s']:.0f} %",
            ]
        table.add_row(*cells)
    reads = {r["signature"]: r["read_gb_s"] for r in rows if r["read_gb_s"]}
    if reads:
        table.caption = "A plain read of as many bytes: " + ", ".join(
            f"{name} {speed:.0f} GB/s" for name, speed in reads.items()
        )
    return table


def _typing(rows: Iterable[Mapping[str, Any]]) -> Table:
    table = _table(
        "Typing, ms", "with the suggestions after it", "times", "p50", "p95", "p99",
        "CPU p50", "CPU p95", "CPU p99",
    )  # fmt: skip
    for row in rows:
        cpu = (_ms(ms) for ms in row["cpu_ms"].values())
        wall = (_ms(ms) for ms in row["wall_ms"].values())
        table.add_row(row["what"], f"{row['count']:,}", *wall, *cpu)
    return table


def _shares(shares: Mapping[str, Any]) -> Table:
    table = _table("Where a key press goes: words through the server, mean CPU time", "", "ms", "")
    whole = sum(shares[f"{part}_ms"] for part in _PARTS)
    for part, name in _PARTS.items():
        ms = shares[f"{part}_ms"]
        table.add_row(name, _ms(ms), f"{ms / whole:.0%}")
    table.caption = f"{shares['calls']:.2f} calls of the model, {shares['rows']:.2f} rows"
    return table


def _process(figures: Mapping[str, Any]) -> Table:
    table = _table("A fresh process", "", "p50", "least", "most")
    for step, name in _STEPS.items():
        ms = figures["start"][step]
        table.add_row(f"{name}, ms", *(_ms(ms[key]) for key in ("p50", "min", "max")))
    for place, name in _PLACES.items():
        size = figures["memory"][place]
        table.add_row(f"memory, {name}, MB", "-" if size is None else f"{size / 1e6:.1f}")
    return table


def _growth(rows: Iterable[Mapping[str, Any]]) -> Table:
    table = _table(
        "Growth, CPU p50 in ms", "what", "against", "smallest", "largest", "x10 costs", ""
    )
    for row in rows:
        first, last = row["points"][0], row["points"][-1]
        verdict = row["verdict"]
        if row["must_be_flat"] and verdict != "flat":
            verdict = "[bold red]GROWS[/]"
        table.add_row(
            row["what"], row["against"],
            *(f"{p['x']:,}: {_ms(p['cpu_ms']['p50'])}" for p in (first, last)),
            f"x{row['factor_per_tenfold']:.2f}", verdict,
        )  # fmt: skip
    table.caption = (
        f"Flat: x10 costs x{FLAT} at most (slope of log cost on log size). GROWS: must be flat."
    )
    return table
