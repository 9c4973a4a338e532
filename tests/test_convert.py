"""Models that are none of ours become `.tflite` files that say the same."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from tests import foreign
from tests.conversions import PIECES, TEXT, converted, pairs, stepper
from tests.foreign import CELLS, WORDS
from tests.modelfiles import pack
from train.__main__ import main
from train.convert import command
from train.convert.conversion import make
from train.convert.merged import merged
from train.convert.modes import MODES
from train.convert.readers import Wishes, of_keras, read_source
from train.convert.stepping import Plan
from train.convert.steps import Material, index_range, make_feeds, read_material


@pytest.fixture(scope="module")
def in_2018(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("graph")
    return folder, foreign.train_in_2018(folder)


# A Keras GRU

WEIGHTS = {
    "float32": "float32", "float16": "float16", "dynamic": "int8", "int8": "int8", "16x8": "int8",
    "int4": "int4",
}  # fmt: skip
SHARES = {"float32": 1e-5, "float16": 0.01, "dynamic": 0.1, "int8": 0.2, "16x8": 0.05, "int4": 0.4}


@pytest.mark.parametrize("mode", MODES)
def test_a_gru_in_every_mode(mode: str) -> None:
    made = converted(of_keras(foreign.gru_step()), mode)
    assert pairs(made) == {"past": "cell"}
    for row in made.deviations["step"]:
        assert row.share < SHARES[mode], row
    types = {
        tensor.type
        for subgraph in made.graph.subgraphs
        for tensor in subgraph.tensors
        if len(tensor.shape) == 2 and len(made.graph.buffers[tensor.buffer]) > 1000
    }
    # Rows are read from a table that an int4 file leaves as it is, and 16x8 makes int16.
    also = {"int4": {"float32"}, "16x8": {"int16"}}.get(mode, set())
    assert types - also == {WEIGHTS[mode]}


def test_a_file_steps_like_the_model_that_it_came_from() -> None:
    """Stepped here by hand, by nothing of the converter's own."""
    model = foreign.gru_step()
    step = stepper(converted(of_keras(model)).content)
    state = np.zeros((2, CELLS), np.float32)
    own = tf.constant(state)
    for piece in PIECES[:20].astype(np.int32):
        token = np.array([piece, (piece + 7) % WORDS], np.int32)  # a free batch takes two rows
        got = step(token=token, past=state)
        scores, own = model([tf.constant(token), own])
        state = got["cell"]
        assert np.allclose(got["scores"], scores, atol=1e-5)
        assert np.allclose(state, own, atol=1e-5)


def test_a_table_is_read_without_the_guard_for_negative_places() -> None:
    made = converted(of_keras(foreign.gru_step()))
    ops = {op.name for subgraph in made.graph.subgraphs for op in subgraph.ops}
    assert "GATHER" in ops
    assert not ops & {"LESS", "SELECT_V2"}


def test_the_range_of_an_index_is_that_of_its_table() -> None:
    (entry,) = of_keras(foreign.gru_step()).entries
    assert index_range(entry, "token") == WORDS
    feeds = make_feeds(entry, 300, Material())
    assert max(int(feed["token"].max()) for feed in feeds.feeds) < WORDS
    assert "by chance" in feeds.told["token"]
    assert make_feeds(entry, 5, TEXT).feeds[3]["token"].tolist() == [PIECES[3]]


def test_a_sequential_model(tmp_path: Path) -> None:
    layers = [keras.Input((6,), name="x"), keras.layers.Dense(4, activation="relu")]
    keras.Sequential(layers).save(tmp_path / "plain.keras")
    (row,) = converted(read_source(str(tmp_path / "plain.keras"))).deviations["step"]
    assert row.share < 1e-5


# A two-layer LSTM cell


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_states_are_found_however_they_stand(order: tuple[int, ...], tmp_path: Path) -> None:
    """Four states of one shape, whose names say nothing: found by running alone."""
    made = converted(of_keras(foreign.lstm_step(order)))
    assert pairs(made) == {"sw": "o0", "sx": "o1", "sy": "o2", "sz": "o3"}


def test_a_saved_model_with_two_layers(tmp_path: Path) -> None:
    model = foreign.lstm_step()
    model.export(tmp_path / "lstm", verbose=False)
    source = read_source(str(tmp_path / "lstm"))
    assert [entry.name for entry in source.entries] == ["serving_default"]
    assert any("serve is serving_default" in line for line in source.chosen)
    made = converted(source, "dynamic")
    want = {"sw": "output_1", "sx": "output_2", "sy": "output_3", "sz": "output_4"}
    assert pairs(made) == want
    assert max(row.share for row in made.deviations["serving_default"]) < 0.1


# A graph of 2018


