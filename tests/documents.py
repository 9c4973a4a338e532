"""The fenced blocks of README.md and docs/*.md, run as they stand.

The blocks of a page share a folder of their own, where `data` and `kbengine/models` are those of
the project. What the language of a block says of it:

    python   is run; the blocks of a page share their names, from the top down
    sh       its `kbengine` commands are run, the others stand in `ELSEWHERE`
    json     lines to `kbengine serve --stdio`: a request, its reply, a request, ...
    text     what the python or sh block right before it prints

Figures with a decimal point are compared to `TOLERANCE`: no two processors agree to the last
digit. Whatever else there is has to stand in `ELSEWHERE` with a reason. Where what is printed
has changed and is right, as with another model, the pages are written anew by

    python -m tests.documents
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import kbengine
from kbengine.serve import Server

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TOLERANCE = 0.02
TIMEOUT_S = 120

TRAINED = "tests/test_train.py::test_a_run_ends_in_a_bundle_that_suggests"
SERVED = "tests/test_serving.py::test_the_page_s_request_and_client_are_answered"
MODES = "tests/test_sizes_modes.py::test_the_verb_prints_draws_and_leaves_figures"
PUBLISHED = "tests/test_indexing.py::test_any_static_web_server_or_share_will_do"
SERVER = "TensorFlow Serving is no Python package"
# Commands, and blocks by their first line, that are not run here: which test does, or why none.
ELSEWHERE = {
    "make repl": "tests/test_repl.py::test_the_screen_of_the_real_program",
    "make test": "runs this very test",
    "make compare": "tests/test_compare.py::test_engines_are_one_function_and_are_measured",
    ".venv/bin/python -m train quantize kbengine/models/en.bundle --ship en.shipped --share 0.65": (
        "tests/test_shipping.py::test_quantize_keeps_to_a_share"
    ),
    ".venv/bin/kbengine models restore en.shipped --out en65.bundle": (
        "tests/test_shipping.py::test_models_restore_tells_where_and_how"
    ),
    ".venv/bin/python -m train echo model.keras": (
        "tests/test_convert_refused.py::test_the_verb_echo"
    ),
    ".venv/bin/python -m train convert model.keras --mode int8 --text chat.txt --vocab words.txt": (
        "tests/test_convert.py::test_the_verb_says_what_it_chose"
    ),
    ".venv/bin/python -m train convert kbengine/models/en-nano.bundle --mode float32 "
    "--out nano.tflite": "tests/test_convert.py::test_a_model_of_ours",
    "make train-env": "makes the environment that `make test` makes",
    ".venv/bin/python -m train run --preset tiny --text data/chat.txt --out own.bundle": TRAINED,
    '.venv/bin/kbengine suggest "See you " --bundle own.bundle': TRAINED,
    'python -m bench run --predictor "kbengine serve --stdio" --data corpora/dev/sms_nus.txt \\': (
        "the bench and its text stand outside the project"
    ),
    ".venv/bin/python -m train sizes nano=kbengine/models/en-nano.bundle "
    "base=kbengine/models/en.bundle --modes float32,float16,dynamic,int8,16x8,int4 "
    "--out sizes.png": MODES,
    ".venv/bin/python -m train serving kbengine/models/en.bundle --out served": SERVED,
    "curl -s -d @request.json http://localhost:8501/v1/models/en:predict": SERVED,
    '{"outputs": {': SERVED,
    'docker run --rm -p 8500:8500 -p 8501:8501 -v "$PWD/served:/models/en" -e MODEL_NAME=en '
    "tensorflow/serving": SERVER,
    "tensorflow_model_server --port=8500 --rest_api_port=8501 --model_name=en "
    '--model_base_path="$PWD/served"': SERVER,
    "max_batch_size { value: 32 }": SERVER,
    ".venv/bin/kbengine models index kbengine/models": PUBLISHED,
    "python3 -m http.server --directory kbengine/models --bind 127.0.0.1": PUBLISHED,
    ".venv/bin/kbengine models pull en-nano --index http://127.0.0.1:8000/index.json": PUBLISHED,
    '{"format": 1, "models": [': "tests/test_docs.py::test_the_index_of_the_page_is_one",
}

_FENCE_RE = re.compile(r" *(`{3,}|~{3,})(.*)")
_DECIMAL_RE = re.compile(r"-?\d+\.\d+")
_COMMENT_RE = re.compile(r"(?:^|\s+)#(?:\s.*)?$")
_KBENGINE_RE = re.compile(r"(?:^|\| )(?:\.venv/bin/)?(?:python -m )?kbengine ")


class Block(NamedTuple):
    """line: where its code begins in the page, from 1; follows: whether nothing but blank
    lines stands between it and the block before."""

    line: int
    language: str
    code: str
    follows: bool = False


class Problem(NamedTuple):
    """What is wrong with a block; mended: the code that it should hold, where that is known."""

    block: Block
    text: str
    mended: str | None = None


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page. Raises ValueError where one is not closed."""
    fence, language, start = "", "", 0
    follows = False
    lines = page.splitlines()
    for number, line in enumerate(lines):
        match = _FENCE_RE.fullmatch(line)
        if not fence and match:
            fence, language, start = match[1], match[2].strip(), number + 1
        elif fence and line.strip() == fence:
            code = "".join(f"{row}\n" for row in lines[start:number])
            yield Block(start + 1, language, code, follows)
            fence, follows = "", True
        elif not fence and line.strip():
            follows = False
    if fence:
        raise ValueError(f"the block at line {start} is not closed")


