"""Engines in plain TensorFlow: ops called one by one, and the same step as a graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.compare.engines import read_weights
from train.plainstep import PlainStep


def use_threads(count: int) -> None:
    """As many threads for an op and for ops side by side. All engines of a process share them, and
    they are fixed once TensorFlow has done anything."""
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


class Eager:
    """`PlainStep` called as it stands."""

    TIED = True

    def __init__(self, folder: Path, threads: int) -> None:
        self._step = PlainStep(read_weights(folder), variables=True, tied=self.TIED)
        self._state = tf.zeros((1, self._step.state_size))
        self._call = self._logp

    def _logp(self, piece: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits, state = self._step(piece, state)
        return tf.nn.log_softmax(logits), state

    def step(self, piece: int) -> NDArray[np.float32]:
        """See `Engine.step`."""
        logp, self._state = self._call(tf.constant([piece]), self._state)
        found: NDArray[np.float32] = logp.numpy()[0]
        return found


class Function(Eager):
    """The same as one graph, of a fixed signature so that it is traced once."""

    def __init__(self, folder: Path, threads: int) -> None:
        super().__init__(folder, threads)
        self._call = tf.function(self._logp, input_signature=self._step.inputs(batch=1))


class Untied(Function):
    """The graph with a table of its own to score by."""

    TIED = False
