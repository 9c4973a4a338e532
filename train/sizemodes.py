"""How to choose a quantization mode: what each costs in bytes and time, and what in accuracy.

Every model is converted in every mode from its float weights (`train.plainstep`), and stepped over
the same text. `export` is what `python -m train export` makes of it: the mode `dynamic`, of
weights brought to one size before (`train.spread`), the table stored once; `export int4` is
that with its products in int4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbengine.bench.clock import interleave
from kbengine.errors import ModelError
from train import panels
from train.agreement import log_softmax
from train.exported import int4_model, int8_model
from train.pieces import read_pieces
from train.trained import Trained, read_trained

REFERENCE = "float32"
EXPORT, EXPORT_INT4 = OWN = ("export", "export int4")
# Other text than what is measured on: all of it is judged by `train.spread` for `OWN`, and the
# modes int8 and 16x8 set their ranges by the first steps.
SAMPLES = 200
SAMPLE_TEXT = Path(__file__).parent.parent / "data" / "chat.txt"
# 400 steps of each, in turns: the medians of `python -m train sizes nano=... base=... --modes
# float32` in a quiet hour and in a busy one are within 4 % of each other.
ROUNDS, BURST, WARM_UP = 40, 10, 3

Feed = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Row:
    """A model in a mode. Figures are None where the mode does not work, and `why` says why.

    p50_ms: a step of the bare file, B = 1, one thread. perplexity: of a piece; ratio: of that to
    float32's. top1, top3: share of steps whose next piece is the best, or among the best three;
    same: whose best piece is float32's.
    """

    label: str
    mode: str
    file_bytes: int | None = None
    p50_ms: float | None = None
    perplexity: float | None = None
    ratio: float | None = None
    top1: float | None = None
    top3: float | None = None
    same: float | None = None
    why: str = ""


class _Walk:
    """A file along a text: what it gave to each piece that came."""

    def __init__(self, content: bytes, pieces: NDArray[np.int32]) -> None:
        """Raises ModelError where the runtime can't run the file."""
        self.feeds: list[Feed] = []  # what went in
        self._logp: list[float] = []
        self._ranks: list[int] = []
        self.best: list[int] = []
        try:
            self.step = _runner(content)
            size = self.step.get_input_details()["state"]["shape"][1]
            state = np.zeros((1, size), np.float32)
            for piece, right in zip(pieces[:-1], pieces[1:].tolist(), strict=True):
                self.feeds.append({"piece": piece[None], "state": state})
                out = self.step(**self.feeds[-1])
                state = out["state"]
                self._see(out["logits"][0], right)
        except (ValueError, RuntimeError) as error:
            first = str(error).strip().splitlines()[0]
            raise ModelError(f"the runtime does not run it: {first}") from error
        if not np.isfinite(self._logp).all():
            raise ModelError("its predictions are no numbers")

    def _see(self, logits: NDArray[np.float32], right: int) -> None:
        self._logp.append(float(log_softmax(logits)[right]))
        own = logits[right]  # of those alike the first is the better, as for argmax
        self._ranks.append(int((logits > own).sum() + (logits[:right] == own).sum()))
        self.best.append(int(logits.argmax()))

    @property
    def perplexity(self) -> float:
        """Of a piece."""
        return math.exp(min(-float(np.mean(self._logp)), 50.0))

    def top(self, count: int) -> float:
        """Share of steps whose next piece is among the best `count`."""
        return float(np.mean(np.array(self._ranks) < count))

    def same(self, other: _Walk) -> float:
        """Share of steps with the same best piece."""
        return float(np.mean(np.array(self.best) == np.array(other.best)))


