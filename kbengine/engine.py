"""The engine: one bundle, loaded once, shared by all text fields."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from kbengine import text
from kbengine.bundle import Bundle, read_bundle
from kbengine.errors import ModelError
from kbengine.lm.cache import CacheModel
from kbengine.lm.mixture import MixtureModel
from kbengine.mix import Slots
from kbengine.predict import Predictor
from kbengine.session import Session, checked
from kbengine.types import Candidate, Context, Tap

DEFAULT_BUNDLE = Path(__file__).parent / "models" / "en.bundle"


def context_of(line: str, earlier: Sequence[str] = ()) -> Context:
    """The context of a text whose caret stands at its end; an open word becomes taps.

    Raises ValueError where `line` is no text, or `earlier` no list of texts.
    """
    messages = checked(earlier, line)
    before, typed = text.split_open_word(line)
    return Context(messages, before, tuple(Tap(c) for c in typed))


class Engine:
    """The parts of a bundle at work. Safe to share between threads."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises BundleError or ModelError where a part is not usable."""
        self.bundle = bundle
        model, self.vocabulary, self.lexicon, self.emoji_table, self.word_filter = bundle.open()
        self.step_model = model.base if isinstance(model, MixtureModel) else model
        self.model = CacheModel(model, self.vocabulary.boundary)
        self._one_shot = self.predictor()
        self._lock = threading.Lock()

    def predictor(self) -> Predictor:
        """Suggestions for contexts as values, for one thread."""
        return Predictor(
            self.model, self.vocabulary, self.lexicon, self.emoji_table, self.word_filter
        )

    def session(self, slots: str | None = None, unfiltered: bool = False) -> Session:
        """A text field, for one thread. `slots`: what its `suggest` shows, see `Slots`.
        unfiltered: also words that are not offered unasked, see `kbengine.wordfilter`.

        Raises ValueError for slots that cannot be read.
        """
        policy = None if slots is None else Slots.parse(slots)
        predictor = self.predictor()
        if policy is None or policy.wants("emoji"):
            predictor.emoji.prepare()
        return Session(predictor, policy, unfiltered)

    def suggest(
        self,
        line: str | Context,
        n: int | None = None,
        earlier: Sequence[str] = (),
        slots: str | None = None,
        unfiltered: bool = False,
    ) -> list[Candidate]:
        """The best candidates at the end of a text, best first: n, or as many as there are
        slots, or 3. From any thread.

        line: what stands left of the caret, after `earlier` messages; or a field's `context`,
        which has its own. unfiltered: also words that are not offered unasked.

        Raises ValueError for n below 1 and for slots that cannot be read.
        """
        if isinstance(line, Context) and earlier:
            raise ValueError("a context has its own earlier messages; give them to the field")
        context = line if isinstance(line, Context) else context_of(line, earlier)
        policy = None if slots is None else Slots.parse(slots)
        with self._lock:
            return self._one_shot.suggest(context, n, policy, unfiltered)


def load(path: str | Path | None = None) -> Engine:
    """The engine of a bundle; without a path, of the English one in the package.

    Raises BundleError or ModelError, in one sentence, where that cannot be.
    """
    path = Path(path) if path is not None else DEFAULT_BUNDLE
    try:
        return Engine(read_bundle(path))
    except MemoryError as error:
        raise ModelError(f"not enough memory to load {path}; free some and try again") from error
