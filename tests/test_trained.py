"""Trained models read back: from the shipped bundles, and from a run on a little text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kbengine.bundle import read_bundle
from kbengine.errors import KbengineError, ModelError
from kbengine.lm.tflite import TFLiteModel
from kbengine.packaged import DEFAULT_BUNDLE
from kbengine.vocab import BOS, EOS, Vocabulary
from tests.modelfiles import altered
from tests.smallmodel import small_model
from tests.toys import toy_bundle, vocabulary_bytes
from train.checkpoint import CHECKPOINT, read_best
from train.dequantized import read_weights
from train.export import compare, convert
from train.model import ModelOptions, RecurrentLM
from train.trained import Trained, read_trained

ROOT = Path(__file__).parent.parent
DEV = ROOT / "data" / "chat_dev.txt"
NANO = DEFAULT_BUNDLE.parent / "en-nano.bundle"


def real_text(vocabulary: bytes, most: int) -> NDArray[np.int64]:
    """Pieces of data/chat_dev.txt, a message behind the other."""
    known = Vocabulary(vocabulary)
    lines = DEV.read_text(encoding="utf-8").splitlines()
    pieces = [BOS, *(piece for line in lines for piece in [*known.encode(line), EOS])]
    return np.array(pieces[:most], np.int64)


def model_of(trained: Trained) -> RecurrentLM:
    model = RecurrentLM(ModelOptions(trained.pieces, trained.width, trained.cells))
    model.assign_by_name(trained.weights)
    return model


def random_model(pieces: int, width: int = 16, cells: int = 24) -> RecurrentLM:
    """Weights of the size that training leaves them, so that predictions differ."""
    model = RecurrentLM(ModelOptions(pieces, width, cells), seed=5)
    rng = np.random.default_rng(5)
    weights = model.weights_by_name()
    weights["table"] = rng.normal(size=weights["table"].shape).astype(np.float32)
    weights["bias"] = rng.normal(size=weights["bias"].shape).astype(np.float32)
    model.assign_by_name(weights)
    return model


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with the vocabulary and one phase, as `train fit` leaves it, and a real
    checkpoint; 30 steps are enough to have one."""
    from train.fit import Fit
    from train.options import FitOptions

    folder = tmp_path_factory.mktemp("trained") / "work"
    folder.mkdir()
    (folder / "vocab.model").write_bytes(vocabulary_bytes())
    ids = real_text(vocabulary_bytes(), 10_000)[1:].astype(np.uint16)
    options = FitOptions(pieces=30 * 32, lanes=4, steps=8, negatives=64, eval_every=15)
    shape = ModelOptions(len(Vocabulary(vocabulary_bytes())), 16, 24)
    Fit(folder / "phase1", shape, options, [ids], [1.0], ids).run()
    return folder


# What an int8 model stands for


@pytest.mark.parametrize("bundle", [DEFAULT_BUNDLE, NANO], ids=lambda path: path.stem)
def test_the_weights_of_a_bundle_step_as_its_model_does(bundle: Path) -> None:
    trained = read_trained(bundle)
    assert not trained.exact
    assert trained.name == bundle.stem
    assert trained.step_model == read_bundle(bundle).parts["model"]
    pieces = real_text(trained.vocabulary, 400)
    found = compare(model_of(trained), trained.step_model, pieces)
    assert found.top1 > 0.96
    assert found.deviation < 0.04
    assert abs(found.perplexity - 1) < 0.01


