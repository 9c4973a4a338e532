"""A few hundred thousand n-grams beside a language model: what is said word for word.

A recurrent model of a few megabytes generalises well and remembers set phrases less well. The
table holds the pairs and triples of pieces that say most beyond what shorter ones say, each
with its share q(h w) of what followed its history h in the training text, discounted for how
seldom it stands there (absolute discounting: Ney, Essen & Kneser 1994). The mass that the table
does not hold stays with the language model, so nothing needs a back-off and the sum is 1:

    P(w | x y) = (1 - a m(y) - b m(x y)) P_lm(w) + a q(y w) + b q(x y w),    m(h) = sum_w q(h w)

On disk (`kbengine.arrays`; V pieces, M pairs sorted by first and second piece, N triples
sorted by their pair and third piece):

    follow    uint16[V]  how many pairs begin with each piece
    pairs     uint16[M]  the second piece of each
    shares2   uint8[M]   -16 times log q
    follow2   uint16[M]  how many triples begin with each pair
    triples   uint16[N]  the third piece of each
    shares3   uint8[N]   -16 times log q
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kbengine.arrays import dump_arrays, load_arrays
from kbengine.errors import BundleError
from kbengine.lm.layer import Layer
from kbengine.protocols import Floats, Ints, LanguageModel, State
from kbengine.vocab import BOS, EOS

STEPS_PER_NAT = 16
_ARRAYS = {
    "follow": "u2", "pairs": "u2", "shares2": "u1", "follow2": "u2", "triples": "u2",
    "shares3": "u1",
}  # fmt: skip
_SHARES = np.exp(-np.arange(256, dtype=np.float32) / STEPS_PER_NAT)
_NOTHING = -1  # the piece before a path's first: no pair begins with it


@dataclass(frozen=True)
class MixtureOptions:
    """a where no triple begins as the path ends, a where one does, and b: found by ``python -m
    train mixture --text`` on 500 lines of each dev set."""

    pair: float = 0.1
    pair_beside: float = 0.02
    triple: float = 0.15


class NgramTable:
    """See the module's docstring. Immutable; threads may share it."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Raises ValueError, saying what is wrong, where the arrays contradict each other."""
        follow, follow2 = arrays["follow"].astype(np.intp), arrays["follow2"].astype(np.intp)
        self.pairs, self.triples = arrays["pairs"], arrays["triples"]
        self.shares2, self.shares3 = arrays["shares2"], arrays["shares3"]
        m, n = len(self.pairs), len(self.triples)
        if not len(follow) or follow.sum() != m or len(follow2) != m or follow2.sum() != n:
            raise ValueError("its tables do not fit together")
        if len(self.shares2) != m or len(self.shares3) != n:
            raise ValueError("its tables have other lengths than they say")
        self.vocab_size = len(follow)
        self._arrays = dict(arrays)
        self.ends2 = np.cumsum(follow).astype(np.int32)
        self.ends3 = np.cumsum(follow2).astype(np.int32)
        for pieces, ends, shares in (
            (self.pairs, self.ends2, self.shares2), (self.triples, self.ends3, self.shares3),
        ):  # fmt: skip
            if not _ascends(pieces, ends) or (len(pieces) and pieces.max() >= self.vocab_size):
                raise ValueError("its pieces are not in order, or none of the vocabulary")
            mass = np.concatenate([[0.0], np.cumsum(_SHARES[shares], dtype=np.float64)])
            if np.max(np.diff(mass[np.concatenate([[0], ends])]), initial=0) > 1.1:
                raise ValueError("its shares are more than there is")

    def __len__(self) -> int:
        return len(self.pairs) + len(self.triples)

    def after(self, piece: int) -> tuple[int, int]:
        """The range of the pairs that begin with a piece."""
        if piece < 0:
            return 0, 0
        return (int(self.ends2[piece - 1]) if piece else 0), int(self.ends2[piece])

    def after_pair(self, first: int, second: int) -> tuple[int, int]:
        """The range of the triples that begin with two pieces."""
        begin, end = self.after(first)
        place = begin + int(np.searchsorted(self.pairs[begin:end], second))
        if place == end or self.pairs[place] != second:
            return 0, 0
        return (int(self.ends3[place - 1]) if place else 0), int(self.ends3[place])

    def to_bytes(self) -> bytes:
        """The table as it stands on disk; see the module's docstring."""
        return dump_arrays({name: self._arrays[name] for name in _ARRAYS})

    @classmethod
    def from_bytes(cls, data: bytes) -> NgramTable:
        """Raises BundleError where `data` is no such table."""
        try:
            return cls(load_arrays(data, _ARRAYS))
        except ValueError as error:
            raise BundleError(
                f"the n-grams are not readable: {error}; build the bundle again"
            ) from error


def _ascends(pieces: NDArray[np.uint16], ends: NDArray[np.int32]) -> bool:
    """Whether pieces rise within each range that ends at `ends`."""
    rises = np.diff(pieces.astype(np.int32)) > 0
    inner = ends[(ends > 0) & (ends < len(pieces))]
    rises[inner - 1] = True
    return bool(rises.all())


class MixtureState(NamedTuple):
    """The language model's state and the last two pieces; the start counts as a message's end."""

    base: State
    first: int
    second: int


class MixtureModel(Layer[MixtureState]):
    """A language model mixed with a table. Safe to share as that one is."""

    def __init__(
        self, base: LanguageModel, table: NgramTable, options: MixtureOptions | None = None
    ) -> None:
        """Raises BundleError where the table is of another vocabulary."""
        if table.vocab_size != base.vocab_size:
            raise BundleError(
                f"the n-grams are over {table.vocab_size} pieces, the model over "
                f"{base.vocab_size}; build the bundle again"
            )
        super().__init__(base)
        self.table, self.options = table, options or MixtureOptions()

    def start(self, heard: Sequence[int] = ()) -> MixtureState:
        """See `LanguageModel.start`."""
        return MixtureState(self.base.start(heard), _NOTHING, _NOTHING)

    def follow(self, state: MixtureState, piece: int, base: State) -> MixtureState:
        """See `Layer.follow`."""
        # A message's start is no piece of the text that was counted; its end, before it, is.
        return MixtureState(base, state.second, EOS if piece == BOS else piece)

    def alter(self, logp: Floats, state: MixtureState) -> None:
        """See `Layer.alter`."""
        options = self.options
        (second, share2), (third, share3) = shares(self.table, state.first, state.second)
        share2 *= np.float32(options.pair_beside if len(third) else options.pair)
        share3 *= np.float32(options.triple)
        left = 1.0 - float(share2.sum()) - float(share3.sum())
        if left == 1.0:
            return
        logp += np.log(np.float32(left))
        _add(logp, second.astype(np.intp), share2)
        _add(logp, third.astype(np.intp), share3)


def shares(
    table: NgramTable, first: int, second: int
) -> tuple[tuple[NDArray[np.uint16], Floats], tuple[NDArray[np.uint16], Floats]]:
    """What followed a piece, and what two: pieces and their shares of each."""
    begin, end = table.after(second)
    begin3, end3 = table.after_pair(first, second)
    return (
        (table.pairs[begin:end], _SHARES.take(table.shares2[begin:end])),
        (table.triples[begin3:end3], _SHARES.take(table.shares3[begin3:end3])),
    )


def _add(logp: Floats, pieces: Ints, p: Floats) -> None:
    """Add probabilities p to those of some pieces, in place."""
    if len(pieces):
        logp[pieces] = np.log(np.exp(logp.take(pieces)) + p)
