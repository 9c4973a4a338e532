"""An engine put to work on a file: every line typed with it, and scored by its model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from kbengine.engine import Engine
from kbengine.evaluate.counts import Counts, counts_of
from kbengine.evaluate.lines import Line, TextFile
from kbengine.evaluate.measures import MOST_LETTERS, fields
from kbengine.evaluate.perplexity import LineLogp, line_logps
from kbengine.evaluate.typist import SHOWN, Sums, TypedWord, type_line
from kbengine.mix import Slots
from kbengine.predict import Predictor, Wish
from kbengine.types import Context, Tap

MOST_PREFIX = 64  # no word is longer


@dataclass(frozen=True)
class Settings:
    """k: candidates the user looks at; most_letters: completion is counted after 1 to so
    many. The rest says which lines are typed and what the engine is given."""

    k: int = 3
    slots: str = "words"
    limit: int | None = None
    sample_seed: int | None = None
    earlier: int = 0
    most_letters: int = MOST_LETTERS

    def __post_init__(self) -> None:
        """Raises ValueError, naming the option, for a number out of range or bad slots."""
        Slots.parse(self.slots)
        least = {
            "-k": (self.k, 1), "--limit": (self.limit, 1),
            "--earlier": (self.earlier, 0), "--letters": (self.most_letters, 1),
        }  # fmt: skip
        for option, (number, smallest) in least.items():
            if number is not None and number < smallest:
                raise ValueError(f"{option} {number} cannot be; give {smallest} or more")
        if self.most_letters > MOST_PREFIX:
            raise ValueError(f"--letters {self.most_letters} cannot be; give {MOST_PREFIX} at most")
        if self.sample_seed is not None and self.limit is None:
            raise ValueError("--sample-seed draws --limit lines; give --limit too")


@dataclass(frozen=True)
class Evaluation:
    """All that was found on a file, line by line."""

    file: TextFile
    counts: Counts
    words: list[list[TypedWord]]
    logps: list[LineLogp]


class _Watch:
    """Asks the predictor, and keeps how long each call took."""

    def __init__(self, predictor: Predictor, settings: Settings) -> None:
        self._predictor = predictor
        self._wish, self._n = Wish(Slots.parse(settings.slots)), max(settings.k, SHOWN)
        self.wall_ns: list[int] = []
        self.cpu_ns: list[int] = []
        predictor.suggest(Context(), self._n, self._wish)  # start-up is no key press

    def suggest(self, line: Line, before: str, typed: str) -> list[str]:
        context = Context(line.earlier, before, tuple(map(Tap, typed)))
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        found = self._predictor.suggest(context, self._n, self._wish)
        self.cpu_ns.append(time.thread_time_ns() - cpu)
        self.wall_ns.append(time.perf_counter_ns() - wall)
        return [candidate.text for candidate in found]


def evaluate(
    engine: Engine, file: TextFile, settings: Settings, done: Callable[[], object] = lambda: None
) -> Evaluation:
    """Type the lines of a file with an engine. done: called after each line."""
    logps = line_logps(engine.model, engine.vocabulary, file.lines)
    watch = _Watch(engine.predictor(), settings)
    sums, words = [], []
    for line, logp in zip(file.lines, logps, strict=True):
        calls = len(watch.wall_ns)

        def suggest(before: str, typed: str, line: Line = line) -> list[str]:
            return watch.suggest(line, before, typed)

        found = type_line(line.text, suggest, settings.k, settings.most_letters)
        sums.append({**found.sums, **_nats(logp), "calls": len(watch.wall_ns) - calls})
        words.append(found.words)
        done()
    times = {"wall": watch.wall_ns, "cpu": watch.cpu_ns}
    return Evaluation(file, counts_of(sums, fields(settings.most_letters), times), words, logps)


def _nats(line: LineLogp) -> Sums:
    unknown = [word.logp for word in line.words if not word.known]
    return Sums(
        float,
        line_nats=-line.logp,
        word_nats=-sum(word.logp for word in line.words),
        unknown_words=len(unknown),
        unknown_word_nats=-sum(unknown),
    )
