"""What cannot be converted is told by op, layer and mend; what is empty or broken is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kbengine.errors import ModelError
from kbengine.inspect.graph import read_graph
from tests import foreign
from tests.modelfiles import pack
from tests.smallmodel import unpacked
from train.__main__ import main
from train.convert.conversion import ConversionError, make
from train.convert.deviation import compare, lost_weights, read_result
from train.convert.readers import Wishes, of_keras, read_source
from train.convert.source import weight_bytes
from train.convert.stepping import Plan
from train.convert.steps import Material, read_material
from train.convert.trouble import Trouble, troubles, without_builtin
from train.echo import echo


def found(name: str) -> list[Trouble]:
    (entry,) = read_source(f"tests.foreign:{name}").entries
    return troubles(entry, {})


def run(source: Any, **plan: Any) -> Any:
    return make(source, Plan(mode="float32", steps=20, **plan), Material())


# In the way


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_rolled_layer_is_named_with_its_mend(kind: str) -> None:
    with pytest.raises(ConversionError, match=r"TensorListReserve.* in reader") as caught:
        run(of_keras(foreign.rolled(kind)), stays_free=True)
    (row,) = [t for t in caught.value.troubles if "TensorListReserve" in t.op]
    assert row.layer == "reader"
    assert f"call {kind}Cell once, with the state as inputs and outputs" in row.mend


def test_a_rolled_layer_runs_with_a_fixed_batch_and_says_what_it_costs() -> None:
    model = foreign.rolled()
    made = run(of_keras(model))
    assert "the batch is fixed at 1, as free it fails" in made.notes[0]
    assert [(t.layer, "While" in t.op) for t in made.troubles] == [("reader", True)]
    tokens = made.stepped[0].feeds.feeds[0]["tokens"]
    assert tokens.shape[0] == 1
    assert made.deviations["step"][0].share < 1e-4


@pytest.mark.parametrize(
    ("name", "op", "mend"),
    [
        ("squeezed", "Squeeze", "omitted axis"),
        ("summed", "Sum", "omitted axis"),
        ("any_rank", "Max", "omitted axis"),
        ("any_rank", "Rank", "omitted axis"),
        ("baked", "x", "a batch dimension of 4 that should not be there"),
        ("noisy", "RandomStandardNormal", "training=False"),
        ("noisy", "Shape", "axis instead of a shape"),
        ("spelling", "StringLength", "feed numbers"),
        ("branching", "StatelessIf", "tf.where"),
    ],
)
def test_what_is_hard_is_named_with_its_mend(name: str, op: str, mend: str) -> None:
    rows = [t for t in found(name) if op in t.op.split(", ")]
    assert rows, found(name)
    assert any(mend in t.mend for t in rows), rows


@pytest.mark.parametrize("name", ["leaky", "residual"])
def test_a_plain_step_has_nothing_to_mend(name: str) -> None:
    assert found(name) == []


def test_what_tflite_lacks_is_what_the_converter_says() -> None:
    (entry,) = read_source("tests.foreign:singular").entries
    assert [t.op for t in without_builtin(entry, {})] == ["Svd"]
    (entry,) = of_keras(foreign.gru_step()).entries
    assert without_builtin(entry, {}) == []
    with pytest.raises(ConversionError, match="Svd"):
        run(read_source("tests.foreign:singular"))


def test_rows_that_mix_are_no_batch() -> None:
    """It converts, and is wrong for two rows: told, and fixed at one."""
    made = run(read_source("tests.foreign:summed"))
    assert "mixes the rows of a batch" in made.notes[0]


def test_text_is_fed_as_numbers() -> None:
    with pytest.raises(ConversionError, match="has text as string"):
        run(read_source("tests.foreign:spelling"))


# Silently empty


def emptied(model: Any) -> bytes:
    """A Keras 3 model handed to the converter as such: a small file, and no word of it."""
    function = tf.function(lambda token, past: model([token, past], training=False))
    specs = [tf.TensorSpec([1], tf.int32), tf.TensorSpec([1, foreign.CELLS], tf.float32)]
    concrete = function.get_concrete_function(*specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)
    return bytes(converter.convert())


def test_a_file_that_lost_its_weights_without_a_word_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The converter's own way to lose a Keras model, put in the place of ours."""
    source = of_keras(foreign.gru_step())
    content = emptied(foreign.gru_step())
    weights = weight_bytes(source.entries)
    assert len(content) < weights / 2
    assert "is empty" in lost_weights(read_result(content), "float32", weights)
    with pytest.raises(ModelError, match="the converted file"):
        run(replace(source, converters={"float32": lambda: content}))
    assert not lost_weights(run(source).graph, "float32", weights)


