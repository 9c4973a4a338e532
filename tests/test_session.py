"""One text field: whatever led to a text, the same is suggested there.

`test_editing.py` has the properties over any text and any script, `test_work.py` what a
suggestion may cost.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbengine import text
from kbengine.predict import (
    EARLIER_WINDOW,
    MOST_STEPPED,
    STEPPED_MOVES,
    WINDOW,
    context_pieces,
    recent,
    window,
)
from kbengine.session import Session
from kbengine.types import Candidate, Context, Edit, Tap
from kbengine.vocab import BOS, EOS
from tests.fields import ALL_KINDS, assert_same, assert_sound, field, texts, type_all
from tests.soak import times
from tests.toys import messages, toy_engine, toy_vocabulary


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from([None, "words", ALL_KINDS])), max_size=4)
)
@settings(max_examples=times(40, 1000))
def test_asking_changes_nothing(questions: list[tuple[int, str | None]]) -> None:
    session = field("I'm al")
    for n, slots in questions:
        assert_same(session.suggest(n, slots), field("I'm al").suggest(n, slots))
    assert session.text == "I'm al"
    assert session.revision == 1


@pytest.mark.parametrize("slots", [None, "words", ALL_KINDS])
@pytest.mark.parametrize("line", ["", "see you ", "see you t", "Coffee", "un caf\u0301", "I don’"])
def test_a_session_and_one_shot_agree(line: str, slots: str | None) -> None:
    assert_same(field(line).suggest(5, slots), toy_engine().suggest(line, 5, slots=slots))


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("“Hi.” ", '"Hi." '),
        ("‘Hi!’ ", "'Hi!' "),
        ("wait… ", "wait... "),
        ("I don’t ", "I don't "),
        ("I don’t wan", "I don't wan"),
        ("Hi.\u200b ", "Hi. "),
        ("un cafe\u0301 ", "un café "),
        ("pizza\ufeff ", "pizza "),
    ],
)
def test_a_text_predicts_as_its_normal_form_does(written: str, plain: str) -> None:
    assert text.normalise(written) == plain
    assert_same(field(written).suggest(6), field(plain).suggest(6))


# What is suggested


def test_words_go_on_as_typed() -> None:
    for line in messages()[:40]:
        session = field()
        type_all(session, line[:12])
        typed = text.normalise(session.typed)
        for c in session.suggest(5, "words"):
            assert c.kind == "word"
            assert c.text.casefold().startswith(typed.casefold())


def test_what_the_chat_says_is_suggested() -> None:
    assert field("I'm on my w").suggest(1)[0].text == "way"
    assert field("the train to lond").suggest(1)[0].text == "London"
    assert field("the train to LOND").suggest(1)[0].text == "LONDON"
    assert "I" in texts(field("").suggest(3))
    assert field("birthd").suggest(slots="words:1,emoji:1")[1].text == "🎂"
    assert "The" in texts(field("Done. th").suggest(5, "words") + field("Done. Th").suggest(5))


def test_emoji_are_named_by_two_letters_or_more_and_by_the_last_words() -> None:
    def emoji(left: str) -> list[str]:
        return texts(field(left).suggest(1, "emoji"))

    assert (emoji("b"), emoji("happy birthd")) == ([], ["🎂"])
    assert emoji("I want pizza ") == ["🍕"]
    assert emoji("a red heart ") == ["❤️"]
    assert emoji("sun ") == ["🌞"]
    names = field("the sun with face ").suggest(9, "emoji")
    assert next(c.text for c in names if c.source == "names") == "🌞", "not another with a face"


def test_earlier_messages_count_and_are_forgotten() -> None:
    """The n-gram model sees the end of the last message."""
    plain = field("").suggest(5)
    asked = field("", ["Are you coming?"]).suggest(5)
    assert [(c.text, c.logp) for c in asked] != [(c.text, c.logp) for c in plain]
    session = field("", ["Are you coming?"])
    session.suggest(5)
    session.set_context("")
    assert_same(session.suggest(5), plain)
    assert session.context == Context()


def test_context_is_what_stands_left_of_the_caret() -> None:
    session = field("see you to", ["hi", "hello"], "morrow")
    assert session.context == Context(("hi", "hello"), "see you ", (Tap("t"), Tap("o")))
    assert session.context.typed == session.typed == "to"
    assert (session.text, session.caret) == ("see you tomorrow", 10)


def test_places_where_the_finger_fell_are_kept_for_the_open_word() -> None:
    session = toy_engine().session()
    session.type("t", 4.5, 0.5, 10.0)
    session.type("o", 8.5, 0.5)
    assert session.context.taps == (Tap("t", 4.5, 0.5, 10.0), Tap("o", 8.5, 0.5))
    session.backspace()
    assert session.context.taps == (Tap("t", 4.5, 0.5, 10.0),)
    session.type(" ")
    session.type("a", 0.5, 1.5)
    assert session.context == Context((), "t ", (Tap("a", 0.5, 1.5),))
    session.jump(0)
    session.jump(3)
    assert session.context.taps == (Tap("a"),)


def test_how_many_are_shown() -> None:
    assert len(field("t").suggest()) == 3
    assert len(field("t").suggest(7)) == 7
    assert len(toy_engine().session("words:4").suggest()) == 4
    assert len(toy_engine().session("words:4").suggest(2)) == 2
    assert len(toy_engine().session("words:4").suggest(slots="words:1,emoji:1")) == 2
    assert len(toy_engine().session("words:2,emoji:2").suggest()) == 4
    assert len(toy_engine().session("words").suggest()) == 3


@pytest.mark.parametrize("n", [0, -1])
def test_fewer_than_one_cannot_be_shown(n: int) -> None:
    with pytest.raises(ValueError, match="candidates"):
        field("t").suggest(n)


def test_slots_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(ValueError, match="slot"):
        toy_engine().session("verbs")
    with pytest.raises(ValueError, match="slot"):
        field("t").suggest(3, "verbs")


# Edits


def word(session: Session) -> Candidate:
    return session.suggest(1, "words")[0]


def test_accept_takes_the_place_of_the_open_word_and_adds_a_space() -> None:
    session = field("see you tom")
    assert session.accept(word(session)) == Edit(3, "tomorrow ")
    assert session.text == "see you tomorrow "
    assert session.typed == ""


@pytest.mark.parametrize("right", [" you", "", ")", "(you", "😂", "\nyou", "\u00a0you"])
def test_after_accept_the_caret_stands_behind_one_space(right: str) -> None:
    """A space that follows serves for the new one."""
    session = field("I th", right=right)
    chosen = word(session)
    served = right.startswith(" ")
    assert session.accept(chosen) == Edit(2, f"{chosen.text} ", int(served))
    assert session.text == f"I {chosen.text} {right.removeprefix(' ')}"
    assert session.caret == len(f"I {chosen.text} ")
    assert session.typed == ""


def test_a_closing_sign_does_not_glue_two_words() -> None:
    """The space was the user's own, and two words stand on either side of it."""
    session = field("I th", right=" you")
    chosen = word(session)
    session.accept(chosen)
    assert session.type(".") == Edit(1, ". ")
    assert session.type(".") == Edit(1, ". "), "an ellipsis grows together"
    assert session.text == f"I {chosen.text}.. you"
    session.type("s")
    assert session.type(".") == Edit(0, "."), "only right after"


