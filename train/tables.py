"""Tables for a terminal, and for a page.

The name of a column of numbers begins with ``#``, which is not shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDTH = 110  # where nobody looks on: of a pipe or a file


def console(stderr: bool = False) -> Console:
    """Where tables are printed."""
    found = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=False)
    if not found.is_terminal:
        found.width = WIDTH
    return found


def show(
    where: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Print a table."""
    table = Table(title=_printable(title) or None, title_justify="left", title_style="bold",
                  box=None, pad_edge=False)  # fmt: skip
    for column in columns:
        number = column.startswith("#")
        table.add_column(
            column.removeprefix("#"), justify="right" if number else "left", no_wrap=number,
            overflow="fold",
        )  # fmt: skip
    for row in rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
    where.print(Padding(table, (1, 0, 1, 2)))


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as Markdown."""
    header = [column.removeprefix("#") for column in columns]
    rule = ["---:" if column.startswith("#") else "---" for column in columns]
    cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *cells))


def say(where: Console, line: str, indent: int = 0, style: str = "") -> None:
    """Print a sentence in one piece, however wide the terminal is."""
    where.print(Text(" " * indent + _printable(line), style), soft_wrap=True)


def _printable(value: object) -> str:
    """Names come from files: no escape sequence of theirs may reach the terminal."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
