"""The figures as a table, and the verdicts as lines."""

from __future__ import annotations

from typing import Any

from train import tables

COLUMNS = (
    ("total s", "total_ms", 1e3, "{:,.1f}"), ("p50 ms", "p50_ms", 1, "{:.3f}"),
    ("p99 ms", "p99_ms", 1, "{:.3f}"), ("start s", "start_ms", 1e3, "{:.2f}"),
    ("load MB", "added_mb", 1, "{:,.0f}"), ("used MB", "steady_mb", 1, "{:,.0f}"),
    ("peak MB", "peak_mb", 1, "{:,.0f}"), ("disk MB", "library_mb", 1, "{:,.0f}"),
)  # fmt: skip


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
    screen = tables.console()
    plan, machine = found["plan"], found["machine"]
    tables.say(
        screen,
        f"{found['model']} over {found['text']}: {plan['steps']:,} steps, medians of "
        f"{plan['runs']} runs, {plan['threads']} thread(s) each; {machine['processor']}",
    )
    columns = ("engine", "#steps", *(f"#{header}" for header, *_ in COLUMNS))
    rows = [(row["label"], f"{row['steps']:,}", *cells(row)) for row in found["rows"]]
    tables.show(screen, "", columns, rows)
    tables.say(
        screen,
        "load: what reading, building and the first step add; used: resident after all steps; "
        "disk: the library's own files",
    )
    for row in found["rows"]:
        if row["note"]:
            tables.say(screen, f"{row['label']}: {row['note']}")
        if "weight_bytes" in row:
            tables.say(
                screen,
                f"a bare step reads {row['weight_bytes'] / 1e6:.2f} MB at "
                f"{row['step_gb_s']:.0f} GB/s, a plain read of as many {row['read_gb_s']:.0f}",
            )
    tables.say(screen, "")
    tables.say(screen, f"predictions beside those of {plan['reference']}:")
    for row in found["rows"]:
        if near := row["agreement"]:
            tables.say(
                screen,
                f"{row['label']:22} best piece {near['top1']:.1%}, deviation "
                f"{near['deviation']:.5f} nats, {near['steps']} steps",
                indent=2,
            )
    tables.say(screen, "")
    for verdict in found["verdicts"]:
        style = "green" if verdict["reached"] else "yellow"
        tables.say(screen, told(verdict), style=style)
