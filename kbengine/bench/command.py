"""The verb."""

from __future__ import annotations

import argparse
from pathlib import Path

from kbengine.mix import STRIP

HELP = "measure what a key press costs: time, memory, start-up, and how they grow"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    text = "what is typed, a message a line (default: 40 lines of chat)"
    parser.add_argument("--text", type=Path, metavar="FILE", help=text)
    slots = "which kinds are shown (default: %(default)s)"
    parser.add_argument("--slots", default=STRIP, help=slots)
    parser.add_argument("-n", type=int, help="how many (default: as many as there are slots, or 3)")
    parser.add_argument("--quick", action="store_true", help="some ten seconds, for a rough look")
    parser.add_argument("--json", action="store_true", help="all figures as one JSON object")
    plot = "leave growth.png and distributions.png there (needs matplotlib)"
    parser.add_argument("--plot", type=Path, metavar="DIR", help=plot)


def run(args: argparse.Namespace) -> int:
    """Run the verb; returns the exit status.

    Raises ValueError, OSError or KbengineError for what cannot be measured.
    """
    import json

    from kbengine.bench import report
    from kbengine.bench.lines import LINES
    from kbengine.bench.progress import progress
    from kbengine.bench.suite import QUICK, Plan, measure
    from kbengine.evaluate.lines import read_text
    from kbengine.folders import make_folder
    from kbengine.loading import load
    from kbengine.mix import Slots
    from kbengine.packaged import DEFAULT_BUNDLE
    from kbengine.predict import PLACES
    from kbengine.quiet import quiet_stderr

    if args.plot is not None:
        from kbengine.bench import plot

        plot.pyplot()  # before the minutes of measuring, not after
        make_folder(args.plot, "--plot")
    lines = LINES if args.text is None else [line.text for line in read_text(args.text).lines]
    n = args.n if args.n is not None else Slots.parse(args.slots).total or PLACES
    plan, bundle = QUICK if args.quick else Plan(), args.bundle or DEFAULT_BUNDLE
    with quiet_stderr():
        engine = load(bundle)
    with progress(plan.ticks(len(lines))) as tick:
        measured = measure(engine, bundle, lines, plan, args.slots, n, tick)
    if args.json:
        print(json.dumps(measured.figures, ensure_ascii=False, indent=1))
    else:
        report.show(measured.figures)
    if args.plot is not None:
        plot.plot(measured, args.plot)
    return 0
