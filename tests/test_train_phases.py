"""Training in phases: a later one goes on with a wider model, other options, other weights."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kbengine.bundle import read_bundle
from kbengine.vocab import BOS, EOS
from train import recipe, stages
from train.checkpoint import CHECKPOINT, read_best
from train.corpus import Source
from train.fit import Fit, dev_loss
from train.model import ModelOptions, RecurrentLM
from train.options import FitOptions
from train.presets import PRESETS

ROOT = Path(__file__).parent.parent
# Runs `fit` on data/chat.txt in the folder argv[1], with the seed argv[2]; two phases.
TWO_PHASES = """
import sys
from dataclasses import replace
from pathlib import Path
from train import stages
from train.corpus import Source, Text
from train.options import FitOptions
from train.presets import PRESETS, Phase
first = FitOptions(pieces=8 * 16 * 400, lanes=8, steps=16, negatives=32, eval_every=150,
                   save_every_s=0, stretch=4, patience=99)
second = replace(first, pieces=8 * 8 * 400, steps=8, stretch=6, rate=1e-3, reset=0.2, seed=2,
                 dropout=0.1, begin_share=0.3)
preset = replace(PRESETS["tiny"], phases=(
    Phase(first, 16, 24), Phase(second, 16, 40, weights={"chat_dev": 1.5})))
preset = preset.changed(seed=int(sys.argv[2]))
work = Path(sys.argv[1])
if __name__ == "__main__":
    text = Text([Source(Path("data/chat.txt")), Source(Path("data/chat_dev.txt"), 0.5)])
    if not stages.goes_on(work, text):
        stages.make_vocabulary(work, text, preset)
    stages.fit(work, preset, [], 0)
    if sys.argv[3:]:
        stages.export(work)
        stages.make_bundle(work, work / "own.bundle", preset,
                           {"name": "own", "language": "en", "version": "1"}, None)
"""


def two_phases(work: Path, *more: str) -> list[str]:
    """The command that trains two phases in a folder."""
    script = work.with_suffix(".py")  # a file: the processes that count import it again
    script.write_text(TWO_PHASES, encoding="utf-8")
    return [sys.executable, str(script), str(work), *(more or ("1",))]


def run(command: list[str], check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=check, cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": "."}
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a run of two phases that nothing stopped; its bundle stands in it."""
    work = tmp_path_factory.mktemp("phases") / "whole"
    run(two_phases(work, "1", "bundle"))
    return work


def arrays(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "checkpoint.npz") as saved:
        return {name: saved[name] for name in saved.files if name != "facts"}


def facts(folder: Path) -> dict[str, Any]:
    with np.load(folder / "checkpoint.npz") as saved:
        found: dict[str, Any] = json.loads(str(saved["facts"]))
    return found


def test_a_run_killed_in_each_phase_comes_to_the_same_weights(whole: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    command = two_phases(killed)
    for name in ("phase1", "phase2"):
        process = subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.DEVNULL, env={"PYTHONPATH": "."}
        )
        while not (killed / name / "checkpoint.npz").exists() and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not facts(killed / name)["finished"]
    first = (killed / "phase1" / "checkpoint.npz").read_bytes()
    run(command)
    assert (killed / "phase1" / "checkpoint.npz").read_bytes() == first  # not run again
    for name in ("phase1", "phase2"):
        assert facts(killed / name)["finished"]
        wanted, got = arrays(whole / name), arrays(killed / name)
        assert wanted.keys() == got.keys()
        for key, values in wanted.items():
            np.testing.assert_array_equal(got[key], values, err_msg=f"{name} {key}")


