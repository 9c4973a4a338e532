"""Lines that no host should send, over real pipes: one reply each, and the next good line
is answered as ever. `make soak` sends ten thousand."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kbengine.predict import MOST
from kbengine.serve import MAX_LINE_BYTES
from tests.soak import times
from tests.toys import toy_bundle

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parent.parent
GOOD = {
    "op": "predict", "context": "see you ", "prefix": "to", "k": 3, "earlier": ["hi"],
    "touches": [[4.5, 0.5], None],
}  # fmt: skip
BASES: tuple[dict[str, Any], ...] = (
    GOOD,
    {"op": "emoji", "context": "happy birthday ", "k": 5, "earlier": ["party?"]},
    {"op": "info"},
    {"op": "learn", "text": "hello"},
    {"op": "reset"},
)
CHECKED = {"predict": ("context", "prefix", "k", "earlier", "touches"),
           "emoji": ("context", "k", "earlier")}  # fmt: skip


class Pipes:
    """The server as a process."""

    def __init__(self, bundle: Path) -> None:
        command = [sys.executable, "-m", "kbengine", "serve", "--stdio", "--bundle", str(bundle)]
        self.process = subprocess.Popen(
            [*command, "--slots", "words:3,phrase:1,emoji:1,literal:1"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, line: bytes) -> dict[str, Any]:
        """The reply to one line; AssertionError where it is no line of strict JSON."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()
        reply = self.process.stdout.readline()
        assert reply.endswith(b"\n"), f"no reply to {line[:200]!r}: {self.process.poll()}"
        found = json.loads(reply.decode("ascii"), parse_constant=pytest.fail)
        assert isinstance(found, dict)
        return found

    def end(self, last: bytes = b"") -> bytes:
        """Send what is left without the end of a line, and read all that still comes."""
        out, errors = self.process.communicate(last, timeout=60)
        assert (self.process.returncode, errors) == (0, b"")
        return out


@pytest.fixture
def pipes(tmp_path: Path) -> Iterator[Pipes]:
    found = Pipes(toy_bundle(tmp_path / "toy.bundle"))
    yield found
    found.process.kill()
    found.process.communicate()


def line_of(request: object) -> bytes:
    return json.dumps(request).encode()


def is_error(reply: dict[str, Any]) -> bool:
    if "error" not in reply:
        return False
    told = reply["error"]
    assert list(reply) == ["error"]
    assert told.isprintable(), told
    assert 10 < len(told) < 200, told
    assert "Traceback" not in told
    return True


# Invalid whatever else is in them

WRONG: dict[str, tuple[Any, ...]] = {
    "context": (None, 1, 1.5, True, [], {}, ["a"], [[]]),
    "prefix": (None, 1, 1.5, False, [], {}, ["t"]),
    "k": (None, 0, -1, MOST + 1, 2**63, 10**300, 1.0, "3", True, [], {}, float("nan"),
          float("inf")),
    "earlier": (None, 1, "hi", {}, [1], [None], [["hi"]], ["ok", 2.5], [{}]),
    "touches": (0, "ab", {}, [], [1, 2], [None], [[1], [2]], [[1, 2, 3], None], [[True, 1], None],
                [[float("nan"), 1], None], [[1e300, 1], None], [[10**400, 1], None],
                [[[], 1], None]),
}  # fmt: skip


def wrong_field(draw: random.Random) -> bytes:
    """A field that the op reads, of a type or value that it cannot have."""
    base = dict(BASES[draw.randrange(2)])
    name = draw.choice(CHECKED[base["op"]])
    base[name] = draw.choice(WRONG[name])
    return line_of(base)


def wrong_op(draw: random.Random) -> bytes:
    odd = [None, 1, "", "Predict", "predict\0", "\ud800", [], {}, ["predict"], "x" * 1000, True]
    return line_of({**draw.choice(BASES), "op": draw.choice(odd)})


def cut_off(draw: random.Random) -> bytes:
    line = line_of(draw.choice(BASES))
    return line[: draw.randrange(len(line))]


def foreign_byte(draw: random.Random) -> bytes:
    """Bytes that are no UTF-8, or control characters, in the middle of the line."""
    line = line_of(draw.choice(BASES))
    place = draw.randrange(1, len(line))
    return (
        line[:place]
        + draw.choice([b"\xff", b"\xc3(", b"\0", b"\x01", b"\xed\xa0\x80\xff"])
        + line[place:]
    )


def spliced(draw: random.Random) -> bytes:
    """The beginning of one request and the whole of another."""
    one, other = line_of(draw.choice(BASES)), line_of(draw.choice(BASES))
    return draw.choice(
        [one + other, one[: draw.randrange(1, len(one) - 1)] + other, b"[" + one, one + b"]"]
    )


def deep(draw: random.Random) -> bytes:
    size = draw.choice([1000, 20_000, 200_000])
    open_object = b'{"op":"info","x":'
    lines = [b"[" * size, b'{"op":' * size, open_object + b"[" * size + b"]" * size]
    return draw.choice(lines)[: MAX_LINE_BYTES - 1] + b"]"


def huge_number(draw: random.Random) -> bytes:
    number = draw.choice(
        [b"1e400", b"-1e400", b"NaN", b"Infinity", b"9" * 5000, b"-" + b"1" * 4000, b"0.5"]
    )
    return line_of({**GOOD, "k": "HERE"}).replace(b'"HERE"', number)


