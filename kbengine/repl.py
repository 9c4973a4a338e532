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
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from prompt_toolkit import layout
from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth, is_dumb_terminal
from rich import box
from rich.console import Console
from rich.table import Table

from kbengine.engine import Engine
from kbengine.explanation import percent, sentence
from kbengine.mix import STRIP, Slots
from kbengine.predict import MOST, context_pieces, window
from kbengine.types import PARTS, Candidate, Context, Correction, Edit
from kbengine.vocab import EOS

DIGITS = tuple("123456789")
PROMPT, RAW = "› ", "[ZeroWidthEscape]"
COLOURS = {
    "word": "cyan", "phrase": "green", "emoji": "magenta", "sign": "blue", "literal": "yellow",
}  # fmt: skip
STYLE = {kind: f"ansi{colour}" for kind, colour in COLOURS.items()}
STYLE |= {"key": "bold", "dim": "ansibrightblack"}
COMMANDS = {
    ":help": "this list",
    ":explain": "how the last candidates were scored; :explain TEXT: those of a text",
    ":why": "why a candidate stands where it stands, shown or not; :why tomorrow",
    ":context": "what the engine sees: earlier messages, committed text, open word",
    ":slots": "which kinds are shown, such as :slots " + STRIP,
    ":clear": "forget the conversation",
    ":quit": "leave (also :q, and Ctrl-D or Ctrl-C on an empty line)",
}
KEYS = """
Tab       choose the first candidate; Alt-1 to Alt-9: that candidate
1 to 9    choose that one after a word, a space or on an empty line; elsewhere,
          and where none has the digit, it is typed (after Ctrl-Q: always)
Space     ends the word, corrected where that is shown; Ctrl-Z takes it back
Alt-E     explain the candidates of the line as it stands
Enter     send the message: it joins the conversation (Ctrl-C: empty the line)"""
CONSOLE = Console(highlight=False, markup=False, emoji=False)
# A colon and two small letters or more, or `:q`; so `:)`, `:p` and `:pizza:` are messages.
COMMAND_RE = re.compile(r":(?:q|[a-z]{2,})(?=\s|\Z)")
_CONTROL_RE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Shown:
    """The candidates of a place in a text, how many milliseconds they took, and what a space
    would commit."""

    context: Context
    candidates: tuple[Candidate, ...]
    took_ms: float
    commit: Correction | None = None


