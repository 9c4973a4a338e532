"""Tables for a terminal."""

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
    """Print a table; columns whose names begin with ``#`` hold numbers."""
    table = Table(title=title or None, title_justify="left", title_style="bold", box=None,
                  pad_edge=False)  # fmt: skip
    for column in columns:
        number = column.startswith("#")
        table.add_column(
            column.removeprefix("#"), justify="right" if number else "left", no_wrap=number,
            overflow="fold",
        )  # fmt: skip
    for row in rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
    where.print(Padding(table, (1, 0, 1, 2)))


def say(where: Console, line: str, indent: int = 0) -> None:
    """Print a sentence in one piece, however wide the terminal is."""
    where.print(Text(" " * indent + _printable(line)), soft_wrap=True)


def _printable(value: object) -> str:
    """Names come from files: no escape sequence of theirs may reach the terminal."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