def test_the_bundle_is_of_the_last_phase_and_tells_of_all(whole: Path) -> None:
    manifest = read_bundle(whole / "own.bundle").manifest
    training = manifest["training"]
    assert [phase["cells"] for phase in training["phases"]] == [24, 40]
    assert [phase["seed"] for phase in training["phases"]] == [1, 2]
    assert [s["phase_weights"] for s in training["sources"]] == [[1.0, 1.0], [0.5, 1.5]]
    seen = [phase["pieces seen"] for phase in training["phases"]]
    assert 0 < seen[1] <= 8 * 8 * 400
    assert training["settings"]["pieces seen"] == sum(seen)
    best = stages.best_row(facts(whole / "phase2")["log"])
    assert manifest["figures"]["dev loss, message alone"] == round(best["dev_alone"], 4)
    card = (whole / "own.md").read_text(encoding="utf-8")
    assert "| cells | 24 | 40 |" in card
    assert "| 0.5, 1.5 |" in card


def test_settings_of_a_finished_phase_are_looked_at(whole: Path) -> None:
    refused = run(two_phases(whole, "9"), check=False)
    assert "phase1/checkpoint.npz was begun with seed 1, not 9" in refused.stderr


def ids(rng: np.random.Generator, vocab_size: int, n: int) -> np.ndarray:
    drawn = np.where(rng.random(n) < 0.1, EOS, rng.integers(3, vocab_size, n))
    return drawn.astype(np.uint16)


def random_model(options: ModelOptions, rng: np.random.Generator) -> RecurrentLM:
    """Weights large enough for states and outputs to differ much."""
    model = RecurrentLM(options)
    model.assign_by_name(
        {n: rng.normal(0, 0.4, w.shape) for n, w in model.weights_by_name().items()}
    )
    return model


def a_fit(folder: Path, before: dict[str, Any] | None = None, **options: Any) -> Fit:
    """A run on a few hundred made-up messages."""
    rng = np.random.default_rng(3)
    common = rng.integers(3, 30, (400, 6)) * (rng.random((400, 6)) < 0.7)
    ids = (
        np.append(np.where(common, common, 5), np.full((400, 1), EOS), 1).ravel().astype(np.uint16)
    )
    given: dict[str, Any] = {"negatives": 16, **options}
    made = FitOptions(pieces=8 * 8 * 30, lanes=8, steps=8, eval_every=10, stretch=4, **given)
    return Fit(folder, ModelOptions(30, 12, 16), made, [ids], [1.0], ids[:700], before)


def test_the_end_is_mixed_with_the_beginning_where_that_is_better(tmp_path: Path) -> None:
    first = a_fit(tmp_path / "first")
    first.run()
    begin = first.model.weights_by_name()
    wild = a_fit(tmp_path / "wild", begin, rate=0.3, begin_share=0.5)  # a rate that spoils it
    wild.run()
    *before, mixed = wild.log
    assert "begin_share" not in before[-1]
    assert mixed["begin_share"] == 0.5
    ended = min(before, key=lambda row: row["dev_alone"] + row["dev_talk"])
    assert mixed["dev_alone"] + mixed["dev_talk"] < ended["dev_alone"] + ended["dev_talk"]
    kept, facts = read_best(tmp_path / "wild" / CHECKPOINT)
    assert facts["finished"]
    assert not np.allclose(kept["table"], wild.model.weights_by_name()["table"])
    again = a_fit(tmp_path / "wild", begin, rate=0.3, begin_share=0.5)
    again.run()
    assert again.log == wild.log, "it is mixed in once"


def test_a_phase_has_not_finished_before_it_is_mixed(tmp_path: Path) -> None:
    """Also one that its patience ended, whose mixture is then the best of all."""
    first = a_fit(tmp_path / "first")
    first.run()
    begin = first.model.weights_by_name()
    cut = a_fit(tmp_path / "cut", begin, rate=0.3, begin_share=0.5, patience=1)
    cut._mix_in_begin = lambda: None  # type: ignore[method-assign]  # as if killed right there
    cut.run()
    assert cut.step < cut.options.total_steps, "the patience ended"
    assert not read_best(tmp_path / "cut" / CHECKPOINT)[1]["finished"]
    again = a_fit(tmp_path / "cut", begin, rate=0.3, begin_share=0.5, patience=1)
    again.run()
    assert again.step == cut.step
    assert again.log[-1]["begin_share"] == 0.5
    assert read_best(tmp_path / "cut" / CHECKPOINT)[1]["finished"]