def test_what_was_exported_comes_back_to_within_its_grids() -> None:
    """Up to the turn and the order of the cells, which change no prediction: the model read
    back predicts what the first one did, and exports to the same function."""
    first = random_model(90)
    pieces = np.random.default_rng(0).integers(0, 90, 300)
    weights = read_weights(convert(first, pieces))
    assert {n: w.shape for n, w in weights.items()} == {
        n: w.shape for n, w in first.weights_by_name().items()
    }
    second = random_model(90)
    second.assign_by_name(weights)
    wanted, got, own, other = [], [], first.zero_state(1), second.zero_state(1)
    for piece in pieces.tolist():
        own = first.step(first.table[piece : piece + 1], own)
        other = second.step(second.table[piece : piece + 1], other)
        wanted.append(first.logits(own[1]).numpy()[0])
        got.append(second.logits(other[1]).numpy()[0])
    wanted, got = np.array(wanted), np.array(got)
    assert np.abs(wanted - got).max() < 0.15 < np.ptp(wanted)
    assert np.mean(wanted.argmax(1) == got.argmax(1)) > 0.95


def test_a_graph_of_other_ops_is_refused() -> None:
    def swapped(model: object) -> None:
        """The second gate before the first: the same types and shapes, another function."""
        for graph in model.subgraphs:  # type: ignore[attr-defined]
            split = next(o for o in graph.operators if len(o.outputs) == 3)
            split.outputs = [split.outputs[2], split.outputs[1], split.outputs[0]]

    assert TFLiteModel(altered(swapped)), "the engine steps whatever has the types"
    with pytest.raises(ModelError, match="another order; export again"):
        read_weights(altered(swapped))
    with pytest.raises(ModelError, match=r"not the mark of a \.tflite; export again"):
        read_weights(b"no model at all")
    assert read_weights(small_model())["projection"].shape == (24, 8)


# Where models stand


def test_a_run_s_folders_and_its_checkpoint_are_one_model(work: Path) -> None:
    wanted, _ = read_best(work / "phase1" / CHECKPOINT)
    for path, name in (
        (work, "work"), (work / "phase1", "work-phase1"),
        (work / "phase1" / "checkpoint.npz", "work-phase1"),
    ):  # fmt: skip
        trained = read_trained(path)
        assert (trained.name, trained.exact, trained.step_model) == (name, True, None)
        assert trained.vocabulary == vocabulary_bytes()
        assert set(trained.weights) == set(wanted)
        for key, values in wanted.items():
            np.testing.assert_array_equal(trained.weights[key], values)


def test_an_int8_model_of_other_weights_is_left_out(work: Path, tmp_path: Path) -> None:
    copy = tmp_path / "work"
    shutil.copytree(work, copy)
    _, facts = read_best(copy / "phase1" / CHECKPOINT)
    best = min(facts["log"], key=lambda row: row["dev_alone"] + row["dev_talk"])["step"]
    (copy / "model.tflite").write_bytes(small_model())
    for step, wanted in ((best, small_model()), (best + 1, None)):
        (copy / "export.json").write_text(json.dumps({"phase": 1, "step": step}))
        assert read_trained(copy).step_model == wanted


def test_what_holds_no_model_gets_one_sentence(work: Path, tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(work, folder)
        return folder

    def cut(path: Path) -> Path:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return path

    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "checkpoint.npz", other=np.zeros(3))
    no_words = copy("no_words")
    (no_words / "vocab.model").unlink()
    other_words = copy("other_words")
    shipped = read_bundle(NANO).parts["vocabulary"]
    (other_words / "vocab.model").write_bytes(shipped)
    (tmp_path / "text.bundle").write_text("no bundle")
    cases = {
        tmp_path / "none.bundle": "no such file",
        tmp_path / "text.bundle": "no readable bundle",
        toy_bundle(tmp_path / "toy.bundle"): "family 'ngram', which has no weights",
        tmp_path / "empty": "run `python -m train fit`",
        tmp_path / "checkpoint.npz": "no checkpoint of `python -m train fit`",
        cut(copy("cut") / "phase1" / "checkpoint.npz"): "no checkpoint of `python -m train fit`",
        tmp_path / "model.tflite": "no model with its vocabulary",
        no_words: "its vocabulary is missing",
        other_words: "pieces and its vocabulary 16,000",
    }
    for path, sentence in cases.items():
        with pytest.raises((KbengineError, ValueError), match=sentence) as raised:
            read_trained(path)
        assert "\n" not in str(raised.value)