def same(shown: str, got: str) -> bool:
    """Whether two texts differ in spacing and the last digits of decimals at most."""
    a, b = (
        "\n".join(" ".join(line.split()) for line in text.rstrip().splitlines())
        for text in (shown, got)
    )
    figures = zip(_DECIMAL_RE.findall(a), _DECIMAL_RE.findall(b), strict=False)
    near = all(abs(float(x) - float(y)) <= TOLERANCE for x, y in figures)
    return near and _DECIMAL_RE.split(a) == _DECIMAL_RE.split(b)


def same_reply(shown: object, got: object) -> bool:
    """Whether two JSON values differ in the last digits of decimals at most."""
    if isinstance(shown, float) and isinstance(got, float):
        return abs(shown - got) <= TOLERANCE
    if isinstance(shown, list) and isinstance(got, list):
        return len(shown) == len(got) and all(map(same_reply, shown, got))
    if isinstance(shown, dict) and isinstance(got, dict):
        return list(shown) == list(got) and all(same_reply(shown[k], got[k]) for k in shown)
    return shown == got


def commands(code: str) -> list[str]:
    """The commands of a sh block, one a line, without comments."""
    lines = re.sub(r"\\\n\s*", "", code).splitlines()
    return [command for line in lines if (command := _COMMENT_RE.sub("", line).strip())]


def problems(path: Path, page: str) -> list[Problem]:
    """Run the blocks of a page; what it holds is given apart from where it stands.

    What a python block raises goes through, its traceback naming the page's lines.
    """
    found: list[Problem] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for known in ("data", "kbengine/models"):
            (folder / known).parent.mkdir(exist_ok=True)
            (folder / known).symlink_to(ROOT / known)
        path_variable = f"{_tools(folder)}{os.pathsep}{os.environ.get('PATH', '')}"
        variables = {
            "PATH": path_variable, "PYTHONPATH": str(ROOT), "COLUMNS": "100",
            "KBENGINE_CACHE": str(folder / "cache"),
        }  # fmt: skip
        with contextlib.chdir(folder), mock.patch.dict(os.environ, variables):
            runner = _Runner(path)
            for block in blocks(page):
                found += runner.run(block)
    return found


def mended(path: Path, page: str) -> str:
    """The page, holding the outputs and replies that its blocks give now."""
    lines = page.splitlines(keepends=True)
    for problem in reversed(problems(path, page)):
        if problem.mended is not None:
            first = problem.block.line - 1
            lines[first : first + problem.block.code.count("\n")] = problem.mended
    return "".join(lines)


def _tools(folder: Path) -> Path:
    """.venv/bin in a folder, where `kbengine` and `python` are those that run this."""
    place = folder / ".venv" / "bin"
    place.mkdir(parents=True)
    for name, arguments in (("python", ""), ("kbengine", "-m kbengine")):
        (place / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (place / name).chmod(0o755)
    return place


@functools.cache
def _shipped() -> kbengine.Engine:
    return kbengine.load()


class _Runner:
    """Runs the blocks of one page, from the top down, in the working folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._printed: str | None = None

    def run(self, block: Block) -> Iterator[Problem]:
        printed = self._printed if block.follows else None
        self._printed = None
        if block.language == "text" and printed is not None:
            if not same(block.code, printed):
                yield Problem(block, f"is not what is printed:\n{printed}", printed)
        elif block.language == "python":
            self._printed = self._python(block)
        elif block.language == "sh":
            yield from self._sh(block)
        elif block.language == "json":
            yield from self._json(block)
        elif block.code.partition("\n")[0] not in ELSEWHERE:
            yield Problem(block, f"is a {block.language!r} block that nothing checks")

    def _python(self, block: Block) -> str:
        out = io.StringIO()
        code = "\n" * (block.line - 1) + block.code
        with contextlib.redirect_stdout(out):
            exec(compile(code, self._path, "exec"), self._names)
        return out.getvalue()

    def _sh(self, block: Block) -> Iterator[Problem]:
        self._printed = ""
        for command in commands(block.code):
            if command in ELSEWHERE:
                continue
            if not _KBENGINE_RE.search(command):
                yield Problem(block, f"has a command that nothing runs: {command}")
                continue
            done = subprocess.run(
                command, shell=True, stdin=subprocess.DEVNULL, capture_output=True,
                encoding="utf-8", timeout=TIMEOUT_S,
            )  # fmt: skip
            self._printed += done.stdout
            if done.returncode or done.stderr:
                yield Problem(block, f"fails: {command}\n{done.stdout}{done.stderr}")

    def _json(self, block: Block) -> Iterator[Problem]:
        server = Server(_shipped())
        lines = block.code.splitlines()
        if len(lines) % 2:
            yield Problem(block, "has a request without a reply")
            return
        right = [*lines]
        for place in range(0, len(lines), 2):
            reply = server.answer(lines[place].encode())
            if not same_reply(json.loads(lines[place + 1]), reply):
                right[place + 1] = json.dumps(reply, ensure_ascii=False)
        if right != lines:
            code = "".join(f"{line}\n" for line in right)
            yield Problem(block, f"has other replies than it gets:\n{code}", code)


if __name__ == "__main__":
    for page_path in PAGES:
        old = page_path.read_text(encoding="utf-8")
        new = mended(page_path, old)
        if new != old:
            page_path.write_text(new, encoding="utf-8")
            print(f"{page_path.relative_to(ROOT)}: written anew")
