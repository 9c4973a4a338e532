"""A view of a file as tables for a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kbengine.inspect.view import View

WIDTH = 100
MOST_ROWS = 20
_UNITS = {"model": "pieces", "vocabulary": "pieces", "lexicon": "words", "emoji": "emoji",
          "filter": "entries", "ngrams": "n-grams", "trigger": "emoji",
          "channel": "rules"}  # fmt: skip
_FIELDS = ("name", "version", "language", "family", "format", "words", "emoji", "notice")


def report(view: View, console: Console, everything: bool = False) -> None:
    """Print a view; `everything` shows all rows and all tensors."""
    most = None if everything else MOST_ROWS
    for line in (f"{view['file']}: {view['kind']}, {view['bytes']:,} bytes", *verdicts(view)):
        console.print(_line(line), soft_wrap=True)  # a path and a sentence stay in one piece
    if view["bundle"]:
        _bundle(view["bundle"], console)
    model = view["model"]
    if not model:
        return
    _contract(view["contract"], console)
    _signatures(model, console)
    _ops(model, console)
    _stored(model, console, most)
    _duplicates(model, console, most)
    if everything:
        for subgraph in model["subgraphs"]:
            _tensors(subgraph, console)


def verdicts(view: View) -> list[str]:
    """What a file is worth, a sentence each for the bundle and for the model."""
    found = []
    bundle, contract = view["bundle"], view["contract"]
    if bundle:
        if bundle["error"]:
            found.append(f"does not open: {bundle['error']}")
        elif bundle["opened"]:
            found.append("opens: its parts are whole and fit together")
        else:
            found.append("its parts are whole; whether they fit together was not tried")
    if contract is None:
        if bundle["manifest"].get("family") == "ngram":
            found.append("holds an n-gram model: arrays, no graph that could keep a contract")
        return found
    broken = [rule for rule in contract["rules"] if rule["kept"] is False]
    unknown = [rule for rule in contract["rules"] if rule["kept"] is None]
    if broken:
        rule = broken[0]
        found.append(f"breaks the contract of a step model ({rule['name']}): {rule['reason']}")
    elif unknown:
        found.append(f"keeps the contract of a step model as far as tried: {unknown[0]['reason']}")
    else:
        found.append("keeps the contract of a step model")
    return found


def _clean(text: object) -> str:
    """Names come from the file: no escape sequence of theirs may reach the terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(text))


def _line(text: str) -> Text:
    return Text(_clean(text))


