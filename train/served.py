"""A SavedModel looked at afresh, as a server would load it: ``python -m train.served FOLDER``.

FOLDER holds `model` (the SavedModel), `model.tflite` and `pieces.npy`, as `train.serving` leaves
them. Nothing of the code that wrote it is used: what is called are its signatures.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbengine.errors import KbengineError, ModelError
from kbengine.lm.tflite import TFLiteModel
from kbengine.vocab import Vocabulary
from train.agreement import Agreement

Arrays = Mapping[str, NDArray[Any]]
Call = Callable[[Arrays], Arrays]

LANES, LANE_STEPS = 8, 40
# A lane of a batch against the same lane alone, in logits: float32 sums in another order. 7e-5
# over 40 steps of base (`python -m train serving kbengine/models/en.bundle --out DIR`).
MOST_APART = 1e-2


class Served:
    """The signatures of a SavedModel by name, arrays in and out."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self._tf = tf
        self._model = tf.saved_model.load(str(folder))  # its functions live as long as this
        self.names = sorted(self._model.signatures)

    def call(self, name: str, arrays: Arrays) -> Arrays:
        """piece, state -> logits, state, as the step of a model has them."""
        tensors = {key: self._tf.constant(value) for key, value in arrays.items()}
        found = self._model.signatures[name](**tensors)
        return {key: value.numpy() for key, value in found.items()}


def check(folder: Path) -> dict[str, Any]:
    """Step both models; the figures, and `told`. Raises ModelError where the SavedModel is off."""
    served = Served(folder / "model")
    if served.names != ["serving_default", "step"]:
        raise ModelError(f"the SavedModel has the signatures {', '.join(served.names)}")
    quantized = TFLiteModel((folder / "model.tflite").read_bytes())
    pieces: NDArray[np.int32] = np.load(folder / "pieces.npy")
    vocabulary = Vocabulary(next((folder / "model" / "assets").iterdir()).read_bytes())
    if len(vocabulary) != quantized.vocab_size:
        raise ModelError("the vocabulary among the assets is another model's")
    agreement = _along(partial(served.call, "step"), quantized, pieces)
    agreement.check("the SavedModel")
    apart = max(
        _lanes(partial(served.call, name), quantized.state_size, pieces) for name in served.names
    )
    if not apart <= MOST_APART:
        raise ModelError(
            f"the SavedModel is off: lanes of a batch are {apart:.2g} from single ones"
        )
    told = f"{agreement.told()}; a batch of {LANES} is {apart:.1g} from its lanes alone"
    return {**agreement.figures(), "apart": apart, "told": told}


def _along(step: Call, quantized: TFLiteModel, pieces: NDArray[np.int32]) -> Agreement:
    """Both along the same text, each on its own drifting state."""
    found, own = Agreement(), np.zeros((1, quantized.state_size), np.float32)
    state = quantized.start()
    for piece, right in zip(pieces[:-1], pieces[1:].tolist(), strict=True):
        out = step({"piece": piece[None], "state": own})
        own = out["state"]
        logp, (state,) = quantized.step([int(piece)], [state])
        found.add(logp[0], out["logits"][0], right)
    return found


def _lanes(step: Call, state_size: int, pieces: NDArray[np.int32]) -> float:
    """How far logits and states of a batch ever are from those of its lanes stepped alone."""
    texts = np.resize(pieces, (LANES, LANE_STEPS))
    states, singles = (np.zeros((LANES, state_size), np.float32) for _ in range(2))
    apart = 0.0
    for column in texts.T:
        out = step({"piece": column, "state": states})
        alone = [
            step({"piece": column[i : i + 1], "state": singles[i : i + 1]}) for i in range(LANES)
        ]
        for name in ("logits", "state"):
            rows = np.concatenate([found[name] for found in alone])
            apart = max(apart, float(np.abs(out[name] - rows).max()))
        states, singles = out["state"], np.concatenate([found["state"] for found in alone])
    return apart


def main() -> int:
    """Print the figures as JSON; a sentence on stderr and status 1 where the model is no good."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        print(json.dumps(check(Path(sys.argv[1]))))
    except (KbengineError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
