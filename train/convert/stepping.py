"""An entry at work: its states found or given, and real steps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.convert.modes import NEED_SAMPLES
from train.convert.source import Arrays, Entry, Shape, Source, first_line, written
from train.convert.states import Pair, faults, find_pairs, given_pairs, unpaired
from train.convert.steps import Feeds, Material, Step, make_feeds, run, sized, start_states


@dataclass(frozen=True)
class Plan:
    """How to convert.

    mode: see `train.convert.modes`. batch: rows of a call, None for what works: free, or 1;
    stays_free: not 1. shapes: of inputs by name. states: ``IN=OUT``, None to find them. samples:
    steps that ranges are taken from; steps: those after them, that are compared. limit: the most
    that an output may differ, as a share of how much it varies.
    """

    mode: str = "dynamic"
    batch: int | None = None
    stays_free: bool = False
    shapes: Mapping[str, Shape] | None = None
    states: Sequence[str] | None = None
    steps: int = 200
    samples: int = 500
    limit: float = 0.5


@dataclass(frozen=True, eq=False)
class Stepped:
    """An entry with its states and steps of it. notes: what of its states is to be told."""

    entry: Entry
    pairs: tuple[Pair, ...]
    feeds: Feeds
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


def stepped(source: Source, plan: Plan, material: Material) -> tuple[Stepped, ...]:
    """Each entry with its states, run over real steps.

    Raises ValueError where it does not run, or where given states are none.
    """
    return tuple(_stepped(entry, plan, material) for entry in source.entries)


def _stepped(entry: Entry, plan: Plan, material: Material) -> Stepped:
    feeds = make_feeds(entry, ranged(plan) + plan.steps, material)
    # What nothing reads, the source itself may still want.
    rest = {n: _zeros(s) for n, s in entry.unused.items()}

    def call(arrays: Arrays) -> Mapping[str, NDArray[Any]]:
        return entry.call({**arrays, **rest})

    notes: list[str] = []
    given = plan.states is not None
    try:
        pairs = _given(entry, plan) if given else find_pairs(entry, call, feeds.feeds[0])
        while True:
            steps = run(call, feeds, pairs, start_states(entry, pairs))
            wrong = faults(call, pairs, steps)
            for pair, why in wrong.items():
                told = f"the state {pair.into} = {pair.out} {why}"
                if given:
                    raise ValueError(f"{told}; give the right pairs with --state, or --no-states")
                notes.append(f"{entry.name}: {told}, and is none")
            if not wrong:
                break
            pairs = [pair for pair in pairs if pair not in wrong]
    except tf.errors.OpError as error:
        raise ValueError(
            f"{entry.name} does not run on {_shapes(entry)} with free dimensions as small ones "
            f"({first_line(error)}); give --shape NAME=1,..."
        ) from error
    _same_shapes(entry, steps)
    if not given:
        notes += [f"{entry.name}: {told}" for told in unpaired(entry, pairs)]
    found = Stepped(entry, tuple(pairs), feeds, tuple(steps), tuple(notes))
    _real(found, plan)
    return found


def _given(entry: Entry, plan: Plan) -> list[Pair]:
    """The pairs that are given of this entry."""
    own = [s for s in plan.states or () if s.partition("=")[0] in entry.inputs]
    return given_pairs(entry, own)


def _same_shapes(entry: Entry, steps: Sequence[Step]) -> None:
    """Raise ValueError where an output is no numbers of one shape, which nothing can compare."""
    for name, first in steps[0][1].items():
        if any(out[name].shape != first.shape for _, out in steps):
            raise ValueError(
                f"{entry.name} gives {name} in another shape from step to step; leave it out with "
                "--outputs"
            )
        if not all(np.isfinite(out[name]).all() for _, out in steps):
            raise ValueError(
                f"{entry.name} itself gives {name} as no number; feed it what it can take, with "
                "--text or --data"
            )


def _real(found: Stepped, plan: Plan) -> None:
    """Raise ValueError where a mode would take ranges from inputs that nothing real is known of."""
    states = {pair.into for pair in found.pairs}
    chance = sorted(found.feeds.chance - states)
    if plan.mode in NEED_SAMPLES and chance:
        raise ValueError(
            f"the mode {plan.mode} takes the ranges of activations from real inputs, and "
            f"{', '.join(chance)} has none; give --text and --vocab, or --data FILE.npz"
        )


def ranged(plan: Plan) -> int:
    """How many steps go before those that are compared."""
    return plan.samples if plan.mode in NEED_SAMPLES else 0


def _zeros(spec: tf.TensorSpec) -> NDArray[Any]:
    return np.zeros(sized(spec), spec.dtype.as_numpy_dtype)


def _shapes(entry: Entry) -> str:
    return ", ".join(f"{n} {written(s.shape)}" for n, s in entry.inputs.items())
