"""The REPL: a line to type on, with what the engine suggests under it at every key.

`Conversation` decides, without a terminal: keys and lines in, candidates, edits and replies
out. `rows`, `plain` and `explain` lay candidates out; `interactive` and `piped` do the rest.
"""

from __future__ import annotations

import io
import math
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prompt_toolkit import layout
from prompt_toolkit.application import Application
from prompt_toolkit.application.run_in_terminal import run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth, is_dumb_terminal
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kbengine.engine import Engine
from kbengine.mix import Slots
from kbengine.predict import context_pieces, window
from kbengine.types import Candidate, Context, Edit
from kbengine.vocab import EOS

DIGITS = tuple("123456789")
PROMPT = "› "
COLOURS = {"word": "cyan", "phrase": "green", "emoji": "magenta", "literal": "yellow"}
STYLE = Style.from_dict(
    {kind: f"ansi{colour}" for kind, colour in COLOURS.items()}
    | {"key": "bold", "dim": "ansibrightblack"}
)
COMMANDS = {
    ":help": "this list",
    ":explain": "how the last candidates were scored; :explain TEXT for those of a text",
    ":context": "what the engine sees: earlier messages, committed text, open word",
    ":slots": "which kinds are shown, such as :slots words:3,phrase:1,emoji:1",
    ":clear": "forget the conversation",
    ":quit": "leave (also :q, and Ctrl-D or Ctrl-C on an empty line)",
}
KEYS = """
Tab       choose the first candidate
1 to 9    choose that candidate, after a letter, a space or at the start of the line;
          after a digit or a sign, or where no candidate has it, the digit is typed
Ctrl-Q 1  type the digit, wherever it stands
Alt-1     choose that candidate, wherever the caret stands
Alt-E     explain the candidates of the line as it stands
Enter     send the message: it becomes part of the conversation
Ctrl-C    empty the line"""
_COMMAND_RE = re.compile(r":(?:q|[a-z]{2,})(?=\s|\Z)")


@dataclass(frozen=True)
class Shown:
    """The candidates of a place in a text, and how many milliseconds they took."""

    context: Context
    candidates: tuple[Candidate, ...] = ()
    took_ms: float = 0.0


class Conversation:
    """A text field, the messages sent from it, and the commands typed into it."""

    def __init__(self, engine: Engine, slots: str) -> None:
        """Raises ValueError for slots that cannot be read."""
        self.slots = str(Slots.parse(slots))
        self.earlier: tuple[str, ...] = ()
        self._vocabulary = engine.vocabulary
        self._field = engine.session()
        self._shown = self._last = Shown(Context())
        self._key: tuple[str, tuple[str, ...], str] | None = None

    @property
    def left(self) -> str:
        """The text left of the caret."""
        return self._field.text[: self._field.caret]

    def sync(self, left: str, right: str = "") -> None:
        """The field holds this text left and right of the caret now."""
        if (left + right, len(left)) != (self._field.text, self._field.caret):
            self._field.set_context(left, self.earlier, right)

    def shown(self) -> Shown:
        """What is suggested at the caret; the engine is asked once for a text."""
        key = (self.left, self.earlier, self.slots)
        if key != self._key:
            start = time.perf_counter()
            found = tuple(self._field.suggest(slots=self.slots))
            took_ms = 1000 * (time.perf_counter() - start)
            self._shown, self._key = Shown(self._field.context, found, took_ms), key
        if self.left.strip():
            self._last = self._shown
        return self._shown

    def choose(self, digit: str) -> Edit | None:
        """Take the candidate with this digit; None where there is none."""
        if hints(self._field.text) or digit not in DIGITS[: len(self.shown().candidates)]:
            return None
        return self._field.accept(self.shown().candidates[int(digit) - 1])

    def press(self, char: str) -> Edit:
        """A printable key: a digit chooses where it may (see KEYS), all else is typed."""
        free = not self.left or self.left[-1].isspace() or self._field.typed
        edit = self.choose(char) if char in DIGITS and free else None
        return edit or self._field.type(char)

    def send(self, message: str) -> None:
        """The message is part of the conversation from now on, and the field is empty."""
        self._begin((*self.earlier, message))

    def _begin(self, earlier: tuple[str, ...]) -> None:
        self.earlier = earlier
        self._field.set_context("", earlier)
        self._last = self.shown()

    def command(self, line: str) -> str | Table | None:
        """What a command line answers; None where it asks to leave."""
        name, _, argument = line.strip().partition(" ")
        self._field.set_context("", self.earlier)
        if name in (":quit", ":q"):
            return None
        if name == ":explain":
            self.sync(argument.lstrip())
            table = explain(self.shown() if self.left else self._last)
            self.sync("")
            return table
        if name == ":slots":
            try:
                self.slots = str(Slots.parse(argument)) if argument else self.slots
            except ValueError as error:
                return f"{error}."
            return f"Shown are {self.slots}."
        if name == ":clear":
            self._begin(())
            return "The conversation is forgotten."
        if name == ":context":
            return self._seen()
        if name == ":help":
            return "\n".join(f"{key:<9} {text}" for key, text in COMMANDS.items()) + "\n" + KEYS
        return f"There is no command {name}; :help lists those there are."

    def _seen(self) -> str:
        """The context of the last candidates, as far as the engine reads it."""
        context = self._last.context
        read = context_pieces(self._vocabulary, context.earlier, context.before).count(EOS)
        unread = len(context.earlier) - read
        lines = [f"not read   {unread} older messages"] if unread else []
        lines += [f"earlier    {message}" for message in context.earlier[unread:]]
        lines += [f"committed  {window(context.before)!r}", f"open word  {context.typed!r}"]
        return "\n".join(lines)


