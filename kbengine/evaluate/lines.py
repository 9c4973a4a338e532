"""The text that is typed: the lines of a file, and which stretches of a line are words.

A *word* is a token between spaces that, once all that is no letter has been stripped from
both its ends, holds only letters and inner apostrophes. Other tokens (``10:30``, ``e-mail``)
are typed letter by letter and stay in the context; nobody is asked to predict them.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_STRAIGHT = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u02bc": "'",
        "\u201c": '"', "\u201d": '"', "\u00a0": " ",
    }
)  # fmt: skip


class Word(NamedTuple):
    """A word of a line: line[start:end] == text."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Line:
    """A message. number: its place in the file, from 1; earlier: the lines before it."""

    text: str
    number: int = 1
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextFile:
    """The lines of a file that are typed, and the sha256 of the whole file."""

    name: str
    sha256: str
    lines: tuple[Line, ...]


def clean_line(line: str) -> str:
    """`line` with straight quotes, single spaces and none at its ends."""
    return " ".join(line.translate(_STRAIGHT).split())


def words(line: str) -> list[Word]:
    """The words of a cleaned line.

    >>> [word.text for word in words("Don't e-mail (me) at 10:30!")]
    ["Don't", 'me', 'at']
    """
    found = []
    start = 0
    for token in line.split(" "):
        letters = [i for i, c in enumerate(token) if c.isalpha()]
        if letters:
            core = token[letters[0] : letters[-1] + 1]
            if all(c.isalpha() or c == "'" for c in core):
                first = start + letters[0]
                found.append(Word(first, first + len(core), core))
        start += len(token) + 1
    return found


def read_text(
    path: Path, limit: int | None = None, sample_seed: int | None = None, earlier: int = 0
) -> TextFile:
    """The cleaned lines of a UTF-8 file that are not empty, each with up to `earlier` of
    those before it.

    limit: the first so many lines; with a sample seed, so many drawn at random, in the
    file's order. Raises ValueError for a file that cannot be read or holds no text.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; give a text file, a message a line") from None
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read ({error.strerror}); give a text file, a message a line"
        ) from error
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}: line {number} is not UTF-8; convert the file") from None
    if "\0" in whole:
        raise ValueError(f"{path} holds NULs, so it is no UTF-8 text; convert the file")
    rows = whole.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    cleaned = [(number, clean_line(row)) for number, row in enumerate(rows, 1)]
    texts = [(number, line) for number, line in cleaned if line]
    if not texts:
        raise ValueError(f"{path} holds no text; give a file with a message a line")
    kept = range(len(texts))
    if limit is not None and limit < len(texts):
        if sample_seed is None:
            kept = range(limit)
        else:
            kept = sorted(random.Random(sample_seed).sample(kept, limit))  # type: ignore[assignment]
    lines = (
        Line(texts[i][1], texts[i][0], tuple(line for _, line in texts[max(0, i - earlier) : i]))
        for i in kept
    )
    return TextFile(path.name, hashlib.sha256(data).hexdigest(), tuple(lines))
