"""Is an emoji likely here, and which: a small network over what the language model expects.

A language model of a few megabytes knows which emoji go with a text better than whether one is
due. This network reads its prediction at a place between words, and the pieces of the message:

    x = log P(each emoji | an emoji), log P(an emoji), log P(each sign)     by the language model
    z = A x + a, sum of E[p] over the last pieces p / sqrt(their number), E[the last piece]
    P(an emoji comes)            = sigmoid(t relu(H z + h) + t0)
    log P(each | an emoji comes) = log softmax(s x[emoji] + B z + b)

Right after an emoji nobody asks whether people who send emoji send one: there the language model
is left as it is. On disk (`kbengine.arrays`; N emoji, M signs, F = N + 1 + M, R rows of A, D
columns of E, K hidden cells, Z = R + 2 D; a matrix of rows x columns is int8, row by row, times
a scale for each column):

    emoji    uint16[N]      the pieces that are emoji
    rarity   uint8[N]       -12 times the log of each emoji's share of all, in the text
    signs    uint16[M]      other pieces whose probabilities are read: the end, full stops
    scalars  float32[2]     t0, s
    mix      int8[F R]      A, with mix_scale float32[R] and mix_bias float32[R]
    words    int8[V D]      E, with words_scale float32[D]
    hidden   int8[Z K]      H, with hidden_scale float32[K] and hidden_bias float32[K]
    trigger  float32[K]     t
    kinds    int8[Z N]      B, with kinds_scale float32[N] and kinds_bias float32[N]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kbengine.arrays import dump_arrays, load_arrays
from kbengine.errors import BundleError
from kbengine.protocols import Floats, Ints
from kbengine.vocab import UNK

READ = 48  # pieces of a message that are read, the last
STEPS_PER_NAT = 12
MOST_WEIGHT = 1e3  # of a scale, bias or scalar; those that are learned stay below 100
LEAST_LOGP = -18.0  # of an input: what is rarer says no more
ARRAYS = {
    "emoji": "u2", "rarity": "u1", "signs": "u2", "scalars": "f4", "mix": "i1", "mix_scale": "f4",
    "mix_bias": "f4", "words": "i1", "words_scale": "f4", "hidden": "i1", "hidden_scale": "f4",
    "hidden_bias": "f4", "trigger": "f4", "kinds": "i1", "kinds_scale": "f4", "kinds_bias": "f4",
}  # fmt: skip


@dataclass(frozen=True)
class TriggerOptions:
    """The log-odds that an emoji comes, times slope plus shift, are as often right as they say; the
    same right after an emoji. temperature: of the softmax over which emoji it is."""

    slope: float = 1.0
    shift: float = 0.0
    slope_after: float = 1.0
    shift_after: float = 0.0
    temperature: float = 1.0


# ``python -m train calibrate --text DEV...`` (docs/measures.md); slope and shift are left as they
# were trained: what tweets and comments ask for, less than half, is wrong for chat.
CALIBRATED = TriggerOptions(slope_after=0.8, shift_after=-0.72, temperature=1.1)


class Expected(NamedTuple):
    """What is expected at a place between words.

    lm_logp: log P(an emoji comes) by the language model alone; trigger_logp, other_logp: that an
    emoji comes, and that none does; lm_kinds, kinds: log P(each | an emoji comes), float32[N],
    by the language model alone and in the end.
    """

    lm_logp: float
    trigger_logp: float
    other_logp: float
    lm_kinds: Floats
    kinds: Floats


def by_language_model(logp: Floats, emoji: Ints) -> Expected:
    """What the language model alone expects: its prediction float32[V], the emoji's pieces."""
    if not len(emoji):
        return Expected(-np.inf, -np.inf, 0.0, np.zeros(0, np.float32), np.zeros(0, np.float32))
    found = logp.take(emoji)
    total = min(_log_sum(found), -1e-6)
    kinds: Floats = found - np.float32(total)
    return Expected(total, total, float(np.log1p(-np.exp(total))), kinds, kinds)


def features(logp: Floats, emoji: Ints, signs: Ints) -> Floats:
    """x of the module's docstring: predictions float32[B, V] -> float32[B, F]."""
    found = np.maximum(logp[:, emoji], np.float32(LEAST_LOGP))
    top = found.max(axis=1, keepdims=True)
    total = top + np.log(np.exp(found - top).sum(axis=1, keepdims=True))
    read = np.maximum(logp[:, signs], np.float32(LEAST_LOGP))
    x: Floats = np.concatenate([found - total, total, read], axis=1, dtype=np.float32)
    return x


