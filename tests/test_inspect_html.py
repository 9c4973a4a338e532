"""`kbengine inspect --html`: the page tells all, and nothing of a file gets loose in it."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from kbengine.cli import main
from kbengine.errors import KbengineError
from kbengine.inspect import page as pages
from kbengine.inspect.page import page
from kbengine.inspect.picture import Room
from kbengine.inspect.tables import (
    Extent,
    bundle_tables,
    byte_tables,
    overview_tables,
    steps,
    tensors,
    verdicts,
)
from kbengine.inspect.view import View, view
from kbengine.packaged import DEFAULT_BUNDLE
from tests.modelfiles import mutated, pack, small, structure, tensor, written
from tests.smallmodel import small_model
from tests.toys import toy_bundle

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Tag:
    """text: all that stands in it, further in too. inside: the tags right in it."""

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name, self.attributes = name, attributes
        self.text = ""
        self.inside: list[Tag] = []

    def all(self, name: str, **attributes: str) -> Iterator[Tag]:
        """Every tag further in of a name, with these among its attributes."""
        for tag in self.inside:
            if tag.name == name and attributes.items() <= tag.attributes.items():
                yield tag
            yield from tag.all(name, **attributes)

    def number(self, attribute: str) -> int:
        return int(self.attributes[attribute])

    def classes(self) -> set[str]:
        return set(self.attributes.get("class", "").split())


class Reader(HTMLParser):
    """Reads a page, and fails where what is opened is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open = [Tag("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        found = Tag(tag, {name: value or "" for name, value in attrs})
        self.open[-1].inside.append(found)
        if tag not in VOID:
            self.open.append(found)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for tag in self.open:
            tag.text += data


def read(html: str) -> Tag:
    assert html.startswith("<!DOCTYPE html>\n")
    reader = Reader()
    reader.feed(html)
    reader.close()
    (root,) = reader.open
    return root


def graphs(root: Tag) -> list[Tag]:
    return [div for div in root.all("div") if "picture" in div.classes()]


def shown(data: bytes, folder: Path) -> View:
    """A model's view, without the runtime."""
    return view(written(folder / "a.tflite", data), probe=False)


def changed(change: Callable[[Any], object]) -> bytes:
    """x + x = y with something changed."""
    model = schema.ModelT.InitFromPackedBuf(small([]))
    change(model)
    return pack(model)


@pytest.fixture(scope="module")
def shipped_view() -> View:
    return view(DEFAULT_BUNDLE, timing=True)


@pytest.fixture(scope="module")
def shipped_page(shipped_view: View) -> Tag:
    return read(page(shipped_view))


# By itself


def check_self_contained(root: Tag) -> None:
    names = {tag.name for tag in everything(root)}
    assert not names & {"script", "iframe", "object", "embed", "img", "link", "base", "form", "use"}
    for tag in everything(root):
        for name, value in tag.attributes.items():
            assert not name.startswith("on"), tag.name
            if name in ("src", "href", "xlink:href", "action", "data"):
                assert value.startswith("#"), f"{tag.name} {name}={value}"
            assert "url(" not in value or name != "style"
    (style,) = root.all("style")
    assert "url(" not in style.text
    assert "@import" not in style.text
    policies = root.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert [p.attributes["content"].split(";")[0] for p in policies] == ["default-src 'none'"]


def everything(root: Tag) -> Iterator[Tag]:
    for tag in root.inside:
        yield tag
        yield from everything(tag)


def test_it_needs_nothing_else(shipped_page: Tag) -> None:
    check_self_contained(shipped_page)


def test_links_lead_to_the_sections(shipped_page: Tag) -> None:
    places = [tag.attributes["id"] for tag in everything(shipped_page) if "id" in tag.attributes]
    assert len(set(places)) == len(places)
    assert [a.attributes["href"] for a in shipped_page.all("a")] == [f"#{p}" for p in places]


def test_colours_have_a_meaning_in_light_and_in_dark(shipped_page: Tag) -> None:
    (style,) = shipped_page.all("style")
    light, dark = (set(re.findall(r"(--[\w-]+):", part)) for part in style.text.split("@media")[:2])
    assert light == dark
    assert set(re.findall(r"var\((--[\w-]+)\)", style.text)) == light
    for tag in everything(shipped_page):
        for name in tag.classes():
            assert f".{name}" in style.text, name


# It tells all


def test_all_tables_are_there(shipped_view: View, shipped_page: Tag) -> None:
    model, everywhere = shipped_view["model"], Extent(None, 200, "")
    tables = [*overview_tables(shipped_view), *byte_tables(model, everywhere)]
    tables += bundle_tables(shipped_view["bundle"])
    for subgraph in model["subgraphs"]:
        tables += [steps(subgraph, 200), tensors(subgraph, 200)]
    found = []
    for table in shipped_page.all("table"):
        (body,) = table.all("tbody")
        found.append([tuple(td.text for td in row.all("td")) for row in body.all("tr")])
    assert sorted(table.rows for table in tables) == sorted(found)
    assert any(table.title.startswith("Time of a step") for table in tables)
    items = {li.text for li in shipped_page.all("li")}
    assert {sentence for _, sentence in verdicts(shipped_view)} <= items


def test_bars_are_as_long_as_the_shares(shipped_page: Tag) -> None:
    bars = [
        (float(td.text.removesuffix(" %")), float(bar.attributes["style"].split()[1][:-3]))
        for td in shipped_page.all("td", **{"class": "share"})
        for bar in td.all("span", **{"class": "bar"})
    ]
    longest = max(bars)
    assert longest[0] > 40
    for share, width in bars:
        assert width == pytest.approx(longest[1] * share / longest[0], abs=0.01)


def edges(subgraph: View) -> set[tuple[int, str, str]]:
    """Which tensor goes from where to where, read off the ops as they run."""
    makers = {t: f"input {t}" for t in subgraph["inputs"]}
    found = set()
    for number, op in enumerate(subgraph["ops"]):
        found |= {(t, makers[t], f"op {number}") for t in op["inputs"] if t in makers}
        makers |= dict.fromkeys(op["outputs"], f"op {number}")
    return found | {(t, makers[t], f"output {t}") for t in subgraph["outputs"] if t in makers}


def boxes(picture: Tag) -> dict[int, tuple[str, Tag]]:
    """By number what a box is, as ``op 3``, and its group."""
    found = {}
    for group in picture.all("g"):
        for kind in ("op", "input", "output"):
            if f"data-{kind}" in group.attributes:
                name = f"{kind} {group.number(f'data-{kind}')}"
                found[group.number("data-box")] = (name, group)
    return found


def check_graph(subgraph: View, picture: Tag) -> None:
    """Every op, input and output once, every line once, and nothing else."""
    placed = boxes(picture)
    names = [f"op {i}" for i in range(len(subgraph["ops"]))]
    names += [f"{side} {t}" for side in ("input", "output") for t in subgraph[f"{side}s"]]
    assert sorted(name for name, _ in placed.values()) == sorted(names)
    lines = Counter(
        (
            group.number("data-tensor"),
            placed[group.number("data-from")][0],
            placed[group.number("data-to")][0],
        )
        for group in picture.all("g", **{"class": "edge"})
    )
    assert set(lines) == edges(subgraph)
    assert set(lines.values()) == {1}
    assert len(list(picture.all("g"))) == len(placed) + len(lines)


def test_the_pictures_show_every_op_and_every_line(shipped_view: View, shipped_page: Tag) -> None:
    subgraphs = shipped_view["model"]["subgraphs"]
    for subgraph, picture in zip(subgraphs, graphs(shipped_page), strict=True):
        check_graph(subgraph, picture)


def test_an_op_says_what_it_reads_and_makes(shipped_view: View, shipped_page: Tag) -> None:
    for subgraph, picture in zip(
        shipped_view["model"]["subgraphs"], graphs(shipped_page), strict=True
    ):
        for name, group in boxes(picture).values():
            (title,) = group.all("title")
            if not name.startswith("op"):
                continue
            op = subgraph["ops"][group.number("data-op")]
            texts = [text.text for text in group.all("text")]
            assert texts[0] == op["name"]
            for tensor_ in (subgraph["tensors"][t] for t in op["inputs"] if t >= 0):
                assert tensor_["name"] in title.text
                if tensor_["bytes"]:
                    assert f"{tensor_['bytes']:,} bytes" in title.text
                    note = f"{tensor_['type']} {tensor_['shape']} · "
                    assert any(note in text for text in texts)
            for tensor_ in (subgraph["tensors"][t] for t in op["outputs"]):
                assert tensor_["name"] in title.text


def test_lines_say_what_goes_there(shipped_view: View, shipped_page: Tag) -> None:
    subgraph, picture = shipped_view["model"]["subgraphs"][0], graphs(shipped_page)[0]
    for group in picture.all("g", **{"class": "edge"}):
        found = subgraph["tensors"][group.number("data-tensor")]
        (title,) = group.all("title")
        for told in (found["name"], found["type"], str(found["shape"])):
            assert told in title.text


def test_colours_tell_what_xnnpack_takes(shipped_view: View, shipped_page: Tag) -> None:
    for subgraph, picture in zip(
        shipped_view["model"]["subgraphs"], graphs(shipped_page), strict=True
    ):
        for name, group in boxes(picture).values():
            if name.startswith("op"):
                part = subgraph["ops"][group.number("data-op")]["part"]
                assert group.classes() == {"other" if part is None else f"part{part}"}
    legends = [ul.text for ul in shipped_page.all("ul", **{"class": "legend"})]
    taken = [s["part"] for s in shipped_view["model"]["subgraphs"][0]["ops"]].count(0)
    assert f"ops in XNNPACK's part 0: {taken}" in legends[0]


def test_without_the_runtime_no_op_is_said_to_be_left(tmp_path: Path) -> None:
    root = read(page(shown(small_model(), tmp_path)))
    kinds = [
        group.classes() for name, group in boxes(graphs(root)[0]).values() if name.startswith("op")
    ]
    assert kinds
    assert all(kind == {"unknown"} for kind in kinds)
    assert "the runtime was not asked" in next(root.all("ul", **{"class": "legend"})).text


def test_states_are_marked_where_the_signature_names_them(
    shipped_view: View, shipped_page: Tag
) -> None:
    for signature in shipped_view["model"]["signatures"]:
        placed = boxes(graphs(shipped_page)[signature["subgraph"]]).values()
        states = [(name, g) for name, g in placed if "state" in g.classes()]
        assert [name for name, _ in states] == [
            f"{side} {end['tensor']}"
            for side in ("input", "output")
            for end in signature[f"{side}s"]
            if end["name"] == "state"
        ]
        assert [next(g.all("text")).text for _, g in states] == ["state", "state"]
        assert ["state in" in g.text for _, g in states] == [True, False]
        assert ["state out" in g.text for _, g in states] == [False, True]


def test_ends_meet(tmp_path: Path) -> None:
    """An input that is an output, an output that is a constant, an input that nobody reads."""

    def change(model: Any) -> None:
        buffer = schema.BufferT()
        buffer.data = [0] * 16
        model.buffers.append(buffer)
        graph = model.subgraphs[0]
        graph.tensors += [
            tensor("unread", [1], schema.TensorType.FLOAT32, 0),
            tensor("constant", [1, 4], schema.TensorType.FLOAT32, 1),
        ]
        graph.inputs, graph.outputs = [0, 2], [1, 0, 3]

    found = shown(changed(change), tmp_path)
    check_graph(found["model"]["subgraphs"][0], graphs(read(page(found)))[0])


def test_an_op_that_reads_what_is_made_later(tmp_path: Path) -> None:
    """Only a broken file has that; the lines still go down."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        second = schema.OperatorT()
        second.inputs, second.outputs = [1], [0]
        graph.operators[0].inputs = [0, 1]
        graph.operators.append(second)

    found = shown(changed(change), tmp_path)
    root = read(page(found))
    check_graph(found["model"]["subgraphs"][0], graphs(root)[0])
    assert "unmade" in boxes(graphs(root)[0])[1][1].text


def test_a_model_that_cannot_run_says_why(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        code = model.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = "NobodysOp"

    found = view(written(tmp_path / "a.tflite", changed(change)), timing=True)
    sections = [s.text for s in read(page(found)).all("section")]
    (times,) = (s for s in sections if s.startswith("Time of a step"))
    assert "not known: " in times
    assert "NobodysOp" in times


def test_bundles_without_a_graph(tmp_path: Path) -> None:
    path = toy_bundle(tmp_path / "toy.bundle")
    root = read(page(view(path)))
    assert graphs(root) == []
    assert "n-gram model" in root.text
    assert "toy" in root.text
    broken = tmp_path / "broken.bundle"
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("manifest.json", "{}")
    assert "does not open" in read(page(view(broken))).text


# Hostile files

ATTACKS = [
    "</svg><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></style></pre><script>alert(1)</script>",
    "]]><!-- <b>&lt;&amp;&#0;",
    "a\x00b\x1b[2J\u202egnp.\u2066c\r\nd",
]


def named(name: str, folder: Path) -> View:
    """A model with a name wherever a file has one."""

    def change(model: Any) -> None:
        model.description = name
        graph = model.subgraphs[0]
        graph.name = name
        for found in graph.tensors:
            found.name = name
        code = model.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = name
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = name, 0
        signature.inputs, signature.outputs = [schema.TensorMapT()], [schema.TensorMapT()]
        for side, place in ((signature.inputs, 0), (signature.outputs, 1)):
            side[0].name, side[0].tensorIndex = name, place
        model.signatureDefs = [signature]

    return shown(changed(change), folder)


def outline(root: Tag) -> list[Any]:
    return [(tag.name, outline(tag)) for tag in root.inside]


@pytest.mark.parametrize("name", ATTACKS)
def test_names_stay_text(name: str, tmp_path: Path) -> None:
    root, plain = (read(page(named(text, tmp_path))) for text in (name, "plain"))
    check_self_contained(root)
    assert outline(root) == outline(plain)
    seen = "".join(c if c.isprintable() else "\ufffd" for c in name.replace("\n", " "))
    assert root.text.replace("\n", " ").count(seen) >= 8
    assert all(c.isprintable() or c == "\n" for c in root.text)


@given(st.text(max_size=30))
@settings(max_examples=40)
def test_any_names_stay_text(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("named")
    name = name.encode("utf-8", "replace").decode()
    root = read(page(named(name, folder)))
    check_self_contained(root)
    assert outline(root) == outline(read(page(named("plain", folder))))


@pytest.mark.parametrize("text", ATTACKS)
def test_a_manifest_stays_text(text: str, tmp_path: Path) -> None:
    found = view(toy_bundle(tmp_path / "toy.bundle"), probe=False)
    found["bundle"]["manifest"] = {"name": text, "figures": {text: text}, text: [text, "\ud800"]}
    html = page({**found, "file": text})
    check_self_contained(read(html))
    html.encode("utf-8")


@pytest.mark.parametrize("seed", range(3))
def test_mutated_models_have_a_page(seed: int, tmp_path: Path) -> None:
    random, drawn = Random(seed), 0
    for _ in range(25):
        try:
            found = shown(mutated(structure(), random, 3), tmp_path)
        except KbengineError:
            continue
        root = read(page(found))
        check_self_contained(root)
        for subgraph, picture in zip(found["model"]["subgraphs"], graphs(root), strict=True):
            check_graph(subgraph, picture)
        drawn += 1
    assert drawn > 5


def chain(n_ops: int, name: str = "t") -> bytes:
    """Ops one after the other."""

    def change(model: Any) -> None:
        graph, op = model.subgraphs[0], model.subgraphs[0].operators[0]
        graph.tensors = [graph.tensors[0]] * (n_ops + 1)
        graph.tensors[0].name = name
        graph.outputs, graph.operators = [n_ops], []
        for i in range(n_ops):
            found = schema.OperatorT()
            found.inputs, found.outputs = [i, i], [i + 1]
            found.builtinOptionsType, found.builtinOptions = (
                op.builtinOptionsType,
                op.builtinOptions,
            )
            graph.operators.append(found)

    return changed(change)


def test_a_graph_of_many_ops_is_cut_and_says_so(tmp_path: Path) -> None:
    count = Room().ops + 500
    html = page(shown(chain(count), tmp_path))
    root = read(html)
    (picture,) = graphs(root)
    placed = [name for name, _ in boxes(picture).values()]
    assert [n for n in placed if n.startswith("op")] == [f"op {i}" for i in range(Room().ops)]
    assert f"Only the first {Room().ops:,} of {count:,} ops are drawn" in root.text
    assert "500 more rows are left out" in root.text
    assert len(html) < 3_000_000


def test_lines_beyond_number_are_not_drawn(tmp_path: Path) -> None:
    """One op makes what the next reads, 25,000 tensors."""

    def change(model: Any) -> None:
        graph, second = model.subgraphs[0], schema.OperatorT()
        between = list(range(2, 25_002))
        graph.tensors += [graph.tensors[0]] * len(between)
        graph.operators[0].outputs, second.inputs, second.outputs = between, between, [1]
        graph.operators.append(second)

    html = page(shown(changed(change), tmp_path))
    root = read(html)
    assert [name for name, _ in boxes(graphs(root)[0]).values()] == ["input 0", "op 0"]
    assert "Only the first 1 of 2 ops are drawn" in root.text
    assert len(html) < 1_000_000


@pytest.mark.parametrize("side", ["rows", "ends", "lines"])
def test_many_subgraphs_share_one_page(side: str, tmp_path: Path) -> None:
    """Each below the bounds of its own, all together tens of megabytes."""

    def change(model: Any) -> None:
        graph, name = model.subgraphs[0], "&" * 200  # five bytes a sign in a page
        count = {"rows": 400, "ends": 200, "lines": 1500}[side]
        between = list(range(2, count))
        graph.tensors += [tensor(name, [1, 4], schema.TensorType.FLOAT32, 0)] * len(between)
        if side == "ends":
            graph.inputs, graph.outputs = list(range(100)), list(range(100, 200))
        if side == "lines":
            second = schema.OperatorT()
            graph.operators[0].outputs, second.inputs, second.outputs = between, between, [1]
            graph.operators.append(second)
        model.subgraphs *= pages.MAX_SUBGRAPHS

    html = page(shown(changed(change), tmp_path))
    assert len(html) < 16_000_000
    told = {
        "rows": "400 more rows are left out",
        "ends": "Only 0 of 200 inputs and outputs are drawn",
        "lines": "Only the first 1 of 2 ops are drawn",
    }
    assert told[side] in html
    assert html.count('class="picture"') == pages.MAX_SUBGRAPHS


def test_many_subgraphs_share_what_is_drawn(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.subgraphs *= pages.MAX_SUBGRAPHS + 36

    root = read(page(shown(changed(change), tmp_path)))
    assert len(graphs(root)) == pages.MAX_SUBGRAPHS
    assert "36 are left out" in root.text


def test_a_long_name_is_not_repeated_in_full(tmp_path: Path) -> None:
    """Every line tells the name of its tensor: 300 kB a hundred times over would be 30 MB."""
    assert len(page(shown(chain(100, name="n" * 300_000), tmp_path))) < 1_000_000


# The verb


def test_the_verb_leaves_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = written(tmp_path / "a.tflite", small([])), tmp_path / "a.html"
    assert main(["inspect", str(model), "--html", str(out), "--time"]) == 0
    assert capsys.readouterr().out.endswith(f"The page stands in {out}.\n")
    root = read(out.read_text(encoding="utf-8"))
    assert "a step, main graph" in [dt.text for dt in root.all("dt")]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "a.tflite"]


def refused(capsys: pytest.CaptureFixture[str], *args: Path) -> str:
    model, out = args
    assert main(["inspect", str(model), "--no-probe", "--html", str(out)]) == 1
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    return found.err


def test_where_no_page_can_stand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = written(tmp_path / "a.tflite", small([]))
    assert "is no folder" in refused(capsys, model, tmp_path / "none" / "a.html")
    assert "is a folder" in refused(capsys, model, tmp_path)
    assert "is a file that is read" in refused(capsys, model, tmp_path / "." / "a.tflite")
    assert model.read_bytes() == small([])


def test_a_page_is_written_whole_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = written(tmp_path / "a.tflite", small([]))
    out = tmp_path / f"{'a' * 250}.html"  # no name beside it can be longer
    out.write_text("before")
    refused(capsys, written(tmp_path / "broken.tflite", small([])[:200]), out)
    assert out.read_text() == "before"
    assert "cannot be used" in refused(capsys, model, out)
    assert out.read_text() == "before"
