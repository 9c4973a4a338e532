"""A candidate's score in one line that a person can read."""

from __future__ import annotations

import math

from kbengine.types import Candidate


def percent(logp: float) -> str:
    """A probability, to a tenth of a percent; small ones to two digits."""
    p = 100 * math.exp(logp)
    if p >= 0.05:
        return f"{p:.1f}"
    return f"{p:.2g}" if p >= 1e-4 else "<0.0001"


def sentence(found: Candidate, place: int | None = None) -> str:
    """``tomorrow: word, 31.2 % = exp(-1.16), language model -3.20, channel +2.04 nats; 1st``.

    place: where it stands among those of its kind, from 1; not said where it is not known.
    """
    parts = [f"{name} {value:+.2f}" for name, value in found.parts.items() if abs(value) >= 5e-3]
    policy = found.parts.get("slot policy", 0.0)
    told = f"{found.text}: {found.kind}, {percent(found.logp)} % = exp({found.logp:.2f}); "
    told += f"{', '.join(parts) or 'nothing speaks for or against it'} (nats)"
    if abs(policy) >= 5e-3:
        told += f", ranked by their sum {found.score:.2f}"
    if place is not None:
        told += f"; number {place} of its kind here"
    return told
