"""The verb ``python -m train convert``."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kbengine.files import check_target

if TYPE_CHECKING:
    from rich.console import Console

    from train.convert.conversion import Converted
    from train.convert.source import Source
    from train.convert.steps import Material
    from train.convert.trouble import Trouble

HELP = "convert any model to TFLite: finds its inputs, states and shapes, checks the result"
MODES = ("float32", "float16", "dynamic", "int8", "16x8", "int4")
ALL_MODES = "all"
FREE_BATCH = "free"


def source_arguments(parser: argparse.ArgumentParser) -> None:
    """SOURCE, and what one may say of it; for `convert` and `echo`."""
    add = parser.add_argument
    add("source", metavar="SOURCE",
        help="a .keras or .h5 file, a SavedModel folder, a .pb or .pbtxt, MODULE:FUNCTION, or a "
        "model of ours: a .bundle, a --work folder or its checkpoint")  # fmt: skip
    add("--checkpoint", type=Path, metavar="PREFIX",
        help="the .ckpt with the variables of a .pb (default: the one beside it)")  # fmt: skip
    add("--inputs", nargs="+", default=[], metavar="TENSOR",
        help="of a .pb (default: the placeholders that the outputs come from)")  # fmt: skip
    add("--outputs", nargs="+", default=[], metavar="NAME",
        help="default: all; of a .pb its ends, without the training")  # fmt: skip
    add("--input", nargs="+", default=[], dest="declared", metavar="NAME:TYPE[SHAPE]",
        help="what a function takes, in order: piece:int32[?] state:float32[?,64]")  # fmt: skip
    add("--import", nargs="+", default=[], dest="modules", metavar="MODULE",
        help="import these first: they register a Keras model's own layers")  # fmt: skip
    add("--step", action="store_true",
        help="take a Keras model that reads sequences as one step of itself")  # fmt: skip
    add("--signature", nargs="+", default=[], metavar="NAME",
        help="of a SavedModel or model of ours (default: all)")  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    source_arguments(parser)
    add = parser.add_argument
    add("--out", type=Path, metavar="FILE.tflite",
        help="default: the source's name, in this folder")  # fmt: skip
    add("--mode", choices=(*MODES, ALL_MODES), default="dynamic",
        help="of quantization; all: a file for each that works (default: %(default)s)")  # fmt: skip
    add("--batch", metavar="N",
        help="rows of a call, or `free` (default: free, or 1 where that fails)")  # fmt: skip
    add("--shape", nargs="+", default=[], metavar="NAME=1,16",
        help="of inputs; ? for free (default: as the source has them)")  # fmt: skip
    add("--state", nargs="+", metavar="IN=OUT",
        help="inputs that take back outputs (default: found by name and by running)")  # fmt: skip
    add("--no-states", action="store_true", help="nothing is fed back")
    add("--text", type=Path, metavar="FILE",
        help="real text to step over (default for a model of ours: data/chat_dev.txt)")  # fmt: skip
    add("--vocab", type=Path, metavar="FILE",
        help="the text's pieces: a SentencePiece model, or a .txt with a token a line")  # fmt: skip
    add("--data", type=Path, metavar="FILE.npz",
        help="arrays by input name with a row a step, for what is no text")  # fmt: skip
    add("--steps", type=int, default=200, help="that are compared (default: %(default)s)")
    add("--limit", type=float, default=0.5,
        help="the most that an output may differ, as a share of how much it varies "
        "(default: %(default)s)")  # fmt: skip


def read(args: argparse.Namespace) -> Source:
    """The source that the options tell of."""
    from kbengine.quiet import quiet_stderr

    with quiet_stderr():  # TensorFlow tells of its build when it is loaded
        from train.convert.readers import Wishes, read_source

    wishes = Wishes(
        args.checkpoint, args.inputs, args.outputs, args.declared, args.modules, args.step
    )  # fmt: skip
    return read_source(args.source, wishes).only(args.signature)


def run(args: argparse.Namespace) -> None:
    """Convert, show what was found, write what is true.

    Raises ValueError, OSError or KbengineError; nothing is written then.
    """
    _check(args)  # before TensorFlow is loaded
    from kbengine.errors import ModelError
    from kbengine.quiet import quiet_stderr

    with quiet_stderr():  # TensorFlow tells of its build when it is loaded
        from train.convert.conversion import ConversionError, lacks, make, read_shapes
        from train.convert.stepping import Plan
    from train.files import write_whole
    from train.tables import console, say, show

    screen, errors = console(), console(stderr=True)
    shapes = read_shapes(args.shape)
    source = read(args)
    material = _material(args, source)
    _told(source, screen)
    modes = MODES if args.mode == ALL_MODES else (args.mode,)
    out = args.out or Path(f"{_stem(args.source)}.tflite")
    states = [] if args.no_states else args.state
    summary, missing = [], []
    for mode in modes:
        batch = None if args.batch in (None, FREE_BATCH) else int(args.batch)
        plan = Plan(
            mode, batch, args.batch == FREE_BATCH, shapes, states, args.steps, limit=args.limit,
        )  # fmt: skip
        if len(modes) > 1 and (lack := lacks(mode, material)):
            missing.append(f"{mode}: {lack}")
            continue
        path = out if len(modes) == 1 else out.with_name(f"{out.stem}-{mode}{out.suffix}")
        try:
            with errors.status(f"converting, {mode}"):
                made = make(source, plan, material)
        except ModelError as error:
            if isinstance(error, ConversionError) and error.troubles:
                show_troubles(error.troubles, "In the way", errors)
            if len(modes) == 1:
                raise
            missing.append(f"{mode}: {error}")
            continue
        write_whole(path, made.content)
        _report(made, mode, path, screen)
        summary.append((mode, f"{len(made.content):,}", f"{_worst(made):.2%}", path.name))
    if len(modes) > 1:
        show(screen, "All modes", ("mode", "#bytes", "#furthest off", "file"), summary)
        for line in missing:
            say(screen, line)


def _check(args: argparse.Namespace) -> None:
    if args.out is not None:
        check_target(args.out, Path(args.source))
    if args.steps < 2:
        raise ValueError(f"--steps {args.steps} compares nothing; give 2 or more")
    if args.batch not in (None, FREE_BATCH) and not re.fullmatch("[1-9][0-9]{0,5}", args.batch):
        raise ValueError(f"--batch {args.batch} is no number of rows; give 1 or more, or free")
    if not 0 < args.limit < math.inf:
        raise ValueError(f"--limit {args.limit:g} allows nothing, or all; give a share such as 0.5")
    if args.state and args.no_states:
        raise ValueError("--state and --no-states exclude each other; give one of them")


def _worst(made: Converted) -> float:
    """The largest share by which an output is off."""
    return max((d.share for rows in made.deviations.values() for d in rows), default=0.0)


def _stem(source: str) -> str:
    if ":" in source and not Path(source).exists():
        return source.rpartition(":")[2].rpartition(".")[2]
    path = Path(source).resolve()
    return path.parent.name if path.name in ("checkpoint.npz", "saved_model.pb") else path.stem


def _material(args: argparse.Namespace, source: Source) -> Material:
    from train.bundle import DATA
    from train.convert.steps import read_material

    if args.vocab is not None and args.text is None:
        raise ValueError("--vocab goes with --text, whose pieces it makes")
    if args.text is not None and not args.text.is_file():
        raise ValueError(f"{args.text} is not there; give a text, a message a line")
    text, own = args.text, DATA / "chat_dev.txt"
    if text is None and source.vocabulary is not None and own.exists():
        text = own
    return read_material(text, args.vocab or source.vocabulary, args.data)


def _told(source: Source, console: Console) -> None:
    from train.convert.source import written
    from train.tables import say

    say(console, source.kind)
    for entry in source.entries:
        for side, specs in (("takes", entry.inputs), ("gives", entry.outputs)):
            told = ", ".join(f"{n} {s.dtype.name}{written(s.shape)}" for n, s in specs.items())
            say(console, f"{entry.name} {side} {told}", 2)
        if entry.unused:
            say(console, f"left out, as nothing reads it: {', '.join(entry.unused)}", 2)
    for line in source.chosen:
        say(console, line, 2)


def _report(made: Converted, mode: str, path: Path, console: Console) -> None:
    from collections import Counter

    from train.tables import say, show

    for each in made.stepped:
        name = each.entry.name
        for pair in each.pairs:
            say(console, f"{name}: state {pair.into} = {pair.out}, {pair.why} (--state)", 2)
        states = {pair.into for pair in each.pairs}
        told = "; ".join(f"{n} {how}" for n, how in each.feeds.told.items() if n not in states)
        say(console, f"{name}: steps with {told}" if told else f"{name}: steps on", 2)
    for note in made.notes:
        say(console, note, 2)
    columns = ("signature", "output", "#largest off", "#mean off", "#of its spread", "#same best")
    rows = [
        (name, d.output, f"{d.largest:.2g}", f"{d.mean:.2g}", f"{d.share:.2%}",
         "" if d.same_best is None else f"{d.same_best:.1%}")
        for name, deviations in made.deviations.items()
        for d in deviations
    ]  # fmt: skip
    show(console, f"Source and {mode} file, step by step", columns, rows)
    if made.troubles:
        show_troubles(made.troubles, "Runs, but costs", console)
    ops = Counter(op.name for subgraph in made.graph.subgraphs for op in subgraph.ops)
    told = ", ".join(f"{count} {name}" for name, count in ops.most_common())
    say(console, f"ops: {told}", 2)
    say(console, f"{path}: {mode}, {len(made.content):,} bytes")


def show_troubles(found: Sequence[Trouble], title: str, console: Console) -> None:
    """A row for each."""
    from train.tables import show

    rows = [(t.op, t.layer, t.count, t.mend) for t in found]
    show(console, title, ("op", "layer", "#count", "mend"), rows)
