"""From text files to a bundle: ``python -m train run --text FILES --out en.bundle``.

Each stage is a verb of its own, so that it can be repeated: vocab, fit, export, bundle.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from kbengine.errors import KbengineError

NOTICE_OWN = "Trained on text of the user's own; its licence is for whoever trained it to state."
NOTICE_FREE = (
    "This model is licensed apart from the code. All text it was trained on is stated to allow "
    "any use; some of it asks for credit (CC BY, CC BY-SA) as listed below."
)
NOTICE_MIXED = (
    "This model is licensed apart from the code: of the text it was trained on, part is stated "
    "to allow any use, and part (text messages, chat, tweets and emoji text) states no licence, "
    "is research data, or is bound by a platform's terms. Whoever ships a product with it must "
    "judge that; `python -m train run --corpora DIR --free` builds a model without that part."
)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m train", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    helps = {
        "run": "all stages, one after the other; goes on where an earlier run stopped",
        "vocab": "count the text and train the vocabulary",
        "fit": "train the language model (resumes from its checkpoint)",
        "export": "write the quantized step model, if it agrees with the float model",
        "bundle": "put model, vocabulary, words and emoji in one file",
    }
    for verb, text in helps.items():
        p = verbs.add_parser(verb, help=text, description=text)
        p.add_argument(
            "--work",
            type=Path,
            default=Path("runs/default"),
            help="folder for what the stages leave",
        )
        p.add_argument("--preset", choices=("tiny", "base"), default="base")
        if verb in ("run", "vocab"):
            p.add_argument(
                "--text", nargs="+", metavar="FILE[=WEIGHT]", help=".txt or .gz, a message a line"
            )
            p.add_argument(
                "--corpora",
                type=Path,
                help="a corpora folder, mixed as the shipped model's recipe says",
            )
            p.add_argument(
                "--free", action="store_true", help="with --corpora: only text that allows any use"
            )
        if verb in ("run", "fit"):
            p.add_argument("--dev", nargs="+", type=Path, default=[], metavar="FILE",
                           help="dev text; without it some of the text is held back")  # fmt: skip
            p.add_argument("--dev-lines", type=int, default=250, help="lines of each dev file")
            p.add_argument("--pieces", type=float, help="how many pieces to train on")
            p.add_argument("--seed", type=int)
        if verb in ("run", "bundle"):
            p.add_argument("--out", type=Path, required=True, metavar="FILE.bundle")
            p.add_argument("--name", default="kbengine-own")
            p.add_argument("--language", default="en")
            p.add_argument("--model-version", default="1")
            p.add_argument(
                "--cldr",
                type=Path,
                help="Unicode CLDR annotations (file or folder) for emoji keywords",
            )
        if verb == "bundle":
            p.add_argument(
                "--notice", default=NOTICE_OWN, help="licence notice for manifest and model card"
            )
    return top


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported
    try:
        _run(args)
    except (ValueError, KbengineError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train: stopped; the same command goes on from the checkpoint", file=sys.stderr)
        return 130
    return 0


def _run(args: argparse.Namespace) -> None:
    from train import recipe, stages
    from train.corpus import Source
    from train.presets import preset

    chosen = preset(args.preset, getattr(args, "pieces", None), getattr(args, "seed", None))
    notice = getattr(args, "notice", NOTICE_OWN)
    dev = list(getattr(args, "dev", []))
    fresh = not (args.work / "vocab.model").exists()
    if args.verb in ("run", "vocab"):
        if (args.text is None) == (args.corpora is None):
            raise ValueError("give either --text FILES or --corpora DIR")
        if args.corpora is not None:
            sources = recipe.sources(args.corpora, args.free)
            notice = NOTICE_FREE if args.free else NOTICE_MIXED
            dev = dev or recipe.dev_files(args.corpora)
        else:
            sources = [Source.parse(spec) for spec in args.text]
        if args.verb == "vocab" or fresh:
            vocabulary = stages.make_vocabulary(args.work, sources, chosen)
            print(f"vocabulary: {len(vocabulary):,} pieces in {args.work / 'vocab.model'}")
    if args.verb in ("run", "fit"):
        best = stages.fit(args.work, chosen, dev, args.dev_lines)
        print(
            f"fit: best dev loss {best['dev_alone']:.3f} alone, {best['dev_talk']:.3f} in a "
            f"conversation (nats a piece); plot in {args.work / 'loss.png'}"
        )
    if args.verb in ("run", "export"):
        found = stages.export(args.work)
        print(
            f"export: {found['model_bytes'] / 1e6:.2f} MB, perplexity x{found['perplexity']:.4f}, "
            f"same best piece in {found['top1']:.1%} of {found['steps']} steps"
        )
    if args.verb in ("run", "bundle"):
        out = stages.make_bundle(
            args.work, args.out, chosen, args.name, args.language, args.model_version,
            args.cldr, notice,
        )  # fmt: skip
        print(f"bundle: {out}, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    sys.exit(main())
