"""What a model holds before it is converted: ``python -m train echo SOURCE``."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from train.convert.command import read, source_arguments

if TYPE_CHECKING:
    from rich.console import Console

    from train.convert.source import Entry, Source

HELP = "show what a model holds before it is converted: ends, ops, variables, what TFLite lacks"
MOST_ROWS = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    source_arguments(parser)
    parser.add_argument("--all", action="store_true", help="show all rows")
    parser.add_argument("--json", action="store_true", help="print all that is known as JSON")


def run(args: argparse.Namespace) -> None:
    """Show it. Raises ValueError, ModelError or BundleError where SOURCE cannot be read."""
    from train.tables import console

    source = read(args)
    with console(stderr=True).status("asking the converter"):
        found = echo(source)
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        _show(found, console(), None if args.all else MOST_ROWS)


def echo(source: Source) -> dict[str, Any]:
    """All that is known of a source as one plain value.

    without_builtin: ops that TFLite has none of its own for, as the converter tells them; None
    where it gives up before it can. control_flow and hard: see `train.convert.trouble`.
    """
    return {
        "kind": source.kind,
        "chosen": list(source.chosen),
        "signatures": [_entry(entry, source) for entry in source.entries],
        "variables": [
            {"name": v.name, "type": v.dtype, "shape": list(v.shape), "bytes": v.bytes}
            for v in source.variables
        ],
        "variable_bytes": sum(v.bytes for v in source.variables),
    }


def _entry(entry: Entry, source: Source) -> dict[str, Any]:
    from dataclasses import asdict

    from kbengine.errors import ModelError
    from train.convert.source import FREE, dims, weight_bytes
    from train.convert.trouble import CONTROL_FLOW, troubles, without_builtin

    def ends(specs: Any) -> list[dict[str, Any]]:
        return [
            {"name": n, "type": s.dtype.name, "shape": None if dims(s.shape) is None else
             [FREE if d is None else d for d in dims(s.shape) or ()]}
            for n, s in specs.items()
        ]  # fmt: skip

    hard = [asdict(t) for t in troubles(entry, source.layers)]
    lacking: list[dict[str, Any]] | None
    try:
        lacking, error = [asdict(t) for t in without_builtin(entry, source.layers)], ""
    except ModelError as gave_up:
        lacking, error = None, str(gave_up)
    graph = entry.graph.as_graph_def()
    bodies = [n for f in graph.library.function for n in f.node_def]
    counts = Counter(node.op for node in (*graph.node, *bodies))
    flow = {op: counts[op] for op in sorted(CONTROL_FLOW & counts.keys())}
    return {
        "name": entry.name,
        "inputs": ends(entry.inputs),
        "outputs": ends(entry.outputs),
        "unused": list(entry.unused),
        "ops": dict(counts.most_common()),
        "constant_bytes": weight_bytes([entry]),
        "control_flow": flow,
        "hard": hard,
        "without_builtin": lacking,
        "error": error,
    }


def _show(found: dict[str, Any], where: Console, most: int | None) -> None:
    from train.convert.source import FREE, written
    from train.tables import say, show

    def shape(end: dict[str, Any]) -> str:
        sizes = end["shape"]
        return written(None if sizes is None else [None if n == FREE else n for n in sizes])

    say(where, found["kind"])
    for line in found["chosen"]:
        say(where, line, 2)
    for each in found["signatures"]:
        rows = [
            (side, end["name"], end["type"], shape(end))
            for side, ends in (("in", each["inputs"]), ("out", each["outputs"]))
            for end in ends
        ] + [("left out", name, "", "nothing reads it") for name in each["unused"]]
        show(where, f"Signature {each['name']}", ("", "name", "type", "shape"), rows)
        ops = list(each["ops"].items())
        rest = sum(count for _, count in ops[len(ops) if most is None else most :])
        rows = [*ops[:most], *([("others; see --all", rest)] if rest else [])]
        title = f"Ops of {each['name']}: {sum(each['ops'].values())}"
        show(where, title, ("op", "#count"), rows)
        _verdicts(each, where)
    _variables(found, where, most)


def _verdicts(each: dict[str, Any], where: Console) -> None:
    from train.tables import say, show

    columns = ("op", "layer", "#count", "mend")
    flow = ", ".join(f"{count} {op}" for op, count in each["control_flow"].items())
    say(where, f"control flow: {flow or 'none'}", 2)
    say(where, f"constants: {each['constant_bytes']:,} bytes, equal ones once", 2)
    if each["without_builtin"] is None:
        say(where, f"what TFLite has no built-in for: not known, {each['error']}", 2)
    elif not each["without_builtin"]:
        say(where, "what TFLite has no built-in for: nothing", 2)
    for title, key in (("TFLite has no built-in for", "without_builtin"), ("Hard", "hard")):
        if each[key]:
            show(where, title, columns, [tuple(row.values()) for row in each[key]])


def _variables(found: dict[str, Any], where: Console, most: int | None) -> None:
    from train.convert.source import written
    from train.tables import show

    variables = sorted(found["variables"], key=lambda v: -v["bytes"])
    rows = [
        (v["name"], v["type"], written(v["shape"]), f"{v['bytes']:,}") for v in variables[:most]
    ]
    rest = sum(v["bytes"] for v in variables[len(rows) :])
    if rest:
        rows.append((f"{len(variables) - len(rows)} more; see --all", "", "", f"{rest:,}"))
    if variables:
        title = f"Variables: {len(variables)}, {found['variable_bytes']:,} bytes"
        show(where, title, ("name", "type", "shape", "#bytes"), rows)
