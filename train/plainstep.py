"""One step of the float model as plain TensorFlow, state in and out.

The same function as `RecurrentLM.step` and `.logits`, in the form that others than the training
want: one tensor for the state, which starts as zeros, and one for both kernels. `export.py` has
it in a form that loses less in int8.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


class PlainStep(tf.Module):  # type: ignore[misc]
    """piece int32[B], state float32[B, S] -> logits float32[B, V], state; S = H + P."""

    def __init__(
        self, weights: Mapping[str, NDArray[np.float32]], variables: bool = False, tied: bool = True
    ) -> None:
        """weights: as `train.trained.Trained` has them. variables: keep them as such, as a
        SavedModel wants, or else as constants. tied: score by the table itself, or else by a
        transposed copy, which TensorFlow multiplies by faster."""
        super().__init__()
        keep = (lambda values: tf.Variable(values, trainable=False)) if variables else tf.constant
        self.cells, self.width = weights["projection"].shape
        self.tied = tied
        self.table = keep(weights["table"])
        self.output = self.table if tied else keep(np.ascontiguousarray(weights["table"].T))
        self.bias = keep(weights["bias"])
        self.kernel = keep(np.concatenate([weights["input"], weights["state"]]))
        self.gate_bias = keep(weights["gate_bias"])
        self.projection = keep(weights["projection"])

    @property
    def state_size(self) -> int:
        """S."""
        return int(self.cells + self.width)

    def after(self, piece: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """The state after a piece, float32[B, S]."""
        c, r = state[:, : self.cells], state[:, self.cells :]
        gates = tf.matmul(tf.concat([tf.gather(self.table, piece), r], -1), self.kernel)
        i, g, o = tf.split(gates + self.gate_bias, 3, axis=-1)
        i = tf.sigmoid(i)
        c = (1 - i) * c + i * tf.tanh(g)
        r = tf.matmul(tf.sigmoid(o) * tf.tanh(c), self.projection)
        return tf.concat([c, r], -1)

    def __call__(self, piece: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """logits, state."""
        state = self.after(piece, state)
        r = state[:, self.cells :]
        return tf.matmul(r, self.output, transpose_b=self.tied) + self.bias, state

    def logits(self, piece: tf.Tensor, state: tf.Tensor) -> dict[str, tf.Tensor]:
        """The engine's signature of that name: `logits` and `state`."""
        scores, after = self(piece, state)
        return {"logits": scores, "state": after}

    def state(self, piece: tf.Tensor, state: tf.Tensor) -> dict[str, tf.Tensor]:
        """The engine's signature of that name: `state` alone."""
        return {"state": self.after(piece, state)}

    def inputs(self, batch: int | None = None) -> tuple[tf.TensorSpec, tf.TensorSpec]:
        """What piece and state are; `batch`: B, None for any."""
        return (
            tf.TensorSpec([batch], tf.int32, name="piece"),
            tf.TensorSpec([batch, self.state_size], tf.float32, name="state"),
        )
