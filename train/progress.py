"""A progress bar on stderr: what is under way, how fast, how long still."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress:
    """A bar for people; in a log file a plain line every half minute.

    >>> with Progress("fitting", 100, "piece") as bar:
    ...     bar.step(50, "loss 4.20")
    """

    LOG_EVERY_S = 30.0

    def __init__(self, label: str, total: float, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = 0.0
        self._first = 0.0
        self._began = self._said = time.monotonic()
        console = Console(stderr=True)
        self._bar: RichProgress | None = None
        if console.is_terminal:
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:3.0f} %  {task.fields[note]}"),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._bar.add_task(label, total=total, note="")

    def start_at(self, done: float) -> None:
        """Begin with some of the work done by an earlier run."""
        self._done = self._first = done

    @property
    def rate(self) -> float:
        """Units a second in this run."""
        return (self._done - self._first) / max(1e-9, time.monotonic() - self._began)

    def step(self, amount: float, note: str = "") -> None:
        self._done += amount
        note = f"{self.rate:,.0f} {self._unit}s/s  {note}"
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, note=note)
        elif time.monotonic() - self._said > self.LOG_EVERY_S:
            self._said = time.monotonic()
            left_s = (self._total - self._done) / max(1e-9, self.rate)
            share = 100 * self._done / self._total
            print(f"{self._label} {share:.1f} %  {note}  {left_s:,.0f} s left", file=sys.stderr)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
