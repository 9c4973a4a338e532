"""The rooms of the house: imports run one way, and the run time is free of TensorFlow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.toys import toy_bundle

ROOT = Path(__file__).parent.parent
ENGINE = sorted((ROOT / "kbengine").rglob("*.py"))
TRAIN = sorted((ROOT / "train").rglob("*.py"))

# Each floor may use those below it, and what it names of its own floor with `<`.
FLOORS = (
    (
        "types",
        "errors",
        "protocols",
        "arrays",
        "quiet",
        "files",
        "folders",
        "coding",
        "locks",
    ),
    ("cachefolder", "modelindex", "text", "memory", "layout", "autocorrect", "container"),
    ("lettertrie", "vocab", "emojitable", "emojistyle", "wordfilter", "channel"),
    ("lexicon", "tree", "emojimodel", "emojifinder", "decoder"),
    ("constraint", "beam", "said"),
    ("ear",),
    (
        "lm",
        "lm.cache",
        "lm.layer",
        "lm.mixture",
        "lm.ngram",
        "lm.flatbuffer",
        "lm.stepops",
        "lm.stepfile",
        "lm.tflite",
    ),
    (
        "bundle",
        "sources",
        "sources.query",
        "sources.words",
        "sources.phrases",
        "sources.spaces",
        "sources.emoji",
        "sources.signs",
        "sources.names",
    ),
    ("shipping",),
    ("mirror", "restored"),
    ("fetch",),
    ("indexing", "modelshelf"),
    ("storeoptions", "wanted"),
    ("packaged",),
    ("published",),
    ("mix", "predict"),
    ("session",),
    ("engine",),
    ("modelstore",),
    ("loading",),
    ("explanation",),
    ("serve", "repl"),
    ("evaluate", "evaluate.lines", "evaluate.measures", "evaluate.counts"),
    ("evaluate.typist", "evaluate.perplexity", "evaluate.figures"),
    ("evaluate.evaluation", "evaluate.savings"),
    ("evaluate.result",),
    ("evaluate.compare", "evaluate.plots"),
    ("evaluate.calibration",),
    ("evaluate.emojis", "evaluate.noise"),
    ("evaluate.typos",),
    ("evaluate.table", "evaluate.typoplot"),
    ("evaluate.command",),
    ("bench.clock",),
    ("inspect.graph", "inspect.parts", "inspect.layers", "inspect.style"),
    ("inspect.contract", "inspect.duplicates", "inspect.runtime", "inspect.timing"),
    ("inspect.view", "inspect.probe"),
    ("inspect.tables",),
    ("inspect.report", "inspect.markup"),
    ("inspect.picture",),
    ("inspect.page",),
    ("inspect", "inspect.command"),
    ("bench.lines", "bench.progress", "bench.weights"),
    ("bench.shares", "bench.steps", "bench.keys", "bench.process"),
    ("bench.growth",),
    ("bench.wordstock",),
    ("bench.suite",),
    ("bench.report", "bench.plot"),
    ("bench", "bench.command"),
    ("modelverbs",),
    ("cli",),
    ("", "__main__"),  # the package itself: only names of its own parts
)
# These use less than their floor would let them.
ONLY: dict[str, set[str]] = {
    "beam": {"protocols", "tree"},
    "tree": {"protocols"},
    "autocorrect": {"types"},
    "channel": {"errors", "layout", "protocols", "types"},
    "constraint": {"protocols", "text", "lexicon", "vocab", "decoder", "lettertrie"},
    "decoder": {"channel", "lettertrie", "protocols", "types"},
    "layout": {"errors"},
    "lettertrie": {"arrays", "protocols", "text"},
    "lm.cache": {"protocols", "vocab"},
    "lm.layer": {"protocols"},
    "lm.mixture": {"protocols", "vocab", "errors", "arrays"},
    "lm.ngram": {"protocols", "errors", "arrays"},
    "lm.tflite": {"protocols", "errors"},
    "lm.flatbuffer": set(),
    "lm.stepops": set(),
    "lm.stepfile": set(),
    "memory": {"errors"},
    "mix": {"types"},
    "modelindex": {"errors"},
    "fetch": {"cachefolder", "errors", "mirror", "modelindex"},
    "locks": set(),
    "mirror": {"modelindex"},
    "": {
        "emojistyle",
        "engine",
        "errors",
        "fetch",
        "layout",
        "loading",
        "modelstore",
        "session",
        "storeoptions",
        "types",
    },
    "__main__": {"cli"},
}
# On one floor: who may use whom.
BESIDE: dict[str, set[str]] = {
    "lm.cache": {"lm.layer"},
    "lm.mixture": {"lm.layer"},
    "lm.stepops": {"lm.flatbuffer"},
    "lm.stepfile": {"lm.flatbuffer", "lm.stepops"},
    "lm.tflite": {"lm.stepfile"},
    "sources.words": {"sources.query"},
    "sources.phrases": {"sources.query", "sources.words"},
    "sources.emoji": {"sources.query", "sources.words", "sources.names"},
    "sources.signs": {"sources.query"},
    "sources.spaces": {"sources.query", "sources.words"},
    "predict": {"mix"},
}
LIBRARIES = {
    "vocab": {"numpy", "sentencepiece"},
    "text": {"emoji"},
    "lm.tflite": {"numpy", "ai_edge_litert"},
    "cli": {"rich"},
    "repl": {"prompt_toolkit", "rich"},
    "bench.weights": {"ai_edge_litert"},
    "bench.progress": {"rich"},
    "bench.report": {"rich"},
    "bench.plot": {"numpy", "matplotlib"},
    "inspect.command": {"rich"},
    "modelverbs": {"rich"},
    "cachefolder": {"platformdirs"},
    "locks": {"filelock"},
    "mirror": {"urllib3"},
    "inspect.graph": {"numpy", "ai_edge_litert"},
    "inspect.probe": {"numpy", "ai_edge_litert"},
    "inspect.report": {"rich"},
    "inspect.timing": {"numpy", "ai_edge_litert"},
    "evaluate.command": {"rich"},
    "evaluate.plots": {"numpy", "matplotlib"},
    "evaluate.table": {"rich"},
    "evaluate.typoplot": {"rich", "matplotlib"},
}  # all others: numpy alone


def module_name(path: Path) -> str:
    """``sources.words`` for kbengine/sources/words.py, "" for the package itself."""
    parts = path.relative_to(ROOT / "kbengine").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in ENGINE}


def imports(path: Path) -> Iterator[str]:
    """The full names of all that a file imports, also inside functions; of
    ``from kbengine import text`` the module, where there is one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = inner.removeprefix("kbengine.") in MODULES
                yield inner if is_module else node.module


