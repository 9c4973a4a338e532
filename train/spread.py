"""The same function in weights that lose less in int8.

A product of the runtime puts its whole input row on one int8 grid, and each column of its
weights on another: whatever is small beside its neighbours is lost. Four changes that leave
the float model what it is, each worth some of the loss (see "int8" in EXPERIMENTS.md):

* the table's columns, and all that meets them, are turned by a random rotation, so that no
  column stands out (QuaRot: Ashkboos et al. 2024);
* x is scaled up by `lift` and its kernel down, so that this is as large as the kernel of r;
* each cell's output is scaled up by its `gain` and its row of the projection down, so that
  all rows have one size (SmoothQuant: Xiao et al. 2023);
* the cells are put in order, the loudest first, and those get a product of their own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kbengine.errors import ModelError
from train.model import RecurrentLM

Weights = dict[str, NDArray[np.float32]]


def spread(model: RecurrentLM, pieces: NDArray[np.integer]) -> Weights:
    """A model's weights so changed; `lift` and `gain` [H] beside them.

    pieces: a piece of real text, by which the loudness of cells is judged.

    Raises ModelError where the weights are no numbers.
    """
    found = model.weights_by_name()
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise ModelError(f"the weights {name!r} are no numbers; train again at a lower rate")
    loud = loudness(found, pieces)
    width = model.options.width
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(width, width)))[0].astype(np.float32)
    found["table"] = found["table"] @ turn
    found["projection"] = found["projection"] @ turn
    found["input"] = turn.T @ found["input"]
    found["state"] = turn.T @ found["state"]
    found["lift"] = _size(found["input"]) / _size(found["state"])
    found["input"] = found["input"] / found["lift"]
    gain = _size(found["projection"], axis=1)
    found["gain"] = gain / _size(gain)
    found["projection"] = found["projection"] / found["gain"][:, None]
    order = np.argsort(-loud * found["gain"], kind="stable")
    for name in ("input", "state", "gate_bias"):
        gates = found[name].reshape(*found[name].shape[:-1], 3, -1)
        found[name] = gates[..., order].reshape(found[name].shape)
    found["gain"], found["projection"] = found["gain"][order], found["projection"][order]
    return found


def loudness(weights: Weights, pieces: NDArray[np.integer]) -> NDArray[np.float32]:
    """Root mean square of what each cell says, float32[H], along a text; the cell of `model.py`."""
    kernel = np.concatenate([weights["input"], weights["state"]])
    cells, width = weights["projection"].shape
    c, r = np.zeros(cells, np.float32), np.zeros(width, np.float32)
    said = []
    for piece in pieces.tolist():
        x = np.concatenate([weights["table"][piece], r])
        i, g, o = np.split(x @ kernel + weights["gate_bias"], 3)
        i, o = (1 + np.tanh(i / 2)) / 2, (1 + np.tanh(o / 2)) / 2  # sigmoids that never overflow
        c = (1 - i) * c + i * np.tanh(g)
        said.append(o * np.tanh(c))
        r = said[-1] @ weights["projection"]
    return _size(np.array(said), axis=0)


def _size(values: NDArray[np.float32], axis: int | None = None) -> NDArray[np.float32]:
    """Root mean square; never 0, so that one can divide by it."""
    found: NDArray[np.float32] = np.sqrt(np.mean(values**2, axis=axis)) + np.float32(1e-12)
    return found
