"""Emoji as they are shown, in a tone and a gender, and as they are found by name."""

from __future__ import annotations

import functools
from itertools import product

import emoji
import pytest

import kbengine
from kbengine import text
from kbengine.emojistyle import TONES, EmojiStyle
from tests.toys import toy_engine

FULL = frozenset(
    symbol
    for symbol, facts in emoji.EMOJI_DATA.items()
    if facts["status"] == emoji.STATUS["fully_qualified"]
)
GENDERS = ("woman", "man")
STYLES = [EmojiStyle(tone, gender) for tone, gender in product(("", *TONES), ("", *GENDERS))]
DARK = TONES["dark"]


@functools.cache
def base() -> list[str]:
    return sorted({text.base_emoji(symbol) for symbol in FULL})


def bare(symbol: str) -> str:
    """Without tones and U+FE0F."""
    return "".join(c for c in symbol if c not in TONES.values() and c != "\ufe0f")


# Style


def test_a_style_is_read() -> None:
    assert EmojiStyle.parse("") == EmojiStyle()
    assert EmojiStyle.parse("tone=dark") == EmojiStyle(tone="dark")
    everything = EmojiStyle("medium-light", "man", 0.5)
    assert EmojiStyle.parse("tone=medium-light,gender=man,diversity=0.5") == everything
    assert EmojiStyle.parse(" diversity=.5, gender=man ,tone=medium-light,") == everything


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("tone=green", "'green'"),
        ("gender=both", "'both'"),
        ("diversity=2", "diversity of 2"),
        ("diversity=-0.1", "diversity of -0.1"),
        ("diversity=nan", "diversity of nan"),
        ("diversity=much", "diversity=much"),
        ("colour=dark", "colour=dark"),
        ("dark", "'dark' is no emoji style"),
        ("tone=dark,tone=light", "tone=light"),
    ],
)
def test_what_is_no_style_is_named(spec: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        EmojiStyle.parse(spec)


@pytest.mark.parametrize("style", STYLES, ids=lambda s: f"{s.tone or 'plain'}-{s.gender or 'any'}")
def test_every_emoji_stays_an_emoji_in_full_form(style: EmojiStyle) -> None:
    shown = {symbol: style.apply(symbol) for symbol in base()}
    assert [one for one in shown.items() if not text.is_emoji(one[1])] == []
    changed = [one for one in shown.items() if one[0] != one[1]]
    assert [one for one in changed if one[1] not in FULL] == []
    assert bool(changed) == (style != EmojiStyle())


@pytest.mark.parametrize("tone", TONES)
def test_every_emoji_that_has_the_tone_is_shown_in_it_and_no_other(tone: str) -> None:
    style, sign = EmojiStyle(tone), TONES[tone]
    others = set(TONES.values()) - {sign}
    toned = {bare(e) for e in FULL if sign in e and not others & set(e) and e != sign}
    plain = [e for e in base() if bare(e) == e.replace("\ufe0f", "")]  # not two people of two tones
    for symbol in plain:
        shown = style.apply(symbol)
        assert bare(shown) == bare(symbol)
        assert (sign in shown) == (bare(symbol) in toned)


@pytest.mark.parametrize(
    ("symbol", "style", "shown"),
    [
        ("👍", "tone=dark", "👍" + DARK),
        ("👍", "gender=woman", "👍"),
        ("❤️", "tone=dark,gender=man", "❤️"),
        ("☝️", "tone=dark", "☝" + DARK),
        ("🤷", "gender=woman", "🤷\u200d♀️"),
        ("🤷", "gender=man,tone=dark", f"🤷{DARK}\u200d♂️"),
        ("🧑\u200d🏫", "gender=woman", "👩\u200d🏫"),
        ("🧑\u200d🏫", "gender=man,tone=dark", f"👨{DARK}\u200d🏫"),
        ("🧑", "gender=woman", "👩"),
        ("🤝", "tone=dark", "🤝" + DARK),
        ("👫", "tone=dark,gender=man", "👫" + DARK),
        ("👩\u200d❤️\u200d👨", "tone=dark", f"👩{DARK}\u200d❤️\u200d👨{DARK}"),
        ("🧑\u200d🤝\u200d🧑", "tone=dark", f"🧑{DARK}\u200d🤝\u200d🧑{DARK}"),
        ("🧑\u200d🤝\u200d🧑", "gender=woman", "🧑\u200d🤝\u200d🧑"),
        ("👨\u200d👩\u200d👧", "tone=dark,gender=woman", "👨\u200d👩\u200d👧"),
        ("🏳️\u200d🌈", "tone=dark,gender=woman", "🏳️\u200d🌈"),
        ("🇩🇪", "tone=dark,gender=woman", "🇩🇪"),
        ("1️⃣", "tone=dark,gender=woman", "1️⃣"),
        ("🕵️", "gender=woman,tone=dark", f"🕵{DARK}\u200d♀️"),
        ("🕵️", "gender=woman", "🕵️\u200d♀️"),
    ],
)
def test_as_it_is_shown(symbol: str, style: str, shown: str) -> None:
    assert EmojiStyle.parse(style).apply(symbol) == shown


def test_what_has_another_gender_changes_it() -> None:
    for one, other in (GENDERS, GENDERS[::-1]):
        for symbol in ("🤷", "🧑\u200d🏫", "🧑\u200d🦰", "💃", "🕵️"):
            gendered = EmojiStyle(gender=one).apply(symbol)
            wanted = EmojiStyle(gender=other).apply(symbol)
            assert wanted != gendered
            assert EmojiStyle(gender=other).apply(gendered) == wanted


def test_a_tone_or_gender_that_is_asked_for_by_name_stays(engine: kbengine.Engine) -> None:
    style = EmojiStyle(tone="dark", gender="man")
    assert engine.find_emoji("thumbs up light skin tone", 1, emoji_style=style) == ["👍🏻"]
    assert engine.find_emoji("woman shrugging", 1, emoji_style=style) == ["🤷🏿\u200d♀️"]


# By name


@pytest.fixture(scope="module")
def engine() -> kbengine.Engine:
    return kbengine.load()


def test_every_emoji_is_found_by_its_english_name(engine: kbengine.Engine) -> None:
    names = text.emoji_names("en")
    assert len(FULL) > 3000
    assert [s for s in FULL if s not in engine.find_emoji(names[s], 20)] == []


def test_another_language_has_its_own_names(engine: kbengine.Engine) -> None:
    hearts = engine.find_emoji("Herz", 20, "de")
    assert "❤️" in hearts
    names = text.emoji_names("de")
    assert all("herz" in names[symbol].lower() for symbol in hearts)
    assert "❤️" not in engine.find_emoji("Herz")


def test_a_language_without_names_is_refused(engine: kbengine.Engine) -> None:
    with pytest.raises(ValueError, match="'tlh'"):
        engine.find_emoji("heart", language="tlh")


def test_the_number_of_emoji_is_kept_and_each_comes_once() -> None:
    for n in (0, 1, 3, 50):
        found = toy_engine().find_emoji("face", n)
        assert len(found) == len(set(found)) == min(n, len(found))
    assert len(toy_engine().find_emoji("face", 50)) > 3
    for nothing in ("", "  ", "qqq"):
        assert toy_engine().find_emoji(nothing) == []


def test_the_bundles_own_keywords_and_the_full_names_both_count() -> None:
    assert toy_engine().find_emoji("laugh")[0] == "😂", "a keyword of the toy table alone"
    assert "🥦" in toy_engine().find_emoji("broccoli"), "the toy table has none"
    assert toy_engine().find_emoji("PIZZ")[0] == "🍕"


def test_forms_with_tones_are_found_by_their_full_name(engine: kbengine.Engine) -> None:
    toned = "👍" + TONES["medium"]
    assert engine.find_emoji("thumbs up medium skin tone")[0] == toned
    assert engine.find_emoji("thumbs up")[0] == "👍"


def test_what_is_found_is_shown_in_the_style(engine: kbengine.Engine) -> None:
    style = EmojiStyle("dark", "woman")
    assert engine.find_emoji("thumbs up", emoji_style=style)[0] == "👍" + DARK
    shown = engine.find_emoji("shrug", emoji_style=style)
    assert shown[0] == f"🤷{DARK}\u200d♀️"
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize(
    ("symbol", "keyword", "line"),
    [
        ("🥳", "party", "are you coming to the party"),
        ("🥱", "yawn", "I cannot stop yawning"),
        ("🫠", "melting", "it is so hot that I am melting"),
    ],
)
def test_an_emoji_newer_than_the_text_is_found_and_offered(
    engine: kbengine.Engine, symbol: str, keyword: str, line: str
) -> None:
    assert engine.find_emoji(text.emoji_names("en")[symbol])[0] == symbol
    assert symbol in [c.text for c in engine.suggest(keyword, 9, slots="emoji")]
    assert symbol in [c.text for c in engine.emoji(line, 9)]
