"""Steps of a source: what goes in at each, from real text where there is some, and running them.

An integer input that reads a table gets the pieces of a text, one after the other; what else
there is comes from a file of arrays or, said so, by chance.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from sentencepiece import SentencePieceProcessor

from kbengine.vocab import Vocabulary
from train.convert.source import Arrays, Entry, dims, written
from train.convert.states import Call, Pair, states_of, zeros
from train.corpus import encode_lines, read_messages

# What an index passes on its way to its table: Keras takes negative ones as from the end.
_PASSING = frozenset(
    ("Identity", "Cast", "Reshape", "ExpandDims", "Squeeze", "AddV2", "SelectV2", "Less",
     "StopGradient", "Placeholder", "PlaceholderWithDefault")
)  # fmt: skip
_TABLES = {"GatherV2": (0, 1), "Gather": (0, 1), "ResourceGather": (0, 1)}  # params, indices
FREE_SIZE = 4  # as a free dimension that is no batch is taken, such as the time of a loop
UNKNOWN_TOKENS = ("<unk>", "[UNK]", "<UNK>", "UNK")

Step = tuple[Arrays, Mapping[str, NDArray[Any]]]  # inputs with their states, and outputs


@dataclass(frozen=True)
class Feeds:
    """feeds: the inputs of each step, by name; for states anything. told: where each comes from.
    begins: the steps at which a message begins, on states of zeros. chance: the inputs of which
    nothing real is known."""

    feeds: tuple[Arrays, ...]
    told: Mapping[str, str]
    begins: frozenset[int] = frozenset()
    chance: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Material:
    """What steps are made of: the pieces of a text (told: which), and arrays by name with a row a
    step."""

    pieces: NDArray[np.int64] | None = None
    told: str = ""
    begins: frozenset[int] = frozenset()  # the places in `pieces` of the first of each message
    data: Mapping[str, NDArray[Any]] | None = None


def read_material(
    text: Path | None, vocabulary: bytes | Path | None, data: Path | None
) -> Material:
    """A text in the pieces of its vocabulary, and a file of arrays.

    vocabulary: a SentencePiece model, or a file with a token a line, which stands for its number.
    Raises ValueError where a file is none of these, or one goes without the other.
    """
    if text is None:
        return Material(data=None if data is None else _arrays(data))
    if vocabulary is None:
        raise ValueError(
            "--text needs --vocab: a SentencePiece model, or a file with a token a line"
        )
    messages = read_messages(text)
    if isinstance(vocabulary, bytes):  # one of ours, which normalises text in its own way
        # They are conversations to it: a message's end is a piece, and the state goes on.
        pieces, begins = encode_lines(messages, Vocabulary(vocabulary)).astype(np.int64), {0}
    else:
        pieces, begins = _encoded(messages, vocabulary)
    if not len(pieces):
        raise ValueError(f"{text} has no text that {vocabulary!s:.100} knows; give another text")
    arrays = None if data is None else _arrays(data)
    return Material(pieces, f"of {text}", frozenset(begins), arrays)


def _encoded(messages: Iterable[str], path: Path) -> tuple[NDArray[np.int64], set[int]]:
    """The pieces of messages by a foreign vocabulary, and the places where a message begins."""
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; give --vocab a SentencePiece model or a token list"
        )
    encode = _encoder(path)
    pieces: list[int] = []
    begins = set()
    for message in messages:
        begins.add(len(pieces))
        pieces += encode(message)
    return np.array(pieces, np.int64), begins


def _encoder(path: Path) -> Callable[[str], list[int]]:
    """What makes pieces of a message. Raises ValueError where the file is no vocabulary."""
    content = path.read_bytes()
    if path.suffix == ".txt":
        tokens = content.decode("utf-8", "replace").splitlines()
        numbers = {token: n for n, token in reversed(list(enumerate(tokens)))}
        unknown = next((numbers[t] for t in UNKNOWN_TOKENS if t in numbers), None)

        def encode(message: str) -> list[int]:
            found = (numbers.get(word, unknown) for word in message.split())
            return [n for n in found if n is not None]

        return encode
    try:
        processor = SentencePieceProcessor(model_proto=content)
        processor.encode("a")
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"{path} is no SentencePiece model; a list of tokens ends in .txt"
        ) from error
    return lambda message: list(processor.encode(message))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path) as found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as error:
        raise ValueError(f"{path} is no .npz of arrays; write one with numpy.savez") from error
    if not arrays or any(a.ndim == 0 or not len(a) for a in arrays.values()):
        raise ValueError(f"{path} holds no arrays with a row a step; write one with numpy.savez")
    return arrays


def make_feeds(entry: Entry, count: int, material: Material, seed: int = 1) -> Feeds:
    """Inputs for `count` steps, of the sizes of `sized`; states get anything.

    Raises ValueError where the material does not fit the inputs.
    """
    rng = np.random.default_rng(seed)
    reads = {n: index_range(entry, n) for n, s in entry.inputs.items() if s.dtype.is_integer}
    data = dict(material.data or {})
    if strange := sorted(set(data) - set(entry.inputs)):
        raise ValueError(f"--data has {strange[0]}; the inputs are {', '.join(entry.inputs)}")
    text_input = next((n for n, size in reads.items() if size and n not in data), None)
    columns: dict[str, NDArray[Any]] = {}
    told = {}
    begins: frozenset[int] = frozenset()
    chance = set()
    for name, found in entry.inputs.items():
        shape, dtype = sized(found), found.dtype.as_numpy_dtype
        size = int(np.prod(shape, dtype=np.int64))
        if name in data:
            columns[name] = _rows(name, data[name], found, count).astype(dtype)
            _in_range(name, columns[name], reads.get(name), "--data")
            told[name] = "from --data"
        elif name == text_input and material.pieces is not None:
            _in_range(name, material.pieces, reads[name], "the text")
            flat = np.resize(material.pieces, count * size)
            columns[name] = flat.reshape(count, *shape).astype(dtype)
            again = ", again and again" if len(flat) > len(material.pieces) else ""
            told[name] = f"from the pieces {material.told}{again}"
            if size == 1:
                length = len(material.pieces)
                begins = frozenset(i for i in range(count) if i % length in material.begins)
        else:
            columns[name], told[name] = _by_chance(rng, found, reads.get(name), (count, *shape))
            chance.add(name)
    feeds = tuple({n: column[i] for n, column in columns.items()} for i in range(count))
    return Feeds(feeds, told, begins, frozenset(chance))


def _by_chance(
    rng: np.random.Generator, found: tf.TensorSpec, rows: int | None, shape: tuple[int, ...]
) -> tuple[NDArray[Any], str]:
    """Values for what nothing real is known of, and how to say so."""
    free = dims(found.shape) or ()
    long = f", {FREE_SIZE} for what is free in {written(found.shape)}" if None in free[1:] else ""
    if found.dtype.is_integer:
        most = rows or (256 if found.dtype == tf.uint8 else 2)
        values = rng.integers(0, most, shape)
        return values.astype(found.dtype.as_numpy_dtype), f"by chance, below {most:,}{long}"
    if found.dtype.is_bool:
        return rng.integers(0, 2, shape).astype(bool), f"by chance, true or false{long}"
    values = rng.normal(0, 1, shape).astype(found.dtype.as_numpy_dtype)
    return values, f"by chance, standard normal{long}"


def sized(spec: tf.TensorSpec) -> list[int]:
    """A shape without free dimensions: a batch of 1, others as `FREE_SIZE`."""
    shape = dims(spec.shape) or ()
    return [(FREE_SIZE if place else 1) if n is None else n for place, n in enumerate(shape)]


def _rows(name: str, given: NDArray[Any], spec: tf.TensorSpec, count: int) -> NDArray[Any]:
    """Rows of a file for the steps, of any length where that is free."""
    shape = dims(spec.shape) or ()
    for rows in (given, given[:, None]):  # with a batch of one, or of it
        fits = rows.ndim == len(shape) + 1 and all(
            n in (None, m) if place else m == (n or 1)
            for place, (n, m) in enumerate(zip(shape, rows.shape[1:], strict=True))
        )
        if fits:
            return np.resize(rows, (count, *rows.shape[1:]))
    raise ValueError(
        f"--data has {name} as {list(given.shape)}; it needs a row for each step, of "
        f"{written(shape[1:] if shape[:1] in ((None,), (1,)) else shape)} each"
    )


def _in_range(name: str, pieces: NDArray[Any], size: int | None, where: str) -> None:
    if size is not None and (pieces.max() >= size or pieces.min() < 0):
        worst = pieces.max() if pieces.max() >= size else pieces.min()
        raise ValueError(
            f"{where} has the piece {worst:,}, the table that {name} reads {size:,} rows; "
            "give pieces of the vocabulary that the model was trained with"
        )


def index_range(entry: Entry, name: str) -> int | None:
    """The rows of the table that an integer input reads; None where none is found."""
    return table_rows(entry.tensors[name])


def table_rows(tensor: tf.Tensor) -> int | None:
    """The rows of the table that is read by a tensor of a graph, or by what it becomes."""
    left, seen = [tensor], set[str]()
    while left:
        at = left.pop(0)
        for op in at.consumers():
            if op.type in _TABLES:
                table, index = _TABLES[op.type]
                if op.inputs[index] is at and op.inputs[table].shape.rank:
                    rows = op.inputs[table].shape[0]
                    return None if rows is None else int(rows)
            elif op.type == "OneHot" and op.inputs[0] is at:
                depth = tf.get_static_value(op.inputs[1])
                return None if depth is None else int(depth)
            elif op.type in _PASSING and op.name not in seen:
                seen.add(op.name)
                left += op.outputs
    return None


def run(call: Call, feeds: Feeds, pairs: Sequence[Pair], start: Arrays) -> list[Step]:
    """Step through the feeds, each state carried on from its own output to the message's end."""
    steps: list[Step] = []
    states = dict(start)
    for place, feed in enumerate(feeds.feeds):
        if place in feeds.begins:
            states = dict(start)
        at = {**feed, **states}
        out = call(at)
        states = states_of(out, pairs)
        steps.append((at, out))
    return steps


def start_states(entry: Entry, pairs: Sequence[Pair]) -> dict[str, NDArray[Any]]:
    """Zeros for one row."""
    return zeros(entry.inputs, pairs)