class EmojiModel:
    """See the module's docstring. Immutable; threads may share it."""

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        vocab_size: int,
        options: TriggerOptions = CALIBRATED,
    ) -> None:
        """Raises ValueError, saying what is wrong, where the arrays do not fit together."""
        self.options = options
        self._arrays = dict(arrays)
        self.emoji: Ints = arrays["emoji"].astype(np.intp)
        self.signs: Ints = arrays["signs"].astype(np.intp)
        n, rows = len(self.emoji), len(arrays["mix_scale"])
        width, cells = len(arrays["words_scale"]), len(arrays["hidden_scale"])
        z = rows + 2 * width
        sizes = {
            "rarity": n, "scalars": 2, "mix": (n + 1 + len(self.signs)) * rows, "mix_bias": rows,
            "words": vocab_size * width, "hidden": z * cells, "hidden_bias": cells,
            "trigger": cells, "kinds": z * n, "kinds_scale": n, "kinds_bias": n,
        }  # fmt: skip
        if not n or any(len(arrays[name]) != size for name, size in sizes.items()):
            raise ValueError("its tables do not fit together, or the vocabulary is another")
        if max(self.emoji.max(), self.signs.max(initial=0)) >= vocab_size:
            raise ValueError("its pieces are none of the vocabulary")
        weights = (a for a in arrays.values() if a.dtype.kind == "f")
        if not all((np.abs(a) <= MOST_WEIGHT).all() for a in weights):  # nor NaN
            raise ValueError("its weights are no numbers, or too large")
        self.rarity: Floats = (arrays["rarity"] / STEPS_PER_NAT).astype(np.float32)
        self._is_emoji = frozenset(self.emoji.tolist())
        self._t0, self._s = (float(value) for value in arrays["scalars"])
        self._mix = self._matrix("mix", rows)
        self._words = arrays["words"].reshape(vocab_size, width)  # int8, read by rows
        self._hidden, self._kinds = self._matrix("hidden", cells), self._matrix("kinds", n)

    def _matrix(self, name: str, columns: int) -> Floats:
        whole = self._arrays[name].reshape(-1, columns).astype(np.float32)
        scaled: Floats = whole * self._arrays[f"{name}_scale"]
        return scaled

    def expect(self, logp: Floats, message: Sequence[int]) -> Expected:
        """What is expected after the pieces of a message, of which the language model predicts
        logp float32[V]."""
        alone = by_language_model(logp, self.emoji)
        if message and message[-1] in self._is_emoji:
            odds = alone.trigger_logp - alone.other_logp
            return _at_odds(alone, self.options.slope_after * odds + self.options.shift_after)
        arrays = self._arrays
        x = features(logp[np.newaxis], self.emoji, self.signs)[0]
        known = [piece for piece in message[-READ:] if piece != UNK]
        read = self._words[known].astype(np.float32)
        read *= arrays["words_scale"]
        last = read[-1] if len(read) else np.zeros(read.shape[1], np.float32)
        bag = read.sum(axis=0) / np.float32(math.sqrt(max(1, len(read))))
        z = np.concatenate([x @ self._mix + arrays["mix_bias"], bag, last])
        cells = np.maximum(z @ self._hidden + arrays["hidden_bias"], 0)
        logit = float(cells @ arrays["trigger"]) + self._t0
        kinds = np.float32(self._s) * x[: len(self.emoji)] + z @ self._kinds + arrays["kinds_bias"]
        kinds /= np.float32(self.options.temperature)
        kinds -= np.float32(_log_sum(kinds))
        odds = self.options.slope * logit + self.options.shift
        return _at_odds(alone._replace(kinds=kinds), odds)

    def to_bytes(self) -> bytes:
        """The model as it stands on disk; see the module's docstring."""
        return dump_arrays({name: self._arrays[name] for name in ARRAYS})

    @classmethod
    def from_bytes(cls, data: bytes, vocab_size: int) -> EmojiModel:
        """Raises BundleError where `data` is no such model for the vocabulary."""
        try:
            return cls(load_arrays(data, ARRAYS), vocab_size)
        except ValueError as error:
            raise BundleError(
                f"the emoji model is not readable: {error}; build the bundle again"
            ) from error


def _at_odds(expected: Expected, logit: float) -> Expected:
    return expected._replace(
        trigger_logp=-float(np.logaddexp(0, -logit)), other_logp=-float(np.logaddexp(0, logit))
    )


def _log_sum(logp: Floats) -> float:
    top = float(logp.max())
    return top + float(np.log(np.exp(logp - np.float32(top)).sum()))
