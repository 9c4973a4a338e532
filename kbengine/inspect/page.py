"""A view of a file as one page of HTML that needs nothing else: no network, no script."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath

from kbengine.files import whole_file
from kbengine.inspect.markup import Element, add, element, written
from kbengine.inspect.picture import PARTS, Picture, Room, picture
from kbengine.inspect.style import STYLE
from kbengine.inspect.tables import (
    Extent,
    Table,
    bundle_tables,
    byte_tables,
    cut,
    overview_tables,
    steps,
    tensors,
    verdicts,
)
from kbengine.inspect.view import View

# A hostile file of any size must not become a page that no browser can show (see also `Room`).
MAX_ROWS = 1000  # of a table
_ROW_SIGNS = 150  # of the tags of a row
MAX_SUBGRAPHS = 64
_MAX_CELL = 1000  # signs
_MAX_JSON = 100_000
_NAME_SIGNS = 200
_EXTENT = Extent(MAX_ROWS - 2, _NAME_SIGNS, "see --json")  # two rows sum up the rest
# Even if a text got out of its element, the browser would load and run nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_CLASSES = {True: "good", False: "bad", None: "unsure"}
_MARKS = {"kept": "good", "broken": "bad", "not tried": "unsure", "ok": "good", "damaged": "bad"}

Section = tuple[str, list[Element]]  # a title and what stands below it


def write_page(path: Path, view: View) -> None:
    """Write the page, whole or not at all."""
    content = page(view).encode()
    with whole_file(path) as file:
        file.write(content)


def page(view: View) -> str:
    """The page as HTML."""
    name = PurePath(view["file"]).name
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", f"{name} · kbengine inspect"),
        element("style", STYLE),
    )
    room = Room()
    tables, rest = list(_tables(view, room)), list(_rest(view, room))
    links, columns, wide = element("nav"), element("div", class_="columns"), element("main")
    for i, (title, content) in enumerate([*tables, *rest]):
        add(links, element("a", title, href=f"#s{i}"), " ")
        section = element("section", element("h2", title), *content, id=f"s{i}")
        add(columns if i < len(tables) else wide, section, "\n")
    body = element("body", *_top(view, name), links, columns, wide)
    return written(element("html", head, body, lang="en"))


def _top(view: View, name: str) -> Iterator[Element]:
    """The name, what it is worth, and a few figures."""
    yield element("p", f"kbengine inspect · {view['kind']}", class_="faint")
    yield element("h1", name)
    if view["file"] != name:
        yield element("p", view["file"], class_="faint")
    items = (
        element("li", cut(text, _MAX_CELL), class_=_CLASSES[good]) for good, text in verdicts(view)
    )
    yield element("ul", *items, class_="verdicts")
    facts = (
        element("div", element("dt", what), element("dd", figure)) for what, figure in _facts(view)
    )
    yield element("dl", *facts, class_="facts")


def _facts(view: View) -> Iterator[tuple[str, str]]:
    yield "file", f"{view['bytes']:,} bytes"
    model = view["model"]
    if model is None:
        return
    if view["bundle"]:
        yield "model in it", f"{model['bytes']:,} bytes"
    yield "ops", f"{sum(op['count'] for op in model['ops']):,}"
    if all(op["taken"] is not None for op in model["ops"]):
        yield "XNNPACK takes", f"{sum(op['taken'] for op in model['ops']):,} ops"
    for row in (model["times"] or [])[:4]:
        if "p50_ms" in row:
            what = "main graph" if row["signature"] is None else cut(row["signature"], 40)
            yield f"a step, {what}", f"{row['p50_ms']:.3f} ms"


def _tables(view: View, room: Room) -> Iterator[Section]:
    """What is small and stands side by side."""
    if view["model"]:
        for table in overview_tables(view):
            yield table.title, _table(table, room)


def _rest(view: View, room: Room) -> Iterator[Section]:
    """What needs the width of the page."""
    model = view["model"]
    if model:
        for subgraph in model["subgraphs"][:MAX_SUBGRAPHS]:
            title = f"Graph {subgraph['index']}: {cut(subgraph['name'], 40) or 'no name'}"
            yield title, _graph(subgraph, model["signatures"], room)
        more = len(model["subgraphs"]) - MAX_SUBGRAPHS
        if more > 0:
            yield "More graphs", [element("p", f"{more:,} are left out; see --json.")]
        for table in byte_tables(model, _EXTENT):
            yield table.title, _table(table, room)
    for table in bundle_tables(view["bundle"]) if view["bundle"] else ():
        content = _table(table, room)
        if table.title == "Manifest":
            whole = json.dumps(view["bundle"]["manifest"], ensure_ascii=False, indent=1)
            content.append(_folded("The whole manifest", element("pre", cut(whole, _MAX_JSON))))
        yield table.title, content


def _table(table: Table, room: Room, count: int | None = None) -> list[Element]:
    """A table that scrolls by itself where the page is narrow, as far as there is room. count: how
    many rows there are, where the table has not all."""
    kinds = {"#": "number", "%": "share"}
    classes = [kinds.get(column[:1]) for column in table.columns]
    names = [
        column[1:] if kind and column != "#" else column
        for column, kind in zip(table.columns, classes, strict=True)
    ]
    head = element("tr", *(element("th", n, class_=k) for n, k in zip(names, classes, strict=True)))
    body = element("tbody")
    shown = 0
    for row in table.rows[:MAX_ROWS]:
        room.signs -= _ROW_SIGNS + sum(min(len(text), _MAX_CELL) for text in row)
        if room.signs < 0:
            break
        shown += 1
        cells = zip(row, names, classes, strict=True)
        add(body, element("tr", *(_cell(*cell) for cell in cells)), "\n")
    grid = element("table", element("thead", head), body)
    found = [element("div", grid, class_="scroll")]
    left_out = (len(table.rows) if count is None else count) - shown
    if left_out:
        more = f"{left_out:,} more rows are left out; see --json."
        found.append(element("p", more, class_="faint"))
    return found


def _cell(text: str, column: str, kind: str | None) -> Element:
    if kind == "share":
        width = f"width: {float(text.removesuffix(' %')) / 100 * 9:.3f}rem"
        bar = element("span", class_="bar", style=width)
        return element("td", element("span", text, class_="percent"), bar, class_=kind)
    if column in ("", "sha256"):
        kind = _MARKS.get(text, kind)
    return element("td", cut(text, _MAX_CELL), class_=kind)


def _graph(subgraph: View, signatures: list[View], room: Room) -> list[Element]:
    """The picture of a subgraph with what its colours mean, and its ops and tensors."""
    drawn = picture(subgraph, signatures, room)
    found = [_legend(subgraph, drawn)]
    count = len(subgraph["ops"])
    if drawn.ops < count:
        told = f"Only the first {drawn.ops:,} of {count:,} ops are drawn; the others are too many."
        found.append(element("p", told, class_="unsure"))
    ends = len(subgraph["inputs"]) + len(subgraph["outputs"])
    if drawn.ends < ends:
        told = f"Only {drawn.ends:,} of {ends:,} inputs and outputs are drawn."
        found.append(element("p", told, class_="unsure"))
    found.append(element("div", drawn.svg, class_="picture"))
    for rows, table in (("ops", steps), ("tensors", tensors)):
        count = len(subgraph[rows])
        shown = table({**subgraph, rows: subgraph[rows][:MAX_ROWS]}, _NAME_SIGNS)
        found.append(_folded(f"{shown.title} ({count:,})", *_table(shown, room, count)))
    return found


def _legend(subgraph: View, drawn: Picture) -> Element:
    """Each colour with what it stands for."""
    parts = Counter(op["part"] for op in subgraph["ops"])
    rest = parts.pop(None, 0)
    entries = [("end", "input, output")]
    if any((g.get("class") or "").endswith(" state") for g in drawn.svg.iter("g")):
        entries.append(("end state", "state, given back at the next step"))
    if subgraph["xnnpack_parts"] is None:
        why = cut(subgraph["xnnpack_error"])
        entries.append(("unknown", f"ops; what XNNPACK takes is not known: {why}"))
        rest = 0
    for part in sorted(parts)[:PARTS]:
        entries.append((f"part{part}", f"ops in XNNPACK's part {part}: {parts[part]:,}"))
    if len(parts) > PARTS:
        entries.append(("", f"{len(parts) - PARTS:,} more parts in the same colours in turn"))
    if rest:
        entries.append(("other", f"ops that XNNPACK leaves: {rest:,}"))
    items = (element("li", *([_swatch(kind)] if kind else []), text) for kind, text in entries)
    return element("ul", *items, class_="legend")


def _swatch(kind: str) -> Element:
    rect = element("rect", x=1, y=1, width=20, height=12, rx=3)
    return element("svg", rect, class_=kind, width=22, height=14)


def _folded(title: str, *content: Element) -> Element:
    return element("details", element("summary", title), *content)