@pytest.mark.parametrize("common", [0.0, 0.25, 0.5])
def test_the_sum_of_the_softmax_is_right_on_average(tmp_path: Path, common: float) -> None:
    """Of whatever target: a common one, whose draws are left out, as of a rare one."""
    fit = a_fit(tmp_path, common=common)
    rng = np.random.default_rng(1)
    fit.model.assign_by_name(random_model(fit.model.options, rng).weights_by_name())
    row = rng.normal(0, 1, 12).astype(np.float32)
    logits = fit.model.logits(row[None, None]).numpy()[0, 0].astype(np.float64)
    draws = [fit._negatives.draw(step) for step in range(3000)]
    loss = tf.function(fit._loss)
    for target in (EOS, 5, 29):  # as often as all others together, a third of that, seldom
        inverse = np.exp(np.log(np.exp(logits).sum()) - logits[target])  # 1 / P(target)
        lanes = tf.tile(row[None, None], (1, 2, 1)), tf.fill((1, 2), target)
        found = [float(loss(*lanes, tf.constant(negatives))) for negatives in draws]
        assert np.mean(np.exp(found)) == pytest.approx(inverse, rel=0.04)


def test_with_as_many_negatives_as_pieces_nothing_is_drawn(tmp_path: Path) -> None:
    negatives = a_fit(tmp_path, negatives=30)._negatives
    assert sorted(negatives.draw(1)) == list(range(30))
    assert not negatives.logq.any()


@pytest.mark.parametrize("common", [-0.1, 0.99, 1.5])
def test_some_negatives_must_be_left_to_draw(tmp_path: Path, common: float) -> None:
    with pytest.raises(ValueError, match="commonest"):
        a_fit(tmp_path, common=common)


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_dropout_leaves_out_its_share_and_keeps_the_mean(tmp_path: Path, dropout: float) -> None:
    fit = a_fit(tmp_path, dropout=dropout)
    masks = fit._masks((2, 50, 40, 12), tf.constant(3))
    for mask in masks:
        values = np.broadcast_to(np.asarray(mask, np.float32), (50, 40, 12))
        assert set(np.unique(values)) == ({1.0} if not dropout else {0.0, np.float32(4 / 3)})
        assert abs(values.mean() - 1) < 0.01
    if dropout:
        assert not np.array_equal(masks[0], masks[1])
        again, other = (fit._masks((2, 50, 40, 12), tf.constant(step))[0] for step in (3, 4))
        assert np.array_equal(masks[0], again)
        assert not np.array_equal(masks[0], other)


@pytest.mark.parametrize("cells", [16, 17, 40])
def test_growth_keeps_the_function(cells: int) -> None:
    rng = np.random.default_rng(0)
    small = random_model(ModelOptions(30, 12, 16), rng)
    grown = RecurrentLM(ModelOptions(30, 12, cells), seed=5)
    grown.begin_from(small.weights_by_name())
    dev = ids(rng, 30, 2000)
    losses = [dev_loss(model, dev, alone=False) for model in (small, grown)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)

    weights = grown.weights_by_name()
    weights["projection"][16:] = 0
    grown.assign_by_name(weights)
    old, new = small.zero_state(3), grown.zero_state(3)
    for piece in ids(rng, 30, 20):
        pieces = [piece, 5, BOS]
        old = small.step(tf.gather(small.table, pieces), old)
        new = grown.step(tf.gather(grown.table, pieces), new)
        np.testing.assert_allclose(grown.logits(new[1]), small.logits(old[1]), rtol=0, atol=1e-5)
        np.testing.assert_allclose(new[0][:, :16], old[0], rtol=0, atol=1e-5)


def test_new_cells_have_a_share_in_the_output_and_learn() -> None:
    rng = np.random.default_rng(1)
    grown = RecurrentLM(ModelOptions(30, 12, 40), seed=5)
    grown.begin_from(random_model(ModelOptions(30, 12, 16), rng).weights_by_name())
    assert np.all(np.any(grown.weights_by_name()["projection"][16:] != 0, axis=1))
    kernel = grown.weights_by_name()["input"].reshape(12, 3, 40)
    assert np.all(np.any(kernel[..., 16:] != 0, axis=0))


