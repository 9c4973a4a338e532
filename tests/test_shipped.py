"""What the bundle in the package does for a person; figures are the bench's business."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

import kbengine
from kbengine import Engine
from kbengine.packaged import DEFAULT_BUNDLE
from kbengine.vocab import BOS


@pytest.fixture(scope="module")
def engine() -> Engine:
    return kbengine.load()


def texts(engine: Engine, line: str, n: int = 3, slots: str = "words") -> list[str]:
    return [c.text for c in engine.suggest(line, n, slots=slots)]


def test_it_fits_a_phone() -> None:
    assert DEFAULT_BUNDLE.stat().st_size <= 10_000_000


def test_it_says_what_it_was_trained_on(engine: Engine) -> None:
    manifest = engine.bundle.manifest
    assert "licensed apart from the code" in manifest["notice"]
    sources = {s["name"]: s for s in manifest["training"]["sources"]}
    assert sources["sms_nus.txt.gz"]["licence"].startswith("none stated")
    assert all(s["words"] > 0 for s in sources.values())
    card = DEFAULT_BUNDLE.with_suffix(".md").read_text(encoding="utf-8")
    assert manifest["notice"] in card
    assert all(name in card for name in sources)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("Today i", "I"),
        ("sorry i'", "I'm"),
        ("see you on mon", "Monday"),
        ("I live in lond", "London"),
        ("Hel", "Hello"),
        ("HEL", "HELLO"),
        ("See you tomor", "tomorrow"),
        ("Thank ", "you"),
        ("I don", "don't"),
    ],
)
def test_words_in_their_casing(engine: Engine, line: str, wanted: str) -> None:
    assert wanted in texts(engine, line)


@pytest.mark.parametrize("line", ["", "Fine. ", "Really? ", "No! "])
def test_a_sentence_starts_with_a_capital(engine: Engine, line: str) -> None:
    assert all(t[0].isupper() for t in texts(engine, line))


def test_an_emoji_by_name_while_typing(engine: Engine) -> None:
    assert texts(engine, "I want pizz", 1, "emoji:1") == ["🍕"]
    assert "🎂" in texts(engine, "happy birthday ", 5, "emoji:5")


def test_a_phrase_where_the_model_is_sure(engine: Engine) -> None:
    (phrase,) = (c for c in engine.suggest("I'm looking forw", 5) if c.kind == "phrase")
    assert phrase.text == "forward to"
    assert phrase.replaces == 4


def test_words_phrases_and_emoji_in_one_list(engine: Engine) -> None:
    found = engine.suggest("Happy birth", 6)
    assert {"word", "emoji"} <= {c.kind for c in found}
    assert all(a.score >= b.score for a, b in pairwise(found))
    for candidate in found:
        assert candidate.logp <= 1e-6
        assert candidate.score == pytest.approx(sum(candidate.parts.values()), abs=1e-6)


def test_next_words_and_emoji_are_disjoint_events(engine: Engine) -> None:
    found = engine.suggest("I am fine ", 90, slots="words:60,emoji:27,signs:3")
    assert {"word", "emoji", "sign"} == {c.kind for c in found}
    assert 0.5 < sum(math.exp(c.logp) for c in found) <= 1 + 1e-4


def test_the_conversation_counts(engine: Engine) -> None:
    alone = engine.suggest("It starts at ", 5)
    told = engine.suggest("It starts at ", 5, earlier=["When does the film start?"])
    assert [c.logp for c in alone] != [c.logp for c in told]


def test_a_committed_word_is_the_search_s_own(engine: Engine) -> None:
    """The state that the search left and the state of the text read afresh are one."""
    vocabulary, model = engine.vocabulary, engine.model
    pieces = [BOS, *vocabulary.encode("see you at the station tomorrow")]
    state = model.start()
    for piece in pieces[:-1]:
        (state,) = model.advance([piece], [state])
    logp, _ = model.step([pieces[-1]], [state])
    assert math.isclose(float(np.exp(logp[0].astype(np.float64)).sum()), 1, abs_tol=1e-4)
    field = engine.session("words:3")
    for char in "see you at the station tomorrow ":
        field.type(char)
        typed = field.suggest()
    assert typed == engine.suggest("see you at the station tomorrow ", 3, slots="words:3")


@pytest.mark.parametrize(
    "line",
    ["", " ", "😀😀", "...", "?!", "a" * 10_000, "word " * 3_000,
     "שלום עולם ", "你好吗", "\x00\x1b\x07",
     "\ud83d", "e\u0301" * 50, "👩‍👩‍👧‍👦 ", "\u202eabc ", "1,234.50 ", "http://x.y/z?"],
)  # fmt: skip
def test_any_text_gets_an_answer_and_leaves_nothing_behind(engine: Engine, line: str) -> None:
    field = engine.session()
    field.set_context(line)
    field.suggest(5)
    fresh = engine.session()
    for used in (field, fresh):
        used.set_context("See you ")
    assert field.suggest(5) == fresh.suggest(5)
