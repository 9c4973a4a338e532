"""A language model over another one, whose predictions it alters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from kbengine.protocols import Floats, LanguageModel, State


class Over(Protocol):
    """A state that holds that of the model below as `base`."""

    @property
    def base(self) -> State:
        """The state of the model below."""


Own = TypeVar("Own", bound=Over)


class Layer(ABC, Generic[Own]):
    """See the module's docstring; safe to share as the model below is."""

    def __init__(self, base: LanguageModel) -> None:
        self.base = base
        self.vocab_size = base.vocab_size

    @abstractmethod
    def start(self, heard: Sequence[int] = ()) -> Own:
        """See `LanguageModel.start`."""

    @abstractmethod
    def follow(self, state: Own, piece: int, base: State) -> Own:
        """The state after one more piece; `base` is that of the model below."""

    @abstractmethod
    def alter(self, logp: Floats, state: Own) -> None:
        """Turn the prediction of the model below, float32[V], into this one's, in place."""

    def advance(self, pieces: Sequence[int], states: Sequence[Own]) -> list[Own]:
        """See `LanguageModel.advance`."""
        return self._after(pieces, states, self.base.advance(pieces, [s.base for s in states]))

    def step(self, pieces: Sequence[int], states: Sequence[Own]) -> tuple[Floats, list[Own]]:
        """See `LanguageModel.step`."""
        logp, below = self.base.step(pieces, [state.base for state in states])
        found = self._after(pieces, states, below)
        for row, state in zip(logp, found, strict=True):
            self.alter(row, state)
        return logp, found

    def _after(
        self, pieces: Sequence[int], states: Sequence[Own], below: Sequence[State]
    ) -> list[Own]:
        return [self.follow(*each) for each in zip(states, pieces, below, strict=True)]
