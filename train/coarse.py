"""int8 weights on coarser grids, so that they cost fewer bits where they are shipped.

A uniform grid and an entropy code after it are within a quarter bit of what is possible at all
for weights like these (Gish & Pierce 1968). What a weight may be off depends on its place:
the rows of pieces that are seldom expected may be further off, and small matrices, which every
step goes through, less far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kbengine.coding import STEPS_PER_UNIT, on_grid
from kbengine.protocols import LanguageModel
from train.shipping import Grid, Weights, matrices

# A row's step goes by how often its piece is expected, to this power, and a matrix's by how many
# weights it has. Of 0, .15, .25, .35 and of 0, .2, .33, .5, by the perplexity of 17,170 pieces of
# eight dev sets at 3.57 MB of codes: 0 and 0 x1.0148, 0 and .33 x1.0088, these x1.0067, which one
# standard error (0.001) does not tell from .15 and .35 or from .2 and .5 (train/EXPERIMENTS.md,
# "Powers"). To try others: `python -m train quantize en.bundle --ship OUT --share .6 --text FILES`.
RARITY_POWER = 0.25
SIZE_POWER = 1 / 3
# In int8 steps. Where `coarser` makes it of en-nano.bundle, a weight has 2.4 bits, and `compared`
# says perplexity x1.18 and another best piece in 30 % of data/chat_dev.txt; at 96 x3.0 and 60 %.
MOST_SCALE = 48.0
ROUNDS = 12  # of the bisection: the scale to 1/1,000 of itself, since 48 ** (1 / 2**12) is 1.001


class Coarse(NamedTuple):
    """A model with coarser weights, and its matrices as grids by their place in the file."""

    content: bytes
    grids: dict[int, Grid]
    scale: float


def usage(model: LanguageModel, pieces: NDArray[np.integer]) -> NDArray[np.float64]:
    """How often each piece is expected along a text: the mean of P(piece) over its steps [V]."""
    total = np.zeros(model.vocab_size)
    state = model.start()
    for piece in pieces.tolist():
        logp, (state,) = model.step([piece], [state])
        total += np.exp(logp[0], dtype=np.float64)
    return total / len(pieces)


def _steps(
    weights: Sequence[Weights], expected: NDArray[np.float64], scale: float
) -> list[NDArray[np.uint8]]:
    """The steps of all rows, in quarters of an int8 step, where those of the largest matrix are
    `scale` int8 steps on (geometric) average."""
    most = max(w.rows * w.columns for w in weights)
    found = []
    for w in weights:
        step = np.full(w.rows, scale * (w.rows * w.columns / most) ** SIZE_POWER)
        if w.rows == len(expected):
            rarity = np.maximum(expected, 1e-12) ** -RARITY_POWER
            step *= rarity / np.exp(np.mean(np.log(rarity)))
        found.append(np.clip(np.rint(STEPS_PER_UNIT * step), STEPS_PER_UNIT, 255).astype(np.uint8))
    return found


def coarser(content: bytes, expected: NDArray[np.float64], scale: float) -> Coarse:
    """A `.tflite` with its int8 matrices on grids whose step is about `scale` steps of theirs; all
    else of the file stays byte for byte. expected: see `usage`."""
    weights = matrices(content)
    patched, grids = bytearray(content), {}
    for w, steps in zip(weights, _steps(weights, expected, scale), strict=True):
        codes = np.rint(w.of(content) * np.float64(STEPS_PER_UNIT) / steps[:, np.newaxis])
        grid = Grid(np.clip(codes, -128, 127).astype(np.int8), steps)
        grids[w.start] = grid
        patched[w.start : w.end] = on_grid(*grid).tobytes()
    return Coarse(bytes(patched), grids, scale)


def fit(
    content: bytes,
    expected: NDArray[np.float64],
    room_bytes: float,
    size_bytes: Callable[[Coarse], int],
    tick: Callable[[], None],
) -> Coarse | None:
    """The finest grids with which a model takes at most so many bytes, by bisection; None where
    none does. tick: called `ROUNDS` times."""
    low, high = 1.0, MOST_SCALE
    best: Coarse | None = None
    for _ in range(ROUNDS):
        middle = (low * high) ** 0.5
        found = coarser(content, expected, middle)
        if size_bytes(found) <= room_bytes:
            best, high = found, middle
        else:
            low = middle
        tick()
    return best
