"""Ask the native runtime about a file, in a child process that may crash or hang alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kbengine.inspect.graph import Subgraph

TIMEOUT_S = 60.0
TIMING_S = 60.0  # more where steps are timed


@dataclass(frozen=True, slots=True)
class Delegation:
    """What XNNPACK takes of a subgraph: for each part that it runs in one go the ops of
    it, by number. error: why it is not known."""

    parts: tuple[tuple[int, ...], ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the runtime said before it ended; `trouble` is how it ended where not well.

    stepped: whether the engine's adapter could step the model, None where it was not tried.
    opened: how many entries each part of a bundle has. times: of a subgraph by index, as
    `kbengine.inspect.timing` measures them.
    """

    trouble: str = ""
    delegates: Mapping[int, Any] = field(default_factory=dict)
    errors: Mapping[int, str] = field(default_factory=dict)
    stepped: bool | None = None
    step_error: str = ""
    opened: Mapping[str, int] = field(default_factory=dict)
    open_error: str = ""
    times: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def delegation(self, subgraph: Subgraph) -> Delegation:
        """What XNNPACK takes of one subgraph."""
        if subgraph.index not in self.delegates:
            return Delegation(error=self.errors.get(subgraph.index, self.trouble or "not asked"))
        found = self.delegates[subgraph.index]
        return Delegation(tuple(_replaced(subgraph, d["inputs"], d["outputs"]) for d in found))

    def time(self, subgraph: int) -> Mapping[str, Any]:
        """calls, p50_ms and p99_ms of a subgraph, or the `error` why they are not known."""
        return self.times.get(subgraph, {"error": self.trouble or "not asked"})


def ask(path: Path, timeout_s: float = TIMEOUT_S, timing: bool = False) -> Answers:
    """Start the child and gather what it says of a file, with `timing` also how long a step
    takes, for which it gets TIMING_S more."""
    timeout_s += TIMING_S if timing else 0.0
    package = Path(__file__).parent.parent.parent
    search = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        # -P: a folder that holds models may hold a kbengine.py as well.
        done = subprocess.run(
            [sys.executable, "-P", "-m", "kbengine.inspect.probe", str(path.resolve()),
             *(["--time"] if timing else [])],
            env={**os.environ, "PYTHONPATH": search},
            stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        trouble = f"the runtime did not come to an end with this file in {timeout_s:g} s"
        return _gather(error.stdout or b"", trouble)
    return _gather(done.stdout, _trouble(done.returncode, done.stderr))


def _trouble(status: int, told: bytes) -> str:
    if status == 0:
        return ""
    lines = told.decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    name = f"signal {-status}"
    if -status in set(signal.Signals):
        name = signal.Signals(-status).name
    how = f"it died of {name}" if status < 0 else last[:200] or f"exit status {status}"
    return f"the runtime crashed on this file ({how})"


def _gather(output: bytes, trouble: str) -> Answers:
    delegates, errors, times = {}, {}, {}
    rest: dict[str, Any] = {}
    for line in output.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break  # cut off
        answer = json.loads(line)
        error = answer.get("error", "")
        if "delegates" in answer:
            delegates[answer["subgraph"]] = answer["delegates"]
        elif "timed" in answer:
            times[answer.pop("timed")] = answer
        elif "subgraph" in answer:
            errors[answer["subgraph"]] = error
        elif "stepped" in answer:
            rest |= {"stepped": answer["stepped"], "step_error": error}
        else:
            rest |= {"opened": answer["opened"] or {}, "open_error": error}
    return Answers(trouble, delegates, errors, times=times, **rest)


def _replaced(subgraph: Subgraph, inputs: list[int], outputs: list[int]) -> tuple[int, ...]:
    """The ops that a delegate's node stands for: all from its outputs back to its inputs.

    The runtime does not list them. It names as inputs all tensors that the ops read and
    did not make themselves, constants too, so that the way back can't go beyond.
    What leads to no output at all, only to the write of a variable, is not found.
    """
    makers = {t: i for i, op in enumerate(subgraph.ops) for t in op.outputs}
    found: set[int] = set()
    known, left = set(inputs), list(outputs)
    while left:
        tensor = left.pop()
        if tensor in known:
            continue
        known.add(tensor)
        if tensor in makers:
            maker = makers[tensor]
            found.add(maker)
            left += subgraph.ops[maker].inputs
    return tuple(sorted(found))