def is_command(line: str) -> bool:
    """Whether a line is a command: a colon and two or more small letters, or ``:q``, so
    that ``:)``, ``:p`` and ``:pizza:`` are messages."""
    return _COMMAND_RE.match(line) is not None


def hints(line: str) -> list[str]:
    """The commands that a line is, or may become; none for a message."""
    name = line.split(" ", 1)[0]
    return [c for c in COMMANDS if name and c.startswith(name)] or [name] * is_command(line)


def percent(candidate: Candidate) -> str:
    """The probability of a candidate, to a tenth of a percent."""
    p = 100 * math.exp(candidate.logp)
    return f"{p:.1f}" if p >= 0.05 else "<0.1"


def plain(shown: Shown) -> str:
    """The candidates on one line, apart by tabs: ``too (word 18.1%)``."""
    return "\t".join(f"{c.text} ({c.kind} {percent(c)}%)" for c in shown.candidates)


def explain(shown: Shown) -> Table:
    """The parts of each candidate's score in nats; they add up to its logp."""
    names = list(dict.fromkeys(name for c in shown.candidates for name in c.parts))
    where = (shown.context.before + shown.context.typed)[-40:]
    table = Table(
        "candidate", "kind", box=box.SIMPLE_HEAD, title=Text(f"After {where!r}, in nats")
    )
    for name in [*names, "= logp", "%"]:
        table.add_column(name, justify="right")
    for c in shown.candidates:
        parts = [f"{c.parts[name]:.3f}" if name in c.parts else "" for name in names]
        who = (Text(c.text, COLOURS[c.kind]), Text(c.kind, COLOURS[c.kind]))
        table.add_row(*who, *parts, f"{c.logp:.3f}", percent(c))
    return table


def rows(shown: Shown, columns: int = 80) -> StyleAndTextTuples:
    """The first nine candidates, one under the other, as styled text: digit, text, kind,
    percent and a bar; at the right of the first row the milliseconds."""
    took = f"{shown.took_ms:.1f} ms"
    if not shown.candidates:
        return [("class:dim", f"  no suggestion  {took}")]
    found = list(zip(DIGITS, shown.candidates, strict=False))
    room = max(8, min(max(get_cwidth(c.text) for _, c in found), columns - 36))
    bar = max(0, min(24, columns - 34 - room))
    fragments: StyleAndTextTuples = []
    for digit, c in found:
        text, style = c.text, f"class:{c.kind}"
        while get_cwidth(text) > room:
            text = text.removesuffix("…")[:-1] + "…"
        text += " " * (room - get_cwidth(text))
        row = [("class:key", f"  {digit}  "), (f"{style} bold", text), (style, f"  {c.kind:<7}")]
        row += [("", f" {percent(c):>5} %  "), (style, "━" * round(bar * math.exp(c.logp)))]
        if not fragments:
            pad = columns - 1 - sum(get_cwidth(part) for _, part in row)
            row.append(("class:dim", took.rjust(pad)))
        fragments += [*row, ("", "\n")]
    return fragments[:-1]


