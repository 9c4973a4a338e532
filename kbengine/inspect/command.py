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
    parser.add_argument(
        "--time", action="store_true", help="time a step of every signature, at batch 1"
    )
    parser.add_argument(
        "--html", type=Path, metavar="OUT", help="leave one page with all of it there, and pictures"
    )


def run(args: argparse.Namespace) -> int:
    """Show the file; returns the exit status.

    Raises KbengineError or ValueError where the file cannot be read, OSError where the page
    cannot be written. A broken contract is no failure of this verb.
    """
    import json
    import sys

    from rich.console import Console

    from kbengine.files import check_target
    from kbengine.inspect.page import write_page
    from kbengine.inspect.report import WIDTH, report
    from kbengine.inspect.tables import clean
    from kbengine.inspect.view import view

    if args.time and args.no_probe:
        raise ValueError("--time needs the runtime, which --no-probe leaves out; leave out one")
    if args.html:
        check_target(args.html, args.file)
    found = view(args.file, probe=not args.no_probe, timing=args.time)
    if args.html:
        write_page(args.html, found)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    width = None if sys.stdout.isatty() else WIDTH
    console = Console(width=width, highlight=False)
    report(found, console, everything=args.all)
    if args.html:
        console.print(clean(f"The page stands in {args.html}."), markup=False, soft_wrap=True)
    return 0
