"""Which words a lexicon gets: right ones, names and slang, no slips and no words run together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kbengine.text import tokens
from kbengine.vocab import EOS
from tests.toys import toy_vocabulary
from train.corpus import Counts
from train.lexicon import Choice, WordList, build_lexicon, choose, pair_counts

TEXT = {
    "the": 100_000.0, "to": 60_000.0, "their": 4000.0, "tomorrow": 3000.0, "really": 9000.0,
    "definitely": 5000.0, "going": 4000.0, "gonna": 3000.0, "birthday": 4000.0, "girl": 5000.0,
    "face": 3000.0, "book": 3000.0, "john": 900.0, "don't": 9000.0, "he'd": 500.0, "he'll": 300.0,
    "so": 20_000.0, "separate": 300.0, "was": 30_000.0, "center": 900.0, "a": 70_000.0,
    "lot": 6000.0, "audience": 60.0, "audiences": 40.0, "we'll": 900.0, "can't": 9000.0,
}  # fmt: skip
# The text's misspellings, names and slang.
MORE = {
    "thier": 30.0, "tommorow": 40.0, "realy": 30.0, "definately": 50.0, "tothe": 8.0, "alot": 900.0,
    "birthdaygirl": 8.0, "facebook": 900.0, "jon": 60.0, "goin": 150.0, "sooo": 300.0,
    "dont": 700.0, "hed": 30.0, "hell": 2000.0, "well": 9000.0, "cant": 900.0, "centers": 40.0,
    "krishnan": 60.0,
    "bklouchis": 4.0, "audience's": 6.0, "lol": 4000.0, "seperate": 20.0,
}  # fmt: skip
# An ending behind an apostrophe is one when many words have it.
MORE |= {f"{chr(letter)}{chr(letter)}'s": 3.0 for letter in range(ord("a"), ord("z"))}
CASINGS = {"John": 800.0, "Jon": 55.0, "Krishnan": 50.0}
COUNTS = Counts(TEXT | MORE, CASINGS, [])
APART = {("to", "the"): 9000.0, ("a", "lot"): 5500.0, ("birthday", "girl"): 40.0}
DICTIONARY = WordList(
    {w: n / 240_000 for w, n in TEXT.items() if w not in ("john", "gonna")}
    | {"hell": 0.01, "well": 0.05, "cant": 0.0001, "accommodates": 1e-6}
)


def pairs(asked: list[tuple[str, str]]) -> list[float]:
    return [APART.get(pair, 0.0) for pair in asked]


def chosen(*lists: WordList) -> Choice:
    return choose(COUNTS, 3.0, lists, pairs)  # type: ignore[arg-type]


WITH_AND_WITHOUT = pytest.mark.parametrize("lists", [(), (DICTIONARY,)], ids=["counts", "lists"])


@pytest.mark.parametrize("word", ["thier", "tommorow", "realy", "definately"])
def test_misspellings_of_dictionary_words_are_left_out(word: str) -> None:
    found = chosen(DICTIONARY)
    assert word in found.slips
    assert word not in found.kept


def test_without_a_dictionary_only_swapped_and_doubled_letters_are_slips() -> None:
    found = chosen()
    assert found.slips == {"tommorow": "tomorrow", "realy": "really"}
    assert "definately" in found.kept


@pytest.mark.parametrize("word", ["tothe", "alot", "birthdaygirl"])
def test_words_run_together_are_left_out(word: str) -> None:
    found = chosen(DICTIONARY)
    assert word in found.run_ons
    assert word not in found.kept


def test_without_a_dictionary_the_words_must_stand_apart_far_more_often() -> None:
    assert chosen().run_ons == {"tothe": "to the"}


@WITH_AND_WITHOUT
@pytest.mark.parametrize(
    "word",
    ["facebook", "gonna", "jon", "krishnan", "goin", "sooo", "lol", "centers", "audience's"],
)  # fmt: skip
def test_names_slang_and_compounds_stay(word: str, lists: tuple[WordList, ...]) -> None:
    assert chosen(*lists).kept[word] == COUNTS.tokens[word]


@WITH_AND_WITHOUT
@pytest.mark.parametrize(("word", "right"), [("dont", "don't"), ("hed", "he'd")])
def test_a_contraction_without_its_apostrophe_is_loose(
    word: str, right: str, lists: tuple[WordList, ...]
) -> None:
    found = chosen(*lists)
    assert found.loose[word] == right
    assert word in found.kept


@WITH_AND_WITHOUT
@pytest.mark.parametrize("word", ["hell", "well"])
def test_a_word_of_its_own_is_not_loose(word: str, lists: tuple[WordList, ...]) -> None:
    assert word not in chosen(*lists).loose


def test_a_dictionary_word_that_is_mostly_meant_otherwise_is_loose() -> None:
    assert chosen(DICTIONARY).loose["cant"] == "can't"


def test_a_rare_word_of_no_list_is_not_believed() -> None:
    assert "bklouchis" in chosen(DICTIONARY).scarce
    assert "bklouchis" in chosen().kept
    seen = WordList({"bklouchis": 1e-4, "the": 0.9})
    assert "bklouchis" in chosen(DICTIONARY, seen).kept


def test_a_list_that_has_a_spelling_as_often_as_the_text_saves_it() -> None:
    assert "seperate" in chosen(DICTIONARY).slips
    assert "seperate" in chosen(DICTIONARY, WordList({"seperate": 0.1, "separate": 0.2})).kept


def test_words_of_the_dictionary_are_known_and_rarer_than_the_counted() -> None:
    found = chosen(DICTIONARY)
    assert found.kept["accommodates"] < min(n for w, n in found.kept.items() if w in COUNTS.tokens)


def test_the_lexicon_tells_loose_words_and_how_names_are_written() -> None:
    lexicon = build_lexicon(COUNTS, toy_vocabulary(), 99, 3.0, (DICTIONARY,), None)
    entries = {entry.word: entry for entry in lexicon}
    assert entries["dont"].loose
    assert not entries["the"].loose
    assert entries["jon"].written == "Jon"
    assert len(build_lexicon(COUNTS, toy_vocabulary(), 5, 3.0)) == 5


# Pairs of words


def test_pairs_are_counted_by_whole_words_and_weights() -> None:
    vocabulary = toy_vocabulary()

    def encoded(*lines: str) -> np.ndarray:
        ids: list[int] = []
        for line in lines:
            ids += [piece for token in tokens(line) for piece in vocabulary.encode_token(token)]
            ids.append(EOS)
        return np.array(ids, np.uint16)

    texts = [encoded("see you soon", "see youth", "you see", "can you see you"), encoded("see you")]
    count = pair_counts(texts, [1.0, 4.0], vocabulary)
    assert count([("see", "you"), ("you", "see"), ("soon", "see")]) == [6.0, 2.0, 0.0]
    assert count([]) == []


# Lists of words


def test_lists_are_read_with_counts_and_without(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("the 30\nIt\u2019s 10\n\n'll 5\n10 5\n", encoding="utf-8")
    assert WordList.read(path).shares == {"the": 0.75, "it's": 0.25}
    path.write_text("one\ntwo\n", encoding="utf-8")
    assert WordList.read(path).shares == {"one": 0.5, "two": 0.5}


@pytest.mark.parametrize("data", [b"", b"\n\n", b"the many\n", b"1 2\n", b"the nan\n"])
def test_what_is_no_list_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"words\.txt"):
        WordList.read(path)


def test_a_missing_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        WordList.read(tmp_path / "none.txt")
