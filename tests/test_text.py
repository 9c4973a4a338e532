"""What is on the line: normal form, tokens, the open word, emoji forms, casing."""

from __future__ import annotations

import unicodedata

import emoji
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kbengine import text
from kbengine.text import Shape

HEART = "\u2764\ufe0f"
TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
# Signs that the rules of this module are about, and letters that combine or change length.
TRICKY = (
    *" '\"’‘“”…‐.,!?()-_\t\n\r\x00\x7f\x85",
    *"aZiIİıßſéñदीकไทยשלוםمرحبا中あ９³½",
    *"\u0301\u0308\u0327\u093e\u200b\u200d\u200c\u00ad\ufeff\u2060\u202e\ufffd\ufffc",
    *"\ud83d\ude00\udfff\ud800",
    *("😀", "❤", HEART, "👍🏽", "👩🏽\u200d🚀", "🇬🇧", "1\ufe0f\u20e3", "©", "\U0001f3fd"),
)
any_char = st.one_of(st.sampled_from(TRICKY), st.characters(exclude_categories=()))
any_text = st.lists(any_char, max_size=24).map("".join)


# Normal form


@given(any_text)
@example("e\u200b\u0301")  # the accent meets its letter once the unseen space is gone
@example("\u00ad".join("o\u0308"))
def test_normalise_is_idempotent_nfc_and_encodable(line: str) -> None:
    once = text.normalise(line)
    assert text.normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once.encode("utf-8").decode("utf-8") == once
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in once)


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("it’s ‘so’", "it's 'so'"),
        ("“Hi” she said…", '"Hi" she said...'),
        ("well\u2010known", "well-known"),
        ("cafe\u0301", "café"),
        ("a\tb\r\nc\x00d", "a b  c d"),
        ("co\u00adop\u200b\ufeff\u202e\u2066s", "coops"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\ud83d\ude00", "😀"),
        ("", ""),
    ],
)
def test_normalise_by_example(line: str, plain: str) -> None:
    assert text.normalise(line) == plain


@pytest.mark.parametrize("line", ["\ud800", "a\udfffb", "\ude00\ud83d", "x\ud83d"])
def test_a_lone_surrogate_leaves_the_rest_of_the_line(line: str) -> None:
    whole = "".join(c for c in line if not 0xD800 <= ord(c) <= 0xDFFF)
    assert text.normalise(line).replace("\ufffd", "") == whole


