"""The verb ``kbengine eval``."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Callable, Sequence, Sized
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args

from kbengine.autocorrect import Margin
from kbengine.emojistyle import PLAIN, EmojiStyle
from kbengine.evaluate.measures import MOST_LETTERS, described

if TYPE_CHECKING:  # heavy, and the command line must be quick to read
    from rich.console import Console

    from kbengine.engine import Engine
    from kbengine.evaluate.evaluation import Evaluation
    from kbengine.evaluate.lines import TextFile


class Listed(Protocol):
    """What is gone through one by one."""

    @property
    def name(self) -> str:
        """As the bar calls it."""

    @property
    def lines(self) -> Sized:
        """All that is gone through."""


Found = TypeVar("Found")
File = TypeVar("File", bound=Listed)
HELP = "measure the suggestions on text: recall, keystrokes saved, perplexity, latency"
ABOUT = """\
Types every line of text files with the engine, as an ideal user would, and says how good the
suggestions were. A word is a token between spaces, stripped of all but letters at both ends, if
only letters and inner apostrophes remain; the other tokens are typed letter by letter.

`kbengine eval compare a.json b.json` gives the second result less the first, on the same lines.
(A file named compare is ./compare.)
"""
INTERVAL = """\
The interval (±, and [value, low, high] in JSON) is that of 95 % of 1,000 resamplings of lines;
a single line has none.
"""
COMPARE = """\
The second result less the first, paired line by line. A star marks what is better or worse beyond
chance: the 95 % interval leaves out 0. Times get none, for the machine's pace differs between runs.
"""


def style(spec: str) -> EmojiStyle:
    """An option's emoji style; raises ArgumentTypeError with the sentence that names the mend."""
    try:
        return EmojiStyle.parse(spec)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def definitions() -> str:
    """Every measure with its definition, as `--help` shows them."""
    found = ["measures, each with a 95 % interval:"]
    for measure in described():
        found.append(f"  {measure.name}")
        found.append(textwrap.indent(textwrap.fill(measure.definition, 92), "      "))
    return "\n".join([*found, "", INTERVAL])


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = ABOUT, definitions()
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="UTF-8 text, a message a line")
    add("-k", type=int, default=3, help="candidates the user looks at (default: %(default)s)")
    add("--slots", default="words",
        help="which kinds are asked for (default: %(default)s)")  # fmt: skip
    add("--limit", type=int, metavar="N", help="the first N lines of each file")
    add("--sample-seed", type=int, metavar="S", help="a fixed random --limit lines instead")
    add("--earlier", type=int, default=0, metavar="N",
        help="up to N lines before each are its conversation so far")  # fmt: skip
    add("--letters", type=int, default=MOST_LETTERS, metavar="N", dest="most_letters",
        help="completion after 1 to N letters (default: %(default)s)")  # fmt: skip
    add("--json", action="store_true", help="print the whole result as JSON, no tables")
    add("--out", type=Path, metavar="JSON", help="write the same to a file")
    add("--words", type=Path, metavar="TSV", help="write log P (natural) of every word to a file")
    add("--plot", type=Path, metavar="DIR", help="leave pictures (PNG) in a folder")
    add = parser.add_mutually_exclusive_group().add_argument
    add("--calibration", type=Path, nargs="?", const=Path("calibration.png"), metavar="PNG",
        help="instead: how often candidates are right, by what their probability says; the "
        "picture goes to PNG (default: calibration.png)")  # fmt: skip
    add("--emoji", action="store_true",
        help="instead: whether emoji are foreseen, and which, by kind")  # fmt: skip
    add("--typos", type=Path, nargs="?", const=Path("typos.png"), metavar="PNG",
        help="instead: whether slips of the finger are mended, by kind; the picture goes to PNG "
        "(default: typos.png)")  # fmt: skip
    add = parser.add_argument
    add("--sigma", type=float, default=0.3, metavar="KW",
        help="with --typos: how far fingers fall from a key's centre (standard deviation in each "
        "direction, key widths; default: %(default)s)")  # fmt: skip
    add("--noise-seed", type=int, default=0, metavar="S",
        help="with --typos: other slips (default: %(default)s)")  # fmt: skip
    add("--margin", choices=get_args(Margin), default="normal",
        help="with --typos: how sure a correction must be (default: %(default)s)")  # fmt: skip
    add("--misspellings", type=Path, metavar="TSV",
        help="with --typos: wrong words, tab, right words, each typed by itself")  # fmt: skip
    add("--rows", choices=("odd", "even", "all"), default="odd",
        help="with --misspellings: of the rows, counted from 0; channels are trained on the even "
        "ones (default: %(default)s)")  # fmt: skip
    add("--emoji-style", type=style, default=PLAIN, metavar="STYLE",
        help="with --emoji: diversity=0.5")  # fmt: skip
    add("--quiet", action="store_true", help="no progress bar")


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``kbengine eval compare``."""
    parser.description = COMPARE
    parser.add_argument("first", type=Path, metavar="a.json", help="a result of eval --out")
    parser.add_argument("second", type=Path, metavar="b.json", help="another on the same lines")
    parser.add_argument("--json", action="store_true", help="print the differences as JSON")


def run_compare(args: argparse.Namespace) -> int:
    """Run ``kbengine eval compare``; returns the exit status. Raises ValueError or OSError."""
    from kbengine.evaluate import table
    from kbengine.evaluate.compare import common_measures, compare
    from kbengine.evaluate.result import read_result

    a, b = read_result(args.first), read_result(args.second)
    found = compare(a, b)
    settings = {
        name: (value, getattr(b.settings, name))
        for name, value in vars(a.settings).items()
        if value != getattr(b.settings, name)
    }
    if args.json:
        _print_json(
            {
                "bundles": [a.bundle, b.bundle],
                "settings_that_differ": settings,
                "differences": [one._asdict() for one in found],
            }
        )
        return 0
    console = _console()
    console.print(f"{args.second} ({b.bundle}) less {args.first} ({a.bundle})", markup=False)
    for name, (one, two) in settings.items():
        console.print(f"{name}: {one} in the first, {two} in the second", markup=False)
    for shown in table.comparison(found, common_measures(a, b), a.settings.slots, b.settings.slots):
        console.print(shown)
    console.print("* the 95 % interval leaves out 0 (not shown for times)")
    return 0


def run(args: argparse.Namespace) -> int:
    """Run ``kbengine eval``; returns the exit status. Raises ValueError, OSError or
    KbengineError."""
    from kbengine.evaluate import plots, table
    from kbengine.evaluate.counts import pooled
    from kbengine.evaluate.evaluation import Settings, evaluate
    from kbengine.evaluate.lines import read_text
    from kbengine.evaluate.measures import measures
    from kbengine.evaluate.result import document
    from kbengine.files import check_target
    from kbengine.folders import make_folder
    from kbengine.loading import load
    from kbengine.packaged import DEFAULT_BUNDLE
    from kbengine.quiet import quiet_stderr

    settings = Settings(
        args.k, args.slots, args.limit, args.sample_seed, args.earlier, args.most_letters
    )
    files = [
        read_text(Path(name), args.limit, args.sample_seed, args.earlier) for name in args.files
    ]
    # Whatever would fail at the end of a long run fails here.
    picture = args.calibration or args.typos
    for path in (args.out, args.words, picture):
        if path:
            check_target(path, *map(Path, args.files))
    if picture and picture.suffix != ".png":
        raise ValueError(f"{picture} is no .png; give such a name for the picture")
    if args.misspellings and not args.typos:
        raise ValueError("--misspellings goes with --typos; give both")
    if args.plot or picture:
        plots.check_plots()
    if args.plot:
        make_folder(args.plot, "--plot")
    with quiet_stderr():
        engine = load(args.bundle)
    if args.calibration:
        return _calibration(engine, files, args)
    if args.emoji:
        return _emoji(engine, files, args)
    if args.typos:
        return _typos(engine, files, args)
    found = _with_progress(
        files, args.quiet, lambda file, done: evaluate(engine, file, settings, done)
    )
    result = document(engine, args.bundle or DEFAULT_BUNDLE, settings, found)
    if args.words:
        _write_words(args.words, found)
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        plots.draw(args.plot, result, pooled([one.counts for one in found]))
    if args.json:
        _print_json(result)
    else:
        console = _console()
        for shown in table.evaluation(result, measures(settings.most_letters)):
            console.print(shown)
    return 0


def _with_progress(
    files: Sequence[File], quiet: bool, each: Callable[[File, Callable[[], object]], Found]
) -> list[Found]:
    """What is found in each file, with a bar on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Left())
    console = Console(stderr=True)
    off = quiet or not sys.stderr.isatty()
    with Progress(*columns, console=console, disable=off, transient=True) as bar:
        tasks = [bar.add_task(file.name, total=len(file.lines)) for file in files]
        return [
            each(file, lambda task=task: bar.advance(task))  # type: ignore[misc]
            for file, task in zip(files, tasks, strict=True)
        ]


