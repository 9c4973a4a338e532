"""What is compared: a name for each way to step the model, and where its code stands.

The code itself is in modules that nothing but the process of that engine imports: `lite` needs no
TensorFlow, `graphs` no Keras, `layers` both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

WEIGHTS = ("table", "bias", "input", "state", "gate_bias", "projection")  # NAME.npy in the folder
FLOAT32, INT8 = "float32.tflite", "int8.tflite"
PIECES = "pieces.npy"


class Engine(Protocol):
    """One lane of text, stepped piece by piece; begins on a state of zeros. Made of the folder and
    a number of threads, which TensorFlow's engines leave to `train.compare.graphs.use_threads`."""

    def step(self, piece: int) -> NDArray[np.float32]:
        """float32[V] of the piece that comes next: log-probabilities, but for `bare` logits."""


@dataclass(frozen=True)
class Kind:
    """label: for people. place: module and class. library: the distribution it runs on, TensorFlow
    by whatever name it is installed. share: the steps it makes, of those of the others."""

    label: str
    place: tuple[str, str]
    library: str
    share: float = 1.0
    note: str = ""


KINDS = {
    "eager": Kind("TensorFlow, eager", ("graphs", "Eager"), "tensorflow"),
    "function": Kind("tf.function", ("graphs", "Function"), "tensorflow"),
    "untied": Kind(
        "tf.function, untied", ("graphs", "Untied"), "tensorflow", 0.2,
        note="with a transposed copy of the table, which it multiplies by faster",
    ),
    "layers": Kind("Keras layers", ("layers", "Layers"), "tensorflow"),
    "cell": Kind(
        "Keras layers, no RNN", ("layers", "Cell"), "tensorflow", 0.1,
        note="the cell's layer called without keras.layers.RNN around it",
    ),
    "predict": Kind(
        "Keras, model.predict", ("layers", "Predict"), "tensorflow", 0.01,
        note="made for many rows at once, and called for a single one by many",
    ),
    "float32": Kind("TFLite float32", ("lite", "Float32"), "ai-edge-litert"),
    "int8": Kind("TFLite int8, kbengine", ("lite", "Driver"), "ai-edge-litert"),
    "bare": Kind(
        "TFLite int8, bare", ("lite", "Bare"), "ai-edge-litert",
        note="the runtime alone: logits, no log-probabilities, no checks",
    ),
}  # fmt: skip


def read_weights(folder: Path) -> dict[str, NDArray[np.float32]]:
    """The float weights by name."""
    return {name: np.load(folder / f"{name}.npy") for name in WEIGHTS}