class Conversation:
    """A text field, the messages sent from it, and the commands typed into it."""

    def __init__(self, engine: Engine, slots: str, **wish: Any) -> None:
        """wish: as `Engine.session` takes it. Raises ValueError for slots that cannot be read."""
        self.slots = str(Slots.parse(slots))
        self.earlier: tuple[str, ...] = ()
        self._vocabulary = engine.vocabulary
        self._field = engine.session(**wish)
        self._key: tuple[Context, str] | None = None
        self._shown = self._last = Shown(Context(), (), 0.0)

    def sync(self, text: str, caret: int | None = None) -> None:
        """The field holds this text now; the caret stands in it, or at its end."""
        caret = len(text) if caret is None else caret
        if (text, caret) != (self._field.text, self._field.caret):
            self._field.set_context(text[:caret], self.earlier, text[caret:])

    def shown(self) -> Shown:
        """What is suggested at the caret; the engine is asked once for a text."""
        context = self._field.context
        if (context, self.slots) != self._key:
            start = time.perf_counter()
            found = self._field.suggest(slots=self.slots)
            took_ms = 1000 * (time.perf_counter() - start)
            self._shown = Shown(context, tuple(found), took_ms, self._field.autocorrect())
            self._key = context, self.slots
        if context.taps or context.before.strip():
            self._last = self._shown
        return self._shown

    def choose(self, digit: str) -> Edit | None:
        """Take the candidate with this digit; None where there is none."""
        if hints(self._field.text) or digit not in DIGITS[: len(self.shown().candidates)]:
            return None
        return self._field.accept(self.shown().candidates[int(digit) - 1])

    def press(self, char: str) -> Edit:
        """A character: a digit chooses where it may (see KEYS), all else is typed."""
        free = self._field.typed or not self._field.context.before[-1:].strip()
        edit = self.choose(char) if char in DIGITS and free else None
        return edit or self._field.type(char)

    def revert(self) -> Edit:
        """Take the last correction back."""
        return self._field.revert()

    def begin(self, earlier: tuple[str, ...]) -> None:
        """The conversation holds these messages now, and the field is empty."""
        self.earlier = earlier
        self._field.set_context("", earlier)
        self._last = self.shown()

    def command(self, line: str) -> str | Table | None:
        """What a command line answers; None where it asks to leave."""
        name, argument = [*line.split(maxsplit=1), ""][:2]
        if name in (":quit", ":q"):
            return None
        if name == ":explain":
            self._field.set_context(argument, self.earlier)
            table = explain(self.shown() if argument else self._last)
            self.sync("")
            return table
        if name == ":why":
            return self._why(argument)
        if name == ":slots":
            try:
                self.slots = str(Slots.parse(argument)) if argument else self.slots
            except ValueError as error:
                return f"{error}."
            return f"Shown are {self.slots}."
        if name == ":clear":
            self.begin(())
            return "The conversation is forgotten."
        if name == ":context":
            context = self._last.context
            parts = context_pieces(self._vocabulary, context.earlier, context.before)
            unread = len(context.earlier) - sum(pieces.count(EOS) for pieces in parts)
            lines = [f"earlier    {message}" for message in context.earlier[unread:]]
            lines += [f"committed  {window(context.before)!r}", f"open word  {context.typed!r}"]
            return "\n".join(lines)
        if name == ":help":
            return "\n".join(f"{key:<9} {text}" for key, text in COMMANDS.items()) + "\n" + KEYS
        return f"There is no command {name}; :help lists those there are."

    def _why(self, wanted: str) -> str:
        """One candidate of the last text, shown there or not, in a line."""
        if not wanted:
            return "Write a candidate behind it, such as :why tomorrow."
        context = self._last.context
        self._field.set_context(context.before + context.typed, self.earlier)
        found = self._field.explain(wanted)
        shown = [c.text for c in self._field.suggest(MOST, found.kind)] if found else []
        self.sync("")
        if found is None:
            return f"{wanted!r} cannot go on from there; give a word, phrase, emoji or sign."
        return sentence(found, shown.index(found.text) + 1 if found.text in shown else None)


def hints(line: str) -> list[str]:
    """The commands that a line is, or may become; none for a message."""
    name = line.split(" ", 1)[0]
    known = [c for c in COMMANDS if name and c.startswith(name)]
    return known or ([name] if COMMAND_RE.match(line) else [])


def plain(shown: Shown) -> str:
    """The candidates on one line, apart by tabs: ``too (word 18.1%)``; last what a space would
    correct, if anything: ``space: the (97.5%)``."""
    found = [f"{c.text} ({c.kind} {percent(c.logp)}%)" for c in shown.candidates]
    if shown.commit is not None and shown.commit.corrects:
        found.append(f"space: {shown.commit.text} ({100 * shown.commit.p:.1f}%)")
    return "\t".join(found)


def explain(shown: Shown) -> Table:
    """The parts of each candidate's score in nats; without the slot policy's they add up to its
    logp."""
    parts = [name for c in shown.candidates for name, value in c.parts.items() if value]
    names = [name for name in PARTS if name in parts]
    where = (shown.context.before + shown.context.typed)[-40:]
    table = Table(title=f"After {where!r}, in nats", box=box.SIMPLE_HEAD)
    table.add_column("candidate", min_width=9, overflow="fold")
    table.add_column("kind")
    for name in [*names, "= logp", "%"]:
        table.add_column(name, justify="right")
    for c in shown.candidates:
        values = [f"{c.parts[name]:.3f}" if c.parts[name] else "" for name in names]
        table.add_row(
            c.text, c.kind, *values, f"{c.logp:.3f}", percent(c.logp), style=COLOURS[c.kind]
        )
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
        line, mark, erase, resume = "━" * round(bar * math.exp(c.logp)), "", "", ""
        if not text.isascii():  # no two terminals draw emoji equally wide: find back, draw anew
            mark = f" class:{room}-{text.encode().hex()}"
            erase, resume = "\x1b[K", f"\x1b[{6 + room}G"
        row = [("class:key" + mark, f"  {digit}  "), (RAW, erase), (f"{style} bold{mark}", text)]
        row += [(RAW, resume), (style + mark, f"  {c.kind:<7}")]
        row += [(mark, f" {percent(c.logp):>5} %  "), (style + mark, line)]
        if not fragments:
            row.append(("class:dim" + mark, took.rjust(columns - 25 - room - len(line))))
        fragments += [*row, ("", "\n")]
    if shown.commit is not None and shown.commit.corrects:
        told = f"{shown.commit.text} {100 * shown.commit.p:.1f} %"
        fragments += [("class:key", "  ␣  "), ("class:literal", told), ("", "\n")]
    return fragments[:-1]


