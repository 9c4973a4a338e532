"""A view of a file as plain tables and sentences, for the terminal and for a page alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kbengine.inspect.view import SHIPPED, View

_UNITS = {"model": "pieces", "vocabulary": "pieces", "lexicon": "words", "emoji": "emoji",
          "filter": "entries", "ngrams": "n-grams", "trigger": "emoji",
          "channel": "rules"}  # fmt: skip
_FIELDS = ("name", "version", "language", "family", "format", "words", "emoji", "notice")
KEPT = {True: "kept", False: "broken", None: "not tried"}


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is shown: at most so many rows (None: all), so many signs of a name. more:
    where the rest can be had."""

    rows: int | None
    signs: int
    more: str


@dataclass(frozen=True, slots=True)
class Table:
    """columns: their names; ``#`` stands before one of numbers, ``%`` before one of shares.

    rows: cells as text, none of it cleaned (`clean`).
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """A row; a cell of None is empty."""
        self.rows.append(tuple("" if cell is None else str(cell) for cell in cells))


def clean(text: object) -> str:
    """Names come from the file: no escape sequence of theirs may reach a terminal or page."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(text))


def cut(text: str, signs: int = 200) -> str:
    """A text shortened to so many signs."""
    return text if len(text) <= signs else text[: signs - 1] + "…"


def verdicts(view: View) -> list[tuple[bool | None, str]]:
    """What a file is worth, a sentence each for the bundle and for the model; before it whether
    that is well, None where it could not be tried."""
    found: list[tuple[bool | None, str]] = []
    bundle, contract = view["bundle"], view["contract"]
    if view["kind"] == SHIPPED:
        raw = sum(m["raw_bytes"] for m in bundle["members"])
        found.append((None, f"the shipping form: {raw:,} bytes once it is restored, at first load"))
    if bundle:
        if bundle["error"]:
            found.append((False, f"does not open: {bundle['error']}"))
        elif bundle["opened"]:
            found.append((True, "opens: its parts are whole and fit together"))
        else:
            told = "its parts are whole; whether they fit together was not tried"
            found.append((None, told))
    if contract is None:
        if bundle["manifest"].get("family") == "ngram":
            told = "holds an n-gram model: arrays, no graph that could keep a contract"
            found.append((None, told))
        return found
    broken = [rule for rule in contract["rules"] if rule["kept"] is False]
    unknown = [rule for rule in contract["rules"] if rule["kept"] is None]
    told = "keeps the contract of a step model"
    if _foreign(view):
        names = ", ".join(sorted(s["name"] for s in view["model"]["signatures"])) or "none"
        told = "no step model of kbengine's, which has the signatures state and logits"
        return [(None, f"{told}: it has {names}")]
    if broken:
        rule = broken[0]
        told = f"breaks the contract of a step model ({rule['name']}): {rule['reason']}"
    elif unknown:
        told += f" as far as tried: {unknown[0]['reason']}"
    found.append((contract["kept"], told))
    return found


def _foreign(view: View) -> bool:
    """Whether a model is somebody else's, which breaks no contract by having its own signatures."""
    names = {signature["name"] for signature in view["model"]["signatures"]}
    return not view["bundle"] and not names & {"state", "logits"}


def bundle_tables(bundle: View) -> Iterator[Table]:
    """The manifest in short, the parts, and the arrays in them."""
    manifest = bundle["manifest"]
    table = Table("Manifest", ("field", "value"))
    for name in _FIELDS:
        if name in manifest:
            table.add(name, manifest[name])
    figures = manifest.get("figures")
    for name, value in figures.items() if isinstance(figures, dict) else ():
        table.add(f"figure: {name}", value)
    yield table
    table = Table("Parts", ("name", "kind", "#stored", "#raw", "sha256", "#holds"))
    for m in bundle["members"]:
        entries = None if m["entries"] is None else f"{m['entries']:,} {_UNITS[m['name']]}"
        sizes = (f"{m['stored_bytes']:,}", f"{m['raw_bytes']:,}")
        table.add(m["name"], m["kind"], *sizes, m["hash"], entries)
    yield table
    table = Table("Arrays", ("part", "name", "type", "#length"))
    for m in bundle["members"]:
        for array in m["arrays"]:
            table.add(m["name"], array["name"], array["type"], f"{array['length']:,}")
    if table.rows:
        yield table


def overview_tables(view: View) -> Iterator[Table]:
    """The contract, the signatures, how long they take, and the ops by kind and subgraph."""
    model = view["model"]
    if not _foreign(view):
        yield _contract(view["contract"])
    yield _signatures(model)
    if model["times"] is not None:
        yield _times(model["times"])
    yield _ops(model)
    yield _subgraphs(model)


def byte_tables(model: View, extent: Extent) -> Iterator[Table]:
    """Where the bytes of the model are, and which of them stand there twice."""
    yield _stored(model, extent)
    yield _duplicates(model, extent)


def _contract(contract: View) -> Table:
    table = Table("Contract of a step model", ("", "rule", "instead"))
    for rule in contract["rules"]:
        table.add(KEPT[rule["kept"]], rule["name"], cut(rule["reason"]))
    return table


