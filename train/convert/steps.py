"""Steps of a source: what goes in at each, from real text where there is some, and running them.

An integer input that reads a table gets the pieces of a text, one after the other; what else
there is comes from a file of arrays or, said so, by chance.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from sentencepiece import SentencePieceProcessor

from kbengine.vocab import Vocabulary
from train.convert.source import Arrays, Entry, dims
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
    """feeds: the inputs of each step, by name; for states anything. told: where each comes from."""

    feeds: tuple[Arrays, ...]
    told: Mapping[str, str]


@dataclass(frozen=True)
class Material:
    """What steps are made of: the pieces of a text (told: which), and arrays by name with a row a
    step."""

    pieces: NDArray[np.int64] | None = None
    told: str = ""
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
        pieces = encode_lines(messages, Vocabulary(vocabulary)).astype(np.int64)
    else:
        pieces = _encoded(messages, vocabulary)
    if not len(pieces):
        raise ValueError(f"{text} has no text that {vocabulary!s:.100} knows; give another text")
    return Material(pieces, f"of {text}", None if data is None else _arrays(data))


def _encoded(messages: Any, path: Path) -> NDArray[np.int64]:
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; give --vocab a SentencePiece model or a token list"
        )
    content = path.read_bytes()
    if path.suffix == ".txt":
        tokens = content.decode("utf-8", "replace").splitlines()
        numbers = {token: n for n, token in reversed(list(enumerate(tokens)))}
        unknown = next((numbers[t] for t in UNKNOWN_TOKENS if t in numbers), None)
        words = (numbers.get(word, unknown) for line in messages for word in line.split())
        return np.array([n for n in words if n is not None], np.int64)
    try:
        processor = SentencePieceProcessor(model_proto=content)
        processor.encode("a")
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"{path} is no SentencePiece model; a list of tokens ends in .txt"
        ) from error
    return np.array([n for line in messages for n in processor.encode(line)], np.int64)


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
    shapes = {n: sized(s) for n, s in entry.inputs.items()}
    reads = {n: index_range(entry, n) for n, s in entry.inputs.items() if s.dtype.is_integer}
    columns: dict[str, NDArray[Any]] = {}
    told = {}
    data = dict(material.data or {})
    if strange := sorted(set(data) - set(entry.inputs)):
        raise ValueError(f"--data has {strange[0]}; the inputs are {', '.join(entry.inputs)}")
    text_input = next((n for n, size in reads.items() if size and n not in data), None)
    for name, shape in shapes.items():
        dtype = entry.inputs[name].dtype.as_numpy_dtype
        if name in data:
            columns[name] = _rows(name, data[name], shape, count).astype(dtype)
            told[name] = "from --data"
        elif name == text_input and material.pieces is not None:
            _in_range(name, material.pieces, reads[name])
            flat = np.resize(material.pieces, count * int(np.prod(shape, dtype=np.int64)))
            columns[name] = flat.reshape(count, *shape).astype(dtype)
            told[name] = f"from the pieces {material.told}"
        elif name in reads:
            columns[name] = rng.integers(0, reads[name] or 2, (count, *shape)).astype(dtype)
            told[name] = f"by chance, below {reads[name] or 2:,}"
        elif entry.inputs[name].dtype.is_bool:
            columns[name] = rng.integers(0, 2, (count, *shape)).astype(bool)
            told[name] = "by chance, true or false"
        else:
            columns[name] = rng.normal(0, 1, (count, *shape)).astype(dtype)
            told[name] = "by chance, standard normal"
    feeds = tuple({n: column[i] for n, column in columns.items()} for i in range(count))
    return Feeds(feeds, told)


def sized(spec: tf.TensorSpec) -> list[int]:
    """A shape without free dimensions: a batch of 1, others as `FREE_SIZE`."""
    shape = dims(spec.shape) or ()
    return [(FREE_SIZE if place else 1) if n is None else n for place, n in enumerate(shape)]


def _rows(name: str, found: NDArray[Any], shape: Sequence[int], count: int) -> NDArray[Any]:
    rows = found if found.ndim == len(shape) + 1 else found[:, None]  # of a batch of one
    if list(rows.shape[1:]) != list(shape):
        raise ValueError(
            f"--data has {name} as {list(found.shape)}; it needs a row for each step of {shape}"
        )
    return np.resize(rows, (count, *shape))


def _in_range(name: str, pieces: NDArray[np.int64], size: int | None) -> None:
    if size is not None and pieces.max() >= size:
        raise ValueError(
            f"the text has the piece {pieces.max():,}, the table that {name} reads {size:,} rows; "
            "give --vocab the vocabulary that the model was trained with"
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


def run(call: Call, feeds: Sequence[Arrays], pairs: Sequence[Pair], start: Arrays) -> list[Step]:
    """Step through the feeds, each state carried on from its own output."""
    steps: list[Step] = []
    states = dict(start)
    for feed in feeds:
        at = {**feed, **states}
        out = call(at)
        states = states_of(out, pairs)
        steps.append((at, out))
    return steps


def start_states(entry: Entry, pairs: Sequence[Pair]) -> dict[str, NDArray[Any]]:
    """Zeros for one row."""
    return zeros(entry.inputs, pairs)