def test_a_file_without_ops_is_refused() -> None:
    model = unpacked(run(of_keras(foreign.gru_step())).content)
    for graph in model.subgraphs:
        graph.operators = []
    with pytest.raises(ModelError, match="empty: 1 signatures, 0 ops"):
        read_result(pack(model))


def test_weights_that_nothing_reads_may_go() -> None:
    """Of a table of which sixteen rows are read, the converter keeps sixteen."""
    made = run(read_source("tests.foreign:positions"))
    assert any("nothing reads" in note for note in made.notes)
    assert len(made.content) < 100_000


def _steps(values: Any) -> list[Any]:
    return [({}, {"y": np.asarray(value, np.float32)[None]}) for value in values]


def test_outputs_that_are_no_numbers_or_always_the_same_are_refused() -> None:
    rng = np.random.default_rng(1)
    good = rng.normal(0, 1, (9, 4))
    (row,) = compare(_steps(good), _steps(good), ["y"])
    assert (row.largest, row.share, row.same_best) == (0, 0, 1)
    with pytest.raises(ModelError, match="y is no number"):
        compare(_steps(good), _steps(good * np.nan), ["y"])
    with pytest.raises(ModelError, match="always the same"):
        compare(_steps(good), _steps(np.ones_like(good)), ["y"])
    with pytest.raises(ModelError, match=r"gives y as \[1, 3\], the source as \[1, 4\]"):
        compare(_steps(good), _steps(good[:, :3]), ["y"])
    with pytest.raises(ModelError, match="no output z"):
        compare(_steps(good), _steps(good), ["z"])


def test_a_deviation_is_measured_by_how_much_an_output_varies() -> None:
    good = np.random.default_rng(1).normal(100, 2, (4000, 3))
    (row,) = compare(_steps(good), _steps(good + 1), ["y"])
    assert row.share == pytest.approx(1 / 2, rel=0.05)  # a shift by half a standard deviation
    assert (row.largest, row.mean) == (pytest.approx(1, rel=1e-3), pytest.approx(1, rel=1e-3))


def test_what_is_far_off_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign.gru_step().save(tmp_path / "gru.keras")
    out = tmp_path / "gru.tflite"
    asked = ["convert", str(tmp_path / "gru.keras"), "--out", str(out), "--steps", "20"]
    assert main([*asked, "--limit", "0.0001"]) == 1
    assert "not its source's equal" in capsys.readouterr().err
    assert not out.exists()
    assert main(asked) == 0
    assert read_graph(out.read_bytes()).signatures


# Sources that are none


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "empty.pb").write_bytes(b"")
    (tmp_path / "noise.pb").write_bytes(bytes(range(256)) * 9)
    (tmp_path / "prose.pbtxt").write_text("node { what? }")
    (tmp_path / "model.weights.h5").write_bytes(b"weights")
    (tmp_path / "model.h5").write_bytes(b"no hdf5")
    (tmp_path / "cut.keras").write_bytes(b"PK\3\4 cut off")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "done.tflite").write_bytes(b"\0\0\0\0TFL3")
    (tmp_path / "bad.npz").write_bytes(b"no arrays")
    (tmp_path / "folder").mkdir()
    saved = tmp_path / "broken"
    saved.mkdir()
    (saved / "saved_model.pb").write_bytes(b"\xff" * 99)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere.keras", "is not there; give a .keras"),
        ("empty.pb", "empty graph"),
        ("noise.pb", "is no GraphDef"),
        ("prose.pbtxt", "is no GraphDef"),
        ("model.weights.h5", "weights alone"),
        ("model.h5", "no Keras model that can be loaded"),
        ("cut.keras", "is cut off, or no .keras file"),
        ("picture.png", "nothing that can be converted"),
        ("done.tflite", "converted already"),
        ("broken", "no SavedModel"),
        ("folder", "no SavedModel and no --work folder"),
    ],
)
def test_a_file_that_is_no_source_is_refused_in_a_sentence(
    name: str, told: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("convert", "echo"):
        assert main([verb, str(files / name)]) == 1
        lines = capsys.readouterr().err.splitlines()
        (line,) = [line for line in lines if line.startswith("train: ")]
        assert told in line


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("no_such_module:f", "there is no module no_such_module"),
        ("tests.foreign:nothing", "has no nothing"),
        ("tests.foreign:unspecified", "does not say what it takes"),
    ],
)
def test_a_function_that_is_none(source: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_source(source)


def test_what_a_function_takes_can_be_declared() -> None:
    source = read_source("tests.foreign:unspecified", Wishes(declared=["x:float32[?, 3]"]))
    (entry,) = source.entries
    assert entry.call({"x": np.zeros((2, 3), np.float32)})["output"].tolist() == [[1] * 3] * 2
    with pytest.raises(ValueError, match=r"--input x:words\[3\] cannot be read"):
        read_source("tests.foreign:unspecified", Wishes(declared=["x:words[3]"]))


def test_a_graph_without_the_values_of_its_variables(tmp_path: Path) -> None:
    foreign.train_in_2018(tmp_path)
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "model.pb").write_bytes((tmp_path / "model.pb").read_bytes())
    with pytest.raises(ValueError, match="variables and no values for them; give --checkpoint"):
        read_source(str(alone / "model.pb"))
    given = Wishes(checkpoint=tmp_path / "model.ckpt")
    assert read_source(str(alone / "model.pb"), given).variables
    with pytest.raises(ValueError, match="is no checkpoint"):
        read_source(str(alone / "model.pb"), Wishes(checkpoint=alone / "no.ckpt"))
    with pytest.raises(ValueError, match="the graph has no tensor nowhere"):
        read_source(str(tmp_path / "frozen.pb"), Wishes(outputs=["nowhere"]))


