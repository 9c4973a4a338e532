"""A Keras model that reads whole sequences as one step of itself: its recurrent layers replaced by
their cells, whose states go in and out. The mend of a rolled layer, made for you (`--step`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from train.convert.source import Source, Specs, Variable, clean, make_entry, spec

CHECKED_STEPS = 6
CHECKED_OFF = 1e-4  # of the largest value: two orders of summation differ by less
_MEND = "build the step by hand, of cells"


def one_step(model: keras.Model) -> Source:
    """A Keras model's step, checked against the model over a short sequence.

    Raises ValueError where it has no recurrent layers, or one that no step can stand for.
    """
    functional = functional_of(model)
    states = _states(model)
    given = {clean(t.name): t for t in keras.tree.flatten(functional.input)}
    steps = {n: _without_time(n, t) for n, t in given.items()}
    many = len(functional.outputs) > 1
    outputs = [clean(name) for name in (functional.output_names if many else ["output"])]

    def function(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        after: dict[str, tf.Tensor] = {}

        def call(op: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(op, keras.layers.RNN):
                return _cell(op, args, kwargs, tensors, after)
            if isinstance(op, keras.layers.TimeDistributed):
                return op.layer(args[0])
            if isinstance(op, keras.Model):
                return functional_of(op)._run_through_graph(args[0], call_fn=call)
            if isinstance(op, keras.layers.Layer) and "training" in op._call_signature.parameters:
                kwargs = {**kwargs, "training": False}
            return op(*args, **kwargs)

        found = functional._run_through_graph([tensors[n] for n in given], call_fn=call)
        return dict(zip(outputs, keras.tree.flatten(found), strict=True)) | after

    specs = {**steps, **states}
    try:
        entry = make_entry("step", function, specs)
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise ValueError(
            f"{model.name} has a layer that needs the time of a sequence; {_MEND}"
        ) from error
    _check(model, given, outputs, entry.call, states)
    variables = tuple(
        Variable.of(w.path, w.shape, tf.dtypes.as_dtype(w.dtype)) for w in model.weights
    )
    layers = {layer.name: type(layer).__name__ for layer in model._flatten_layers()}
    told = f"one step of {model.name}: each recurrent layer's cell called once (--step)"
    return Source(f"a Keras model, {model.name}", (entry,), variables, (told,), layers=layers)


def functional_of(model: keras.Model) -> Any:
    """The graph of layers of a model: itself, or what a Sequential is inside."""
    return getattr(model, "_functional", None) or model


def _states(model: keras.Model) -> dict[str, tf.TensorSpec]:
    """The states of all recurrent layers, by layer and number."""
    found: dict[str, tf.TensorSpec] = {}
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Bidirectional) or getattr(layer, "go_backwards", False):
            raise ValueError(f"{layer.name} reads backwards, which no step can; {_MEND}")
        if isinstance(layer, keras.layers.RNN):
            for n, size in enumerate(keras.tree.flatten(layer.cell.state_size)):
                name = _name(layer, n)
                found[name] = spec([None, size], layer.compute_dtype, name)
    if not found:
        raise ValueError(f"{model.name} has no recurrent layer; leave --step away")
    return found


def _name(layer: keras.Layer, number: int) -> str:
    return f"{clean(layer.name)}_state_{number}"


def _without_time(name: str, tensor: Any) -> tf.TensorSpec:
    if len(tensor.shape) < 2:
        raise ValueError(f"the input {name} has no time to leave out; {_MEND}")
    return spec([tensor.shape[0], *tensor.shape[2:]], tensor.dtype, name)


def _cell(
    layer: Any, args: Any, kwargs: Mapping[str, Any], tensors: Mapping[str, tf.Tensor],
    after: dict[str, tf.Tensor],
) -> Any:  # fmt: skip
    """One call of a layer's cell; its states go into `after`."""
    if len(args) > 1 or kwargs.get("initial_state") is not None:
        raise ValueError(f"{layer.name} begins with a state that the model makes; {_MEND}")
    size = layer.cell.state_size
    count = len(keras.tree.flatten(size))
    flat = [tensors[_name(layer, n)] for n in range(count)]
    states = keras.tree.pack_sequence_as(size, flat) if isinstance(size, list | tuple) else flat
    said, new = layer.cell(args[0], states, training=False)
    found = keras.tree.flatten(new)
    after.update({_name(layer, n): t for n, t in enumerate(found)})
    return (said, *found) if layer.return_state else said


def _check(
    model: keras.Model, given: Mapping[str, Any], outputs: list[str], call: Any, states: Specs
) -> None:
    """Raise ValueError unless steps give what the model gives for the sequence."""
    rng = np.random.default_rng(1)
    sequence = {
        n: rng.integers(0, 2, (1, CHECKED_STEPS, *t.shape[2:])).astype(t.dtype)
        for n, t in given.items()
    }
    fed = [tf.constant(values) for values in sequence.values()]
    struct = keras.tree.pack_sequence_as(functional_of(model).input, fed)
    whole = keras.tree.flatten(model(struct, training=False))
    carried = {n: np.zeros([1, *s.shape[1:]], s.dtype.as_numpy_dtype) for n, s in states.items()}
    said = []
    for t in range(CHECKED_STEPS):
        out = call({**{n: a[:, t] for n, a in sequence.items()}, **carried})
        carried = {n: out[n] for n in states}
        said.append(out)
    for name, wanted in zip(outputs, map(np.asarray, whole), strict=True):
        one = said[-1][name]
        got = one if wanted.ndim == one.ndim else np.stack([out[name] for out in said], axis=1)
        if got.shape != wanted.shape or np.abs(got - wanted).max() > CHECKED_OFF * max(
            1.0, float(np.abs(wanted).max())
        ):
            raise ValueError(f"steps of {model.name} do not add up to its {name}; {_MEND}")
