"""Models as they are met: of TensorFlow 1, of many states, and such as mean no good."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbengine.errors import ModelError
from tests import foreign
from tests.conversions import converted, pairs
from train.__main__ import main
from train.convert.conversion import ConversionError, make
from train.convert.readers import Wishes, of_keras, read_source
from train.convert.stepping import Plan
from train.convert.steps import Material, read_material

v1 = tf.compat.v1


def _step_of_2018(kind: str = "") -> tf.Graph:
    """A step of a simple cell. kind: "default" for a state that is zeros unless it is fed, "inside"
    for states that are no ends of the graph, "best" for a pick of the best class."""
    graph = tf.Graph()
    with graph.as_default():
        v1.set_random_seed(1)
        piece = v1.placeholder(tf.int32, [None], name="piece")
        zeros = tf.zeros([1, 8])
        if kind == "default":
            h = v1.placeholder_with_default(zeros, [None, 8], name="memory")
        else:
            h = v1.placeholder(tf.float32, [None, 8], name="memory")
        keep = v1.placeholder_with_default(1.0, [], name="keep")
        table = v1.get_variable("table", [30, 8], use_resource=kind == "resource")
        matrix = v1.get_variable("matrix", [8, 8], use_resource=kind == "resource")
        x = tf.nn.embedding_lookup(table, piece)
        after = 0.5 * h + 0.5 * tf.tanh(tf.matmul(h, matrix) + x * keep)
        probs = tf.nn.softmax(tf.matmul(after, table, transpose_b=True), name="probs")
        if kind == "best":
            tf.argmax(probs, axis=1, name="best")
        if kind != "inside":
            tf.identity(after, name="memory_out")
    return graph


def _saved(graph: tf.Graph, folder: Path) -> None:
    with graph.as_default(), v1.Session(graph=graph) as session:
        session.run(v1.global_variables_initializer())
        ends = {n: graph.get_tensor_by_name(f"{n}:0") for n in ("piece", "memory", "probs")}
        inputs = {n: ends[n] for n in ("piece", "memory")}
        outputs = {"probs": ends["probs"], "memory": graph.get_tensor_by_name("memory_out:0")}
        v1.saved_model.simple_save(session, str(folder), inputs, outputs)


def _frozen(graph: tf.Graph, path: Path, *wanted: str) -> Path:
    with graph.as_default(), v1.Session(graph=graph) as session:
        session.run(v1.global_variables_initializer())
        definition = graph.as_graph_def()
        found = v1.graph_util.convert_variables_to_constants(session, definition, list(wanted))
    path.write_bytes(found.SerializeToString())
    return path


@pytest.mark.parametrize("kind", ["", "resource"])
def test_a_saved_model_of_tensorflow_1(kind: str, tmp_path: Path) -> None:
    _saved(_step_of_2018(kind), tmp_path / "saved")
    source = read_source(str(tmp_path / "saved"))
    assert source.kind == "a SavedModel of TensorFlow 1"
    assert {v.name for v in source.variables} == {"table", "matrix"}
    made = make(source, Plan("float32", steps=20), Material())
    assert pairs(made) == {"memory": "memory"}
    assert max(row.share for row in made.deviations["serving_default"]) < 1e-5


@pytest.mark.parametrize("options", [{"batch": 2}, {"shapes": {"token": (3,), "past": (3, 24)}}])
def test_a_saved_model_with_variables_takes_other_shapes(options: Any, tmp_path: Path) -> None:
    foreign.gru_step().export(tmp_path / "gru", verbose=False)
    source = read_source(str(tmp_path / "gru"))
    gc.collect()
    made = make(source, Plan("float32", steps=10, **options), Material())
    assert made.stepped[0].entry.inputs["token"].shape[0] == (options.get("batch") or 3)
    assert pairs(made) == {"past": "output_1"}
    assert set(source.giving(["output_0"]).entries[0].outputs) == {"output_0"}


def test_an_exported_loop_is_one_entry_and_says_what_to_do(tmp_path: Path) -> None:
    foreign.rolled().export(tmp_path / "rolled", verbose=False)
    source = read_source(str(tmp_path / "rolled"))
    assert [entry.name for entry in source.entries] == ["serving_default"]
    with pytest.raises(ConversionError) as caught:
        make(source, Plan("float32", steps=10), Material())
    rows = [t for t in caught.value.troubles if "TensorListReserve" in t.op]
    assert rows
    assert all("reader_1" in t.layer for t in rows)
    assert all("loop outside" in t.mend for t in rows)


def test_ranges_are_not_taken_inside_a_loop() -> None:
    """There the converter's own calibration ends the process."""
    text = Material(np.arange(100), "of a text")
    with pytest.raises(ModelError, match="has a loop inside, in which no ranges"):
        make(of_keras(foreign.rolled()), Plan("int8", steps=10), text)