# Tokens


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("I can't, not at 10:30 :)", ["i", "can't", ",", "not", "at", "10", ":", "30", ":)"]),
        ("They DON’T know", ["they", "don't", "know"]),
        ("'quoted' words", ['"', "quoted", '"', "words"]),
        ("rock 'n' roll", ["rock", '"', "n", '"', "roll"]),
        ("the dogs' park", ["the", "dogs", '"', "park"]),
        ("'''", ['"']),
        ("don't've", ["don't've"]),
        ("well-known", ["well", "-", "known"]),
        ("snake_case", ["snake", "_", "case"]),
        ("abc123def", ["abc", "123", "def"]),
        ("wait...what?!", ["wait", "...", "what", "?!"]),
        ("", []),
        ("   ", []),
        ("naïve Café", ["naïve", "café"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("ภาษาไทย", ["ภาษาไทย"]),
        ("เก็บ ที่นี่", ["เก็บ", "ที่นี่"]),
        ("Việt Nam", ["việt", "nam"]),
        ("שָׁלוֹם", ["שָׁלוֹם"]),
        ("我们 ok", ["我们", "ok"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("क्\u200dष", ["क्\u200dष"]),
        ("so good😂😂!", ["so", "good", "😂", "😂", "!"]),
        ("love\u2764you", ["love", HEART, "you"]),
        ("👍🏽 👩🏽\u200d🚀", ["👍", "👩\u200d🚀"]),
        ("go 🇬🇧🇫🇷", ["go", "🇬🇧", "🇫🇷"]),
    ],
)
def test_tokens_by_example(line: str, expected: list[str]) -> None:
    assert text.tokens(text.normalise(line)) == expected


@given(any_text)
def test_tokens_of_any_text_are_whole_and_stay_themselves(line: str) -> None:
    plain = text.normalise(line)
    found = text.tokens(plain)
    assert all(found)
    assert not any(c.isspace() for token in found for c in token)
    assert text.tokens(" ".join(found)) == found


@given(st.text(st.sampled_from("abcXYZ'’ 12.,!?-éñदी\u0301"), max_size=30))
def test_no_letter_or_digit_is_lost(line: str) -> None:
    plain = text.normalise(line).lower()
    assert [c for c in "".join(text.tokens(plain)) if c.isalnum()] == [
        c for c in plain if c.isalnum()
    ]


@pytest.mark.parametrize("token", ["a", "don't", "é", "cafe\u0301", "हिन्दी", "ไทย", "中文"])
def test_words(token: str) -> None:
    assert text.is_word(token)


@pytest.mark.parametrize("token", ["", "'", "a'", "'a", "a''b", "a1", "a b", "-", "😂", "a_b"])
def test_what_is_no_word(token: str) -> None:
    assert not text.is_word(token)


# The open word


@pytest.mark.parametrize(
    ("line", "before", "word"),
    [
        ("They see you t", "They see you ", "t"),
        ("They see you ", "They see you ", ""),
        ("don't", "", "don't"),
        ("I don'", "I ", "don'"),
        ("I don’t", "I ", "don’t"),
        ("said 'hel", "said '", "hel"),
        ("(hel", "(", "hel"),
        ("hello.", "hello.", ""),
        ("10", "10", ""),
        ("10k", "10", "k"),
        ("😂lo", "😂", "lo"),
        ("lo😂", "lo😂", ""),
        ("dogs ❤\ufe0f", "dogs ❤\ufe0f", ""),
        ("1\ufe0f\u20e3lo", "1\ufe0f\u20e3", "lo"),
        ("un cafe\u0301", "un ", "cafe\u0301"),
        ("मैं हिन्", "मैं ", "हिन्"),
        ("ที่", "", "ที่"),
        ("من می\u200cخوا", "من ", "می\u200cخوا"),
        ("'", "'", ""),
        ("''", "''", ""),
        ("", "", ""),
        ("new\n", "new\n", ""),
    ],
)
def test_open_word_by_example(line: str, before: str, word: str) -> None:
    assert text.split_open_word(line) == (before, word)


@given(any_text)
@example("ʼ")  # a letter to Unicode, an apostrophe in normal form
def test_the_open_word_is_cut_off_and_nothing_is_lost(line: str) -> None:
    before, word = text.split_open_word(line)
    assert before + word == line
    assert not text.split_open_word(before)[1]
    if word:
        assert text.is_word(text.normalise(word).rstrip("'\u200c\u200d"))


# Emoji


@pytest.mark.parametrize(
    ("symbol", "base"),
    [
        ("\u2764", HEART),
        (HEART, HEART),
        ("👍🏿", "👍"),
        ("👩🏽\u200d🚀", "👩\u200d🚀"),
        ("🤷🏻\u200d♀", "🤷\u200d♀️"),
        ("😂", "😂"),
        ("☕\ufe0f", "☕"),
        ("©", "©\ufe0f"),
        ("x", "x"),
        ("", ""),
        ("🏽", "🏽"),
    ],
)
def test_base_emoji_by_example(symbol: str, base: str) -> None:
    assert text.base_emoji(symbol) == base


def test_every_emoji_has_one_base_form_that_is_an_emoji() -> None:
    for symbol in emoji.EMOJI_DATA:
        base = text.base_emoji(symbol)
        assert text.base_emoji(base) == base
        assert text.is_emoji(base)
        bare = base.replace("\ufe0f", "")
        assert text.base_emoji(bare) == base, "forms with and without U+FE0F must meet"
        assert text.tokens(text.normalise(symbol)) == [base]


def test_a_base_form_has_a_skin_tone_only_where_unicode_has_no_other() -> None:
    known = {symbol.replace("\ufe0f", "") for symbol in emoji.EMOJI_DATA}
    for symbol in emoji.EMOJI_DATA:
        toneless = "".join(c for c in symbol if c not in TONES).replace("\ufe0f", "")
        if toneless in known:
            assert not set(text.base_emoji(symbol)) & set(TONES)


@pytest.mark.parametrize("token", ["a", "", "?!", "10", "1", "#", ":)", "😂😂", "a😂", "नी"])
def test_what_is_no_emoji(token: str) -> None:
    assert not text.is_emoji(token)


def test_split_emoji_keeps_everything_in_order() -> None:
    assert text.split_emoji("a 😂b\u2764") == [
        ("a ", False), ("😂", True), ("b", False), (HEART, True)
    ]  # fmt: skip
    assert text.split_emoji("no emoji") == [("no emoji", False)]


# Casing


@pytest.mark.parametrize(
    ("word", "typed", "shown"),
    [
        ("hello", "Hel", "Hello"),
        ("hello", "HEL", "HELLO"),
        ("hello", "hel", "hello"),
        ("hello", "H", "Hello"),
        ("hello", "heL", "heLlo"),
        ("hello", "", "hello"),
        ("London", "lond", "London"),
        ("London", "LOND", "LONDON"),
        ("London", "Lond", "London"),
        ("I", "i", "I"),
        ("I'm", "i", "I'm"),
        ("I'm", "I'", "I'm"),
        ("NASA", "na", "NASA"),
        ("NASA", "Na", "NASA"),
        ("iPhone", "ip", "iPhone"),
        ("iPhone", "iPh", "iPhone"),
        ("McDonald", "mcd", "McDonald"),
        ("McDonald", "McD", "McDonald"),
        ("don't", "DON'", "DON'T"),
        ("été", "É", "Été"),
        ("हिन्दी", "हि", "हिन्दी"),
    ],
)
def test_follow_case_inside_a_sentence(word: str, typed: str, shown: str) -> None:
    assert text.follow_case(word, typed, sentence_start=False) == shown


@pytest.mark.parametrize(
    ("word", "typed", "shown"),
    [("hello", "", "Hello"), ("London", "", "London"), ("hello", "h", "hello")],
)
def test_follow_case_at_the_start_of_a_sentence(word: str, typed: str, shown: str) -> None:
    """Without letters the sentence decides; a letter typed small was meant small."""
    assert text.follow_case(word, typed, sentence_start=True) == shown


cased = st.text(st.sampled_from("abcdéñABCDÉÑ'"), min_size=1, max_size=8).filter(text.is_word)


@given(cased, st.data())
@settings(max_examples=200)
def test_casing_changes_nothing_but_case_and_keeps_typed_capitals(
    typed: str, data: st.DataObject
) -> None:
    rest = data.draw(st.text(st.sampled_from("abcdé"), max_size=5))
    word = typed.lower() + rest
    shown = text.follow_case(word, typed, data.draw(st.booleans()))
    assert shown.lower() == word
    capitals = [i for i, c in enumerate(typed) if c.isupper()]
    assert all(shown[i] == typed[i] for i in capitals)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("hello", Shape.LOWER),
        ("don't", Shape.LOWER),
        ("Hello", Shape.TITLE),
        ("I", Shape.TITLE),
        ("I'm", Shape.TITLE),
        ("NASA", Shape.UPPER),
        ("I'M", Shape.UPPER),
        ("iPhone", Shape.MIXED),
        ("McDonald", Shape.MIXED),
        ("", Shape.LOWER),
        ("हिन्दी", Shape.LOWER),
    ],
)
def test_shape(word: str, expected: Shape) -> None:
    assert text.shape(word) is expected


@pytest.mark.parametrize(
    "before", ["", "  ", "Hi. ", "Hi! ", "Really?  ", 'He said "Hi." ', "(Done.) ", "wait... "]
)
def test_a_sentence_starts(before: str) -> None:
    assert text.starts_sentence(before)


@pytest.mark.parametrize("before", ["Hi ", "Hi.", "3.", "Hi, ", "a) ", "well - ", "so: "])
def test_a_sentence_goes_on(before: str) -> None:
    assert not text.starts_sentence(before)


def test_count_casings_knows_sentence_starts() -> None:
    line = 'She said "Hello there" to Tom. Then I left'
    assert list(text.count_casings(line)) == [
        ("She", True), ("said", False), ("Hello", True), ("there", False), ("to", True),
        ("Tom", False), ("Then", True), ("I", False), ("left", False),
    ]  # fmt: skip
