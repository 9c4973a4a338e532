"""Figures as tables: a row for each file, the measures of one kind side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from kbengine.evaluate.calibration import Calibration
from kbengine.evaluate.compare import Difference, clear
from kbengine.evaluate.emojis import EmojiFigures
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


def calibrations(found: Sequence[Calibration]) -> Table:
    """A row for each kind."""
    shown = Table(title="Candidates of 5 % or more", box=box.SIMPLE_HEAD, title_justify="left")
    shown.add_column("kind")
    for name in ("candidates", "said %", "right %", "calibration error", "Brier skill"):
        shown.add_column(name, justify="right")
    for one in found:
        said, right = (
            sum(b.size * value for b, value in zip(one.bins, values, strict=True)) / one.count
            for values in ([b.p for b in one.bins], [b.right for b in one.bins])
        )
        skill = "" if one.skill is None else f"{one.skill:.3f}"
        row = (f"{one.count:,}", f"{100 * said:.1f}", f"{100 * right:.1f}", f"{one.error:.4f}")
        shown.add_row(one.kind, *row, skill)
    return shown


def emojis(found: Mapping[str, EmojiFigures]) -> Iterator[Table]:
    """The figures of each file, then those of the commonest kinds in all."""
    shown = Table(title="Emoji", box=box.SIMPLE_HEAD, title_justify="left")
    shown.add_column("text")
    for name in ("places", "AUC", "AUC at ends", "sent", "top-1 %", "top-5 %", "by kind %"):
        shown.add_column(name, justify="right")
    kinds: dict[str, list[int]] = {}
    for name, one in found.items():
        figures = [one.auc, one.end_auc]
        ranks = [one.top1, one.top5]
        by_kind = "" if one.by_kind is None else " / ".join(f"{100 * x:.1f}" for x in one.by_kind)
        shown.add_row(
            name, f"{one.places:,}", *("" if x is None else f"{x:.3f}" for x in figures),
            f"{one.sent:,}", *("" if x is None else f"{100 * x:.1f}" for x in ranks), by_kind,
        )  # fmt: skip
        for kind, row in one.kinds.items():
            before = kinds.get(kind, [0, 0, 0])
            kinds[kind] = [a + b for a, b in zip(before, row, strict=True)]
    yield shown
    each = Table(title="By kind", box=box.SIMPLE_HEAD, title_justify="left")
    each.add_column("emoji")
    for name in ("sent", "top-1 %", "top-5 %"):
        each.add_column(name, justify="right")
    for kind, (sent, first, five) in sorted(kinds.items(), key=lambda item: -item[1][0])[:20]:
        each.add_row(kind, f"{sent:,}", f"{100 * first / sent:.1f}", f"{100 * five / sent:.1f}")
    yield each
