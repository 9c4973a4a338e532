"""A bar on stderr while the bench runs; nothing where stderr is no terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[], None]]:
    """What is to be called `total` times, a step each.

    The bar is drawn when it moves and not by a thread of its own, which would take turns with
    what is measured.
    """
    console = Console(stderr=True)
    with Progress(
        console=console, auto_refresh=False, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("measuring", total=total)
        yield lambda: bar.update(task, advance=1, refresh=True)
