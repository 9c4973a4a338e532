"""Bundles: one file that holds all a language needs, each part with its sha256.

A bundle is a zip archive of these members:

    manifest.json   format, language, family, parts, and how the model came to be
    model           the language model, of the manifest's family
    vocabulary      a SentencePiece model
    lexicon         known words (`kbengine.lexicon`)
    emoji           names and keywords (`kbengine.emojitable`)
    filter          words that are not offered unasked (`kbengine.wordfilter`); may be missing
    ngrams          pairs and triples of pieces (`kbengine.lm.mixture`); may be missing
    trigger         whether an emoji comes, and which (`kbengine.emojimodel`); may be missing
    channel         how fingers slip, and the keyboard (`kbengine.channel`); may be missing

`manifest["parts"]` maps every other member to its sha256 and size, and names the last four only
where there are some. A part is read only up to the size given there, and handed on only when
its hash fits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kbengine.channel import ChannelModel
from kbengine.container import open_container, write_archive
from kbengine.emojimodel import EmojiModel
from kbengine.emojitable import EmojiTable
from kbengine.errors import BundleError
from kbengine.lexicon import Lexicon
from kbengine.lm.mixture import MixtureModel, NgramTable
from kbengine.lm.ngram import NgramModel
from kbengine.lm.tflite import TFLiteModel
from kbengine.memory import needed, reserve
from kbengine.protocols import LanguageModel
from kbengine.vocab import Vocabulary
from kbengine.wordfilter import NOTHING_HELD_BACK, WordFilter

FORMAT = 1
PARTS = ("model", "vocabulary", "lexicon", "emoji", "filter", "ngrams", "trigger", "channel")
OPTIONAL = frozenset({"filter", "ngrams", "trigger", "channel"})
MAX_PART_BYTES = 64 << 20
# These take many times their bytes once they are open; the shipped ones are a tenth of this.
_MOST_BYTES = {
    "vocabulary": 4 << 20, "lexicon": 8 << 20, "emoji": 1 << 20, "filter": 1 << 20,
    "ngrams": 16 << 20, "trigger": 8 << 20, "channel": 1 << 20,
}  # fmt: skip
FAMILIES: Mapping[str, Callable[[bytes], LanguageModel]] = {
    "lstm-tflite": TFLiteModel,
    "ngram": NgramModel.from_bytes,
}


class Opened(NamedTuple):
    """The parts of a bundle at work."""

    model: LanguageModel
    vocabulary: Vocabulary
    lexicon: Lexicon
    emoji: EmojiTable
    word_filter: WordFilter
    emoji_model: EmojiModel | None
    channel: ChannelModel | None


@dataclass(frozen=True)
class Bundle:
    """A bundle's manifest and the bytes of its parts, hashes checked."""

    manifest: Mapping[str, Any]
    parts: Mapping[str, bytes]
    file_bytes: int

    @property
    def name(self) -> str:
        """Name and version, as people call the model."""
        return f"{self.manifest['name']} {self.manifest['version']}"

    def open(self) -> Opened:
        """The parts at work. Raises BundleError or ModelError where one is not usable, and
        ModelError where the memory does not suffice."""
        reserve(needed(sum(map(len, self.parts.values()))))
        vocabulary = Vocabulary(self.parts["vocabulary"])
        lexicon = Lexicon.from_bytes(self.parts["lexicon"], vocabulary)
        table = EmojiTable.from_bytes(self.parts["emoji"])
        held_back = self.parts.get("filter")
        word_filter = NOTHING_HELD_BACK if held_back is None else WordFilter.from_bytes(held_back)
        model = FAMILIES[self.manifest["family"]](self.parts["model"])
        if model.vocab_size != len(vocabulary):
            raise BundleError(
                f"the model predicts {model.vocab_size} pieces but the vocabulary has "
                f"{len(vocabulary)}; build the bundle again"
            )
        if "ngrams" in self.parts:
            model = MixtureModel(model, NgramTable.from_bytes(self.parts["ngrams"]))
        trigger = self.parts.get("trigger")
        emoji_model = None if trigger is None else EmojiModel.from_bytes(trigger, len(vocabulary))
        slips = self.parts.get("channel")
        channel = None if slips is None else ChannelModel.from_bytes(slips)
        return Opened(model, vocabulary, lexicon, table, word_filter, emoji_model, channel)


def read_bundle(path: Path) -> Bundle:
    """Read and check a bundle.

    Raises BundleError where the file is missing, no bundle, of another format version,
    damaged, or of a family that this program doesn't know.
    """
    with open_container(path) as container:
        manifest = checked(path, container.manifest())
        listed = {n: facts for n, facts in manifest["parts"].items() if n in PARTS}
        parts = {n: container.read(n, facts["bytes"]) for n, facts in listed.items()}
        for name, data in parts.items():
            check_part(path, name, data, listed[name])
        return Bundle(manifest, parts, container.file_bytes)


def checked(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a bundle whose needed fields have the right types; raises BundleError."""
    if manifest["format"] != FORMAT:
        raise BundleError(
            f"{path} is of format {str(manifest['format'])[:20]}, this program reads {FORMAT}; "
            "update the one or the other"
        )
    texts = all(_is_text(manifest.get(k)) for k in ("name", "version", "language", "family"))
    texts = texts and _is_text(manifest.get("notice", ""))
    parts = manifest.get("parts")
    if not texts or not isinstance(parts, dict) or any(
        not isinstance(parts.get(name), dict)
        or type(parts[name].get("bytes")) is not int
        or not isinstance(parts[name].get("sha256"), str)
        or not 0 <= parts[name]["bytes"] <= _MOST_BYTES.get(name, MAX_PART_BYTES)
        for name in PARTS
        if name in parts or name not in OPTIONAL
    ):  # fmt: skip
        raise BundleError(f"{path}: its manifest lacks fields; fetch or build it again")
    if manifest["family"] not in FAMILIES:
        raise BundleError(
            f"{path} holds a model of the family {manifest['family'][:40]!r}, this program knows "
            f"{', '.join(FAMILIES)}; update kbengine"
        )
    return manifest


def _is_text(value: Any) -> bool:
    """Whether a value is a string that can be written somewhere: without lone surrogates."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def check_part(path: Path, name: str, data: bytes, facts: Mapping[str, Any]) -> None:
    """Raise BundleError where a part is not what its manifest says of it."""
    if len(data) != facts["bytes"] or hashlib.sha256(data).hexdigest() != facts["sha256"]:
        raise BundleError(f"{path}: part {name!r} is damaged; fetch or build it again")


def write_bundle(path: Path, manifest: Mapping[str, Any], parts: Mapping[str, bytes]) -> None:
    """Write a bundle, whole or not at all; format and parts are filled in here."""
    full = {"format": FORMAT, **manifest, "parts": described(parts)}
    write_archive(path, full, parts, deflated=True)


def described(parts: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """What a manifest says of parts."""
    return {n: {"sha256": hashlib.sha256(d).hexdigest(), "bytes": len(d)} for n, d in parts.items()}
