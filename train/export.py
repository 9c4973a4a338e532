"""Trained weights -> the one-step `.tflite` that the engine carries, checked step by step.

The training graph and the step graph share the model's variables; the step graph is cut
into two signatures, `state` and `logits`, so that nothing needs control flow, hidden
variables or ops beyond TFLite's own (contract: `kbengine.lm.tflite`).

The table serves twice, to read a piece in and to score all pieces, and is stored once:
its rows are put on the int8 grid that the converter uses for the product (row maximum =
127), so that the converter's copy is byte for byte the one that is gathered from, and is
merged with it. The row scales stand as the bits of an int32 tensor, because a float
vector of that size would be quantized itself.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kbengine.errors import ModelError
from kbengine.lm.tflite import TFLiteModel
from train.files import write_whole
from train.model import RecurrentLM


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

    def __init__(self, model: RecurrentLM) -> None:
        super().__init__()
        weights = model.weights_by_name()
        table = weights["table"]
        scale = np.maximum(np.abs(table).max(axis=1), 1e-12).astype(np.float32) / np.float32(127)
        grid = np.rint(table / scale[:, None]).astype(np.int8)
        self._model = model
        self._cells, self._width = model.options.cells, model.options.width
        self._grid = tf.constant(grid)
        self._scale_bits = tf.constant(scale.view(np.int32))
        self._output = tf.constant((grid.astype(np.float32) * scale[:, None]).T)
        self._bias = tf.constant(weights["bias"])
        # The exporter follows tf.Variables; Keras wraps its own.
        self._variables = [w.value for w in model.weights]

    def _next(self, piece: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        scale = tf.bitcast(tf.gather(self._scale_bits, piece), tf.float32)
        x = tf.cast(tf.gather(self._grid, piece), tf.float32) * scale[:, None]
        c, r = self._model.step(x, (state[:, : self._cells], state[:, self._cells :]))
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


def convert(model: RecurrentLM) -> bytes:
    """The dynamic-range int8 `.tflite` of a model, unchecked."""
    module = StepModule(model)
    state, logits = module.signatures()
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"state": state, "logits": logits})
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["state", "logits"]
        )
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return bytes(converter.convert())


def compare(model: RecurrentLM, content: bytes, pieces: NDArray[np.integer]) -> Comparison:
    """Step file and float model along the same pieces, each on its own drifting state."""
    quantized = TFLiteModel(content)
    if quantized.vocab_size != model.options.vocab_size:
        raise ModelError("the exported model has another vocabulary than its weights")
    state = quantized.start()
    rows = []
    for piece in pieces[:-1].tolist():
        logp, (state,) = quantized.step([piece], [state])
        rows.append(logp[0])
    got = np.stack(rows).astype(np.float64)
    own = model.zero_state(1)
    outputs = []
    for piece in pieces[:-1].tolist():
        own = model.step(tf.gather(model.table, [piece]), own)
        outputs.append(own[1])
    wanted = tf.nn.log_softmax(model.logits(tf.concat(outputs, 0))).numpy().astype(np.float64)
    right = np.asarray(pieces[1:], np.intp)
    each = np.arange(len(right))
    loss = float(np.mean(wanted[each, right] - got[each, right]))
    return Comparison(
        steps=len(right),
        perplexity=math.exp(min(loss, 50.0)),
        top1=float(np.mean(got.argmax(1) == wanted.argmax(1))),
        deviation=float(np.mean(np.sum(np.exp(wanted) * np.abs(wanted - got), axis=1))),
        model_bytes=len(content),
    )


def export(
    model: RecurrentLM,
    pieces: NDArray[np.integer],
    path: Path,
    limits: ExportLimits | None = None,
) -> Comparison:
    """Convert, compare on `pieces` (real text, some hundred) and write `path`.

    Raises ModelError, and writes nothing, where the result is off.
    """
    content = convert(model)
    found = compare(model, content, pieces)
    found.check(limits or ExportLimits())
    write_whole(path, content)
    return found
