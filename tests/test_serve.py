"""The protocol on stdin and stdout: one reply a line, whatever the line."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kbengine
from kbengine import text
from kbengine.predict import MOST
from kbengine.serve import MAX_LINE_BYTES, Server
from kbengine.types import Context, Tap
from tests.toys import toy_bundle, toy_engine

ROOT = Path(__file__).parent.parent
GOOD = {"op": "predict", "context": "see you ", "prefix": "t", "k": 3}


def line_of(request: object) -> bytes:
    return json.dumps(request).encode() + b"\n"


def strict(reply: str | bytes) -> dict[str, Any]:
    """A reply as any JSON reader sees it: NaN and Infinity are not JSON."""

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads(reply, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def serve(lines: bytes, server: Server | None = None) -> list[dict[str, Any]]:
    out = io.BytesIO()
    (server or Server(toy_engine())).run(io.BytesIO(lines), out)
    assert out.getvalue().endswith(b"\n") or not lines
    return [strict(reply) for reply in out.getvalue().splitlines()]


def ask(*requests: object, server: Server | None = None) -> list[dict[str, Any]]:
    replies = serve(b"".join(line_of(request) for request in requests), server)
    assert len(replies) == len(requests)
    return replies


def answer(server: Server | None = None, /, **changes: object) -> dict[str, Any]:
    """The reply to the good request, changed."""
    return ask({**GOOD, **changes}, server=server)[0]


def is_error(reply: dict[str, Any]) -> bool:
    if set(reply) != {"error"}:
        return False
    assert isinstance(reply["error"], str)
    assert "\n" not in reply["error"]
    return len(reply["error"]) > 10


EXPECTED = answer()


# What is answered


def test_predict_answers_what_the_engine_suggests() -> None:
    suggested = toy_engine().suggest("see you t", 3, slots="words")
    assert EXPECTED["candidates"] == [c.text for c in suggested]
    assert EXPECTED["scores"] == pytest.approx([c.logp for c in suggested], abs=1e-4)
    assert EXPECTED["kinds"] == ["word"] * 3
    assert all(word.startswith("t") for word in EXPECTED["candidates"])


@pytest.mark.parametrize("k", [1, 2, 5, 20])
def test_k_is_how_many(k: int) -> None:
    assert len(answer(prefix="", k=k)["candidates"]) == k


@pytest.mark.parametrize("prefix", ["", "t", "tomorrow", "xyz"])
@pytest.mark.parametrize("k", [1, 7, MOST])
def test_candidates_stand_once_best_first(prefix: str, k: int) -> None:
    reply = answer(prefix=prefix, k=k)
    found = reply["candidates"]
    assert len(found) == len(reply["scores"]) == len(reply["kinds"]) <= k
    assert len(set(found)) == len(found)
    assert reply["scores"] == sorted(reply["scores"], reverse=True)


def test_fields_have_defaults() -> None:
    assert ask({"op": "predict"}) == ask({"op": "predict", "context": "", "prefix": "", "k": 3})
    assert len(ask({"op": "predict"})[0]["candidates"]) == 3


def test_unknown_fields_are_ignored() -> None:
    assert answer(more={"x": [1]}) == EXPECTED


def test_a_finished_word_stands_among_what_it_may_stand_for() -> None:
    named = {"context": "", "prefix": "the", "k": 9}
    open_word, finished = answer(**named), answer(**named, done=True)
    assert "the" not in open_word["candidates"]
    assert "the" in finished["candidates"]
    assert finished["scores"] == sorted(finished["scores"], reverse=True)
    assert answer(**named, done=False) == open_word


@pytest.mark.parametrize("done", [1, "true", None, []])
def test_done_is_true_or_false(done: object) -> None:
    assert "done" in answer(done=done)["error"]


def test_info() -> None:
    (reply,) = ask({"op": "info"})
    assert reply["name"] == "kbengine"
    assert reply["version"] == "toy 0"
    assert reply["model_bytes"] == toy_engine().bundle.file_bytes


def test_learn_says_that_it_does_not() -> None:
    (reply,) = ask({"op": "learn", "text": "a whole line"})
    assert reply["ok"] is False
    assert reply["reason"]


def test_reset_changes_nothing_yet() -> None:
    assert ask({"op": "reset"}, GOOD) == [{"ok": True}, EXPECTED]


def test_words_alone_by_default_other_kinds_by_slots() -> None:
    named = {"context": "", "prefix": "birthd", "k": 5}
    assert set(answer(**named)["kinds"]) == {"word"}
    both = answer(Server(toy_engine(), "words:2,emoji:1"), **named)
    assert "🎂" in both["candidates"]
    assert dict(zip(both["candidates"], both["kinds"], strict=True))["🎂"] == "emoji"
    assert set(answer(Server(toy_engine(), "emoji"), **named)["kinds"]) == {"emoji"}


@pytest.mark.parametrize("slots", ["", "verbs", "words,words"])
def test_slots_that_cannot_be_read_are_refused(slots: str) -> None:
    with pytest.raises(ValueError, match="slot"):
        Server(toy_engine(), slots)


def test_earlier_messages_are_read_and_forgotten() -> None:
    server = Server(toy_engine())
    first = {**GOOD, "context": "", "prefix": "", "k": 9}
    alone, after, again = ask(first, {**first, "earlier": ["are you"]}, first, server=server)
    assert after["candidates"] != alone["candidates"] or after["scores"] != alone["scores"]
    assert again == alone
    assert ask({**first, "earlier": []}) == [alone]


@given(st.permutations(range(4)))
@settings(max_examples=10)
def test_a_reply_does_not_depend_on_the_requests_before(order: list[int]) -> None:
    requests = [
        GOOD,
        {**GOOD, "k": 7},
        {**GOOD, "prefix": "to"},
        {"op": "predict", "context": "see you ", "earlier": ["hi"], "k": 1},
    ]
    alone = [ask(request)[0] for request in requests]
    assert ask(*(requests[i] for i in order)) == [alone[i] for i in order]


@pytest.mark.parametrize(
    "slots", ["words", "emoji", "phrase", "literal", "words:2,literal,emoji:1"]
)
@pytest.mark.parametrize(
    "prefix",
    ["red hea", "t-shi", "to go", "10", "😂", "''", "don'", "我们", "我们'", "\ud800", "\u200b",
     "x" * 300, "?", " ", "ไทย"],
)  # fmt: skip
def test_any_prefix_gets_finite_scores(slots: str, prefix: str) -> None:
    """Hosts send what they take for a prefix; `strict` would refuse NaN in a reply."""
    reply = answer(Server(toy_engine(), slots), prefix=prefix, k=5)
    assert not is_error(reply)
    assert all(math.isfinite(score) and score < 1e-3 for score in reply["scores"])


# Touches


@pytest.mark.parametrize(
    "touches",
    [None, [[0.5, 1.2], [3, 4]], [None, [3.5, 0]], [None, None], [[-1.5, 1e5], [0, 0]]],
)
def test_touches_are_accepted(touches: object) -> None:
    assert answer(prefix="to", touches=touches)["candidates"]


@pytest.mark.parametrize(
    "touches",
    [[], [[1, 2]], [[1, 2]] * 3, "ab", 1, {}, [[1], [2]], [[1, 2, 3], None], [["1", 2], None],
     [[True, 2], None], [[1, None], None], [1, 2], [[1e7, 2], None], [[10**400, 1], None],
     [{"x": 1, "y": 2}, None]],
    ids=lambda touches: repr(touches)[:40],
)  # fmt: skip
def test_touches_that_cannot_be_are_refused(touches: object) -> None:
    assert is_error(answer(prefix="to", touches=touches))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_touches_without_a_place_are_refused(number: str) -> None:
    line = f'{{"op": "predict", "prefix": "t", "touches": [[{number}, 1]]}}\n'.encode()
    (reply,) = serve(line)
    assert is_error(reply)


# What is refused


@pytest.mark.parametrize(
    "line",
    [b"", b" ", b"hello", b"{", b"null", b"[]", b"1", b'"predict"', b"[1]", b"{}", b"\xff\xfe",
     b"\x00", b"{'op': 'info'}", b'{"op": null}', b'{"op": ["info"]}', b'{"op": "Info"}',
     b'{"op": ""}', b'{"op": {"op": "info"}}', b"[" * 100_000, b'{"op":' * 50_000, b"1" * 5000,
     b'{"op": "info"} {"op": "info"}', b'{"op": "info"', b"\xef\xbb\xbf\xef\xbb\xbf{}",
     b'{"op": "predict", "k": ' + b"9" * 5000 + b"}"],
    ids=lambda line: repr(line)[:30],
)  # fmt: skip
def test_a_line_that_is_no_request_gets_an_error_and_the_next_its_answer(line: bytes) -> None:
    error, good = serve(line + b"\n" + line_of(GOOD))
    assert is_error(error)
    assert good == EXPECTED


@pytest.mark.parametrize(
    "changes",
    [{"context": 1}, {"context": None}, {"context": ["a"]}, {"prefix": 1}, {"prefix": None},
     {"k": 0}, {"k": -1}, {"k": MOST + 1}, {"k": 1.0}, {"k": "3"}, {"k": True},
     {"k": None}, {"k": 10**30}, {"earlier": "hi"}, {"earlier": [1]}, {"earlier": [["hi"]]},
     {"earlier": None}, {"earlier": {"0": "hi"}}],
    ids=str,
)  # fmt: skip
def test_fields_that_cannot_be_are_refused(changes: dict[str, object]) -> None:
    assert is_error(answer(**changes))


def test_the_end_of_input_ends_the_server() -> None:
    assert serve(b"") == []
    assert serve(line_of(GOOD).rstrip(b"\n")) == [EXPECTED], "the last line may lack its end"


def test_too_long_a_line_is_refused_and_left_behind() -> None:
    long = line_of({**GOOD, "context": "a " * MAX_LINE_BYTES})
    assert len(long) > 2 * MAX_LINE_BYTES
    error, good, more = serve(long + line_of(GOOD) + line_of(GOOD))
    assert is_error(error)
    assert [good, more] == [EXPECTED] * 2
    (error,) = serve(long.rstrip(b"\n"))
    assert is_error(error)


@pytest.mark.parametrize(("beyond", "refused"), [(0, False), (1, True)])
def test_the_longest_line(beyond: int, refused: bool) -> None:
    head = b'{"op": "predict", "prefix": "t", "context": "'
    tail = b'see you "}\n'
    fill = b"so " * MAX_LINE_BYTES
    line = head + fill[: MAX_LINE_BYTES - len(head) - len(tail) + beyond] + tail
    assert len(line) == MAX_LINE_BYTES + beyond
    reply, good = serve(line + line_of(GOOD))
    assert is_error(reply) is refused
    assert good == EXPECTED


# Any line at all

FRAGMENTS = st.sampled_from(
    [b"", b"\n", b'"', b"{", b"}", b"[", b",", b":", b"\\", b"\\ud800", b"null", b"1e999", b"-1",
     b"NaN", b"\xff", b"\x00", b'"op"', b'"earlier":["a"],', b'"touches":[],', b"\xe2\x80\xae"]
)  # fmt: skip


@st.composite
def mutated_lines(draw: st.DrawFn) -> bytes:
    """A good line with stretches of it replaced."""
    line = line_of({**GOOD, "earlier": ["hi"], "touches": [[1.5, 0.5]]})[:-1]
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(line)))
        end = start + draw(st.integers(0, 9))
        line = line[:start] + draw(FRAGMENTS | st.binary(max_size=4)) + line[end:]
    return line + b"\n"


SHARED = Server(toy_engine(), "words:2,phrase:1,emoji:1,literal:1")
SHARED_EXPECTED = answer(SHARED)


@given(st.lists(mutated_lines() | st.binary(max_size=30).map(lambda b: b + b"\n"), max_size=3))
@settings(max_examples=150)
def test_each_line_gets_one_reply_and_the_good_one_its_own(lines: Sequence[bytes]) -> None:
    data = b"".join(lines)
    replies = serve(data + line_of(GOOD), SHARED)
    assert len(replies) == data.count(b"\n") + 1
    assert replies[-1] == SHARED_EXPECTED
    assert all("error" not in reply or is_error(reply) for reply in replies)


# As a process


def process(bundle: Path, lines: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "kbengine", "serve", "--stdio", "--bundle", str(bundle)]
    return subprocess.run([*command, *arguments], input=lines, capture_output=True, cwd=ROOT)


def test_as_a_process(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "toy.bundle")
    requests = [
        GOOD,
        {"op": "info"},
        {"op": "predict", "context": "", "prefix": "birthd", "k": 2},
        {"op": "predict", "context": "caf\u00e9 😂 ", "prefix": "\ud800", "k": 1},
        {"op": "learn", "text": "hello"},
    ]
    lines = line_of(GOOD) + b"nonsense\n" + b"".join(line_of(r) for r in requests)
    done = process(bundle, lines, "--slots", "words:1,emoji:1")
    assert done.returncode == 0, done.stderr.decode()
    replies = [strict(line) for line in done.stdout.splitlines()]
    engine = kbengine.load(bundle)
    assert replies == serve(lines, Server(engine, "words:1,emoji:1"))
    assert is_error(replies[1])
    assert replies[3]["model_bytes"] == os.path.getsize(bundle)
    assert replies[4]["kinds"] == ["word", "emoji"]


@pytest.mark.parametrize("arguments", [("--slots", "verbs"), ("--bundle", "no-such.bundle")])
def test_a_mistake_ends_the_process_with_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = process(toy_bundle(tmp_path / "toy.bundle"), line_of(GOOD), *arguments)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"kbengine: ")
    assert done.stderr.count(b"\n") == 1


def test_emoji_alone_for_a_panel() -> None:
    server = Server(toy_engine())
    reply = server.answer(b'{"op": "emoji", "context": "happy birthday ", "k": 3}')
    assert "🎂" in reply["candidates"]
    assert len(reply["scores"]) == len(reply["candidates"]) <= 3
    assert "error" in server.answer(b'{"op": "emoji", "context": 1}')


def test_a_prefix_of_any_length_is_read_from_its_beginning() -> None:
    """The normal form of a quarter of a million accents would take minutes."""
    predictor = toy_engine().predictor()
    accents = "a" + "\u0316\u0300" * 5000
    query = predictor.query(Context((), "", tuple(map(Tap, accents))))
    assert len(query.typed) <= text.MAX_WORD
    assert query.replaces == len(accents)
    reply = answer(context="", prefix=accents, k=3)
    assert "error" not in reply
