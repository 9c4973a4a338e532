"""`kbengine bench` as a whole: what it prints, draws and refuses."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kbengine.bench import report
from kbengine.bench.growth import FLAT
from kbengine.bench.keys import NAMES
from kbengine.bench.lines import LINES
from kbengine.bench.plot import plot
from kbengine.bench.shares import TimedModel
from kbengine.bench.suite import Measured, Plan, measure
from kbengine.cli import main
from tests.toys import finger_engine, toy_bundle, toy_model

ROOT = Path(__file__).parent.parent
TINY = Plan(
    step_rounds=2, lines=3, starts=1, turns=2, context_lengths=(10, 100), lexicon_sizes=(100, 1000),
    candidates=(1, 5), earlier_messages=(1, 4),
)  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("bench") / "toy.bundle")


class Ticks:
    """Counts the steps of the progress."""

    count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture(scope="module")
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture(scope="module")
def measured(bundle: Path, ticks: Ticks) -> Measured:
    return measure(finger_engine(), bundle, LINES, TINY, "words:2,emoji:1", 3, ticks)


def check_spread(row: dict[str, Any]) -> None:
    assert row["count"] > 0
    for clock in ("wall_ms", "cpu_ms"):
        spread = row[clock]
        assert 0 < spread["p50"] <= spread["p95"] <= spread["p99"]


def check_figures(figures: dict[str, Any], plan: Plan) -> None:
    """All of them, whole, whatever they are."""
    assert set(figures) == {
        "bundle", "machine", "options", "steps", "typing", "shares", "start", "memory", "growth"
    }  # fmt: skip
    steps = [(row["signature"], row["batch"]) for row in figures["steps"]]
    assert steps == [(name, b) for name in ("state", "logits") for b in (1, 4, 8, 16)]
    assert [row["what"] for row in figures["typing"]] == list(NAMES)
    for row in (*figures["steps"], *figures["typing"]):
        check_spread(row)
    for step in ("import_ms", "load_ms", "first_suggestion_ms", "whole_ms"):
        times = figures["start"][step]
        assert 0 < times["min"] <= times["p50"] <= times["max"]
    sizes = {
        "characters of context": plan.context_lengths,
        "earlier messages": plan.earlier_messages,
        "candidates asked for": plan.candidates,
        "words in the lexicon": plan.lexicon_sizes,
    }
    for curve in figures["growth"]:
        assert tuple(point["x"] for point in curve["points"]) == sizes[curve["against"]]
        assert curve["verdict"] == ("flat" if curve["factor_per_tenfold"] <= FLAT else "grows")
        for point in curve["points"]:
            check_spread(point)
    must = {(c["what"], c["against"]) for c in figures["growth"] if c["must_be_flat"]}
    assert must == {("key press", against) for against in sizes} - {
        ("key press", "candidates asked for")
    }


def test_all_is_measured(measured: Measured, bundle: Path) -> None:
    figures = json.loads(json.dumps(measured.figures))
    check_figures(figures, TINY)
    assert figures["bundle"]["file_bytes"] == bundle.stat().st_size
    assert figures["bundle"]["pieces"] == toy_model().vocab_size
    assert figures["options"] == {"slots": "words:2,emoji:1", "n": 3, "lines": TINY.lines}
    # The weights of a count model can't be counted as bytes read in a step.
    assert all(row["weight_bytes"] is None is row["runtime"] for row in figures["steps"])


def test_a_key_press_is_shared_out(measured: Measured) -> None:
    shares = measured.figures["shares"]
    assert shares["key_presses"] == sum(len(line) + 1 for line in LINES[: TINY.lines])
    assert all(shares[f"{part}_ms"] > 0 for part in ("language_model", "search"))
    assert 0 < shares["calls"] <= shares["rows"]


def test_a_timed_model_is_the_model_and_counts_its_calls() -> None:
    plain, timed = toy_model(), TimedModel(toy_model())
    states = timed.advance([5, 6], [timed.start(), timed.start()])
    found, after = timed.step([7], states[:1])
    wanted, last = plain.step([7], plain.advance([5], [plain.start()]))
    assert found.tolist() == wanted.tolist()
    assert after == last
    assert (timed.calls, timed.rows) == (2, 3)
    assert timed.cpu_ns > 0


def test_the_progress_comes_to_its_end(measured: Measured, ticks: Ticks) -> None:
    assert ticks.count == TINY.ticks(len(LINES))


def test_tables_fit_a_page(measured: Measured) -> None:
    out = io.StringIO()
    report.show(measured.figures, Console(file=out))
    printed = out.getvalue()
    assert max(map(len, printed.splitlines())) <= 100
    for row in measured.figures["typing"]:
        assert f" {row['what']} " in printed
    for curve in measured.figures["growth"]:
        assert f"x{curve['factor_per_tenfold']:.2f}" in printed
    assert "…" not in printed  # rich cuts what has no room


def test_tables_warn_where_a_key_press_grows(measured: Measured) -> None:
    def warnings(verdict: str) -> int:
        curves = [c | {"verdict": verdict} for c in measured.figures["growth"]]
        out = io.StringIO()
        report.show({**measured.figures, "growth": curves}, Console(file=out))
        return sum(line.rstrip().endswith("GROWS") for line in out.getvalue().splitlines())

    assert warnings("flat") == 0
    assert warnings("grows") == sum(c["must_be_flat"] for c in measured.figures["growth"]) > 0


def test_plots_are_pictures(measured: Measured, tmp_path: Path) -> None:
    paths = plot(measured, tmp_path)
    assert [path.name for path in paths] == ["growth.png", "distributions.png"]
    for path in paths:
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert data[12:16] == b"IHDR"
        assert int.from_bytes(data[16:20], "big") > 500


# The command line


def test_quick_prints_json_alone(bundle: Path, tmp_path: Path) -> None:
    """With a text of one's own; nothing on stderr where it is no terminal."""
    text = tmp_path / "own.txt"
    text.write_text("\nWhere are you now?\n\n  \nI am tired\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "kbengine", "bench", "--quick", "--json", "--bundle", str(bundle),
         "--text", str(text), "--slots", "words:4"],
        cwd=ROOT, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads(done.stdout)
    assert figures["options"] == {"slots": "words:4", "n": 4, "lines": 2}
    keys = {row["what"]: row["count"] for row in figures["typing"]}
    assert keys["key press"] == len("Where are you now?") + len("I am tired")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"\n  \n", "holds no text"),
        (b"caf\xe9 is open\n", "is not UTF-8"),
    ],
)
def test_a_text_that_cannot_be_typed(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    assert main(["bench", "--quick", "--text", str(path)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"kbengine: {path}")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--bundle", "nowhere.bundle"], "nowhere.bundle"),
        (["--slots", "wrods:3"], "'wrods:3' is no slot"),
        (["-n", "0"], "ask for 1 to 100"),
    ],
)
def test_options_that_cannot_be(
    options: list[str], said: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--quick", "--bundle", str(bundle), *options]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("kbengine: ")
    assert said in captured.err


def test_without_matplotlib_a_plot_is_refused_before_measuring(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # what Python does for one not installed
    plots = ["--plot", str(tmp_path / "plots")]
    assert main(["bench", "--quick", "--bundle", str(bundle), *plots]) == 1
    captured = capsys.readouterr()
    assert captured.err == "kbengine: a plot needs matplotlib; install kbengine[eval]\n"
    assert captured.out == ""
    assert not (tmp_path / "plots").exists()


def test_the_built_in_text_is_chat_of_many_kinds() -> None:
    assert len(set(LINES)) == len(LINES) >= 36
    assert all(line == line.strip() and line for line in LINES)
    dev = ROOT / "data"
    others = {
        line for path in dev.glob("*.txt") for line in path.read_text(encoding="utf-8").splitlines()
    }
    assert not others & set(LINES), "it is in what the toys learn from"
