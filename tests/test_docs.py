"""README.md and docs/*.md: every block does what it shows, every link leads somewhere, and
nothing that is public is left untold."""

from __future__ import annotations

import inspect
import json
import re
import zipfile
from pathlib import Path

import pytest

import kbengine
from kbengine import bundle, cli
from kbengine.modelindex import read_index, row_of
from kbengine.serve import Server
from tests import documents
from tests.documents import PAGES, ROOT, Block, blocks, problems, same, same_reply
from tests.toys import toy_bundle, toy_engine, toy_manifest

README = (ROOT / "README.md").read_text(encoding="utf-8")
MEND = "\n(where it is the page that is wrong: python -m tests.documents)"

_LINK_RE = re.compile(r"\]\(([^)\s]+)\)")
# A path in backticks that names a file of the project.
_PATH_RE = re.compile(r"`((?:kbengine|train|tests|docs|data)/[\w./-]+\.\w+)`")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """A page without its blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings of a page in links."""
    headings = re.findall(r"^#+ +(.*?) *$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


by_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


# Blocks


def test_the_heart_of_the_input_method_is_that_of_the_example() -> None:
    example = (ROOT / "tests" / "input_method.py").read_text(encoding="utf-8")
    shown = [b.code for b in blocks(README) if "class InputMethod:" in b.code]
    _, heart = "".join(shown).split("class InputMethod:\n")
    assert heart.count("def ") == 2
    for method in heart.split("\n\n"):
        assert method.rstrip() in example


@by_page
def test_every_block_does_what_it_shows(path: Path) -> None:
    found = problems(path, path.read_text(encoding="utf-8"))
    name = path.relative_to(ROOT)
    told = [f"{name}, line {p.block.line}: the block {p.text}" for p in found]
    assert not told, "\n".join(told) + MEND


def test_what_is_run_elsewhere_is_run_there_and_stands_on_a_page() -> None:
    lines = {line for path in PAGES for b in blocks(path.read_text("utf-8")) for line in told(b)}
    assert set(documents.ELSEWHERE) <= lines
    for where in documents.ELSEWHERE.values():
        name, _, test = where.partition("::")
        assert not test or f"def {test}(" in (ROOT / name).read_text(encoding="utf-8"), where


def told(block: Block) -> list[str]:
    return [*documents.commands(block.code), block.code.partition("\n")[0]]


def fenced(language: str, code: str) -> str:
    return f"Text.\n\n```{language}\n{code}\n```\n"


REQUEST = '{"op": "reset"}'


@pytest.mark.parametrize(
    "text",
    [
        fenced("python", "print(1)") + fenced("text", "1").removeprefix("Text.\n"),
        fenced("python", "a = 1") + fenced("python", "assert a == 1"),
        fenced("sh", "kbengine suggest 'See you ' # said\nmake test"),
        fenced("sh", "printf '{\"op\": 1}\\n' | kbengine serve --stdio"),
        fenced("json", REQUEST + '\n{"ok": true}'),
    ],
)
def test_a_right_page_has_no_problems(text: str) -> None:
    assert problems(ROOT / "page.md", text) == []


@pytest.mark.parametrize(
    "text",
    [
        fenced("python", "print(1)") + fenced("text", "2").removeprefix("Text.\n"),
        fenced("python", "print(1)") + fenced("text", "1"),  # prose between: no output
        fenced("text", "not listed"),
        fenced("", "a = 1"),
        fenced("rust", "let a = 1;"),
        fenced("sh", "true"),
        fenced("sh", "kbengine suggest"),
        fenced("sh", "kbengine suggest x --slots verbs 2> errors.txt"),
        fenced("sh", "kbengine suggest x >&2"),
        fenced("json", REQUEST),
        fenced("json", REQUEST + '\n{"ok": false}'),
        fenced("json", REQUEST + '\n{"ok": true, "more": 1}'),
    ],
)
def test_a_wrong_page_has_a_problem(text: str) -> None:
    assert len(problems(ROOT / "page.md", text)) == 1


def test_what_a_block_raises_names_the_line_of_the_page() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        problems(ROOT / "page.md", fenced("python", "a = 0\n1 / a"))
    last = raised.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (str(ROOT / "page.md"), 5)


def test_a_block_that_is_not_closed_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1"):
        list(blocks("```python\na = 1\n"))


def test_a_mended_page_has_no_problems() -> None:
    wrong = (
        fenced("python", "print('a')\nprint('b')") + "\n```text\nc\n```\n"
        + fenced("json", REQUEST + "\n{}") + "The end.\n"
    )  # fmt: skip
    right = documents.mended(ROOT / "page.md", wrong)
    assert right == wrong.replace("\nc\n", "\na\nb\n").replace("{}", '{"ok": true}')
    assert problems(ROOT / "page.md", right) == []


def test_last_digits_do_not_count() -> None:
    assert same("too  -0.84\n", "too -0.83")
    assert not same("too -0.84", "too -0.94")
    assert not same("too 84", "too 85")
    assert not same("too -0.84", "to -0.84")
    assert not same("too -0.84", "too")
    assert same_reply({"scores": [-0.84, 1]}, {"scores": [-0.83, 1]})
    assert not same_reply({"scores": [-0.84]}, {"scores": [-0.94]})
    assert not same_reply({"scores": [-0.84]}, {"scores": [-0.84, -1.0]})
    assert not same_reply({"ok": True}, {"ok": True, "error": ""})


def test_the_readme_s_edit_is_as_its_comment_says() -> None:
    names: dict[str, object] = {}
    for block in blocks(README):
        if block.language == "python":
            exec(compile(block.code, "README.md", "exec"), names)
    edit = names["edit"]
    assert isinstance(edit, kbengine.Edit)
    assert edit.delete == 2
    assert edit.insert.endswith(" ")


# Links


def target(path: Path, link: str) -> tuple[Path, str]:
    place, _, anchor = link.partition("#")
    return (path.parent / place).resolve() if place else path, anchor


@by_page
def test_every_link_leads_somewhere(path: Path) -> None:
    text = prose(path.read_text(encoding="utf-8"))
    for link in _LINK_RE.findall(text):
        if "://" in link:
            continue
        file, anchor = target(path, link)
        assert file.exists(), link
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), link
    missing = [name for name in _PATH_RE.findall(text) if not (ROOT / name).exists()]
    assert missing == []


