"""Where a key press goes: the language model, the search around it, the protocol."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from kbengine.bench.clock import NS_PER_MS, Samples
from kbengine.engine import Engine, context_of
from kbengine.mix import Slots
from kbengine.predict import Predictor, Wish
from kbengine.protocols import Floats, LanguageModel, State
from kbengine.serve import Server
from kbengine.types import Context

Result = TypeVar("Result")

SLOTS = "words"  # what the server answers with where nothing else is asked


class TimedModel:
    """A language model that adds up what it costs.

    Attributes:
        cpu_ns: CPU time of the calling thread, in all; calls, rows: how many there were.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self.vocab_size = model.vocab_size
        self.cpu_ns = self.calls = self.rows = 0

    def start(self, heard: Sequence[int] = ()) -> State:
        """See `LanguageModel`."""
        return self._model.start(heard)

    def advance(self, pieces: Sequence[int], states: Sequence[State]) -> list[State]:
        """See `LanguageModel`."""
        return self._timed(len(pieces), lambda: self._model.advance(pieces, states))

    def step(self, pieces: Sequence[int], states: Sequence[State]) -> tuple[Floats, list[State]]:
        """See `LanguageModel`."""
        return self._timed(len(pieces), lambda: self._model.step(pieces, states))

    def _timed(self, rows: int, call: Callable[[], Result]) -> Result:
        begin = time.thread_time_ns()
        found = call()
        self.cpu_ns += time.thread_time_ns() - begin
        self.calls += 1
        self.rows += rows
        return found


def _key_presses(line: str) -> Iterator[Context]:
    """The contexts of a line that is typed, from the empty one on."""
    return (context_of(line[:end]) for end in range(len(line) + 1))


def measure_shares(
    engine: Engine, lines: Sequence[str], n: int, tick: Callable[[], None]
) -> dict[str, Any]:
    """Means a key press, of lines typed with n suggestions: CPU times in ms of the language
    model (its runtime, the softmax, n-grams, cache), of the rest of the engine (search,
    candidates) and of the protocol (a line of JSON read and one written); calls and rows of the
    model."""
    model, wish = TimedModel(engine.model), Wish(Slots.parse(SLOTS))
    server = Server(engine, SLOTS)
    predictor = Predictor(
        model, engine.vocabulary, engine.lexicon, engine.emoji_table, engine.word_filter,
        engine.emoji_model,
    )  # fmt: skip
    bare, served = Samples(), Samples()
    for line in lines:
        contexts = list(_key_presses(line))
        requests = [
            json.dumps({"op": "predict", "context": c.before, "prefix": c.typed, "k": n}).encode()
            for c in contexts
        ]
        for context in contexts:
            bare.time(lambda c=context: predictor.suggest(c, n, wish))  # type: ignore[misc]
        for request in requests:
            served.time(lambda r=request: json.dumps(server.answer(r)).encode())  # type: ignore[misc]
        tick()
    count, whole = len(bare), sum(bare.cpu_ns)
    per_key_ms = 1 / (count * NS_PER_MS)
    return {
        "key_presses": count,
        "language_model_ms": round(model.cpu_ns * per_key_ms, 5),
        "search_ms": round((whole - model.cpu_ns) * per_key_ms, 5),
        "protocol_ms": round((sum(served.cpu_ns) - whole) * per_key_ms, 5),
        "calls": round(model.calls / count, 3),
        "rows": round(model.rows / count, 3),
    }
