"""The verbs of ``kbengine models``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "look after models: restore a shipped one"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs and their options."""
    verbs = parser.add_subparsers(dest="models_verb", required=True, metavar="VERB")
    told = "restore a shipped model to the bundle that runs, from its own bytes"
    restore = verbs.add_parser("restore", help=told, description=told)
    restore.add_argument("shipped", type=Path, metavar="SHIPPED", help="a shipped file")
    restore.add_argument(
        "--out", type=Path, metavar="FILE.bundle",
        help="where to (default: the user's cache folder, where loading looks for it)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Do what a verb says; returns the exit status. Raises KbengineError, OSError or ValueError."""
    return _restore(args)


def _restore(args: argparse.Namespace) -> int:
    import sys
    import time

    from rich.console import Console
    from rich.table import Table

    from kbengine.restored import restore
    from kbengine.shipping import look

    start = time.perf_counter()
    place, bundle = restore(args.shipped, args.out)
    took_s = time.perf_counter() - start
    shipped = look(args.shipped)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    table = Table(box=None, pad_edge=False)
    table.add_column("part")
    for column in ("shipped", "restored"):
        table.add_column(column, justify="right")
    table.add_column("sha256")
    for name, data in bundle.parts.items():
        told = bundle.manifest["parts"][name]["sha256"]
        table.add_row(name, f"{shipped.coded_bytes[name]:,}", f"{len(data):,}", f"{told[:16]} ok")
    Console(highlight=False).print(table)
    print(
        f"{place}: {bundle.name}, {bundle.file_bytes:,} bytes of {shipped.file_bytes:,} shipped "
        f"in {took_s:.2f} s; the sha256 of every part is right"
    )
    return 0