def steps_by_hand(values: Mapping[str, np.ndarray], pieces: np.ndarray) -> list[np.ndarray]:
    """The probabilities after each piece, by the cell's formulas in numpy."""
    kernel, bias = (values[f"rnn/basic_lstm_cell/{n}"] for n in ("kernel", "bias"))
    c = h = np.zeros(CELLS)
    found = []
    for piece in pieces:
        z = np.concatenate([values["embedding"][piece], h]) @ kernel + bias
        i, j, f, o = np.split(z, 4)
        c = c / (1 + np.exp(-f - 1)) + np.tanh(j) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        logits = h @ values["softmax_w"] + values["softmax_b"]
        found.append(np.exp(logits) / np.exp(logits).sum())
    return found


@pytest.mark.parametrize("name", ["frozen.pb", "model.pb", "model.pbtxt"])
def test_a_graph_of_2018(name: str, in_2018: tuple[Path, dict[str, np.ndarray]]) -> None:
    """Frozen, and with the checkpoint that lies beside it, out of a graph that also trains."""
    folder, values = in_2018
    source = read_source(str(folder / name))
    (entry,) = source.entries
    assert set(entry.inputs) == {"step_piece", "step_c", "step_h"}
    assert set(entry.outputs) == {"step_probs", "step_c_out", "step_h_out"}
    assert bool(source.variables) == (name != "frozen.pb")
    made = converted(source)
    assert pairs(made) == {"step_c": "step_c_out", "step_h": "step_h_out"}
    step = stepper(made.content)
    c = h = np.zeros((1, CELLS), np.float32)
    for piece, wanted in zip(PIECES[:15], steps_by_hand(values, PIECES[:15]), strict=True):
        got = step(step_piece=np.array([piece], np.int32), step_c=c, step_h=h)
        c, h = got["step_c_out"], got["step_h_out"]
        assert np.allclose(got["step_probs"][0], wanted, atol=1e-6)


