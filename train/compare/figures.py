"""Medians over the runs, and what becomes of the targets."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from train.compare.engines import KINDS
from train.compare.libraries import TENSORFLOW, sizes
from train.compare.runner import Measured, Plan, Run

MS, MB = 1e6, 1e6  # ns in a millisecond, bytes in a megabyte


class Target(NamedTuple):
    """A ratio within one run, at least or at most so much. own, other: kinds."""

    name: str
    limit: float
    at_least: bool
    own: str
    other: str
    of: Callable[[Run], float | None]

    def verdict(self, runs: Sequence[Run]) -> dict[str, Any] | None:
        """The median of the ratio over the runs, the least and the most; None where it was not
        measured."""
        if not {self.own, self.other} <= set(runs[0]):
            return None
        values = [value for run in runs if (value := self.of(run)) is not None]
        if not values:
            return None
        middle = median(values)
        reached = middle >= self.limit if self.at_least else middle <= self.limit
        return {
            "target": self.name, "limit": self.limit, "at_least": self.at_least,
            "value": middle, "least": min(values), "most": max(values), "reached": reached,
        }  # fmt: skip


def _faster(own: str, other: str) -> Callable[[Run], float | None]:
    return lambda run: run[other]["p50_ns"] / run[own]["p50_ns"]


def _share(own: str, other: str, figure: Callable[[Mapping[str, Any]], int | None]) -> Any:
    def of(run: Run) -> float | None:
        a, b = figure(run[own]), figure(run[other])
        return None if a is None or not b else a / b

    return of


def added_bytes(found: Mapping[str, Any]) -> int | None:
    """What loading adds: weights read, model built, first step made."""
    if found["ready_bytes"] is None:
        return None
    return int(found["ready_bytes"] - found["imported_bytes"])


def _library(figure: str) -> Callable[[Run], float]:
    return lambda run: sizes("ai-edge-litert")[figure] / sizes("tensorflow")[figure]


TARGETS = (
    Target("times faster a step than tf.function", 20, True, "int8", "function",
           _faster("int8", "function")),
    Target("times faster a step than tf.function, untied", 20, True, "int8", "untied",
           _faster("int8", "untied")),
    Target("times faster a step than the Keras layers", 100, True, "int8", "layers",
           _faster("int8", "layers")),
    Target("of tf.function's memory, steady", 1 / 8, False, "int8", "function",
           _share("int8", "function", lambda found: found["steady_bytes"])),
    Target("of the memory that loading adds to tf.function", 1 / 8, False, "int8", "function",
           _share("int8", "function", added_bytes)),
    Target("of TensorFlow's size on disk, by themselves", 1 / 20, False, "int8", "function",
           _library("own_bytes")),
    Target("of TensorFlow's size on disk, with what they require", 1 / 20, False, "int8",
           "function", _library("closure_bytes")),
    Target("of the cache's bandwidth, in the bare step", 0.70, True, "bare", "bare",
           lambda run: run["bare"]["step_gb_s"] / run["bare"]["read_gb_s"]),
)  # fmt: skip


def figures(measured: Measured, plan: Plan, model: str, text: str) -> dict[str, Any]:
    """All there is to tell, for JSON and the report."""
    rows = [_row(kind, measured, plan) for kind in plan.kinds]
    verdicts = [target.verdict(measured.runs) for target in TARGETS]
    return {
        "kbengine_compare": 1,
        "model": model,
        "text": text,
        "machine": _machine(),
        "plan": {
            "steps": plan.steps, "runs": plan.runs, "threads": plan.threads,
            "checked": plan.checked, "reference": KINDS[plan.reference].label,
        },
        "rows": rows,
        "verdicts": [verdict for verdict in verdicts if verdict],
        "runs": list(measured.runs),
    }  # fmt: skip


def _row(kind: str, measured: Measured, plan: Plan) -> dict[str, Any]:
    """Medians over the runs of one kind; times in ms, memory in MB."""

    def middle(of: Callable[[Mapping[str, Any]], float | None], unit: float) -> float | None:
        values = [value for run in measured.runs if (value := of(run[kind])) is not None]
        return median(values) / unit if values else None

    library = sizes(KINDS[kind].library)
    agreement = measured.agreements.get(kind)
    return {
        "kind": kind,
        "label": KINDS[kind].label,
        "note": KINDS[kind].note,
        "steps": plan.steps_of(kind),
        "total_ms": middle(lambda found: found["total_ns"], MS),
        "cpu_ms": middle(lambda found: found["cpu_ns"], MS),
        "p50_ms": middle(lambda found: found["p50_ns"], MS),
        "p99_ms": middle(lambda found: found["p99_ns"], MS),
        "start_ms": middle(lambda found: found["start_ms"], 1),
        "started_mb": middle(lambda found: found["started_bytes"], MB),
        "imported_mb": middle(lambda found: found["imported_bytes"], MB),
        "added_mb": middle(added_bytes, MB),
        "steady_mb": middle(lambda found: found["steady_bytes"], MB),
        "peak_mb": middle(lambda found: found["peak_bytes"], MB),
        "library_mb": library["own_bytes"] / MB,
        "closure_mb": library["closure_bytes"] / MB,
        "agreement": agreement.figures() if agreement else None,
        **({
            name: middle(lambda found, name=name: found[name], 1)  # type: ignore[misc]
            for name in ("weight_bytes", "step_gb_s", "read_gb_s")
        } if kind == "bare" else {}),
    }  # fmt: skip


def _machine() -> dict[str, Any]:
    """Where it was measured, and with which versions."""
    versions = {}
    for name in (*TENSORFLOW, "keras", "ai-edge-litert", "numpy"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(), "cores": os.cpu_count(), "system": platform.system(),
        "python": platform.python_version(), "versions": versions,
    }  # fmt: skip


def _processor() -> str:
    """The processor's name, as well as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
