"""One list on one scale: what is shown of it, and in which places."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbengine.mix import Slots, rank
from kbengine.types import Candidate, Kind


def candidate(text: str, kind: Kind = "word", logp: float = -1.0) -> Candidate:
    return Candidate(text, kind, "test", logp)


def texts(candidates: list[Candidate]) -> list[str]:
    return [c.text for c in candidates]


RANKED = [
    candidate("w1", "word", -1.0),
    candidate("p1", "phrase", -1.5),
    candidate("w2", "word", -2.0),
    candidate("e1", "emoji", -2.5),
    candidate("w3", "word", -3.0),
    candidate("l1", "literal", -3.5),
    candidate("e2", "emoji", -4.0),
    candidate("w4", "word", -4.5),
]


# Slots as text


@pytest.mark.parametrize(
    ("policy", "places"),
    [
        ("words", (("word", None),)),
        ("word", (("word", None),)),
        ("words:2,emoji:1", (("word", 2), ("emoji", 1))),
        (" words : 2 , phrases:1 ", (("word", 2), ("phrase", 1))),
        ("emojis:0,literals", (("emoji", 0), ("literal", None))),
        ("literal:999", (("literal", 999),)),
    ],
)
def test_slots_that_can_be_read(policy: str, places: tuple[tuple[Kind, int | None], ...]) -> None:
    assert Slots.parse(policy).places == places


@pytest.mark.parametrize(
    "policy",
    ["", " ", ",", "words,", "verbs", "Words", "words:", "words:x", "words:-1", "words:1.5",
     "words:1000", "words 2", "words:2:3", "words;emoji", "words:2,,emoji:1"],
)  # fmt: skip
def test_slots_that_cannot_be_read(policy: str) -> None:
    with pytest.raises(ValueError, match="is no slot; write"):
        Slots.parse(policy)


@pytest.mark.parametrize("policy", ["words,words", "word:1,words:2", "emoji,words,emojis:1"])
def test_a_kind_stands_once(policy: str) -> None:
    with pytest.raises(ValueError, match="twice"):
        Slots.parse(policy)


@given(st.text(max_size=20) | st.text(st.sampled_from("words:,12 emoji"), max_size=20))
def test_any_policy_is_read_or_refused_with_a_value_error(policy: str) -> None:
    try:
        slots = Slots.parse(policy)
    except ValueError:
        return
    assert Slots.parse(str(slots)) == slots


def test_total_and_wants() -> None:
    assert Slots.parse("words:2,emoji:1").total == 3
    assert Slots.parse("words,emoji:1").total is None
    assert Slots.any().total is None
    assert Slots.parse("words:2,emoji:0").wants("word")
    assert not Slots.parse("words:2,emoji:0").wants("emoji")
    assert not Slots.parse("words").wants("phrase")
    assert Slots.any().wants("literal")
    assert str(Slots.any()) == "any"
    assert Slots.parse(" any ") == Slots.any()


# Filling


@pytest.mark.parametrize(
    ("policy", "n", "shown"),
    [
        ("words:2,phrase:1,emoji:1", 4, ["w1", "w2", "p1", "e1"]),
        ("emoji:1,words:2", 3, ["e1", "w1", "w2"]),
        ("words", 3, ["w1", "w2", "w3"]),
        ("words", 9, ["w1", "w2", "w3", "w4"]),
        # More places than the policy names go to the first kind.
        ("words:1,emoji:1", 4, ["w1", "e1", "w2", "w3"]),
        # The places of a kind with too few candidates go to the first kind.
        ("words:1,phrase:3", 4, ["w1", "p1", "w2", "w3"]),
        ("phrase:3,words:1", 4, ["p1", "w1"]),
        # Fewer places than the policy names: the first kinds take them.
        ("words:2,phrase:1,emoji:1", 2, ["w1", "w2"]),
        ("words:2,phrase:1,emoji:1", 1, ["w1"]),
        ("words,emoji:1", 3, ["w1", "w2", "w3"]),
        ("emoji:1,words", 3, ["e1", "w1", "w2"]),
        ("literal:1", 3, ["l1"]),
        ("emoji:0,words:1", 1, ["w1"]),
    ],
)
def test_fill_by_example(policy: str, n: int, shown: list[str]) -> None:
    assert texts(Slots.parse(policy).fill(RANKED, n)) == shown


def test_without_a_policy_the_best_are_shown() -> None:
    assert Slots.any().fill(RANKED, 3) == RANKED[:3]
    assert Slots.any().fill([], 3) == []


policies = st.lists(
    st.tuples(
        st.sampled_from(["word", "phrase", "emoji", "literal"]), st.none() | st.integers(0, 4)
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda place: place[0],
).map(lambda places: Slots(tuple(places)))


@given(policies, st.lists(st.sampled_from(RANKED), unique=True), st.integers(1, 9))
def test_fill_shows_each_once_in_rank_order_and_wanted_kinds_only(
    slots: Slots, candidates: list[Candidate], n: int
) -> None:
    ranked = rank(candidates)
    shown = slots.fill(ranked, n)
    assert len(shown) <= n
    assert len(set(texts(shown))) == len(shown)
    named = [kind for kind, _ in slots.places or ()]
    for kind in {c.kind for c in shown}:
        assert kind in named
        of_kind = [c for c in shown if c.kind == kind]
        assert of_kind == [c for c in ranked if c.kind == kind][: len(of_kind)]


@given(policies, st.integers(1, 9))
def test_no_place_stays_empty_while_the_first_kind_has_more(slots: Slots, n: int) -> None:
    assert slots.places is not None
    first = slots.places[0][0]
    shown = slots.fill(RANKED, n)
    left = [c for c in RANKED if c.kind == first and c not in shown]
    assert len(shown) == n or not left


def test_fill_leaves_the_list_alone() -> None:
    ranked = list(RANKED)
    Slots.parse("words:2,emoji:1").fill(ranked, 3)
    assert ranked == RANKED


# Ranking


def test_rank_orders_by_logp_then_text() -> None:
    given_ = [candidate("b", logp=-1), candidate("c", logp=-0.5), candidate("a", logp=-1)]
    assert texts(rank(given_)) == ["c", "a", "b"]


def test_of_one_kind_and_text_the_likelier_stays() -> None:
    found = rank([candidate("a", "word", -3), candidate("a", "word", -2)])
    assert [(c.kind, c.logp) for c in found] == [("word", -2)]


@pytest.mark.parametrize("literal_logp", [-0.5, -1.0, -9.0])
def test_a_literal_gives_way_to_the_same_text_of_another_kind(literal_logp: float) -> None:
    ranked = rank([candidate("a", "literal", literal_logp), candidate("a", "word", -1.0)])
    assert [c.kind for c in Slots.any().fill(ranked, 3)] == ["word"]
    assert [c.kind for c in Slots.parse("words:1,literal:1").fill(ranked, 3)] == ["word"]


def test_a_literal_is_shown_where_the_same_word_is_not() -> None:
    ranked = rank(
        [candidate("b", "word", -0.1), candidate("a", "word", -1), candidate("a", "literal", -1)]
    )
    assert texts(Slots.parse("words:1,literal:1").fill(ranked, 2)) == ["b", "a"]


@given(
    st.lists(
        st.builds(
            candidate,
            st.sampled_from("abc"),
            st.sampled_from(["word", "phrase", "emoji", "literal"]),
            st.floats(-10, 0),
        )
    )
)
def test_rank_keeps_every_kind_and_text_once_best_first(candidates: list[Candidate]) -> None:
    found = rank(candidates)
    pairs = sorted((c.kind, c.text) for c in found)
    assert pairs == sorted({(c.kind, c.text) for c in candidates})
    assert all(a.logp >= b.logp for a, b in pairwise(found))
    assert set(found) <= set(candidates)
    assert rank(reversed(found)) == found
