"""Whether candidates are as often right as they say, and emoji foreseen: figures and verbs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbengine import text
from kbengine.cli import main
from kbengine.emojistyle import PLAIN
from kbengine.evaluate.calibration import (
    BINS,
    KINDS,
    LEAST_P,
    Shown,
    between,
    calibration,
    collect,
)
from kbengine.evaluate.emojis import OFFERED, area_under_curve, foresee
from kbengine.evaluate.lines import Line, read_text
from tests.toys import finger_engine, toy_bundle, toy_engine

CHAT = "see you at ten 😂😂 ok\nare you there? yes.\nlots of love ❤️\nthe pizza is here 🍕\n"


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chat") / "chat.txt"
    path.write_text(CHAT, encoding="utf-8")
    return path


def sample(shift: float, count: int = 60_000) -> list[Shown]:
    """Candidates that are right as often as they say, less a shift."""
    rng = np.random.default_rng(4)
    p = rng.uniform(0.2, 0.8, count)
    right = rng.random(count) < p - shift
    return [Shown(float(a), bool(b)) for a, b in zip(p, right, strict=True)]


# The error and the skill


def test_what_is_as_often_right_as_it_says_has_no_error() -> None:
    found = calibration("word", sample(0.0))
    assert found is not None
    assert found.error < 0.01
    assert found.count == 60_000


@pytest.mark.parametrize("shift", [-0.15, 0.1, 0.2])
def test_a_shift_is_the_error(shift: float) -> None:
    found = calibration("word", sample(shift))
    assert found is not None
    assert math.isclose(found.error, abs(shift), abs_tol=0.01)
    for one in found.bins:
        assert math.isclose(one.p - one.right, shift, abs_tol=0.05)


@given(st.lists(st.builds(Shown, st.floats(0, 1), st.booleans()), min_size=1, max_size=99))
def test_the_bins_are_of_equal_mass_and_sorted(shown: list[Shown]) -> None:
    found = calibration("sign", shown)
    assert found is not None
    sizes = [one.size for one in found.bins]
    assert sum(sizes) == found.count == len(shown)
    assert len(sizes) == min(BINS, len(shown))
    assert max(sizes) - min(sizes) <= 1
    means = [one.p for one in found.bins]
    assert np.diff(means).min(initial=0) >= -1e-12
    right = sum(one.right * one.size for one in found.bins)
    assert math.isclose(right, sum(one.right for one in shown), abs_tol=1e-9)
    assert 0 <= found.error <= 1


@pytest.mark.parametrize(
    ("shown", "skill"),
    [
        ([Shown(1.0, True), Shown(0.0, False)], 1.0),
        ([Shown(0.5, True), Shown(0.5, False)], 0.0),  # knows the rate and nothing else
        ([Shown(0.8, True), Shown(0.4, False)], 0.6),  # (0.04 + 0.16) / 2 of 0.25
        ([Shown(0.0, True), Shown(1.0, False)], -3.0),
        ([Shown(0.5, True)] * 3, None),
        ([Shown(0.5, False)] * 3, None),
    ],
)
def test_the_skill_is_what_is_left_of_the_error_of_the_rate(
    shown: list[Shown], skill: float | None
) -> None:
    found = calibration("word", shown)
    assert found is not None
    assert found.skill == (skill if skill is None else pytest.approx(skill))


def test_of_no_candidates_there_is_nothing() -> None:
    assert calibration("emoji", []) is None


scores_and_right = st.lists(
    st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 0.5 + 1e-9, 2.0]), st.booleans()), max_size=20
)


@given(scores_and_right)
def test_the_area_is_the_share_of_pairs_in_order(rows: list[tuple[float, bool]]) -> None:
    scores = np.array([score for score, _ in rows])
    right = np.array([came for _, came in rows], bool)
    found = area_under_curve(scores, right)
    pairs = [(a > b) + (a == b) / 2 for a in scores[right] for b in scores[~right]]
    assert found == (pytest.approx(float(np.mean(pairs))) if pairs else None)


# Places


def places(line: str) -> list[tuple[str, str | None, str | None, bool]]:
    """before, emoji, sign, after an emoji; words are neither."""
    return [
        (
            place.context.before,
            place.emoji,
            place.sign if place.sign and not text.is_word(place.sign) else None,
            place.after_emoji,
        )
        for place in between(Line(line))
    ]


def test_emoji_and_signs_are_found_between_words() -> None:
    assert places("ok 😂😂 fine. yes") == [
        ("", None, None, False),
        ("ok ", "😂", None, False),
        ("ok 😂 ", "😂", None, True),
        ("ok 😂😂 ", None, None, True),
        ("ok 😂😂 fine ", None, ".", False),
        ("ok 😂😂 fine. yes ", None, None, False),
    ]


def test_a_line_may_begin_with_an_emoji_and_have_earlier_ones() -> None:
    assert places("😂") == [("", "😂", None, False), ("😂 ", None, None, True)]
    for place in between(Line("hi 😂", 2, ("before",))):
        assert place.context.earlier == ("before",)


@pytest.mark.parametrize("emoji", ["❤️", "❤", "👍🏽", "🤷🏽‍♀️", "👨‍👩‍👧", "1️⃣", "🇩🇪", "☝🏿"])
def test_an_emoji_is_one_place_in_whatever_form(emoji: str) -> None:
    assert places(f"hi {emoji} there {emoji}{emoji}") == [
        ("", None, None, False),
        ("hi ", text.base_emoji(emoji), None, False),
        (f"hi {emoji} ", None, None, True),
        (f"hi {emoji} there ", text.base_emoji(emoji), None, False),
        (f"hi {emoji} there {emoji} ", text.base_emoji(emoji), None, True),
        (f"hi {emoji} there {emoji}{emoji} ", None, None, True),
    ]


# Of a text


def test_what_is_collected_is_likely_enough_and_sometimes_right(chat: Path) -> None:
    done: list[None] = []
    found = collect(toy_engine(), read_text(chat), lambda: done.append(None))
    assert len(done) == len(CHAT.splitlines())
    assert {"word", "phrase"} <= set(found) <= set(KINDS)
    for shown in found.values():
        assert all(LEAST_P <= one.p <= 1 for one in shown)
    assert {one.right for one in found["word"]} == {True, False}


def test_what_is_foreseen_is_what_the_engine_offers(chat: Path) -> None:
    file = read_text(chat)
    found = foresee(toy_engine(), file, PLAIN)
    sent = {"see you at ten ": "😂", "lots of love ": "❤️", "the pizza is here ": "🍕"}
    assert {kind: row[0] for kind, row in found.kinds.items()} == dict.fromkeys(sent.values(), 1)
    assert found.sent == len(sent), "the second of two emoji is not asked for"
    ranks = []
    for before, emoji in sent.items():
        found_here = toy_engine().suggest(before, OFFERED, slots="emoji", unfiltered=True)
        shown = [c.text for c in found_here]
        ranks.append(shown.index(emoji) if emoji in shown else OFFERED)
    assert found.top1 == pytest.approx(np.mean([rank == 0 for rank in ranks]))
    assert found.top5 == pytest.approx(np.mean([rank < OFFERED for rank in ranks]))
    scores, came = [], []
    for line in file.lines:
        for place in between(line):
            if not place.after_emoji:
                scores.append(toy_engine().emoji_p(place.context))
                came.append(place.emoji is not None)
    assert found.places == len(scores)
    assert found.auc == pytest.approx(area_under_curve(np.array(scores), np.array(came)))


def test_every_kind_counts_the_same_by_kind(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text(CHAT + "more pizza 🍕\n" * 3, encoding="utf-8")
    found = foresee(toy_engine(), read_text(path), PLAIN)
    assert found.kinds["🍕"][0] == 4
    assert found.by_kind is not None
    for place, share in enumerate(found.by_kind, 1):
        wanted = [row[place] / row[0] for row in found.kinds.values()]
        assert share == pytest.approx(sum(wanted) / 3)


def test_a_text_without_emoji_has_no_shares(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text("see you\nyes.\n", encoding="utf-8")
    found = foresee(toy_engine(), read_text(path), PLAIN)
    assert found.places > 0
    assert found.sent == 0
    assert [found.auc, found.end_auc, found.top1, found.top5, found.by_kind] == [None] * 5


def test_a_message_with_an_emoji_after_a_sign_is_not_one_without(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text("see you 😂\nsee you! 😂\n", encoding="utf-8")
    assert foresee(toy_engine(), read_text(path), PLAIN).end_auc is None


# As a person runs it


def run(tmp_path: Path, *args: object) -> int:
    bundle = toy_bundle(tmp_path / "toy.bundle")
    return main(["eval", "--bundle", str(bundle), *map(str, args)])


def test_calibration_as_a_command(
    chat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, out = tmp_path / "a.png", tmp_path / "a.json"
    assert run(tmp_path, "--calibration", picture, chat, "--json", "--out", out) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list(printed.values()) == json.loads(out.read_text(encoding="utf-8"))
    shown = collect(finger_engine(), read_text(chat))
    assert {kind: one["count"] for kind, one in printed.items()} == {
        kind: len(some) for kind, some in shown.items()
    }
    picture.unlink()
    assert run(tmp_path, "--calibration", picture, chat) == 0
    said = capsys.readouterr().out
    assert picture.exists()
    assert all(f"{kind} " in said for kind in printed)


def test_two_files_are_pooled(
    chat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = []
    for files in ([chat], [chat, chat]):
        assert run(tmp_path, "--calibration", tmp_path / "a.png", *files, "--json") == 0
        counts.append(json.loads(capsys.readouterr().out)["word"]["count"])
    assert counts[1] == 2 * counts[0] > 0


def test_emoji_as_a_command(chat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.json"
    assert run(tmp_path, "--emoji", chat, "--json", "--out", out) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(out.read_text(encoding="utf-8"))
    found = foresee(toy_engine(), read_text(chat), PLAIN)
    one = printed[chat.name]
    assert (one["places"], one["sent"]) == (found.places, found.sent)
    assert one["by_kind"] == pytest.approx(list(found.by_kind or ()))
    assert run(tmp_path, "--emoji", chat) == 0
    said = capsys.readouterr().out
    assert "🍕" in said
    assert chat.name in said


def test_a_picture_that_cannot_be_written_is_refused_first(
    chat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--calibration", tmp_path / "none" / "a.png", chat) != 0
    assert "cannot be written" in capsys.readouterr().err
