"""How long a call of a graph takes at batch 1; at home in the probe's process only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from kbengine.bench.clock import Samples, no_gc, percentiles

CALLS = 300  # p99 is the third from the top then
WARM_UP = 30
ALL_S = 20.0  # for all graphs of a file; well within `kbengine.inspect.runtime`'s patience
MOST_S = 3.0  # for one of them, warm-up and all: a slow one is called less often


def times(content: bytes, budget_s: float) -> dict[str, Any]:
    """calls, and p50_ms and p99_ms of their wall times, of a model's first subgraph.

    A call writes the inputs (zeros, free dimensions 1), runs on one thread and reads the
    outputs. Raises ValueError, RuntimeError, TypeError or MemoryError, as the runtime does.
    """
    call = _call(content)
    samples = Samples()
    with no_gc():
        start = time.perf_counter()
        call()  # sets up what the others find ready
        for _ in range(WARM_UP):
            if time.perf_counter() - start > budget_s / 10:
                break
            call()
        while not samples or (len(samples) < CALLS and time.perf_counter() - start < budget_s):
            samples.time(call)
    found = percentiles(samples.wall_ns)
    return {"calls": len(samples), "p50_ms": found["p50"], "p99_ms": found["p99"]}


def _call(content: bytes) -> Callable[[], object]:
    interpreter = Interpreter(model_content=content, num_threads=1)
    for detail in interpreter.get_input_details():
        shape = [1 if n == -1 else int(n) for n in detail["shape_signature"]]
        if shape != detail["shape"].tolist():
            interpreter.resize_tensor_input(detail["index"], shape)
    interpreter.allocate_tensors()
    inputs = [
        (d["index"], np.zeros(d["shape"], d["dtype"])) for d in interpreter.get_input_details()
    ]
    outputs = [d["index"] for d in interpreter.get_output_details()]

    def call() -> None:
        for index, zeros in inputs:
            interpreter.set_tensor(index, zeros)
        interpreter.invoke()
        for index in outputs:
            interpreter.get_tensor(index)

    return call
