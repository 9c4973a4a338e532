"""Words of the conversation that no lexicon has."""

from __future__ import annotations

import math

import pytest

import kbengine
from kbengine.said import MOST, Said
from tests.toys import toy_engine, toy_lexicon


@pytest.fixture(scope="module")
def shipped() -> kbengine.Engine:
    return kbengine.load()


def test_unknown_words_as_they_were_last_written() -> None:
    said = Said(toy_lexicon())
    texts = ["Kowalski is late", "see kowalski, or KOWALSKI's, for the train. Zofia is here"]
    assert said.words(texts) == {
        "kowalski": "kowalski",
        "kowalski's": "KOWALSKI's",
        "zofia": "Zofia",
    }
    assert said.words(["see Zofia", "Zofia is late"])["zofia"] == "Zofia"
    assert said.words(["are you at the train"]) == {}
    assert said.words([]) == {}


def test_only_the_last_are_kept() -> None:
    many = [f"q{chr(97 + i // 26)}{chr(97 + i % 26)}z" for i in range(MOST + 9)]
    assert list(Said(toy_lexicon()).words([" ".join(many)])) == many[9:]


@pytest.mark.parametrize("name", ["Dziewonski", "Margueron", "Thessakis", "Brzezinka"])
def test_a_name_that_was_mentioned_comes_at_its_first_letters(
    shipped: kbengine.Engine, name: str
) -> None:
    assert name.lower() not in shipped.lexicon
    said = [f"my neighbour {name} came by today"]
    for line in (f"did you see {name[:5]}", name[:5]):
        found = shipped.suggest(line, 3, earlier=said, slots="words")
        assert name in [c.text for c in found]
        assert name not in [c.text for c in shipped.suggest(line, 3, slots="words")]


def test_only_what_is_read_is_remembered(shipped: kbengine.Engine) -> None:
    """As far back as the language model reads, no further."""
    said = ["my neighbour Kowalski came by today", *["see you at the party tomorrow"] * 200]
    found = shipped.suggest("did you see Kowal", 3, earlier=said, slots="words")
    assert "Kowalski" not in [c.text for c in found]


def test_it_comes_in_the_same_message_and_follows_the_typed_case(shipped: kbengine.Engine) -> None:
    for typed, wanted in (("kow", "Kowalski"), ("KOW", "KOWALSKI")):
        found = shipped.suggest(f"I asked Kowalski about it and {typed}", 3, slots="words")
        assert wanted in [c.text for c in found]


def test_its_logp_is_that_of_its_pieces_among_all_that_agree() -> None:
    engine = toy_engine()
    line, earlier = "see you zq", ["zqua is here"]
    found = engine.suggest(line, 9, earlier=earlier, slots="words")
    candidate = next(c for c in found if c.text == "zqua")
    assert candidate.logp <= 0
    assert math.isclose(sum(candidate.parts.values()), candidate.logp, abs_tol=1e-6)
    assert sum(math.exp(c.logp) for c in found) <= 1 + 1e-6


@pytest.mark.parametrize("typed", ["chicken", "faith", "cach", "a", "the", "I"])
def test_what_stands_there_takes_the_place_of_nothing(shipped: kbengine.Engine, typed: str) -> None:
    earlier = ["so cachie and cachy and cachton and cachski go", "meet cach"]
    lists = [
        [c.text for c in shipped.suggest(f"then {typed}", n, earlier, "words")] for n in range(1, 6)
    ]
    for n, found in enumerate(lists, 1):
        assert typed not in found
        assert len(found) == n
    assert ("cachie" in lists[-1]) == (typed == "cach")


def test_what_is_held_back_stays_held_back() -> None:
    """A word is not asked for by having been said to one."""
    engine, earlier = toy_engine(), ["you bollocks"]
    free = engine.suggest("boll", 9, earlier=earlier, slots="words", unfiltered=True)
    assert "bollocks" in [c.text for c in free]
    held_back = engine.suggest("boll", 9, earlier=earlier, slots="words")
    assert "bollocks" not in [c.text for c in held_back]
