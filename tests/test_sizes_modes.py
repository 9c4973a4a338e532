"""`python -m train sizes --modes`: a small model, really converted and really stepped."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kbengine.lm.tflite import TFLiteModel
from tests.test_compare import tiny, work_folder
from train.__main__ import main
from train.exported import int8_model
from train.pieces import DEFAULT_TEXT, read_pieces
from train.sizemodes import COLUMNS, OWN, SAMPLE_TEXT, Row, cells, draw, measure
from train.tables import markdown
from train.trained import Trained

MODES = ("float32", "float16", "dynamic", "int8")
STEPS = 120


@pytest.fixture(scope="module")
def trained() -> Trained:
    return tiny()


@pytest.fixture(scope="module")
def rows(trained: Trained) -> dict[str, Row]:
    pieces = read_pieces([DEFAULT_TEXT], trained.vocabulary)[: STEPS + 1]
    return {row.mode: row for row in measure("a|b", trained, MODES, pieces)}


def test_every_mode_and_the_export_has_a_row(rows: dict[str, Row]) -> None:
    assert tuple(rows) == (*MODES, *OWN)
    for row in rows.values():
        assert row.why == ""
        assert row.file_bytes is not None
        assert row.file_bytes > 10_000
        assert row.p50_ms is not None
        assert row.p50_ms > 0
    # Two bytes a weight and one, the graph and what is not quantized beside them.
    sizes = [rows[mode].file_bytes or 0 for mode in ("float32", "float16", "dynamic")]
    assert sizes[0] > 1.5 * sizes[1] > sizes[2]


def test_accuracy_is_that_of_the_predictions(trained: Trained, rows: dict[str, Row]) -> None:
    """The row of the export against the same file stepped by the engine's own driver."""
    pieces = read_pieces([DEFAULT_TEXT], trained.vocabulary)[: STEPS + 1].tolist()
    logps, ranks = walked(int8_model(trained, samples(trained)), pieces)
    row = rows["export"]
    assert row.perplexity == pytest.approx(np.exp(-logps.mean()), rel=1e-6)
    assert row.top1 == pytest.approx(np.mean(ranks < 1))
    assert row.top3 == pytest.approx(np.mean(ranks < 3))
    assert row.ratio == pytest.approx(row.perplexity / (rows["float32"].perplexity or 0))


def test_weights_are_brought_to_one_size_by_other_text() -> None:
    """A text of one piece alone, for which other cells are loud; matrices that int8 is used for."""
    trained = tiny(cells=64, width=32)
    pieces = np.array([1, *[40] * 30], np.int32)
    own, other = (
        np.exp(-walked(int8_model(trained, text), pieces.tolist())[0].mean())
        for text in (pieces, samples(trained))
    )
    assert own != pytest.approx(other, rel=1e-5)
    row = next(row for row in measure("m", trained, [], pieces) if row.mode == "export")
    assert row.perplexity == pytest.approx(other, rel=1e-6)


def samples(trained: Trained) -> NDArray[np.int32]:
    return read_pieces([SAMPLE_TEXT], trained.vocabulary)


def walked(content: bytes, pieces: list[int]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Of each piece that came: its logarithm, and how many were better."""
    step = TFLiteModel(content)
    state, found = step.start(), []
    for piece, right in itertools.pairwise(pieces):
        logp, (state,) = step.step([piece], [state])
        found.append((logp[0][right], int(np.sum(logp[0] > logp[0][right]))))
    logps, ranks = map(np.array, zip(*found, strict=True))
    return logps, ranks


def test_modes_are_measured_against_float32(rows: dict[str, Row]) -> None:
    assert (rows["float32"].ratio, rows["float32"].same) == (1, 1)
    assert rows["float16"].ratio == pytest.approx(1, abs=0.01)
    for row in rows.values():
        assert 0.5 < (row.same or 0) <= 1
        assert 0 <= (row.top1 or 0) <= (row.top3 or 0) < 1


def test_a_mode_that_does_not_work_is_a_row_that_says_why(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mode int4 without the package that it needs."""
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    pieces = read_pieces([DEFAULT_TEXT], trained.vocabulary)[:20]
    row, export, _ = measure("m", trained, ["int4"], pieces)
    assert "needs the package ai-edge-quantizer" in row.why
    assert cells(row) == ("m", "int4", *["-"] * 7)
    assert export.ratio is not None, "float32 is measured, though it is not shown"
    draw(tmp_path / "modes.png", [row, export], "20 pieces")
    assert (tmp_path / "modes.png").read_bytes().startswith(b"\x89PNG")


def test_the_verb_prints_draws_and_leaves_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {"[b]one": tiny(), "two": tiny(seed=6)}
    specs = [f"{label}={work_folder(tmp_path / label, m)}" for label, m in models.items()]
    out, figures = tmp_path / "modes.png", tmp_path / "modes.json"
    options = ["--modes", "float32", "--steps", "30"]
    assert main(["sizes", *specs, *options, "--out", str(out), "--json", str(figures)]) == 0
    shown = capsys.readouterr().out
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert [(row["label"], row["mode"]) for row in found["rows"]] == [
        (label, mode) for label in models for mode in ("float32", *OWN)
    ]
    for row in found["rows"]:
        for cell in cells(Row(**row)):
            assert cell in shown
    assert "30 pieces of chat_dev.txt" in shown
    assert out.read_bytes().startswith(b"\x89PNG")


def test_the_table_as_markdown(rows: dict[str, Row]) -> None:
    header, rule, *lines = markdown(COLUMNS, [cells(row) for row in rows.values()]).splitlines()
    assert header.startswith("| model | mode | MB |")
    assert len({line.replace("\\|", "").count("|") for line in (header, rule, *lines)}) == 1
    assert lines[0].startswith("| a\\|b | float32 | ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a=none.bundle", "--modes", "int8"], "none.bundle: no such file"),
        (["a", "--modes", "int8"], "write LABEL=SOURCE"),
        (["a=x", "--modes", "int3"], "no mode is called 'int3'"),
        (["a=x", "--modes", "int8", "--steps", "0"], "--steps 0 measures nothing"),
        (["a=x", "--modes", "int8", "--out", "no/where.png"], "no/where.png cannot be written"),
        (["a=x", "--json", "a.json"], "--json goes with --modes"),
    ],
)
def test_mistakes_get_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sizes", *arguments]) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("train: ")
    assert sentence in said
    assert "\n" not in said
