"""Words that are not offered unasked: the list, what it holds back, and what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kbengine
from kbengine import Candidate, Engine
from kbengine.bundle import PARTS, read_bundle, write_bundle
from kbengine.cli import main
from kbengine.errors import BundleError
from kbengine.packaged import DEFAULT_BUNDLE
from kbengine.repl import Conversation
from kbengine.serve import Server
from kbengine.wordfilter import NOTHING_HELD_BACK, WordClass, WordFilter
from tests import hostile
from tests.fields import texts
from tests.toys import finger_engine, toy_bundle, toy_manifest, toy_parts
from train.__main__ import main as train
from train.bundle import read_filter

ENGLISH = read_filter(None, "en")
assert ENGLISH is not None
STRIP = "words:3,phrase:1,emoji:1"


def with_filter(path: Path, source: Path, word_filter: WordFilter | None) -> Engine:
    """The engine of a bundle whose filter is another, or none."""
    bundle = read_bundle(source)
    manifest = {k: v for k, v in bundle.manifest.items() if k not in ("format", "parts")}
    parts = {name: data for name, data in bundle.parts.items() if name != "filter"}
    if word_filter is not None:
        parts["filter"] = word_filter.to_bytes()
    write_bundle(path, manifest, parts)
    return kbengine.load(path)


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The shipped model with the list of `data/en`."""
    path = tmp_path_factory.mktemp("english") / "en.bundle"
    return with_filter(path, DEFAULT_BUNDLE, ENGLISH)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The shipped model without a list."""
    return with_filter(tmp_path_factory.mktemp("plain") / "en.bundle", DEFAULT_BUNDLE, None)


@pytest.fixture(scope="module")
def toy_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("toy") / "toy.bundle")


# The list


def test_a_word_counts_before_a_beginning_and_a_longer_one_before_a_shorter() -> None:
    found = WordFilter(
        {"sea*": "offensive", "season*": "delicate", "seal": "delicate", "s": "offensive"}
    )
    classes = {w: found.class_of(w) for w in ("sea", "seat", "seal", "seals", "seasons", "see")}
    assert classes == {
        "sea": "offensive", "seat": "offensive", "seal": "delicate", "seals": "offensive",
        "seasons": "delicate", "see": None,
    }  # fmt: skip
    assert len(found) == 4


def test_when_a_word_is_offered() -> None:
    found = WordFilter({"rat": "offensive", "flu": "delicate"})
    assert not found.offers("rat")
    assert not found.offers("rat", "ra")
    assert found.offers("rat", "rat")
    assert not found.offers("flu")
    assert found.offers("flu", "f")
    assert found.offers("rats")


def test_of_two_words_the_second_is_held_back_after_the_first() -> None:
    found = WordFilter({"eat rats": "offensive", "eat it": "delicate", "rats": "delicate"})
    assert not found.offers("rats", "r", before="eat")
    assert found.offers("rats", "rats", before="eat")
    assert found.offers("rats", "r", before="catch")
    assert not found.offers("it", before="eat")
    assert found.offers("it", "i", before="eat")
    assert found.offers("it")
    assert found.offers("eat")


@given(
    st.dictionaries(
        st.from_regex(r"[a-zé]{1,9}('[a-z]{1,3})?( [a-z]+|\*?)", fullmatch=True)
        | st.just("\U0001f595"),
        st.sampled_from(["offensive", "delicate"]),
        min_size=1,
    )
)
def test_what_is_written_is_read_back(entries: dict[str, WordClass]) -> None:
    found = WordFilter(entries)
    again = WordFilter.from_bytes(found.to_bytes())
    assert again.to_bytes() == found.to_bytes()
    assert {e: again.class_of(e) for e in entries if e[-1] != "*"} == {
        e: c for e, c in entries.items() if e[-1] != "*"
    }


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n", b"rat", b"rat\t", b"\toffensive", b"rat\toffensive\t", b"rat offensive",
        b"rat\trude", b"Rat\toffensive", b"*\toffensive", b"r*t\toffensive", b"rat**\toffensive",
        b"one too many\toffensive", b"two  words\toffensive", b"two word*\toffensive",
        b"rat\toffensive\nrat\tdelicate", b"rat\toffensive\n\n",
        b"rat\toffensive\r\n", b"4th\toffensive", b"!\toffensive", b"\xff\toffensive",
        "e\u0301\toffensive".encode(), "🖕*\toffensive".encode(), b"a" * 65 + b"\toffensive",
        b"x" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        WordFilter.from_bytes(data)
    assert hostile.one_sentence(str(caught.value))
    path = tmp_path / "toy.bundle"
    write_bundle(path, toy_manifest(), {**toy_parts(), "filter": data})
    with pytest.raises(BundleError):
        kbengine.load(path)


@pytest.mark.parametrize(
    "entry", ["", "*", "Rat", "one too many", "two  words", "two Words", "no. word", "a" * 65]
)
def test_an_entry_that_no_word_can_be_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is no word"):
        WordFilter({entry: "offensive"})


def test_a_bundle_needs_no_list(tmp_path: Path, toy_source: Path) -> None:
    engine = with_filter(tmp_path / "toy.bundle", toy_source, None)
    assert set(engine.bundle.parts) == set(PARTS) - {"filter"}
    assert len(engine.word_filter) == 0
    assert engine.suggest("see you t") == finger_engine().suggest("see you t")


def test_a_list_that_holds_nearly_all_back_ends_the_search(
    tmp_path: Path, toy_source: Path
) -> None:
    every = WordFilter({f"{letter}*": "offensive" for letter in "abcdefghijklmnopqrsuvwxyz"})
    engine = with_filter(tmp_path / "toy.bundle", toy_source, every)
    shown = engine.suggest("", 20, slots="words")
    assert len(shown) == 20
    assert all(c.text[0] in "tT" for c in shown)
    assert all(c.text[0] in "tT" for c in engine.suggest("se", slots="words"))


# The English list


INNOCENT = """
damn hell crap screw pissed sucks bloody love kiss gay lesbian jew muslim black queer god jesus
dead cumulative cucumber rapeseed grape shitake shiitake assume class pass peacock cocktail
cockpit dickens dickinson analysis analog pakistan nigel nigeria night niggle diet diesel skill
skilled method heroine therapist pussycat hello title wankel scunthorpe essex sussex wtf lmfao
masterbath metastable lynch hoenn
"""


@pytest.mark.parametrize("word", INNOCENT.split())
def test_innocent_words_are_offered(word: str) -> None:
    assert ENGLISH is not None
    assert ENGLISH.class_of(word) is None


def test_every_entry_does_something() -> None:
    """None is covered by another of its class."""
    assert ENGLISH is not None
    entries = dict(line.split("\t") for line in ENGLISH.to_bytes().decode().splitlines())
    for entry in entries:
        others = WordFilter({e: c for e, c in entries.items() if e != entry})  # type: ignore[misc]
        assert others.class_of(entry.removesuffix("*")) != entries[entry], entry


# What is offered


OFFENSIVE = [("what the ", "fuck"), ("this is bull", "bullshit"), ("You are such an ", "asshole")]


@pytest.mark.parametrize(("line", "word"), OFFENSIVE)
def test_an_offensive_word_is_not_offered_unasked(english: Engine, line: str, word: str) -> None:
    assert word in texts(english.suggest(line, 30, slots="words", unfiltered=True))
    assert word not in texts(english.suggest(line, 30, slots="words"))


def test_a_word_that_is_typed_in_full_is_held_back_in_no_way(english: Engine) -> None:
    """Only what it could be completed to is."""
    for line in ("oh shit", "oh Shit", "oh sHit"):
        literal = english.suggest(line, slots="literal")
        assert texts(literal) == [line.removeprefix("oh ")]
        assert literal == english.suggest(line, slots="literal", unfiltered=True)
    finished = english.predictor().finish(kbengine.engine.context_of("oh shit"), 3)
    assert finished[0].text == "shit"
    assert english.word_filter.class_of("shitty") == "offensive"
    assert "shitty" not in texts(finished)


def test_a_delicate_word_is_offered_from_its_first_letter_on(english: Engine) -> None:
    line = "My grandfather "
    assert "died" in texts(english.suggest(line, 5, slots="words", unfiltered=True))
    assert "died" not in texts(english.suggest(line, 5, slots="words"))
    for typed in ("d", "di", "die"):
        both = [
            english.suggest(line + typed, 9, slots="words", unfiltered=u) for u in (False, True)
        ]
        assert "died" in texts(both[0])
        assert both[0] == both[1]


@pytest.mark.parametrize(
    ("line", "word"), [("go kill ", "yourself"), ("I want to kill ", "myself"), ("Kill ", "me")]
)
def test_what_is_harmless_by_itself_is_not_offered_after_such_a_word(
    english: Engine, line: str, word: str
) -> None:
    assert word in texts(english.suggest(line, 5, slots="words", unfiltered=True))
    assert word not in texts(english.suggest(line, 5, slots="words"))
    assert word in texts(english.suggest("Tell me about ", 100, slots="words"))
    for phrase in english.suggest(line, 5, slots="phrase"):
        assert phrase.text.split()[0] != word


def test_a_phrase_holds_no_such_word(english: Engine) -> None:
    for line, phrase in (("go fuc", "fuck yourself"), ("I want to have s", "sex with")):
        assert phrase in texts(english.suggest(line, 3, slots="phrase", unfiltered=True))
        found = english.suggest(line, 3, slots="phrase")
        held_back = [w for c in found for w in c.text.split() if english.word_filter.class_of(w)]
        assert held_back == []


def test_only_the_rude_emoji_is_held_back(english: Engine) -> None:
    line = "middle finger "
    free = english.suggest(line, 9, slots="emoji", unfiltered=True)
    assert "🖕" in texts(free)
    shown = english.suggest(line, 9, slots="emoji")
    assert len(shown) == 9
    assert "🖕" not in texts(shown)
    # Several are equally likely, so not the same must be shown.
    left = [c.logp for c in free if c.text != "🖕"]
    assert [c.logp for c in shown][: len(left)] == left


LINES = (
    "", "what the ", "what the f", "fuc", "fuck", "Fuck", "FU", "oh s", "You are such a ", "pen",
    "My grandfather ", "I want to have ", "I want to have s", "as", "I feel so ", "porn", "tit",
    "she is ", "go kill ", "middle finger ", "give him the middle fing", "piece of ",
    "He wants to ", "gay",
)  # fmt: skip


def facts(candidates: list[Candidate]) -> list[tuple[str, str, float]]:
    return [(c.kind, c.text, round(c.logp, 9)) for c in candidates]


@pytest.mark.parametrize("line", LINES)
def test_with_the_option_nothing_is_filtered(english: Engine, plain: Engine, line: str) -> None:
    for slots in (STRIP, "any", "words"):
        unfiltered = english.suggest(line, 5, slots=slots, unfiltered=True)
        assert facts(unfiltered) == facts(plain.suggest(line, 5, slots=slots))


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("n", [1, 3, 8])
def test_the_list_is_the_unfiltered_one_without_some(english: Engine, line: str, n: int) -> None:
    """In order and as long, as far as there are others; what is in both has one logp."""
    typed = kbengine.engine.context_of(line).typed.lower()
    before = english.predictor().query(kbengine.engine.context_of(line)).place.last_word

    def offered(c: Candidate) -> bool:
        return english.word_filter.offers(c.text.lower(), typed, before)

    def known(candidates: list[Candidate]) -> list[Candidate]:
        """Unknown words come in where known ones do not fill the list: more in a longer one."""
        return [c for c in candidates if c.text.lower() in english.lexicon]

    more = [c for c in english.suggest(line, 100, slots="words", unfiltered=True) if offered(c)]
    shown = english.suggest(line, n, slots="words")
    assert len(shown) == min(n, len(more))
    assert texts(known(shown)) == texts(known(more))[: len(known(shown))]
    near = [c for c in english.suggest(line, n, slots="words", unfiltered=True) if offered(c)]
    assert facts(shown[: len(near)]) == facts(near)


def test_a_field_the_repl_the_server_and_the_command_line_agree(
    english: Engine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "en.bundle"
    with_filter(path, DEFAULT_BUNDLE, ENGLISH)
    for unfiltered in (False, True):
        expected = texts(english.suggest("what the ", 4, slots="words", unfiltered=unfiltered))
        assert ("fuck" in expected) is unfiltered
        field = english.session("words", unfiltered)
        field.set_context("what the ")
        assert texts(field.suggest(4)) == expected
        conversation = Conversation(english, "words:4", unfiltered=unfiltered)
        conversation.sync("what the ")
        assert texts(list(conversation.shown().candidates)) == expected
        server = Server(english, unfiltered=unfiltered)
        reply = server.answer(b'{"op": "predict", "context": "what the ", "k": 4}')
        assert reply["candidates"] == expected
        option = ["--unfiltered"] * unfiltered
        command = ["suggest", "what the ", "-n", "4", "--slots", "words", "--bundle", str(path)]
        assert main([*command, *option]) == 0
        assert [row.split()[0] for row in capsys.readouterr().out.splitlines()] == expected


# From training


def test_the_list_of_a_language(tmp_path: Path) -> None:
    assert read_filter(None, "xx") is None
    own = tmp_path / "own.tsv"
    own.write_text("rat\toffensive\n", encoding="utf-8")
    found = read_filter(own, "en")
    assert found is not None
    assert found.to_bytes() == b"rat\toffensive\n"


def test_a_wrong_list_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.tsv"
    own.write_text("Rat\toffensive\n", encoding="utf-8")
    command = ["bundle", "--work", str(tmp_path), "--out", str(tmp_path / "own.bundle")]
    assert train([*command, "--filter", str(own)]) == 1
    assert "line 1 of the word filter" in capsys.readouterr().err
    assert train([*command, "--filter", str(tmp_path / "none.tsv")]) == 1
    assert "none.tsv: no such file" in capsys.readouterr().err


def test_an_empty_filter_holds_nothing_back() -> None:
    assert all(NOTHING_HELD_BACK.offers(word) for word in ("rat", "", "🖕"))
