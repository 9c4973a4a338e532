"""Known words: found in any casing, spelt and written as they were built, on disk and back."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbengine.arrays import dump_arrays, load_arrays
from kbengine.errors import BundleError
from kbengine.lexicon import Entry, Lexicon, unigram_logp
from tests.toys import toy_entries, toy_lexicon, toy_vocabulary

WORDS = [entry.word for entry in toy_entries()]
STEP = 1 / 12  # how fine a unigram logp is kept


def build(*written: str) -> Lexicon:
    entries = [Entry(form.lower(), -1.0, form) for form in written]
    return Lexicon.build(entries, toy_vocabulary())


# What was built


def test_every_word_can_be_found_and_is_spelt_right() -> None:
    lexicon = toy_lexicon()
    assert len(lexicon) == len(WORDS)
    for word in WORDS:
        node = lexicon.find(word)
        assert node is not None, word
        assert lexicon.is_word(node)
        assert lexicon.spelling(node) == word
        assert lexicon.letters(node) == len(word)


def test_every_word_can_be_reached_from_the_root() -> None:
    """By children alone, as the search goes; every node is met once."""
    lexicon = toy_lexicon()
    nodes, found = [(0, "")], []
    met = 0
    while nodes:
        node, spelt = nodes.pop()
        met += 1
        assert lexicon.spelling(node) == spelt
        if lexicon.is_word(node):
            found.append(spelt)
        nodes += [(child, spelt + lexicon.texts[child]) for child in range(*lexicon.children(node))]
    assert sorted(found) == sorted(WORDS)
    assert met == len(lexicon.pieces)


def test_children_stand_side_by_side_sorted_by_their_letters() -> None:
    lexicon = toy_lexicon()
    ranges = [lexicon.children(node) for node in range(len(lexicon.pieces))]
    assert ranges[0][0] == 1
    assert ranges[-1][1] == len(lexicon.pieces)
    assert all(lo <= hi for lo, hi in ranges)
    assert all(a[1] == b[0] for a, b in pairwise(ranges))
    for lo, hi in ranges:
        texts = lexicon.texts[lo:hi]
        assert texts == sorted(texts)
        pieces = lexicon.pieces[lo:hi].tolist()
        assert len(set(pieces)) == len(pieces)


def test_iteration_gives_the_entries_back() -> None:
    found = {entry.word: entry for entry in toy_lexicon()}
    for entry in toy_entries():
        assert found[entry.word].written == entry.written
        assert math.isclose(found[entry.word].logp, entry.logp, abs_tol=STEP / 2 + 1e-9)
    assert len(found) == len(toy_entries())


def test_the_root_and_unfinished_paths_are_no_words() -> None:
    lexicon = build("hello")
    assert not lexicon.is_word(0)
    assert [node for node in range(len(lexicon.pieces)) if lexicon.is_word(node)] == [
        len(lexicon.pieces) - 1
    ]


# Written forms and casing


@pytest.mark.parametrize(
    "written",
    ["I", "I'm", "London", "NASA", "iPhone", "McDonald", "hello", "don't", "TV", "a", "LoL"],
)
def test_written_forms(written: str) -> None:
    lexicon = build("some", written, "words", "OK", "eBay")
    node = lexicon.find(written)
    assert node is not None
    assert lexicon.written(node) == written
    assert lexicon.spelling(node) == written.lower()


@given(st.permutations(["iPhone", "McDonald", "NASA", "London", "eBay", "hello", "YouTube"]))
@settings(max_examples=20)
def test_special_forms_stay_with_their_words(order: list[str]) -> None:
    lexicon = Lexicon.from_bytes(build(*order).to_bytes(), toy_vocabulary())
    for written in order:
        node = lexicon.find(written)
        assert node is not None
        assert lexicon.written(node) == written


@given(st.sampled_from(WORDS), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_a_word_is_found_in_any_casing(word: str, random: Random) -> None:
    cased = "".join(random.choice([c.lower(), c.upper()]) for c in word)
    assert toy_lexicon().find(cased) == toy_lexicon().find(word)
    assert cased in toy_lexicon()


@given(
    st.text(max_size=8)
    | st.sampled_from(
        ["", " ", "'", "see you", "😂", "10", "hello ", "\ud800", "\u0301", "a" * 999]
    )
)
@settings(max_examples=60)
def test_what_is_not_known_is_not_found(word: str) -> None:
    assert (word in toy_lexicon()) == (word.lower() in WORDS)


def test_unknown_letters_and_what_is_no_word_are_left_out() -> None:
    entries = [Entry(w, -1.0, w) for w in ("hello", "我们", "12", "a b", "'")]
    assert [e.word for e in Lexicon.build(entries, toy_vocabulary())] == ["hello"]


def test_an_empty_lexicon_is_one() -> None:
    empty = Lexicon.from_bytes(Lexicon.build([], toy_vocabulary()).to_bytes(), toy_vocabulary())
    assert len(empty) == 0
    assert list(empty) == []
    assert "hello" not in empty
    assert empty.children(0) == (1, 1)


@pytest.mark.parametrize("logp", [0.0, -1.0, -12.3, -21.0])
def test_logp_is_kept_to_a_twelfth(logp: float) -> None:
    lexicon = Lexicon.build([Entry("hello", logp, "hello")], toy_vocabulary())
    (entry,) = lexicon
    assert math.isclose(entry.logp, logp, abs_tol=STEP / 2 + 1e-9)


def test_a_very_rare_word_stays_a_word() -> None:
    lexicon = Lexicon.build([Entry("hello", -500.0, "hello")], toy_vocabulary())
    assert "hello" in lexicon


def test_unigram_logp() -> None:
    assert math.isclose(math.exp(unigram_logp(3, 12)), 0.25)


# Loose words


@pytest.mark.parametrize("written", ["dont", "Im", "NASA", "iPhone"])
def test_a_loose_word_is_one_in_any_casing(written: str) -> None:
    entries = [Entry(written.lower(), -1.0, written, True), Entry("hello", -1.0, "hello")]
    built = Lexicon.build(entries, toy_vocabulary())
    for lexicon in (built, Lexicon.from_bytes(built.to_bytes(), toy_vocabulary())):
        node, other = lexicon.find(written), lexicon.find("hello")
        assert node is not None
        assert other is not None
        assert lexicon.is_loose(node)
        assert not lexicon.is_loose(other)
        assert lexicon.written(node) == written
        assert {entry.word for entry in lexicon if entry.loose} == {written.lower()}


def test_a_loose_word_does_not_upset_the_listed_casings() -> None:
    entries = [Entry(w.lower(), -1.0, w, i % 2 == 0) for i, w in enumerate(("iPhone", "eBay"))]
    entries += [Entry("mcdonald", -1.0, "McDonald", True), Entry("no", -1.0, "no", True)]
    built = Lexicon.build(entries, toy_vocabulary())
    again = Lexicon.from_bytes(built.to_bytes(), toy_vocabulary())
    assert sorted(again) == sorted(entries)


# On disk


def test_round_trip() -> None:
    data = toy_lexicon().to_bytes()
    again = Lexicon.from_bytes(data, toy_vocabulary())
    assert again.to_bytes() == data
    assert list(again) == list(toy_lexicon())
    assert [again.children(n) for n in range(len(again.pieces))] == [
        toy_lexicon().children(n) for n in range(len(again.pieces))
    ]


TYPES = {"pieces": "u2", "children": "u2", "rarity": "u1", "form": "u1", "written": "u1"}


def arrays_of(lexicon: Lexicon) -> dict[str, np.ndarray]:
    return load_arrays(lexicon.to_bytes(), TYPES)


SMALL = build("hello", "iPhone", "London", "NASA", "no", "not", "now")
NODES = len(SMALL.pieces)
CONTRADICTIONS = {
    "piece beyond the vocabulary": {"pieces": np.full(NODES, 60_000, np.uint16)},
    "too few pieces": {"pieces": np.zeros(NODES - 1, np.uint16)},
    "no nodes": {name: np.zeros(0, f"<{kind}") for name, kind in TYPES.items()},
    "too many children": {"children": np.full(NODES, 2, np.uint16)},
    "children before parents": {"children": np.array([0] * (NODES - 1) + [NODES - 1], np.uint16)},
    "too few rarities": {"rarity": np.zeros(1, np.uint8)},
    "too few forms": {"form": np.zeros(NODES + 1, np.uint8)},
    "no children": {"children": np.zeros(NODES, np.uint16)},
    "children beyond counting": {"children": np.full(NODES, 65_535, np.uint16)},
    "rarities of fractions": {"rarity": np.zeros(NODES, np.float32)},
    "a form that is none": {"form": np.full(NODES, 8, np.uint8)},
    "a casing that is not listed": {"form": np.full(NODES, 7, np.uint8)},
    "pieces of another type": {"pieces": np.zeros(NODES, np.uint8)},
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_arrays_that_contradict_each_other_are_refused(name: str) -> None:
    arrays = arrays_of(SMALL)
    assert len(Lexicon.from_bytes(dump_arrays(arrays), toy_vocabulary())) == 7, (
        "as it was it can be read"
    )
    with pytest.raises(BundleError):
        Lexicon.from_bytes(dump_arrays(arrays | CONTRADICTIONS[name]), toy_vocabulary())


@pytest.mark.parametrize("name", ["pieces", "children", "rarity", "form", "written"])
def test_a_missing_array_is_refused(name: str) -> None:
    arrays = arrays_of(SMALL)
    del arrays[name]
    with pytest.raises(BundleError):
        Lexicon.from_bytes(dump_arrays(arrays), toy_vocabulary())


@pytest.mark.parametrize("data", [b"", b"x", b"PK\x03\x04", b"\x93NUMPY", b"\x00" * 100])
def test_what_is_no_lexicon_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        Lexicon.from_bytes(data, toy_vocabulary())


def test_damaged_bytes_are_refused_or_give_a_tree() -> None:
    """Of a word that is merely another one, only the bundle's hash can tell."""
    data = SMALL.to_bytes()
    random = Random(1)
    refused = 0
    for _ in range(600):
        broken = bytearray(data)
        for _ in range(random.choice([1, 1, 3])):
            broken[random.randrange(len(broken))] ^= 1 << random.randrange(8)
        try:
            lexicon = Lexicon.from_bytes(bytes(broken), toy_vocabulary())
        except BundleError:
            refused += 1
        else:
            assert len(list(lexicon)) == len(lexicon)
            ranges = [lexicon.children(node) for node in range(NODES)]
            assert all(node < lo for node, (lo, hi) in enumerate(ranges) if lo < hi)
            assert ranges[-1][1] == NODES
    assert 100 < refused < 600
