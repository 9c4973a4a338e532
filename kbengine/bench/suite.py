"""All parts of the bench, one after the other, and what they found as one value."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbengine.bench.clock import Samples
from kbengine.bench.growth import (
    CANDIDATES,
    CONTEXT_LENGTH,
    EARLIER_MESSAGES,
    ContextTrial,
    Curve,
    EarlierTrial,
    WordsTrial,
    curves,
)
from kbengine.bench.keys import KEY_PRESS, type_lines
from kbengine.bench.process import measure_process
from kbengine.bench.shares import measure_shares
from kbengine.bench.steps import measure_steps
from kbengine.bench.wordstock import LEXICON_SIZE, build_lexicons
from kbengine.engine import Engine
from kbengine.lexicon import Lexicon
from kbengine.mix import Slots
from kbengine.predict import Predictor, Wish
from kbengine.session import Session


@dataclass(frozen=True)
class Plan:
    """How often everything is measured, and at which sizes."""

    step_rounds: int = 100
    lines: int = 200  # of the text, that are typed
    starts: int = 5
    turns: int = 30  # at each point of a curve
    context_lengths: tuple[int, ...] = (10, 30, 100, 300, 1000, 3000, 10_000)
    lexicon_sizes: tuple[int, ...] = (10_000, 30_000, 100_000, 300_000)
    candidates: tuple[int, ...] = (1, 3, 5, 10, 20, 50)
    earlier_messages: tuple[int, ...] = (1, 3, 10, 30, 100)

    def ticks(self, lines: int) -> int:
        """How often the progress moves, for a text of so many lines."""
        typed = min(lines, self.lines)
        return (
            self.step_rounds + 2 * typed + self.starts + 1 + 4 * (self.turns + 1)
            + len(self.lexicon_sizes)
        )  # fmt: skip


QUICK = Plan(
    step_rounds=8,
    lines=8,
    starts=1,
    turns=4,
    context_lengths=(10, 100, 1000, 10_000),
    lexicon_sizes=(10_000, 30_000),
    candidates=(1, 5, 20),
    earlier_messages=(1, 10, 100),
)


@dataclass(frozen=True)
class Measured:
    """What the bench found.

    figures: all of it but the samples, ready for JSON; the others: what a plot shows.
    """

    figures: Mapping[str, Any]
    steps: Mapping[str, Samples]
    typing: Mapping[str, Samples]
    growth: Sequence[Curve]


def measure(
    engine: Engine,
    bundle: Path,
    lines: Sequence[str],
    plan: Plan,
    slots: str,
    n: int,
    tick: Callable[[], None],
) -> Measured:
    """Measure an engine, loaded from `bundle`, on lines of text (none of them blank), with n
    suggestions at a time. `tick` is called `Plan.ticks` times.

    Raises ValueError for slots that cannot be read and for n below 1.
    """
    policy = Slots.parse(slots)
    lines = lines[: plan.lines]
    steps, step_samples = measure_steps(engine, plan.step_rounds, tick)
    typing = type_lines(lambda: engine.session(slots), lines, n, tick)
    shares = measure_shares(engine, lines, n, tick)
    growth = _grow(engine, lines, plan, policy, n, tick)
    process = measure_process(bundle, lines, slots, n, plan.starts, tick)
    figures = {
        "bundle": {
            "name": engine.bundle.name,
            "family": engine.bundle.manifest["family"],
            "file_bytes": engine.bundle.file_bytes,
            "words": len(engine.lexicon),
            "pieces": len(engine.vocabulary),
        },
        "machine": _machine(),
        "options": {"slots": slots, "n": n, "lines": len(lines)},
        "steps": steps,
        "typing": [{"what": name, **samples.summary()} for name, samples in typing.items()],
        "shares": shares,
        **process,
        "growth": [curve.summary() for curve in growth],
    }
    return Measured(figures, step_samples, typing, growth)


def _grow(
    engine: Engine,
    lines: Sequence[str],
    plan: Plan,
    slots: Slots,
    n: int,
    tick: Callable[[], None],
) -> list[Curve]:
    """All curves."""

    def field(lexicon: Lexicon = engine.lexicon) -> Session:
        parts = (engine.model, engine.vocabulary, lexicon, engine.emoji_table)
        predictor = Predictor(*parts, engine.word_filter, engine.emoji_model)
        return Session(predictor, Wish(slots))

    longest = max(plan.context_lengths)
    found = curves(
        CONTEXT_LENGTH, (KEY_PRESS,), {x: field() for x in plan.context_lengths},
        ContextTrial(lines, longest, plan.turns, n), plan.turns, tick,
    )  # fmt: skip
    found += curves(
        EARLIER_MESSAGES, (KEY_PRESS,), {x: field() for x in plan.earlier_messages},
        EarlierTrial(lines, n), plan.turns, tick,
    )  # fmt: skip
    found += curves(
        CANDIDATES, (), {x: field() for x in plan.candidates},
        WordsTrial(lines, n, candidates=True), plan.turns, tick,
    )  # fmt: skip
    lexicons, building = build_lexicons(engine.lexicon, engine.vocabulary, plan.lexicon_sizes, tick)
    found += curves(
        LEXICON_SIZE, (KEY_PRESS,), {x: field(lexicon) for x, lexicon in lexicons.items()},
        WordsTrial(lines, n), plan.turns, tick,
    )  # fmt: skip
    return found + building


def _machine() -> dict[str, Any]:
    """What the figures hang on; load: processes that wanted to run of late, None where the
    system does not tell."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    """The processor's name, as well as the system tells."""
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in facts.splitlines() if "model name" in line]
    return names[0] if names else platform.processor()
