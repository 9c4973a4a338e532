"""Keys in, text out: `scripts/*.txt` played on the example input method.

A script is lines of `name: value`; `#` begins a comment. First what the field is like:

    engine: toy         the toy world's (the default) or the shipped one
    slots: words:3      what the strip shows (default: the best three of all kinds)
    earlier: Hi there   a message before this one; a line each, the oldest first
    text: see |you      what stands in the field, `|` being the caret (default: nothing)

then what happens, in this order, as often as wanted:

    keys: I th<then>.   the keys that are pressed
    strip: way, want    candidates that must be on the strip now
    field: I then.|     the field, with its caret

Keys stand for themselves, but for `⌫` backspace, `←` and `→` the caret, `⏎` a line break
and `␣` a space where it would not be seen. `<2>` taps the second place of the strip and
`<then>` that suggestion, which must be there. `␣` and `⏎` are read in `text` and `field`
too. A run of keys that is one character to the eye (an emoji, a letter with its accent) is
one key.
"""

from __future__ import annotations

import queue
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

import kbengine
from kbengine import Engine
from tests.input_method import InputMethod
from tests.toys import toy_engine

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))
ENGINES = {"toy": toy_engine, "shipped": kbengine.load}
SETTINGS, STEPS = ("engine", "slots", "earlier", "text"), ("keys", "strip", "field")
KEY_RE = re.compile(r"<([^<>]+)>|(.[\u0300-\u036f\ufe0f]*(?:\u200d.\ufe0f?)*)", re.DOTALL)
SECONDS = 30  # for one answer; only a deadlock takes so long


class Line(NamedTuple):
    """A line of a script."""

    number: int
    name: str
    value: str


def lines(script: str) -> Iterator[Line]:
    """Raises ValueError for a line that is none."""
    for number, line in enumerate(script.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, value = line.partition(": ")
        if not colon or name not in (*SETTINGS, *STEPS):
            raise ValueError(f"line {number}: {line!r} is no line of a script")
        yield Line(number, name, value.replace("␣", " ").replace("⏎", "\n"))


class Player:
    """An input method with its toolkit's loop, on which only what is `run` happens."""

    def __init__(self, engine: Engine) -> None:
        self._posted: queue.Queue[Callable[[], None]] = queue.Queue()
        self._owed = 0
        self.method = InputMethod(engine, self._posted.put)

    def do(self, action: Callable[..., None], *values: object) -> None:
        """A touch of the user's. Each makes the input method ask once."""
        action(*values)
        self._owed += 1
        session = self.method._field
        assert (self.method.text, self.method.caret) == (session.text, session.caret)

    def wait(self) -> None:
        """Let all answers come in that were asked for."""
        while self._owed:
            self._posted.get(timeout=SECONDS)()
            self._owed -= 1

    def press(self, tap: str, key: str) -> None:
        method = self.method
        if tap:
            self.wait()  # until the strip is there
            shown = [c.text for c in method.strip]
            place = int(tap) - 1 if tap in ("1", "2", "3") else shown.index(tap)
            assert place < len(shown), shown
            self.do(method.tap, place)
        elif key == "⌫":
            self.do(method.backspace)
        elif key in ("←", "→"):
            self.do(method.move, method.caret + (1 if key == "→" else -1))
        else:
            self.do(method.key, key)

    @property
    def field(self) -> str:
        text, caret = self.method.text, self.method.caret
        return f"{text[:caret]}|{text[caret:]}"


@contextmanager
def playing(engine: Engine) -> Iterator[Player]:
    player = Player(engine)
    try:
        yield player
    finally:
        player.method.close()


def play(player: Player, script: list[Line], patient: bool) -> None:
    """patient: the user looks at the strip after every key; else only before a tap."""
    settings: dict[str, list[str]] = {name: [] for name in SETTINGS}
    for line in script:
        if line.name in SETTINGS:
            settings[line.name].append(line.value)
    left, _, right = (settings["text"] or ["|"])[0].partition("|")
    slots = (settings["slots"] or [None])[0]
    player.do(player.method.focus, left + right, len(left), settings["earlier"], slots)
    for line in script:
        where = f"line {line.number}"
        if line.name == "keys":
            for tap, key in KEY_RE.findall(line.value):
                player.press(tap, key)
                if patient:
                    player.wait()
        elif line.name == "strip":
            player.wait()
            shown = [c.text for c in player.method.strip]
            assert set(line.value.split(", ")) <= set(shown), f"{where}: {shown}"
        elif line.name == "field":
            assert player.field == line.value, where


@pytest.mark.parametrize("patient", [True, False], ids=["patient", "hasty"])
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_keys_give_the_text(path: Path, patient: bool) -> None:
    script = list(lines(path.read_text(encoding="utf-8")))
    engine = next((line.value for line in script if line.name == "engine"), "toy")
    assert script[-1].name == "field", "a script ends with what must come out"
    with playing(engines(engine)) as player:
        play(player, script, patient)


def engines(name: str, made: dict[str, Engine] = {}) -> Engine:  # noqa: B006
    """Each engine once."""
    if name not in made:
        made[name] = ENGINES[name]()
    return made[name]


def test_the_player_sees_what_is_wrong() -> None:
    for wrong in (
        "keys: a\nfield: ab|",
        "keys: a\nfield: |a",
        "keys: <no such word>\nfield: |",
        "keys: see you <9>\nfield: |",
        "keys: see\nstrip: no such word\nfield: see|",
    ):
        with playing(toy_engine()) as player, pytest.raises((AssertionError, ValueError)):
            play(player, list(lines(wrong)), True)
    with pytest.raises(ValueError, match="no line of a script"):
        list(lines("press: a"))


def test_a_tap_that_comes_before_the_answer_takes_nothing() -> None:
    with playing(toy_engine()) as player:
        for key in "see you tom":
            player.do(player.method.key, key)
        player.method.tap(0)
        assert player.field == "see you tom|"
        player.wait()
        player.do(player.method.tap, 0)
        assert player.field == "see you tomorrow |"


def test_the_strip_has_three_places() -> None:
    with playing(toy_engine()) as player:
        for key in "see you t":
            player.do(player.method.key, key)
            player.wait()
            assert len(player.method.strip) == 3
