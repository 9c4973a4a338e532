"""Real text as pieces, to step models over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kbengine.vocab import BOS, Vocabulary
from train.corpus import encode_lines, read_messages

DEFAULT_TEXT = Path(__file__).parent.parent / "data" / "chat_dev.txt"


def read_pieces(
    paths: Sequence[Path], vocabulary: bytes, count: int | None = None
) -> NDArray[np.int32]:
    """The pieces of texts, a message a line, as one conversation: int32[N], BOS first, each message
    closed by EOS. count: exactly so many, the texts again and again where they are too short.

    Raises ValueError where the texts hold nothing, OSError where one cannot be read.
    """
    known = Vocabulary(vocabulary)
    found = np.concatenate([encode_lines(read_messages(path), known) for path in paths])
    if not len(found):
        raise ValueError(f"{paths[0]} holds no text; give files with a message a line")
    if count is not None:
        found = np.resize(found, count - 1)
    return np.concatenate([[BOS], found]).astype(np.int32)