def test_the_readme_links_every_page() -> None:
    linked = {target(PAGES[0], link)[0] for link in _LINK_RE.findall(prose(README))}
    assert [path.name for path in PAGES[1:] if path not in linked] == []


# What has to be told


def test_every_verb_is_told_of() -> None:
    verbs = next(a for a in cli.parser()._actions if a.dest == "verb").choices
    assert verbs is not None
    assert [verb for verb in verbs if f"kbengine {verb}" not in README] == []


def test_every_training_option_that_is_told_of_exists() -> None:
    from train.__main__ import parser

    run = next(a for a in parser()._actions if a.dest == "verb").choices
    assert run is not None
    known = {o for p in run.values() for a in p._actions for o in a.option_strings}  # type: ignore[union-attr]
    section = README.split("\n## Train")[1].split("\n## ")[0]
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", section))
    assert len(named) > 2
    assert named - {"--bundle"} <= known


def test_the_api_is_told_whole() -> None:
    engine = toy_engine()
    names = {*kbengine.__all__, *vars(engine), *vars(engine.session())}
    for value in (getattr(kbengine, name) for name in kbengine.__all__):
        if isinstance(value, type) and not issubclass(value, Exception):
            names |= {f"{n}(" if inspect.isfunction(v) else n for n, v in vars(value).items()}
    told = set(re.findall(r"`(?:\w+\.)?(\w+\(?)", page("api.md") + page("models.md")))
    told |= {name.rstrip("(") for name in told}
    assert {name for name in names if name[0] != "_"} <= told


def test_the_index_of_the_page_is_one() -> None:
    (shown,) = (b.code for b in blocks(page("models.md")) if b.code.startswith('{"format"'))
    data = shown.replace("0f3a...", "0f3a" * 16).encode()
    (entry,) = read_index(data, "https://models.example/index.json")
    assert entry.urls == (
        "https://models.example/es-3.bundle", "https://mirror.example/es-3.bundle",
    )  # fmt: skip
    rows = re.findall(r"^\| `(\w+)` \| (?:whole|string)", page("models.md"), re.MULTILINE)
    assert sorted(rows) == sorted(["format", *row_of(entry)])


def test_the_protocol_is_told_whole() -> None:
    text = page("protocol.md")
    server = Server(toy_engine())
    ops = server.answer(b'{"op": "?"}')["error"].partition(" are ")[2].split(", ")
    assert ops
    for op in ops:
        assert f"`{op}`" in "".join(re.findall(r"^## .*", text, re.MULTILINE)), op
        assert f'{{"op": "{op}"' in text
        assert "error" not in server.answer(b'{"op": "%s", "candidate": "the"}' % op.encode())
    for key in server.answer(b'{"op": "info"}'):
        assert f"`{key}`" in text


def test_the_bundle_is_told_whole() -> None:
    text = page("bundle.md")
    for name in (*bundle.PARTS, *bundle.FAMILIES, *toy_manifest(), "format", "parts"):
        assert f"`{name}`" in text, name


def test_the_limits_of_the_bundle_s_parts_are_as_told(tmp_path: Path) -> None:
    limits = re.findall(r"^\| `(\w+)` \|.* (\d+) MiB \|$", page("bundle.md"), re.MULTILINE)
    assert [name for name, _ in limits] == list(bundle.PARTS)
    whole = bundle.read_bundle(toy_bundle(tmp_path / "toy.bundle"))
    for name, mebibytes in limits:
        for beyond, said in ((0, "damaged"), (1, "lacks fields")):
            facts = {**whole.manifest["parts"][name], "bytes": (int(mebibytes) << 20) + beyond}
            manifest = {**whole.manifest, "parts": {**whole.manifest["parts"], name: facts}}
            forged = tmp_path / "forged.bundle"
            with zipfile.ZipFile(forged, "w") as archive:
                archive.writestr("manifest.json", json.dumps(manifest))
                for part, content in whole.parts.items():
                    archive.writestr(part, content)
            with pytest.raises(kbengine.BundleError, match=said):
                bundle.read_bundle(forged)
