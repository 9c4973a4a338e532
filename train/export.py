"""Trained weights -> the one-step `.tflite` that the engine carries, checked step by step.

The training graph and the step graph share the model's variables; the step graph is cut
into two signatures, `state` and `logits`, so that nothing needs control flow, hidden
variables or ops beyond TFLite's own (contract: `kbengine.lm.tflite`).

The table serves twice, to read a piece in and to score all pieces, and is stored once:
its rows are put on the int8 grid that the converter uses for the product (row maximum =
127), so that the converter's copy is byte for byte the one that is gathered from, and is
merged with it. The row scales stand as the bits of an int32 tensor, because a float
vector of that size would be quantized itself.

What the cell multiplies is brought to one size first (`spread.py`): the int8 grids lose less.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kbengine.errors import ModelError
from kbengine.lm.tflite import TFLiteModel
from train.agreement import Agreement
from train.convert.modes import convert as convert_in
from train.files import write_whole
from train.model import RecurrentLM
from train.spread import Weights, spread


@dataclass(frozen=True)
class ExportLimits:
    """What the quantized file may lose against the float model, on real steps with drift.

    perplexity: their ratio; top1: share of steps whose best piece is the same;
    deviation: mean |difference| of the log-probabilities, weighted by probability;
    megabytes: of the file.
    """

    perplexity: float = 1.005
    top1: float = 0.95
    deviation: float = 0.08
    megabytes: float = 10.0


@dataclass(frozen=True)
class Comparison:
    """The quantized file against the float model; see `ExportLimits`."""

    steps: int
    perplexity: float
    top1: float
    deviation: float
    model_bytes: int

    def check(self, limits: ExportLimits) -> None:
        """Raise ModelError, naming the figure, where one is out of bounds or no number."""
        figures = {
            "perplexity ratio": (self.perplexity, self.perplexity <= limits.perplexity),
            "share of steps with the same best piece": (self.top1, self.top1 >= limits.top1),
            "mean deviation in nats": (self.deviation, self.deviation <= limits.deviation),
            "size in MB": (self.model_bytes / 1e6, self.model_bytes <= limits.megabytes * 1e6),
        }
        for name, (value, good) in figures.items():
            if not good:
                raise ModelError(
                    f"the exported model is off: {name} {value:.4f} over {self.steps} steps; "
                    "nothing was written; train on, or see ExportLimits"
                )


class StepModule(tf.Module):  # type: ignore[misc]
    """One step of a trained model as two signatures; see the module's docstring."""

    def __init__(self, weights: Weights, first: int) -> None:
        """weights: as `spread` leaves them; first: how many cells are large."""
        super().__init__()
        table = weights["table"]
        scale = np.maximum(np.abs(table).max(axis=1), 1e-12).astype(np.float32) / np.float32(127)
        grid = np.rint(table / scale[:, None]).astype(np.int8)
        self._cells, self._width = weights["projection"].shape
        self._first = first
        self._grid = tf.constant(grid)
        self._scale_bits = tf.constant((scale * weights["lift"]).view(np.int32))
        self._kernel = tf.constant(np.concatenate([weights["input"], weights["state"]]))
        self._gate_bias = tf.constant(weights["gate_bias"])
        self._gain = tf.constant(weights["gain"])
        self._projections = [tf.constant(part) for part in np.split(weights["projection"], [first])]
        self._output = tf.constant((grid.astype(np.float32) * scale[:, None]).T)
        self._bias = tf.constant(weights["bias"])

    def _next(self, piece: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        scale = tf.bitcast(tf.gather(self._scale_bits, piece), tf.float32)
        x = tf.cast(tf.gather(self._grid, piece), tf.float32) * scale[:, None]
        c, r = state[:, : self._cells], state[:, self._cells :]
        gates = tf.matmul(tf.concat([x, r], -1), self._kernel) + self._gate_bias
        i, g, o = tf.split(gates, 3, axis=-1)
        i = tf.sigmoid(i)
        c = (1 - i) * c + i * tf.tanh(g)
        # The gain not last: the converter would put it back into the projection.
        h = tf.sigmoid(o) * self._gain * tf.tanh(c)
        loud, quiet = self._projections
        r = tf.matmul(h[:, : self._first], loud) + tf.matmul(h[:, self._first :], quiet)
        return tf.concat([c, r], -1), r

    def signatures(self) -> list[tf.types.experimental.ConcreteFunction]:
        spec = [
            tf.TensorSpec([None], tf.int32, name="piece"),
            tf.TensorSpec([None, self._cells + self._width], tf.float32, name="state"),
        ]

        def state(piece: tf.Tensor, state: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"state": self._next(piece, state)[0]}

        def logits(piece: tf.Tensor, state: tf.Tensor) -> dict[str, tf.Tensor]:
            after, r = self._next(piece, state)
            return {"state": after, "logits": tf.matmul(r, self._output) + self._bias}

        return [tf.function(f, input_signature=spec) for f in (state, logits)]


def convert(model: RecurrentLM, pieces: NDArray[np.integer]) -> bytes:
    """The dynamic-range int8 `.tflite` of a model, unchecked. `pieces`: see `spread`."""
    weights = spread(model, pieces)
    module = StepModule(weights, len(weights["gain"]) // 4)
    state, logits = (f.get_concrete_function() for f in module.signatures())
    return convert_in({"state": state, "logits": logits}, "dynamic")


def compare(model: RecurrentLM, content: bytes, pieces: NDArray[np.integer]) -> Comparison:
    """Step file and float model along the same pieces, each on its own drifting state."""
    quantized = TFLiteModel(content)
    if quantized.vocab_size != model.options.vocab_size:
        raise ModelError("the exported model has another vocabulary than its weights")
    agreement = Agreement()
    state, own = quantized.start(), model.zero_state(1)
    for piece, right in zip(pieces[:-1].tolist(), pieces[1:].tolist(), strict=True):
        logp, (state,) = quantized.step([piece], [state])
        own = model.step(tf.gather(model.table, [piece]), own)
        agreement.add(model.logits(own[1]).numpy()[0], logp[0], right)
    return Comparison(**agreement.figures(), model_bytes=len(content))


def export(
    model: RecurrentLM,
    judged: NDArray[np.integer],
    compared: NDArray[np.integer],
    path: Path,
    limits: ExportLimits | None = None,
) -> Comparison:
    """Convert, compare and write `path`. `judged`, `compared`: pieces of real text, some thousand,
    for `spread` and for `compare`.

    Raises ModelError, and writes nothing, where the result is off.
    """
    content = convert(model, judged)
    found = compare(model, content, compared)
    found.check(limits or ExportLimits())
    write_whole(path, content)
    return found
