"""From text files to a bundle: ``python -m train run --text FILES --out en.bundle``.

Each stage is a verb of its own, so that it can be repeated: vocab, fit, export, emoji, bundle.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kbengine.errors import KbengineError
from kbengine.files import system_sentence
from train import cache, calibrate, channel, echo, mixture, names, phrases, quantize, serving, sizes
from train.compare import command as compare
from train.convert import command as convert
from train.presets import PRESETS

if TYPE_CHECKING:
    from train.emoji import Measured

HELPS = {
    "run": "all stages, one after the other; goes on where an earlier run stopped",
    "vocab": "count the text and train the vocabulary",
    "fit": "train the language model (resumes from its checkpoint)",
    "export": "write the quantized step model, if it agrees with the float model",
    "emoji": "train the emoji model: whether an emoji comes, and which",
    "bundle": "put model, vocabulary, words and emoji in one file",
}
TOOLS = {
    "cache": cache,
    "calibrate": calibrate,
    "channel": channel,
    "compare": compare,
    "convert": convert,
    "echo": echo,
    "mixture": mixture,
    "names": names,
    "phrases": phrases,
    "quantize": quantize,
    "serving": serving,
    "sizes": sizes,
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m train", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in HELPS.items():
        add = verbs.add_parser(verb, help=text, description=text).add_argument
        work = {"default": None} if verb == "run" else {"required": True}
        where = " (default: runs/ and the name of --out)" if verb == "run" else ""
        add("--work", type=Path, help="folder for what the stages leave" + where, **work)
        if verb not in ("export", "emoji"):
            add("--preset", choices=tuple(PRESETS), default="base", help="default: %(default)s")
        if verb in ("run", "vocab"):
            add("--text", nargs="+", metavar="FILE[=WEIGHT]",
                help=".txt or .gz, a message a line")  # fmt: skip
            add("--corpora", type=Path, metavar="DIR",
                help="a corpora folder, mixed as the shipped model's recipe says")  # fmt: skip
            add("--free", action="store_true",
                help="with --corpora: only text that allows any use")  # fmt: skip
            add("--vocab-size", type=int, help="pieces, at most")
        if verb in ("run", "fit"):
            add("--dev", nargs="+", type=Path, default=[], metavar="FILE",
                help="dev text; without it some of the text is held back")  # fmt: skip
            add("--dev-lines", type=int, default=250,
                help="lines of each dev file (default: %(default)s)")  # fmt: skip
            add("--pieces", type=float, help="how many pieces to train on, all phases together")
            add("--seed", type=int)
        if verb in ("run", "bundle"):
            add("--out", type=Path, required=True, metavar="FILE.bundle")
            add("--name", default="kbengine-own", help="default: %(default)s")
            add("--language", default="en", help="default: %(default)s")
            add("--model-version", default="1", help="default: %(default)s")
            add("--cldr", type=Path, metavar="PATH",
                help="Unicode CLDR annotations (file or folder) for emoji keywords")  # fmt: skip
            add("--filter", type=Path, metavar="FILE",
                help="words not to be offered unasked (default: data/LANGUAGE/filter.tsv, "
                "where there is one)")  # fmt: skip
        if verb == "bundle":
            add("--words", nargs="+", type=Path, default=[], metavar="FILE",
                help="lists of words with their counts, for what is right: a dictionary, whose "
                "words are all known, then what people write")  # fmt: skip
            add("--results", nargs="+", type=Path, default=[], metavar="FILE",
                help="of `kbengine eval --out`, for the model card")  # fmt: skip
    for verb, tool in TOOLS.items():
        tool.arguments(verbs.add_parser(verb, help=tool.HELP, description=tool.HELP))
    return top


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
    try:
        _run(args)
    except (ValueError, OSError, EOFError, KbengineError) as error:
        told = system_sentence(error) if isinstance(error, OSError) else error
        print(f"train: {told}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        goes_on = args.verb in ("run", "fit")
        told = "; the same command goes on from the checkpoint" if goes_on else ""
        print(f"train: stopped{told}", file=sys.stderr)
        return 130
    return 0


def _run(args: argparse.Namespace) -> None:
    if args.verb in TOOLS:
        TOOLS[args.verb].run(args)
        return
    from train import recipe, stages
    from train.bundle import read_filter
    from train.corpus import Source, Text

    given = vars(args)
    chosen = PRESETS[given.get("preset", "base")].changed(
        given.get("pieces"), given.get("seed"), given.get("vocab_size")
    )
    dev = given.get("dev", [])
    # Looked at before hours of work, not after.
    for path in (
        *dev,
        *given.get("words", ()),
        *filter(None, (given.get("cldr"), given.get("filter"))),
    ):
        if not path.exists():
            raise ValueError(f"{path}: no such file")
    word_filter = read_filter(args.filter, args.language) if "language" in given else None
    if not 0 < chosen.pieces < math.inf:
        raise ValueError(f"--pieces {chosen.pieces:g} trains nothing; give 1e6 or more")
    if given.get("free") and args.corpora is None:
        raise ValueError("--free goes with --corpora DIR: of your own text you choose the files")
    if args.work is None:
        args.work = Path("runs") / args.out.stem
    if args.verb in ("run", "vocab"):
        if (args.text is None) == (args.corpora is None):
            raise ValueError("give either --text FILES or --corpora DIR")
        if args.corpora is not None:
            text = recipe.sources(args.corpora, args.free)
            if args.verb == "run" and not dev:
                dev = recipe.dev_files(args.corpora, args.free)
        else:
            text = Text([Source.parse(spec) for spec in args.text])
        if args.verb == "vocab" or not stages.goes_on(args.work, text):
            vocabulary = stages.make_vocabulary(args.work, text, chosen)
            print(f"vocabulary: {len(vocabulary):,} pieces in {args.work / 'vocab.model'}")
    if args.verb in ("run", "fit"):
        best = stages.fit(args.work, chosen, dev, args.dev_lines)
        plot = stages.phase_folders(args.work)[-1] / "loss.png"
        print(
            f"fit: best dev loss {best['dev_alone']:.3f} alone, {best['dev_talk']:.3f} in a "
            f"conversation (nats a piece); plot in {plot}"
        )
    if args.verb in ("run", "export"):
        found = stages.export(args.work)
        print(
            f"export: {found['model_bytes'] / 1e6:.2f} MB, perplexity x{found['perplexity']:.4f}, "
            f"same best piece in {found['top1']:.1%} of {found['steps']} steps"
        )
    if args.verb in ("run", "emoji"):
        print(f"emoji: {_told(stages.emoji(args.work))}")
    if args.verb in ("run", "bundle"):
        out = stages.make_bundle(
            args.work,
            args.out,
            chosen,
            {"name": args.name, "language": args.language, "version": args.model_version},
            args.cldr,
            word_filter,
            given.get("results", ()),
            given.get("words", ()),
        )
        print(f"bundle: {out}, {out.stat().st_size / 1e6:.2f} MB")


def _told(measured: Measured | None) -> str:
    """What the emoji model came to, in a line."""
    if measured is None:
        return "the text has too few to learn from; the language model does alone"
    both = {"AUC": measured.auc, "top-1": measured.top1, "top-5": measured.top5}
    figures = [f"{name} {own:.3f}" for name, (_, own) in both.items() if own is not None]
    return f"{', '.join(figures)} of what was held back"


if __name__ == "__main__":
    sys.exit(main())
