"""Draws docs/repl.svg: the REPL as it runs, typed into by this script.

    python docs/repl_picture.py             # the first of SCENES with a phrase and an emoji
    python docs/repl_picture.py "Have a g"  # these keys instead

`python -m kbengine repl` runs in a pseudo-terminal of 80 x 16; `pyte` reads what it draws, and
each cell is written as SVG text. Needs the packages of the ``test`` extra; no network.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import pyte
from prompt_toolkit.utils import get_cwidth

COLUMNS, LINES = 80, 16
QUIET_S, LONGEST_S = 0.5, 60.0
TARGET = Path(__file__).with_name("repl.svg")

# Each: the messages before, and the line as it is being typed.
SCENES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("I'm so hungry, what's for dinner?",), "Let's get pi"),
    (("I'm so hungry, what's for dinner?",), "Let's get some pi"),
    (("it's my birthday today",), "Happy bi"),
    ((), "Happy birthday! Have a gr"),
)

CELL_W, CELL_H, FONT = 8.8, 20.0, 14.5
MARGIN, BAR = 18.0, 34.0
FONTS = (
    "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace,"
    "'Apple Color Emoji','Segoe UI Emoji','Noto Color Emoji'"
)
BACKGROUND, FOREGROUND = "#1b1e28", "#d6d9e4"
PALETTE = {
    "black": "#1b1e28", "red": "#f7768e", "green": "#9ece6a", "brown": "#e0af68",
    "blue": "#7aa2f7", "magenta": "#d18cf0", "cyan": "#5fc9e8", "white": "#d6d9e4",
    "brightblack": "#7a8099", "default": FOREGROUND,
}  # fmt: skip
FAINT = "\x1b[2m"  # pyte does not keep this; it is shown as bright black


class Screen(pyte.Screen):  # type: ignore[misc]
    """A screen that answers the program's question where its cursor stands, and keeps the
    signs that make an emoji of another sign, where pyte drops the rest of the text."""

    def __init__(self, terminal: int) -> None:
        super().__init__(COLUMNS, LINES)
        self._terminal = terminal

    def write_process_input(self, data: str) -> None:
        os.write(self._terminal, data.encode())

    def draw(self, data: str) -> None:
        for stretch in re.split("([\ufe0f\u200d])", data):
            if stretch not in ("\ufe0f", "\u200d"):
                super().draw(stretch)
                continue
            row, x = self.buffer[self.cursor.y], self.cursor.x - 1
            x -= not row[x].data  # the right half of a wide sign
            row[x] = row[x]._replace(data=row[x].data + stretch)


def start() -> tuple[int, int]:
    """The REPL in a pseudo-terminal of its own: (process id, terminal)."""
    process, terminal = pty.fork()
    if process == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # TensorFlow Lite's greeting
        os.environ.update(TERM="xterm-256color", PYTHONPATH=str(TARGET.parents[1]))
        for name in ("COLUMNS", "LINES", "NO_COLOR", "PROMPT_TOOLKIT_COLOR_DEPTH"):
            os.environ.pop(name, None)
        os.execv(sys.executable, [sys.executable, "-m", "kbengine", "repl"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    return process, terminal


def settle(terminal: int, stream: pyte.ByteStream, until: str, screen: Screen) -> None:
    """Read what the program draws until it shows `until` and then is quiet.

    Raises TimeoutError with the screen where it does not come to that.
    """
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], QUIET_S)[0]:
            stream.feed(os.read(terminal, 65536).replace(FAINT.encode(), b"\x1b[90m"))
        elif any(until in line for line in screen.display):
            return
    raise TimeoutError("the REPL did not answer:\n" + "\n".join(screen.display))


def play(messages: Sequence[str], steps: Sequence[str]) -> Screen:
    """The screen after these messages were sent and these keys typed."""
    process, terminal = start()
    try:
        screen = Screen(terminal)
        stream = pyte.ByteStream(screen)
        settle(terminal, stream, "›", screen)
        for keys in [*(message + "\r" for message in messages), *steps]:
            for key in keys:
                os.write(terminal, key.encode())
                time.sleep(0.02)  # as a hand types; keys in one lump may pass for a paste
            settle(terminal, stream, "›", screen)
        return screen
    finally:
        os.kill(process, signal.SIGTERM)
        os.close(terminal)
        os.waitpid(process, 0)


def look(cell: Any) -> tuple[str, bool, bool]:
    """What signs of one run share: colour, weight, and that a text font has them."""
    return cell.fg, cell.bold, cell.data.isascii() or cell.data in "›━…"


def runs(row: Sequence[Any]) -> list[tuple[int, str, Any]]:
    """The cells of a line as (column, text, cell) with one look each; an emoji alone."""
    found: list[tuple[int, str, Any]] = []
    for column, cell in enumerate(row):
        if not cell.data:
            continue  # the right half of a wide sign
        if found and look(cell)[2] and look(cell) == look(found[-1][2]):
            start, text, _ = found[-1]
            found[-1] = (start, text + cell.data, cell)
        else:
            found.append((column, cell.data, cell))
    return found


def svg(screen: Screen) -> str:
    """The screen as a picture: a dark window, its text cell by cell, the cursor as a block."""
    cells = [[screen.buffer[y][x] for x in range(COLUMNS)] for y in range(LINES)]
    used = max(y for y, line in enumerate(screen.display) if line.strip()) + 1
    width, height = 2 * MARGIN + COLUMNS * CELL_W, BAR + MARGIN + used * CELL_H
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" height="{height:g}" font-family="{FONTS}" font-size="{FONT:g}">',
        "<title>python -m kbengine repl</title>",
        f'<rect width="100%" height="100%" rx="9" fill="{BACKGROUND}"/>',
        *(
            f'<circle cx="{MARGIN + 4 + 18 * i:g}" cy="17" r="5.5" fill="{PALETTE[colour]}"/>'
            for i, colour in enumerate(("red", "brown", "green"))
        ),
    ]
    cursor_x, cursor_y = MARGIN + screen.cursor.x * CELL_W, BAR + screen.cursor.y * CELL_H
    out.append(
        f'<rect x="{cursor_x:g}" y="{cursor_y:g}" width="{CELL_W:g}" height="{CELL_H - 2:g}"'
        f' fill="{FOREGROUND}" opacity="0.75"/>'
    )
    for y, row in enumerate(cells[:used]):
        for column, text, cell in runs(row):
            if text.strip():
                out.append(_text(column + len(text) - len(text.lstrip()), y, text.strip(), cell))
    return "\n".join([*out, "</svg>"]) + "\n"


def _text(column: int, y: int, text: str, cell: Any) -> str:
    """One run of signs that look alike."""
    colour = PALETTE.get(cell.fg, f"#{cell.fg}" if len(cell.fg) == 6 else FOREGROUND)
    x, baseline = MARGIN + column * CELL_W, BAR + y * CELL_H + 0.7 * CELL_H
    bold = ' font-weight="bold"' if cell.bold and look(cell)[2] else ""
    if set(text) == {"━"}:  # a bar: drawn, as fonts leave gaps between such signs
        size = f'width="{len(text) * CELL_W - 2:g}" height="4" rx="2"'
        return f'<rect x="{x:g}" y="{baseline - 7:g}" {size} fill="{colour}"/>'
    length = f' textLength="{get_cwidth(text) * CELL_W:g}" lengthAdjust="spacingAndGlyphs"'
    length = length if text.isascii() else ""
    return (
        f'<text x="{x:g}" y="{baseline:g}" fill="{colour}"{bold}{length}'
        f' xml:space="preserve">{escape(text)}</text>'
    )


def main(steps: Sequence[str]) -> int:
    """Draw the steps given, or the first scene that shows a phrase and an emoji."""
    scenes = [((), tuple(steps))] if steps else [(m, (line,)) for m, line in SCENES]
    for messages, keys in scenes:
        screen = play(messages, keys)
        lines = screen.display
        if steps or all(any(f" {kind} " in line for line in lines) for kind in ("phrase", "emoji")):
            break
    else:
        print("No scene shows both a phrase and an emoji; the last one is drawn.", file=sys.stderr)
    TARGET.write_text(svg(screen), encoding="utf-8")
    print("\n".join(line.rstrip() for line in screen.display).strip())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
