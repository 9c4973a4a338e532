"""Which pieces stand for all others in the sum of the softmax.

The commonest stand for themselves, at every step; of the others a few are drawn, each
counting for as many as it is unlikely to be drawn. With the target's own term added once the
sum is right on average (importance sampling: Bengio & Senecal 2003), whatever the target.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from train.options import FitOptions


class Negatives:
    """logq float32[V]: log of how often a step is expected to draw a piece, 0 for the common."""

    def __init__(self, counts: NDArray[np.float64], options: FitOptions) -> None:
        """counts float64[V]: how often each piece stands in the text. With as many negatives as
        pieces, or more, every piece stands for itself.

        Raises ValueError where no negative is left to be drawn.
        """
        size, few = len(counts), options.negatives < len(counts)
        self._seed = options.seed
        common = round(options.common * options.negatives) if few else size
        self._drawn = options.negatives - common if few else 0
        if common < 0 or (few and self._drawn < 1):
            raise ValueError(
                f"of {options.negatives} negatives a share of {options.common} cannot be the "
                "commonest; give a share of 0 or more that leaves some to be drawn"
            )
        order = np.argsort(-counts, kind="stable").astype(np.int32)
        self._common, self._rest = np.split(order, [common])
        chance = np.maximum(counts[self._rest], 1.0) ** options.power
        chance /= chance.sum()
        self._until = np.cumsum(chance)
        self._until[-1:] = 1.0  # rounding must leave no number beyond the last piece
        self.logq = np.zeros(size, np.float32)
        self.logq[self._rest] = np.log(self._drawn * chance)

    def draw(self, step: int) -> NDArray[np.int32]:
        """The pieces of a step, int32[S]: the same step always draws the same."""
        rng = np.random.default_rng([self._seed, 7, step])
        drawn = self._rest[np.searchsorted(self._until, rng.random(self._drawn))]
        return np.concatenate([self._common, drawn])
