"""Text files -> counts of tokens and casings -> piece ids.

A source is a ``.txt`` or ``.gz`` file with a message a line and a weight, the number of
times its lines stand in one pass over the text (2.5: twice, and every line once more
with chance one half; 0.3: with chance 0.3).
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbengine import text
from kbengine.vocab import EOS, Vocabulary
from train.files import sha256, write_whole
from train.progress import Progress

LIMITS_OWN = "The model writes as its text does, names, opinions and prejudices included."
NOTICE_OWN = "Trained on text of the user's own; its licence is for whoever trained it to state."


@dataclass(frozen=True)
class Source:
    """One file of text; `licence` is what the bundle's manifest tells of it."""

    path: Path
    weight: float = 1.0
    licence: str = "not stated"

    @classmethod
    def parse(cls, spec: str) -> Source:
        """``FILE`` or ``FILE=WEIGHT``.

        Raises ValueError where the weight is no positive number or the file is missing.
        """
        name, _, weight = spec.rpartition("=") if "=" in spec else (spec, "", "1")
        try:
            value = float(weight)
        except ValueError:
            raise ValueError(
                f"{spec}: the weight {weight!r} is not a number; write FILE=2.5"
            ) from None
        if not math.isfinite(value) or value <= 0:
            raise ValueError(f"{spec}: a weight must be above 0; leave the file out instead")
        path = Path(name)
        if not path.is_file():
            raise ValueError(f"{name}: no such file; give .txt or .gz files, a message a line")
        return cls(path, value)

    @property
    def name(self) -> str:
        """``chat`` for chat.txt.gz."""
        return self.path.name.removesuffix(".gz").removesuffix(".txt")


@dataclass(frozen=True)
class Text:
    """What to train on, and the licence notice for a model that was trained on it."""

    sources: Sequence[Source]
    notice: str = NOTICE_OWN

    def to_json(self) -> dict[str, Any]:
        rows = [
            {
                "path": str(s.path.resolve()),
                "sha256": sha256(s.path),
                "weight": s.weight,
                "licence": s.licence,
            }
            for s in self.sources
        ]
        return {"notice": self.notice, "sources": rows}


def read_messages(path: Path) -> Iterator[str]:
    """The normalised, non-empty lines of a file; what is broken in its UTF-8 is left out.

    Raises ValueError where the file cannot be read.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                message = text.normalise(line).strip()
                if message:
                    yield message
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read to its end ({error}); replace the file") from error


@dataclass
class Counts:
    """Weighted counts over all sources.

    `casings` counts a word's spellings where it does not start a sentence; `words` is
    the unweighted number of words of each file, in their order.
    """

    tokens: dict[str, float]
    casings: dict[str, float]
    words: list[int]

    def save(self, path: Path) -> None:
        saved = json.dumps([self.tokens, self.casings, self.words])
        write_whole(path, gzip.compress(saved.encode()))

    @classmethod
    def load(cls, path: Path) -> Counts:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            tokens, casings, words = json.load(lines)
        return cls(tokens, casings, words)


def _count_file(source: Source) -> tuple[Counter[str], Counter[str]]:
    tokens: Counter[str] = Counter()
    casings: Counter[str] = Counter()
    for message in read_messages(source.path):
        tokens.update(text.tokens(message))
        casings.update(word for word, start in text.count_casings(message) if not start)
    return tokens, casings


def count(sources: Sequence[Source], workers: int = 2) -> Counts:
    """Count tokens and casings of all sources, each times its weight."""
    total = Counts(defaultdict(float), defaultdict(float), [])
    with (
        get_context("spawn").Pool(min(workers, len(sources))) as pool,
        Progress("counting", len(sources), "file") as bar,
    ):
        for source, (tokens, casings) in zip(sources, pool.imap(_count_file, sources), strict=True):
            for into, counted in ((total.tokens, tokens), (total.casings, casings)):
                for key, n in counted.items():
                    into[key] += n * source.weight
            total.words.append(sum(n for t, n in tokens.items() if text.is_word(t)))
            bar.step(1)
    if not total.tokens:
        raise ValueError("the text files hold no words; give files with a message a line")
    return total


def encode_lines(
    messages: Iterable[str], vocabulary: Vocabulary, most: int | None = None
) -> NDArray[np.uint16]:
    """Pieces of (the first `most`) messages, uint16[N], each message closed by EOS."""
    ids: list[int] = []
    for message in islice(messages, most):
        for token in text.tokens(message):
            ids.extend(vocabulary.encode_token(token))
        ids.append(EOS)
    return np.array(ids, np.uint16)


def _encode_file(source: Source, model: bytes) -> NDArray[np.uint16]:
    return encode_lines(read_messages(source.path), Vocabulary(model))


def encode(sources: Sequence[Source], model: bytes, workers: int = 2) -> list[NDArray[np.uint16]]:
    """Piece ids of every source, uint16[N], each message closed by EOS."""
    found = []
    with (
        get_context("spawn").Pool(min(workers, len(sources))) as pool,
        Progress("encoding", len(sources), "file") as bar,
    ):
        for ids in pool.imap(partial(_encode_file, model=model), sources):
            found.append(ids)
            bar.step(1)
    return found


def blocks(ids: NDArray[np.uint16], messages: int) -> list[NDArray[np.uint16]]:
    """`ids` cut into stretches of `messages` whole messages (the last may be shorter)."""
    ends = np.flatnonzero(ids == EOS) + 1
    return np.split(ids, ends[messages - 1 : -1 : messages]) if len(ends) else []


def one_pass(
    encoded: Sequence[NDArray[np.uint16]],
    weights: Sequence[float],
    messages: int,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """One weighted, shuffled pass over all sources, uint16[N].

    Stretches of `messages` consecutive messages stay together, so that the state can be
    carried through a conversation.
    """
    chosen: list[NDArray[np.uint16]] = []
    for ids, weight in zip(encoded, weights, strict=True):
        parts = blocks(ids, messages)
        whole, share = divmod(weight, 1.0)
        chosen += parts * int(whole)
        chosen += [part for part in parts if rng.random() < share]
    order = rng.permutation(len(chosen))
    return np.concatenate([chosen[i] for i in order]) if chosen else np.zeros(0, np.uint16)
