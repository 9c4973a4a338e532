"""Start-up and memory, measured in fresh processes that do nothing else.

The first process is not counted: it brings the files into the disk cache, so that the start
is that of a program that ran before. Bytecode is cached as the environment has it
(`PYTHONDONTWRITEBYTECODE` makes every start compile what is not).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent.parent

# Prints its figures at the end: times in ms, memory in bytes; and when the first
# suggestion stood, by the clock of the day, which other processes share. Linux knows what is
# resident now and was at the peak, other systems the peak alone, Windows neither.
_PROGRAM = """
import json, sys, time
sys.path.insert(0, sys.argv[1])

def memory():
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            facts = dict(line.split(":", 1) for line in status)
        return [int(facts[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")]
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return [None, None]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return [None, peak * (1 if sys.platform == "darwin" else 1024)]

lines, slots, n = json.loads(sys.stdin.read())
python = memory()
began = time.perf_counter()
import kbengine
imported = time.perf_counter()
engine = kbengine.load(sys.argv[2])
loaded, after_load = time.perf_counter(), memory()
field = engine.session(slots)
field.set_context("")
field.suggest(n)
first, first_time = time.perf_counter(), time.time()
for line in lines:
    field.set_context("")
    for char in line:
        field.type(char)
        field.suggest(n)
after_typing = memory()
print(json.dumps({
    "import_ms": 1e3 * (imported - began), "load_ms": 1e3 * (loaded - imported),
    "first_suggestion_ms": 1e3 * (first - loaded), "first_time": first_time,
    "python_bytes": python[0], "after_load_bytes": after_load[0],
    "after_typing_bytes": after_typing[0], "peak_bytes": after_typing[1],
}))
"""
STEPS = ("import_ms", "load_ms", "first_suggestion_ms", "whole_ms")
PLACES = ("python_bytes", "after_load_bytes", "after_typing_bytes", "peak_bytes")


def start(bundle: Path, lines: Sequence[str], slots: str, n: int) -> dict[str, Any]:
    """One process: loads the bundle, suggests, types the lines, and is gone.

    Times by `STEPS` (`whole_ms`: from the call that starts Python to the first suggestion,
    as seen from outside), memory by `PLACES`, None where the system does not tell.
    Raises ValueError, with what the process said, where it fails.
    """
    began = time.time()
    child = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(ROOT), str(bundle.resolve())],
        input=json.dumps([list(lines), slots, n]), capture_output=True, encoding="utf-8",
        check=False,
    )  # fmt: skip
    if child.returncode:
        last = child.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise ValueError(f"the process that measures the start failed: {last[0]}")
    found: dict[str, Any] = json.loads(child.stdout)
    return found | {"whole_ms": 1e3 * (found.pop("first_time") - began)}


def measure_process(
    bundle: Path, lines: Sequence[str], slots: str, n: int, starts: int, tick: Callable[[], None]
) -> dict[str, Any]:
    """start: for each of `STEPS` the median of some starts, the least and the most; memory: for
    each of `PLACES` the bytes in the last of them."""
    runs = []
    for turn in range(starts + 1):
        # Only the last one types: the others are there for the start alone.
        runs.append(start(bundle, lines if turn == starts else (), slots, n))
        tick()
    times = {step: [run[step] for run in runs[1:]] for step in STEPS}
    return {
        "start": {
            step: {"p50": round(median(ms), 1), "min": round(min(ms), 1), "max": round(max(ms), 1)}
            for step, ms in times.items()
        }
        | {"count": starts, "bytecode_written": not sys.dont_write_bytecode},
        "memory": {place: runs[-1][place] for place in PLACES},
    }