def test_a_graph_that_was_trained_gives_its_scores_without_the_labels(tmp_path: Path) -> None:
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, [None, 6], name="x")
        labels = v1.placeholder(tf.float32, [None, 4], name="labels")
        logits = tf.identity(tf.tanh(x) @ tf.ones([6, 4]), name="logits")
        losses = tf.nn.softmax_cross_entropy_with_logits(labels, logits)
        tf.reduce_mean(losses, name="loss")
    (tmp_path / "mlp.pb").write_bytes(graph.as_graph_def().SerializeToString())
    (entry,) = read_source(str(tmp_path / "mlp.pb")).entries
    assert set(entry.inputs) == {"x"}
    (out,) = entry.outputs.values()
    assert out.shape.as_list()[-1] == 4
    with pytest.raises(ValueError, match="has no variables; leave --checkpoint away"):
        read_source(str(tmp_path / "mlp.pb"), Wishes(checkpoint=tmp_path / "x.ckpt"))


def test_data_says_how_long_a_free_length_is() -> None:
    tokens = np.arange(50 * 9).reshape(50, 9) % foreign.WORDS
    made = make(
        of_keras(foreign.rolled()), Plan("float32", steps=10), Material(data={"tokens": tokens})
    )
    assert made.stepped[0].steps[0][0]["tokens"].tolist() == [tokens[0].tolist()]
    by_chance = make(of_keras(foreign.rolled()), Plan("float32", steps=10), Material())
    assert "4 for what is free in" in by_chance.stepped[0].feeds.told["tokens"]
    with pytest.raises(ValueError, match="--data has the piece 120, the table"):
        make(of_keras(foreign.rolled()), Plan(), Material(data={"tokens": tokens + 1}))


def test_every_message_begins_on_zeros(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("\n".join(f"w{n}" for n in range(foreign.WORDS)))
    (tmp_path / "text.txt").write_text("w1 w2 w3\nw4 w5\n")
    material = read_material(tmp_path / "text.txt", tmp_path / "words.txt", None)
    made = make(of_keras(foreign.gru_step()), Plan("float32", steps=6), material)
    assert pairs(made) == {"past": "cell"}  # though the last step, too, begins with zeros
    fed = [(int(f["token"][0]), bool(f["past"].any())) for f, _ in made.stepped[0].steps]
    first, rest = False, True  # whether the state has anything in it
    assert fed == [(1, first), (2, rest), (3, rest), (4, first), (5, rest), (1, first)]


def test_a_shipped_bundle_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBENGINE_CACHE", str(tmp_path / "cache"))
    nano = str(Path(foreign.__file__).parent.parent / "kbengine" / "models" / "en-nano.bundle")
    assert main(["quantize", nano, "--ship", str(tmp_path / "nano.shipped")]) == 0
    source = read_source(str(tmp_path / "nano.shipped"))
    assert {entry.name for entry in source.entries} == {"state", "logits"}


def test_a_state_with_a_default_is_an_input(tmp_path: Path) -> None:
    path = _frozen(_step_of_2018("default"), tmp_path / "f.pb", "probs", "memory_out")
    (entry,) = read_source(str(path)).entries
    assert set(entry.inputs) == {"piece", "memory"}
    made = make(read_source(str(path)), Plan("float32", steps=20), Material())
    assert pairs(made) == {"memory": "memory_out"}


def test_what_a_pick_reads_is_an_end_too(tmp_path: Path) -> None:
    path = _frozen(_step_of_2018("best"), tmp_path / "f.pb", "best", "memory_out")
    (entry,) = read_source(str(path)).entries
    assert set(entry.outputs) == {"probs", "best", "memory_out"}


def test_states_that_no_output_gives_back_are_told(tmp_path: Path) -> None:
    path = _frozen(_step_of_2018("inside"), tmp_path / "f.pb", "probs")
    source = read_source(str(path))
    (told,) = [line for line in source.chosen if "may be states" in line]
    assert told.startswith("memory may be states, and no output gives them back")
    assert "add_1 (--outputs)" in told


def test_eight_states_by_their_names() -> None:
    """Four layers, outputs in another order."""
    token = keras.Input((), dtype="int32", name="token")
    states = [keras.Input((6,), name=f"{s}{n}_in") for n in range(4) for s in "hc"]
    said, after = keras.layers.Embedding(30, 6)(token), []
    for n in range(4):
        said, found = keras.layers.LSTMCell(6)(said, states[2 * n : 2 * n + 2])
        after += zip((f"h{n}_out", f"c{n}_out"), found, strict=True)
    named = [keras.layers.Identity(name=name)(t) for name, t in reversed(after)]
    model = keras.Model([token, *states], [keras.layers.Dense(30)(said), *named])
    made = make(of_keras(model), Plan("float32", steps=20), Material())
    assert pairs(made) == {f"{s}{n}_in": f"{s}{n}_out" for n in range(4) for s in "hc"}


def test_what_only_has_the_shape_of_a_state_is_not_fed_back_and_told() -> None:
    """An autoencoder beside an index: neither names nor running speak for a state."""
    x, user = keras.Input((16,), name="x"), keras.Input((), dtype="int32", name="user")
    both = keras.layers.Concatenate()([x, keras.layers.Embedding(50, 4)(user)])
    hidden = keras.layers.Dense(4, activation="relu")(both)
    model = keras.Model([x, user], keras.layers.Dense(16, name="recon")(hidden))
    made = make(of_keras(model), Plan("float32", steps=20), Material())
    assert pairs(made) == {}
    assert any("x takes nothing back, though recon would fit" in note for note in made.notes)


def test_a_state_that_grows_without_end_is_none_and_told() -> None:
    made = converted(read_source("tests.foreign:exploding"))
    assert pairs(made) == {}
    assert any("does not stay a number" in note for note in made.notes)


def test_signatures_that_differ_in_their_wiring_alone_are_two(tmp_path: Path) -> None:
    spec = [tf.TensorSpec([None, 3], name=n) for n in "ab"]
    module = tf.Module()
    module.minus = tf.function(lambda a, b: {"y": a - b}, input_signature=spec)
    module.sunim = tf.function(lambda a, b: {"y": b - a}, input_signature=spec)
    folder = str(tmp_path / "two")
    tf.saved_model.save(module, folder, {"minus": module.minus, "sunim": module.sunim})
    assert {entry.name for entry in read_source(folder).entries} == {"minus", "sunim"}


# Such as mean no good


def test_a_graph_that_writes_files_is_not_run(tmp_path: Path) -> None:
    target = tmp_path / "written"
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, [None, 2], name="x")
        with tf.control_dependencies([tf.io.write_file(str(target), "gotcha")]):
            tf.identity(x, name="y")
    (tmp_path / "evil.pb").write_bytes(graph.as_graph_def().SerializeToString())
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, 2])])
    def go(x: tf.Tensor) -> tf.Tensor:
        tf.io.write_file(str(target), "gotcha")
        return x + 1

    module.go = go
    tf.saved_model.save(module, str(tmp_path / "evil"), {"go": go})
    for name in ("evil.pb", "evil"):
        with pytest.raises(ValueError, match="WriteFile"):
            make(read_source(str(tmp_path / name)), Plan(), Material())
        assert not target.exists(), name


