"""What a space commits, on the shipped model and by hand-made candidates; and the way back."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kbengine
from kbengine import Edit, Engine, Session, read_layout
from kbengine.autocorrect import decide, margin
from kbengine.beam import BeamOptions, search
from kbengine.channel import Channel
from kbengine.constraint import Heard
from kbengine.decoder import Decoder, DecoderOptions
from kbengine.lettertrie import LetterTrie
from kbengine.tree import StateTree
from kbengine.types import Candidate, Context, Tap, candidate
from kbengine.vocab import BOS
from tests import toys
from tests.fields import type_all
from tests.soak import times

LAYOUTS = Path(__file__).parent.parent / "data" / "layouts"


@functools.cache
def shipped() -> Engine:
    return kbengine.load()


def typed(keys: str, before: str = "", **options: object) -> Session:
    """A field of the shipped model with some text, in which keys were typed."""
    session = shipped().session(**options)  # type: ignore[arg-type]
    session.set_context(before)
    type_all(session, keys)
    return session


# What is corrected, and what is left alone


@pytest.mark.parametrize(
    ("before", "keys", "text"),
    [
        ("I want ", "teh ", "I want the "),
        ("I ", "recieve ", "I receive "),
        ("I am ", "goign ", "I am going "),
        ("I have ", "alot of ", "I have a lot of "),
        ("I went ", "tothe ", "I went to the "),
        ("", "ibwant ", "I want "),
        ("I want th ", "e ", "I want the "),
        ("I ", "dont ", "I don't "),
        ("", "im here ", "I'm here "),
        ("I promise ", "ill ", "I promise I'll "),
        ("you look ", "ill ", "you look ill "),
        ("so ", "i ", "so I "),
        ("We met in ", "london ", "We met in London "),
        ("He works at ", "nasa ", "He works at NASA "),
        ("I see ", "teh, ", "I see the, "),
        ("I see ", "teh!", "I see the!"),
    ],
)
def test_slips_are_mended(before: str, keys: str, text: str) -> None:
    assert typed(keys, before).text == text


@pytest.mark.parametrize(
    ("before", "keys"),
    [
        ("I am coming ", "form home "), ("see ", "www.teh.com "), ("see ", "exmple.com "),
        ("", "10teh "), ("so #", "teh "), ("ask @", "teh "), ("to jonh@", "teh.org "),
        ("my ", "parents' house "), ("he said ", "'hello' "), ("a ", "well-knwon "),
        ("I like ", "ChatGPT "), ("The ", "XQZT "), ("a_", "teh "), ("foo(", "bar "),
        ("Hi. I met Kowalski. ", "Kowalski "), ("see ", "file.teh "), ("", "💥 "), ("", "я "),
    ],
)  # fmt: skip
def test_what_is_meant_is_left_alone(before: str, keys: str) -> None:
    assert typed(keys, before).text == before + keys


def test_a_name_of_the_conversation_is_known() -> None:
    session = shipped().session()
    session.set_context("", earlier=["Have you seen Dziewonski today?"])
    type_all(session, "I saw dziewonski ")
    assert session.text == "I saw Dziewonski "
    session.set_context("", earlier=["Have you seen Dziewonski today?"])
    type_all(session, "I saw dziewonsli")
    made = session.autocorrect()
    assert made is not None
    assert made.text == "Dziewonski"


def test_an_accent_is_offered() -> None:
    shown = [c.text for c in shipped().suggest("we met in a cafe", 5, slots="words")]
    assert "café" in shown


def test_the_finger_decides_where_it_is_known() -> None:
    """The same letters: in the middle of their keys, and at the very edge to another."""
    session = shipped().session()
    session.set_context("it is on or ")
    places = {"i": (7.97, 0.75), "n": (7.0, 3.75)}
    for char in "in":
        session.type(char, *places[char])
    edge = session.autocorrect()
    assert edge is not None
    keys = typed("in", "it is on or ").autocorrect()
    assert keys is not None
    assert keys.text == "in"
    assert edge.p < keys.p or edge.corrects


def test_margins_are_ordered() -> None:
    """What is corrected timidly is so normally, and so on; off corrects nothing."""
    made = []
    for name in ("off", "timid", "normal", "bold"):
        found = {
            word
            for word in ("teh", "recieve", "wierd", "tommorow", "ill", "hwo", "xylofone", "adn")
            if (made_ := typed(word, "so ", autocorrect=name).autocorrect()) and made_.corrects
        }
        made.append(found)
    assert made[0] == set()
    assert made[0] <= made[1] <= made[2] <= made[3]
    assert len(made[2]) >= 4
    with pytest.raises(ValueError, match="margin"):
        margin("brave")


def test_the_channel_can_be_switched_off() -> None:
    assert typed("teh ", "I want ", channel=False).text == "I want teh "
    shown = typed("teh", "I want ", channel=False).suggest(5, "words")
    assert all(c.text.lower().startswith("teh") for c in shown)


def test_a_layout_says_which_keys_are_neighbours() -> None:
    german = read_layout(LAYOUTS / "qwertz.tsv")
    context = Context((), "I see ", tuple(map(Tap, "tou")))
    p = []
    for layout in (None, german):
        found = shipped().predictor(layout=layout).finish(context, 8)
        p.append(sum(math.exp(c.logp) for c in found if c.text == "you"))
    assert p[0] > p[1]  # y stands beside t on QWERTY alone
    with pytest.raises(ValueError, match="keyboard"):
        shipped().session(layout="qwertz")  # type: ignore[arg-type]


def test_an_offset_is_learned_within_a_session() -> None:
    layout = shipped().layout
    assert layout is not None
    keys = layout.keys
    session = shipped().session()
    for word in ("hello ", "where ", "are ", "you ", "going ", "tonight "):
        for char in word:
            place = keys.get(char)
            if place is None:
                session.type(char)
            else:
                session.type(char, place[0] + 0.4, place[1])
    ear = session._predictor.ear
    assert ear is not None
    assert 0.15 < ear.offset_kw[0] < 0.4
    assert abs(ear.offset_kw[1]) < 0.05


# The way back


def test_a_correction_is_taken_back_and_not_made_again() -> None:
    session = typed("teh cat ", "I see ")
    assert session.text == "I see the cat "
    assert session.revert() == Edit(8, "teh cat ")
    assert session.text == "I see teh cat "
    type_all(session, "and teh ")
    assert session.text == "I see teh cat and teh "
    assert session.revert() == Edit()


def test_a_word_over_a_space_is_taken_back_and_not_made_again() -> None:
    session = typed("row ", "see you tomor ")
    assert session.text == "see you tomorrow "
    session.revert()
    assert session.text == "see you tomor row "
    session.backspace()
    session.type(" ")
    assert session.text == "see you tomor row "


def test_corrections_are_found_where_they_have_moved() -> None:
    session = typed("teh cat adn ", "I see ")
    assert session.text == "I see the cat and "
    session.jump(0)
    type_all(session, "Oh, ")
    assert session.revert() == Edit()  # nothing left of the caret
    session.jump(len(session.text))
    session.revert()
    assert session.text == "Oh, I see the cat adn "
    session.revert()
    assert session.text == "Oh, I see teh cat adn "


def test_what_was_written_over_is_not_brought_back() -> None:
    session = typed("teh ", "I see ")
    for _ in "the ":
        session.backspace()
    type_all(session, "an ox ")
    assert session.revert() == Edit()
    assert session.text == "I see an ox "


def test_who_begins_small_is_left_so_once_told() -> None:
    session = typed("hello ")
    assert session.text == "Hello "
    session.revert()
    session.set_context("")
    type_all(session, "good ")
    assert session.text == "good "
    assert typed("so we go ", "small begins. ").text == "small begins. so we go "


# The server, which never touches what stands before the prefix


def test_the_literal_is_always_among_the_words_of_a_finished_one() -> None:
    predictor = shipped().predictor()
    for word in ("teh", "recieve", "xqzt", "ibwant", "#teh", "1", "a b", "💥"):
        found = predictor.finish(Context((), "see ", tuple(map(Tap, word))), 3)
        assert word in [c.text for c in found]
        made = predictor.autocorrect(Context((), "see ", tuple(map(Tap, word))), joins=False)
        assert made is not None
        assert made.replaces == len(word)
        assert 0 <= made.p <= 1


# By hand


def row(text: str, p: float, kind: str = "word", replaces: int = 3) -> Candidate:
    return candidate(text, kind, "words", {"language model": math.log(p)}, replaces)  # type: ignore[arg-type]


def test_the_decision_by_hand() -> None:
    words = [row("the", 0.96), row("tea", 0.02), row("teh", 0.02, "literal")]
    made = decide(words, False, False, "normal")
    assert (made.text, made.literal, made.corrects) == ("the", "teh", True)
    assert made.p == pytest.approx(0.96)
    assert not decide(words, True, False, "normal").corrects  # a known word, keys alone
    assert not decide(words, False, False, "off").corrects
    assert not decide(words, False, False, "timid").corrects
    # Casings of one word are one word.
    words = [row("London", 0.6), row("london", 0.38, "literal"), row("Linden", 0.02)]
    made = decide(words, True, False, "normal")
    assert (made.text, made.p) == ("London", pytest.approx(0.98))


# The joint search against brute force


@settings(max_examples=times(25, 400), deadline=None)
@given(
    st.sampled_from(["", "see you ", "I am ", "are you coming to "]),
    st.sampled_from(["teh", "tomorow", "hapy", "yuo", "dont", "goin", "birthda", "s", "wht"]),
    st.booleans(),
)
def test_keys_and_context_are_searched_exactly(context: str, keys: str, finished: bool) -> None:
    """Every word of the lexicon by the chain rule and the decoder's word for it."""
    vocabulary, lexicon = toys.toy_vocabulary(), toys.toy_lexicon()
    trie = LetterTrie(lexicon)
    decoder = Decoder(
        trie, Channel(toys.toy_channel(), trie.alphabet), DecoderOptions(1e6, 0.0, 10**6)
    )
    decoder.feed([Tap(char) for char in keys])
    heard = Heard(lexicon, trie, decoder, finished)
    tree = StateTree(toys.toy_model(), vocabulary.boundary)
    node = tree.walk([BOS, *vocabulary.encode(context)])
    wanted = []
    for entry in lexicon:
        place = lexicon.find(entry.word)
        assert place is not None
        channel_logp = heard.word_logp(place)
        if channel_logp == -math.inf:
            continue
        logp, end = tree.path_logp(node, lexicon.path(place))
        tree.predict([end])
        wanted.append(logp + end.end_logp + channel_logp)
    wide = BeamOptions(batch=16, calls=10_000, fan=64)
    found = search(
        tree, node, heard, vocabulary.spell, 5, wide, None, heard.best_logp
    )  # fmt: skip
    assert found.exact
    best = sorted(wanted, reverse=True)[:5]
    assert [h.score for _, h in found.words] == pytest.approx(best, abs=1e-3)
