"""The REPL: what it decides, what it answers to a pipe, and what it does on a terminal."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from prompt_toolkit.utils import get_cwidth
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

import kbengine
from kbengine import repl
from kbengine.repl import Conversation, Shown
from kbengine.types import Candidate, Context, Edit

ROOT = Path(__file__).parents[1]
SLOTS = "words:3,phrase:1,emoji:1"
CELL = r"\S[^\t]* \((word|phrase|emoji|literal) (<0\.1|\d+\.\d)%\)"
ANSWER = re.compile(rf"(?:{CELL}(\t{CELL})*)?")


@pytest.fixture(scope="module")
def engine() -> kbengine.Engine:
    return kbengine.load()


@pytest.fixture
def talk(engine: kbengine.Engine) -> Conversation:
    return Conversation(engine, SLOTS)


def piped(data: bytes, *options: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "kbengine", "repl", *options],
        input=data, capture_output=True, cwd=ROOT, timeout=120, env=os.environ | environment,
    )  # fmt: skip


def typed(engine: kbengine.Engine, keys: str, talk: Conversation | None = None) -> list[str]:
    """The messages of the conversation after these keys; Ctrl-D at the end leaves."""
    talk = talk or Conversation(engine, SLOTS)
    with create_pipe_input() as terminal:
        terminal.send_text(keys + "\x03\x04")  # Ctrl-C empties the line if it holds something
        with create_app_session(input=terminal, output=DummyOutput()):
            repl.interactive(talk, "test")
    return list(talk.earlier)


def first(engine: kbengine.Engine, text: str, place: int = 0, earlier: tuple[str, ...] = ()) -> str:
    return engine.suggest(text, 5, earlier, SLOTS)[place].text


def rendered(table: str | Table | None) -> str:
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


# --- piped ------------------------------------------------------------------------------


def test_a_pipe_gets_one_line_for_each_line(engine: kbengine.Engine) -> None:
    lines = ["They see you t", "", "Happy birthday! Have a g", "thank you "]
    done = piped("\n".join(lines).encode())
    answers = done.stdout.decode().split("\n")
    assert done.returncode == 0
    assert answers.pop() == ""
    assert len(answers) == len(lines)
    for line, answer in zip(lines, answers, strict=True):
        assert ANSWER.fullmatch(answer), answer
        found = engine.suggest(line, 5, slots=SLOTS)
        assert [cell.rpartition(" (")[0] for cell in answer.split("\t")] == [c.text for c in found]


def test_any_bytes_are_answered() -> None:
    data = (
        bytes(range(256)).replace(b"\n", b"")
        + b"\n\xff\xfe\xed\xa0\x80\n\x00\x00\r\n"
        + b"a" * 5000
    )
    done = piped(data, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert len(done.stdout.decode().split("\n")) == 5


def test_commands_work_in_a_pipe() -> None:
    done = piped(
        b"see you t\n:context\n:explain\n:slots words:2\nsee you t\n:nonsense\n:quit\nhello\n"
    )
    out = done.stdout.decode()
    assert done.returncode == 0
    assert "committed  'see you '\nopen word  't'\n" in out
    assert "= logp" in out
    assert "Shown are word:2.\n" in out
    two, unknown = out.splitlines()[-2:]
    assert len(two.split("\t")) == 2
    assert unknown == "There is no command :nonsense; :help lists those there are."


def test_slots_that_cannot_be_read_are_one_sentence() -> None:
    done = piped(b"", "--slots", "cheese:3")
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].startswith("kbengine: 'cheese:3' is no slot")


# --- on a terminal ----------------------------------------------------------------------


def test_typing_and_enter_send_a_message(engine: kbengine.Engine) -> None:
    assert typed(engine, "hello there\rhow are you\r") == ["Hello there", "How are you"]


def test_tab_chooses_the_first(engine: kbengine.Engine) -> None:
    assert typed(engine, "They see you t\t\r") == [
        f"They see you {first(engine, 'They see you t')}"
    ]


@pytest.mark.parametrize("place", range(5))
def test_a_digit_chooses_its_candidate(engine: kbengine.Engine, place: int) -> None:
    wanted = first(engine, "Happy birthday! Have a g", place)
    sent = typed(engine, f"Happy birthday! Have a g{place + 1}\r")
    assert sent == [f"Happy birthday! Have a {wanted}"]


def test_a_digit_chooses_on_an_empty_line_and_after_a_space(engine: kbengine.Engine) -> None:
    start = first(engine, "", 1)
    assert typed(engine, "21\r") == [f"{start} {first(engine, start + ' ')}"]


def test_alt_digit_chooses_where_a_digit_alone_is_typed(engine: kbengine.Engine) -> None:
    assert typed(engine, "(2\r") == ["(2"]
    assert typed(engine, "(\x1b2\r") == ["(" + first(engine, "(", 1)]


def test_digits_can_be_typed(engine: kbengine.Engine) -> None:
    assert typed(engine, "it costs $10\r") == ["It costs $10"]
    assert typed(engine, "at \x11123:45\r") == ["At 123:45"]  # Ctrl-Q, then as they come
    assert typed(engine, "we are 9 or 8 or 0\r") == ["We are 9 or 8 or 0"]  # nobody has them
    assert typed(engine, "\x1b[200~see you at 10 2\x1b[201~\r") == ["see you at 10 2"]  # pasted


def test_a_sign_takes_the_place_of_the_space_after_a_choice(engine: kbengine.Engine) -> None:
    word = first(engine, "They see you t")
    assert typed(engine, "They see you t\t.\r") == [f"They see you {word}."]


def test_backspace_and_the_caret(engine: kbengine.Engine) -> None:
    assert typed(engine, "hellox\x7f\r") == ["hello"]
    left, right = "\x1b[D", "\x1b[C"
    assert typed(engine, f"helo{left}l{right} you\r") == ["Hello you"]
    word = first(engine, "They see t")
    assert typed(engine, f"They see t you{left * 4}\t\r") == [f"They see {word} you"]


def test_earlier_messages_are_context(engine: kbengine.Engine) -> None:
    sent = typed(engine, "do you want pizza or pasta\rI want p\t\r")
    assert sent[1] == "I want " + first(engine, "I want p", earlier=(sent[0],))


def test_clear_and_quit(engine: kbengine.Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(engine, "hello\r:clear\rbye\r:quit\rnot read") == ["bye"]
    assert typed(engine, "hello\r:q\rnot sent\r") == ["hello"]
    assert typed(engine, ":)\r:p haha\r:pizza:\r") == [":)", ":p haha", ":pizza:"]
    assert typed(engine, "\x03not sent\r") == []  # Ctrl-C on an empty line leaves
    assert typed(engine, "lost\x03kept\r") == ["kept"]
    assert typed(engine, "   \r") == []
    out = capsys.readouterr().out
    assert "› hello" in out
    assert "The conversation is forgotten." in out


def test_alt_e_explains_the_line_as_it_stands(
    engine: kbengine.Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(engine, "see you t\x1be\t\r") == ["See you " + first(engine, "See you t")]
    assert "After 'See you t', in nats" in capsys.readouterr().out


def test_what_cannot_be_printed_is_no_part_of_a_message(engine: kbengine.Engine) -> None:
    assert typed(engine, "\x1b[200~two\r\nlines \x07 here\x1b[201~\r") == ["two  lines   here"]


def test_the_engine_is_asked_once_a_text(
    talk: Conversation, engine: kbengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Context] = []
    field = talk._field
    suggest = field.suggest

    def count(n: int | None = None, slots: str | None = None) -> list[Candidate]:
        asked.append(field.context)
        return suggest(n, slots)

    monkeypatch.setattr(field, "suggest", count)
    typed(engine, "They see you t\t\x1b1and\x7f\x7f3\rhow are you\x1b[D\x1b[D\r", talk)
    for _ in range(3):
        talk.sync("hello")
        assert talk.shown().candidates == talk.shown().candidates
    assert asked
    assert all(one != other for one, other in pairwise(asked))


def test_the_screen_of_the_real_program() -> None:
    spec = importlib.util.spec_from_file_location("picture", ROOT / "docs" / "repl_picture.py")
    assert spec is not None
    assert spec.loader is not None
    picture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(picture)
    screen = picture.play(["see you at 8 tonight"], ["They see you t"])
    banner, message, line, *rows = (row.rstrip() for row in screen.display)
    assert ":help" in banner
    assert message == "› See you at 8 tonight"
    assert line == "› They see you t"
    assert re.fullmatch(r"  1  \w+ +word +\d+\.\d %  ━* +\d+\.\d ms", rows[0])
    shown = [row for row in rows if row]
    assert [row[2] for row in shown] == list("12345")
    assert picture.svg(screen).count("<text") > 15


# --- what it decides --------------------------------------------------------------------


def test_press_gives_the_edit_that_the_line_needs(talk: Conversation) -> None:
    assert talk.press("h") == Edit(0, "h")
    assert talk.press("1") == Edit(1, talk._field.text)
    assert talk.press(".") == Edit(1, ".")
    assert talk.choose("9") is None
    assert talk.choose("") is None


def test_explained_parts_add_up(talk: Conversation) -> None:
    for line in ("They see you t", "I love pizza ", "good ni", "", "thank you so mu"):
        talk.sync(line)
        for candidate in talk.shown().candidates:
            assert sum(candidate.parts.values()) == pytest.approx(candidate.score, abs=1e-6)
        text = rendered(repl.explain(talk.shown()))
        assert repr(line) in text
        assert all(cell_len(row) <= 80 for row in text.splitlines())


def test_explain_takes_a_text_and_else_the_last_line(talk: Conversation) -> None:
    talk.sync("I am h")
    talk.shown()
    talk.sync(":explain")
    assert "'I am h'" in rendered(talk.command(":explain"))
    assert "'see you '" in rendered(talk.command(":explain see you "))


def test_context_is_what_the_engine_reads(talk: Conversation) -> None:
    talk.begin(("old " * 400, "see you tomorrow"))
    talk.sync("Ok, see y")
    talk.shown()
    seen = talk.command(":context")
    assert seen == "earlier    see you tomorrow\ncommitted  'Ok, see '\nopen word  'y'"
    talk.command(":clear")
    assert talk.command(":context") == "committed  ''\nopen word  ''"


def test_every_command_is_known_and_listed(talk: Conversation) -> None:
    listed = talk.command(":help")
    assert isinstance(listed, str)
    for name in repl.COMMANDS:
        assert f"{name} " in listed
        assert "no command" not in str(talk.command(name))
    assert all(len(line) < 80 for line in listed.splitlines())
    assert talk.command(":slots nonsense:2") == (
        "'nonsense:2' is no slot; write words:2,phrase:1,emoji:1 "
        "(kinds: word, phrase, emoji, sign, literal)."
    )


def test_hints_stand_for_commands_only() -> None:
    assert repl.hints(":") == list(repl.COMMANDS)
    assert repl.hints(":sl") == [":slots"]
    assert repl.hints(":slots words:2") == [":slots"]
    assert repl.hints(":nonsense") == [":nonsense"]
    assert repl.hints(":)") == repl.hints("") == repl.hints(" :help") == repl.hints("hello") == []


def candidates() -> Iterator[Candidate]:
    for i, (text, kind) in enumerate(
        [("a", "word"), ("b" * 90, "literal"), ("one two three", "phrase"), ("🎂", "emoji")] * 3
    ):
        yield Candidate(f"{text}", kind, "test", -0.5 * i - 1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_rows_fit_the_terminal(columns: int) -> None:
    fragments = repl.rows(Shown(Context(), tuple(candidates()), 12.34), columns)
    text = "".join(part[1] for part in fragments if part[0] != repl.RAW)
    lines = text.split("\n")
    assert len(lines) == 9
    assert all(get_cwidth(line) <= columns for line in lines[1:])
    assert lines[0].startswith("  1  a ")
    assert lines[0].endswith(" 12.3 ms")
    assert " 99.9 % " in lines[0]
    assert ("…" in lines[1]) == (columns < 126)


def test_rows_without_a_suggestion() -> None:
    assert repl.rows(Shown(Context(), (), 1.0)) == [("class:dim", "  no suggestion  1.0 ms")]
