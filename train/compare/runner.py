"""Runs the engines' processes, in turns, and reads what they found."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbengine.errors import ModelError
from train.agreement import Agreement
from train.compare.engines import FLOAT32, INT8, KINDS, PIECES
from train.exported import int8_model
from train.trained import Trained

ROOT = Path(__file__).parent.parent.parent

Run = dict[str, dict[str, Any]]  # what `train.compare.worker` found, by kind, in their order


@dataclass(frozen=True)
class Plan:
    """steps: of each process, but for kinds with a smaller share; checked: over so many the
    predictions are compared."""

    steps: int = 10_000
    runs: int = 3
    threads: int = 1
    kinds: Sequence[str] = tuple(KINDS)
    checked: int = 200

    @property
    def reference(self) -> str:
        """The kind that the predictions of the others are compared with."""
        return "function" if "function" in self.kinds else self.kinds[0]

    def steps_of(self, kind: str) -> int:
        """How many steps a process of this kind is timed over."""
        return max(2, round(self.steps * KINDS[kind].share))


@dataclass(frozen=True)
class Measured:
    """The runs, and how near each kind's predictions are to those of `Plan.reference`."""

    runs: Sequence[Run]
    agreements: dict[str, Agreement]


def measure(
    trained: Trained, pieces: NDArray[np.int32], plan: Plan, tick: Callable[[float], None]
) -> Measured:
    """Every kind in a process of its own, `plan.runs` times, every other time from the last to the
    first. tick: gets how many steps were done since it was called before.

    Raises ModelError where a process fails, or where its predictions are others.
    """
    with _prepared(trained, pieces) as folder:
        runs: list[Run] = []
        for turn in range(plan.runs):
            order = list(plan.kinds)[:: -1 if turn % 2 else 1]
            checked = 0 if turn else plan.checked
            runs.append({kind: _run(kind, folder, plan, checked, tick) for kind in order})
        return Measured(runs, _agreements(folder, pieces, plan))


@contextlib.contextmanager
def _prepared(trained: Trained, pieces: NDArray[np.int32]) -> Iterator[Path]:
    """A folder with all that the processes read."""
    with tempfile.TemporaryDirectory(prefix="kbengine-compare-") as name:
        folder = Path(name)
        for weight, values in trained.weights.items():
            np.save(folder / f"{weight}.npy", values)
        np.save(folder / PIECES, pieces)
        float32, int8 = _step_models(trained, pieces)
        (folder / FLOAT32).write_bytes(float32)
        (folder / INT8).write_bytes(int8)
        yield folder


def _step_models(trained: Trained, pieces: NDArray[np.int32]) -> tuple[bytes, bytes]:
    """The float model as a `.tflite` that gives log-probabilities, and the int8 one."""
    import tensorflow as tf

    from train.convert.modes import convert
    from train.plainstep import PlainStep

    plain = PlainStep(trained.weights)

    def step(piece: tf.Tensor, state: tf.Tensor) -> dict[str, tf.Tensor]:
        logits, after = plain(piece, state)
        return {"logp": tf.nn.log_softmax(logits), "state": after}

    function = tf.function(step, input_signature=plain.inputs(batch=1))
    float32 = convert({"step": function.get_concrete_function()}, "float32")
    return float32, int8_model(trained, pieces)


def _run(
    kind: str, folder: Path, plan: Plan, checked: int, tick: Callable[[float], None]
) -> dict[str, Any]:
    """One process; what it found, and `start_ms`, from the call that starts it to the first
    prediction."""
    from train.compare.worker import DOTS

    steps = plan.steps_of(kind)
    numbers = map(str, (steps, min(checked, steps), plan.threads))
    command = [sys.executable, "-m", "train.compare.worker", kind, str(folder), *numbers]
    log = folder / "stderr.txt"
    with log.open("w", encoding="utf-8") as errors:
        began = time.time()
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        ) as child:  # fmt: skip
            assert child.stdout is not None
            while child.stdout.read(1):
                tick(steps / DOTS)
    if child.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        why = last[0] if last else f"it ended with status {child.returncode}"
        raise ModelError(f"the process of {KINDS[kind].label!r} failed: {why}")
    found: dict[str, Any] = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
    return found | {"start_ms": 1e3 * (found.pop("first_time") - began)}


def _agreements(folder: Path, pieces: NDArray[np.int32], plan: Plan) -> dict[str, Agreement]:
    """Of every kind's predictions with the reference's. Raises ModelError where one is off."""
    found: dict[str, Agreement] = {}
    wanted = np.load(folder / f"{plan.reference}.npy")
    for kind in plan.kinds:
        found[kind] = Agreement()
        rows = np.load(folder / f"{kind}.npy")
        for row, right, got in zip(wanted, pieces[1:].tolist(), rows, strict=False):
            found[kind].add(row, got, right)
        found[kind].check(f"the prediction of {KINDS[kind].label!r}")
    return found