def _calibration(engine: Engine, files: Sequence[TextFile], args: argparse.Namespace) -> int:
    """Run ``kbengine eval --calibration``."""
    from kbengine.evaluate import table
    from kbengine.evaluate.calibration import KINDS, calibration, collect, draw

    every = _with_progress(files, args.quiet, lambda file, done: collect(engine, file, done))
    pooled = [
        calibration(kind, [one for found in every for one in found.get(kind, [])]) for kind in KINDS
    ]
    found = [one for one in pooled if one is not None]
    draw(args.calibration, found, f"{engine.bundle.name}, {', '.join(f.name for f in files)}"[:90])
    if args.out:
        args.out.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    if args.json:
        _print_json({one.kind: asdict(one) for one in found})
    else:
        console = _console()
        console.print(table.calibrations(found))
        console.print(f"The picture stands in {args.calibration}.", markup=False)
    return 0


def _emoji(engine: Engine, files: Sequence[TextFile], args: argparse.Namespace) -> int:
    """Run ``kbengine eval --emoji``."""
    from kbengine.evaluate import table
    from kbengine.evaluate.emojis import foresee

    every = _with_progress(
        files, args.quiet, lambda file, done: foresee(engine, file, args.emoji_style, done)
    )
    found = {file.name: figures for file, figures in zip(files, every, strict=True)}
    facts = {name: {**asdict(one), "by_kind": one.by_kind} for name, one in found.items()}
    if args.out:
        args.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if args.json:
        _print_json(facts)
    else:
        console = _console()
        for shown in table.emojis(found):
            console.print(shown)
    return 0


