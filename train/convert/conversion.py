"""From a source to a checked `.tflite`: its states found, its shapes settled, both compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kbengine.errors import ModelError
from kbengine.inspect.graph import Graph
from train.convert.deviation import Deviation, compare, refuse_empty, runner
from train.convert.modes import MODES, NEED_SAMPLES, convert
from train.convert.source import (
    Arrays,
    Entry,
    Shape,
    Source,
    dims,
    first_line,
    weight_bytes,
    written,
)
from train.convert.states import Call, Pair, check_pairs, find_pairs, given_pairs
from train.convert.steps import Feeds, Material, Step, make_feeds, run, sized, start_states
from train.convert.trouble import Trouble, troubles, without_builtin

ROWS = 3  # that are stepped at once to see whether the batch is free
ROWS_OFF = 1e-3  # two orders of summation differ by less


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
    """An entry with its states and real steps of it."""

    entry: Entry
    pairs: tuple[Pair, ...]
    feeds: Feeds
    steps: tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class Converted:
    """content: the file. graph: what it holds. deviations: by signature, see `Deviation`. notes:
    what was settled on the way. troubles: what works but costs."""

    content: bytes
    graph: Graph
    stepped: tuple[Stepped, ...]
    deviations: Mapping[str, Sequence[Deviation]]
    notes: tuple[str, ...]
    troubles: tuple[Trouble, ...]


class ConversionError(ModelError):
    """A source that cannot be converted, and what is in the way."""

    def __init__(self, message: str, found: Sequence[Trouble]) -> None:
        super().__init__(message)
        self.troubles = tuple(found)


def stepped(source: Source, plan: Plan, material: Material) -> tuple[Stepped, ...]:
    """Each entry with its states, run over real steps.

    Raises ValueError where it does not run, or where given states are none.
    """
    return tuple(_stepped(entry, plan, material) for entry in source.entries)


def _stepped(entry: Entry, plan: Plan, material: Material) -> Stepped:
    feeds = make_feeds(entry, _ranged(plan) + plan.steps, material)
    # What nothing reads, the source itself may still want.
    rest = {n: _zeros(s) for n, s in entry.unused.items()}

    def call(arrays: Arrays) -> Mapping[str, NDArray[Any]]:
        return entry.call({**arrays, **rest})

    def over(pairs: Sequence[Pair]) -> Stepped:
        steps = run(call, feeds.feeds, pairs, start_states(entry, pairs))
        check_pairs(call, pairs, steps)
        return Stepped(entry, tuple(pairs), feeds, tuple(steps))

    try:
        if plan.states is not None:
            own = [s for s in plan.states if s.partition("=")[0] in entry.inputs]
            return over(given_pairs(entry, own))
        try:
            return over(find_pairs(entry, call, feeds.feeds[0]))
        except ValueError:  # found, and wrong
            return over(())
    except tf.errors.OpError as error:
        raise ValueError(
            f"{entry.name} does not run on {_shapes(entry)} with free dimensions as small ones "
            f"({first_line(error)}); give --shape NAME=1,..."
        ) from error


def _ranged(plan: Plan) -> int:
    """How many steps go before those that are compared."""
    return plan.samples if plan.mode in NEED_SAMPLES else 0


def _zeros(spec: tf.TensorSpec) -> NDArray[Any]:
    return np.zeros(sized(spec), spec.dtype.as_numpy_dtype)


def _shapes(entry: Entry) -> str:
    return ", ".join(f"{n} {written(s.shape)}" for n, s in entry.inputs.items())


def make(source: Source, plan: Plan, material: Material) -> Converted:
    """Convert and compare; writes nothing.

    Raises ConversionError where the converter gives up, ModelError where the result is not the
    source's equal, ValueError for what does not fit.
    """
    if plan.mode not in MODES:
        raise ValueError(f"{plan.mode!r} is no mode; give one of {', '.join(MODES)}")
    if plan.shapes or plan.batch:
        source = source.reshaped({**_batch(source, plan.batch), **(plan.shapes or {})})
    if lack := lacks(plan.mode, material):
        raise ValueError(lack)
    _numbers_alone(source)
    for state in plan.states or ():
        if not any(state.partition("=")[0] in entry.inputs for entry in source.entries):
            known = {n: None for entry in source.entries for n in entry.inputs}
            raise ValueError(f"--state {state} is of no input; there are {', '.join(known)}")
    notes: list[str] = []
    ready = stepped(source, plan, material)
    try:
        return _attempt(source, ready, plan, notes)
    except ModelError as error:
        fixed = _batch(source, 1)
        if plan.batch or plan.stays_free or not fixed:
            raise
        # A free batch is what most often stands in the way of a loop.
        again = source.reshaped(fixed)
        notes.append(f"the batch is fixed at 1, as free it fails: {error.args[0]} (--batch)")
        try:
            return _attempt(again, stepped(again, plan, material), plan, notes)
        except ModelError:
            raise error from None


def lacks(mode: str, material: Material) -> str:
    """What a mode needs and has not, in a sentence; empty where it has all."""
    if mode not in NEED_SAMPLES or material.pieces is not None or material.data:
        return ""
    return (
        f"the mode {mode} takes the ranges of activations from real inputs; give --text and "
        "--vocab, or --data FILE.npz"
    )


def _numbers_alone(source: Source) -> None:
    """Raise ConversionError where an input is no number: it could not even be stepped."""
    for entry in source.entries:
        for name, spec in entry.inputs.items():
            if not (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool):
                raise ConversionError(
                    f"{entry.name} takes {name} as {spec.dtype.name}; text stays outside of the "
                    "graph: feed numbers",
                    troubles(entry, source.layers),
                )


def _batch(source: Source, batch: int | None) -> dict[str, Shape]:
    """The inputs that have a free first dimension, with the batch there."""
    found = {}
    for entry in source.entries:
        for name, spec in entry.inputs.items():
            shape = dims(spec.shape)
            if batch and shape and shape[0] is None:
                found[name] = (batch, *shape[1:])
    return found


def _attempt(
    source: Source, ready: Sequence[Stepped], plan: Plan, notes: Sequence[str]
) -> Converted:
    found = tuple(t for s in ready for t in troubles(s.entry, source.layers))
    own, ranged = source.converters.get(plan.mode), _ranged(plan)
    if own is not None:
        content = own()
        notes = [*notes, "exported as `train export` does; its states count in another way"]
    else:
        samples = {s.entry.name: [feed for feed, _ in s.steps[:ranged]] for s in ready}
        functions = {s.entry.name: s.entry.function for s in ready}
        try:
            content = convert(functions, plan.mode, samples)
        except ModelError as error:
            raise _failed(error, source, ready, plan, found) from error
    graph = refuse_empty(content, plan.mode, weight_bytes(s.entry for s in ready))
    deviations, more = {}, []
    for each in ready:
        name = each.entry.name
        call = runner(content, name)
        # From the first step on: an own state is not that of the source.
        start = start_states(each.entry, each.pairs)
        got = run(call, each.feeds.feeds, each.pairs, start)
        left_out = {pair.out for pair in each.pairs} if own is not None else set()
        names = [n for n in each.entry.outputs if n not in left_out]
        deviations[name] = compare(each.steps[ranged:], got[ranged:], names)
        _within(deviations[name], plan, name)
        if batched(each.entry):
            _many_rows(call, [feed for feed, _ in got])
            more.append(
                f"{name}: the batch is free; {ROWS} rows at once give what each gives alone"
            )
    return Converted(content, graph, tuple(ready), deviations, (*notes, *more), found)


def _failed(
    error: ModelError,
    source: Source,
    ready: Sequence[Stepped],
    plan: Plan,
    found: Sequence[Trouble],
) -> ConversionError:
    """Name what is in the way: ops without a built-in first, then what is known to be hard."""
    if plan.mode != "float32":
        try:
            convert({s.entry.name: s.entry.function for s in ready}, "float32")
        except ModelError:
            pass
        else:
            return ConversionError(f"{error.args[0]}; in float32 it works", found)
    missing: list[Trouble] = []
    for each in ready:
        try:
            missing += without_builtin(each.entry, source.layers)
        except ModelError:  # even so; then what is known of the graph has to do
            continue
    known = {(t.layer, t.mend) for t in missing}
    every = [*missing, *(t for t in found if (t.layer, t.mend) not in known)]
    names = "; ".join(f"{t.op} in {t.layer}" for t in every[:3])
    return ConversionError(
        f"{source.kind} cannot be converted as it is: {names or error.args[0]}", every
    )


def _within(found: Sequence[Deviation], plan: Plan, name: str) -> None:
    for row in found:
        if not row.share <= plan.limit:
            raise ModelError(
                f"the converted file is not its source's equal: {row.output} of {name} differs by "
                f"{row.share:.2f} of how much it varies, over {plan.steps} steps; nothing was "
                "written (--limit allows more)"
            )


def batched(entry: Entry) -> bool:
    """Whether all inputs begin with a free dimension, and nothing else is free."""
    shapes = [dims(spec.shape) for spec in entry.inputs.values()]
    return all(bool(s) and s[0] is None and None not in s[1:] for s in shapes)  # type: ignore[index]


def _many_rows(call: Call, feeds: Sequence[Arrays]) -> None:
    """Raise ModelError unless several rows at once give what each gives alone."""
    chosen = [feeds[i * (len(feeds) - 1) // (ROWS - 1)] for i in range(ROWS)]
    try:
        together = call({n: np.concatenate([feed[n] for feed in chosen]) for n in chosen[0]})
    except ModelError as error:
        raise ModelError(f"the converted file takes one row alone ({error})") from error
    for row, feed in enumerate(chosen):
        alone = call(feed)
        for name, value in alone.items():
            other = together[name]
            if len(other) != ROWS or np.abs(other[row] - value[0]).max() > ROWS_OFF * max(
                1.0, float(np.abs(value).max())
            ):
                raise ModelError(f"the converted file's {name} mixes the rows of a batch")


def read_shapes(texts: Sequence[str]) -> dict[str, Shape]:
    """``NAME=1,16,?`` as shapes. Raises ValueError where one cannot be read."""
    found: dict[str, Shape] = {}
    for text in texts:
        name, equals, sizes = text.partition("=")
        parts = [part.strip() for part in sizes.split(",")]
        if not equals or not all(part == "?" or (part.isdigit() and int(part)) for part in parts):
            raise ValueError(f"--shape {text} cannot be read; write NAME=1,16 or NAME=?,16")
        found[name] = tuple(None if part == "?" else int(part) for part in parts)
    return found