def test_what_is_cut_away_was_not_needed() -> None:
    """A model whose table and projection use eight columns of twelve, and whose cells are half
    idle, is cut to those and stays the function that it was."""
    rng = np.random.default_rng(7)
    large = random_model(ModelOptions(30, 12, 16), rng)
    weights = large.weights_by_name()
    axes = np.linalg.qr(rng.normal(size=(12, 12)))[0][:, :8].astype(np.float32)
    for name in ("table", "projection"):
        weights[name] = weights[name] @ axes @ axes.T
    weights["projection"][::2] = 0
    large.assign_by_name(weights)
    cut = RecurrentLM(ModelOptions(30, 8, 8), seed=5)
    cut.begin_from(weights)
    old, new = large.zero_state(2), cut.zero_state(2)
    for pieces in rng.integers(2, 30, (12, 2)):
        old = large.step(tf.gather(large.table, pieces), old)
        new = cut.step(tf.gather(cut.table, pieces), new)
        np.testing.assert_allclose(cut.logits(new[1]), large.logits(old[1]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ModelOptions(31, 12, 24), "31 pieces and width 12 cannot begin from one of 30 and 12"),
        (ModelOptions(30, 16, 24), "30 pieces and width 16 cannot begin from one of 30 and 12"),
    ],
)
def test_what_cannot_grow_is_refused(options: ModelOptions, said: str) -> None:
    before = RecurrentLM(ModelOptions(30, 12, 16)).weights_by_name()
    with pytest.raises(ValueError, match=said):
        RecurrentLM(options).begin_from(before)


def test_patience_that_ended_is_a_finish(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    options = FitOptions(
        pieces=4 * 8 * 100, lanes=4, steps=8, negatives=8, eval_every=5, stretch=3, patience=1
    )
    noise = ids(rng, 20, 3000)
    fit = Fit(tmp_path, ModelOptions(20, 8, 8), options, [noise], [1.0], ids(rng, 20, 300))
    fit.run()
    assert fit.step < options.total_steps
    assert facts(tmp_path)["finished"]


def test_pieces_are_shared_and_seeds_follow() -> None:
    base = PRESETS["base"]
    half = base.changed(pieces=base.pieces / 2, seed=7)
    for old, new in zip(base.phases, half.phases, strict=True):
        assert new.fit.pieces == pytest.approx(old.fit.pieces / 2)
    assert [phase.fit.seed for phase in half.phases] == list(range(7, 7 + len(base.phases)))
    assert base.changed() == base


def test_the_weights_of_phases_name_sources_of_the_recipe() -> None:
    for weights in (recipe.TALK, recipe.EVEN):
        assert weights.keys() <= recipe.FREE.keys() | recipe.UNCLEAR.keys()
    assert Source(Path("corpora/train/chat.txt.gz")).name == "chat"
    assert Source(Path("my.own.txt")).name == "my.own"


def test_a_phase_without_an_evaluation_is_not_exported(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    options = FitOptions(pieces=1e5, lanes=4, steps=8, negatives=8, stretch=3)
    fit = Fit(
        tmp_path / "phase1", ModelOptions(20, 8, 8), options, [ids(rng, 20, 3000)], [1.0],
        ids(rng, 20, 300),
    )  # fmt: skip
    fit.save()
    with pytest.raises(ValueError, match="not evaluated yet"):
        stages.export(tmp_path)


def test_the_steps_compared_are_of_the_whole_dev_text() -> None:
    dev = np.arange(3, 1003, dtype=np.uint16)
    found = stages.spread_out(dev, most=60, stretches=3)
    stretches = np.split(found, np.flatnonzero(found == BOS))[1:]
    assert [part[1] for part in stretches] == [3, 337, 670]
    assert [len(part) for part in stretches] == [21, 21, 21]
    assert all((np.diff(part[1:]) == 1).all() for part in stretches)
    assert set(stages.spread_out(dev, 10_000, 3)) == {BOS, *dev.tolist()}
