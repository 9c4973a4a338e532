"""`python -m train compare`: a tiny trained model in every engine, each in its real process."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbengine.errors import ModelError
from tests.toys import toy_vocabulary, vocabulary_bytes
from train.__main__ import main
from train.compare.engines import KINDS
from train.compare.figures import TARGETS
from train.compare.libraries import closure, distribution, own_bytes, sizes
from train.compare.report import told
from train.compare.runner import Plan, measure
from train.exported import int8_model
from train.pieces import DEFAULT_TEXT, read_pieces
from train.trained import Trained, read_trained

CELLS, WIDTH = 24, 16


def tiny(seed: int = 5, cells: int = CELLS, width: int = WIDTH) -> Trained:
    """Random weights with the toy vocabulary, large enough that predictions differ."""
    rng, pieces = np.random.default_rng(seed), len(toy_vocabulary())
    shapes = {
        "table": (pieces, width), "bias": (pieces,), "input": (width, 3 * cells),
        "state": (width, 3 * cells), "gate_bias": (3 * cells,), "projection": (cells, width),
    }  # fmt: skip
    # A table of large rows, and a state that soon forgets: int8 errors don't grow.
    weights = {
        n: rng.normal(0, 1 if n == "table" else 0.2, shape).astype(np.float32)
        for n, shape in shapes.items()
    }
    return Trained("tiny", weights, vocabulary_bytes(), None, exact=True)


def work_folder(folder: Path, trained: Trained) -> Path:
    """A work folder of such a model, as `train fit` would have left it."""
    (folder / "phase1").mkdir(parents=True)
    (folder / "vocab.model").write_bytes(trained.vocabulary)
    facts = json.dumps({"log": [{"step": 1, "dev_alone": 1.0, "dev_talk": 1.0}]})
    best: dict[str, Any] = {f"best/{name}": values for name, values in trained.weights.items()}
    np.savez(folder / "phase1" / "checkpoint.npz", facts=np.array(facts), **best)
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return work_folder(tmp_path_factory.mktemp("compare") / "work", tiny())


def test_engines_are_one_function_and_are_measured(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ["function", "layers", "float32", "int8", "bare"]
    out, picture = tmp_path / "new" / "compare.json", tmp_path / "compare.png"
    arguments = ["--bundle", str(work), "--steps", "80", "--runs", "1", "--kinds", ",".join(kinds)]
    assert main(["compare", *arguments, "--json", str(out), "--out", str(picture)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    rows = {row["kind"]: row for row in found["rows"]}
    assert list(rows) == kinds
    for kind, row in rows.items():
        assert row["steps"] == max(2, round(80 * KINDS[kind].share))
        # The same arithmetic up to the order of sums, but for the int8 grids.
        assert row["agreement"]["deviation"] < (0.05 if kind in ("int8", "bare") else 1e-4)
        assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["total_ms"]
        assert 0 < row["started_mb"] < row["imported_mb"] < row["steady_mb"] <= row["peak_mb"]
        assert row["start_ms"] > 0 < row["cpu_ms"]
    # What no TensorFlow is loaded for takes less memory and disk, on any machine.
    for figure in ("imported_mb", "added_mb", "steady_mb", "library_mb", "closure_mb"):
        assert rows["int8"][figure] < rows["function"][figure]
    assert rows["bare"]["weight_bytes"] > 0 < rows["bare"]["read_gb_s"]
    missing = {t.name for t in TARGETS} - {v["target"] for v in found["verdicts"]}
    assert missing == {"times faster a step than tf.function, untied"}
    shown = capsys.readouterr().out
    for row in found["rows"]:
        assert row["label"] in shown
    for verdict in found["verdicts"]:
        assert told(verdict) in shown
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_is_told_beside_them_is_the_same_function_too(work: Path, tmp_path: Path) -> None:
    """The engines that the test before leaves out, in this process, which has TensorFlow loaded."""
    trained = read_trained(work)
    for name, values in trained.weights.items():
        np.save(tmp_path / f"{name}.npy", values)
    engines = []
    for kind in ("function", "eager", "untied", "cell", "predict"):
        module, name = KINDS[kind].place
        engines.append(getattr(import_module(f"train.compare.{module}"), name)(tmp_path, 1))
    for piece in read_pieces([DEFAULT_TEXT], trained.vocabulary, 12).tolist():
        wanted, *others = (engine.step(piece) for engine in engines)
        assert np.exp(wanted).sum() == pytest.approx(1, abs=1e-4)
        for logp in others:
            np.testing.assert_allclose(logp, wanted, atol=1e-4)


def test_every_other_run_goes_the_other_way_round() -> None:
    plan = Plan(steps=5, runs=3, kinds=("int8", "bare"))
    trained = tiny()
    ticks: list[float] = []
    measured = measure(
        trained, read_pieces([DEFAULT_TEXT], trained.vocabulary, 6), plan, ticks.append
    )
    there, back = ["int8", "bare"], ["bare", "int8"]
    assert [list(run) for run in measured.runs] == [there, back, there]
    assert 0 < sum(ticks) <= 3 * 2 * 5 + 0.001
    assert all(run["int8"]["steps"] == 5 for run in measured.runs)


def test_a_model_that_is_another_stops_the_comparison() -> None:
    """An int8 model that does not go with the weights is no engine of the same model."""
    first, second = tiny(), tiny(seed=6)
    pieces = read_pieces([DEFAULT_TEXT], first.vocabulary, 41)
    mixed = Trained("mixed", first.weights, first.vocabulary, int8_model(second, pieces), True)
    plan = Plan(steps=40, runs=1, kinds=("float32", "int8"))
    with pytest.raises(ModelError, match="'TFLite int8, kbengine' is off: same best piece in"):
        measure(mixed, pieces, plan, lambda _: None)


def test_a_process_that_fails_says_why() -> None:
    broken = Trained("broken", tiny().weights, vocabulary_bytes(), b"no model", True)
    plan = Plan(steps=5, runs=1, kinds=("int8",))
    with pytest.raises(ModelError, match=r"'TFLite int8, kbengine' failed: .*no step model"):
        measure(broken, np.arange(6, dtype=np.int32), plan, lambda _: None)


def test_verdicts_are_ratios_within_a_run() -> None:
    """Both processes twice as slow in one run: the ratio does not move."""
    target = next(t for t in TARGETS if (t.own, t.other) == ("int8", "function"))

    def run(slow: float, function_ns: float) -> dict[str, dict[str, Any]]:
        return {"int8": {"p50_ns": 100 * slow}, "function": {"p50_ns": function_ns * slow}}

    found = target.verdict([run(1, 2500), run(2, 2500), run(1, 1900)])
    assert found is not None
    assert (found["value"], found["least"], found["most"]) == (25, 19, 25)
    assert told(found).startswith("reached  25.0 times faster a step than tf.function (at least 20")
    missed = target.verdict([run(1, 1900)])
    assert missed is not None
    assert told(missed).startswith("missed   19.0 times")
    assert target.verdict([{"int8": {"p50_ns": 1}}]) is None


def test_the_size_of_a_library_is_that_of_its_files() -> None:
    files = distribution("numpy").files
    assert files is not None
    assert own_bytes("numpy") == sum(
        path.stat().st_size for file in files if (path := Path(str(file.locate()))).is_file()
    )
    assert {"numpy", "ai-edge-litert"} <= set(closure("ai-edge-litert"))
    assert "tensorflow-cpu" not in closure("ai-edge-litert")
    found = sizes("ai-edge-litert")
    assert found["closure_bytes"] > found["own_bytes"] > 0
    with pytest.raises(ValueError, match="no-such-library is not installed"):
        sizes("no-such-library")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--kinds", "int8,torch"], "no kind is called 'torch'"),
        (["--steps", "1"], "--steps 1 is too few"),
        (["--runs", "0"], "--runs 0 is too few"),
        (["--threads", "0"], "--threads 0 is too few"),
        (["--bundle", "none.bundle"], "no such file"),
        (["--text", "none.txt"], "none.txt cannot be read"),
    ],
)
def test_mistakes_get_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *arguments]) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("train: ")
    assert sentence in said
    assert "\n" not in said