def _table(title: str, *columns: str) -> Table:
    """Columns whose names begin with ``#`` hold numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        number = column.startswith("#")
        table.add_column(
            column.removeprefix("#"),
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold",
        )
    return table


def _add(table: Table, *cells: object) -> None:
    table.add_row(*(_line("" if cell is None else str(cell)) for cell in cells))


def _show(table: Table, console: Console) -> None:
    console.print(Padding(table, (1, 0, 0, 0)))


def _bundle(bundle: View, console: Console) -> None:
    manifest = bundle["manifest"]
    table = _table("Manifest", "field", "value")
    for name in _FIELDS:
        if name in manifest:
            _add(table, name, manifest[name])
    figures = manifest.get("figures")
    for name, value in figures.items() if isinstance(figures, dict) else ():
        _add(table, f"figure: {name}", value)
    _show(table, console)
    table = _table("Parts", "name", "kind", "#stored", "#raw", "sha256", "#holds")
    for m in bundle["members"]:
        entries = None if m["entries"] is None else f"{m['entries']:,} {_UNITS[m['name']]}"
        sizes = (f"{m['stored_bytes']:,}", f"{m['raw_bytes']:,}")
        _add(table, m["name"], m["kind"], *sizes, m["hash"], entries)
    _show(table, console)
    table = _table("Arrays", "part", "name", "type", "#length")
    for m in bundle["members"]:
        for array in m["arrays"]:
            _add(table, m["name"], array["name"], array["type"], f"{array['length']:,}")
    if table.row_count:
        _show(table, console)


def _contract(contract: View, console: Console) -> None:
    table = _table("Contract of a step model", "", "rule", "instead")
    signs = {True: "kept", False: "broken", None: "not tried"}
    for rule in contract["rules"]:
        _add(table, signs[rule["kept"]], rule["name"], _cut(rule["reason"]))
    _show(table, console)


def _signatures(model: View, console: Console) -> None:
    table = _table("Signatures", "signature", "#subgraph", "", "name", "type", "shape")
    for signature in model["signatures"]:
        for side, ends in (("in", signature["inputs"]), ("out", signature["outputs"])):
            for end in ends:
                where = (signature["name"], signature["subgraph"], side)
                _add(table, *where, end["name"], end["type"], end["shape"])
    if not model["signatures"]:
        _add(table, "none")
    _show(table, console)


def _ops(model: View, console: Console) -> None:
    table = _table("Ops", "op", "#count", "#XNNPACK takes")
    for op in model["ops"]:
        _add(table, op["name"], op["count"], "?" if op["taken"] is None else op["taken"])
    _show(table, console)
    table = _table("Subgraphs", "#", "name", "#tensors", "#ops", "XNNPACK")
    for s in model["subgraphs"]:
        taken = sum(op["part"] is not None for op in s["ops"])
        least = "at least " if s["xnnpack_least"] else ""
        told = f"{least}{taken} of {len(s['ops'])} ops, in {s['xnnpack_parts']} part(s)"
        if s["xnnpack_error"]:
            told = f"not known: {_cut(s['xnnpack_error'])}"
        _add(table, s["index"], s["name"], len(s["tensors"]), len(s["ops"]), told)
    _show(table, console)


def _stored(model: View, console: Console, most: int | None) -> None:
    columns = ("what", "name", "type", "shape", "scales", "#bytes", "#share")
    table = _table("Bytes of the model", *columns)
    rows = model["stored"]
    rest = sum(row["bytes"] for row in rows[len(rows) if most is None else most :])

    def share(n_bytes: int) -> tuple[str, str]:
        return f"{n_bytes:,}", f"{100 * n_bytes / model['bytes']:.1f} %"

    for row in rows[:most]:
        scales = _scales(row["quantization"])
        name = _cut(row["name"], 40)
        _add(table, row["kind"], name, row["type"], row["shape"], scales, *share(row["bytes"]))
    if rest:
        _add(table, "others", f"{len(rows) - MOST_ROWS} more; see --all", *[""] * 3, *share(rest))
    _add(table, "structure", "names, ops, padding", *[""] * 3, *share(model["structure_bytes"]))
    _show(table, console)


def _scales(quantization: Any) -> str:
    if quantization is None:
        return ""
    if quantization["block_size"] is not None:
        return f"one per {quantization['block_size']} values"
    return f"{quantization['scales']:,}" + (
        f" on axis {quantization['axis']}" if quantization["scales"] > 1 else ""
    )


def _duplicates(model: View, console: Console, most: int | None) -> None:
    table = _table("Stored twice", "same", "what", "#wasted bytes")
    for row in model["duplicates"][:most]:
        names = " / ".join(_cut(name, 60) for name in row["names"][:3])
        more = f" and {len(row['names']) - 3} more" if len(row["names"]) > 3 else ""
        _add(table, row["kind"], names + more, f"{row['wasted_bytes']:,}")
    if not model["duplicates"]:
        _add(table, "nothing")
    _show(table, console)


def _tensors(subgraph: View, console: Console) -> None:
    title = f"Tensors of subgraph {subgraph['index']}"
    table = _table(title, "#", "name", "type", "shape", "scales", "#buffer")
    for t in subgraph["tensors"]:
        name = _cut(t["name"], 40) + (" (variable)" if t["variable"] else "")
        scales = _scales(t["quantization"]) + (" sparse" if t["sparse"] else "")
        _add(table, t["index"], name, t["type"], t["shape"], scales, t["buffer"])
    _show(table, console)


def _cut(text: str, most: int = 200) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
