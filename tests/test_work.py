"""What a suggestion costs, counted in rows of the language model: no clock, no machine.

One row is one piece in one state. Whatever the text, a suggestion asks for no more rows than
`most_rows` and reads no more of the text than `MOST_CONTEXT` pieces; a key in an open word
reads none of it.
"""

from __future__ import annotations

import functools
import weakref
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kbengine import Session, said
from kbengine.beam import BeamOptions
from kbengine.lm.ngram import NgramModel
from kbengine.predict import MOST_STEPPED, WINDOW, Predictor, context_pieces
from kbengine.protocols import Floats
from kbengine.sources import emoji, words
from kbengine.sources.phrases import PhraseOptions
from tests.fields import ALL_KINDS
from tests.soak import times
from tests.test_editing import EXTREMES, KEYS, LINES
from tests.toys import messages, toy_emoji, toy_lexicon, toy_model, toy_vocabulary

# A token of c characters is at most 3 c letters in normal form (Unicode, UAX #15: NFC of
# UTF-32) and a piece for each letter and for the mark before them: 4 c at most. A message of
# c characters has at most c tokens, and one piece for its end.
MOST_CONTEXT = 1 + 4 * WINDOW + MOST_STEPPED


@functools.cache
def longest_name() -> int:
    """Pieces of the longest first word of an emoji's name or keyword."""
    vocabulary = toy_vocabulary()
    names = (name for entry in toy_emoji() for name in (entry.name, *entry.keywords))
    return max(len(vocabulary.encode_token(name.split(" ")[0])) for name in names)


def most_rows(n: int) -> int:
    """The most predictions that one suggestion asks for, of all kinds together.

    A search steps its root and a batch for every call. Known words, and unknown ones where
    they do not fill the list, are searched once for all kinds; then come unknown words of the
    conversation, the words of the phrases, the pieces of the names of emoji, and those of what
    was typed.
    """
    known, unknown = BeamOptions(), words.UNKNOWN_OPTIONS
    phrases = PhraseOptions()
    calls = known.calls + max(n, words.LEAST_WORDS)
    return sum(
        (
            1 + calls * known.batch,
            1 + unknown.calls * unknown.batch,
            words.MOST_SAID * (said.LONGEST + 1),
            phrases.heads + phrases.calls * phrases.batch,
            1 + emoji.NAMES * longest_name(),
            words.LONGEST_WORD + 2,
        )
    )


class Held:
    """A state that knows its path."""

    def __init__(self, path: tuple[int, ...], state: tuple[int, ...]) -> None:
        self.path, self.state = path, state


class Counting:
    """The toy model, with a note of all it is asked and of the states that are kept."""

    def __init__(self, model: NgramModel) -> None:
        self._model = model
        self.vocab_size = model.vocab_size
        self.advanced: list[tuple[int, ...]] = []
        self.stepped: list[tuple[int, ...]] = []
        self.calls = 0  # of `step`
        self.kept: weakref.WeakSet[Held] = weakref.WeakSet()

    def start(self, heard: Sequence[int] = ()) -> Held:
        return Held(tuple(heard), self._model.start(heard))

    def _held(
        self, pieces: Sequence[int], before: Sequence[Held], after: Sequence[tuple[int, ...]]
    ) -> list[Held]:
        found = [
            Held((*held.path, piece), state)
            for piece, held, state in zip(pieces, before, after, strict=True)
        ]
        self.kept.update(found)
        return found

    def advance(self, pieces: Sequence[int], states: Sequence[Held]) -> list[Held]:
        after = self._model.advance(pieces, [held.state for held in states])
        found = self._held(pieces, states, after)
        self.advanced += [held.path for held in found]
        return found

    def step(self, pieces: Sequence[int], states: Sequence[Held]) -> tuple[Floats, list[Held]]:
        self.calls += 1
        logp, after = self._model.step(pieces, [held.state for held in states])
        found = self._held(pieces, states, after)
        self.stepped += [held.path for held in found]
        return logp, found


def counted() -> tuple[Counting, Session]:
    model = Counting(toy_model())
    return model, Session(Predictor(model, toy_vocabulary(), toy_lexicon(), toy_emoji()))


def context_of(session: Session) -> tuple[int, ...]:
    """The path of the committed text."""
    context = session.context
    heard, stepped = context_pieces(toy_vocabulary(), context.earlier, context.before)
    return (*heard, *stepped)


def steps_of_context(model: Counting, session: Session) -> list[tuple[int, ...]]:
    """What was asked of the model about the committed text."""
    path = context_of(session)
    return [p for p in model.advanced + model.stepped if p == path[: len(p)]]


@pytest.mark.parametrize("slots", ["words", ALL_KINDS])
@pytest.mark.parametrize("word_typed", ["tomorrow", "xyzzy", "don't", "pizza"])
def test_a_key_steps_nothing_of_the_context(slots: str, word_typed: str) -> None:
    model, session = counted()
    session.set_context("I'll see you all ", ["hi there", "hello"])
    session.suggest(3, slots)
    assert steps_of_context(model, session), "the count sees the context when it is new"
    model.advanced.clear()
    model.stepped.clear()
    for key in word_typed:
        session.type(key)
        session.suggest(3, slots)
    for _ in word_typed:
        session.backspace()
        session.suggest(3, slots)
    assert model.advanced == []
    assert steps_of_context(model, session) == []


