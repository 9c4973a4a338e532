"""Times: wall and CPU, of calls that take turns, so that a slow spell strikes them all.

Wall time is what a person waits, CPU time (of the calling thread, where all of the engine's
work is done) what others on the machine disturb least.
"""

from __future__ import annotations

import contextlib
import gc
import random
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")

PERCENTILES = (50, 95, 99)
NS_PER_MS = 1e6


class Samples:
    """How long one thing took, time after time.

    Attributes:
        wall_ns, cpu_ns: a time for each call, in nanoseconds.
    """

    def __init__(self) -> None:
        self.wall_ns: list[int] = []
        self.cpu_ns: list[int] = []

    def __len__(self) -> int:
        return len(self.wall_ns)

    def time(self, call: Callable[[], Result]) -> Result:
        """Call once and keep the time."""
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        result = call()
        wall_end, cpu_end = time.perf_counter_ns(), time.thread_time_ns()
        self.wall_ns.append(wall_end - wall)
        self.cpu_ns.append(cpu_end - cpu)
        return result

    def extend(self, other: Samples) -> None:
        """Take over the times of another."""
        self.wall_ns += other.wall_ns
        self.cpu_ns += other.cpu_ns

    @property
    def wall_p50_ms(self) -> float:
        """The median of the wall times."""
        return float(np.median(self.wall_ns)) / NS_PER_MS

    @property
    def cpu_p50_ms(self) -> float:
        """The median of the CPU times."""
        return float(np.median(self.cpu_ns)) / NS_PER_MS

    def summary(self) -> dict[str, Any]:
        """How many, and the percentiles in milliseconds (numpy's, interpolated)."""
        return {
            "count": len(self),
            "wall_ms": percentiles(self.wall_ns),
            "cpu_ms": percentiles(self.cpu_ns),
        }


def percentiles(times_ns: list[int]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds.

    Raises ValueError where there are no times.
    """
    if not times_ns:
        raise ValueError("nothing was timed; give a text with at least one word")
    found = np.percentile(times_ns, PERCENTILES) / NS_PER_MS
    return {f"p{p}": round(float(ms), 5) for p, ms in zip(PERCENTILES, found, strict=True)}


@contextlib.contextmanager
def no_gc() -> Iterator[None]:
    """The garbage collector off meanwhile, as `timeit` has it: for things compared with each
    other, not for what a person waits."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def interleave(
    calls: Mapping[Key, Callable[[], object]],
    rounds: int,
    burst: int,
    warm_up: int,
    tick: Callable[[], None],
) -> dict[Key, Samples]:
    """The times of `rounds` x `burst` calls of each.

    In every round each has its turn, in an order drawn anew (from a fixed seed): `warm_up`
    calls not counted, which bring its data back into the caches, then `burst` that are.
    """
    order = random.Random(1)
    samples: dict[Key, Samples] = {key: Samples() for key in calls}
    with no_gc():
        for _ in range(rounds):
            for key in order.sample(list(calls), len(calls)):
                for _ in range(warm_up):
                    calls[key]()
                for _ in range(burst):
                    samples[key].time(calls[key])
            tick()
    return samples
