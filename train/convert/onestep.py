"""A Keras model that reads whole sequences as one step of itself: its recurrent layers replaced by
their cells, whose states go in and out. The mend of a rolled layer, made for you (`--step`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.convert.functional import (
    functional_of,
    input_names,
    layers_of,
    output_names,
    variables_of,
)
from train.convert.source import Entry, Source, Specs, clean, first_line, make_entry, spec

CHECKED_STEPS = 6  # of a sequence that has any length
CHECKED_OFF = 1e-4  # of the largest value: two orders of summation differ by less
_MEND = "build the step by hand, of cells"


def one_step(model: keras.Model) -> Source:
    """A Keras model's step, checked against the model over a short sequence.

    Raises ValueError where it has no recurrent layers, or one that no step can stand for.
    """
    graph = functional_of(model)
    states = _states(model)
    reasons = []
    # Most layers take a step as they take a batch; some want a time to stand there, if only of one.
    for timed in (False, True):
        try:
            entry = _entry(graph, states, timed)
            _check(model, entry, states)
        except (ValueError, TypeError, tf.errors.OpError) as error:
            reasons.append(first_line(error))
        else:
            told = [f"one step of {model.name}: each recurrent layer's cell called once (--step)"]
            if any(getattr(layer, "mask_zero", False) for layer in model._flatten_layers()):
                told.append("the piece 0 is padding that the model skips: do not feed it")
            return Source(
                f"a Keras model, {model.name}", (entry,), variables_of(model), tuple(told),
                layers=layers_of(model),
            )  # fmt: skip
    raise ValueError(f"no step of {model.name} can be had ({reasons[-1]}); {_MEND}")


def _entry(graph: Any, states: Specs, timed: bool) -> Entry:
    """The graph with cells for recurrent layers. timed: whether a time of one stands in what other
    layers get."""
    given = input_names(graph)
    outputs = output_names(graph)

    def function(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        after: dict[str, tf.Tensor] = {}
        call = _caller(tensors, after, timed)
        rows = [tensors[n][:, None] if timed else tensors[n] for n in given]
        found = keras.tree.flatten(graph._run_through_graph(rows, call_fn=call))
        said = {
            n: t[:, 0] if timed and len(symbolic.shape) == len(t.shape) > 2 else t
            for n, t, symbolic in zip(outputs, found, graph.outputs, strict=True)
        }
        return said | after

    return make_entry("step", function, {**_steps(given), **states})


def _steps(given: Mapping[str, Any]) -> Specs:
    """The inputs without their time. Raises ValueError where one has none."""
    found = {}
    for name, tensor in given.items():
        if len(tensor.shape) < 2:
            raise ValueError(f"the input {name} has no time to leave out")
        found[name] = spec([tensor.shape[0], *tensor.shape[2:]], tensor.dtype, name)
    return found


def _caller(
    tensors: Mapping[str, tf.Tensor], after: dict[str, tf.Tensor], timed: bool
) -> Callable[..., Any]:
    """What calls a layer of the graph; states after the step go into `after`."""

    def call(op: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(op, keras.layers.RNN):
            return _cell(op, args, kwargs, tensors, after, timed)
        if isinstance(op, keras.layers.TimeDistributed) and not timed:
            return op.layer(args[0])
        if isinstance(op, keras.Model):
            return functional_of(op)._run_through_graph(args[0], call_fn=call)
        if isinstance(op, keras.layers.Layer) and "training" in op._call_signature.parameters:
            kwargs = {**kwargs, "training": False}
        return op(*args, **kwargs)

    return call


def _states(model: keras.Model) -> dict[str, tf.TensorSpec]:
    """The states of all recurrent layers, by layer and number."""
    found: dict[str, tf.TensorSpec] = {}
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Bidirectional) or getattr(layer, "go_backwards", False):
            raise ValueError(f"{layer.name} reads backwards, which no step can; {_MEND}")
        if not isinstance(layer, keras.layers.RNN):
            continue
        for n, size in enumerate(keras.tree.flatten(layer.cell.state_size)):
            if type(layer).__name__.startswith("ConvLSTM"):
                raise ValueError(f"{layer.name} has pictures for states; {_MEND}")
            name = _name(layer, n)
            found[name] = spec([None, size], layer.compute_dtype, name)
    if not found:
        raise ValueError(f"{model.name} has no recurrent layer; leave --step away")
    return found


def _name(layer: keras.Layer, number: int) -> str:
    return f"{clean(layer.name)}_state_{number}"


def _cell(
    layer: Any, args: Any, kwargs: Mapping[str, Any], tensors: Mapping[str, tf.Tensor],
    after: dict[str, tf.Tensor], timed: bool,
) -> Any:  # fmt: skip
    """One call of a layer's cell."""
    if len(args) > 1 or kwargs.get("initial_state") is not None:
        raise ValueError(f"{layer.name} begins with a state that the model makes")
    x = args[0][:, 0] if timed else args[0]
    size = layer.cell.state_size
    flat = [tensors[_name(layer, n)] for n in range(len(keras.tree.flatten(size)))]
    states = keras.tree.pack_sequence_as(size, flat) if isinstance(size, list | tuple) else flat
    said, new = layer.cell(x, states, training=False)
    found = keras.tree.flatten(new)
    after.update({_name(layer, n): t for n, t in enumerate(found)})
    if timed and layer.return_sequences:
        said = said[:, None]
    return (said, *found) if layer.return_state else said


def _sequence(model: keras.Model, given: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """A short sequence of each input: pieces of the smallest table from 1 on, as 0 may stand for
    nothing to read."""
    layers = model._flatten_layers(include_self=False)
    rows = [layer.input_dim for layer in layers if isinstance(layer, keras.layers.Embedding)]
    rng = np.random.default_rng(1)
    found = {}
    for name, tensor in given.items():
        shape = [tensor.shape[0] or 1, tensor.shape[1] or CHECKED_STEPS, *tensor.shape[2:]]
        if "int" in tensor.dtype:
            found[name] = rng.integers(1, max(2, min(rows, default=2)), shape).astype(tensor.dtype)
        else:
            found[name] = rng.normal(0, 1, shape).astype(tensor.dtype)
    return found


def _check(model: keras.Model, entry: Entry, states: Specs) -> None:
    """Raise ValueError unless steps give what the model gives for the sequence."""
    graph = functional_of(model)
    sequence = _sequence(model, input_names(graph))
    for layer in model._flatten_layers(include_self=False):
        if getattr(layer, "stateful", False):
            layer.reset_states()
    fed = [tf.constant(values) for values in sequence.values()]
    struct = keras.tree.pack_sequence_as(graph.input, fed)
    whole = keras.tree.flatten(model(struct, training=False))
    batch, steps = next(iter(sequence.values())).shape[:2]
    carried = {n: np.zeros([batch, s.shape[1]], s.dtype.as_numpy_dtype) for n, s in states.items()}
    said = []
    for t in range(steps):
        out = entry.call({**{n: a[:, t] for n, a in sequence.items()}, **carried})
        carried = {n: out[n] for n in states}
        said.append(out)
    for name, wanted in zip(output_names(graph), map(np.asarray, whole), strict=True):
        one = said[-1][name]
        got = one if wanted.ndim == one.ndim else np.stack([out[name] for out in said], axis=1)
        most = CHECKED_OFF * max(1.0, float(np.abs(wanted).max()))
        if got.shape != wanted.shape or np.abs(got - wanted).max() > most:
            raise ValueError(f"its steps do not add up to its {name}")
