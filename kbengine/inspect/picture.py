"""A picture of a subgraph in SVG: ops as boxes, what goes from one to another as lines.

Constants are notes on the ops that read them. Colours are classes, which the page gives a
meaning (`kbengine.inspect.style`).
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kbengine.inspect.layers import Net, Point, layout
from kbengine.inspect.markup import Element, add, element
from kbengine.inspect.tables import cut
from kbengine.inspect.view import View

MAX_ENDS = 100  # inputs, and outputs, of a picture
PARTS = 6  # colours for parts of XNNPACK, which come again in turn
_NOTES = 4  # on an op
_TOLD = 12  # tensors that hovering over an op tells of, each way
_DIMENSIONS = 8  # no op of LiteRT knows more
_SIGNS = 36  # of a line in a box
_TAG_SIGNS = 300  # of a line's tags
_SIGN_WIDTH, _LINE_HEIGHT, _MARGIN = 6.9, 15.0, 10.0  # pixels; of 11 px monospace fonts


@dataclass(slots=True)
class Room:
    """What a page still has room for, so that no file becomes one that no browser can show.

    Of all pictures together: ops and ends, the boxes of ops, and of inputs and outputs; span, the
    lengths of all lines in rows (the slowest graphs tried took a second). signs: of all ops and
    lines and of the rows of all tables; each becomes five bytes at most, a page 16 MB.
    """

    ops: int = 1000
    ends: int = 1000
    span: int = 20_000
    signs: int = 3_000_000


@dataclass(frozen=True, slots=True)
class Picture:
    """ops, ends: how many are drawn, from the first on."""

    svg: Element
    ops: int
    ends: int


@dataclass(slots=True)
class _Box:
    """kind: a class for its colour. data: attributes that say what it is."""

    kind: str
    lines: list[str]
    title: str
    data: dict[str, object]
    row: int = 0

    def size(self) -> Point:
        width = max(_cells(line) for line in self.lines) * _SIGN_WIDTH + 2 * _MARGIN
        return width, len(self.lines) * _LINE_HEIGHT + _MARGIN


@dataclass(slots=True)
class _Drawing:
    """The boxes of a picture, and for (a box, the tensor that leaves it) where that goes."""

    boxes: list[_Box] = field(default_factory=list)
    makers: dict[int, int] = field(default_factory=dict)
    nets: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def reach(self, tensors: Iterable[int]) -> int:
        """How long all lines to a new box would be, in rows."""
        rows = [self.boxes[self.makers[t]].row for t in tensors if t in self.makers]
        return (max(rows) + 1) * len(rows) - sum(rows) if rows else 0

    def place(self, box: _Box, tensors: Iterable[int] = (), made: Iterable[int] = ()) -> None:
        """Add a box that reads some tensors, as far as they are made already, and makes some."""
        number = len(self.boxes)
        for tensor in tensors:
            if tensor in self.makers:
                source = self.makers[tensor]
                box.row = max(box.row, self.boxes[source].row + 1)
                self.nets.setdefault((source, tensor), []).append(number)
        self.boxes.append(box)
        self.makers |= dict.fromkeys(made, number)


def picture(subgraph: View, signatures: Sequence[View], room: Room) -> Picture:
    """Draw a subgraph of a view, as far as there is room, and take that from it.

    signatures: all of the model. A tensor that an op reads and no op before it has made, nor
    any constant, is a note like a constant.
    """
    drawing = _Drawing()
    names = _names(subgraph["index"], signatures)
    inputs = subgraph["inputs"][: min(MAX_ENDS, room.ends)]
    for tensor in inputs:
        drawing.place(_end("input", subgraph, tensor, names), made=[tensor])
    drawn = 0
    for number, op in enumerate(subgraph["ops"][: room.ops]):
        reads = [i for i in dict.fromkeys(op["inputs"]) if i >= 0]
        span = drawing.reach(reads)
        if span > room.span:
            break
        box = _op(subgraph, number, [i for i in reads if i not in drawing.makers])
        lines = [_told(subgraph["tensors"][i]) for i in reads if i in drawing.makers]
        signs = len(box.title) + sum(len(told) + _TAG_SIGNS for told in lines)
        if signs > room.signs:
            break
        room.span -= span
        room.signs -= signs
        drawing.place(box, reads, op["outputs"])
        drawn += 1
    for tensor in subgraph["outputs"][: min(MAX_ENDS, room.ends - len(inputs))]:
        if tensor in drawing.makers or drawn == len(subgraph["ops"]):
            drawing.place(_end("output", subgraph, tensor, names), [tensor])
    ends = len(drawing.boxes) - drawn
    room.ops -= drawn
    room.ends -= ends
    return Picture(_svg(drawing, subgraph), drawn, ends)


def _names(index: int, signatures: Sequence[View]) -> dict[tuple[str, int], tuple[str, bool]]:
    """(side, tensor) -> its name in a signature, and whether it is a state: what a signature
    both takes and gives by one name."""
    found = {}
    for signature in signatures:
        if signature["subgraph"] == index:
            ends = {side: signature[f"{side}s"] for side in ("input", "output")}
            both = {e["name"] for e in ends["input"]} & {e["name"] for e in ends["output"]}
            for side, rows in ends.items():
                for end in rows:
                    found[side, end["tensor"]] = (end["name"], end["name"] in both)
    return found


def _end(
    side: str, subgraph: View, tensor: int, names: dict[tuple[str, int], tuple[str, bool]]
) -> _Box:
    facts = subgraph["tensors"][tensor]
    name, state = names.get((side, tensor), (facts["name"], False))
    what = f"state {'in' if side == 'input' else 'out'}" if state else side
    return _Box(
        "end state" if state else "end",
        [_fit(name), what, _fit(_kind(facts))],
        f"{what} {cut(name)}\n{_told(facts)}",
        {f"data_{side}": tensor},
    )


def _op(subgraph: View, number: int, unmade: Sequence[int]) -> _Box:
    op, tensors = subgraph["ops"][number], subgraph["tensors"]
    notes = _grouped([_note(tensors[i]) for i in unmade], _NOTES)
    outs = _grouped([_kind(tensors[i]) for i in op["outputs"] if i >= 0], 1)
    kind, taken = "other", "not taken by XNNPACK"
    if subgraph["xnnpack_parts"] is None:
        kind, taken = "unknown", "whether XNNPACK takes it is not known"
    elif op["part"] is not None:
        kind, taken = f"part{op['part'] % PARTS}", f"taken by XNNPACK, part {op['part']}"
    title = [f"op {number}: {cut(op['name'])}, version {op['version']}", taken]
    for side, ends in (("in", op["inputs"]), ("out", op["outputs"])):
        title += [f"{side}: {_told(tensors[i]) if i >= 0 else 'none'}" for i in ends[:_TOLD]]
        if len(ends) > _TOLD:
            title.append(f"{side}: {len(ends) - _TOLD} more")
    lines = [op["name"], *notes, *(f"→ {out}" for out in outs)]
    return _Box(kind, [_fit(x) for x in lines], "\n".join(title), {"data_op": number})


def _grouped(notes: Sequence[str], most: int) -> list[str]:
    """Different notes, at most so many, each with how often it is there."""
    counts = Counter(notes).most_common()
    found = [f"{count} × {note}" if count > 1 else note for note, count in counts[:most]]
    rest = sum(count for _, count in counts[most:])
    return [*found, f"{rest} more"] if rest else found


def _kind(tensor: View) -> str:
    shape = tensor["shape"]
    told = f"[{len(shape)} dimensions]" if len(shape) > _DIMENSIONS else str(shape)
    return f"{tensor['type']} {told}"


def _note(tensor: View) -> str:
    """What an op reads that no other makes: a constant, mostly."""
    if tensor["external"]:
        return f"{_kind(tensor)} · elsewhere"
    if tensor["bytes"]:
        return f"{_kind(tensor)} · {_size(tensor['bytes'])}"
    return f"{_kind(tensor)} · {'variable' if tensor['variable'] else 'unmade'}"


def _told(tensor: View) -> str:
    constant = f", {tensor['bytes']:,} bytes of constants" if tensor["bytes"] else ""
    variable = ", variable" if tensor["variable"] else ""
    return f"tensor {tensor['index']}, {cut(tensor['name'])}, {_kind(tensor)}{constant}{variable}"


def _size(n_bytes: int) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} B"


def _cells(text: str) -> int:
    """Widths of a sign; those of East Asia are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _fit(text: str) -> str:
    """The beginning of a text, in as many cells as a box has."""
    text = cut(text, _SIGNS)
    while _cells(text) > _SIGNS:
        text = text[:-2] + "…"
    return text


