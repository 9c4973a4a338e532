"""A small count model over pieces: the second family, and a double for tests.

Interpolated absolute discounting (Ney, Essen & Kneser 1994): with c(h, w) the count of w
after h, C = sum_w c(h, w), T the number of kinds of w after h, and h' one piece shorter,

    P(w | h) = (max(c(h, w) - D, 0) + D T P(w | h')) / C

down to the unigrams, which are mixed with a uniform distribution in the same way. It is
exact and needs nothing but numpy, and knows no more than its last few pieces.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbengine.arrays import dump_arrays, load_arrays
from kbengine.errors import ModelError
from kbengine.protocols import Floats, Ints

Path = tuple[int, ...]


class NgramModel:
    """A state is the tuple of the last `order` - 1 pieces at most."""

    DISCOUNT = 0.75  # between 0 and 1; the usual choice where nothing is fitted

    def __init__(
        self, order: int, vocab_size: int, counts: dict[Path, tuple[Ints, Floats]]
    ) -> None:
        """counts: after each history (kinds of pieces int[T], their counts float32[T])."""
        self.order, self.vocab_size = order, vocab_size
        self._counts = counts

    @classmethod
    def fit(cls, messages: Iterable[Sequence[int]], order: int, vocab_size: int) -> NgramModel:
        """Count pieces in messages, each with whatever start and end pieces it shall have.

        Raises ValueError for an order below 1.
        """
        if order < 1:
            raise ValueError(f"an n-gram model of order {order} cannot be; give 1 or more")
        found: defaultdict[Path, Counter[int]] = defaultdict(Counter)
        for message in messages:
            for place, piece in enumerate(message):
                for length in range(min(order - 1, place) + 1):
                    found[tuple(message[place - length : place])][piece] += 1
        return cls(
            order,
            vocab_size,
            {
                history: (
                    np.array(sorted(kinds), np.intp),
                    np.array([kinds[i] for i in sorted(kinds)], np.float32),
                )
                for history, kinds in found.items()
            },
        )

    def start(self, heard: Sequence[int] = ()) -> Path:
        """See `LanguageModel.start`: nothing, whatever was heard."""
        return ()

    def advance(self, pieces: Sequence[int], states: Sequence[Path]) -> list[Path]:
        """See `LanguageModel.advance`."""
        keep = self.order - 1
        return [
            (*state, piece)[-keep:] if keep else ()
            for piece, state in zip(pieces, states, strict=True)
        ]

    def step(self, pieces: Sequence[int], states: Sequence[Path]) -> tuple[Floats, list[Path]]:
        """See `LanguageModel.step`."""
        after = self.advance(pieces, states)
        return np.stack([self._logp(state) for state in after]), after

    def _logp(self, history: Path) -> Floats:
        p = np.full(self.vocab_size, 1 / self.vocab_size)
        for length in range(len(history) + 1):
            known = self._counts.get(history[len(history) - length :])
            if known is None:
                break
            kinds, counts = known
            total = float(counts.sum())
            p *= self.DISCOUNT * len(kinds) / total
            p[kinds] += (counts - self.DISCOUNT) / total
        logp: Floats = np.log(p).astype(np.float32)
        return logp

    def to_bytes(self) -> bytes:
        """Flat arrays (`kbengine.arrays`): histories, their lengths, and the pieces after each."""
        histories = sorted(self._counts)
        return dump_arrays(
            {
                "order": np.array([self.order, self.vocab_size], np.int64),
                "lengths": np.array([len(h) for h in histories], np.int64),
                "histories": np.array([i for h in histories for i in h], np.int64),
                "kinds": np.array([len(self._counts[h][0]) for h in histories], np.int64),
                "pieces": np.concatenate([self._counts[h][0] for h in histories]).astype(np.int64),
                "counts": np.concatenate([self._counts[h][1] for h in histories]),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> NgramModel:
        """Raises ModelError where `data` is no such model."""
        whole = dict.fromkeys(("order", "lengths", "histories", "kinds", "pieces"), "i8")
        try:
            return cls._from_arrays(load_arrays(data, {**whole, "counts": "f4"}))
        except ValueError as error:
            raise ModelError("the n-gram model is not readable; build the bundle again") from error

    @classmethod
    def _from_arrays(cls, saved: Mapping[str, NDArray[Any]]) -> NgramModel:
        """Raises ValueError where the arrays contradict each other."""
        order, pieces, counts = saved["order"], saved["pieces"], saved["counts"]
        lengths, sizes, flat = saved["lengths"], saved["kinds"], saved["histories"]
        fit = len(order) == 2 and order.min() >= 1 and len(lengths) == len(sizes) > 0
        if not fit or lengths.min() < 0 or lengths.max() >= order[0] or sizes.min() < 1:
            raise ValueError("its tables do not fit together")
        if lengths.sum() != len(flat) or not sizes.sum() == len(pieces) == len(counts):
            raise ValueError("its tables have other lengths than they say")
        if pieces.min() < 0 or pieces.max() >= order[1] or order[1] > 1 << 24:
            raise ValueError("it has pieces beyond its vocabulary")
        if not np.isfinite(counts).all() or counts.min() <= cls.DISCOUNT:
            raise ValueError("it has counts that are none")
        starts = np.cumsum(sizes)[:-1]
        ascends = np.diff(pieces) > 0
        ascends[starts - 1] = True  # from one history to the next they may fall
        if not ascends.all():
            raise ValueError("it has a piece twice after one history")
        keys = np.split(flat, np.cumsum(lengths)[:-1])
        values = zip(np.split(pieces, starts), np.split(counts, starts), strict=True)
        return cls(
            int(order[0]),
            int(order[1]),
            {
                tuple(key.tolist()): (after.astype(np.intp), n.astype(np.float32))
                for key, (after, n) in zip(keys, values, strict=True)
            },
        )
