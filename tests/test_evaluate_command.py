"""`kbengine eval` as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kbengine.cli import main
from kbengine.evaluate.measures import described, measures
from tests.toys import toy_bundle

ROOT = Path(__file__).parent.parent
CHAT = "See you tomorrow!\nI can't, not at 10:30\nthe cat\n"
MORE = "ok, see you then\nat the weekend\n"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("bundle") / "toy.bundle")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    for name, content in (("chat.txt", CHAT), ("more.txt", MORE)):
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path / "chat.txt", tmp_path / "more.txt"


def run(bundle: Path, *args: object) -> int:
    return main(["eval", "--bundle", str(bundle), *map(str, args)])


def test_tables_by_file_and_over_all(
    bundle: Path, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    long_name = files[0].rename(files[0].with_name("[bold]a_rather_long_name_for_a_table.txt"))
    files = (long_name, files[1])
    assert run(bundle, *files) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= 100
    tables = {one.table for one in measures(3)} - {"Phrases (%)"}
    assert {line.strip() for line in lines} >= {*tables, "Text"}
    for row in ("[bold]a_rather_lon", "more.txt", "overall"):
        found = [line for line in lines if line.strip().startswith(row)]
        assert len(found) == len(tables) + 1
        assert {line.count("…") for line in found} == {int(row[0] == "[")}  # no figure cut off
    assert run(bundle, files[0], "--slots", "words:2,phrase:1") == 0
    shown = capsys.readouterr()
    assert "Phrases (%)" in shown.out
    assert "overall" not in shown.out


def test_json_holds_what_the_tables_show_and_more(
    bundle: Path, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "a.json"
    assert run(bundle, *files, "--json", "--out", out, "--letters", 4, "--earlier", 1) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(out.read_text(encoding="utf-8"))
    assert printed["bundle"]["bytes"] == bundle.stat().st_size
    assert printed["settings"]["earlier"] == 1
    wanted = {one.name for one in measures(4)}
    for part in (*printed["files"], printed["overall"]):
        assert set(part["figures"]) == wanted
        assert sum(v[0] is not None for v in part["savings_by_length"].values()) > 1
    lines = [file["sums"]["lines"] for file in printed["files"]]
    assert [*lines, printed["overall"]["sums"]["lines"]] == [3, 2, 5]
    value, low, high = printed["overall"]["figures"]["word_perplexity"]
    assert low < value < high
    sums = printed["overall"]["sums"]
    assert sums["words"] == 9 + 7
    assert sums["chars"] == sum(map(len, (CHAT + MORE).splitlines()))


def test_two_results_are_compared(
    bundle: Path, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    a, b, other = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "other.json"
    assert run(bundle, *files, "--out", a) == 0
    assert run(bundle, *files, "--out", b, "-k", 1) == 0
    assert run(bundle, *files, "--out", other, "--limit", 2) == 0
    capsys.readouterr()
    assert main(["eval", "compare", str(a), str(b)]) == 0
    shown = capsys.readouterr().out
    assert "k: 3 in the first, 1 in the second" in shown
    assert max(map(len, shown.splitlines()[1:])) <= 100
    assert main(["eval", "compare", str(a), str(b), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["settings_that_differ"] == {"k": [3, 1]}
    overall = found["differences"][-1]["figures"]
    assert overall["ksr"][0] < 0  # who looks at one candidate saves less than who sees three
    assert overall["top3"] == [0, 0, 0]
    assert main(["eval", "compare", str(a), str(other)]) == 1
    assert "other lines of chat.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ("{chat}", "{chat}", "is not JSON"),
        ("{chat}", "nowhere.json", "is not JSON"),
        ("nowhere.json", "{chat}", "nowhere.json: no such file"),
    ],
)
def test_what_is_no_result_is_not_compared(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str],
    first: str, second: str, sentence: str,
) -> None:  # fmt: skip
    names = [name.format(chat=files[0]) for name in (first, second)]
    assert main(["eval", "compare", *names]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err


def test_times_get_no_star(
    bundle: Path, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    assert run(bundle, *files, "--out", a) == 0
    slower = json.loads(a.read_text())
    for part in slower["files"]:
        for clock in ("wall_us", "cpu_us"):
            times = part["per_line"][clock].split()
            part["per_line"][clock] = " ".join(str(int(time) + 90_000) for time in times)
    b.write_text(json.dumps(slower))
    capsys.readouterr()
    assert main(["eval", "compare", str(a), str(b)]) == 0
    shown = capsys.readouterr().out
    assert "+90.0" in shown
    assert shown.count("*") == 1  # where the star is explained


def test_words_are_written_with_their_logp(
    bundle: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "words.tsv"
    assert run(bundle, files[0], "--words", out) == 0
    header, *rows = [row.split("\t") for row in out.read_text(encoding="utf-8").splitlines()]
    assert header == ["file", "line", "start", "word", "logp"]
    lines = CHAT.splitlines()
    assert [row[3] for row in rows] == ["See", "you", "tomorrow", "I", "can't", "not", "at",
                                        "the", "cat"]  # fmt: skip
    for name, line, start, word, logp in rows:
        assert name == "chat.txt"
        assert lines[int(line) - 1][int(start) :].startswith(word)
        assert float(logp) < 0


@pytest.mark.parametrize("text", [CHAT, "10:30\n\U0001f602\n", "a\n"])
def test_pictures(bundle: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    assert run(bundle, tmp_path / "text.txt", "--plot", tmp_path / "plots" / "new") == 0
    left = sorted((tmp_path / "plots" / "new").iterdir())
    assert [path.name for path in left] == ["by_length.png", "by_position.png", "latency.png"]
    for path in left:
        content = path.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(content[16:20], "big") == 1200  # pixels wide


def test_pictures_need_matplotlib(
    bundle: Path, files: tuple[Path, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as where it is not installed
    assert run(bundle, files[0], "--plot", tmp_path / "plots") == 1
    shown = capsys.readouterr()
    assert shown.err == (
        "kbengine: pictures need matplotlib; run `make train-env`, or install kbengine[eval]\n"
    )
    assert shown.out == ""
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["nowhere.txt"], "nowhere.txt: no such file"),
        (["{chat}", "-k", "0"], "-k 0 cannot be; give 1 or more"),
        (["{chat}", "--limit", "0"], "--limit 0 cannot be"),
        (["{chat}", "--earlier", "-1"], "--earlier -1 cannot be"),
        (["{chat}", "--letters", "0"], "--letters 0 cannot be"),
        (["{chat}", "--letters", "300000000"], "give 64 at most"),
        (["{chat}", "--sample-seed", "1"], "give --limit too"),
        (["{chat}", "--slots", "wrods"], "'wrods' is no slot"),
        (["{chat}", "--out", "nowhere/a.json"], "nowhere/a.json cannot be written"),
        (["{chat}", "--words", "{folder}"], "cannot be written"),
        (["{chat}", "--plot", "{chat}"], "there is a file of that name"),
        (["{folder}"], "cannot be read"),
        (["{chat}", "--plot", "{chat}/x"], "cannot be a folder"),
        (["{chat}", "-k", "101"], "ask for 1 to 100"),
    ],
)
def test_mistakes_get_one_sentence(
    bundle: Path, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str],
    args: list[str], sentence: str,
) -> None:  # fmt: skip
    places = {"chat": files[0], "folder": files[0].parent}
    assert run(bundle, *(arg.format(**places) for arg in args)) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("kbengine: ")
    assert sentence in shown.err
    assert shown.err.count("\n") == 1


def test_help_and_docs_define_every_measure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    docs = " ".join((ROOT / "docs" / "measures.md").read_text(encoding="utf-8").split())
    for one in described():
        assert f"{one.name} {one.definition}" in told
        assert f"`{one.name}`: {one.definition}" in docs


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal is opened by pty")
@pytest.mark.parametrize("quiet", [False, True])
def test_the_bar_is_for_terminals(bundle: Path, files: tuple[Path, Path], quiet: bool) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "kbengine", "eval", "--bundle", str(bundle), str(files[0])]
    subprocess.run(
        [*command, *["--quiet"] * quiet], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs,
        check=True, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.write(theirs, b"|end")
    shown = b""
    while not shown.endswith(b"|end"):
        shown += os.read(ours, 4096)
    os.close(ours)
    os.close(theirs)
    assert (b"3/3" in shown) is not quiet
    assert quiet == (shown == b"|end")


def test_reading_the_command_line_loads_nothing_heavy() -> None:
    program = (
        "import sys; from kbengine.cli import parser; parser(); "
        "print({'rich', 'matplotlib', 'kbengine.evaluate.figures'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