def test_a_model_with_code_in_it_is_refused(tmp_path: Path) -> None:
    x = keras.Input((2,), name="x")
    model = keras.Model(x, keras.layers.Lambda(lambda t: t + 1, output_shape=(2,))(x))
    model.save(tmp_path / "code.keras")
    with pytest.raises(ValueError, match="Lambda layer, which is code in a file"):
        read_source(str(tmp_path / "code.keras"))


# Mistakes


def test_the_source_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gru.keras"
    foreign.gru_step().save(path)
    before = path.read_bytes()
    assert main(["convert", str(path), "--out", str(path)]) == 1
    assert "is a file that is read" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_ranges_are_not_taken_from_chance() -> None:
    """A text says nothing of pictures."""
    with pytest.raises(ValueError, match="image has none; give --text and --vocab, or --data"):
        make(of_keras(foreign.mobilenet()), Plan("int8"), Material(np.arange(5), "of a text"))


def test_what_tflite_does_not_reckon_in_is_told(tmp_path: Path) -> None:
    x = keras.Input((4,), dtype="float64", name="x")
    model = keras.Model(x, keras.layers.Dense(3, dtype="float64")(x))
    with pytest.raises(ModelError) as caught:
        make(of_keras(model), Plan("float32", steps=10), Material())
    assert any("cast" in t.mend for t in caught.value.troubles)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("tests.foreign:short_of_one", "fails when it is called with x: TypeError"),
        ("tests.foreign:wrong_key", "fails when it is called with x: KeyError"),
        ("tests.foreign:gives_nothing", "gives no tensors"),
        ("tests.foreign:WORDS", "is a int; give a function"),
        ("tests.broken_module:f", "fails when it is imported: ZeroDivisionError"),
    ],
)
def test_functions_that_fail(
    source: str, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_module.py").write_text("1 / 0\n")
    name = source.replace("tests.broken_module", "broken_module")
    assert main(["convert", name, "--input", "x:float32[?,3]"]) == 1
    (line,) = [li for li in capsys.readouterr().err.splitlines() if li.startswith("train: ")]
    assert told in line


@pytest.mark.parametrize(
    "options",
    [["--batch", "\u00b2"], ["--batch", "99999999999"], ["--shape", "x=99999999999,3"],
     ["--limit", "nan"], ["--limit", "0"]],
)  # fmt: skip
def test_numbers_that_cannot_be(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "tests.foreign:residual", *options]) == 1
    assert "train: --" in capsys.readouterr().err


def test_an_output_of_changing_shape_is_told() -> None:
    with pytest.raises(ValueError, match="another shape from step to step; leave it out"):
        make(read_source("tests.foreign:filtered"), Plan(steps=30), Material())


def test_what_a_function_gives_in_lists_and_dicts_is_named() -> None:
    (entry,) = read_source("tests.foreign:nested").entries
    assert set(entry.outputs) == {"a", "rest_0", "rest_1_b"}


def test_inputs_that_do_not_suffice_are_told(tmp_path: Path) -> None:
    path = _frozen(_step_of_2018(), tmp_path / "f.pb", "probs", "memory_out")
    with pytest.raises(ValueError, match="memory is read as well; name it with --inputs"):
        read_source(str(path), Wishes(inputs=["piece"], outputs=["probs"]))
