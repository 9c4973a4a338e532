"""The seams: what the search asks of a language model and of a constraint.

Each has two implementations at least: `lm.tflite` and `lm.ngram`; `constraint.Known`
(words of the lexicon), `constraint.Heard` (those that the taps may have meant) and
`constraint.Typed` (any word at all); `lexicon` and `said`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.intp]
State: TypeAlias = Any  # an opaque value owned by the language model, never altered
Cursor: TypeAlias = Hashable  # an opaque value owned by the constraint


class LanguageModel(Protocol):
    """log P(piece | the pieces before it), one piece at a time.

    A state is a value: it can be kept, forked and stepped again.
    """

    vocab_size: int

    def start(self, heard: Sequence[int] = ()) -> State:
        """The state before a text. It is not stepped through what was `heard` before, but may
        expect that again."""
        ...

    def advance(self, pieces: Sequence[int], states: Sequence[State]) -> list[State]:
        """One piece in each of B states -> the B states after it, without predictions."""
        ...

    def step(self, pieces: Sequence[int], states: Sequence[State]) -> tuple[Floats, list[State]]:
        """One piece in each of B states -> logp float32[B, V] of the next, the states after."""
        ...


class Extensions(NamedTuple):
    """What may follow a hypothesis: N pieces, the cursor after each, and what each costs
    beside the language model (0 where typing is taken at its word)."""

    pieces: Ints
    cursors: Sequence[Cursor] | Ints
    channel_logp: Floats | float = 0.0


class Constraint(Protocol):
    """Which words a search may build. It knows pieces, and nothing of probabilities."""

    def start(self) -> Cursor:
        """Where every word begins."""
        ...

    def expand(self, cursor: Cursor) -> Extensions:
        """The pieces that may stand next."""
        ...

    def end_logp(self, cursor: Cursor) -> float:
        """What it costs to end a word here, beside the language model; -inf where none may."""
        ...


class WordStock(Protocol):
    """Words in lower case, each known by a number of its own."""

    def alphabetical(self) -> tuple[list[str], Ints]:
        """All words in order, and the number of each."""
        ...

    def logps(self, numbers: Ints) -> Floats:
        """Their unigram log-probabilities."""
        ...

    def ranks(self, numbers: Ints) -> Ints:
        """Their places in an order of the stock's own."""
        ...
