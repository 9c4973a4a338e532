"""How to choose a size: keystrokes saved against megabytes and against the time of a key press.

A point is a model; its figures are the means over sets of text, each set counting once. They
come from results of ``kbengine eval --out``, or of a bench that writes `data`, `measures`,
`latency` and `model_mb`. With ``--modes`` models themselves are given, and converted and measured
in quantization modes (`train.sizemodes`).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kbengine.files import check_target
from train import panels, tables
from train.files import write_json
from train.pieces import DEFAULT_TEXT

HELP = "accuracy against bytes and time: of bundles, from results; of quantization modes"
STEPS = 2000  # of a text in each mode
_COLOUR = "#1f5a92"


class TextSet(NamedTuple):
    """The lines that were typed, k: how many candidates the user looked at, and after how many
    earlier messages each line was typed."""

    name: str
    sha256: str  # its first 16 digits
    lines: int
    sample_seed: int | None
    k: int
    earlier: int = 0


class Figures(NamedTuple):
    """mb: of the bundle, millions of bytes; p50_ms: a key press, by the clock; ksr: keystrokes
    saved, from 0 to 1; in_process: whether the clock stood in the engine's own process."""

    mb: float
    p50_ms: float
    ksr: float
    in_process: bool


Results = dict[TextSet, Figures]


class Size(NamedTuple):
    """A model as it is shown: the means of its figures."""

    label: str
    mb: float
    p50_ms: float
    ksr: float


# Reading


def read_results(path: Path) -> Results:
    """What a file tells of each set. Raises ValueError where it is no result."""
    mend = "give what `kbengine eval --out` wrote"
    try:
        read = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); {mend}") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is not JSON; {mend}") from None
    if not isinstance(read, dict) or not read.keys() & {"kbengine_eval", "measures"}:
        raise ValueError(f"{path} holds no keystroke savings; {mend}")
    try:
        return _of_eval(read) if "kbengine_eval" in read else _of_bench(read)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        raise ValueError(f"{path} is a damaged result; measure again") from None


def _of_eval(read: Mapping[str, Any]) -> Results:
    settings, mb = read["settings"], _positive(read["bundle"]["bytes"]) / 1e6
    found = {}
    for file in read["files"]:
        text = TextSet(
            file["name"].removesuffix(".txt"), file["sha256"][:16], int(file["sums"]["lines"]),
            settings["sample_seed"], int(settings["k"]), int(settings["earlier"]),
        )  # fmt: skip
        (ksr, *_), (p50_ms, *_) = (file["figures"][name] for name in ("ksr", "wall_p50_ms"))
        found[text] = Figures(mb, _positive(p50_ms), _number(ksr), in_process=True)
    return found


def _of_bench(read: Mapping[str, Any]) -> Results:
    data = read["data"]
    text = TextSet(
        data["name"].removesuffix(".txt"), data["sha256"][:16], int(data["lines"]),
        data["sample_seed"], int(read["k"]), int(data.get("earlier", 0)),
    )  # fmt: skip
    mb, p50_ms = _positive(read["model_mb"]), _positive(read["latency"]["p50_ms"])
    return {text: Figures(mb, p50_ms, _number(read["measures"]["ksr"]), in_process=False)}


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value} is no figure")
    return float(value)


def _positive(value: Any) -> float:
    """Of what is drawn along a logarithmic axis."""
    if _number(value) <= 0:
        raise ValueError(f"{value} is no size and no time")
    return float(value)


# Averaging


def read_labels(specs: Sequence[str]) -> dict[str, Results]:
    """``LABEL=FILE[,FILE...]`` -> what the files of each label tell of each set.

    Raises ValueError for a bad file, a set twice, or files of more than one bundle in a label.
    """
    found: dict[str, Results] = {}
    for spec in specs:
        label, equals, names = spec.partition("=")
        if not (label and equals and names) or "" in names.split(","):
            raise ValueError(f"{spec!r} cannot be read; write LABEL=FILE or LABEL=FILE,FILE")
        results = found.setdefault(label, {})
        for path in map(Path, names.split(",")):
            for text, figures in read_results(path).items():
                if text in results:
                    raise ValueError(f"{label} has {text.name} twice; give each set once")
                results[text] = figures
        if len({figures.mb for figures in results.values()}) > 1:
            raise ValueError(f"{label} has results of more than one bundle; give each a label")
    if len({f.in_process for results in found.values() for f in results.values()}) > 1:
        raise ValueError(
            "times of eval, in process, and of a bench, through a pipe, do not compare; "
            "give results of one kind"
        )
    return found


def common_sets(found: Mapping[str, Results]) -> list[TextSet]:
    """The sets that all labels have, by name. Raises ValueError where there is none, or where
    the user did not always look at as many candidates, after as many earlier messages."""
    common = sorted(
        set.intersection(*(set(results) for results in found.values())), key=lambda text: text.name
    )
    if not common:
        raise ValueError(
            "there is no set that all labels have; measure all on the same lines with the same -k"
        )
    if len({text.k for text in common}) > 1:
        raise ValueError("the results are of more than one number of candidates; give those of one")
    if len({text.earlier for text in common}) > 1:
        raise ValueError("the results are of more than one --earlier; give those of one")
    return common