def _runner(content: bytes) -> Any:
    """The signature `logits` of a file, on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=content, num_threads=1).get_signature_runner("logits")


def measure(
    label: str,
    trained: Trained,
    modes: Sequence[str],
    pieces: NDArray[np.int32],
    tick: Callable[[str], None] = lambda mode: None,
) -> list[Row]:
    """A row for each of `modes`, and for each of `OWN`. tick: gets each mode before its turn.

    Raises ModelError where `REFERENCE` does not work.
    """
    files: dict[str, bytes] = {}
    walks: dict[str, _Walk] = {}
    whys: dict[str, str] = {}
    samples: list[Feed] = []
    others = read_pieces([SAMPLE_TEXT], trained.vocabulary)
    for mode in dict.fromkeys((REFERENCE, *modes, *OWN)):
        tick(mode)
        try:
            content = _converted(trained, mode, others, samples)
            walks[mode] = _Walk(content, pieces)
            files[mode] = content
        except ModelError as error:
            if mode == REFERENCE:
                raise
            whys[mode] = str(error)
        if mode == REFERENCE:
            samples += _Walk(files[mode], others[: SAMPLES + 1]).feeds
    times = _times({mode: walks[mode] for mode in files})
    rows = []
    for mode in (*modes, *OWN):
        if mode in whys:
            rows.append(Row(label, mode, why=whys[mode]))
            continue
        walk, wanted = walks[mode], walks[REFERENCE]
        ratio = walk.perplexity / wanted.perplexity
        rows.append(
            Row(label, mode, len(files[mode]), times[mode], walk.perplexity, ratio,
                walk.top(1), walk.top(3), walk.same(wanted))
        )  # fmt: skip
    return rows


def _converted(
    trained: Trained, mode: str, others: NDArray[np.int32], samples: Sequence[Feed]
) -> bytes:
    """The model's file in a mode, with the two signatures that the engine wants. others: pieces of
    text that nothing is measured on, samples: what float32 was fed along the
    first of them."""
    if mode in OWN:
        return (int8_model if mode == EXPORT else int4_model)(trained, others)
    import tensorflow as tf

    from train.convert.modes import convert
    from train.plainstep import PlainStep

    plain = PlainStep(trained.weights)

    signatures = {
        name: tf.function(function, input_signature=plain.inputs()).get_concrete_function()
        for name, function in (("state", plain.state), ("logits", plain.logits))
    }
    return convert(signatures, mode, dict.fromkeys(signatures, samples))


def _times(walks: Mapping[str, _Walk]) -> dict[str, float]:
    """The median of a step in ms of each, in turns, so that a slow spell strikes them all."""

    def call(walk: _Walk) -> Callable[[], object]:
        feed = walk.feeds[-1]
        return lambda: walk.step(**feed)

    calls = {mode: call(walk) for mode, walk in walks.items()}
    samples = interleave(calls, ROUNDS, BURST, WARM_UP, lambda: None)
    return {mode: found.wall_p50_ms for mode, found in samples.items()}


# Showing

COLUMNS = (
    "model", "mode", "#MB", "#ms p50", "#perplexity", "#x float32", "#top-1 %", "#top-3 %",
    "#same best %",
)  # fmt: skip


def cells(row: Row) -> tuple[str, ...]:
    """What stands below `COLUMNS`; `-` for what does not work."""
    figures = (
        (row.file_bytes and row.file_bytes / 1e6, "{:.1f}"), (row.p50_ms, "{:.3f}"),
        (row.perplexity, "{:.2f}"), (row.ratio, "{:.4f}"),
        *((share if share is None else 100 * share, "{:.1f}")
          for share in (row.top1, row.top3, row.same)),
    )  # fmt: skip
    shown = ("-" if value is None else form.format(value) for value, form in figures)
    return (row.label, row.mode, *shown)


def draw(path: Path, rows: Sequence[Row], told: str) -> None:
    """Write the picture, a PNG: perplexity against size and time, a colour for each model.

    Raises ValueError where there is nothing to draw with.
    """
    figure = panels.figure("What a mode costs", 11, 4.8)
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_ylabel("perplexity of a piece (the less the better)")
    shown = [row for row in rows if not row.why]
    _draw_panel(left, shown, lambda row: (row.file_bytes or 0) / 1e6, "MB of the file")
    _draw_panel(right, shown, lambda row: row.p50_ms or 0.0, "ms a step, p50")
    left.invert_yaxis()  # better is up, as everywhere
    for values in (_colours(shown), _markers(shown)):
        for name, (colour, marker) in values.items():
            right.scatter([], [], color=colour, marker=marker, label=name)
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    panels.save(path, figure, told)


def _colours(rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
    """A colour for each model, and the legend's marker."""
    labels = dict.fromkeys(row.label for row in rows)
    return {label: (f"C{i % 10}", "s") for i, label in enumerate(labels)}


def _markers(rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
    """A marker for each mode, and the legend's colour: their names would lie on each other."""
    modes = dict.fromkeys(row.mode for row in rows)
    return {mode: ("#555555", marker) for mode, marker in zip(modes, "o^vD<>*P", strict=False)}


def _draw_panel(axes: Any, rows: Sequence[Row], of: Callable[[Row], float], x_label: str) -> None:
    """A point for each row, over the logarithm of x."""
    colours, markers = _colours(rows), _markers(rows)
    for row in rows:
        axes.scatter(
            of(row), row.perplexity, color=colours[row.label][0], marker=markers[row.mode][1],
            s=130 if row.mode in OWN else 55, alpha=0.75, linewidths=0, zorder=3,
        )  # fmt: skip
    panels.along(axes, [of(row) for row in rows], x_label)


# The verb


def read_models(specs: Sequence[str]) -> dict[str, Trained]:
    """``LABEL=SOURCE`` -> the models by label. Raises ValueError or KbengineError."""
    found = {}
    for spec in specs:
        label, equals, name = spec.partition("=")
        if not (label and equals and name):
            raise ValueError(f"{spec!r} cannot be read; with --modes write LABEL=SOURCE")
        if label in found:
            raise ValueError(f"{label} is there twice; give each model a label of its own")
        found[label] = read_trained(Path(name))
    return found


def run(
    specs: Sequence[str], modes: Sequence[str], texts: Sequence[Path], steps: int
) -> tuple[list[Row], str]:
    """The rows of all models in all modes, and what they were measured on."""
    from train.convert.modes import MODES
    from train.progress import Progress

    if strange := [mode for mode in modes if mode not in MODES]:
        raise ValueError(f"no mode is called {strange[0]!r}; there are {', '.join(MODES)}")
    if steps < 1:
        raise ValueError(f"--steps {steps} measures nothing; give 1 or more")
    models = read_models(specs)
    rows: list[Row] = []
    with Progress("measuring", len(models) * len({REFERENCE, *modes, *OWN}), "mode") as bar:
        for label, trained in models.items():
            pieces = read_pieces(texts, trained.vocabulary)[: steps + 1]
            rows += measure(label, trained, modes, pieces, lambda mode: bar.step(1, mode))
    told = f"{len(pieces) - 1:,} pieces of {', '.join(path.name for path in texts)}, one thread"
    return rows, told


def to_json(rows: Sequence[Row], told: str) -> dict[str, Any]:
    """All figures."""
    return {"kbengine_modes": 1, "measured_on": told, "rows": [asdict(row) for row in rows]}