def _signatures(model: View) -> Table:
    table = Table("Signatures", ("signature", "#subgraph", "", "name", "type", "shape"))
    for signature in model["signatures"]:
        for side, ends in (("in", signature["inputs"]), ("out", signature["outputs"])):
            for end in ends:
                where = (signature["name"], signature["subgraph"], side)
                table.add(*where, end["name"], end["type"], end["shape"])
    if not model["signatures"]:
        table.add("none", *[None] * 5)
    return table


def _times(times: list[View]) -> Table:
    columns = ("signature", "#subgraph", "#p50 ms", "#p99 ms", "#calls", "")
    table = Table("Time of a step, batch 1, one thread", columns)
    for row in times:
        name = "none" if row["signature"] is None else row["signature"]
        if "error" in row:
            table.add(name, row["subgraph"], *[None] * 3, f"not known: {cut(row['error'])}")
        else:
            found = (f"{row['p50_ms']:.3f}", f"{row['p99_ms']:.3f}", row["calls"])
            table.add(name, row["subgraph"], *found, None)
    return table


def _ops(model: View) -> Table:
    table = Table("Ops", ("op", "#count", "#XNNPACK takes"))
    for op in model["ops"]:
        table.add(op["name"], op["count"], "?" if op["taken"] is None else op["taken"])
    return table


def _subgraphs(model: View) -> Table:
    table = Table("Subgraphs", ("#", "name", "#tensors", "#ops", "XNNPACK"))
    for s in model["subgraphs"]:
        taken = sum(op["part"] is not None for op in s["ops"])
        least = "at least " if s["xnnpack_least"] else ""
        told = f"{least}{taken} of {len(s['ops'])} ops, in {s['xnnpack_parts']} part(s)"
        if s["xnnpack_error"]:
            told = f"not known: {cut(s['xnnpack_error'])}"
        table.add(s["index"], s["name"], len(s["tensors"]), len(s["ops"]), told)
    return table


def _stored(model: View, extent: Extent) -> Table:
    columns = ("what", "name", "type", "shape", "scales", "#bytes", "%share")
    table = Table("Bytes of the model", columns)
    rows = model["stored"]
    shown = rows[: extent.rows]

    def add(what: str, name: str, n_bytes: int, *told: object) -> None:
        share = f"{100 * n_bytes / model['bytes']:.1f} %"
        table.add(what, name, *(told or [None] * 3), f"{n_bytes:,}", share)

    for row in shown:
        told = (row["type"], row["shape"], _scales(row["quantization"]))
        add(row["kind"], cut(row["name"], extent.signs), row["bytes"], *told)
    if len(shown) < len(rows):
        rest = sum(row["bytes"] for row in rows[len(shown) :])
        add("others", f"{len(rows) - len(shown):,} more; {extent.more}", rest)
    add("structure", "names, ops, padding", model["structure_bytes"])
    return table


def _scales(quantization: Any) -> str:
    if quantization is None:
        return ""
    if quantization["block_size"] is not None:
        return f"one per {quantization['block_size']} values"
    return f"{quantization['scales']:,}" + (
        f" on axis {quantization['axis']}" if quantization["scales"] > 1 else ""
    )


def _duplicates(model: View, extent: Extent) -> Table:
    table = Table("Stored twice", ("same", "what", "#wasted bytes"))
    rows = model["duplicates"]
    shown = rows[: extent.rows]
    for row in shown:
        names = " / ".join(cut(name, 60) for name in row["names"][:3])
        more = f" and {len(row['names']) - 3} more" if len(row["names"]) > 3 else ""
        table.add(row["kind"], names + more, f"{row['wasted_bytes']:,}")
    if len(shown) < len(rows):
        rest = sum(row["wasted_bytes"] for row in rows[len(shown) :])
        table.add("others", f"{len(rows) - len(shown):,} more; {extent.more}", f"{rest:,}")
    if not rows:
        table.add("nothing", None, None)
    return table


def tensors(subgraph: View, signs: int) -> Table:
    """Every tensor of a subgraph, its name in at most so many signs."""
    title = f"Tensors of subgraph {subgraph['index']}"
    table = Table(title, ("#", "name", "type", "shape", "scales", "#buffer"))
    for t in subgraph["tensors"]:
        name = cut(t["name"], signs) + (" (variable)" if t["variable"] else "")
        scales = _scales(t["quantization"]) + (" sparse" if t["sparse"] else "")
        table.add(t["index"], name, t["type"], t["shape"], scales, t["buffer"])
    return table


def steps(subgraph: View, signs: int) -> Table:
    """Every op of a subgraph in the order they run, its tensors by number, in at most so many
    signs."""
    title = f"Ops of subgraph {subgraph['index']}"
    table = Table(title, ("#", "op", "#version", "#XNNPACK part", "reads", "makes"))
    for number, op in enumerate(subgraph["ops"]):
        ends = (cut(", ".join(map(str, ends)), signs) for ends in (op["inputs"], op["outputs"]))
        table.add(number, op["name"], op["version"], op["part"], *ends)
    return table
