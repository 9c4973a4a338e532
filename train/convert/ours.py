"""A model of ours as a source: a bundle, a work folder, a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from kbengine.vocab import BOS
from train.convert.source import Source, Variable, make_entry
from train.exported import int4_model, int8_model
from train.plainstep import PlainStep
from train.stages import JUDGED_PIECES
from train.trained import read_trained


def read_ours(path: Path) -> Source:
    """The two entries that the engine steps, `state` and `logits`. In the modes `dynamic` and
    `int4` it is converted as `train export` does, so that the table is stored once.

    Raises ModelError, BundleError or ValueError where there is no such model.
    """
    trained = read_trained(path)
    step = PlainStep(trained.weights)
    piece, state = step.inputs()

    specs = {"piece": piece, "state": state}
    entries = (make_entry("logits", step.logits, specs), make_entry("state", step.state, specs))
    variables = tuple(
        Variable.of(name, values.shape, tf.dtypes.as_dtype(values.dtype))
        for name, values in sorted(trained.weights.items())
    )
    what = "the best weights" if trained.exact else "what the int8 weights stand for"
    return Source(
        f"a model of ours, {trained.name}: {what}",
        entries,
        variables,
        converters={
            "dynamic": lambda: int8_model(trained, _judged(path, trained.pieces)),
            "int4": lambda: int4_model(trained, _judged(path, trained.pieces)),
        },
        vocabulary=trained.vocabulary,
    )


def _judged(path: Path, pieces: int) -> np.ndarray:
    """Pieces by which the loudness of cells is judged: dev text of the run, or any."""
    for folder in (path, path.parent, path.parent.parent):
        if (folder / "dev.npy").exists():
            dev = np.load(folder / "dev.npy")[:JUDGED_PIECES]
            return np.concatenate([[BOS], dev]).astype(np.int64)
    return np.random.default_rng(1).integers(0, pieces, JUDGED_PIECES)