def screen(conversation: Conversation) -> Application[str | None]:
    """The line and its suggestions on a terminal; run it for each line, None asks to leave."""
    buffer, keys = Buffer(multiline=False), KeyBindings()

    def put(edit: Edit) -> None:
        buffer.delete_before_cursor(edit.delete)
        buffer.delete(edit.delete_after)
        buffer.insert_text(edit.insert)

    for key, digit in [("tab", "1"), *[(f"escape {digit}", digit) for digit in DIGITS]]:
        keys.add(*key.split())(lambda event, digit=digit: put(conversation.choose(digit) or Edit()))
    keys.add(Keys.BracketedPaste)(lambda e: buffer.insert_text(_CONTROL_RE.sub(" ", e.data)))
    keys.add(Keys.Any)(lambda event: put(conversation.press(event.data)))
    keys.add("c-z")(lambda event: put(conversation.revert()))
    scores = keys.add("escape", "e")
    scores(lambda event: run_in_terminal(partial(CONSOLE.print, explain(conversation.shown()))))

    @keys.add("enter")
    def enter(event: KeyPressEvent) -> None:
        event.app.exit(result=_CONTROL_RE.sub(" ", buffer.text))
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

    line = layout.Window(layout.BufferControl(buffer), wrap_lines=True, dont_extend_height=True)
    line.get_line_prefix = lambda _, wrap: [("class:key", "  " if wrap else PROMPT)]
    below = layout.Window(layout.FormattedTextControl(under), dont_extend_height=True)
    app: Application[str | None] = Application(
        layout.Layout(layout.HSplit([line, below])),
        key_bindings=keys, style=Style.from_dict(STYLE), erase_when_done=True,
    )  # fmt: skip
    after_key = app.key_processor.after_key_press
    after_key += lambda _: conversation.sync(buffer.text, buffer.cursor_position)
    return app


def answer(conversation: Conversation, line: str) -> bool:
    """Print the answer to a command; whether to go on after it."""
    reply = conversation.command(line)
    if reply is not None:
        CONSOLE.print(reply, soft_wrap=isinstance(reply, str))
    return reply is not None


def interactive(conversation: Conversation, name: str) -> None:
    """Messages and commands from a terminal, until the user leaves."""
    CONSOLE.print(f"{name}: Tab or a digit chooses, Enter sends, :help tells more", style="dim")
    for line in filter(str.strip, iter(screen(conversation).run, None)):
        CONSOLE.print(PROMPT + line, style="bold", soft_wrap=True)
        if not COMMAND_RE.match(line):
            conversation.begin((*conversation.earlier, line.strip()))
        elif not answer(conversation, line):
            break


def piped(conversation: Conversation, lines: Iterable[bytes]) -> None:
    """A line of candidates on stdout for each line of input, each a text of its own;
    commands are answered too. Bytes that are not UTF-8 are read as U+FFFD."""
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not COMMAND_RE.match(line):
            conversation.sync(line)
            print(plain(conversation.shown()), flush=True)
        elif not answer(conversation, line):
            break


def run(engine: Engine, slots: str = STRIP, **wish: Any) -> int:
    """The REPL on stdin and stdout, in UTF-8; returns the exit status. Interactive on a
    terminal, else line by line. Raises ValueError for slots that cannot be read."""
    conversation = Conversation(engine, slots, **wish)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    try:
        if sys.stdin.isatty() and sys.stdout.isatty() and not is_dumb_terminal():
            interactive(conversation, engine.bundle.name)
        else:
            piped(conversation, sys.stdin.buffer)
    except (EOFError, KeyboardInterrupt):
        return 130  # the terminal has gone, or Ctrl-C between two lines
    return 0
