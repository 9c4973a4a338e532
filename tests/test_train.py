"""From text to a bundle, on the small texts in data/: the real stages, no doubles."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import kbengine
from kbengine.bundle import read_bundle
from kbengine.errors import ModelError
from kbengine.lm.tflite import TFLiteModel
from kbengine.text import is_word
from kbengine.vocab import BOS, EOS
from train import recipe
from train.__main__ import main
from train.corpus import Counts, Source, one_pass
from train.export import convert, export
from train.fit import Stream, load_best
from train.model import ModelOptions, RecurrentLM
from train.options import FitOptions
from train.recurrence import recurrence, sampled_softmax
from train.spread import spread

ROOT = Path(__file__).parent.parent
CHAT = ROOT / "data" / "chat.txt"
DEV = ROOT / "data" / "chat_dev.txt"


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a whole run on data/chat.txt; the bundle stands beside it."""
    folder = tmp_path_factory.mktemp("train")
    status = main(
        ["run", "--preset", "tiny", "--text", str(CHAT), f"{DEV}=0.5", "--dev", str(DEV),
         "--work", str(folder / "work"), "--out", str(folder / "own.bundle")]
    )  # fmt: skip
    assert status == 0
    return folder / "work"


def test_a_run_ends_in_a_bundle_that_suggests(work: Path) -> None:
    engine = kbengine.load(work.parent / "own.bundle")
    manifest = engine.bundle.manifest
    assert [s["name"] for s in manifest["training"]["sources"]] == ["chat.txt", "chat_dev.txt"]
    assert manifest["training"]["sources"][1]["weight"] == 0.5
    assert manifest["figures"]["dev loss, message alone"] > 0
    assert "chat.txt" in (work.parent / "own.md").read_text()
    assert manifest["filtered"] == len(engine.word_filter) > 100
    assert len(engine.suggest("see you ", 3, slots="words:3")) == 3
    assert (work / "phase1" / "loss.png").read_bytes()[:4] == b"\x89PNG"
    log = json.loads((work / "phase1" / "log.json").read_text())
    assert log[-1]["dev_alone"] < log[0]["dev_alone"] or len(log) > 1


def test_each_stage_is_a_verb(work: Path, tmp_path: Path) -> None:
    before = (work / "model.tflite").read_bytes()
    assert main(["export", "--work", str(work)]) == 0
    assert (work / "model.tflite").read_bytes() == before
    out = tmp_path / "again.bundle"
    assert main(["bundle", "--work", str(work), "--preset", "tiny", "--out", str(out)]) == 0
    again = read_bundle(out)
    assert again.parts == read_bundle(work.parent / "own.bundle").parts


