"""A trained model's file as `train export` makes it, and the same with its products in int4."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from train.trained import Trained

if TYPE_CHECKING:
    from train.model import RecurrentLM


def int8_model(trained: Trained, pieces: NDArray[np.integer]) -> bytes:
    """Its int8 `.tflite`, made where there is none; pieces: of real text, see `train.spread`."""
    if trained.step_model is not None:
        return trained.step_model
    from train.export import convert

    return convert(_model(trained), pieces)


def int4_model(trained: Trained, pieces: NDArray[np.integer]) -> bytes:
    """The graph of the int8 file with int4 weights in its products. The rows of the table are
    read from one that stays int8, as the runtime reads none of int4.

    Raises ModelError where the quantizer gives up.
    """
    from train.convert.modes import convert
    from train.export import StepModule
    from train.spread import spread

    weights = spread(_model(trained), pieces)
    module = StepModule(weights, len(weights["gain"]) // 4)
    functions = (f.get_concrete_function() for f in module.signatures())
    return convert(dict(zip(("state", "logits"), functions, strict=True)), "int4")


def _model(trained: Trained) -> RecurrentLM:
    from train.model import ModelOptions, RecurrentLM

    model = RecurrentLM(ModelOptions(trained.pieces, trained.width, trained.cells))
    model.assign_by_name(trained.weights)
    return model
