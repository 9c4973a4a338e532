"""How near one model's predictions are to another's, added up step by step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbengine.errors import ModelError


class Agreement:
    """Of a model `got` with a model `wanted`, each on its own drifting state.

    Attributes:
        steps: how many were added.
    """

    # As the exported model may be off the float one (`train.export.ExportLimits`).
    LEAST_TOP1 = 0.95
    MOST_DEVIATION = 0.08

    def __init__(self) -> None:
        self.steps = 0
        self._same = 0
        self._deviation = self._loss = 0.0

    def add(
        self, wanted_logits: NDArray[np.floating], got_logits: NDArray[np.floating], right: int
    ) -> None:
        """One step: logits [V] of both, or log-probabilities, and the piece that came."""
        wanted, got = log_softmax(wanted_logits), log_softmax(got_logits)
        self.steps += 1
        self._same += int(wanted.argmax() == got.argmax())
        self._deviation += float(np.exp(wanted) @ np.abs(wanted - got))
        self._loss += float(wanted[right] - got[right])

    @property
    def top1(self) -> float:
        """Share of steps whose best piece is the same."""
        return self._same / self.steps

    @property
    def deviation(self) -> float:
        """Mean |difference| of the log-probabilities in nats, weighted by probability."""
        return self._deviation / self.steps

    @property
    def perplexity(self) -> float:
        """That of `got` over that of `wanted`."""
        return math.exp(min(self._loss / self.steps, 50.0))

    def check(self, who: str) -> None:
        """Raise ModelError where they are not the same function; `who`: what is off."""
        near = self.top1 >= self.LEAST_TOP1 and self.deviation <= self.MOST_DEVIATION
        if not near:
            raise ModelError(f"{who} is off: {self.told()}")

    def told(self) -> str:
        """In words."""
        return (
            f"same best piece in {self.top1:.1%} of {self.steps:,} steps, deviation "
            f"{self.deviation:.4f} nats, perplexity x{self.perplexity:.4f}"
        )

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "steps": self.steps, "top1": self.top1, "deviation": self.deviation,
            "perplexity": self.perplexity,
        }  # fmt: skip


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """logits [V] -> log-probabilities, float64[V]."""
    shifted = logits.astype(np.float64) - logits.max()
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return found
