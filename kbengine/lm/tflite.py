"""The quantized recurrent step, run by TFLite's own small runtime.

The contract of a step model, a `.tflite` with two signatures:

    state    piece int32[B], state float32[B, S]  ->  state float32[B, S]
    logits   piece int32[B], state float32[B, S]  ->  state float32[B, S],
                                                      logits float32[B, V]

B is free; the state before the first piece is all zeros. `logits` gives the prediction
*after* the piece. Tensors are bound by name: the converter shuffles their order.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from kbengine.errors import ModelError
from kbengine.lm.stepfile import check
from kbengine.protocols import Floats

_MEND = "export it again with `python -m train export`"


class TFLiteModel:
    """A step model in memory; safe to share between threads (one steps at a time)."""

    def __init__(self, content: bytes) -> None:
        """Raises ModelError where `content` is no step model. The native runtime gets it
        only once `kbengine.lm.stepfile` has read it through."""
        try:
            self.state_size, self.vocab_size = check(content)
        except ValueError as error:
            raise ModelError(f"the model is no step model: {error}; {_MEND}") from error
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._state = self._interpreter.get_signature_runner("state")
            self._logits = self._interpreter.get_signature_runner("logits")
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"the runtime cannot read the model; {_MEND}") from error
        self._lock = threading.Lock()
        self._ones: Floats = np.ones(self.vocab_size, np.float32)
        self._exp: Floats = np.zeros((0, self.vocab_size), np.float32)
        self._try()

    def _try(self) -> None:
        """One step, so that a model that cannot run is refused here and not at a key press."""
        try:
            logp, states = self.step([0], [self.start()])
            advanced = self.advance([0], [self.start()])
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"the runtime cannot step the model; {_MEND}") from error
        if logp.shape != (1, self.vocab_size) or not np.isfinite(logp).all():
            raise ModelError(f"the model's predictions are no numbers; {_MEND}")
        if states[0].shape != advanced[0].shape or states[0].shape != (self.state_size,):
            raise ModelError(f"the model's states change their size; {_MEND}")

    def start(self, heard: Sequence[int] = ()) -> Floats:
        """See `LanguageModel.start`: zeros, whatever was heard."""
        return np.zeros(self.state_size, np.float32)

    def advance(self, pieces: Sequence[int], states: Sequence[Floats]) -> list[Floats]:
        """See `LanguageModel.advance`; a state is float32[S]."""
        with self._lock:
            out = self._state(piece=np.array(pieces, np.int32), state=_rows(states))
        return list(out["state"])

    def step(
        self, pieces: Sequence[int], states: Sequence[Floats]
    ) -> tuple[NDArray[np.float32], list[Floats]]:
        """See `LanguageModel.step`; a state is float32[S]."""
        with self._lock:
            out = self._logits(piece=np.array(pieces, np.int32), state=_rows(states))
            logits: Floats = out["logits"]
            if len(self._exp) < len(logits):
                self._exp = np.empty_like(logits)
            exp = self._exp[: len(logits)]
            logits -= logits.max(axis=1, keepdims=True)
            np.exp(logits, out=exp)
            logits -= np.log(np.vecdot(exp, self._ones))[:, None]
        return logits, list(out["state"])


def _rows(states: Sequence[Floats]) -> Floats:
    """States as the rows of one array. A text that is read is one row after the other, and
    `stack` takes a fifth of the time of a step."""
    return states[0][np.newaxis] if len(states) == 1 else np.stack(states)