def test_committed_words_are_stepped_once() -> None:
    """Over a whole message, with searches at every key, and what is accepted of it."""
    model, session = counted()
    for key in "I'm on my way, see you ":
        session.type(key)
        session.suggest(3)
    session.accept(session.suggest(3)[0])
    session.suggest(3)
    asked = Counter(steps_of_context(model, session))
    path = context_of(session)
    assert set(asked) == {path[: i + 1] for i in range(len(path))}
    assert set(asked.values()) == {1}


def test_going_back_costs_nothing_anew() -> None:
    model, session = counted()
    session.set_context("see you all tomorrow then ")
    session.suggest(3)
    for caret in (8, 12, 21):
        session.jump(caret)
        session.suggest(3)
    model.advanced.clear()
    model.stepped.clear()
    for caret in (8, 12, 21, len(session.text)):
        session.jump(caret)
        session.suggest(3)
    assert model.advanced == []


def test_the_memory_of_a_session_is_bounded() -> None:
    model, session = counted()
    for line in messages()[:40]:
        for place in range(0, len(line), 3):
            session.set_context(line[:place], [line])
            session.suggest(3)
    assert len(model.stepped) > 4000, "far more was computed"
    assert len(model.kept) < 2000


# Bounds for any text


def assert_bounded(model: Counting, session: Session, n: int, slots: str | None) -> None:
    """One more suggestion keeps to the bounds."""
    model.advanced.clear()
    model.stepped.clear()
    session.suggest(n, slots)
    assert len(model.stepped) <= most_rows(n)
    assert len(model.advanced) <= len(context_of(session)) <= MOST_CONTEXT


@pytest.mark.soak
@given(LINES, st.lists(LINES, max_size=3), KEYS, st.sampled_from([1, 3, 9]))
@settings(max_examples=times(60, 20_000))
@example("", ["1a" * 999], "x", 100)
@example("e\u0301", [], "\u0301", 1)  # one backspace takes it all
def test_any_text_costs_a_bounded_number_of_rows(
    left: str, earlier: list[str], key: str, n: int
) -> None:
    model, session = counted()
    for slots in (None, ALL_KINDS, "words"):
        session.set_context(left, earlier)
        assert_bounded(model, session, n, slots)
        session.type(key)
        assert_bounded(model, session, n, slots)
        session.backspace()  # takes more than the key where that was an accent
        session.jump(len(session.text) // 2)
        assert_bounded(model, session, n, slots)


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_texts_cost_a_bounded_number_of_rows(name: str) -> None:
    model, session = counted()
    session.set_context(EXTREMES[name], [EXTREMES[name]] * 3)
    assert_bounded(model, session, 3, ALL_KINDS)
    for char in EXTREMES[name][:40]:
        session.type(char)
        assert_bounded(model, session, 3, ALL_KINDS)


@pytest.mark.parametrize("typed", ["zz", "xq", "qwx", "xyzzy", "qqqq"])
def test_letters_of_no_known_word_are_searched_briefly(typed: str) -> None:
    """Pieces that spell them could be put together for long; the search is cut short."""
    model, session = counted()
    session.set_context(f"see you {typed}")
    session.suggest(3, "words")
    assert model.calls <= 1 + words.UNKNOWN_OPTIONS.calls, "one for the known words"


def test_of_many_unknown_words_of_a_conversation_the_last_are_tried() -> None:
    names = [f"zu{chr(97 + i // 10)}{chr(97 + i % 10)}x" for i in range(90)]
    model, session = counted()
    session.set_context("zu", [" ".join(names)])
    found = [c.text for c in session.suggest(words.MOST_SAID, "words")]
    offered = set(found) & set(names)
    assert offered
    assert offered <= set(names[-words.MOST_SAID :])
    longest = max(len(toy_vocabulary().encode_token(name)) for name in names)
    assert model.calls <= 1 + words.UNKNOWN_OPTIONS.calls + words.MOST_SAID * (longest + 1)


def test_the_bounds_are_not_idle() -> None:
    """Texts come near them, so that a bound that is far too wide would be seen."""
    model, session = counted()
    session.set_context("1a" * WINDOW, ["hi"])
    session.suggest(3)
    assert len(context_of(session)) > WINDOW / 2
    most = 0
    for line in messages()[:12]:
        session.set_context("")
        for char in line:
            session.type(char)
            model.stepped.clear()
            session.suggest(3, ALL_KINDS)
            most = max(most, len(model.stepped))
    # Of the conversation's words another test tells.
    assert most > (most_rows(3) - words.MOST_SAID * (said.LONGEST + 1)) / 10


def test_a_conversation_of_any_length_costs_its_end() -> None:
    model, session = counted()
    session.set_context("see you ", ["hello you"] * 10_000)
    session.suggest(3)
    assert len(model.advanced) <= MOST_CONTEXT
    assert len(model.advanced) <= MOST_STEPPED + len(toy_vocabulary().encode("see you "))
