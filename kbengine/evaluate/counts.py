"""What was counted on the lines of a file. Sums of it, weighted by line, give the figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats64 = NDArray[np.float64]
CLOCKS = ("wall", "cpu")


@dataclass(frozen=True)
class Counts:
    """The counts of L lines.

    fields: float64[L] each. times_ms: for each clock float64[C], the C calls of suggest in
    the order of the lines, fields["calls"] of them for each.
    """

    fields: Mapping[str, Floats64]
    times_ms: Mapping[str, Floats64]

    def __len__(self) -> int:
        return len(self.fields["calls"])

    @property
    def call_lines(self) -> NDArray[np.intp]:
        """int[C]: of which line each call is."""
        return np.repeat(np.arange(len(self)), self.fields["calls"].astype(np.intp))

    def pack(self) -> dict[str, str]:
        """Short text for JSON: the numbers of each field, and of each clock in microseconds."""
        times = {f"{clock}_us": 1000 * self.times_ms[clock] for clock in CLOCKS}
        return {
            name: " ".join(format(value, ".12g") for value in values.tolist())
            for name, values in (*self.fields.items(), *times.items())
        }

    @classmethod
    def unpack(cls, packed: Mapping[str, Any], names: Iterable[str]) -> Counts:
        """The named fields of what `pack` gave. Raises ValueError where it cannot be that."""
        try:
            read = {name: np.array(packed[name].split(), np.float64) for name in names}
            times = {
                clock: np.array(packed[f"{clock}_us"].split(), np.float64) / 1000
                for clock in CLOCKS
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError("its counts cannot be read") from error
        calls = read["calls"]
        sizes = {len(values) for values in read.values()}
        whole = all(np.isfinite(v).all() for v in (*read.values(), *times.values()))
        if (
            sizes != {len(calls)}
            or not len(calls)
            or not whole
            or any((v < 0).any() for v in read.values())
        ):
            raise ValueError("its counts do not fit together")
        if any(len(values) != calls.sum() for values in times.values()):
            raise ValueError("its times are not as many as its calls")
        return cls(read, times)


def counts_of(
    lines: Sequence[Mapping[str, float]],
    names: Iterable[str],
    times_ns: Mapping[str, Sequence[int]],
) -> Counts:
    """The named fields of lines, one that a line lacks being 0 there; times of all calls."""
    fields = {name: np.array([line.get(name, 0) for line in lines], np.float64) for name in names}
    # Whole microseconds, so that a result read back from JSON gives the same figures.
    times = {clock: np.round(np.array(times_ns[clock]) / 1e3) / 1e3 for clock in CLOCKS}
    return Counts(fields, times)


def pooled(files: Sequence[Counts]) -> Counts:
    """The lines of several files, of the same fields, as those of one."""
    return Counts(
        {name: np.concatenate([file.fields[name] for file in files]) for name in files[0].fields},
        {clock: np.concatenate([file.times_ms[clock] for file in files]) for clock in CLOCKS},
    )
