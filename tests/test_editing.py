"""Any text, and any way to it: the same as a fresh field on that text, and never an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kbengine import Edit, Engine, Session
from tests.fields import ALL_KINDS, assert_same, assert_sound, field
from tests.soak import times
from tests.toys import finger_engine, messages, toy_engine

pytestmark = pytest.mark.soak

# What people and their hosts put into a field

ODD = (
    "\x00", "\x1b", "\x7f", "\r\n", "\t", "\u00a0", "\u3000", "\u2028",  # control, space
    "\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u200e", "\u202e",  # unseen
    "\ud800", "\udfff", "\ud83d", "\ude00", "\ufffe", "\uffff", "\U0010ffff", "\ue000",  # no text
    "\u0301", "\u0300\u0316", "\u093e", "\u20e3", "\ufe0f", "\ufe0e", "\U0001f3fd",  # marks
    "e\u0301", "\u1e9b\u0323", "\ufb01", "\ufb2c", "İ", "ß", "ǆ", "ŉ", "…", "’", "ʼ", "‘a’",
    "שָׁ", "مرحبا", "ह", "ि", "ไทย", "我们", "한", "\u1112\u1161", "я", "\U00010400", "𝒶", "٣", "½",
    "😂", "❤️", "❤\ufe0e", "👍🏽", "👩🏽\u200d🚀", "👨\u200d👩\u200d👧\u200d👦", "🇬🇧",
    "🇬", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "😂\u200d😂", "😂\ufe0f", "👍\u200d", "©",
    "\u2581", "<unk>", "</s>", "▁the", "?!", "...", ":-)", "''", "--", "_", "a_b", "1a", "@#$%^&*",
)  # fmt: skip
LONG = (
    "a" * 300,
    "don't" * 60,
    "1" * 90,
    "?!" * 50,
    "😂" * 40,
    "我" * 300,
    "\u0301" * 40,
    "a'" * 99,
)
ANY_CHAR = st.characters(exclude_categories=())
KEYS = st.one_of(
    st.sampled_from([*"theyouisandwpmcl" * 2, *" '.,!?1-)\n"]),
    st.sampled_from(["the", "  ", " see you ", "I'm al", "pizza"]),
    st.sampled_from(ODD),
    ANY_CHAR,
)
ANY_TEXT = st.lists(KEYS, max_size=12).map("".join)
LINES = st.one_of(
    st.sampled_from(["", "see you ", "I'm al", "Hello. ", "we had pasta on ", "don't w", "😂"]),
    ANY_TEXT,
    st.tuples(ANY_TEXT, st.sampled_from(LONG), ANY_TEXT).map("".join),
)

# Any script equals a fresh field

STEPS = st.one_of(
    st.tuples(st.just("type"), KEYS),
    st.tuples(st.just("type"), KEYS),
    st.tuples(st.just("backspace"), st.just(0)),
    st.tuples(st.just("accept"), st.integers(0, 4)),
    st.tuples(st.just("literal"), st.just(0)),
    st.tuples(st.just("revert"), st.just(0)),
    st.tuples(st.just("jump"), st.integers(0, 400)),
    st.tuples(st.just("look"), st.sampled_from([1, 3, 8, 40])),
    st.tuples(st.just("set_context"), st.tuples(LINES, st.lists(LINES, max_size=3), LINES)),
)
Step = tuple[str, Any]


class Host:
    """A host application: a plain string and a caret, changed by the edits alone."""

    def __init__(self, fingers: bool = False) -> None:
        """fingers: with a channel, and so with corrections."""
        self.engine = finger_engine() if fingers else toy_engine()
        self.session = self.engine.session()
        self.left = self.right = ""
        self.earlier: Sequence[str] = ()

    def apply(self, edit: Edit) -> None:
        assert 0 <= edit.delete <= len(self.left)
        assert 0 <= edit.delete_after <= len(self.right)
        self.left = self.left[: len(self.left) - edit.delete] + edit.insert
        self.right = self.right[edit.delete_after :]

    def do(self, action: str, value: Any) -> None:
        match action:
            case "type":
                self.apply(self.session.type(value))
            case "backspace":
                self.apply(self.session.backspace())
            case "accept":
                found = self.session.suggest(5)
                if found:
                    self.apply(self.session.accept(found[value % len(found)]))
            case "literal":
                literal = self.session.literal()
                if literal is not None:
                    self.apply(self.session.accept(literal))
            case "revert":
                self.apply(self.session.revert())
            case "jump":
                whole, caret = self.left + self.right, value % (len(self.left + self.right) + 1)
                self.session.jump(caret)
                self.left, self.right = whole[:caret], whole[caret:]
            case "look":
                self.session.suggest(value, ALL_KINDS)
            case "set_context":
                self.left, self.earlier, self.right = value
                self.session.set_context(self.left, self.earlier, self.right)

    def assert_in_step(self) -> None:
        """The session's text is the host's."""
        whole, caret = self.session.text, self.session.caret
        assert (whole[:caret], whole[caret:]) == (self.left, self.right)

    def assert_like_a_fresh_field(self) -> None:
        """In what is suggested, too; and so is the one-shot, whatever was asked before."""
        fresh = field(self.left, self.earlier, self.right, self.engine)
        assert (self.session.text, self.session.caret) == (fresh.text, fresh.caret)
        assert self.session.typed == fresh.typed
        for n, slots in ((3, "words"), (6, ALL_KINDS), (5, None)):
            found = self.session.suggest(n, slots)
            assert_same(found, fresh.suggest(n, slots))
            assert_same(found, self.engine.suggest(self.left, n, self.earlier, slots))
            assert_sound(found, self.session.typed)


@given(st.lists(STEPS, max_size=14), st.booleans(), st.booleans())
@settings(max_examples=times(120, 20_000))
@example([("type", "n"), ("type", "o"), ("look", 1), ("look", 8), ("backspace", 0)], False, False)
@example([("type", "s"), ("type", "e"), ("backspace", 0), ("type", "o")], True, True)
@example([("type", "teh"), ("type", " "), ("type", "x"), ("revert", 0)], True, True)
@example([("type", "th"), ("type", " "), ("type", "e"), ("accept", 0)], True, True)
def test_any_script_equals_a_fresh_field(script: list[Step], eager: bool, fingers: bool) -> None:
    """eager: with suggestions asked for at every step, as a keyboard does."""
    host = Host(fingers)
    for action, value in script:
        revision, before = host.session.revision, (host.left, host.right)
        host.do(action, value)
        if eager:
            assert_sound(host.session.suggest(3), host.session.typed)
        host.assert_in_step()
        assert host.session.revision >= revision
        if before != (host.left, host.right):
            assert host.session.revision > revision
    host.assert_like_a_fresh_field()


@pytest.mark.parametrize("fingers", [False, True])
def test_a_long_session_equals_a_fresh_field(fingers: bool) -> None:
    """Long enough that the session has forgotten much of what it had computed."""
    host = Host(fingers)
    for line in messages()[: times(12, len(messages()))]:
        for key in line:
            host.do("type", key)
            host.session.suggest(3)
        host.do("type", " ")
    host.assert_like_a_fresh_field()
    for caret in (len(host.left) // 2, 3, 0):
        host.do("jump", caret)
        host.assert_like_a_fresh_field()


@given(st.lists(KEYS, max_size=12))
@settings(max_examples=times(60, 10_000))
def test_typing_any_text_equals_a_fresh_field(keys: list[str]) -> None:
    host = Host()
    for key in keys:
        host.do("type", key)
    assert host.left == "".join(keys)
    host.assert_like_a_fresh_field()


@given(ANY_TEXT, st.integers(0, 99))
@settings(max_examples=times(100, 20_000))
def test_backspace_leaves_what_stood_before_and_ends_at_nothing(left: str, caret: int) -> None:
    host = Host()
    host.do("set_context", (left, [], left[caret:]))
    while host.left:
        before = host.left
        host.do("backspace", 0)
        host.assert_in_step()
        assert before.startswith(host.left)
        assert len(host.left) < len(before)
    assert host.right == left[caret:]
    assert host.session.backspace() == Edit()


SEEN_AS_ONE = (
    "😂", "❤️", "👍🏽", "👩🏽\u200d🚀", "👨\u200d👩\u200d👧\u200d👦", "🇬🇧", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "e\u0301", "\u1e9b\u0323", "नि", "a", "我",
)  # fmt: skip


@given(st.lists(st.sampled_from(SEEN_AS_ONE), max_size=9))
@settings(max_examples=times(60, 5000))
def test_one_backspace_for_what_is_seen_as_one(line: list[str]) -> None:
    host = Host()
    host.do("set_context", ("".join(line), [], ""))
    while line:
        line.pop()
        host.do("backspace", 0)
        assert host.left == "".join(line)


@pytest.mark.parametrize("emoji", ["😂\ufe0f", "❤\ufe0e", "👍\u200d", "😂\ufe0e\u200d👩"])
def test_an_emoji_goes_with_its_selectors_and_joiners(emoji: str) -> None:
    session = field(f"so {emoji}")
    assert session.backspace() == Edit(len(emoji))


# Any text

EXTREMES = {
    "nothing": "",
    "emoji only": "😂❤️👍🏽👩🏽\u200d🚀🇬🇧" * 9,
    "emoji joined to one": "😂" + "\u200d😂" * 300,
    "signs only": "?!...---((()))''\"\"" * 9,
    "apostrophes": "a'" * 300,
    "one long word": "a" * 10_000,
    "many words": "so we had pasta " * 700,
    "numbers and letters by turns": "1a" * 10_000,
    "spaces": " \t\n\u00a0\u3000" * 99,
    "line breaks": "hi\n\n" * 500,
    "right to left": "שָׁלוֹם מرحבا \u202eabc\u202c",
    "Chinese": "我们明天去吃饭吧" * 300,
    "Thai": "เก็บเงินที่นี่",
    "Hindi": "नमस्ते दुनिया",
    "control": "".join(map(chr, range(32))) + "\x7f\x85\x9b",
    "NUL": "\x00" * 3000,
    "surrogates": "\ud83d x \ude00\ud83d",
    "unseen": "\u200b\u200d\u2060\ufeff" * 500,
    "unnormalised": "cafe\u0301 A\u030a \ufb01 \u1e9b\u0323",
    "grows in normal form": "\ufb2c1" * 1200,
    "accents only": "\u0301" * 300,
    "marks of the vocabulary": "\u2581the <unk><s></s>",
    "noncharacters": "\ufffe\uffff\U0010ffff",
}


def use(session: Session, left: str) -> None:
    """Everything a host does, on some text; nothing may raise, all must be sound."""
    session.set_context(left, [left, "hi"], left[:3])
    assert session.text == left + left[:3]
    for n, slots in ((1, None), (3, ALL_KINDS), (3, "words")):
        assert_sound(session.suggest(n, slots), session.typed)
    literal = session.literal()
    if literal is not None:
        assert_sound([literal], session.typed)
    made = session.autocorrect()
    assert (made is None) == (not session.typed)
    assert made is None or 0 <= made.p <= 1 + 1e-9
    for char in left[-3:]:
        session.type(char)
        session.suggest(2)
    found = session.suggest(5)
    if found:
        session.accept(found[-1])
    session.backspace()
    session.jump(len(session.text) // 2)
    session.suggest(3)


def assert_still_itself(session: Session, engine: Engine) -> None:
    session.set_context("see you t")
    assert_same(session.suggest(5), field("see you t", engine=engine).suggest(5))


@pytest.mark.parametrize("fingers", [False, True])
@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_texts(name: str, fingers: bool) -> None:
    engine = finger_engine() if fingers else toy_engine()
    session = engine.session()
    use(session, EXTREMES[name])
    assert_still_itself(session, engine)


@pytest.fixture(scope="module")
def used() -> Session:
    """A session that has seen all the texts before."""
    return finger_engine().session()


@given(left=LINES)
@settings(max_examples=times(80, 20_000))
def test_any_text(used: Session, left: str) -> None:
    use(used, left)
    assert_still_itself(used, finger_engine())