def sizes(found: Mapping[str, Results], common: Sequence[TextSet]) -> list[Size]:
    """The means over the common sets, the smallest bundle first."""

    def mean(results: Results, of: Callable[[Figures], float]) -> float:
        return math.fsum(of(results[text]) for text in common) / len(common)

    shown = [
        Size(
            label,
            results[common[0]].mb,
            mean(results, lambda figures: figures.p50_ms),
            mean(results, lambda figures: figures.ksr),
        )
        for label, results in found.items()
    ]
    return sorted(shown, key=lambda size: (size.mb, size.label))


def about(found: Mapping[str, Results], common: Sequence[TextSet]) -> str:
    """Which sets the means are of, and which are left out because not all labels have them."""
    lines = sum(text.lines for text in common)
    told = f"means over {_names(common)} ({lines:,} lines)"
    left_out = {text for results in found.values() for text in results}.difference(common)
    return f"{told}; not in all: {_names(left_out)}" if left_out else told


def _names(texts: Iterable[TextSet]) -> str:
    return ", ".join(sorted(text.name for text in texts))


# Showing

COLUMNS = ("model", "#MB", "#ms p50", "#KSR %")


def rows(shown: Sequence[Size]) -> list[tuple[str, ...]]:
    """The cells below `COLUMNS`."""
    return [(s.label, f"{s.mb:.1f}", f"{s.p50_ms:.2f}", f"{100 * s.ksr:.1f}") for s in shown]


def draw(path: Path, shown: Sequence[Size], k: int, told: str) -> None:
    """Write the picture, a PNG: a panel for the size and one for the time.

    Raises ValueError where there is nothing to draw with.
    """
    figure = panels.figure("What a size saves", 11, 4.5)
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_ylabel(f"keystrokes saved with {k} candidates (%)")
    _draw_panel(left, shown, [size.mb for size in shown], "MB of the bundle")
    _draw_panel(right, shown, [size.p50_ms for size in shown], "ms a key press, p50")
    panels.save(path, figure, told)


def _draw_panel(axes: Any, shown: Sequence[Size], xs: Sequence[float], x_label: str) -> None:
    """Points with their labels, over the logarithm of x."""
    axes.scatter(xs, [100 * size.ksr for size in shown], color=_COLOUR, zorder=3)
    for x, size in zip(xs, shown, strict=True):
        axes.annotate(
            size.label, (x, 100 * size.ksr), (0, 6), textcoords="offset points", ha="center",
            fontsize=8, parse_math=False,
        )  # fmt: skip
    panels.along(axes, xs, x_label)


# The verb


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add = parser.add_argument
    add("results", nargs="+", metavar="LABEL=FILE[,FILE...]",
        help="a model and its results of `kbengine eval --out`; with --modes a .bundle or a "
        "--work folder of `python -m train fit`")  # fmt: skip
    add("--out", type=Path, metavar="FILE.png", help="leave a picture")
    add("--markdown", action="store_true", help="print the table as Markdown")
    add("--modes", metavar="MODE,...",
        help="convert each model in these and compare: float32, float16, dynamic, int8, 16x8, "
        "int4")  # fmt: skip
    add("--text", type=Path, nargs="+", default=[DEFAULT_TEXT], metavar="FILE",
        help="with --modes: what they are measured on (default: data/chat_dev.txt)")  # fmt: skip
    add("--steps", type=int, default=STEPS,
        help="with --modes: so many pieces of it at most (default: %(default)s)")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="with --modes: leave all figures")


def run(args: argparse.Namespace) -> None:
    """Print the table, and leave the picture. Raises ValueError or OSError."""
    for path in (args.out, args.json):
        if path:
            check_target(path)
    if args.modes is not None:
        _run_modes(args)
        return
    if args.json:
        raise ValueError("--json goes with --modes")
    found = read_labels(args.results)
    common = common_sets(found)
    shown, told = sizes(found, common), about(found, common)
    if args.out:
        draw(args.out, shown, common[0].k, told)
    _print_table(COLUMNS, rows(shown), args.markdown)
    print(told)


def _print_table(columns: Sequence[str], cells: Sequence[Sequence[str]], as_markdown: bool) -> None:
    if as_markdown:
        print(f"{tables.markdown(columns, cells)}\n")
    else:
        tables.show(tables.console(), "", columns, cells)


def _run_modes(args: argparse.Namespace) -> None:
    """The same for models in quantization modes."""
    from train import sizemodes

    shown, told = sizemodes.run(args.results, args.modes.split(","), args.text, args.steps)
    if args.out:
        sizemodes.draw(args.out, shown, told)
    if args.json:
        write_json(args.json, sizemodes.to_json(shown, told))
    _print_table(sizemodes.COLUMNS, [sizemodes.cells(row) for row in shown], args.markdown)
    for row in shown:
        if row.why:
            print(f"{row.label}, {row.mode}: {row.why}")
    print(told)