@pytest.mark.parametrize(
    ("left", "right", "left_over"),
    [
        ("see you tom", "orrow then", "then"),
        ("see you tom", "'s all", "all"),
        ("see you tom", "'", "'"),
        ("I 'tom", "orrow' then", "' then"),
        ("see you tom", "_x", "_x"),
        ("see you tom", "9", "9"),
        ("see you tom", "e\u0301s then", "then"),
        ("see you tom", "हिन्दी then", "then"),
        ("see you ", "tomorrow", "tomorrow"),
    ],
)
def test_accept_takes_the_open_word_whole(left: str, right: str, left_over: str) -> None:
    session = field(left, right=right)
    chosen = word(session)
    edit = session.accept(chosen)
    before = left.removesuffix("tom")
    assert session.text == f"{before}{chosen.text} {left_over}"
    assert right[edit.delete_after :] == left_over


@pytest.mark.parametrize("left", ["Hi.", "one,", "10", "(see)", "so:", "yes😂", "Hi!", "cat🐱"])
def test_a_word_right_after_a_sign_gets_a_space_before_it(left: str) -> None:
    session = field(left)
    chosen = word(session)
    assert session.accept(chosen) == Edit(0, f" {chosen.text} ")
    assert session.text == f"{left} {chosen.text} "


