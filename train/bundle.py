"""Counts, vocabulary, step model and emoji tables -> one bundle, with its model card."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kbengine import text
from kbengine.bundle import write_bundle
from kbengine.emojitable import EmojiTable
from kbengine.lexicon import Entry, Lexicon, unigram_logp
from kbengine.vocab import Vocabulary
from train.corpus import Counts

# A spelling other than lower case is shown where more than this share of a word's uses
# inside sentences has it, and it was seen at least so often.
WRITTEN_SHARE = 0.6  # see "Casing" in EXPERIMENTS.md
WRITTEN_COUNT = 3.0
EMOJI_NAMES = "Names of emoji are those of the `emoji` package (BSD 3-Clause)."
EMOJI_CLDR = (
    " Keywords are from Unicode CLDR (Unicode License v3, "
    "copyright 1991-present Unicode, Inc. and others)."
)
# Two words that were typed without the space between: don'tmind, i'mgoing.
RUN_ON_RE = re.compile(r"(?:n't|i'm|'ve|'re|'ll)[a-z]")


def written_forms(casings: Mapping[str, float]) -> dict[str, str]:
    """Words in lower case -> how they are mostly written, where that is another casing."""
    by_word: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for form, n in casings.items():
        by_word[form.lower()][form] = n
    chosen = {}
    for word, forms in by_word.items():
        best = max(forms, key=lambda form: (forms[form], form))
        often = forms[best] >= WRITTEN_COUNT and forms[best] > WRITTEN_SHARE * sum(forms.values())
        if best != word and often:
            chosen[word] = best
    return chosen


def build_lexicon(counts: Counts, vocabulary: Vocabulary, size: int, least: float) -> Lexicon:
    """The commonest `size` words that were counted at least `least` times."""
    words = {t: n for t, n in counts.tokens.items() if text.is_word(t) and not RUN_ON_RE.search(t)}
    total = sum(words.values())
    written = written_forms(counts.casings)
    commonest = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:size]
    chosen = [(word, n) for word, n in commonest if n >= least]
    return Lexicon.build(
        (Entry(word, unigram_logp(n, total), written.get(word, word)) for word, n in chosen),
        vocabulary,
    )


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
) -> None:
    """Write the bundle, and beside it the model card, `path` with the ending .md."""
    write_bundle(
        path,
        manifest,
        {
            "model": model,
            "vocabulary": vocabulary_model,
            "lexicon": lexicon.to_bytes(),
            "emoji": table.to_bytes(),
        },
    )
    path.with_suffix(".md").write_text(model_card(manifest, path), encoding="utf-8")


def _unspelt(manifest: Mapping[str, Any]) -> str:
    letters = manifest["letters"]
    return f"It spells the letters {letters} and no others; a word with another is unknown to it."


def model_card(manifest: Mapping[str, Any], path: Path) -> str:
    """What the model is, what it was trained on and how, what follows from that."""
    training = manifest["training"]
    rows = "\n".join(
        f"| {s['name']} | {s['words']:,} | {s['weight']:g} | {s['licence']} |"
        for s in training["sources"]
    )
    figures = "\n".join(f"| {name} | {value} |" for name, value in manifest["figures"].items())
    settings = "\n".join(f"- {name}: {value}" for name, value in training["settings"].items())
    return f"""# {path.name}: {manifest["name"]} {manifest["version"]}

{manifest["notice"]}

Language: {manifest["language"]}. Family: {manifest["family"]}. Known words: \
{manifest["words"]:,}. Emoji by name: {manifest["emoji"]:,}.

## Text

| source | words | weight | licence as stated |
|---|---:|---:|---|
{rows}

The weight says how often a source's lines stand in one pass over the text.

## Training

{settings}

## Emoji

{manifest["emoji_sources"]}

## Figures

| | |
|---|---|
{figures}

Dev losses are nats a piece, with signs, emoji and message ends counted.

## Limits

The model writes as its sources do: casual American English of the years before 2018, and
where it is given text messages, those of Singapore and India. Names, places and opinions of
the sources are in it. It may suggest words that hurt or embarrass; nothing is filtered yet.
{_unspelt(manifest)}
"""
