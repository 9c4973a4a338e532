"""What a Keras model of layers tells of itself: the names of its ends, its layers, its weights."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from train.convert.source import Variable, clean


def functional_of(model: keras.Model) -> Any:
    """The graph of layers of a model: itself, or what a Sequential is inside.

    Raises ValueError where it has none.
    """
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"the model {model.name} has no known inputs: it is a class of its own that was not "
            "built by Input layers; wrap it in a function and give MODULE:FUNCTION"
        )
    return getattr(model, "_functional", None) or model


def input_names(graph: Any) -> dict[str, Any]:
    """Inputs by name, in the order in which Keras flattens them."""
    names: dict[str, Any] = {}
    for tensor in keras.tree.flatten(graph.input):
        names[clean(tensor.name, names)] = tensor
    return names


def output_names(graph: Any) -> list[str]:
    """The names of outputs in their order: those of their layers, numbered where one gives many."""
    names: list[str] = []
    known = list(graph.output_names)
    for n, tensor in enumerate(graph.outputs):
        same = len(known) == len(graph.outputs)
        names.append(clean(known[n] if same else tensor.name, names))
    return names


def layers_of(model: keras.Model) -> dict[str, str]:
    """The classes of all layers by name."""
    found = model._flatten_layers(include_self=False)
    return {layer.name: type(layer).__name__ for layer in found}


def variables_of(model: keras.Model) -> tuple[Variable, ...]:
    """All weights."""
    return tuple(Variable.of(w.path, w.shape, tf.dtypes.as_dtype(w.dtype)) for w in model.weights)
