"""The best weights that a run has left in its checkpoint, read without TensorFlow."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbengine.errors import ModelError

CHECKPOINT = "checkpoint.npz"
_BEST = "best/"


def read_best(path: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """The best weights by their names, and the facts of the checkpoint.

    Raises ValueError where there are none yet, ModelError where the file is none, or damaged.
    """
    if not path.exists():
        raise ValueError(f"{path}: no checkpoint; run `python -m train fit` first")
    damaged = f"{path} is no checkpoint of `python -m train fit`, or a damaged one; train again"
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise ModelError(damaged)
        with np.load(path) as saved:
            facts = json.loads(str(saved["facts"]))
            names = [name for name in saved.files if name.startswith(_BEST)]
            weights = {n.removeprefix(_BEST): saved[n].astype(np.float32) for n in names}
            begun = bool(facts["log"])
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, TypeError, ValueError):
        raise ModelError(damaged) from None
    if not begun:
        raise ValueError(f"{path}: not evaluated yet; go on with `python -m train fit`")
    return weights, facts