def show(reply: str | Table | Text) -> None:
    """Print to stdout, a table at the terminal's width and anything else as it is."""
    wrap = isinstance(reply, Table)
    Console(file=sys.stdout).print(reply, markup=False, highlight=False, soft_wrap=not wrap)


def screen(conversation: Conversation) -> Application[str | None]:
    """The line and its suggestions on a terminal; gives the line that was entered, or
    None to leave. Can be run again for the next line."""
    buffer = Buffer(multiline=False)
    keys = KeyBindings()

    def put(edit: Edit | None) -> None:
        if edit is not None:
            buffer.delete_before_cursor(edit.delete)
            buffer.insert_text(edit.insert)

    def choice(digit: str) -> Callable[[KeyPressEvent], None]:
        return lambda event: put(conversation.choose(digit))

    for digit in DIGITS:
        keys.add("escape", digit)(choice(digit))
    keys.add("tab")(choice("1"))

    @keys.add(Keys.Any)
    def press(event: KeyPressEvent) -> None:
        if event.data.isprintable():
            put(conversation.press(event.data))

    @keys.add(Keys.BracketedPaste)
    def paste(event: KeyPressEvent) -> None:
        buffer.insert_text(" ".join(event.data.splitlines()))

    @keys.add("escape", "e")
    def scores(event: KeyPressEvent) -> None:
        run_in_terminal(lambda: show(explain(conversation.shown())))

    @keys.add("enter")
    def enter(event: KeyPressEvent) -> None:
        event.app.exit(result=buffer.text)
        buffer.reset(append_to_history=True)

    @keys.add("c-c")
    @keys.add("<sigint>")
    @keys.add("c-d", filter=Condition(lambda: not buffer.text))
    def leave(event: KeyPressEvent) -> None:
        if not buffer.text:
            event.app.exit(result=None)
        buffer.reset()

    def under() -> StyleAndTextTuples:
        found = [f"  {c:<9} {COMMANDS.get(c, 'no such command')}" for c in hints(buffer.text)]
        columns = app.output.get_size().columns
        return [("class:dim", "\n".join(found))] if found else rows(conversation.shown(), columns)

    def sync(sender: object) -> None:
        document = buffer.document
        conversation.sync(document.text_before_cursor, document.text_after_cursor)

    prompt = BeforeInput(PROMPT, style="class:key")
    line = layout.BufferControl(buffer, input_processors=[prompt])
    top = layout.Window(line, wrap_lines=True, dont_extend_height=True)
    bottom = layout.Window(layout.FormattedTextControl(under), dont_extend_height=True)
    app: Application[str | None] = Application(
        layout.Layout(layout.HSplit([top, bottom])),
        key_bindings=keys, style=STYLE, erase_when_done=True,
    )  # fmt: skip
    app.key_processor.after_key_press += sync
    return app


def interactive(conversation: Conversation, name: str) -> int:
    """Messages and commands from a terminal, until the user leaves."""
    show(Text(f"{name}: Tab or a digit chooses, Enter sends, :help tells more", "dim"))
    app = screen(conversation)
    while (line := app.run()) is not None:
        if not line.strip():
            continue
        show(Text(PROMPT + line, "bold"))
        if not is_command(line):
            conversation.send(line.strip())
        elif (reply := conversation.command(line)) is not None:
            show(reply)
        else:
            break
    return 0


def piped(conversation: Conversation, lines: Iterable[bytes]) -> int:
    """A line of candidates on stdout for each line of input, each a text of its own;
    commands are answered too. Bytes that are not UTF-8 are read as U+FFFD."""
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not is_command(line):
            conversation.sync(line)
            print(plain(conversation.shown()), flush=True)
        elif (reply := conversation.command(line)) is not None:
            show(reply)
        else:
            break
    return 0


def run(engine: Engine, slots: str = "words:3,phrase:1,emoji:1") -> int:
    """The REPL on stdin and stdout, in UTF-8; returns the exit status. Interactive on a
    terminal, else line by line. Raises ValueError for slots that cannot be read."""
    conversation = Conversation(engine, slots)
    try:
        if sys.stdin.isatty() and sys.stdout.isatty() and not is_dumb_terminal():
            return interactive(conversation, engine.bundle.name)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="replace")
        return piped(conversation, sys.stdin.buffer)
    except EOFError:
        return 0  # the terminal has gone
    except KeyboardInterrupt:
        return 130