def test_other_ends_of_a_graph_can_be_given(
    in_2018: tuple[Path, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    out = tmp_path / "c.tflite"
    asked = ["convert", str(in_2018[0] / "model.pb"), "--mode", "float32", "--out", str(out),
             "--inputs", "step/piece", "step/c", "step/h", "--outputs", "step/c_out:0",
             "--state", "step_c=step_c_out", "--steps", "20"]  # fmt: skip
    assert main(asked) == 0
    assert set(stepper(out.read_bytes())(
        step_piece=np.array([1], np.int32), step_c=np.zeros((1, CELLS), np.float32),
        step_h=np.zeros((1, CELLS), np.float32),
    )) == {"step_c_out"}  # fmt: skip


# Pictures


@pytest.mark.parametrize("mode", ["float32", "dynamic", "int8"])
def test_a_network_for_pictures(mode: str, tmp_path: Path) -> None:
    pictures = np.random.default_rng(4).normal(0, 1, (80, 16, 16, 3)).astype(np.float32)
    np.savez(tmp_path / "pictures.npz", image=pictures)
    material = read_material(None, None, tmp_path / "pictures.npz")
    model = foreign.mobilenet()
    made = make(of_keras(model), Plan(mode=mode, steps=30, samples=50), material)
    assert pairs(made) == {}
    (row,) = made.deviations["step"]
    assert row.same_best is not None
    assert row.same_best > (0.999 if mode == "float32" else 0.8)
    assert not made.troubles
    got = stepper(made.content)(image=pictures[:3])["classes"]
    off = np.abs(got - np.asarray(model(pictures[:3], training=False))).max()
    assert off < (1e-5 if mode == "float32" else 0.2)


# Functions


def test_a_function_by_its_annotations() -> None:
    made = converted(read_source("tests.foreign:leaky"))
    assert pairs(made) == {"memory": "memory"}
    x = np.ones((1, 8), np.float32)
    got = stepper(made.content, "leaky")(x=x, memory=2 * x)
    want = foreign.leaky(tf.constant(x), tf.constant(2 * x))
    assert np.allclose(got["said"], want["said"], atol=1e-5)


def test_what_has_the_shape_of_a_state_need_not_be_one() -> None:
    assert pairs(converted(read_source("tests.foreign:residual"))) == {}


def test_states_can_be_given_and_refused() -> None:
    source = read_source("tests.foreign:leaky")
    assert pairs(converted(source, states=["memory=said"])) == {"memory": "said"}
    assert pairs(converted(source, states=[])) == {}
    with pytest.raises(ValueError, match="--state x=y names no input and output"):
        converted(source, states=["x=y"])
    with pytest.raises(ValueError, match="--state nothing=said is of no input"):
        converted(source, states=["nothing=said"])


# Ours


def test_a_model_of_ours(tmp_path: Path) -> None:
    nano = Path(foreign.__file__).parent.parent / "kbengine" / "models" / "en-nano.bundle"
    source = read_source(str(nano))
    material = read_material(nano.parents[2] / "data" / "chat_dev.txt", source.vocabulary, None)
    for mode, least in (("float32", 0.999), ("dynamic", 0.9)):
        made = make(source, Plan(mode=mode, steps=60), material)
        assert {each.entry.name for each in made.stepped} == {"state", "logits"}
        rows = {row.output: row for row in made.deviations["logits"]}
        assert rows["logits"].same_best is not None
        assert rows["logits"].same_best >= least


# The verb


def test_the_verb_says_what_it_chose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign.gru_step().save(tmp_path / "gru.keras")
    words = tmp_path / "words.txt"
    words.write_text("\n".join(f"w{n}" for n in range(WORDS)))
    text = tmp_path / "text.txt"
    text.write_text("w1 w5 w7 unheard w100\nw3 w2\n" * 10)
    out = tmp_path / "gru.tflite"
    asked = ["convert", str(tmp_path / "gru.keras"), "--out", str(out), "--mode", "int8",
             "--text", str(text), "--vocab", str(words), "--steps", "20"]  # fmt: skip
    assert main(asked) == 0
    told = capsys.readouterr().out
    for part in ("token int32[?]", "state past = cell", f"pieces of {text}", "the batch is free",
                 "FULLY_CONNECTED", f"{out.stat().st_size:,} bytes"):  # fmt: skip
        assert part in told, part


def test_all_modes_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What one needs and has not is said, and the others are written."""
    foreign.gru_step().save(tmp_path / "gru.keras")
    out = tmp_path / "gru.tflite"
    asked = ["convert", str(tmp_path / "gru.keras"), "--mode", "all", "--steps", "10"]
    assert main([*asked, "--out", str(out)]) == 0
    left = {path.stem for path in tmp_path.glob("*.tflite")}
    assert left == {f"gru-{mode}" for mode in set(MODES) - {"int8", "16x8"}}
    assert "int8: the mode int8 takes the ranges" in capsys.readouterr().out


def test_the_modes_of_the_command_line_are_those_there_are() -> None:
    assert command.MODES == MODES


def test_layers_of_ones_own_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_layers.py").write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable()\n"
        "class Doubled(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return x + x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import own_layers  # type: ignore[import-not-found]

    x = keras.Input((4,), name="x")
    keras.Model(x, own_layers.Doubled()(x)).save(tmp_path / "doubled.keras")
    out = tmp_path / "doubled.tflite"
    asked = ["convert", str(tmp_path / "doubled.keras"), "--out", str(out), "--steps", "5",
             "--import", "own_layers"]  # fmt: skip
    assert main(asked) == 0
    (got,) = stepper(out.read_bytes())(x=np.ones((1, 4), np.float32)).values()
    assert got.tolist() == [[2, 2, 2, 2]]


def test_a_table_that_is_stored_twice_is_stored_once() -> None:
    """A file whose tables lie behind it, two of them equal, says the same with one."""
    made = converted(of_keras(foreign.gru_step()), "int4")
    model = schema.ModelT.InitFromPackedBuf(made.content, 0)
    tail, start = b"", len(made.content) + 4096
    for tensor in [t for graph in model.subgraphs for t in graph.tensors]:
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data) > 1000:
            twin = schema.BufferT()
            twin.offset, twin.size = start + len(tail), len(data)
            tail += bytes(np.asarray(data, np.uint8))
            model.buffers.append(twin)
            graph = schema.TensorT()
            graph.name, graph.shape, graph.type = "twin", list(tensor.shape), tensor.type
            graph.buffer = len(model.buffers) - 1
            model.subgraphs[0].tensors.append(graph)
            break
    doubled = pack(model).ljust(start, b"\0") + tail
    assert len(doubled) > len(made.content) + 1000
    single = merged(doubled)
    assert len(single) < len(made.content) + 500
    feed = {"token": np.array([7], np.int32), "past": np.ones((1, CELLS), np.float32)}
    for name, values in stepper(made.content)(**feed).items():
        assert np.array_equal(values, stepper(single)(**feed)[name])


def test_some_of_the_outputs(tmp_path: Path) -> None:
    """What only the others read is left out with them."""
    foreign.lstm_step().save(tmp_path / "lstm.keras")
    out = tmp_path / "lower.tflite"
    asked = ["convert", str(tmp_path / "lstm.keras"), "--out", str(out), "--outputs", "o0", "o1"]
    assert main([*asked, "--steps", "10", "--mode", "float32"]) == 0
    rows = np.zeros((1, CELLS), np.float32)
    got = stepper(out.read_bytes())(token=np.array([3], np.int32), sw=rows, sx=rows)
    wanted = foreign.lstm_step()([tf.constant([3]), *[tf.constant(rows)] * 4])
    assert set(got) == {"o0", "o1"}
    assert np.allclose(got["o0"], wanted[1], atol=1e-5)
    with pytest.raises(ValueError, match="no output is called nothing; there are"):
        read_source(str(tmp_path / "lstm.keras"), Wishes(outputs=["nothing"]))
    with pytest.raises(ValueError, match=r"--inputs and --checkpoint go with a \.pb"):
        read_source(str(tmp_path / "lstm.keras"), Wishes(inputs=["token"]))
