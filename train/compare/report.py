"""The figures as a table, and the verdicts as lines."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

COLUMNS = (
    ("total s", "total_ms", 1e3, "{:,.1f}"), ("p50 ms", "p50_ms", 1, "{:.3f}"),
    ("p99 ms", "p99_ms", 1, "{:.3f}"), ("start s", "start_ms", 1e3, "{:.2f}"),
    ("load MB", "added_mb", 1, "{:,.0f}"), ("used MB", "steady_mb", 1, "{:,.0f}"),
    ("peak MB", "peak_mb", 1, "{:,.0f}"), ("disk MB", "library_mb", 1, "{:,.0f}"),
)  # fmt: skip

WIDTH = 108


def cells(row: dict[str, Any]) -> list[str]:
    """The figures of a row, as they are shown; `-` for what the system does not tell."""
    values = (row[name] for _, name, _, _ in COLUMNS)
    return [
        "-" if value is None else form.format(value / unit)
        for value, (_, _, unit, form) in zip(values, COLUMNS, strict=True)
    ]


def told(verdict: dict[str, Any]) -> str:
    """A verdict as a line."""
    bound = "at least" if verdict["at_least"] else "at most"
    span = f"{number(verdict, 'least')} to {number(verdict, 'most')}"
    word = "reached" if verdict["reached"] else "missed"
    return (
        f"{word:7}  {number(verdict, 'value')} {verdict['target']} "
        f"({bound} {number(verdict, 'limit')}; runs {span})"
    )


def number(verdict: dict[str, Any], name: str) -> str:
    """One of its ratios: shares of the whole as 1/n, of the bandwidth in per cent."""
    value = verdict[name]
    if not verdict["at_least"]:
        return f"1/{1 / value:.1f}" if value else "0"
    return f"{value:.1f}" if verdict["limit"] > 1 else f"{value:.0%}"


def show(found: dict[str, Any]) -> None:
    """Print all of it."""
    console = Console(highlight=False, soft_wrap=True)
    plan, machine = found["plan"], found["machine"]
    console.print(
        Text(
            f"{found['model']} over {found['text']}: {plan['steps']:,} steps, medians of "
            f"{plan['runs']} runs, {plan['threads']} thread(s) each; {machine['processor']}"
        )
    )
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("engine", no_wrap=True)
    table.add_column("steps", justify="right", no_wrap=True)
    for header, *_ in COLUMNS:
        table.add_column(header, justify="right", no_wrap=True)
    for row in found["rows"]:
        table.add_row(Text(row["label"]), f"{row['steps']:,}", *cells(row))
    # As wide as it needs to be: 80 columns, which a pipe is taken to have, would cut the figures.
    Console(highlight=False, width=max(console.width, WIDTH)).print(table)
    console.print(
        "load: what reading, building and the first step add; used: resident after all steps; "
        "disk: the library's own files"
    )
    for row in found["rows"]:
        if row["note"]:
            console.print(Text(f"{row['label']}: {row['note']}"))
        if "weight_bytes" in row:
            console.print(
                f"a bare step reads {row['weight_bytes'] / 1e6:.2f} MB at "
                f"{row['step_gb_s']:.0f} GB/s, a plain read of as many {row['read_gb_s']:.0f}"
            )
    console.print(Text(f"\npredictions beside those of {plan['reference']}:"))
    for row in found["rows"]:
        if near := row["agreement"]:
            console.print(
                Text(
                    f"  {row['label']:22} best piece {near['top1']:.1%}, deviation "
                    f"{near['deviation']:.5f} nats, {near['steps']} steps"
                )
            )
    console.print()
    for verdict in found["verdicts"]:
        console.print(Text(told(verdict), style="green" if verdict["reached"] else "yellow"))
