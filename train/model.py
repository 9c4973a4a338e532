"""The language model: a coupled-gate LSTM with a recurrent projection and a tied table.

`step` makes one step of it, `unroll` many for the loss; `export.py` has it in a form that
loses less in int8.

    x = E[piece]                              E: the table [V, P]
    i, g, o = split([x, r] W + b)             i, o: sigmoid; g: tanh
    c' = (1 - i) c + i g                      the forget gate is coupled to i (CIFG:
    r' = (o tanh c') R                        Greff et al. 2017; recurrent projection:
    logits = r' E^T + a                       Sak et al. 2014; tying: Press & Wolf 2017)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kbengine.vocab import BOS
from train.recurrence import recurrence

State = tuple[tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class ModelOptions:
    """The shape: V pieces, a table of P columns, H cells."""

    vocab_size: int
    width: int = 256
    cells: int = 768


class RecurrentLM(keras.Layer):  # type: ignore[misc]
    """See the module's docstring. A state is a pair: c [B, H] and r [B, P], zeros at first.

    A message that stands alone starts with the piece BOS, which also clears the state:
    one trained row of the table is the learned start state. A message that follows
    another starts with that one's EOS.
    """

    def __init__(self, options: ModelOptions, seed: int = 0) -> None:
        super().__init__(name="language_model")
        self.options = options
        v, p, h = options.vocab_size, options.width, options.cells
        normal = keras.initializers.RandomNormal(0, 0.05, seed=seed)
        glorot = [keras.initializers.GlorotUniform(seed=seed + n) for n in (1, 2, 3)]
        self.table = self.add_weight(shape=(v, p), initializer=normal, name="table")
        self.bias = self.add_weight(shape=(v,), initializer="zeros", name="bias")
        self.input_kernel = self.add_weight(shape=(p, 3 * h), initializer=glorot[0], name="input")
        self.state_kernel = self.add_weight(shape=(p, 3 * h), initializer=glorot[1], name="state")
        self.gate_bias = self.add_weight(shape=(3 * h,), initializer="zeros", name="gate_bias")
        self.projection = self.add_weight(shape=(h, p), initializer=glorot[2], name="projection")
        # Start by remembering: i = sigmoid(-1) lets three quarters of c through.
        self.gate_bias.assign(np.repeat(np.array([-1, 0, 0], np.float32), h))
        self.built = True

    def zero_state(self, batch: int) -> State:
        return tf.zeros((batch, self.options.cells)), tf.zeros((batch, self.options.width))

    def step(self, x: tf.Tensor, state: State) -> State:
        """x [B, P], rows of the table; state -> the next state. Float32 throughout."""
        c, r = state
        kernel = tf.concat([self.input_kernel, self.state_kernel], 0)
        gates = tf.matmul(tf.concat([x, r], -1), kernel) + self.gate_bias
        i, g, o = tf.split(gates, 3, axis=-1)
        i = tf.sigmoid(i)
        c = (1 - i) * c + i * tf.tanh(g)
        return c, tf.matmul(tf.sigmoid(o) * tf.tanh(c), self.projection)

    def unroll(
        self, tokens: tf.Tensor, state: State, streams: int = 1, mask: tf.Tensor | float = 1.0
    ) -> tuple[tf.Tensor, State]:
        """tokens int32[T, B], state -> outputs r [T, B, P], the state after them.

        `streams` cuts the lanes into groups that run side by side on as many cores; `mask`
        [T, B, P] is what the rows of the table are multiplied by.
        """
        lanes = [tf.split(x, streams, i) for x, i in zip((tokens, *state), (1, 0, 0), strict=True)]
        kernels = [
            tf.convert_to_tensor(w)
            for w in (self.input_kernel, self.state_kernel, self.gate_bias, self.projection)
        ]
        parts = []
        rows = tf.split(tf.gather(self.table, tokens) * mask, streams, 1)
        for x, (pieces, c, r) in zip(rows, zip(*lanes, strict=True), strict=True):
            keep = tf.cast(tf.not_equal(pieces, BOS), tf.float32)[:, :, None]
            parts.append(recurrence(x, keep, c, r, *kernels))
        outputs, c, r = (
            tf.concat(t, axis) for t, axis in zip(zip(*parts, strict=True), (1, 0, 0), strict=True)
        )
        return outputs, (c, r)

    def logits(self, outputs: tf.Tensor) -> tf.Tensor:
        """outputs [..., P] -> logits [..., V]."""
        return tf.matmul(outputs, self.table, transpose_b=True) + self.bias

    def weights_by_name(self) -> dict[str, NDArray[np.float32]]:
        return {w.name: w.numpy() for w in self.weights}

    def begin_from(self, values: Mapping[str, NDArray[np.float32]]) -> None:
        """Take over the weights of another model of the same pieces.

        With more cells than that one, the new ones stand beside the old: their inputs are
        random as in any new model, their projection is a tenth of that, so that the outputs
        stay nearly what they were (function-preserving growth, Net2Net: Chen et al. 2016).
        With fewer, those of the largest projections stay. A narrower table keeps its principal
        axes and those of the projection.

        Raises ValueError where the vocabulary differs, or where the table would be wider.
        """
        o = self.options
        pieces, width = values["table"].shape
        if pieces != o.vocab_size or width < o.width:
            raise ValueError(
                f"a model of {o.vocab_size:,} pieces and width {o.width} cannot begin from one of "
                f"{pieces:,} and {width}; give all phases one vocabulary and no larger width"
            )
        values = _with_cells(_narrowed(values, o.width), o.cells)
        before, now = values["projection"].shape[0], o.cells
        for weight in self.weights:
            old, new = values[weight.name], weight.numpy()
            if weight.name == "projection":
                new[before:] *= 0.1
                new[:before] = old
            elif old.shape == new.shape:
                new = old
            else:  # the three gates side by side
                for gate in range(3):
                    olds = old[..., gate * before : (gate + 1) * before]
                    new[..., gate * now : gate * now + before] = olds
            weight.assign(new)

    def assign_by_name(self, values: dict[str, NDArray[np.float32]]) -> None:
        for weight in self.weights:
            weight.assign(values[weight.name])


def _narrowed(
    values: Mapping[str, NDArray[np.float32]], width: int
) -> Mapping[str, NDArray[np.float32]]:
    """The weights turned to the principal axes of table and projection, the first `width`."""
    table, projection = values["table"], values["projection"]
    if width == table.shape[1]:
        return values
    spread = sum(m.T @ m / np.square(m).sum() for m in (table, projection))
    axes = np.linalg.eigh(spread)[1][:, ::-1][:, :width].astype(np.float32)  # the largest first
    return {
        **values,
        "table": table @ axes,
        "projection": projection @ axes,
        "input": axes.T @ values["input"],
        "state": axes.T @ values["state"],
    }


def _with_cells(
    values: Mapping[str, NDArray[np.float32]], cells: int
) -> Mapping[str, NDArray[np.float32]]:
    """At most so many cells, those whose rows of the projection are largest."""
    before = len(values["projection"])
    if cells >= before:
        return values
    kept = np.sort(np.argsort(-np.square(values["projection"]).sum(1), kind="stable")[:cells])
    gates = np.concatenate([kept, kept + before, kept + 2 * before])
    cut = {name: values[name][..., gates] for name in ("input", "state", "gate_bias")}
    return {**values, **cut, "projection": values["projection"][kept]}
