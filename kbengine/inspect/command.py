"""The verb ``kbengine inspect``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "show what a .tflite or a bundle holds, and whether the engine can run it"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a .tflite, or a .bundle")
    parser.add_argument("--json", action="store_true", help="print all that is known as JSON")
    parser.add_argument("--all", action="store_true", help="show all rows, and every tensor")
    parser.add_argument(
        "--no-probe",
        action="store_true",
        help="leave out the native runtime: what XNNPACK takes, and whether the model steps",
    )


def run(args: argparse.Namespace) -> int:
    """Show the file; returns the exit status.

    Raises KbengineError or ValueError where the file cannot be read. A broken contract is
    no failure of this verb.
    """
    import json
    import sys

    from rich.console import Console

    from kbengine.inspect.report import WIDTH, report
    from kbengine.inspect.view import view

    found = view(args.file, probe=not args.no_probe)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    width = None if sys.stdout.isatty() else WIDTH
    report(found, Console(width=width, highlight=False), everything=args.all)
    return 0
