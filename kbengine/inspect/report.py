"""A view of a file as tables for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from kbengine.inspect.tables import (
    Extent,
    Table,
    bundle_tables,
    byte_tables,
    clean,
    overview_tables,
    tensors,
    verdicts,
)
from kbengine.inspect.view import View

WIDTH = 100
MOST_ROWS = 20
_NAME_SIGNS = 40


def report(view: View, console: Console, everything: bool = False) -> None:
    """Print a view; `everything` shows all rows and all tensors."""
    extent = Extent(None if everything else MOST_ROWS, _NAME_SIGNS, "see --all")
    head = f"{view['file']}: {view['kind']}, {view['bytes']:,} bytes"
    for line in (head, *(sentence for _, sentence in verdicts(view))):
        console.print(_line(line), soft_wrap=True)  # a path and a sentence stay in one piece
    if view["bundle"]:
        for table in bundle_tables(view["bundle"]):
            _show(table, console)
    model = view["model"]
    if not model:
        return
    for table in (*overview_tables(view), *byte_tables(model, extent)):
        _show(table, console)
    if everything:
        for subgraph in model["subgraphs"]:
            _show(tensors(subgraph, _NAME_SIGNS), console)


def _line(text: str) -> Text:
    return Text(clean(text))


def _show(table: Table, console: Console) -> None:
    grid = Grid(title=table.title, title_justify="left", title_style="bold", box=None,
                pad_edge=False)  # fmt: skip
    for column in table.columns:
        number = column.startswith(("#", "%"))
        grid.add_column(
            column[1:] if number else column,
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold",
        )
    for row in table.rows:
        grid.add_row(*map(_line, row))
    console.print(Padding(grid, (1, 0, 0, 0)))
