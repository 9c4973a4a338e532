"""How a model is fitted. Apart from `fit.py`, so that reading options loads no TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class FitOptions:
    """How the weights are found.

    pieces: how many to train on in all; it sets the learning-rate schedule.
    lanes, steps: the batch: B streams of T pieces, the state carried from batch to batch.
    negatives: how many pieces stand for all in the sum of the softmax. A share of them,
    `common`, are the commonest; the others are drawn by their count to the power of `power`.
    target_drawn: the target's own term is divided by how often it is drawn as well, as Jean et
    al. 2015 do; with its own draws left out this overrates what is common and likely
    (EXPERIMENTS.md, *The loss*). The shipped model was begun so.
    reset: chance that a message stands alone; otherwise it follows the one before it.
    stretch: how many messages stay together when the text is shuffled.
    warm, flat: shares of the run spent warming up and at the full rate; the rest is a
    cosine down to `last_rate`.
    dropout: share of what goes into the cells and of what comes out that is left out, drawn anew
    at every step (Zaremba et al. 2014).
    begin_share: what the run ends with is mixed with what it began with, in this share, where
    that is better on dev text (Wortsman et al. 2022).
    patience: evaluations without a better dev loss before the run stops.
    """

    pieces: float = 100e6
    lanes: int = 256
    steps: int = 32
    negatives: int = 2048
    common: float = 0.25
    power: float = 0.75
    target_drawn: bool = False
    rate: float = 2e-3
    last_rate: float = 5e-5
    warm: float = 0.01
    flat: float = 0.5
    clip: float = 1.0
    reset: float = 0.4
    dropout: float = 0.0
    begin_share: float = 0.0
    stretch: int = 24
    seed: int = 1
    eval_every: int = 500
    save_every_s: float = 240.0
    patience: int = 12

    @property
    def total_steps(self) -> int:
        return max(1, round(self.pieces / (self.lanes * self.steps)))

    def rate_at(self, step: int) -> float:
        """The learning rate of a step: warm-up, flat, cosine."""
        done = step / self.total_steps
        if done < self.warm:
            return self.rate * (done + 1 / self.total_steps) / self.warm
        if done < self.flat:
            return self.rate
        falling = (done - self.flat) / (1 - self.flat)
        return self.last_rate + (self.rate - self.last_rate) * (1 + math.cos(math.pi * falling)) / 2
