"""Engines on TFLite's runtime. No TensorFlow here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from kbengine.lm.tflite import TFLiteModel
from train.compare.engines import FLOAT32, INT8


class Driver:
    """The int8 model as the engine steps it; on one thread, whatever is asked for."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._model = TFLiteModel((folder / INT8).read_bytes())
        self._state = self._model.start()

    def step(self, piece: int) -> NDArray[np.float32]:
        """See `Engine.step`."""
        logp, (self._state,) = self._model.step([piece], [self._state])
        found: NDArray[np.float32] = logp[0]
        return found


class _Signature:
    """A signature of a file, called as the runtime offers it."""

    FILE, NAME, OUT = "", "", ""

    def __init__(self, folder: Path, threads: int) -> None:
        content = (folder / self.FILE).read_bytes()
        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        self._run = self._interpreter.get_signature_runner(self.NAME)
        size = self._run.get_input_details()["state"]["shape"][1]
        self._state = np.zeros((1, size), np.float32)

    def step(self, piece: int) -> NDArray[np.float32]:
        """See `Engine.step`."""
        out = self._run(piece=np.array([piece], np.int32), state=self._state)
        self._state = out["state"]
        found: NDArray[np.float32] = out[self.OUT][0]
        return found


class Float32(_Signature):
    """The float model, converted as it is; log-probabilities in the graph."""

    FILE, NAME, OUT = FLOAT32, "step", "logp"


class Bare(_Signature):
    """The int8 model's signature `logits`, and nothing around it."""

    FILE, NAME, OUT = INT8, "logits", "logits"
