"""Phrases: how the text goes on past the next word, where the model is sure of it.

The likeliest continuations of the best next words, found best first over pieces as the words
are. A phrase is offered where its confidence, log P(all its words) / (their number ^ `length`), is
that of the surest `coverage` of all places; every beginning of it of two words or more is as sure
as is asked of its own length. What it saves in expectation is P times the keystrokes of the words
after its first.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np

from kbengine import text
from kbengine.lexicon import Lexicon
from kbengine.protocols import Ints
from kbengine.sources.query import Query
from kbengine.sources.words import WordSource
from kbengine.tree import Node, StateTree
from kbengine.types import Candidate, candidate
from kbengine.vocab import Vocabulary

# Coverage, the share of places before a word's first letter at which a phrase is offered, and
# the least confidence there: ``python -m train phrases --text DEV...`` (docs/measures.md).
Table: TypeAlias = tuple[tuple[float, float], ...]
CONFIDENCE: Table = (
    (0.01, -0.61), (0.05, -1.27), (0.1, -1.61), (0.15, -1.84), (0.2, -2.03), (0.3, -2.29),
    (0.4, -2.51), (0.6, -2.92), (0.8, -3.19), (1.0, -4.0),
)  # fmt: skip


@dataclass(frozen=True)
class PhraseOptions:
    """coverage: the share of places at which a phrase is offered, 0 for none. words: words and
    signs of a phrase, at most. length: of the module's docstring. keys: what a phrase saves for
    each word and sign after the first, over what the word saves whose place it takes: before a
    letter is typed, and after. A word that is wanted and not shown costs more than one
    keystroke; and once letters are typed, the likely words have been shown and left. heads: how
    many of the best words are tried as the first. batch, calls, fan: as in `beam.BeamOptions`.
    table: confidence by coverage. by_p: by probability alone, for comparison. What was tried
    stands in train/EXPERIMENTS.md."""

    coverage: float = 0.2
    words: int = 4
    length: float = 0.5
    keys: tuple[float, ...] = (1.0, 0.3)
    heads: int = 4
    batch: int = 5
    calls: int = 3
    fan: int = 8
    table: Table = CONFIDENCE
    by_p: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a coverage that cannot be."""
        if not 0 <= self.coverage <= 1:
            raise ValueError(f"phrases at {self.coverage:g} of all places cannot be; give 0 to 1")

    def least_logp(self, words: int) -> float:
        """Of a phrase of so many words and signs."""
        if self.coverage == 0:
            return math.inf
        coverages, confidences = zip(*self.table, strict=True)
        least = float(np.interp(self.coverage, coverages, confidences))
        return least * float(words**self.length)

    def policy(self, words: int, typed: int) -> float:
        """The slot policy's part for a phrase of so many words after so many letters, in nats."""
        if self.by_p:
            return BY_P
        return math.log(self.keys[min(typed, len(self.keys) - 1)] * (words - 1))


BY_P = 10.0  # nats: above any word, so that probability alone chooses among phrases


def confidence(logp: float, words: int, options: PhraseOptions) -> float:
    """Of a phrase of so many words and signs; see the module's docstring."""
    return logp / float(words**options.length)


COMMA = ","  # may stand in a phrase
ENDS = (".", "?", "!")  # may end one


class Phrase(NamedTuple):
    """Words in lower case and signs, and log P(all of them, and the taps | context)."""

    words: tuple[str, ...]
    logp: float


class _Path(NamedTuple):
    """A phrase on its way: finished words, pieces and lexicon node of the one that is spelt, and
    log P(all pieces)."""

    words: tuple[str, ...]
    pieces: tuple[int, ...]
    place: int
    node: Node
    logp: float


