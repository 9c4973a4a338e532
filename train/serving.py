"""A trained model as a SavedModel for TensorFlow Serving: docs/serving.md tells how it is started
and asked.

What is written is the float model, in a folder per version as the server wants it:

    OUT/1/saved_model.pb  variables/         the signatures `step` and `serving_default`, the same
    OUT/1/assets/vocabulary.model            for clients, which send pieces and not text

It is looked at in a process of its own (`train.served`) before it gets its name.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kbengine.errors import ModelError
from kbengine.folders import make_folder
from train.exported import int8_model
from train.pieces import DEFAULT_TEXT, read_pieces
from train.trained import SOURCE, Trained, read_trained

if TYPE_CHECKING:
    pass

HELP = "write a SavedModel for TensorFlow Serving, if it agrees with the .tflite"
VOCABULARY = "vocabulary.model"  # among the assets
STEPS = 1000
ROOT = Path(__file__).parent.parent


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help=SOURCE)
    add("--out", type=Path, required=True, metavar="DIR", help="what the server gets as base path")
    add("--version", type=int, default=1, help="the folder in it (default: %(default)s)")
    add("--text", type=Path, nargs="+", default=[DEFAULT_TEXT], metavar="FILE",
        help="what both models are stepped over (default: data/chat_dev.txt)")  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Write the folder of a version. Raises ModelError, and leaves nothing, where it is off."""
    if args.version < 1:
        raise ValueError(f"--version {args.version} is no version of a server; give 1 or more")
    trained = read_trained(args.source)
    pieces = read_pieces(args.text, trained.vocabulary, STEPS + 1)
    found = write(trained, args.out, args.version, pieces)
    print(
        f"serving: {args.out / str(args.version)}, {found['bytes'] / 1e6:.1f} MB; {found['told']}"
    )


def write(trained: Trained, out: Path, version: int, pieces: NDArray[np.int32]) -> dict[str, Any]:
    """Write OUT/VERSION and check it over `pieces`, real text; what `train.served` found, and
    `bytes`.

    Raises ModelError where it does not agree with the `.tflite`, and ValueError where that
    version is there already; nothing is left behind then.
    """
    place = out / str(version)
    if place.exists():
        raise ValueError(f"{place} is there already; give another --version, or remove it")
    parent = out.absolute().parent
    if not parent.is_dir():
        raise ValueError(f"{parent} is no folder; give --out in one that is there")
    with tempfile.TemporaryDirectory(prefix=".serving-", dir=parent) as name:
        folder = Path(name)
        _save(trained, folder / "model")
        (folder / "model.tflite").write_bytes(int8_model(trained, pieces))
        np.save(folder / "pieces.npy", pieces)
        found = _checked(folder)
        make_folder(out, "--out")
        (folder / "model").rename(place)
    sizes = (path.stat().st_size for path in place.rglob("*") if path.is_file())
    return {**found, "bytes": sum(sizes)}


def _save(trained: Trained, folder: Path) -> None:
    """The SavedModel, unchecked."""
    import tensorflow as tf

    from train.plainstep import PlainStep

    # Not tied: 1.5 ms for one row and 2.8 for eight, against 2.6 and 5.1, base on one core.
    module = PlainStep(trained.weights, variables=True, tied=False)

    with tempfile.TemporaryDirectory() as name:
        vocabulary = Path(name) / VOCABULARY
        vocabulary.write_bytes(trained.vocabulary)
        module.vocabulary = tf.saved_model.Asset(str(vocabulary))
        function = tf.function(module.logits, input_signature=module.inputs())
        signatures = {"step": function, "serving_default": function}
        tf.saved_model.save(module, str(folder), signatures=signatures)


def _checked(folder: Path) -> dict[str, Any]:
    """What a fresh process finds. Raises ModelError, with its sentence, where that is no good."""
    child = subprocess.run(
        [sys.executable, "-m", "train.served", str(folder.absolute())],
        cwd=ROOT, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    if child.returncode:
        last = child.stderr.strip().splitlines()[-1:] or ["the process that checks it failed"]
        raise ModelError(f"{last[0]}; nothing was written")
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return found
