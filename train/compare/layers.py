"""Engines in Keras: the model built of layers, and called a step at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from train.compare.engines import read_weights


class CoupledCell(keras.layers.Layer):  # type: ignore[misc]
    """The cell of `train.model` as a layer that `keras.layers.RNN` takes: H cells, P outputs."""

    def __init__(self, cells: int, width: int) -> None:
        super().__init__()
        self.cells, self.width = cells, width
        self.state_size, self.output_size = [cells, width], width

    def build(self, shape: tuple[int, ...]) -> None:
        """Make the weights for inputs [B, P]."""
        rows, gates = shape[-1] + self.width, 3 * self.cells
        self.kernel = self.add_weight(shape=(rows, gates), name="kernel")
        self.bias = self.add_weight(shape=(gates,), name="bias")
        self.projection = self.add_weight(shape=(self.cells, self.width), name="projection")

    def call(self, x: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        """x [B, P], c [B, H] and r [B, P] -> r, and both after the step."""
        c, r = states
        gates = ops.matmul(ops.concatenate([x, r], -1), self.kernel) + self.bias
        i, g, o = ops.split(gates, 3, axis=-1)
        i = ops.sigmoid(i)
        c = (1 - i) * c + i * ops.tanh(g)
        r = ops.matmul(ops.sigmoid(o) * ops.tanh(c), self.projection)
        return r, [c, r]


class Layers:
    """Embedding, RNN over a time of one piece, Dense, softmax: the model as it would be trained,
    called as a function."""

    TIME = True

    def __init__(self, folder: Path, threads: int) -> None:
        weights = read_weights(folder)
        cells, width = weights["projection"].shape
        self._model = self._built(len(weights["table"]), cells, width)
        self._model.set_weights([
            weights["table"],
            np.concatenate([weights["input"], weights["state"]]),
            weights["gate_bias"], weights["projection"],
            weights["table"].T, weights["bias"],
        ])  # fmt: skip
        self._shape = (1, 1) if self.TIME else (1,)
        self._states = [tf.zeros((1, cells)), tf.zeros((1, width))]

    def _built(self, pieces: int, cells: int, width: int) -> keras.Model:
        piece = keras.Input((1,) if self.TIME else (), dtype="int32")
        states = [keras.Input((cells,)), keras.Input((width,))]
        x = keras.layers.Embedding(pieces, width)(piece)
        cell = CoupledCell(cells, width)
        if self.TIME:
            r, *after = keras.layers.RNN(cell, return_state=True)(x, initial_state=states)
        else:
            r, after = cell(x, states)
        logits = keras.layers.Dense(pieces)(r)
        logp = keras.layers.Activation("log_softmax")(logits)
        return keras.Model([piece, *states], [logp, *after])

    def step(self, piece: int) -> NDArray[np.float32]:
        """See `Engine.step`."""
        given = [tf.constant([piece], shape=self._shape), *self._states]
        logp, *self._states = self._model(given, training=False)
        found: NDArray[np.float32] = logp.numpy()[0]
        return found


class Cell(Layers):
    """The cell called as a layer among others."""

    TIME = False


class Predict(Layers):
    """By `model.predict`, as for a data set."""

    def step(self, piece: int) -> NDArray[np.float32]:
        """See `Engine.step`."""
        states = [np.asarray(state) for state in self._states]
        given = [np.full(self._shape, piece, np.int32), *states]
        logp, *self._states = self._model.predict(given, verbose=0)
        found: NDArray[np.float32] = logp[0]
        return found