class PhraseSource:
    """logp = log P(all its words | context, typed), with the end of the last."""

    def __init__(
        self,
        tree: StateTree,
        vocabulary: Vocabulary,
        lexicon: Lexicon,
        words: WordSource,
        options: PhraseOptions | None = None,
    ) -> None:
        self._tree, self._vocabulary, self._lexicon = tree, vocabulary, lexicon
        self._words = words
        self.options = options or PhraseOptions()
        low, high = lexicon.children(0)
        self._first: Ints = lexicon.pieces[low:high]
        signs = {sign: vocabulary.encode_token(sign) for sign in (COMMA, *ENDS)}
        self._signs = {s: ids[0] for s, ids in signs.items() if vocabulary.spell(ids) == s}

    def propose(self, query: Query, n: int, coverage: float | None = None) -> list[Candidate]:
        """The best phrases, none of them the beginning of another. coverage: in place of that of
        the options."""
        found = self._words.search(query, n)
        total = found.total_logp if query.typed else 0.0
        trigger = self._words.trigger(query)
        ranked = sorted(
            (
                self._candidate(query, phrase, total, trigger)
                for phrase in self.search(query, n, coverage)
            ),
            key=lambda c: (-c.score, c.text),
        )
        kept: list[Candidate] = []
        for phrase in ranked:
            if not any(_begins(a, b) for c in kept for a, b in ((c, phrase), (phrase, c))):
                kept.append(phrase)
        return kept[:n]

    def score(self, query: Query, words: tuple[str, ...]) -> Candidate | None:
        """A phrase of given words in lower case and signs; None for other signs, and words that the
        vocabulary cannot spell."""
        if not all(text.is_word(word) or word in self._signs for word in words):
            return None
        pieces = [self._vocabulary.encode_token(word) for word in words]
        if any(
            self._vocabulary.spell(each) != word for each, word in zip(pieces, words, strict=True)
        ):
            return None
        channel_logp = self._words.channel_logp(query, words[0])
        if channel_logp == -math.inf:
            return None
        logp, node = self._tree.path_logp(query.node, (p for each in pieces for p in each))
        logp += channel_logp
        if words[-1] not in self._signs:
            self._tree.predict([node])
            logp += node.end_logp
        found = self._words.search(query, 1)
        total = max(found.total_logp, logp) if query.typed else 0.0
        return self._candidate(query, Phrase(words, logp), total, self._words.trigger(query))

    def search(self, query: Query, n: int, coverage: float | None = None) -> list[Phrase]:
        """The phrases that are sure enough."""
        options = self.options
        if coverage is not None and coverage != options.coverage:
            options = replace(options, coverage=coverage)
        found = self._words.search(query, n)
        total = found.total_logp if query.typed else 0.0
        floors = [options.least_logp(count) + total for count in range(options.words + 1)]
        heap: list[tuple[float, int, _Path]] = []
        count = itertools.count()

        def push(paths: Iterator[_Path]) -> None:
            for path in paths:
                heapq.heappush(heap, (-path.logp, next(count), path))

        heads = []
        for word, head in found.words[: options.heads]:
            if head.score >= floors[2]:
                heads.append((word, head.node, head.score - head.node.end_logp))
        phrases: list[Phrase] = []

        def go_on(tokens: tuple[str, ...], node: Node, logp: float) -> None:
            """What may follow a finished word: another, or a sign and perhaps another."""
            if len(tokens) >= options.words:
                return
            floor = floors[len(tokens) + 1]
            whole = _Path(tokens, (), 0, node, logp)
            push(self._next_words(whole, floor))
            assert node.logp is not None
            for sign, piece in self._signs.items():
                after = logp + float(node.logp[piece])
                if after >= floor:
                    if sign != COMMA and len(tokens) > 1:
                        phrases.append(Phrase((*tokens, sign), after))
                    elif sign == COMMA and len(tokens) + 1 < options.words:
                        push(iter([_Path((*tokens, sign), (), 0, node.child(piece), after)]))

        self._tree.predict([node for _, node, _ in heads])
        for word, node, logp in heads:
            go_on((word,), node, logp)
        for _ in range(options.calls):
            batch = [heapq.heappop(heap)[2] for _ in range(min(options.batch, len(heap)))]
            if not batch:
                break
            self._tree.predict([path.node for path in batch])
            for path in batch:
                floor = floors[len(path.words) + 1]
                if not path.pieces:  # after a comma
                    push(self._next_words(path, floor))
                    continue
                if self._lexicon.is_word(path.place):
                    logp = path.logp + path.node.end_logp
                    if logp >= floor:
                        words = (*path.words, self._vocabulary.spell(path.pieces))
                        phrases.append(Phrase(words, logp))
                        go_on(words, path.node, path.logp)
                push(self._longer(path, floor))
        return phrases

    def _next_words(self, path: _Path, floor: float) -> Iterator[_Path]:
        """The likeliest beginnings of the word after a finished one."""
        assert path.node.logp is not None
        scores = path.node.logp.take(self._first)
        scores += np.float32(path.logp)
        places = np.flatnonzero(scores >= floor)
        if len(places) > self.options.fan:
            places = places[np.argpartition(-scores[places], self.options.fan)]
        for at in places[: self.options.fan].tolist():
            piece = int(self._first[at])
            node = path.node.child(piece)
            yield _Path(path.words, (piece,), at + 1, node, float(scores[at]))

    def _longer(self, path: _Path, floor: float) -> Iterator[_Path]:
        """A word that is spelt, one piece on."""
        assert path.node.logp is not None
        low, high = self._lexicon.children(path.place)
        for place in range(low, high):
            piece = int(self._lexicon.pieces[place])
            logp = path.logp + float(path.node.logp[piece])
            if logp >= floor:
                pieces = (*path.pieces, piece)
                yield _Path(path.words, pieces, place, path.node.child(piece), logp)

    def _candidate(self, query: Query, phrase: Phrase, total: float, trigger: float) -> Candidate:
        first, *others = phrase.words
        shown = self._words.written(query, first)
        for token in others:
            shown += token if token in self._signs else f" {self._lexicon.in_sentence(token)}"
        if text.shape(query.typed) is text.Shape.UPPER:
            shown = shown.upper()
        channel_logp = self._words.channel_logp(query, first)
        parts = {
            "language model": phrase.logp - channel_logp,
            "channel": channel_logp - total,
            "trigger": trigger,
            "slot policy": self.options.policy(len(phrase.words), len(query.typed)),
        }
        return candidate(shown, "phrase", "phrases", parts, query.replaces)


def _begins(one: Candidate, other: Candidate) -> bool:
    """Whether a phrase is another, or its beginning: ``going to`` of ``going to.``"""
    rest = other.text[len(one.text) : len(one.text) + 1]
    return other.text.startswith(one.text) and not rest.isalnum() and rest != "'"