@pytest.mark.parametrize("left", ["", "Hi ", "(", "well-", "Hi\n", '"', "#"])
def test_elsewhere_it_gets_none(left: str) -> None:
    session = field(left)
    chosen = word(session)
    session.accept(chosen)
    assert session.text == f"{left}{chosen.text} "


@pytest.mark.parametrize("sign", [*".,!?)]}", "...", "?!"])
def test_a_closing_sign_takes_the_place_of_the_added_space(sign: str) -> None:
    session = field("see you tom")
    session.accept(word(session))
    assert session.type(sign) == Edit(1, sign)
    assert session.text == f"see you tomorrow{sign}"
    assert session.type(sign) == Edit(0, sign), "once"


@pytest.mark.parametrize("key", ["a", "(", "1", "-", "😂", " ", ":", ";"])
def test_other_keys_leave_the_added_space(key: str) -> None:
    session = field("see you tom")
    session.accept(word(session))
    assert session.type(key) == Edit(0, key)
    assert session.text == f"see you tomorrow {key}"


def test_a_space_that_the_user_typed_stays() -> None:
    session = field("see you tomorrow")
    session.type(" ")
    assert session.type(".") == Edit(0, ".")
    session = field("see you tom")
    session.accept(word(session))
    session.jump(3)
    session.jump(len(session.text))
    assert session.type(".") == Edit(0, "."), "the caret had been elsewhere"


def test_backspace() -> None:
    session = field("ab", right="c")
    assert session.backspace() == Edit(1)
    assert session.text == "ac"
    session.backspace()
    revision = session.revision
    assert session.backspace() == Edit()
    assert (session.text, session.revision) == ("c", revision)


@pytest.mark.parametrize(
    ("left", "gone"),
    [
        ("so 😂", "😂"),
        ("so 👩🏽\u200d🚀", "👩🏽\u200d🚀"),
        ("so ❤️", "❤️"),
        ("🇬🇧🇫🇷", "🇫🇷"),
        ("a👍🏽", "👍🏽"),
        ("👍a", "a"),
        ("cafe\u0301", "e\u0301"),
        ("e\u0301\u0302", "e\u0301\u0302"),
        ("\u0301", "\u0301"),
        ("a\ud83d", "\ud83d"),
        ("a\n", "\n"),
    ],
)
def test_backspace_takes_what_is_seen_as_one(left: str, gone: str) -> None:
    session = field(left, right="x")
    assert session.backspace() == Edit(len(gone))
    assert session.text == left.removesuffix(gone) + "x"


def test_backspace_leaves_no_finger_of_what_is_gone() -> None:
    session = toy_engine().session()
    for i, key in enumerate("ee\u0301"):
        session.type(key, float(i), 0.0)
    session.backspace()
    assert session.context.taps == (Tap("e", 0.0, 0.0),)


@pytest.mark.parametrize("caret", [-1, 4, 99])
def test_the_caret_cannot_stand_outside(caret: int) -> None:
    session = field("ab", right="c")
    with pytest.raises(ValueError, match="caret"):
        session.jump(caret)
    assert (session.text, session.caret, session.revision) == ("abc", 2, 1)


@pytest.mark.parametrize("change", ["type", "backspace", "jump", "set_context"])
def test_a_stale_candidate_is_refused(change: str) -> None:
    session = field("see you tom")
    stale = word(session)
    match change:
        case "type":
            session.type("o")
        case "backspace":
            session.backspace()
        case "jump":
            session.jump(8)
        case "set_context":
            session.set_context("see you ")
    before = (session.text, session.caret, session.revision)
    with pytest.raises(ValueError, match="another text"):
        session.accept(stale)
    assert (session.text, session.caret, session.revision) == before


TYPED = ["x", "Zq", "don'", "O'N", "ह", "हिन्", "ไทย", "我们", "я", "caf\u0065\u0301", "qqq" * 30]


@pytest.mark.parametrize("typed", TYPED)
def test_what_was_typed_can_always_be_had(typed: str) -> None:
    session = field("see you ")
    type_all(session, typed)
    literal = session.literal()
    assert literal is not None
    assert (literal.kind, literal.replaces) == ("literal", len(typed))
    assert unicodedata.normalize("NFC", literal.text) == unicodedata.normalize("NFC", typed)
    assert_sound([literal], typed)
    session.accept(literal)
    assert session.text == f"see you {literal.text} "


@pytest.mark.parametrize("left", ["", "see you ", "10", "Hi.", "😂", "'"])
def test_there_is_no_literal_where_no_word_is_open(left: str) -> None:
    assert field(left).literal() is None


