"""What the language model gives to lines and their words, without any search.

A line's pieces are those of its words and of the stretches between them, one after the
other, behind the start of the message or the messages before it. A line is read whole,
however long it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kbengine.evaluate.lines import Line, Word, words
from kbengine.predict import context_pieces
from kbengine.protocols import LanguageModel
from kbengine.tree import StateTree
from kbengine.vocab import EOS, UNK, Vocabulary

# Lines stepped side by side. On 64 lines of data/chat.txt with the shipped model, two
# shared cores: 0.13 ms a piece with 1, 0.050 with 4, 0.038 with 16, 0.041 with 32.
LANES = 16


class WordLogp(NamedTuple):
    """logp: log P(the word's pieces, and then a boundary | what stands before it, and that
    something new begins here); known: whether the vocabulary spells it without its unknown
    piece."""

    word: Word
    logp: float
    known: bool


class LineLogp(NamedTuple):
    """logp: log P(all pieces, and then the end of the message)."""

    logp: float
    words: list[WordLogp]


class _Lane:
    """A line on its way through the model."""

    def __init__(self, line: Line, vocabulary: Vocabulary, tree: StateTree) -> None:
        self.places = words(line.text)
        self.spans: list[tuple[int, int]] = []  # of the words, in pieces
        self.pieces: list[int] = []
        done = 0
        for word in self.places:
            self.pieces += vocabulary.encode(line.text[done : word.start])
            first = len(self.pieces)
            self.pieces += vocabulary.encode(word.text)
            self.spans.append((first, len(self.pieces)))
            done = word.end
        self.pieces += [*vocabulary.encode(line.text[done:]), EOS]
        heard, pieces = context_pieces(vocabulary, line.earlier, "")
        self.node = tree.walk(pieces, heard)
        self.logp: list[float] = []  # of each piece
        self.end_logp: list[float] = []  # of a boundary in its place

    @property
    def open(self) -> bool:
        return len(self.logp) < len(self.pieces)

    def take(self) -> None:
        """Read off what the node predicts for the next piece, and go there."""
        assert self.node.logp is not None
        piece = self.pieces[len(self.logp)]
        self.logp.append(float(self.node.logp[piece]))
        self.end_logp.append(self.node.end_logp)
        self.node = self.node.child(piece)

    def result(self) -> LineLogp:
        found = [
            WordLogp(word, self._word_logp(first, end), UNK not in self.pieces[first:end])
            for word, (first, end) in zip(self.places, self.spans, strict=True)
        ]
        return LineLogp(sum(self.logp), found)

    def _word_logp(self, first: int, end: int) -> float:
        # The end of what stands before has paid for a boundary; the word does not pay again.
        # Rounded as the sum of all boundaries is, it may fall below the one that is there.
        begin_logp = max(self.end_logp[first], self.logp[first])
        return sum(self.logp[first:end]) + self.end_logp[end] - begin_logp


def line_logps(
    model: LanguageModel, vocabulary: Vocabulary, lines: Sequence[Line]
) -> list[LineLogp]:
    """The log-probabilities (natural) of lines and of their words, in the order of `lines`."""
    found: dict[int, LineLogp] = {}
    order = sorted(range(len(lines)), key=lambda i: len(lines[i].text))
    for start in range(0, len(order), LANES):
        batch = order[start : start + LANES]
        tree = StateTree(model, vocabulary.boundary, rows=LANES)
        lanes = [_Lane(lines[i], vocabulary, tree) for i in batch]
        while running := [lane for lane in lanes if lane.open]:
            tree.predict([lane.node for lane in running])
            for lane in running:
                lane.take()
        found.update({i: lane.result() for i, lane in zip(batch, lanes, strict=True)})
    return [found[i] for i in range(len(lines))]
