"""The verbs of ``kbengine``: repl, suggest, serve; eval, bench, inspect live apart."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from kbengine import modelverbs
from kbengine.autocorrect import Margin
from kbengine.bench import command as bench
from kbengine.emojistyle import PLAIN
from kbengine.engine import Engine
from kbengine.errors import KbengineError
from kbengine.evaluate import command as evaluate
from kbengine.explanation import percent, sentence
from kbengine.files import system_sentence
from kbengine.inspect import command as inspect
from kbengine.layout import read_layout
from kbengine.loading import is_path, load
from kbengine.mix import STRIP
from kbengine.predict import MOST
from kbengine.quiet import quiet_stderr
from kbengine.sources.phrases import PhraseOptions
from kbengine.types import Candidate

ROOMS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "eval": evaluate.run,
    "eval compare": evaluate.run_compare,
    "bench": bench.run,
    "inspect": inspect.run,
    "models": modelverbs.run,
}


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *ignored: object) -> None:
        from importlib.metadata import version

        print(f"kbengine {version('kbengine')}")
        parser.exit()


def _shown(shows: argparse.ArgumentParser) -> None:
    """The options of what is shown."""
    shows.add_argument(
        "--unfiltered", action="store_true",
        help="also words that are not offered unasked: offensive, intimate, gloomy",
    )  # fmt: skip
    shows.add_argument(
        "--emoji-style", type=evaluate.style, default=PLAIN, metavar="STYLE",
        help="skin tone, gender, diversity: tone=medium,gender=woman,diversity=0.5",
    )  # fmt: skip
    shows.add_argument(
        "--phrases", type=float, default=PhraseOptions.coverage, metavar="SHARE",
        help="of the places between words, at which a phrase is offered where there is room "
        "for one, 0 for none (default: %(default)s)",
    )  # fmt: skip


def _typed(types: argparse.ArgumentParser) -> None:
    """The options of how typing is taken."""
    types.add_argument(
        "--autocorrect", choices=get_args(Margin), default="normal",
        help="how sure a correction must be for a space to make it (default: %(default)s)",
    )  # fmt: skip
    types.add_argument(
        "--no-channel", action="store_false", dest="channel",
        help="take typing at its word: fingers do not slip",
    )  # fmt: skip
    types.add_argument(
        "--layout", type=Path, metavar="TSV",
        help="the keyboard, such as data/layouts/qwertz.tsv (default: the bundle's own)",
    )  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The command line: a verb and its options."""
    top = argparse.ArgumentParser(
        prog="kbengine", description="Predicts what a person will type next: words, phrases, emoji."
    )
    top.add_argument("--version", action=_Version, nargs=0, help="say which version this is")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        found = verbs.add_parser(name, help=text, description=text)
        found.add_argument(
            "--bundle",
            metavar="FILE|NAME",
            help="a .bundle file, or the name or URL of a model (see `kbengine models`; default: "
            "the English one in the package)",
        )
        return found

    repl = verb(
        "repl", "type and see suggestions at every key; lines from a pipe are answered one by one"
    )
    repl.add_argument("--slots", default=STRIP, help="which kinds are shown (default: %(default)s)")
    suggest = verb("suggest", "suggest for a text whose caret stands at its end")
    suggest.add_argument("text")
    suggest.add_argument("-n", type=int, help="how many (default: as many as there are slots)")
    suggest.add_argument("--earlier", action="append", default=[], metavar="MESSAGE",
                         help="a message before this one; the oldest first")  # fmt: skip
    suggest.add_argument(
        "--slots", default=STRIP, help="which kinds are shown (default: %(default)s)"
    )
    suggest.add_argument(
        "--json", action="store_true", help="a JSON list, with the parts of each score"
    )
    serve = verb("serve", "answer JSON lines on stdin with JSON lines on stdout")
    serve.add_argument("--stdio", action="store_true", required=True, help="serve stdin and stdout")
    serve.add_argument(
        "--slots", default="words", help="which kinds are answered (default: %(default)s)"
    )
    for shows in (repl, suggest, serve):
        _shown(shows)
    for types in (repl, serve):
        _typed(types)
    explain = verb("explain", "say why a candidate stands where it stands, in nats")
    explain.add_argument("text", help="what stands left of the caret")
    explain.add_argument("--candidate", required=True, metavar="X",
                         help="a word, phrase, emoji or sign, shown there or not")  # fmt: skip
    explain.add_argument("--earlier", action="append", default=[], metavar="MESSAGE",
                         help="a message before this one; the oldest first")  # fmt: skip
    explain.add_argument("--json", action="store_true", help="the same as JSON")
    evaluate.arguments(verb("eval", evaluate.HELP))
    bench.arguments(verb("bench", bench.HELP))
    inspect.arguments(verbs.add_parser("inspect", help=inspect.HELP, description=inspect.HELP))
    models = verbs.add_parser("models", help=modelverbs.HELP, description=modelverbs.HELP)
    modelverbs.arguments(models)
    return top