def too_long(draw: random.Random) -> bytes:
    return line_of({**GOOD, "context": "so " * draw.randrange(MAX_LINE_BYTES // 3, MAX_LINE_BYTES)})


def no_object(draw: random.Random) -> bytes:
    return draw.choice([
        b"", b" ", b"\t", b"null", b"[]", b"0", b'"predict"', b"true", b"\xef\xbb\xbf", b"\0" * 100,
        b"NaN", b"{", b"}", b"//", b"{'op': 'info'}", b"{}",
    ])  # fmt: skip


INVALID: tuple[Callable[[random.Random], bytes], ...] = (
    wrong_field, wrong_field, wrong_op, cut_off, foreign_byte, spliced, huge_number, no_object,
)  # fmt: skip


def test_each_invalid_line_gets_an_error_and_the_next_its_answer(pipes: Pipes) -> None:
    good = line_of(GOOD)
    expected = pipes.ask(good)
    assert expected["candidates"]
    for seed in range(times(400, 10_000)):
        draw = random.Random(seed)
        # These take long to send, and are one of a hundred.
        make = (too_long, deep)[seed % 2] if seed % 100 > 97 else INVALID[seed % len(INVALID)]
        line = make(draw).replace(b"\n", b" ")
        assert is_error(pipes.ask(line)), (seed, line[:300])
        assert pipes.ask(good) == expected, seed
    assert json.loads(pipes.end(good)) == expected, "the last line may lack its end"


# Odd, but requests


def changed_text(draw: random.Random) -> bytes:
    """Bytes changed anywhere: some are requests still."""
    line = bytearray(line_of(draw.choice(BASES)))
    for _ in range(draw.choice([1, 1, 3])):
        line[draw.randrange(len(line))] = draw.choice(
            [0, 255, 0x22, 0x5C, 0x30, draw.randrange(256)]
        )
    return bytes(line)


LARGE = 300_000  # characters


def odd_text(draw: random.Random) -> str:
    return draw.choice([
        "\ud800", "a\udfffb ", "\0", "\x1b[31m", "\u202e", "\u200b" * 50, "e\u0301" * 30, "'" * 50,
        "\U0001f602" * 40, "\u0e44\u0e17\u0e22", "a" * 300, "a " * 3000, "\n\r\t ", "\ufeff",
        "1" * 500, "\U0010ffff", "\u0130\u0131\u00df\ufb01", "Don't", "x" * draw.randrange(2000),
        "".join(chr(draw.randrange(0x110000)) for _ in range(20)),
    ])  # fmt: skip


def odd_request(draw: random.Random) -> bytes:
    prefix = odd_text(draw) if draw.random() < 0.5 else draw.choice(["", "t", "T", "to"])
    touches = [draw.choice([None, [0, 0], [-1e5, 9.5]]) for _ in prefix]
    request = {
        "op": draw.choice(["predict", "emoji"]), "context": odd_text(draw), "prefix": prefix,
        "k": draw.choice([1, 2, MOST]),
        "earlier": [odd_text(draw) for _ in range(draw.randrange(4))], "touches": touches,
        odd_text(draw): [None],
    }  # fmt: skip
    return json.dumps(request, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")


def is_answer(reply: dict[str, Any]) -> bool:
    lists = [reply.get("candidates"), reply.get("scores")]
    return all(isinstance(found, list) for found in lists) and len(lists[0]) == len(lists[1])


def test_odd_requests_are_answered(pipes: Pipes) -> None:
    good = line_of(GOOD)
    expected = pipes.ask(good)
    for seed in range(times(100, 2000)):
        line = odd_request(random.Random(seed))
        reply = pipes.ask(line)
        # Bytes that are no UTF-8 (lone surrogates, written out) are no JSON.
        assert is_answer(reply) or (is_error(reply) and b"\xed" in line), (seed, line[:300])
        assert pipes.ask(good) == expected, seed


def test_changed_lines_get_one_reply_each(pipes: Pipes) -> None:
    good = line_of(GOOD)
    expected = pipes.ask(good)
    errors = 0
    count = times(200, 4000)
    for seed in range(count):
        reply = pipes.ask(changed_text(random.Random(seed)).replace(b"\n", b" "))
        errors += is_error(reply)
        assert pipes.ask(good) == expected, seed
    assert count / 4 < errors < count, "some of either kind"


@pytest.mark.parametrize(
    "request_",
    [
        {"op": "predict", "context": "so " * (LARGE // 3)},
        {"op": "predict", "context": "x" * LARGE},
        {"op": "predict", "prefix": "x" * LARGE},
        {"op": "predict", "prefix": "'" * LARGE},
        {"op": "predict", "prefix": "a'" * (LARGE // 2)},
        {"op": "predict", "context": "\U0001f602" * (LARGE // 12)},
        {"op": "predict", "context": ". " * (LARGE // 2), "prefix": "\u0301" * 10_000},
        {"op": "predict", "earlier": ["hi"] * 50_000},
        {"op": "predict", "earlier": ["a long message " * 20] * 2000},
        {"op": "predict", "earlier": ["x" * LARGE]},
        {"op": "emoji", "context": "birthday " * (LARGE // 9), "k": MOST},
        {"op": "predict", "prefix": "to" * 5000, "touches": [[1, 2]] * 10_000},
        {"op": "info", "more": {str(i): i for i in range(30_000)}},
    ],
    ids=lambda request_: json.dumps(request_)[:40],
)
def test_large_requests_are_answered(pipes: Pipes, request_: dict[str, Any]) -> None:
    line = line_of(request_)
    assert len(line) < MAX_LINE_BYTES
    good = line_of(GOOD)
    expected = pipes.ask(good)
    assert not is_error(pipes.ask(line))
    assert pipes.ask(good) == expected