def _svg(drawing: _Drawing, subgraph: View) -> Element:
    ways = list(drawing.nets.items())
    sizes = [box.size() for box in drawing.boxes]
    found = layout(sizes, [Net(source, tuple(targets)) for (source, _), targets in ways])
    edge = 2  # half a line's width would be cut off
    box = (-edge, -edge, round(found.width) + 2 * edge, round(found.height) + 2 * edge)
    svg = element(
        "svg",
        viewBox=" ".join(map(str, box)),
        width=box[2],
        height=box[3],
        role="img",
        aria_label=f"Graph of subgraph {subgraph['index']}",
    )
    for (net, target), points in found.lines.items():
        (source, tensor), _ = ways[net]
        title = element("title", _told(subgraph["tensors"][tensor]))
        way = _way(points)
        # The wide line can't be seen, and is there to be hovered over.
        lines = (element("path", d=way, class_=name) for name in ("wide", "line"))
        data = {"data_tensor": tensor, "data_from": source, "data_to": target}
        add(svg, element("g", title, *lines, class_="edge", **data))
    for number, (box_, (x, y), size) in enumerate(
        zip(drawing.boxes, found.places, sizes, strict=True)
    ):
        add(svg, _drawn(number, box_, (x, y), size))
    return svg


def _drawn(number: int, box: _Box, place: Point, size: Point) -> Element:
    (x, y), (width, height) = place, size
    rounding = height / 2 if box.kind.startswith("end") else 4
    found = element(
        "g",
        element("title", box.title),
        element("rect", x=_n(x), y=_n(y), width=_n(width), height=_n(height), rx=_n(rounding)),
        class_=box.kind,
        data_box=number,
        **box.data,
    )
    for i, line in enumerate(box.lines):
        at = {"x": _n(x + width / 2), "y": _n(y + _MARGIN / 2 + (i + 0.75) * _LINE_HEIGHT)}
        add(found, element("text", line, class_=None if i else "name", **at))
    return found


def _way(points: Sequence[Point]) -> str:
    """Straight down and a curve by turns, without a corner."""
    found = f"M{_n(points[0][0])} {_n(points[0][1])}"
    for i, (x, y) in enumerate(points[1:], start=1):
        last_x, last_y = points[i - 1]
        if i % 2 or x == last_x:
            found += f"V{_n(y)}"
        else:
            middle = _n((last_y + y) / 2)
            found += f"C{_n(last_x)} {middle} {_n(x)} {middle} {_n(x)} {_n(y)}"
    return found


def _n(number: float) -> str:
    """A number as short as a tenth of a pixel allows."""
    return f"{number:.1f}".removesuffix(".0")