def own(path: Path) -> set[str]:
    """The modules of kbengine that one of them imports."""
    found = {name for name in imports(path) if name.split(".")[0] == "kbengine"}
    return {name.removeprefix("kbengine").removeprefix(".") for name in found}


def libraries(path: Path) -> set[str]:
    tops = {name.split(".")[0] for name in imports(path)}
    return tops - set(sys.stdlib_module_names) - {"kbengine"}


# The import table


def test_every_module_has_a_floor() -> None:
    placed = [name for floor in FLOORS for name in floor]
    assert sorted(placed) == sorted(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_one_way(name: str) -> None:
    floor = next(i for i, names in enumerate(FLOORS) if name in names)
    below = {lower for names in FLOORS[:floor] for lower in names}
    allowed = ONLY.get(name, below) | BESIDE.get(name, set())
    assert own(MODULES[name]) <= allowed


def test_the_table_is_no_wider_than_the_house() -> None:
    """What is named on its own floor and in `ONLY` is really used, so the table tells."""
    for name, beside in BESIDE.items():
        assert beside <= own(MODULES[name]), name
    assert own(MODULES["beam"]) == ONLY["beam"]


def test_the_reader_of_imports_sees_them_all(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(
        "import a.b, c as d\nfrom kbengine import text, load\nfrom kbengine.lm.ngram import Path\n"
        "def f():\n    from e.f import g\n",
        encoding="utf-8",
    )
    found = {"a.b", "c", "kbengine.text", "kbengine", "kbengine.lm.ngram", "e.f"}
    assert set(imports(path)) == found


# Libraries


@pytest.mark.parametrize("name", MODULES)
def test_the_engine_needs_few_libraries(name: str) -> None:
    assert libraries(MODULES[name]) <= LIBRARIES.get(name, {"numpy"})


def test_tensorflow_is_at_home_in_train_alone() -> None:
    heavy = {"tensorflow", "keras"}
    others = [*ROOT.glob("*.py"), *ENGINE, *(ROOT / "docs").rglob("*.py")]
    assert not [path for path in others if libraries(path) & heavy]
    assert [path for path in TRAIN if libraries(path) & heavy], "the check sees it where it is"


def test_suggesting_loads_no_tensorflow(tmp_path: Path) -> None:
    """In a fresh process, down to the first suggestion."""
    program = """
import sys
import kbengine
engine = kbengine.load(sys.argv[1])
field = engine.session()
field.set_context("see you t")
assert field.suggest(3)
heavy = {"tensorflow", "keras", "matplotlib", "train", "prompt_toolkit", "rich"} & set(sys.modules)
print("loaded:", *sorted(heavy))
"""
    bundle = toy_bundle(tmp_path / "toy.bundle")
    done = subprocess.run(
        [sys.executable, "-c", program, str(bundle)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "loaded:\n"


# Docstrings, errors


def public(path: Path) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    """The public classes and functions of a file by name, methods included."""
    nodes: list[tuple[str, ast.AST]] = [("", ast.parse(path.read_text(encoding="utf-8")))]
    while nodes:
        outer, node = nodes.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef) and child.name[0] != "_":
                name = f"{outer}.{child.name}".removeprefix(".")
                yield name, child
                if isinstance(child, ast.ClassDef):
                    nodes.append((name, child))


def protocol_methods() -> set[str]:
    """The methods that a protocol describes, for all who keep it."""
    return {name.split(".")[1] for name, _ in public(MODULES["protocols"]) if "." in name}


@pytest.mark.parametrize("name", MODULES)
def test_modules_and_what_is_public_have_docstrings(name: str) -> None:
    path = MODULES[name]
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "of the module"
    described = protocol_methods()
    missing = [
        inner
        for inner, node in public(path)
        if inner.rpartition(".")[2] not in described and not ast.get_docstring(node)
    ]
    assert missing == []


@pytest.mark.parametrize("path", [*ENGINE, *TRAIN], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_handler_catches_everything(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: a bare except"
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
            assert not caught & {"Exception", "BaseException"}, f"line {node.lineno}"
