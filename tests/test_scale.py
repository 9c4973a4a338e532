"""Words, phrases, emoji and signs on one scale: probabilities of disjoint events."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

import kbengine
from kbengine import Edit
from kbengine.engine import context_of
from kbengine.mix import Slots, rank
from kbengine.predict import Predictor, Wish
from kbengine.sources.phrases import PhraseOptions
from kbengine.types import PARTS, Candidate, candidate
from tests.fields import field, texts
from tests.toys import messages, toy_emoji, toy_engine

PLACES = ("", "see you ", "I love ", "happy birthday ", "thank you so ", "I love pizza ", "ok. ")
ALL = "words:20,phrase:9,emoji:9,signs:3"


@pytest.fixture(scope="module")
def shipped() -> kbengine.Engine:
    return kbengine.load()


def predictor() -> Predictor:
    return toy_engine().predictor()


@pytest.mark.parametrize("line", PLACES)
def test_emoji_and_all_else_share_one(line: str) -> None:
    """The mass of every piece that is no emoji, as the words have it, and that of all emoji."""
    asked = predictor()
    place = asked.query(context_of(line)).place
    assert place.node.logp is not None
    p = np.exp(place.node.logp.astype(float))
    emoji = toy_engine().vocabulary.emoji.ids
    others = (p.sum() - p[emoji].sum()) * math.exp(place.trigger)
    shown = asked.emoji.propose(asked.query(context_of(line)), 10_000)
    whole = sum(math.exp(c.logp) for c in shown)
    assert whole == pytest.approx(math.exp(place.expected.trigger_logp), abs=1e-5)
    assert others + whole == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("line", [*PLACES, "see you t", "I lo", "birthd"])
def test_what_is_shown_is_no_more_than_one(line: str, shipped: kbengine.Engine) -> None:
    for engine in (toy_engine(), shipped):
        found = engine.suggest(line, 100, slots="words:70,emoji:27,signs:3", unfiltered=True)
        assert sum(math.exp(c.logp) for c in found) <= 1 + 1e-4


@pytest.mark.parametrize("line", [*PLACES, "see you t", "than"])
def test_phrases_share_the_word_they_begin_with(line: str, shipped: kbengine.Engine) -> None:
    found = shipped.suggest(line, 40, slots="words")
    words = {c.text.lower(): c.logp for c in found}
    together: defaultdict[str, float] = defaultdict(float)
    for c in shipped.suggest(line, 40, slots="phrase", phrases=1.0):
        together[c.text.split(" ")[0].rstrip(",").lower()] += math.exp(c.logp)
    shared = together.keys() & words.keys()
    assert shared
    for word in shared:
        assert together[word] <= math.exp(words[word]) + 1e-6


def test_no_phrase_is_the_beginning_of_another(shipped: kbengine.Engine) -> None:
    for line in PLACES:
        found = texts(shipped.suggest(line, 20, slots="phrase", phrases=1.0))
        begun = [b[len(a)] for a in found for b in found if a != b and b.startswith(a)]
        assert all(map(str.isalpha, begun)), "``to you`` does not begin ``to your``"


@pytest.mark.parametrize("line", [*PLACES, "see you t", "I am loo", "THAN"])
def test_an_explained_candidate_is_the_one_that_is_shown(line: str) -> None:
    engine = toy_engine()
    for c in engine.suggest(line, 20, slots=ALL):
        if c.source == "names" and not line.endswith(" "):
            continue  # named by the letters of an open word
        told = engine.explain(line, c.text)
        assert told.kind == c.kind
        assert tuple(told.parts) == PARTS
        assert sum(told.parts.values()) == pytest.approx(told.score, abs=1e-9)
        # The mass of all words that begin as typed is known as far as the search went.
        assert told.logp == pytest.approx(c.logp, abs=1e-4 if line.endswith(" ") else 0.05)


@pytest.mark.parametrize("wanted", ["", "   ", "tomorrow?!", "zzz", "@", "🫠🫠"])
def test_what_cannot_stand_there_is_not_explained(wanted: str) -> None:
    with pytest.raises(ValueError, match="cannot go on from"):
        toy_engine().explain("see you t", wanted)


def test_words_that_are_not_shown_are_explained_too() -> None:
    shown = toy_engine().suggest("see you ", 3, slots="words")
    told = toy_engine().explain("see you ", "birthday")
    assert told.logp < min(c.logp for c in shown)


def test_a_share_of_places_says_how_many_phrases_are_offered(shipped: kbengine.Engine) -> None:
    shares = (0.0, 0.05, 0.2, 0.4)
    offered = dict.fromkeys(shares, 0)
    lines = [m for m in messages() if m.isascii()][:60]
    places = [line[: i + 1] for line in lines for i, c in enumerate(line) if c == " "]
    for share in shares:
        offered[share] = sum(
            bool(shipped.suggest(place, 1, slots="phrase", phrases=share)) for place in places
        )
    assert offered[0.0] == 0, "the off switch"
    assert offered[0.05] < offered[0.2] < offered[0.4]


@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="give 0 to 1"):
        toy_engine().suggest("see ", phrases=share)
    with pytest.raises(ValueError, match="give 0 to 1"):
        toy_engine().session(phrases=share)


def made(text: str, kind: str, p: float, policy: float = 0.0) -> Candidate:
    parts = {"language model": math.log(p), "slot policy": policy}
    return candidate(text, kind, "test", parts)  # type: ignore[arg-type]


def test_a_phrase_takes_its_place_from_a_word_that_saves_less() -> None:
    words = [made(text, "word", p) for text, p in (("a", 0.4), ("b", 0.2), ("c", 0.1))]
    slots = Slots.parse("words:2,phrase:1")
    for p, shown in ((0.3, "b d"), (0.05, "c")):
        others = [made("b e", "phrase", 0.04), made("a e", "phrase", 0.03)]
        ranked = rank([*words, made("b d", "phrase", p), *others])
        assert texts(slots.fill(ranked, 3)) == ["a", "b", shown]
    # Three words for one keystroke are worth more than the same with one.
    ranked = rank([*words, made("b d e", "phrase", 0.06, math.log(2))])
    assert texts(slots.fill(ranked, 3)) == ["a", "b", "b d e"]
    first = Slots.parse("phrase:1,words:2")
    assert texts(first.fill(rank([*words, made("b d", "phrase", 0.01)]), 3)) == ["b d", "a", "b"]


def test_a_longer_phrase_is_chosen_where_it_saves_more() -> None:
    options = PhraseOptions()
    assert options.policy(3, 0) - options.policy(2, 0) == pytest.approx(math.log(2))
    assert options.policy(2, 5) < options.policy(2, 0), "once letters are typed, words have left"
    assert replace(options, by_p=True).policy(2, 0) == replace(options, by_p=True).policy(4, 3)


def test_a_phrase_is_accepted_whole_or_word_by_word(shipped: kbengine.Engine) -> None:
    (phrase,) = shipped.suggest("I'm looking forw", 1, slots="phrase")
    count = len(phrase.text.split(" "))
    assert count > 1
    for words in (1, count, None):
        session = shipped.session()
        session.set_context("I'm looking forw")
        wanted = " ".join(phrase.text.split(" ")[:words])
        assert session.accept(phrase, words=words) == Edit(4, wanted + " ")
        assert session.text == f"I'm looking {wanted} "
    session.set_context("I'm looking forw")
    for words in (0, count + 1, -1):
        with pytest.raises(ValueError, match="words; take 1 to"):
            session.accept(phrase, words=words)
    assert session.text == "I'm looking forw", "nothing is lost"


def test_signs_have_a_keyboards_spacing() -> None:
    session = field("see you tomorrow ")
    (sign, *_) = session.suggest(3, "signs")
    assert sign.kind == "sign"
    assert sign.text in (".", "?", "!")
    assert session.accept(sign) == Edit(1, f"{sign.text} ")
    assert session.text == f"see you tomorrow{sign.text} "
    assert not session.suggest(3, "signs"), "no sign after a sign"
    (word, *_) = session.suggest(1, "words")
    assert word.text[0].isupper()


@pytest.mark.parametrize("line", ["", "see you t", "ok. ", "ok, "])
def test_no_sign_where_nothing_ends(line: str) -> None:
    assert not field(line).suggest(3, "signs")


def test_a_sign_in_the_middle_of_a_text() -> None:
    session = field("see you tomorrow ", right=" and then")
    (sign, *_) = session.suggest(1, "signs")
    session.accept(sign)
    assert session.text == f"see you tomorrow{sign.text} and then"


def test_a_conversation_of_birthday_wishes(shipped: kbengine.Engine) -> None:
    found = texts(shipped.emoji("happy birthday", 5))
    assert {"🎂", "🎉", "🥳"} <= set(found)
    assert texts(shipped.emoji("happy birthday ", 3)) == found[:3]


def test_words_of_the_language_name_no_emoji(shipped: kbengine.Engine) -> None:
    """``the`` is part of names such as rolling on the floor laughing."""
    for line in ("the ", "out of ", "in ", "to the "):
        assert not [c for c in shipped.emoji(line, 9) if c.source == "names"]
    assert shipped.emoji("I love pizza ", 2)[0].text in ("🍕", "❤️")
    assert "🍕" in texts(shipped.emoji("I love pizza ", 2))


def test_emoji_are_likelier_after_what_is_said_with_them(shipped: kbengine.Engine) -> None:
    often = min(shipped.emoji_p(line) for line in ("haha ", "I love you ", "so excited "))
    seldom = max(shipped.emoji_p(line) for line in ("the ", "I went to the ", "out of "))
    assert seldom < often / 10
    assert shipped.emoji_p("haha") == pytest.approx(shipped.emoji_p("haha "))


def test_diversity_brings_rare_kinds_to_the_front(shipped: kbengine.Engine) -> None:
    lines = ("I love my dog ", "the game was great ", "see you tonight ", "so tired today ")
    shown = {
        diversity: [
            c.text
            for line in lines
            for c in shipped.emoji(line, 3, emoji_style=kbengine.EmojiStyle(diversity=diversity))
        ]
        for diversity in (0.0, 0.8)
    }
    assert len(set(shown[0.0])) < len(set(shown[0.8]))
    one = shipped.emoji("haha ", 1)[0]
    other = shipped.explain("haha ", one.text)
    assert one.logp == pytest.approx(other.logp, abs=1e-4), "an order, and no other probability"


def test_emoji_are_shown_in_the_style_that_is_asked_for(shipped: kbengine.Engine) -> None:
    style = kbengine.EmojiStyle(tone="dark", gender="woman")
    found = texts(shipped.emoji("no idea ", 3, emoji_style=style))
    assert "🤷🏿‍♀️" in found
    session = shipped.session("emoji:3", emoji_style=style)
    session.set_context("no idea ")
    assert texts(session.suggest()) == found


def test_an_engine_without_an_emoji_model_has_the_language_model_s() -> None:
    engine = toy_engine()
    plain = Predictor(engine.model, engine.vocabulary, engine.lexicon, toy_emoji())
    place = plain.query(context_of("I love pizza ")).place
    assert place.trigger == pytest.approx(0, abs=1e-6)
    assert place.expected.trigger_logp == place.expected.lm_logp


def test_what_is_held_back_is_not_offered_before_a_sign(shipped: kbengine.Engine) -> None:
    asked = shipped.predictor()
    asked.phrases.options = PhraseOptions(table=((0.0, -9.0),))
    slots = Slots.parse("phrase")
    for line, word in (("holy ", "shit"), ("go kill ", "yourself"), ("you little ", "bastard")):
        free = asked.suggest(context_of(line), 60, Wish(slots, unfiltered=True))
        assert any(word in c.text and "," in c.text for c in free), "there is such a phrase"
        held = asked.suggest(context_of(line), 60, Wish(slots))
        assert not [c.text for c in held if c.text.lower().startswith(word)]


@pytest.mark.parametrize("line", ["What time is ", "thank you so ", "how are you "])
def test_phrases_with_signs_are_explained_as_shown(line: str, shipped: kbengine.Engine) -> None:
    found = shipped.suggest(line, 20, slots="phrase", phrases=1.0)
    assert any(c.text[-1] in ".?!," or "," in c.text for c in found)
    for c in found:
        told = shipped.explain(line, c.text)
        assert told.parts == pytest.approx(c.parts, abs=1e-4)


def test_an_emoji_that_letters_name_is_explained(shipped: kbengine.Engine) -> None:
    (shown,) = shipped.suggest("I want pizz", 1, slots="emoji")
    assert shipped.explain("I want pizz", shown.text).logp == pytest.approx(shown.logp, abs=0.05)


def test_emoji_among_other_kinds_stand_by_their_probability(shipped: kbengine.Engine) -> None:
    style = kbengine.EmojiStyle(diversity=1.0)
    for line in ("see you ", "I love you ", "so funny "):
        likeliest = shipped.suggest(line, 1, slots="emoji")[0]
        first = shipped.suggest(line, 1, slots="emoji", emoji_style=style)[0]
        assert first.score <= likeliest.logp + 1e-9


def test_a_sign_is_for_the_text_it_was_made_for() -> None:
    session = field("hello ")
    sign = session.explain("!")
    assert sign is not None
    for left in ("hello x", "hello  ", "hello"):
        session.set_context(left)
        with pytest.raises(ValueError, match="suggested for another text"):
            session.accept(sign)
        assert session.text == left, "nothing is lost"


def test_signs_take_the_place_of_all_spaces_and_of_nothing_else() -> None:
    session = field("hello   ")
    sign = session.explain("!")
    assert sign is not None
    assert sign.replaces == 3
    assert session.accept(sign) == Edit(3, "! ")
    for left in ("hello\n", "hello\t", "hello \n "):
        assert field(left).explain("!") is None


def test_an_emoji_of_the_panel_goes_behind_the_word(shipped: kbengine.Engine) -> None:
    session = shipped.session()
    session.set_context("happy birthday")
    emoji = next(c for c in shipped.emoji(session.context, 5) if not c.replaces)
    assert session.accept(emoji) == Edit(0, f" {emoji.text} ")
    assert session.text == f"happy birthday {emoji.text} "


def test_forms_that_become_one_count_together(shipped: kbengine.Engine) -> None:
    plain = {c.text: c.logp for c in shipped.emoji("facepalm ", 20)}
    styled = shipped.emoji("facepalm ", 20, emoji_style=kbengine.EmojiStyle(gender="man"))
    assert len({c.text for c in styled}) == len(styled)
    both = sum(math.exp(plain[e]) for e in ("🤦", "🤦‍♂️", "🤦‍♀️") if e in plain)
    (man,) = (c for c in styled if c.text == "🤦‍♂️")
    assert math.exp(man.logp) == pytest.approx(both, rel=1e-3)
    assert sum(man.parts.values()) == pytest.approx(man.score)
