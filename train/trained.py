"""A trained model from wherever it stands: a bundle, a work folder, a phase of one, a checkpoint.

For what is done with a model once it is trained: other formats, servers, comparisons. A
checkpoint holds the float weights themselves. A bundle holds the int8 model alone, so its
weights are those that the int8 ones stand for (`train.dequantized`), which is how a model
can be looked at that somebody else trained.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kbengine.errors import BundleError, ModelError
from kbengine.restored import read as read_bundle
from kbengine.vocab import Vocabulary
from train.checkpoint import CHECKPOINT, read_best
from train.dequantized import read_weights
from train.stages import best_row, phase_folders

SOURCE = "a .bundle, or a --work folder of `python -m train fit`, a phase of it, or its checkpoint"
_WEIGHTS = ("table", "bias", "input", "state", "gate_bias", "projection")


@dataclass(frozen=True)
class Trained:
    """A model and its vocabulary.

    name: for people. weights: float32 by name, as `train.model.RecurrentLM.weights_by_name`
    gives them. vocabulary: a SentencePiece model. step_model: the int8 `.tflite` of these
    weights, where there is one. exact: whether the weights are those of the training, and not
    what an int8 model stands for.
    """

    name: str
    weights: dict[str, NDArray[np.float32]]
    vocabulary: bytes
    step_model: bytes | None
    exact: bool

    @property
    def cells(self) -> int:
        """H: how many cells there are."""
        return len(self.weights["projection"])

    @property
    def width(self) -> int:
        """P: the columns of the table."""
        return int(self.weights["table"].shape[1])

    @property
    def pieces(self) -> int:
        """V: the rows of the table."""
        return len(self.weights["table"])


def read_trained(path: Path) -> Trained:
    """The model at `path`, which is `SOURCE`.

    Raises ModelError or BundleError where it is none of those, or a damaged one, and
    ValueError where a run has left no model there yet.
    """
    if path.is_dir():
        is_phase = (path / CHECKPOINT).exists()
        return _of_phase(path) if is_phase else _of_phase(phase_folders(path)[-1], path.name)
    if path.name == CHECKPOINT and path.exists():
        return _of_phase(path.parent)
    if path.suffix in (".npz", ".tflite"):
        raise ModelError(f"{path} is no model with its vocabulary; give {SOURCE}")
    return _of_bundle(path)


def _of_bundle(path: Path) -> Trained:
    bundle = read_bundle(path)
    family = bundle.manifest["family"]
    if family != "lstm-tflite":
        raise BundleError(f"{path} holds a model of the family {family!r}, which has no weights")
    model = bundle.parts["model"]
    found = Trained(
        path.stem, read_weights(model), bundle.parts["vocabulary"], model, exact=False
    )  # fmt: skip
    return _checked(path, found)


def _of_phase(folder: Path, name: str = "") -> Trained:
    """The best weights of a phase's folder, which stands in the work folder."""
    path, work = folder / CHECKPOINT, folder.absolute().parent
    weights, facts = read_best(path)
    if missing := set(_WEIGHTS) - weights.keys():
        raise ModelError(f"{path} lacks the weights {', '.join(sorted(missing))}; train again")
    best_step = int(best_row(facts["log"])["step"])
    vocabulary = work / "vocab.model"
    if not vocabulary.exists():
        raise ValueError(f"{path}: its vocabulary is missing; {vocabulary} should hold it")
    step_model = _exported(work, folder.name, best_step)
    found = Trained(
        name or f"{work.name}-{folder.name}", weights, vocabulary.read_bytes(), step_model,
        exact=True,
    )  # fmt: skip
    return _checked(path, found)


def _exported(work: Path, phase: str, step: int) -> bytes | None:
    """The int8 model in a work folder where it was made of that phase's best step."""
    model, facts = work / "model.tflite", work / "export.json"
    if not (model.exists() and facts.exists()):
        return None
    made = json.loads(facts.read_text(encoding="utf-8"))
    fits = (f"phase{made.get('phase')}", made.get("step")) == (phase, step)
    return model.read_bytes() if fits else None


def _checked(path: Path, found: Trained) -> Trained:
    """Raise ModelError where the shapes do not go together."""
    v, p, h = found.pieces, found.width, found.cells
    shapes = {
        "table": (v, p), "bias": (v,), "input": (p, 3 * h), "state": (p, 3 * h),
        "gate_bias": (3 * h,), "projection": (h, p),
    }  # fmt: skip
    for name, shape in shapes.items():
        if found.weights[name].shape != shape:
            raise ModelError(f"{path}: the weights {name!r} have another shape than the table")
        if not np.isfinite(found.weights[name]).all():
            raise ModelError(f"{path}: the weights {name!r} are no numbers; train again")
    pieces = len(Vocabulary(found.vocabulary))
    if pieces != v:
        raise ModelError(f"{path}: the model has {v:,} pieces and its vocabulary {pieces:,}")
    return found
