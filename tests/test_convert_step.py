"""A Keras model that reads sequences becomes a step of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests import foreign
from tests.conversions import converted, stepper
from tests.foreign import CELLS, WORDS
from train.__main__ import main
from train.convert.onestep import one_step
from train.convert.readers import of_keras


def _stacked() -> keras.Model:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    rows = keras.layers.Embedding(WORDS, 8)(tokens)
    rows = keras.layers.LSTM(12, return_sequences=True, name="lower")(rows)
    rows = keras.layers.TimeDistributed(keras.layers.Dense(10, activation="tanh"))(rows)
    rows = keras.layers.Dropout(0.5)(rows)
    rows, *_ = keras.layers.GRU(12, return_sequences=True, return_state=True, name="upper")(rows)
    return keras.Model(tokens, keras.layers.Dense(WORDS, name="scores")(rows), name="stacked")


@pytest.mark.parametrize(
    "model",
    [
        foreign.rolled("LSTM"),
        foreign.rolled("GRU"),
        foreign.rolled("SimpleRNN"),
        _stacked(),
        keras.Sequential(
            [
                keras.Input((None, 5), name="x"),
                keras.layers.RNN([keras.layers.LSTMCell(6), keras.layers.LSTMCell(6)]),
                keras.layers.Dense(3),
            ]
        ),
    ],
    ids=["LSTM", "GRU", "SimpleRNN", "stacked", "cells in a Sequential"],
)
def test_a_rolled_model_becomes_a_step(model: keras.Model) -> None:
    """Stepped over a sequence it says what the model says of the sequence."""
    made = converted(one_step(model))
    (each,) = made.stepped
    states = {pair.into: pair.out for pair in each.pairs}
    assert states == {n: n for n in each.entry.inputs if "_state_" in n}
    ops = {op.name for subgraph in made.graph.subgraphs for op in subgraph.ops}
    assert "WHILE" not in ops
    assert not made.troubles
    step = stepper(made.content)
    (name,) = set(each.entry.inputs) - set(states)
    (said_name,) = set(each.entry.outputs) - set(states.values())
    rng = np.random.default_rng(5)
    if name == "tokens":
        sequence = rng.integers(0, WORDS, (1, 9)).astype(np.int32)
    else:
        sequence = rng.normal(0, 1, (1, 9, 5)).astype(np.float32)
    state = {n: np.zeros([1, each.entry.inputs[n].shape[1]], np.float32) for n in states}
    said = []
    for t in range(9):
        out = step(**{name: sequence[:, t]}, **state)
        state = {n: out[n] for n in states}
        said.append(out[said_name])
    wanted = np.asarray(model(sequence, training=False))
    got = np.stack(said, axis=1) if wanted.ndim == 3 else said[-1]
    assert np.allclose(got, wanted, atol=1e-5)


def test_what_reads_backwards_is_no_step(tmp_path: Path) -> None:
    x = keras.Input((None, 4), name="x")
    both = keras.layers.Bidirectional(keras.layers.LSTM(3), name="both")(x)
    with pytest.raises(ValueError, match="both reads backwards"):
        one_step(keras.Model(x, both))
    back = keras.layers.GRU(3, go_backwards=True, name="back")(x)
    with pytest.raises(ValueError, match="back reads backwards"):
        one_step(keras.Model(x, back))
    with pytest.raises(ValueError, match="no recurrent layer"):
        one_step(foreign.mobilenet())
    mean = keras.layers.GlobalAveragePooling1D()(keras.layers.LSTM(3, return_sequences=True)(x))
    with pytest.raises(ValueError, match="do not add up"):
        one_step(keras.Model(x, mean))
    begun = keras.layers.LSTM(3)(x, initial_state=[x[:, 0, :3], x[:, 0, 1:]])
    with pytest.raises(ValueError, match="build the step by hand"):
        one_step(keras.Model(x, begun))


def test_the_verb_takes_a_rolled_model_as_a_step(tmp_path: Path) -> None:
    foreign.rolled().save(tmp_path / "rolled.keras")
    out = tmp_path / "step.tflite"
    asked = ["convert", str(tmp_path / "rolled.keras"), "--step", "--out", str(out)]
    assert main([*asked, "--steps", "10"]) == 0
    got = stepper(out.read_bytes())(
        tokens=np.array([3], np.int32),
        **{f"reader_state_{n}": np.zeros((1, CELLS), np.float32) for n in (0, 1)},
    )
    assert set(got) == {"scores", "reader_state_0", "reader_state_1"}


def _masked() -> keras.Model:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    rows = keras.layers.Embedding(WORDS, 8, mask_zero=True)(tokens)
    return keras.Model(tokens, keras.layers.Dense(5)(keras.layers.LSTM(6)(rows)))


def _of_fixed_length(batch: int | None = None, stateful: bool = False) -> keras.Model:
    x = keras.Input(batch_shape=(batch, 7, 4), name="x")
    said = keras.layers.GRU(6, stateful=stateful, name="reader")(x)
    return keras.Model(x, keras.layers.Dense(3)(said))


def _with_states() -> keras.Model:
    x = keras.Input((None, 4), name="x")
    said, h, c = keras.layers.LSTM(6, return_state=True, name="reader")(x)
    return keras.Model(x, [said, h, c])


def _normalised() -> keras.Model:
    x = keras.Input((None, 4), name="x")
    rows = keras.layers.LSTM(6, return_sequences=True)(x)
    rows = keras.layers.BatchNormalization()(rows)
    rows = keras.layers.Concatenate(axis=2)([rows, x])
    return keras.Model(x, keras.layers.Dense(3)(rows))


@pytest.mark.parametrize(
    "model",
    [_masked(), _of_fixed_length(), _of_fixed_length(1, True), _with_states(), _normalised()],
    ids=["masked", "of a fixed length", "stateful", "gives its states", "needs a time"],
)
def test_models_as_people_have_them_become_steps(model: Any) -> None:
    """Checked against the model by `one_step` itself, and then against the file."""
    made = converted(one_step(model))
    (each,) = made.stepped
    assert {pair.into for pair in each.pairs} == {n for n in each.entry.inputs if "_state_" in n}
    assert {row.output for row in made.deviations["step"]} == set(each.entry.outputs)


def test_a_stateful_model_says_how_it_can_be_had() -> None:
    with pytest.raises(ValueError, match=r"reader.* keeps its state in itself .*--step"):
        of_keras(_of_fixed_length(1, True))


def test_what_goes_on_from_earlier_steps_is_no_step() -> None:
    """A convolution over time: the steps of it do not add up, and that is seen."""
    x = keras.Input((None, 4), name="x")
    rows = keras.layers.Conv1D(4, 3, padding="causal")(x)
    with pytest.raises(ValueError, match="do not add up"):
        one_step(keras.Model(x, keras.layers.LSTM(3)(rows)))
