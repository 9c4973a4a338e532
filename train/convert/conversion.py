"""From a source to a checked `.tflite`: its states found, its shapes settled, both compared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kbengine.errors import ModelError
from kbengine.inspect.graph import Graph
from kbengine.quiet import quiet_stderr
from train.convert.deviation import Deviation, compare, lost_weights, read_result, runner
from train.convert.modes import MODES, NEED_SAMPLES, convert
from train.convert.source import (
    Arrays,
    Entry,
    Shape,
    Source,
    dims,
    weight_bytes,
)
from train.convert.states import Call
from train.convert.stepping import Plan, Stepped, ranged, stepped
from train.convert.steps import Material, run, start_states
from train.convert.trouble import LOOPS, Trouble, troubles, without_builtin

ROWS = 3  # that are stepped at once to see whether the batch is free
# A file that lost weights without a word says other things altogether; a share of 0.05 is that of a
# good int8 file (tests/test_convert.py).
AGREES = 0.05
ROWS_OFF = 1e-3  # two orders of summation differ by less


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
    _no_loops(source, plan)
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


def _no_loops(source: Source, plan: Plan) -> None:
    """Raise ConversionError where ranges would be taken inside of a loop: the converter's own
    calibration ends the process there, without a word."""
    for entry in source.entries:
        found = troubles(entry, source.layers)
        if plan.mode in NEED_SAMPLES and any(
            op.type in LOOPS for op in entry.graph.get_operations()
        ):
            raise ConversionError(
                f"{entry.name} has a loop inside, in which no ranges for the mode {plan.mode} can "
                "be taken; convert one step of it",
                found,
            )


def _numbers_alone(source: Source) -> None:
    """Raise ConversionError where an end is no number that TFLite knows: it could not even be
    stepped."""
    for entry in source.entries:
        for name, spec in {**entry.inputs, **entry.outputs}.items():
            if spec.dtype == tf.string:
                mend = "text stays outside of the graph: feed numbers"
            elif spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool:
                continue
            else:
                mend = "split it in numbers that are real"
            raise ConversionError(
                f"{entry.name} has {name} as {spec.dtype.name}; {mend}",
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
    own, before = source.converters.get(plan.mode), ranged(plan)
    if own is not None:
        content = own()
        notes = [*notes, "exported as `train export` does; its states count in another way"]
    else:
        samples = {s.entry.name: [feed for feed, _ in s.steps[:before]] for s in ready}
        functions = {s.entry.name: s.entry.function for s in ready}
        try:
            content = convert(functions, plan.mode, samples)
        except ModelError as error:
            raise _failed(error, source, ready, plan, found) from error
    graph = read_result(content)
    lost = lost_weights(graph, plan.mode, weight_bytes(s.entry for s in ready))
    deviations, more = {}, [note for each in ready for note in each.notes]
    for each in ready:
        name = each.entry.name
        call = runner(content, name)
        # From the first step on: an own state is not that of the source.
        start = start_states(each.entry, each.pairs)
        left_out = {pair.out for pair in each.pairs} if own is not None else set()
        names = [n for n in each.entry.outputs if n not in left_out]
        try:
            with quiet_stderr():  # the runtime tells of its delegate at the first step
                got = run(call, each.feeds, each.pairs, start)
            deviations[name] = compare(each.steps[before:], got[before:], names)
        except ModelError as error:
            raise ModelError(lost or error.args[0]) from error
        # A state may drift where it does no harm: what a step says is what counts.
        states = {pair.out for pair in each.pairs}
        said = [row for row in deviations[name] if row.output not in states]
        _within(said or deviations[name], plan, name, lost, found)
        if batched(each.entry):
            _many_rows(call, each.entry, [feed for feed, _ in got])
            more.append(
                f"{name}: the batch is free; {ROWS} rows at once give what each gives alone"
            )
    if lost:
        more.append("what it holds less than the source nothing reads, as both agree")
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


def _within(
    rows: Sequence[Deviation], plan: Plan, name: str, lost: str, found: Sequence[Trouble]
) -> None:
    """Raise ModelError where an output is too far off. lost: what to say where weights are
    missing, too; found: what in the graph may be the reason."""
    for row in rows:
        if lost and row.share > AGREES:
            raise ModelError(lost)
        if not row.share <= plan.limit:
            raise ConversionError(
                f"the converted file is not its source's equal: {row.output} of {name} differs by "
                f"{row.share:.2f} of how much it varies, over {plan.steps} steps; nothing was "
                "written (--limit allows more)",
                found,
            )


def batched(entry: Entry) -> bool:
    """Whether all inputs begin with a free dimension, and nothing else is free."""
    shapes = [dims(spec.shape) for spec in entry.inputs.values()]
    return all(bool(s) and s[0] is None and None not in s[1:] for s in shapes)  # type: ignore[index]


def _many_rows(call: Call, entry: Entry, feeds: Sequence[Arrays]) -> None:
    """Raise ModelError unless several rows at once give what each gives alone. What has no batch
    by the source's own word is left out."""
    shapes = {n: dims(s.shape) for n, s in entry.outputs.items()}
    free = {n for n, shape in shapes.items() if shape is None or shape[:1] == (None,)}
    chosen = [feeds[i * (len(feeds) - 1) // (ROWS - 1)] for i in range(ROWS)]
    try:
        together = call({n: np.concatenate([feed[n] for feed in chosen]) for n in chosen[0]})
    except ModelError as error:
        raise ModelError(f"the converted file takes one row alone ({error})") from error
    for row, feed in enumerate(chosen):
        alone = call(feed)
        for name, value in alone.items():
            if name not in free:
                continue
            other = together[name]
            if len(other) != ROWS or np.abs(other[row] - value[0]).max() > ROWS_OFF * max(
                1.0, float(np.abs(value).max())
            ):
                raise ModelError(f"the converted file's {name} mixes the rows of a batch")


def is_count(text: str) -> bool:
    """Whether a text is a number of rows or columns that fits in memory."""
    return re.fullmatch(r"[0-9]{1,6}", text) is not None and int(text) > 0


def read_shapes(texts: Sequence[str]) -> dict[str, Shape]:
    """``NAME=1,16,?`` as shapes. Raises ValueError where one cannot be read."""
    found: dict[str, Shape] = {}
    for text in texts:
        name, equals, sizes = text.partition("=")
        parts = [part.strip() for part in sizes.split(",")]
        if not equals or not all(part == "?" or is_count(part) for part in parts):
            raise ValueError(f"--shape {text} cannot be read; write NAME=1,16 or NAME=?,16")
        found[name] = tuple(None if part == "?" else int(part) for part in parts)
    return found
