"""A small real world for tests: every part is the engine's own, made of `data/chat.txt`.

The vocabulary is trained by SentencePiece, the language model is an n-gram model of order
3, the lexicon holds every word of the chat. All is made once per process, in well under a
second, and needs no TensorFlow.
"""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import kbengine
from kbengine import text
from kbengine.bundle import write_bundle
from kbengine.channel import ChannelModel, Rates
from kbengine.emojimodel import ARRAYS, EmojiModel
from kbengine.emojitable import EmojiEntry, EmojiTable
from kbengine.layout import read_layout
from kbengine.lexicon import Entry, Lexicon, unigram_logp
from kbengine.lm.mixture import NgramTable
from kbengine.lm.ngram import NgramModel
from kbengine.vocab import BOS, EOS, Vocabulary
from kbengine.wordfilter import WordFilter
from train.bundle import written_forms
from train.vocab import VocabularyOptions, train_vocabulary

LAYOUT = Path(__file__).parent.parent / "data" / "layouts" / "qwerty.tsv"
CHAT = Path(__file__).parent.parent / "data" / "chat.txt"
ORDER = 3

# The chat has too little of words that are not written in lower case: one of each form.
MORE_LINES = ("the train to London was late", "nobody at NASA lost an iPhone or a McDonald hat")
WRITTEN = {"london": "London", "nasa": "NASA", "iphone": "iPhone", "mcdonald": "McDonald"}

EMOJI = (
    EmojiEntry("😂", "face with tears of joy", ("joy", "crying", "laugh", "tears")),
    EmojiEntry("❤️", "red heart", ("heart", "love", "red")),
    EmojiEntry("🍕", "pizza", ("pizza", "cheese", "slice")),
    EmojiEntry("☕", "hot beverage", ("coffee", "beverage", "drink", "tea")),
    EmojiEntry("🎂", "birthday cake", ("birthday", "cake", "party")),
    EmojiEntry("🐱", "cat face", ("cat", "face", "pet")),
    EmojiEntry("🌞", "sun with face", ("sun", "face", "bright")),
)

# None of them stands in the chat: whoever looks for words finds them all.
FILTER = WordFilter(
    {
        "bollocks": "offensive", "bugger*": "offensive", "\U0001f595": "offensive",
        "prat": "offensive", "funeral": "delicate", "divorc*": "delicate", "corpse": "delicate",
    }
)  # fmt: skip


@functools.cache
def messages() -> tuple[str, ...]:
    """The lines of the chat and `MORE_LINES`, normalised."""
    lines = (*CHAT.read_text(encoding="utf-8").splitlines(), *MORE_LINES)
    return tuple(text.normalise(line).strip() for line in lines)


@functools.cache
def counts() -> Counter[str]:
    """How often each token stands in the lines."""
    return Counter(token for line in messages() for token in text.tokens(line))


@functools.cache
def vocabulary_bytes() -> bytes:
    """The vocabulary as a bundle holds it."""
    options = VocabularyOptions(size=600, emoji_min_count=1, word_min_count=1, letter_min_count=1)
    return train_vocabulary(counts(), options)


@functools.cache
def toy_vocabulary() -> Vocabulary:
    return Vocabulary(vocabulary_bytes())


@functools.cache
def toy_model() -> NgramModel:
    vocabulary = toy_vocabulary()
    lines = ([BOS, *vocabulary.encode(line), EOS] for line in messages())
    return NgramModel.fit(lines, ORDER, len(vocabulary))


@functools.cache
def toy_entries() -> tuple[Entry, ...]:
    """The words of the lexicon, the commonest first."""
    words = {token: n for token, n in counts().items() if text.is_word(token)}
    total = sum(words.values())
    casings = Counter(
        word for line in messages() for word, start in text.count_casings(line) if not start
    )
    written = written_forms(casings) | WRITTEN
    ranked = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Entry(word, unigram_logp(n, total), written.get(word, word)) for word, n in ranked)


@functools.cache
def toy_lexicon() -> Lexicon:
    return Lexicon.build(toy_entries(), toy_vocabulary())


@functools.cache
def toy_emoji() -> EmojiTable:
    return EmojiTable(EMOJI)