def _compare_parser() -> argparse.ArgumentParser:
    """Of ``eval compare``, whose operands are no texts."""
    found = argparse.ArgumentParser(prog="kbengine eval compare")
    found.set_defaults(verb="eval compare")
    evaluate.compare_arguments(found)
    return found


def main(argv: list[str] | None = None) -> int:
    """Run a verb; returns the exit status, 1 with one sentence on stderr for a mistake."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:2] == ["eval", "compare"]:
        args = _compare_parser().parse_args(argv[2:])
    else:
        args = parser().parse_args(argv)
    try:
        if args.verb in ROOMS:
            if args.verb in ("eval", "bench") and args.bundle is not None:
                args.bundle = modelverbs.located(args.bundle)
            return ROOMS[args.verb](args)
        engine = _engine(args.bundle)
        # The collector need not look at the lexicon again: its first full round would hold up
        # one key press for 14 ms. A host may do the same.
        gc.freeze()
        if args.verb == "explain":
            return _explain(engine, args)
        wish = {
            "slots": args.slots, "unfiltered": args.unfiltered, "emoji_style": args.emoji_style,
            "phrases": args.phrases,
        }  # fmt: skip
        if args.verb == "suggest":
            return _suggest(engine, args, wish)
        wish |= {
            "autocorrect": args.autocorrect, "channel": args.channel,
            "layout": None if args.layout is None else read_layout(args.layout),
        }  # fmt: skip
        if args.verb == "serve":
            from kbengine.serve import Server

            server = Server(engine, **wish)
            out = os.fdopen(os.dup(1), "wb")
            os.dup2(2, 1)  # whatever libraries print must not spoil the protocol
            server.run(sys.stdin.buffer, out)
            return 0
        from kbengine import repl

        return repl.run(engine, **wish)
    except BrokenPipeError:
        return 0  # the reader has gone
    except (ValueError, OSError, KbengineError) as error:
        told = system_sentence(error) if isinstance(error, OSError) else error
        print("kbengine:", *str(told).splitlines(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _engine(bundle: str | None) -> Engine:
    if bundle is None or is_path(bundle):
        with quiet_stderr():
            return load(bundle)
    with modelverbs.bar(bundle) as progress, quiet_stderr():
        return load(bundle, progress=progress)


def _suggest(engine: Engine, args: argparse.Namespace, wish: Mapping[str, Any]) -> int:
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    found = engine.suggest(args.text, args.n, args.earlier, **wish)
    if args.json:
        print(json.dumps([_row(c) for c in found], ensure_ascii=False, indent=1))
        return 0
    from rich.cells import cell_len

    width = max((cell_len(c.text) for c in found), default=0)
    for c in found:
        print(f"{c.text}{' ' * (width - cell_len(c.text))}  {c.kind:<7}  {percent(c.logp):>7} %")
    return 0


def _explain(engine: Engine, args: argparse.Namespace) -> int:
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    found = engine.explain(args.text, args.candidate, args.earlier)
    if args.json:
        print(json.dumps(_row(found), ensure_ascii=False, indent=1))
        return 0
    shown = engine.suggest(args.text, MOST, args.earlier, slots=found.kind, unfiltered=True)
    texts = [c.text for c in shown]
    print(sentence(found, texts.index(found.text) + 1 if found.text in texts else None))
    return 0


def _row(c: Candidate) -> dict[str, Any]:
    return {
        "text": c.text, "kind": c.kind, "source": c.source, "logp": round(c.logp, 4),
        "replaces": c.replaces, "parts": {k: round(v, 4) for k, v in c.parts.items()},
    }  # fmt: skip
