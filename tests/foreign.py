"""Models that are none of ours, small and untrained, in the forms in which people have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
WORDS, CELLS, COLUMNS = 120, 24, 16


def _spread_out(model: keras.Model) -> keras.Model:
    """Weights as large as trained ones: the tiny ones of a new model say next to nothing."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "moving" not in weight.path and "gamma" not in weight.path:
            weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def gru_step() -> keras.Model:
    """One step of a GRU, its state an input and an output."""
    token, state = keras.Input((), dtype="int32", name="token"), keras.Input((CELLS,), name="past")
    row = keras.layers.Embedding(WORDS, COLUMNS)(token)
    said, after = keras.layers.GRUCell(CELLS, name="cell")(row, [state])
    after = after[0] if isinstance(after, list) else after
    scores = keras.layers.Dense(WORDS, name="scores")(said)
    return _spread_out(keras.Model([token, state], [scores, after], name="gru_step"))


def lstm_step(order: tuple[int, ...] = (0, 1, 2, 3)) -> keras.Model:
    """One step of two LSTM layers, whose states are named for nothing. order: in which h and c of
    the first and h and c of the second come out, after the scores."""
    token = keras.Input((), dtype="int32", name="token")
    h1, c1, h2, c2 = states = [keras.Input((CELLS,), name=f"s{n}") for n in "wxyz"]
    said = keras.layers.Embedding(WORDS, COLUMNS)(token)
    said, first = keras.layers.LSTMCell(CELLS)(said, [h1, c1])
    said, second = keras.layers.LSTMCell(CELLS)(said, [h2, c2])
    after = [*first, *second]
    scores = keras.layers.Dense(WORDS, name="scores")(said)
    outputs = [scores, *(keras.layers.Identity(name=f"o{n}")(after[n]) for n in order)]
    return _spread_out(keras.Model([token, *states], outputs, name="lstm_step"))