def test_a_folder_with_another_text_s_run_is_refused(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = [
        "run",
        "--preset",
        "tiny",
        "--text",
        str(DEV),
        "--work",
        str(work),
        "--out",
        "x.bundle",
    ]
    assert main(again) == 1
    assert "other text" in capsys.readouterr().err


def test_a_run_is_not_gone_on_with_under_other_settings(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = ["fit", "--work", str(work), "--preset", "tiny", "--dev", str(DEV)]
    assert main([*fit, "--seed", "9"]) == 1
    assert "begun with seed 1, not 9" in capsys.readouterr().err


def test_changed_text_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, work = tmp_path / "own.txt", tmp_path / "work"
    text.write_bytes(CHAT.read_bytes())
    run = ["--preset", "tiny", "--text", str(text), "--work", str(work)]
    assert main(["vocab", *run]) == 0
    first = (work / "vocab.model").read_bytes()
    assert main(["vocab", *run]) == 0
    assert (work / "vocab.model").read_bytes() == first
    text.write_bytes(DEV.read_bytes())
    assert main(["run", *run, "--out", str(tmp_path / "own.bundle")]) == 1
    assert "other text" in capsys.readouterr().err


def test_a_model_of_other_weights_is_not_bundled(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "stale"
    shutil.copytree(work, stale)
    exported = json.loads((stale / "export.json").read_text())
    (stale / "export.json").write_text(json.dumps({**exported, "step": 1}))
    out = tmp_path / "x.bundle"
    assert main(["bundle", "--work", str(stale), "--preset", "tiny", "--out", str(out)]) == 1
    assert "train export" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("free", [True, False])
def test_the_recipe_takes_a_corpora_folder(tmp_path: Path, free: bool) -> None:
    corpora, work = tmp_path / "corpora", tmp_path / "work"
    lines = gzip.compress(CHAT.read_bytes())
    for folder, table in (("train", recipe.FREE), ("train-nc", recipe.UNCLEAR)):
        (corpora / folder).mkdir(parents=True)
        for name in table:
            (corpora / folder / f"{name}.txt.gz").write_bytes(lines)
    options = ["--preset", "tiny", "--corpora", str(corpora), "--work", str(work)]
    assert main(["vocab", *options, *(["--free"] if free else [])]) == 0
    chosen = json.loads((work / "sources.json").read_text())
    names = {Path(s["path"]).name.removesuffix(".txt.gz") for s in chosen["sources"]}
    assert names == set(recipe.FREE) | (set() if free else set(recipe.UNCLEAR))
    assert ("states no licence" in chosen["notice"]) is not free
    counted = Counts.load(work / "counts.json.gz")
    weight = sum(s["weight"] for s in chosen["sources"])
    (once,) = set(counted.words)
    assert sum(n for t, n in counted.tokens.items() if is_word(t)) == pytest.approx(once * weight)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--preset", "tiny", "--out", "x.bundle"],
        ["vocab", "--text", "no-such-file.txt"],
        ["vocab", "--text", f"{CHAT}=much"],
        ["vocab", "--text", f"{CHAT}=-1"],
        ["vocab", "--text", str(CHAT), "--free"],
        ["run", "--text", str(CHAT), "--out", "x.bundle", "--cldr", "no-such-file"],
        ["run", "--text", str(CHAT), "--out", "x.bundle", "--dev", "no-such-file"],
        ["run", "--text", str(CHAT), "--out", "x.bundle", "--pieces", "-5"],
        ["fit"],
        ["export"],
        ["bundle", "--out", "x.bundle"],
        ["run", "--corpora", "no-such-folder", "--out", "x.bundle"],
    ],
)
def test_a_mistake_gets_one_sentence(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--work", str(tmp_path / "work")]) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("train: ")
    assert "\n" not in said


def test_the_hand_written_gradients_are_those_of_autodiff() -> None:
    model = RecurrentLM(ModelOptions(vocab_size=40, width=12, cells=16), seed=3)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 40, (7, 4)).astype(np.int32)
    tokens[3, 1] = BOS
    state = (
        tf.constant(rng.normal(size=(4, 16)), tf.float32),
        tf.constant(rng.normal(size=(4, 12)), tf.float32),
    )
    pull = tf.constant(rng.normal(size=(7, 4, 12)), tf.float32)
    weights = [w.value for w in model.trainable_variables if w.name != "bias"]

    def plain(x: tf.Tensor) -> tf.Tensor:
        c, r = state
        outputs = []
        for t in range(7):
            keep = tf.cast(tokens[t] != BOS, tf.float32)[:, None]
            c, r = model.step(x[t], (c * keep, r * keep))
            outputs.append(r)
        return tf.stack(outputs)

    with tf.GradientTape() as tape:
        wanted = plain(tf.gather(model.table, tokens))
        loss = tf.reduce_sum(wanted * pull)
    wanted_gradients = tape.gradient(loss, weights)
    with tf.GradientTape() as tape:
        got, _ = model.unroll(tokens, state, streams=2)
        loss = tf.reduce_sum(got * pull)
    got_gradients = tape.gradient(loss, weights)
    np.testing.assert_allclose(got, wanted, atol=0.03)
    for mine, theirs in zip(got_gradients, wanted_gradients, strict=True):
        mine, theirs = tf.convert_to_tensor(mine).numpy(), tf.convert_to_tensor(theirs).numpy()
        # bfloat16 keeps 8 bits: directions agree, single numbers to a few per cent.
        cosine = (mine * theirs).sum() / np.linalg.norm(mine) / np.linalg.norm(theirs)
        assert cosine > 0.9995
        assert abs(np.linalg.norm(mine) / np.linalg.norm(theirs) - 1) < 0.01


def test_the_truncated_state_carries_no_gradient_back() -> None:
    rng = np.random.default_rng(1)
    c = tf.Variable(rng.normal(size=(2, 4)), dtype=tf.float32)
    x, keep = tf.ones((3, 2, 5)), tf.ones((3, 2, 1))
    shapes = [(5, 12), (5, 12), (12,), (4, 5)]
    kernels = [tf.constant(rng.normal(size=s), tf.float32) for s in shapes]
    with tf.GradientTape() as tape:
        outputs, _, _ = recurrence(x, keep, c, tf.zeros((2, 5)), *kernels)
        loss = tf.reduce_sum(outputs)
    assert not np.any(tape.gradient(loss, c))


def test_sampled_softmax_over_all_pieces_is_the_full_softmax() -> None:
    rng = np.random.default_rng(0)
    outputs = tf.Variable(rng.normal(size=(6, 8)), dtype=tf.float32)
    table = tf.Variable(rng.normal(size=(20, 8)), dtype=tf.float32)
    targets = rng.integers(0, 20, 6)
    everything = np.arange(20)
    with tf.GradientTape() as tape:
        loss = sampled_softmax(
            outputs, tf.gather(table, targets), tf.zeros(6), tf.gather(table, everything),
            tf.zeros(20), tf.constant(targets[:, None] == everything[None, :]),
        )  # fmt: skip
    got = [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, [outputs, table])]
    with tf.GradientTape() as tape:
        logits = tf.matmul(outputs, table, transpose_b=True)
        wanted_loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))
    wanted = [tf.convert_to_tensor(g).numpy() for g in tape.gradient(wanted_loss, [outputs, table])]
    assert float(loss) == pytest.approx(float(wanted_loss), rel=0.01)
    for mine, theirs in zip(got, wanted, strict=True):
        assert np.abs(mine - theirs).max() < 0.03


