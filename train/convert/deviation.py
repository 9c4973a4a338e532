"""How far a converted file is from its source, over the same steps, each on its own states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from kbengine.errors import ModelError
from kbengine.inspect.graph import Graph, read_graph
from kbengine.quiet import quiet_stderr
from train.convert.modes import WEIGHT_BYTES
from train.convert.states import Call
from train.convert.steps import Step

# Below this share of what its mode makes of the weights a file is looked at more closely: scales
# and biases can make it more than its weights, and folded constants less; half is neither.
LEAST_WEIGHTS = 0.5
SMALL_BYTES = 4096  # below that constants of ops weigh as much as weights
CLASSES = 3  # columns from which on an output is looked at as scores of classes


@dataclass(frozen=True)
class Deviation:
    """Of an output: the largest and the mean difference, its root mean square as a share of how
    much the source's output varies, and where it scores classes the share of rows with the same
    best one."""

    output: str
    largest: float
    mean: float
    share: float
    same_best: float | None


def runner(content: bytes, signature: str) -> Call:
    """A signature of a file, to be called like its source.

    Raises ModelError where the runtime can't read the file.
    """
    try:
        with quiet_stderr():
            interpreter = Interpreter(model_content=content, num_threads=1)
            found = interpreter.get_signature_runner(signature)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"the runtime cannot read the converted file: {error}") from error
    takes = set(found.get_input_details())

    def call(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        try:
            # Copied: the runner gives the same memory again.
            out = found(**{n: np.ascontiguousarray(a) for n, a in arrays.items() if n in takes})
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"the runtime cannot run the converted file: {error}") from error
        return {n: np.array(value) for n, value in out.items()}

    call.keep = interpreter  # type: ignore[attr-defined]  # the runner does not keep it alive
    return call


def compare(wanted: Sequence[Step], got: Sequence[Step], outputs: Iterable[str]) -> list[Deviation]:
    """A row for each of these outputs.

    Raises ModelError where the file gives no numbers, always the same ones, or other shapes.
    """
    rows = []
    for name in outputs:
        one, other = (_stacked(name, steps) for steps in (wanted, got))
        if one.shape != other.shape and _plain(one.shape) == _plain(other.shape):
            other = other.reshape(one.shape)  # the runtime has a batch where the source has none
        if one.shape != other.shape:
            raise ModelError(
                f"the converted file gives {name} as {list(other.shape[1:])}, the source as "
                f"{list(one.shape[1:])}; nothing was written"
            )
        if not np.isfinite(other).all():
            raise ModelError(
                f"the converted file's {name} is no number where the source's is one; nothing was "
                "written"
            )
        if len(one) > 1 and np.ptp(other, axis=0).max() == 0 < np.ptp(one, axis=0).max():
            raise ModelError(
                f"the converted file's {name} is always the same, the source's is not; nothing was "
                "written"
            )
        rows.append(_deviation(name, one, other))
    return rows


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _stacked(name: str, steps: Sequence[Step]) -> NDArray[np.float64]:
    if name not in steps[0][1]:
        raise ModelError(f"the converted file has no output {name}; nothing was written")
    found: NDArray[np.float64] = np.stack([out[name] for _, out in steps]).astype(np.float64)
    return found


def _deviation(name: str, wanted: NDArray[np.float64], got: NDArray[np.float64]) -> Deviation:
    off = np.abs(wanted - got)
    # Over the steps, each element apart; an output that stays the same by its own size.
    varies = _size(wanted - wanted.mean(axis=0)) or _size(wanted)
    same = None
    if wanted.ndim >= 3 and wanted.shape[-1] >= CLASSES:
        same = float(np.mean(wanted.argmax(-1) == got.argmax(-1)))
    share = float(_size(off) / varies) if varies else float(_size(off) > 0)
    return Deviation(name, float(off.max()), float(off.mean()), share, same)


def _size(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def read_result(content: bytes) -> Graph:
    """What a converted file holds. Raises ModelError where that is nothing."""
    graph = read_graph(content)
    ops = sum(len(subgraph.ops) for subgraph in graph.subgraphs)
    if not graph.signatures or not ops:
        raise ModelError(
            f"the converted file is empty: {len(graph.signatures)} signatures, {ops} ops in "
            f"{len(content):,} bytes; nothing was written"
        )
    return graph


def lost_weights(graph: Graph, mode: str, weights: int) -> str:
    """A sentence where a file holds much less than its source, whose weights have so many bytes;
    empty where it does not. That alone is no fault: of a table of which a part is read, the
    converter keeps that part."""
    stored = sum(s.data.nbytes for s in graph.stored() if s.kind == "table")
    if weights <= SMALL_BYTES or stored >= LEAST_WEIGHTS * weights * WEIGHT_BYTES[mode] / 4:
        return ""
    return (
        f"the converted file is empty: it holds {stored:,} bytes of weights where the source "
        f"has {weights:,}, and says something else; nothing was written"
    )
