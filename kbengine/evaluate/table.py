"""Figures as tables: a row for each file, the measures of one kind side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from kbengine.evaluate.compare import Difference, clear
from kbengine.evaluate.figures import Figure
from kbengine.evaluate.measures import PHRASES, Measure, Unit
from kbengine.evaluate.result import figures_of
from kbengine.mix import Slots

Rows = Sequence[tuple[str, Mapping[str, Figure]]]
WIDTH = 100  # of the widest table; more only where the terminal has it


def number(value: float, unit: Unit, size: float, sign: str = "") -> str:
    """A value as shown; `size`: the one whose size says how many digits there are."""
    if unit == "%":
        return f"{100 * value:{sign}.1f}"
    if unit == "bits":
        return f"{value:{sign}.3f}"
    digits = 0 if abs(size) >= 100 else 1 if abs(size) >= 10 else 2
    return f"{value:{sign}.{digits}f}"


def _cell(measure: Measure, figure: Figure) -> Text:
    """``39.0 ±0.9``"""
    if figure.value is None:
        return Text("-")
    text = Text(number(figure.value, measure.unit, figure.value))
    if figure.half is not None:
        text.append(f" ±{number(figure.half, measure.unit, figure.value)}", "dim")
    return text


def _difference(measure: Measure, figure: Figure) -> Text:
    """``+1.3 ±0.4*``, with the star where the interval leaves out 0; of times none, for the
    machine's pace differs between two runs, and resampling lines does not see that."""
    if figure.value is None:
        return Text("-")
    size = max(abs(figure.value), figure.half or 0.0)
    text = Text(number(figure.value, measure.unit, size, "+"))
    if figure.half is not None:
        text.append(f" ±{number(figure.half, measure.unit, size)}", "dim")
    return text.append("*" if clear(figure) and measure.clock is None else " ", "bold")


def _tables(
    rows: Rows, measures: Sequence[Measure], cell: Callable[[Measure, Figure], Text]
) -> Iterator[Table]:
    for title in dict.fromkeys(measure.table for measure in measures):
        shown = [measure for measure in measures if measure.table == title]
        table = _table(title)
        for measure in shown:
            table.add_column(measure.header, justify="right", no_wrap=True)
        for name, figures in rows:
            table.add_row(Text(name), *(cell(measure, figures[measure.name]) for measure in shown))
        yield table


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("file", no_wrap=True, overflow="ellipsis", max_width=19)
    return table


def evaluation(document: Mapping[str, Any], measures: Sequence[Measure]) -> Iterator[Table]:
    """The tables of a result, as `result.document` gives it."""
    parts = [(file["name"], file) for file in document["files"]]
    if len(parts) > 1:
        parts.append(("overall", document["overall"]))
    text = _table("Text")
    names = ("lines", "words", "chars", "calls")
    for header in names:
        text.add_column(header, justify="right")
    for name, part in parts:
        text.add_row(Text(name), *(f"{part['sums'][field]:,.0f}" for field in names))
    yield text
    shown = with_phrases(measures, document["settings"]["slots"])
    yield from _tables([(name, figures_of(part)) for name, part in parts], shown, _cell)


def comparison(
    found: Sequence[Difference], measures: Sequence[Measure], *slots: str
) -> Iterator[Table]:
    """The tables of a comparison of results with such slots."""
    rows = [(one.name, one.figures) for one in found]
    yield from _tables(rows, with_phrases(measures, *slots), _difference)


def with_phrases(measures: Sequence[Measure], *slots: str) -> list[Measure]:
    """The measures, those of phrases only where some slots have a place for one."""
    phrases = any(Slots.parse(one).wants("phrase") for one in slots)
    return [measure for measure in measures if phrases or measure.table != PHRASES]