def _typos(engine: Engine, files: Sequence[TextFile], args: argparse.Namespace) -> int:
    """Run ``kbengine eval --typos``."""
    from kbengine.evaluate import typoplot
    from kbengine.evaluate.noise import Noise
    from kbengine.evaluate.typos import channel_of, collect, figures, read_misspellings, spell

    noise = Noise(channel_of(engine).layout, args.sigma, args.noise_seed)
    lists = [read_misspellings(args.misspellings, args.rows)] if args.misspellings else []
    every = _with_progress(
        files, args.quiet, lambda file, done: collect(engine, file, noise, args.margin, done)
    )
    found = figures([line for lines in every for line in lines])
    spelt = _with_progress(
        lists, args.quiet, lambda file, done: spell(engine, file, args.margin, done)
    )
    typoplot.draw(
        args.typos, found, f"{engine.bundle.name}, {', '.join(f.name for f in files)}"[:90]
    )
    facts = asdict(found) | {
        "misspellings": {one.name: asdict(its) for one, its in zip(lists, spelt, strict=True)}
    }
    if args.out:
        args.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if args.json:
        _print_json(facts)
        return 0
    console = _console()
    for shown in typoplot.tables(found):
        console.print(shown)
    for one, its in zip(lists, spelt, strict=True):
        console.print(typoplot.spelling(one.name, its))
    console.print(f"The picture stands in {args.typos}.", markup=False)
    return 0


def _write_words(path: Path, found: Sequence[Evaluation]) -> None:
    """A row for each word. start: characters before it in the cleaned line."""
    with path.open("w", encoding="utf-8") as out:
        out.write("file\tline\tstart\tword\tlogp\n")
        for one in found:
            for line, scored in zip(one.file.lines, one.logps, strict=True):
                for (start, _, text), logp, _ in scored.words:
                    out.write(f"{one.file.name}\t{line.number}\t{start}\t{text}\t{logp:.6f}\n")


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, indent=1))  # ASCII, whatever the terminal can show


def _console() -> Console:
    from rich.console import Console

    from kbengine.evaluate.table import WIDTH

    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)  # or figures would be cut off
    return console