def test_the_same_step_always_gives_the_same_batch() -> None:
    rng = np.random.default_rng(0)
    ids = np.where(rng.random(4000) < 0.1, EOS, rng.integers(3, 50, 4000)).astype(np.uint16)
    options = FitOptions(lanes=4, steps=8, stretch=3)
    stream, late = Stream([ids], [1.5], options), Stream([ids], [1.5], options)
    last = 3 * stream.steps + 5  # in the fourth pass
    forward = [stream.batch(step) for step in range(last + 1)]
    for mine, theirs in zip(forward[last], late.batch(last), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    inputs, targets = forward[0]
    # Inputs are the targets one step before, but for messages that were set to stand alone.
    same = inputs[1:] == targets[:-1]
    assert np.all(same | ((inputs[1:] == BOS) & (targets[:-1] == EOS)))


def test_weights_say_how_often_lines_stand_in_a_pass() -> None:
    ids = np.array([5, EOS] * 1000 + [6, EOS] * 1000, np.uint16)
    stream = one_pass(
        [ids, ids + np.uint16(2) * (ids > EOS)], [2.0, 0.25], 1, np.random.default_rng(0)
    )
    count = np.bincount(stream, minlength=10)
    assert (count[5], count[6]) == (2000, 2000)
    assert 400 < count[7] + count[8] < 600


def test_a_source_is_a_file_and_a_weight() -> None:
    assert Source.parse(f"{CHAT}=2.5").weight == 2.5
    assert Source.parse(str(CHAT)).weight == 1.0


def test_export_is_two_signatures_of_builtin_ops_and_one_table(work: Path) -> None:
    model, _ = load_best(work / "phase1")
    content = (work / "model.tflite").read_bytes()
    parameters = sum(int(np.prod(w.shape)) for w in model.weights)
    # int8: a byte a parameter and some for scales, biases and graph; a second table would
    # add half again.
    assert len(content) < 1.25 * parameters + 45_000
    step = TFLiteModel(content)
    assert (step.vocab_size, step.state_size) == (
        model.options.vocab_size,
        model.options.cells + model.options.width,
    )


def test_a_batch_equals_its_rows_and_probabilities_sum_to_1(work: Path) -> None:
    step = TFLiteModel((work / "model.tflite").read_bytes())
    _, states = step.step([BOS] * 3, [step.start()] * 3)
    for size in (1, 2, 5, 8, 16):
        pieces = list(range(10, 10 + size))
        given = [states[i % 3] * (1 + i) for i in range(size)]
        logp, after = step.step(pieces, given)
        np.testing.assert_allclose(np.exp(logp.astype(np.float64)).sum(1), 1, atol=1e-4)
        advanced = step.advance(pieces, given)
        for i in range(size):
            one, (state,) = step.step([pieces[i]], [given[i]])
            np.testing.assert_array_equal(one[0], logp[i])
            np.testing.assert_array_equal(state, after[i])
            np.testing.assert_array_equal(advanced[i], after[i])


def test_export_agrees_with_the_float_model_or_refuses(work: Path, tmp_path: Path) -> None:
    model, _ = load_best(work / "phase1")
    pieces = np.concatenate([[BOS], np.load(work / "dev.npy")]).astype(np.int64)
    found = export(model, pieces, pieces, tmp_path / "good.tflite")
    assert found.steps == len(pieces) - 1 > 1000
    assert found.perplexity <= 1.005
    assert (tmp_path / "good.tflite").stat().st_size == found.model_bytes

    spoilt = model.weights_by_name()
    spoilt["projection"][::7] *= 3000  # columns that leave the others no int8 steps
    model.assign_by_name(spoilt)
    with pytest.raises(ModelError, match="nothing was written"):
        export(model, pieces, pieces, tmp_path / "bad.tflite")
    assert not (tmp_path / "bad.tflite").exists()


def test_a_model_of_no_numbers_is_refused(work: Path, tmp_path: Path) -> None:
    model, _ = load_best(work / "phase1")
    weights = model.weights_by_name()
    weights["state"][:] = np.nan
    model.assign_by_name(weights)
    with pytest.raises(ModelError, match="no numbers"):
        export(model, np.arange(3, 60), np.arange(3, 60), tmp_path / "nan.tflite")


def test_the_engine_refuses_a_foreign_tflite(work: Path) -> None:
    module = tf.Module()
    double = tf.function(lambda x: {"y": x * 2}, [tf.TensorSpec([1], tf.float32, name="x")])
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [double.get_concrete_function()], module
    )
    with pytest.raises(ModelError, match="signatures"):
        TFLiteModel(converter.convert())
    assert convert(
        load_best(work / "phase1")[0], np.arange(3, 60)
    )  # the real one still converts after that


