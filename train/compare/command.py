"""The verb: ``python -m train compare``, or ``make compare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from kbengine.folders import make_folder
from kbengine.packaged import DEFAULT_BUNDLE
from train.compare import plot
from train.compare.engines import KINDS
from train.compare.runner import Plan, measure
from train.files import write_json
from train.pieces import DEFAULT_TEXT, read_pieces
from train.progress import Progress
from train.trained import SOURCE, read_trained

HELP = "step one model in TensorFlow, Keras and TFLite: time, memory, start, size"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add, plan = parser.add_argument, Plan()
    add("--bundle", type=Path, default=DEFAULT_BUNDLE, metavar="SOURCE",
        help=f"{SOURCE} (default: the shipped bundle)")  # fmt: skip
    add("--text", type=Path, nargs="+", default=[DEFAULT_TEXT], metavar="FILE",
        help="what is read, again and again (default: data/chat_dev.txt)")  # fmt: skip
    add("--steps", type=int, default=plan.steps, help="default: %(default)s")
    add("--runs", type=int, default=plan.runs, help="default: %(default)s")
    add("--threads", type=int, default=plan.threads,
        help="of each but int8, which has one always (default: %(default)s)")  # fmt: skip
    add("--kinds", default=",".join(KINDS), metavar="KIND,...",
        help="which are measured (default: %(default)s)")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="leave all figures")
    add("--out", type=Path, metavar="FILE.png", help="leave a picture")


def plan_of(args: argparse.Namespace) -> Plan:
    """Raises ValueError for what cannot be measured."""
    kinds = args.kinds.split(",")
    if strange := [kind for kind in kinds if kind not in KINDS]:
        raise ValueError(f"no kind is called {strange[0]!r}; there are {', '.join(KINDS)}")
    for name, least in (("steps", 2), ("runs", 1), ("threads", 1)):
        if getattr(args, name) < least:
            raise ValueError(f"--{name} {getattr(args, name)} is too few; give {least} or more")
    return Plan(args.steps, args.runs, args.threads, kinds)


def run(args: argparse.Namespace) -> None:
    """Measure, print, and leave files. Raises ValueError, OSError or KbengineError."""
    from train.compare import figures, report

    plan = plan_of(args)
    if args.out:
        plot.need()  # before the minutes of measuring, not after
    for option, path in (("--out", args.out), ("--json", args.json)):
        if path:
            make_folder(path.absolute().parent, option)
    trained = read_trained(args.bundle)
    pieces = read_pieces(args.text, trained.vocabulary, plan.steps + 1)
    total = plan.runs * sum(map(plan.steps_of, plan.kinds))
    with Progress("comparing", total, "step") as bar:
        measured = measure(trained, pieces, plan, bar.step)
    text = ", ".join(path.name for path in args.text)
    found = figures.figures(measured, plan, trained.name, text)
    report.show(found)
    if args.json:
        write_json(args.json, found)
    if args.out:
        plot.draw(args.out, found)
