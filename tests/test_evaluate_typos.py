"""Slips of the finger: what comes out, and how what is made of it is counted."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kbengine
from kbengine import text
from kbengine.bundle import write_bundle
from kbengine.channel import ChannelModel, Rates
from kbengine.cli import main
from kbengine.evaluate.lines import Line, Word, read_text, words
from kbengine.evaluate.noise import CLEAN, KINDS, SHARES, SLIPS, Noise, Typed
from kbengine.evaluate.typos import (
    BETA,
    BINS,
    NEUTRAL,
    Outcome,
    channel_of,
    collect,
    figures,
    read_misspellings,
    reliability,
    spell,
)
from kbengine.layout import read_layout
from kbengine.types import Tap
from tests.toys import toy_manifest, toy_parts

QWERTY = read_layout(Path(__file__).parent.parent / "data" / "layouts" / "qwerty.tsv")
NOISE = Noise(QWERTY)
TEXT = (
    "see you tomorrow at ten\nI can't, not at the weekend\nThe train to London was late\n"
    "are you there? yes, we don't know\nsomething about the birthday\nok\n10:30 :)\n"
)
WRONG = "tommorow\ttomorrow\nwekend\tweekend\nbirtday\tbirthday\nthier\ttheir\nalot\ta lot\n"
LETTERS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=12)
CASED = LETTERS.flatmap(lambda word: st.sampled_from([word, word.title(), word.upper()]))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "toy.bundle"
    channel = ChannelModel(Rates(), QWERTY, {}).to_bytes()
    write_bundle(path, toy_manifest(), {**toy_parts(), "channel": channel})
    return path


@pytest.fixture(scope="module")
def engine(bundle: Path) -> kbengine.Engine:
    return kbengine.load(bundle)


@pytest.fixture
def chat(tmp_path: Path) -> Path:
    path = tmp_path / "chat.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.tsv"
    path.write_text(WRONG, encoding="utf-8")
    return path


def way(kind: str, line: str, place: int = 0, noise: Noise = NOISE, seed: int = 0) -> list[Typed]:
    """A word of a line, typed in one way."""
    found = words(line)
    after = found[place + 1] if place + 1 < len(found) else None
    return noise.ways(Line(line), found[place], after)[kind](Random(seed))


def kinds_of(line: str, place: int = 0) -> set[str]:
    found: list[Word | None] = [*words(line), None]
    word = found[place]
    assert word is not None
    return set(NOISE.ways(Line(line), word, found[place + 1]))


# What comes out


def test_the_same_seed_types_the_same() -> None:
    lines = [Line(row, number) for number, row in enumerate(TEXT.splitlines(), 1)]
    typed = [list(NOISE.type(line)) for line in lines]
    assert typed == [list(Noise(QWERTY).type(line)) for line in lines]
    assert typed[::-1] == [list(NOISE.type(line)) for line in lines[::-1]]
    assert typed != [list(Noise(QWERTY, seed=1).type(line)) for line in lines]


def test_each_word_of_two_letters_or_more_is_typed_once() -> None:
    for number in range(200):
        line = Line("I think we don't know what London has, do you", number)
        meant = [one.meant for one in NOISE.type(line) if one.kind != "clean, places"]
        assert " ".join(meant) == "think we don't know what London has do you"


def test_every_kind_comes_about_as_often_as_it_should() -> None:
    line = "something about nothing"
    every = [one.kind for n in range(3000) for one in NOISE.type(Line(line, n))]
    found = Counter(every)
    assert found["clean"] == found["clean, places"]
    typed = sum(found.values()) - found["clean, places"]
    possible = {kind: share for kind, share in SHARES.items() if share < 0.5}
    for kind in ("clean", "neighbour", "omitted", "extra space"):
        # A word after a missed space is typed with it; the last has none after it.
        assert math.isclose(found[kind] / typed, possible[kind] / 0.98, abs_tol=0.02), kind
    assert set(found) <= set(KINDS)


@given(CASED)
def test_a_slip_is_what_it_is_called(word: str) -> None:
    lower = word.lower()
    for kind, spellings in NOISE.spellings(word).items():
        for one in spellings:
            assert one != word
            assert one.lower() != lower
            assert text.shape(one) is text.shape(word) or len(one) < 2
            slip = one.lower()
            if kind == "neighbour":
                pairs = [(a, b) for a, b in zip(lower, slip, strict=True) if a != b]
                assert len(pairs) == 1
                assert pairs[0][1] in NOISE.neighbours(pairs[0][0])
            if kind == "omitted":
                assert slip in {lower[:i] + lower[i + 1 :] for i in range(len(lower))}
            if kind == "doubled":
                assert slip in {lower[:i] + c + lower[i:] for i, c in enumerate(lower)}
            if kind == "extra":
                assert lower in {slip[:i] + slip[i + 1 :] for i in range(len(slip))}
            if kind == "swapped":
                assert sorted(slip) == sorted(lower)
                assert sum(a != b for a, b in zip(slip, lower, strict=True)) == 2


def test_neighbours_touch_each_other() -> None:
    assert set(NOISE.neighbours("g")) == set("fhtyv")
    assert set(NOISE.neighbours("q")) == set("wa")
    assert NOISE.neighbours("é") == ()
    for key in "abcdefghijklmnopqrstuvwxyz":
        assert all(key in NOISE.neighbours(other) for other in NOISE.neighbours(key))


def test_apostrophes_accents_and_capitals_are_left_out() -> None:
    assert way("apostrophe", "Can't")[0].typed == "Cant"
    assert way("accent", "Café")[0].typed == "Cafe"
    found = way("capital", "to London", 1)[0]
    assert (found.typed, found.meant) == ("london", "London")
    assert "apostrophe" not in kinds_of("cant")
    assert "accent" not in kinds_of("cafe")
    assert "capital" not in kinds_of("London is")  # a sentence begins with a capital by itself
    assert "capital" not in kinds_of("SEE LONDON", 1)
    assert "omitted" not in kinds_of("is")


def test_a_missed_space_takes_the_next_word() -> None:
    (found,) = way("missed space", "go to the house", 1)
    assert (found.before, found.typed, found.meant) == ("go ", "tothe", "to the")
    assert found.stands == len(found.taps) == 5
    assert "missed space" not in kinds_of("to, the")
    assert "missed space" not in kinds_of("to e-mail")


@given(st.integers(0, 99))
def test_an_extra_space_parts_a_word(seed: int) -> None:
    (found,) = way("extra space", "a longer one", 1, seed=seed)
    assert found.typed.replace(" ", "") == found.meant == "longer"
    assert found.before[-1] == " "
    assert found.stands == len("longer") + 1
    assert 0 < len(found.taps) < 6
    assert "extra space" not in kinds_of("one")


@given(CASED, st.floats(0.05, 1.0), st.integers(0, 99))
def test_fingers_fall_on_the_keys_that_they_type(word: str, sigma_kw: float, seed: int) -> None:
    (found,) = way("touch", word, noise=Noise(QWERTY, sigma_kw), seed=seed)
    assert found.kind == ("touch, right keys" if found.typed == word else "touch")
    assert len(found.taps) == len(word)
    for tap, char in zip(found.taps, word, strict=True):
        assert tap.x is not None
        assert tap.y is not None
        assert tap.char.isupper() == char.isupper()
        assert NOISE.key_at(tap.x, tap.y) == tap.char.lower()


def test_clean_words_are_typed_with_and_without_places() -> None:
    keys, aimed = way("clean", "Don't")
    assert (keys.kind, aimed.kind) == CLEAN[:2]
    assert keys.typed == aimed.typed == "Don't"
    assert keys.taps == tuple(map(Tap, "Don't"))
    x, y = QWERTY.keys["d"]
    assert aimed.taps[0] == Tap("D", x, y)
    assert aimed.taps[3] == Tap("'")  # this keyboard has no such key


@pytest.mark.parametrize("sigma_kw", [0, -1, 9, math.nan])
def test_a_sigma_that_cannot_be_is_refused(sigma_kw: float) -> None:
    with pytest.raises(ValueError, match="sigma"):
        Noise(QWERTY, sigma_kw)


# What is counted


def outcome(kind: str, result: str, p: float = 0.9, rank: int | None = 1) -> Outcome:
    said = {"right": "the", "left": "teh", "wrong": "tea"}[result]
    return Outcome(kind, "teh", "the", rank, said, p, result != "left", result, False, None, 1.0)


def test_precision_recall_and_f_are_those_of_the_counts() -> None:
    # Of five slips two are mended, two left, one made another word; of four words one is changed.
    lines = [
        [outcome("swapped", "right"), outcome("swapped", "left"), outcome("clean", "right")],
        [outcome("touch", "right"), outcome("touch", "wrong"), outcome("extra", "left")],
        [outcome("clean", "right"), outcome("clean", "right"), outcome("clean", "wrong")],
    ]
    found = figures(lines)
    precision, recall = 2 / 3, 2 / 5
    f = (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)
    got = {name: figure.value for name, figure in found.overall.items()}
    assert got == pytest.approx(
        {"precision": precision, "recall": recall, "f0.9": f, "corrections_right": 2 / 4}
    )
    assert found.kinds["swapped"]["left"].value == 0.5
    assert found.kinds["accent"]["left"].value is None
    assert [row[0] for row in found.wrong] == ["touch", "clean"]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_bins_hold_all_and_the_error_is_their_distance(shown: list[tuple[float, bool]]) -> None:
    found = reliability(shown)
    assert found.count == len(shown) == sum(one.size for one in found.bins)
    assert len(found.bins) == min(BINS, len(shown))
    right = sum(one.size * one.right for one in found.bins)
    assert right == pytest.approx(sum(was for _, was in shown))
    assert 0 <= found.error <= 1
    mean = sum(p for p, _ in shown) / len(shown)
    assert found.error >= abs(mean - right / len(shown)) - 1e-9


def test_the_counts_of_a_text_add_up(engine: kbengine.Engine, chat: Path) -> None:
    noise = Noise(channel_of(engine).layout)
    lines = collect(engine, read_text(chat), noise)
    found = figures(lines)
    every = [one for line in lines for one in line]
    assert found.lines == 7
    assert sum(found.words.values()) == len(every) > 20
    assert set(found.words) == set(SLIPS) | set(CLEAN)
    for kind, share in found.kinds.items():
        if not found.words[kind]:
            continue
        total = sum(share[name].value or 0.0 for name in ("right", "wrong", "left"))
        assert total == pytest.approx(1.0)
        assert (share["first"].value or 0.0) <= (share["top3"].value or 0.0)
        assert kind not in CLEAN or share["left"].value == 0
    assert sum(one.count for one in found.reliability.values()) == len(every)
    assert all(one.typing is None for one in every if one.kind.endswith("space"))
    again = collect(engine, read_text(chat), noise)
    assert [o._replace(cpu_ms=0) for line in again for o in line] == [
        o._replace(cpu_ms=0) for o in every
    ]


def test_a_text_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="no word"):
        figures([[], []])


# Misspellings


def test_rows_are_counted_from_0_and_are_of_the_half_asked_for(wrong: Path) -> None:
    rows = [tuple(line.split("\t")) for line in WRONG.splitlines()]
    assert read_misspellings(wrong).lines == tuple(rows[1::2])
    assert read_misspellings(wrong, "even").lines == tuple(rows[0::2])
    assert read_misspellings(wrong, "all").lines == tuple(rows)


def test_what_stands_in_the_other_half_too_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "wrong.tsv"
    path.write_text("teh\tthe\nteh\tthe\nyuo\tyou\nhte\tthe\n", encoding="utf-8")
    assert read_misspellings(path).lines == (("hte", "the"),)


@pytest.mark.parametrize("content", ["", "teh\n", "teh\tthe\tthen\n", "teh\tthe\nteh\t \n"])
def test_a_file_of_no_rows_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "wrong.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"wrong\.tsv"):
        read_misspellings(path)


def test_misspellings_are_typed_in_each_context(engine: kbengine.Engine, wrong: Path) -> None:
    found = spell(engine, read_misspellings(wrong, "all"))
    assert found.rows == 5
    lacks = [
        any(word not in engine.lexicon for word in line.split("\t")[1].split())
        for line in WRONG.splitlines()
    ]
    assert found.unknown == sum(lacks) / 5
    assert set(found.contexts) == set(NEUTRAL)
    assert (found.contexts["alone"]["top3"].value or 0.0) > 0


# As a person runs it


def run(bundle: Path, *args: object) -> int:
    return main(["eval", "--bundle", str(bundle), *map(str, args)])


def test_typos_as_a_command(
    bundle: Path, chat: Path, wrong: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, out = tmp_path / "a.png", tmp_path / "a.json"
    args = (chat, "--typos", picture, "--misspellings", wrong, "--sigma", "0.4")
    assert run(bundle, *args, "--json", "--out", out) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert printed == json.loads(out.read_text(encoding="utf-8"))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert set(printed["words"]) == set(KINDS)
    assert printed["misspellings"]["wrong.tsv"]["rows"] == 2
    picture.unlink()
    assert run(bundle, *args) == 0
    said = capsys.readouterr().out
    assert picture.exists()
    assert all(kind in said for kind, size in printed["words"].items() if size)
    assert "wrong.tsv: 2 rows" in said


def test_a_bundle_without_a_channel_is_told(
    chat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "a.png"
    parts = {name: part for name, part in toy_parts().items() if name != "channel"}
    write_bundle(tmp_path / "toy.bundle", toy_manifest(), parts)
    assert run(tmp_path / "toy.bundle", chat, "--typos", picture) != 0
    said = capsys.readouterr().err
    assert "toy 0 has no channel" in said
    assert said.count("\n") == 1
    assert not picture.exists()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--misspellings", "wrong.tsv"], "goes with --typos"),
        (["--typos", "a.txt"], "no .png"),
        (["--typos", "nowhere/a.png"], "cannot be written"),
        (["--typos", "a.png", "--sigma", "0"], "sigma"),
    ],
)
def test_what_cannot_be_is_told_first(
    bundle: Path, chat: Path, args: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(bundle, chat, *args) != 0
    assert told in capsys.readouterr().err
