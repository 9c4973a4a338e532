"""Counts, vocabulary, step model and emoji tables -> one bundle, with its model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kbengine import text
from kbengine.bundle import write_bundle
from kbengine.channel import ChannelModel
from kbengine.emojimodel import EmojiModel
from kbengine.emojitable import EmojiTable
from kbengine.lexicon import Lexicon
from kbengine.lm.mixture import NgramTable
from kbengine.wordfilter import WordFilter
from train.corpus import Counts
from train.lexicon import written_forms as written_forms  # tests/toys.py reads it here
from train.sizes import read_results

DATA = Path(__file__).parent.parent / "data"
EMOJI_NAMES = "Names of emoji are those of the `emoji` package (BSD 3-Clause)."
EMOJI_CLDR = (
    " Keywords are from Unicode CLDR (Unicode License v3, "
    "copyright 1991-present Unicode, Inc. and others)."
)


def read_filter(path: Path | None, language: str) -> WordFilter | None:
    """The words not to be offered unasked: of a file, or the project's own of a language,
    None where it has none. Raises BundleError where the file is no such list."""
    own = DATA / language / "filter.tsv"
    if path is None and not own.exists():
        return None
    if path is not None and not path.is_file():
        raise ValueError(f"{path}: no such file; give a list of words as data/en/filter.tsv is one")
    return WordFilter.from_bytes((path or own).read_bytes())


def emoji_rate(counts: Counts) -> float:
    """Emoji for each word of the text."""
    emoji = sum(n for t, n in counts.tokens.items() if text.is_emoji(t))
    words = sum(n for t, n in counts.tokens.items() if text.is_word(t))
    return emoji / max(1.0, words)


def write(
    path: Path,
    manifest: Mapping[str, Any],
    model: bytes,
    vocabulary_model: bytes,
    lexicon: Lexicon,
    table: EmojiTable,
    word_filter: WordFilter | None,
    ngrams: NgramTable | None,
    emoji_model: EmojiModel | None = None,
    channel: ChannelModel | None = None,
    measured: str = "",
) -> None:
    """Write the bundle, and beside it the model card, `path` with the ending .md. measured: a table
    for the card."""
    parts = {
        "model": model,
        "vocabulary": vocabulary_model,
        "lexicon": lexicon.to_bytes(),
        "emoji": table.to_bytes(),
    }
    if word_filter is not None:
        parts["filter"] = word_filter.to_bytes()
    if ngrams is not None:
        parts["ngrams"] = ngrams.to_bytes()
    if emoji_model is not None:
        parts["trigger"] = emoji_model.to_bytes()
    if channel is not None:
        parts["channel"] = channel.to_bytes()
    write_bundle(path, manifest, parts)
    path.with_suffix(".md").write_text(model_card(manifest, path, measured), encoding="utf-8")


def _filtered(manifest: Mapping[str, Any]) -> str:
    entries = manifest["filtered"]
    held_back = f"those of a list of {entries:,} are not offered unasked, the others are"
    return held_back if entries else "nothing is filtered"


def _unspelt(manifest: Mapping[str, Any]) -> str:
    letters = manifest["letters"]
    return f"It spells the letters {letters} and no others; a word with another is unknown to it."


def _weights(source: Mapping[str, Any]) -> str:
    """A source's weight, or those of all phases where they differ."""
    weights = source["phase_weights"]
    return ", ".join(f"{w:g}" for w in (weights if len(set(weights)) > 1 else weights[:1]))


def _written(value: Any) -> str:
    """A setting as one reads it."""
    whole = isinstance(value, float) and value >= 1 and value == int(value)
    return f"{int(value):,}" if whole else str(value)


def _phases(phases: Sequence[Mapping[str, Any]]) -> str:
    """A table with a column for each phase."""
    head = "".join(f" phase {number} |" for number in range(1, len(phases) + 1))
    rows = [
        f"| {name} | " + " | ".join(_written(phase[name]) for phase in phases) + " |"
        for name in phases[0]
    ]
    rule = "|---|" + "---:|" * len(phases)
    after = "\n\nA later phase begins with the best weights of the one before."
    return "\n".join([f"| |{head}", rule, *rows]) + (after if len(phases) > 1 else "")


def _emoji_model(facts: Mapping[str, Any] | None) -> str:
    """What is told of the emoji model, nothing where there is none."""
    if facts is None:
        return ""
    names = {"auc": "AUC of whether one comes", "top1": "right at once", "top5": "among five"}
    told = [
        f"{name} {facts[key][0]:.3f} by the language model, {facts[key][1]:.3f} by the emoji model"
        for key, name in names.items()
        if None not in facts[key]
    ]
    return (
        f"\n\nWhether an emoji comes, and which, is said by a small network over the language "
        f"model's prediction and the words of the message ({facts['rows']} rows, {facts['width']} "
        f"columns a piece, {facts['cells']} hidden cells; {facts['epochs']} epochs over the "
        f"sources in which people send emoji). On messages held back: {'; '.join(told)}. The "
        "language model has read these messages, so it does better on them than on others."
    )


def measured(results: Sequence[Path]) -> str:
    """The keystrokes saved and times of result files as a table for a card.

    Raises ValueError where a file is no result.
    """
    if not results:
        return ""
    rows = sorted(
        f"| {text.name} | {text.lines:,} | {text.earlier} | {text.k} | {100 * found.ksr:.1f} "
        f"| {found.p50_ms:.2f} |"
        for path in results
        for text, found in read_results(path).items()
    )
    head = (
        "| text | lines | earlier messages | candidates | keystrokes saved, % | key press, ms p50 |"
    )
    return "\n".join(["", head, "|---|---:|---:|---:|---:|---:|", *rows, ""])


def model_card(manifest: Mapping[str, Any], path: Path, measured: str = "") -> str:
    """What the model is, what it was trained on and how, what follows from that."""
    training = manifest["training"]
    rows = "\n".join(
        f"| {s['name']} | {s['words']:,} | {_weights(s)} | {s['licence']} |"
        for s in training["sources"]
    )
    figures = "\n".join(f"| {name} | {value} |" for name, value in manifest["figures"].items())
    settings = "\n".join(f"- {name}: {value}" for name, value in training["settings"].items())
    return f"""# {path.name}: {manifest["name"]} {manifest["version"]}

{manifest["notice"]}

Language: {manifest["language"]}. Family: {manifest["family"]}. Known words: \
{manifest["words"]:,}. Emoji by name: {manifest["emoji"]:,}. N-grams of pieces beside the network: \
{manifest["ngrams"]:,}.

## Text

| source | words | weight | licence as stated |
|---|---:|---:|---|
{rows}

The weight says how often a source's lines stand in one pass over the text; where there are
several, each is that of a phase. Vocabulary, known words and n-grams are counted with the first.

## Training

{_phases(training["phases"])}

{settings}

## Emoji

{manifest["emoji_sources"]}{_emoji_model(training.get("emoji_model"))}

## Figures

| | |
|---|---|
{figures}

Dev losses are nats a piece, with signs, emoji and message ends counted.
{measured}
## Limits

{manifest["limits"]}

It knows words that hurt or embarrass: {_filtered(manifest)}.
{_unspelt(manifest)}
"""