@functools.cache
def toy_ngrams() -> NgramTable:
    """A pair and a triple: enough to be read and mixed in, too few to change much."""
    vocabulary = toy_vocabulary()
    second, third = vocabulary.encode("are you")[:2]
    follow = np.zeros(len(vocabulary), np.uint16)
    follow[second] = 1
    return NgramTable(
        {
            "follow": follow,
            "pairs": np.array([third], np.uint16),
            "shares2": np.array([40], np.uint8),
            "follow2": np.array([1], np.uint16),
            "triples": np.array([second], np.uint16),
            "shares3": np.array([60], np.uint8),
        }
    )


@functools.cache
def toy_emoji_model() -> EmojiModel:
    """Small, and of weights drawn at random: it says what nobody would, but always the same."""
    vocabulary, rng = toy_vocabulary(), np.random.default_rng(7)
    emoji = vocabulary.emoji.ids
    signs = np.array([EOS, *vocabulary.encode_token(".")])
    n, rows, width, cells = len(emoji), 3, 2, 4
    z = rows + 2 * width
    arrays: dict[str, Any] = {
        "emoji": emoji.astype(np.uint16),
        "rarity": rng.integers(20, 90, n).astype(np.uint8),
        "signs": signs.astype(np.uint16),
        "scalars": np.array([-3.0, 1.0], np.float32),
    }
    shapes = {
        "mix": (n + 1 + len(signs), rows), "words": (len(vocabulary), width),
        "hidden": (z, cells), "kinds": (z, n),
    }  # fmt: skip
    for name, (height, columns) in shapes.items():
        arrays[name] = rng.integers(-127, 128, height * columns).astype(np.int8)
        arrays[f"{name}_scale"] = np.full(columns, 1e-3, np.float32)
    for name, size in (("mix_bias", rows), ("hidden_bias", cells), ("trigger", cells)):
        arrays[name] = rng.normal(size=size).astype(np.float32)
    arrays["kinds_bias"] = np.zeros(n, np.float32)
    return EmojiModel({name: arrays[name] for name in ARRAYS}, len(vocabulary))


@functools.cache
def toy_channel() -> ChannelModel:
    """The slips of the default rates, and a rule of spelling."""
    return ChannelModel(Rates(), read_layout(LAYOUT), {("ie", "ei"): -4.0, ("ei", "ie"): -4.0})


def toy_manifest() -> dict[str, Any]:
    """What `train bundle` would write, less the format and parts that `write_bundle` adds."""
    return {
        "name": "toy",
        "version": "0",
        "language": "en",
        "family": "ngram",
        "notice": "Made of data/chat.txt for tests.",
        "words": len(toy_lexicon()),
        "emoji": len(toy_emoji()),
        "filtered": len(FILTER),
        "ngrams": len(toy_ngrams()),
        "training": {"sources": [], "settings": {"order": ORDER}},
        "figures": {},
    }


@functools.cache
def _model_bytes() -> bytes:
    return toy_model().to_bytes()


def toy_parts() -> dict[str, bytes]:
    """The members of the bundle beside the manifest."""
    return {
        "model": _model_bytes(),
        "vocabulary": vocabulary_bytes(),
        "lexicon": toy_lexicon().to_bytes(),
        "emoji": toy_emoji().to_bytes(),
        "filter": FILTER.to_bytes(),
        "ngrams": toy_ngrams().to_bytes(),
        "trigger": toy_emoji_model().to_bytes(),
        "channel": toy_channel().to_bytes(),
    }


def toy_bundle(path: Path) -> Path:
    """Write the toy world to `path`, for `kbengine.load`; returns `path`."""
    write_bundle(path, toy_manifest(), toy_parts())
    return path


@functools.cache
def finger_engine() -> kbengine.Engine:
    """The engine of the toy bundle, read back from a file; shared by all tests of a run."""
    with tempfile.TemporaryDirectory() as folder:
        return kbengine.load(toy_bundle(Path(folder) / "toy.bundle"))


@functools.cache
def toy_engine() -> kbengine.Engine:
    """The same without a channel, so that typing is taken at its word."""
    parts = {name: part for name, part in toy_parts().items() if name != "channel"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "toy.bundle"
        write_bundle(path, toy_manifest(), parts)
        return kbengine.load(path)
