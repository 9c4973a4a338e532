"""Pieces: the units the language model reads and predicts.

A SentencePiece unigram model splits words and numbers; signs and emoji are pieces of
their own, looked up whole. The mark ``▁`` (U+2581) begins every word and number and
nothing else, so a piece either begins something new (a *boundary* piece: ``▁the``,
``,``, ``😂``, the end of the message) or continues the word before it (``ing``).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import sentencepiece as spm
from numpy.typing import NDArray

from kbengine import text
from kbengine.errors import BundleError

MARK = "\u2581"
_LONGEST_KEPT = 64  # characters; what is longer is read anew, so that the caches stay small
_MOST_PIECES = 1 << 16  # a lexicon's nodes are uint16
UNK, BOS, EOS = 0, 1, 2  # ids that the training fixes: unknown, message start, message end


def _goes_on(letters: str) -> bool:
    """Whether letters can stand inside a word: ``ing``, ``n't``, ``'s``, ``'``."""
    return letters.isalpha() or letters == "'" or text.is_word(f"a{letters}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of a protocol buffer, and where it ends; IndexError past the end."""
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
    return value | data[at] << shift, at + 1


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and contents of the fields of a protocol buffer that have a length; see
    https://protobuf.dev/programming-guides/encoding. Raises LookupError where it is broken."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            at = _varint(data, at)[1]
        elif tag & 7 == 2:
            size, at = _varint(data, at)
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            at += {1: 8, 5: 4}[tag & 7]


def _normalises(model: bytes) -> bool:
    """Whether a SentencePiece model has rules of its own for what it reads: the texts of its
    normaliser (field 3) and denormaliser (5), the compiled (2) or the written ones (6)."""
    try:
        specs = [content for field, content in _fields(model) if field in (3, 5)]
        return any(content for spec in specs for field, content in _fields(spec) if field in (2, 6))
    except LookupError:
        return True  # fields of a kind that SentencePiece does not write


class PieceIndex(NamedTuple):
    """Some pieces: texts[i] is what piece ids[i] spells. Those of words are sorted by it."""

    texts: list[str]
    ids: NDArray[np.intp]


class Vocabulary:
    """A trained SentencePiece model, with what the search wants to know of its pieces.

    Attributes:
        pieces: the text of every piece, by id.
        boundary: bool[V], whether a piece ends the word before it.
        first_letters, inner_letters: the pieces that begin a word, and that go on with one.
    """

    def __init__(self, model: bytes) -> None:
        """Raises BundleError where `model` is no SentencePiece model of ours."""
        try:
            self._sp = spm.SentencePieceProcessor(model_proto=model)
            size = self._sp.get_piece_size()
            self.pieces: list[str] = self._sp.id_to_piece(list(range(size)))
        except (RuntimeError, UnicodeDecodeError) as error:
            raise BundleError(
                "the vocabulary is not a SentencePiece model; build the bundle again"
            ) from error
        if _normalises(model):
            raise BundleError(
                "the vocabulary changes what it reads, where the engine has done so; train it with "
                "`train vocab`"
            )
        if self.pieces[:3] != ["<unk>", "<s>", "</s>"] or not all(self.pieces):
            raise BundleError(
                "the vocabulary does not begin with <unk>, <s>, </s>; train it with `train vocab`"
            )
        if size > _MOST_PIECES:
            raise BundleError(
                f"the vocabulary has {size} pieces, more than a lexicon can name; "
                "train a smaller one"
            )
        self._ids = {piece: i for i, piece in enumerate(self.pieces)}
        self._longest_sign = max(len(piece) for piece in self.pieces)
        inside = [i for i, p in enumerate(self.pieces) if p[0].isalnum() or _goes_on(p)]
        self.boundary: NDArray[np.bool_] = np.ones(size, np.bool_)
        self.boundary[inside] = False
        first = [i for i, p in enumerate(self.pieces) if p[0] == MARK]
        self.first_letters, self.inner_letters = self._index(first), self._index(inside)
        self._encode_short = functools.lru_cache(maxsize=16384)(self._encode_token)
        self._encode_stretch = functools.lru_cache(maxsize=4096)(self._tokenise_stretch)

    @functools.cached_property
    def emoji(self) -> PieceIndex:
        """The pieces that are emoji, by id."""
        ids = [i for i, piece in enumerate(self.pieces) if text.is_emoji(piece)]
        return PieceIndex([self.pieces[i] for i in ids], np.array(ids, np.intp))

    def _index(self, ids: list[int]) -> PieceIndex:
        """Of some pieces those that spell letters (or nothing: the mark alone)."""
        spelt = sorted((self.pieces[i].removeprefix(MARK), i) for i in ids)
        spelt = [(letters, i) for letters, i in spelt if not letters or _goes_on(letters)]
        return PieceIndex([t for t, _ in spelt], np.array([i for _, i in spelt], np.intp))

    def __len__(self) -> int:
        return len(self.pieces)

    def _encode_token(self, token: str) -> tuple[int, ...]:
        if token[0].isalnum():
            return tuple(self._sp.encode(token))
        whole = self._ids.get(token)
        return (whole,) if whole is not None else self._encode_sign(token)

    def _encode_sign(self, token: str) -> tuple[int, ...]:
        """A run of signs by its longest known parts, from the left."""
        found: list[int] = []
        while token:
            for end in range(min(len(token), self._longest_sign), 0, -1):
                piece = self._ids.get(token[:end])
                if piece is not None or end == 1:
                    break
            # One unknown sign says as much as ten of them.
            if piece is not None or found[-1:] != [UNK]:
                found.append(UNK if piece is None else piece)
            token = token[end:]
        return tuple(found)

    def encode(self, message: str) -> list[int]:
        """Piece ids of a message, in any form; neither start nor end is added."""
        # No token goes over a space, so what stands between two spaces has its own pieces:
        # of a message that grows, all but the last stretch is remembered.
        found: list[int] = []
        for stretch in text.normalise(message).split():
            short = len(stretch) <= _LONGEST_KEPT
            found += (self._encode_stretch if short else self._tokenise_stretch)(stretch)
        return found

    def encode_token(self, token: str) -> tuple[int, ...]:
        """Piece ids of a token, see `kbengine.text.tokens`."""
        short = len(token) <= _LONGEST_KEPT
        return (self._encode_short if short else self._encode_token)(token)

    def _tokenise_stretch(self, stretch: str) -> list[int]:
        return [piece for token in text.tokens(stretch) for piece in self.encode_token(token)]

    def spell(self, pieces: tuple[int, ...]) -> str:
        """The letters that pieces of one word stand for, without the mark."""
        return "".join(self.pieces[i] for i in pieces).replace(MARK, "")