# How much of a text is read

LONG = "so we had pasta and it was good, you know? " * 200


@given(st.integers(0, len(LONG)), st.integers(0, len(LONG)))
@settings(max_examples=times(60, 5000))
def test_the_end_of_a_text_is_read(start: int, end: int) -> None:
    before = LONG[start:end]
    read = window(before)
    assert before.endswith(read)
    assert len(read) <= WINDOW
    assert len(read) >= min(len(before), WINDOW // 4)
    if len(read) < len(before):
        assert before[-len(read) - 1] == " ", "no word is cut"


def test_what_is_read_begins_at_few_places_while_a_text_grows() -> None:
    """Or every key of a long text would have all of it stepped anew."""
    begins = {n - len(window(LONG[:n])) for n in range(len(LONG))}
    assert len(begins) <= 2 + 2 * len(LONG) // WINDOW


def test_earlier_messages_are_read_from_the_last_as_far_as_there_is_room() -> None:
    vocabulary = toy_vocabulary()
    two = context_pieces(vocabulary, ["see you", "hello"], "I ")
    assert two == ([], [
        BOS, *vocabulary.encode("see you"), EOS, *vocabulary.encode("hello"), EOS,
        *vocabulary.encode("I "),
    ])  # fmt: skip
    assert context_pieces(vocabulary, ["", " ", "see you", "", "hello"], "I ") == two
    message = "hello you " * 10
    most = EARLIER_WINDOW // len(message)
    for count in (most, most + 1, 50, 100):
        kept = recent([message] * count)
        assert kept == [message] * len(kept)
        assert most // 2 <= len(kept) <= most
        heard, stepped = context_pieces(vocabulary, [message] * count, "")
        assert MOST_STEPPED - 2 * STEPPED_MOVES <= len(stepped) - 1 <= MOST_STEPPED
        assert stepped[0] == BOS
        assert vocabulary.boundary[stepped[1]]
        assert heard + stepped[1:] == [*vocabulary.encode(message), EOS] * len(kept)
    # The first message that is read changes seldom while the conversation grows.
    numbered = [f"{n:03d} {message}" for n in range(200)]
    firsts = {recent(numbered[:n])[0] for n in range(1, 200)}
    assert len(firsts) < 60
    heard, stepped = context_pieces(vocabulary, ["hello you " * 999], "")
    assert 1 < len(heard) + len(stepped) < EARLIER_WINDOW


def test_a_conversation_is_stepped_from_few_places_while_it_grows() -> None:
    vocabulary = toy_vocabulary()
    for count in range(1, 60):
        heard, stepped = context_pieces(vocabulary, ["see you"] * count, "hello")
        whole = count * (len(vocabulary.encode("see you")) + 1)
        assert bool(heard) == (whole > MOST_STEPPED)
        assert stepped[1] != EOS
        # The open message moves nothing.
        longer = context_pieces(vocabulary, ["see you"] * count, "hello you")
        assert longer[0] == heard
        assert longer[1][: len(stepped)] == stepped
    starts = {len(context_pieces(vocabulary, ["you"] * n, "")[0]) for n in range(1, 100)}
    assert 2 < len(starts) <= 1 + 200 // STEPPED_MOVES


@pytest.mark.parametrize(
    "wrong",
    [
        {"left": None},
        {"left": "a", "earlier": "hello"},
        {"left": "a", "earlier": [1]},
        {"left": "a", "right": 3},
    ],
)
def test_a_context_that_is_no_text_is_refused(wrong: dict[str, Any]) -> None:
    session = field("see you ")
    with pytest.raises(ValueError, match="context"):
        session.set_context(**wrong)
    assert session.text == "see you "


def test_an_ordinal_stays_in_one_piece() -> None:
    session = field("on the 2")
    candidate = Candidate("nd", "word", "words", -1.0)
    assert session.accept(candidate) == Edit(0, "nd ")


def test_a_context_as_a_value_is_the_field_s() -> None:
    """What a host gives to a worker, where `Session.suggest` would be another thread's."""
    field = toy_engine().session()
    field.set_context("see you ", earlier=["Are you coming?"])
    for char in "tom":
        field.type(char)
    assert toy_engine().suggest(field.context, 5) == field.suggest(5)
    with pytest.raises(ValueError, match="its own earlier messages"):
        toy_engine().suggest(field.context, earlier=["Hi"])
