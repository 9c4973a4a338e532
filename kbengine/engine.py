"""The engine: one bundle, loaded once, shared by all text fields."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path

from kbengine import text
from kbengine.autocorrect import margin
from kbengine.bundle import Bundle
from kbengine.channel import Channel
from kbengine.ear import Ear
from kbengine.emojifinder import EmojiFinder
from kbengine.emojistyle import PLAIN, EmojiStyle
from kbengine.errors import ModelError
from kbengine.layout import Layout
from kbengine.lettertrie import LetterTrie
from kbengine.lm.cache import CacheModel
from kbengine.lm.mixture import MixtureModel
from kbengine.mix import Slots
from kbengine.predict import Predictor, Wish
from kbengine.restored import read
from kbengine.session import Session, checked
from kbengine.sources.phrases import PhraseOptions
from kbengine.types import Candidate, Context, Tap


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
        (
            model,
            self.vocabulary,
            self.lexicon,
            self.emoji_table,
            self.word_filter,
            self.emoji_model,
            channel_model,
        ) = bundle.open()
        self.step_model = model.base if isinstance(model, MixtureModel) else model
        self.model = CacheModel(model, self.vocabulary.boundary)
        self._trie: LetterTrie | None = None
        self._channel: Channel | None = None
        if channel_model is not None:
            self._trie = LetterTrie(self.lexicon)
            self._channel = Channel(channel_model, self._trie.alphabet)
        self._finder = EmojiFinder(self.emoji_table, bundle.manifest["language"])
        self._one_shot = self.predictor()
        self._lock = threading.Lock()

    def predictor(self, channel: bool = True, layout: Layout | None = None) -> Predictor:
        """Suggestions for contexts as values, for one thread. See `session`."""
        ear = None
        if self._channel is not None and self._trie is not None and channel:
            fingers = self._channel
            if layout is not None and not isinstance(layout, Layout):
                raise ValueError(f"{layout!r} is no keyboard; give what `read_layout` gives")
            if layout is not None and layout != fingers.layout:
                fingers = Channel(fingers.model, fingers.alphabet, layout)
            ear = Ear(self.lexicon, self._trie, fingers)
        return Predictor(
            self.model, self.vocabulary, self.lexicon, self.emoji_table, self.word_filter,
            self.emoji_model, ear,
        )  # fmt: skip

    @property
    def layout(self) -> Layout | None:
        """The keyboard that slips are reckoned on, None where the bundle has no channel."""
        return self._channel.layout if self._channel is not None else None

    def session(
        self,
        slots: str | None = None,
        unfiltered: bool = False,
        emoji_style: EmojiStyle = PLAIN,
        phrases: float = PhraseOptions.coverage,
        autocorrect: str = "normal",
        channel: bool = True,
        layout: Layout | None = None,
    ) -> Session:
        """A text field, for one thread. `slots`: what its `suggest` shows, see `Slots`.
        unfiltered: also words that are not offered unasked, see `kbengine.wordfilter`;
        emoji_style: skin tone, gender, diversity; phrases: at which share of places before a
        word's first letter a phrase is offered where the slots have room for one, 0 for none.
        autocorrect: how sure a correction must be to be made by a space: "timid", "normal",
        "bold", or "off"; channel: whether slips of fingers are reckoned with at all; layout: the
        keyboard, the bundle's own where it is not given (see `kbengine.read_layout`).

        Raises ValueError for slots that cannot be read, phrases that are no share, and for no
        margin.
        """
        wish = _wish(slots, unfiltered, emoji_style, phrases)
        predictor = self.predictor(channel, layout)
        if wish.slots is None or wish.slots.wants("emoji"):
            predictor.emoji.prepare()
        return Session(predictor, wish, margin(autocorrect))

    def suggest(
        self,
        line: str | Context,
        n: int | None = None,
        earlier: Sequence[str] = (),
        slots: str | None = None,
        unfiltered: bool = False,
        emoji_style: EmojiStyle = PLAIN,
        phrases: float = PhraseOptions.coverage,
    ) -> list[Candidate]:
        """The best candidates at the end of a text, best first: n, or as many as there are
        slots, or 3. From any thread.

        line: what stands left of the caret, after `earlier` messages; or a field's `context`,
        which has its own. The rest: see `session`.

        Raises ValueError for n below 1, and as `session` does.
        """
        context = _one_context(line, earlier)
        wish = _wish(slots, unfiltered, emoji_style, phrases)
        with self._lock:
            return self._one_shot.suggest(context, n, wish)

    def emoji(
        self,
        line: str | Context,
        n: int = 5,
        earlier: Sequence[str] = (),
        unfiltered: bool = False,
        emoji_style: EmojiStyle = PLAIN,
    ) -> list[Candidate]:
        """The n emoji that go best with a text, for a panel: after its open word, as if that were
        finished, or in its place where its letters name one. From any thread.

        Raises ValueError for n below 1.
        """
        context = _one_context(line, earlier)
        wish = Wish(Slots.parse("emoji"), unfiltered, emoji_style)
        with self._lock:
            return self._one_shot.emoji_for(context, n, wish)

    def emoji_p(self, line: str | Context, earlier: Sequence[str] = ()) -> float:
        """P(an emoji comes next), in [0, 1], after a text whose open word is taken as finished."""
        with self._lock:
            return math.exp(self._one_shot.emoji_logp(_one_context(line, earlier)))

    def find_emoji(
        self, name: str, n: int = 20, language: str | None = None, emoji_style: EmojiStyle = PLAIN
    ) -> list[str]:
        """Up to n emoji that a name or keyword, or its beginning, stands for, best first; "" gives
        none. language: such as "de"; the bundle's own where it is not given.

        Raises ValueError for a language in which no names are known.
        """
        asked = language or self.bundle.manifest["language"]
        return self._finder.find(name, n, asked, emoji_style)

    def explain(
        self, line: str | Context, candidate: str, earlier: Sequence[str] = ()
    ) -> Candidate:
        """A text as a candidate at the end of another, shown there or not, with its parts.

        Raises ValueError where it cannot stand there.
        """
        context = _one_context(line, earlier)
        with self._lock:
            found = self._one_shot.score(context, candidate)
        if found is None:
            raise ValueError(
                f"{candidate!r} cannot go on from {(context.before + context.typed)[-40:]!r}; give "
                "a word or phrase that the letters may mean, . ? ! between words, or an emoji "
                "that is known or named there"
            )
        return found


def _one_context(line: str | Context, earlier: Sequence[str]) -> Context:
    if isinstance(line, Context) and earlier:
        raise ValueError("a context has its own earlier messages; give them to the field")
    return line if isinstance(line, Context) else context_of(line, earlier)


def _wish(slots: str | None, unfiltered: bool, emoji_style: EmojiStyle, phrases: float) -> Wish:
    policy = None if slots is None else Slots.parse(slots)
    return Wish(policy, unfiltered, emoji_style, phrases)


def open_engine(path: Path, total_bytes: int | None = None) -> Engine:
    """The engine of a file. total_bytes: what the cache folder may hold, where a bundle of the
    shipping form is restored. Raises BundleError or ModelError, in one sentence."""
    try:
        return Engine(read(path, total_bytes))
    except MemoryError as error:
        raise ModelError(f"not enough memory to load {path}; free some and try again") from error