def test_what_is_spread_is_the_same_function(work: Path) -> None:
    """The weights brought to one size, before int8: every prediction stays what it was."""
    model, _ = load_best(work / "phase1")
    pieces = np.arange(3, 60)
    found = spread(model, pieces)
    table, kernel = found["table"], np.concatenate([found["input"], found["state"]])
    cells, width = found["projection"].shape
    c, r = np.zeros((1, cells), np.float32), np.zeros((1, width), np.float32)
    own = model.zero_state(1)
    for piece in pieces.tolist():
        x = table[[piece]] * found["lift"]
        i, g, o = np.split(np.concatenate([x, r], 1) @ kernel + found["gate_bias"], 3, axis=1)
        i, o = 1 / (1 + np.exp(-i)), 1 / (1 + np.exp(-o))
        c = (1 - i) * c + i * np.tanh(g)
        r = (found["gain"] * o * np.tanh(c)) @ found["projection"]
        own = model.step(tf.gather(model.table, [piece]), own)
        wanted = model.logits(own[1]).numpy()
        assert np.allclose(r @ table.T + found["bias"], wanted, atol=2e-4)
    rows = np.sqrt(np.mean(found["projection"] ** 2, axis=1))
    assert np.allclose(rows, rows[0], rtol=1e-4)
