"""The process of one engine: ``python -m train.compare.worker KIND FOLDER STEPS CHECKED THREADS``.

Steps the pieces in the folder and leaves KIND.json there, and KIND.npy with the predictions of
the first CHECKED of them, made anew once all is measured. Says a dot now and then. Nothing is
imported at first that is not needed to look at the clock and at memory.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

DOTS = 20  # a run


def memory() -> tuple[int | None, int | None]:
    """Bytes resident now, and at the peak; None where the system does not tell (it is Linux's)."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            facts = dict(line.split(":", 1) for line in status)
    except OSError:
        return None, None
    now, peak = (int(facts[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, peak


def measure(kind: str, folder: Path, steps: int, checked: int, threads: int) -> dict[str, Any]:
    """Times in ns and memory in bytes, at the places that `train.compare.figures` names."""
    started, _ = memory()
    from train.compare.engines import KINDS, PIECES

    module, name = KINDS[kind].place
    make = getattr(import_module(f"train.compare.{module}"), name)
    if KINDS[kind].library == "tensorflow":
        import_module("train.compare.graphs").use_threads(threads)
    imported, _ = memory()

    import numpy as np

    pieces = np.load(folder / PIECES)[: steps + 1].tolist()
    engine = make(folder, threads)
    engine.step(pieces[0])
    first_time = time.time()
    ready, _ = memory()
    times_ns = np.zeros(steps, np.int64)
    cpu_ns = time.process_time_ns()
    for i, piece in enumerate(pieces[1:]):
        began = time.perf_counter_ns()
        engine.step(piece)
        times_ns[i] = time.perf_counter_ns() - began
        if i * DOTS // steps != (i + 1) * DOTS // steps:
            print(".", end="", flush=True)
    cpu_ns = time.process_time_ns() - cpu_ns
    steady, peak = memory()
    found = {
        "steps": steps, "total_ns": int(times_ns.sum()), "cpu_ns": cpu_ns,
        "p50_ns": float(np.percentile(times_ns, 50)), "p99_ns": float(np.percentile(times_ns, 99)),
        "first_time": first_time, "started_bytes": started, "imported_bytes": imported,
        "ready_bytes": ready, "steady_bytes": steady, "peak_bytes": peak,
    }  # fmt: skip
    if checked:
        engine = make(folder, threads)
        np.save(folder / f"{kind}.npy", [engine.step(piece) for piece in pieces[:checked]])
    if kind == "bare":
        found |= _bandwidth(engine, folder)
    return found


def _bandwidth(engine: Any, folder: Path) -> dict[str, Any]:
    """Bytes that a step reads, and the speed of that beside a plain read of as many, taking
    turns; see `kbengine.bench.steps`."""
    import numpy as np

    from kbengine.bench.clock import interleave
    from kbengine.bench.weights import weight_bytes
    from train.compare.engines import INT8

    size = weight_bytes((folder / INT8).read_bytes())["logits"]
    calls: dict[str, Callable[[], object]] = {
        "step": lambda: engine.step(3), "read": np.ones(size // 4, np.int32).max,
    }  # fmt: skip
    samples = interleave(calls, rounds=100, burst=10, warm_up=3, tick=lambda: None)
    step, read = (float(np.median(samples[name].wall_ns)) for name in ("step", "read"))
    return {"weight_bytes": size, "step_gb_s": size / step, "read_gb_s": size / read}


def main() -> None:
    """Measure, as the arguments say."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    steps, checked, threads = map(int, sys.argv[3:])
    found = measure(kind, folder, steps, checked, threads)
    (folder / f"{kind}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
