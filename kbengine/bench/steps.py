"""A step of the language model by batch size, next to a plain read of as many bytes.

At B = 1 a step does little more than read its weights, so that the speed of reading bounds
it: `step_gb_s` against `read_gb_s` says how near it is. The plain read is numpy's maximum of
an int32 array of that size, which loads every byte once, in full vector registers on one
thread, and does next to nothing with it. Of thirteen ways to read (sums, dot products,
comparisons, copies, `bytes.find`) it was the fastest: 120 GB/s at 5.6 MB, where `np.dot` came to
82, a float32 sum to 28. It takes turns with the steps, and finds its array in the caches as they
find their weights.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kbengine.bench import weights
from kbengine.bench.clock import NS_PER_MS, Samples, interleave
from kbengine.engine import Engine
from kbengine.protocols import LanguageModel, State
from kbengine.quiet import quiet_stderr

BATCHES = (1, 4, 8, 16)
BURST, WARM_UP = 10, 3
TFLITE = "lstm-tflite"  # the family whose weights can be counted

Call = Callable[[], object]
Key = tuple[str, str, int]  # ("engine" | "runtime" | "read", signature, B)


def _states(model: LanguageModel, count: int, rng: random.Random) -> tuple[list[int], list[State]]:
    """Pieces, and different states to put them in."""
    states = [model.start()] * count
    for _ in range(8):
        pieces = [rng.randrange(model.vocab_size) for _ in range(count)]
        states = model.advance(pieces, states)
    return [rng.randrange(model.vocab_size) for _ in range(count)], states


def _engine_calls(model: LanguageModel, pieces: list[int], states: list[State]) -> dict[str, Call]:
    return {
        "state": lambda: model.advance(pieces, states),
        "logits": lambda: model.step(pieces, states),
    }


def _runtime_calls(
    runners: Mapping[str, Callable[..., object]], pieces: list[int], states: list[State]
) -> dict[str, Call]:
    piece, state = np.array(pieces, np.int32), np.stack(states)
    return {
        name: lambda run=run: run(piece=piece, state=state)  # type: ignore[misc]
        for name, run in runners.items()
    }


def measure_steps(
    engine: Engine, rounds: int, tick: Callable[[], None]
) -> tuple[list[dict[str, Any]], dict[str, Samples]]:
    """A row for each signature and batch size, with its percentiles; and the samples by name.

    weight_bytes, step_gb_s (of the runtime alone), read_gb_s (the plain read), both from
    medians: None for a family whose weights cannot be counted. A step of B rows reads the
    weights at least once, and they are counted once.
    """
    content = engine.bundle.parts["model"]
    tflite = engine.bundle.manifest["family"] == TFLITE
    sizes = weights.weight_bytes(content) if tflite else {}
    with quiet_stderr():
        runners = weights.bare_signatures(content) if tflite else {}
    rng = random.Random(1)
    calls: dict[Key, Call] = {}
    for batch in BATCHES:
        pieces, states = _states(engine.step_model, batch, rng)
        for name, call in _engine_calls(engine.step_model, pieces, states).items():
            calls["engine", name, batch] = call
        for name, call in _runtime_calls(runners, pieces, states).items():
            calls["runtime", name, batch] = call
    for name, size in sizes.items():
        calls["read", name, 1] = np.ones(size // 4, np.int32).max
    samples = interleave(calls, rounds, BURST, WARM_UP, tick)
    rows = [
        _row(name, batch, samples, sizes.get(name))
        for name in ("state", "logits")
        for batch in BATCHES
    ]
    return rows, {f"{n}, B = {b}": s for (who, n, b), s in samples.items() if who == "engine"}


def _row(name: str, batch: int, samples: dict[Key, Samples], size: int | None) -> dict[str, Any]:
    row: dict[str, Any] = {"signature": name, "batch": batch}
    row |= samples["engine", name, batch].summary()
    if size is None:
        return row | dict.fromkeys(("runtime", "weight_bytes", "step_gb_s", "read_gb_s"))
    runtime = samples["runtime", name, batch]
    return row | {
        "runtime": runtime.summary(),
        "weight_bytes": size,
        "step_gb_s": _gb_s(size, runtime),
        "read_gb_s": _gb_s(size, samples["read", name, 1]),
    }


def _gb_s(size: int, samples: Samples) -> float:
    """Bytes by the median of the wall times; a byte a nanosecond is a gigabyte a second."""
    return round(size / (samples.wall_p50_ms * NS_PER_MS), 2)