def test_steps_that_do_not_fit(files: Path) -> None:
    source = of_keras(foreign.gru_step())
    text = files / "text.txt"
    text.write_text("a b c\n")
    with pytest.raises(ValueError, match="--text needs --vocab"):
        read_material(text, None, None)
    with pytest.raises(ValueError, match="no SentencePiece model"):
        read_material(text, files / "model.h5", None)
    with pytest.raises(ValueError, match=r"no \.npz of arrays"):
        read_material(None, None, files / "bad.npz")
    with pytest.raises(ValueError, match="the table that token reads 120 rows"):
        make(source, Plan(), Material(np.array([5, 120])))
    with pytest.raises(ValueError, match="needs a row for each step"):
        make(source, Plan(), Material(data={"past": np.zeros((5, 7))}))
    with pytest.raises(ValueError, match="--data has nonsense"):
        make(source, Plan(), Material(data={"nonsense": np.zeros((5, 7))}))
    with pytest.raises(ValueError, match="no input is called tokens"):
        make(source, Plan(shapes={"tokens": (1, 4)}), Material())
    with pytest.raises(ValueError, match="takes the ranges of activations from real inputs"):
        make(source, Plan(mode="int8"), Material())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--steps", "1"], "--steps 1 compares nothing"),
        (["--batch", "many"], "--batch many is no number of rows"),
        (["--shape", "past=a"], "--shape past=a cannot be read"),
        (["--state", "a=b", "--no-states"], "exclude each other"),
        (["--out", "/nowhere/at/all.tflite"], "cannot be written"),
        (["--signature", "other"], "no signature is called other"),
    ],
)
def test_options_that_cannot_be(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "tests.foreign:leaky", *options]) == 1
    assert told in capsys.readouterr().err


# Echo


def test_echo_tells_what_a_model_holds(tmp_path: Path) -> None:
    foreign.train_in_2018(tmp_path)
    told = echo(read_source(str(tmp_path / "model.pb")))
    (step,) = told["signatures"]
    assert [end["name"] for end in step["inputs"]] == ["step_piece", "step_c", "step_h"]
    assert step["inputs"][1]["shape"] == [-1, foreign.CELLS]
    assert step["ops"]["MatMul"] == 2
    assert step["control_flow"] == {}
    assert step["without_builtin"] == []
    rows, cells, words = foreign.COLUMNS, foreign.CELLS, foreign.WORDS
    count = words * rows + (rows + cells + 1) * 4 * cells + (cells + 1) * words
    assert told["variable_bytes"] == 4 * count
    assert {v["name"] for v in told["variables"]} == {
        "embedding", "softmax_w", "softmax_b", "rnn/basic_lstm_cell/kernel",
        "rnn/basic_lstm_cell/bias",
    }  # fmt: skip


def test_echo_tells_control_flow_and_what_tflite_lacks() -> None:
    (step,) = echo(of_keras(foreign.rolled()))["signatures"]
    assert step["control_flow"]["While"] == 1
    assert any("TensorListReserve" in row["op"] for row in step["without_builtin"])
    (branch,) = echo(read_source("tests.foreign:branching"))["signatures"]
    assert branch["control_flow"] == {"StatelessIf": 1}
    assert any("Svd" in row["op"] for row in branch["without_builtin"])


def test_the_verb_echo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign.rolled().save(tmp_path / "rolled.keras")
    assert main(["echo", str(tmp_path / "rolled.keras")]) == 0
    told = capsys.readouterr().out
    for part in ("tokens", "[?, ?]", "While", "reader", "LSTMCell", "Variables: 6", "bytes"):
        assert part in told, part
    assert main(["echo", str(tmp_path / "rolled.keras"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["signatures"][0]["name"] == "step"