def rolled(kind: str = "LSTM") -> keras.Model:
    """A model that reads whole sequences, as most are trained."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    rows = keras.layers.Embedding(WORDS, COLUMNS)(tokens)
    said = getattr(keras.layers, kind)(CELLS, name="reader")(rows)
    return _spread_out(keras.Model(tokens, keras.layers.Dense(WORDS, name="scores")(said)))


def mobilenet() -> keras.Model:
    """Depthwise and pointwise convolutions with batch normalisation, for small pictures."""
    x = image = keras.Input((16, 16, 3), name="image")
    x = keras.layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(x)
    for filters, stride in ((16, 1), (24, 2)):
        x = keras.layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))
        x = keras.layers.Conv2D(filters, 1, use_bias=False)(x)
        x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(x))
    scores = keras.layers.Dense(10, activation="softmax", name="classes")(x)
    return _spread_out(keras.Model(image, scores, name="mobilenet"))


class BasicLSTMCell:
    """The cell that everybody used in 2018, by its arithmetic and names: the original went with
    TensorFlow 1. State: c, h."""

    def __init__(self, units: int) -> None:
        self._units = units
        self.state_size, self.output_size = (units, units), units

    def zero_state(self, batch: Any, dtype: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.zeros([batch, self._units], dtype), tf.zeros([batch, self._units], dtype)

    def __call__(self, inputs: tf.Tensor, state: Any, scope: Any = None) -> Any:
        c, h = state
        with v1.variable_scope("basic_lstm_cell", reuse=v1.AUTO_REUSE):
            kernel = v1.get_variable("kernel", [inputs.shape[-1] + self._units, 4 * self._units])
            bias = v1.get_variable("bias", [4 * self._units])
        i, j, f, o = tf.split(tf.matmul(tf.concat([inputs, h], 1), kernel) + bias, 4, 1)
        c = c * tf.sigmoid(f + 1) + tf.sigmoid(i) * tf.tanh(j)
        h = tf.tanh(c) * tf.sigmoid(o)
        return h, (c, h)


def train_in_2018(folder: Path) -> dict[str, np.ndarray]:
    """A language model as it was built then: `dynamic_rnn` for training, the same cell called
    once for the step. Leaves model.pb, model.pbtxt, model.ckpt and frozen.pb; gives the values
    of its variables."""
    graph = tf.Graph()
    with graph.as_default():
        v1.set_random_seed(1)
        table = v1.get_variable("embedding", [WORDS, COLUMNS])
        weights = v1.get_variable("softmax_w", [CELLS, WORDS])
        bias = v1.get_variable("softmax_b", [WORDS])
        cell = BasicLSTMCell(CELLS)
        tokens = v1.placeholder(tf.int32, [None, None], name="tokens")
        targets = v1.placeholder(tf.int32, [None, None], name="targets")
        rows = tf.nn.embedding_lookup(table, tokens)
        outputs, _ = v1.nn.dynamic_rnn(cell, rows, dtype=tf.float32, scope="rnn")
        logits = tf.reshape(outputs, [-1, CELLS]) @ weights + bias
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.reshape(targets, [-1]), logits)
        train = v1.train.AdamOptimizer(0.05).minimize(tf.reduce_mean(losses, name="loss"))
        piece = v1.placeholder(tf.int32, [None], name="step/piece")
        before = [v1.placeholder(tf.float32, [None, CELLS], name=f"step/{n}") for n in "ch"]
        with v1.variable_scope("rnn", reuse=True):
            said, after = cell(tf.nn.embedding_lookup(table, piece), before)
        tf.nn.softmax(said @ weights + bias, name="step/probs")
        for name, tensor in zip("ch", after, strict=True):
            tf.identity(tensor, name=f"step/{name}_out")
        saver = v1.train.Saver()
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            rng = np.random.default_rng(1)
            for _ in range(20):
                batch = rng.integers(0, WORDS, (2, 4, 6))
                session.run(train, {tokens: batch[0], targets: batch[1]})
            saver.save(session, str(folder / "model.ckpt"), write_meta_graph=False)
            wanted = ["step/probs", "step/c_out", "step/h_out"]
            definition = graph.as_graph_def()
            frozen = v1.graph_util.convert_variables_to_constants(session, definition, wanted)
            values = {v.op.name: session.run(v) for v in v1.trainable_variables()}
    (folder / "model.pb").write_bytes(definition.SerializeToString())
    (folder / "model.pbtxt").write_text(str(definition), encoding="utf-8")
    (folder / "frozen.pb").write_bytes(frozen.SerializeToString())
    return values


# For MODULE:FUNCTION.
_MATRIX = tf.constant(np.random.default_rng(2).normal(0, 0.4, (8, 8)).astype(np.float32))
_ROWS = tf.TensorSpec([None, 8], tf.float32)


def leaky(x: tf.TensorSpec([None, 8], tf.float32), memory: tf.TensorSpec([None, 8], tf.float32)):
    """What it takes stands in its annotations."""
    after = 0.5 * memory + tf.tanh(x @ _MATRIX)
    return {"said": after @ _MATRIX, "memory": after}


@tf.function(input_signature=[_ROWS])
def squeezed(x: tf.Tensor) -> tf.Tensor:
    """An axis that nobody gave."""
    return tf.squeeze(x[:, None, :] @ _MATRIX)


@tf.function(input_signature=[_ROWS])
def summed(x: tf.Tensor) -> tf.Tensor:
    return x / tf.reduce_sum(x)


@tf.function(input_signature=[tf.TensorSpec(None, tf.float32)])
def any_rank(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_max(x)


@tf.function(input_signature=[tf.TensorSpec([4, 8], tf.float32)])
def baked(x: tf.Tensor) -> tf.Tensor:
    """A batch that should not be there."""
    return x @ _MATRIX


@tf.function(input_signature=[_ROWS])
def singular(x: tf.Tensor) -> tf.Tensor:
    return tf.linalg.svd(x, compute_uv=False)


@tf.function(input_signature=[_ROWS, tf.TensorSpec([], tf.bool)])
def branching(x: tf.Tensor, training: tf.Tensor) -> tf.Tensor:
    return tf.cond(training, lambda: tf.linalg.svd(x, full_matrices=True)[2], lambda: _MATRIX[None])


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def spelling(text: tf.Tensor) -> tf.Tensor:
    return tf.strings.length(text)


@tf.function(input_signature=[_ROWS])
def noisy(x: tf.Tensor) -> tf.Tensor:
    return x + tf.random.normal(tf.shape(x))


@tf.function(input_signature=[_ROWS])
def residual(x: tf.Tensor) -> tf.Tensor:
    """Of the shape that it takes, and each place answers to itself: no state for all that."""
    return x + 0.1 * tf.tanh(x @ _MATRIX)


_POSITIONS = tf.constant(np.random.default_rng(3).normal(0, 1, (5000, 8)).astype(np.float32))


@tf.function(input_signature=[tf.TensorSpec([None, 16, 8], tf.float32)])
def positions(x: tf.Tensor) -> tf.Tensor:
    """Of a large table a few rows."""
    return tf.tanh(x + _POSITIONS[:16])


def exploding(x: _ROWS, state: _ROWS) -> dict[str, tf.Tensor]:  # type: ignore[valid-type]
    """What it is called like it is not: fed back it grows beyond all numbers."""
    after = tf.exp(tf.abs(state) + 1) + x
    return {"state": after, "y": tf.tanh(after)}


def short_of_one(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return x + y


def wrong_key(x: tf.Tensor) -> tf.Tensor:
    return {"a": x}["b"]


def gives_nothing(x: tf.Tensor) -> None:
    return None


@tf.function(input_signature=[_ROWS])
def filtered(x: tf.Tensor) -> tf.Tensor:
    return tf.boolean_mask(x, x > 0)


@tf.function(input_signature=[_ROWS])
def nested(x: tf.Tensor) -> dict[str, object]:
    return {"a": x + 1, "rest": [x + 2, {"b": x + 3}]}


def unspecified(x: tf.Tensor) -> tf.Tensor:
    return x + 1
