"""The stages from text to bundle; each reads what the one before left in the work folder.

sources.json  counts.json.gz  vocab.model       vocab
ids.npz  dev.npy  loss.png                      fit
phase1/  phase2/ ...                            fit: one folder for each phase, with
    checkpoint.npz  fit.json  log.json  loss.png
model.tflite  export.json                       export
emoji.model  emoji.json                         emoji: where the text has enough of them
channel.tsv  channel.json                       channel: without it, fingers do not slip
OUT.bundle  OUT.md                              bundle
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kbengine.channel import ChannelModel
from kbengine.emojimodel import EmojiModel
from kbengine.lm.tflite import TFLiteModel
from kbengine.text import is_word
from kbengine.vocab import BOS, Vocabulary
from kbengine.wordfilter import WordFilter
from train import bundle, corpus, recipe
from train.checkpoint import CHECKPOINT, read_best
from train.corpus import LIMITS_OWN, NOTICE_OWN, Counts, Source, Text
from train.emoji_table import build_emoji_table, read_said
from train.files import write_json, write_whole
from train.lexicon import WordList, build_lexicon, pair_counts
from train.ngrams import build as build_ngrams
from train.presets import Preset
from train.vocab import train_vocabulary

if TYPE_CHECKING:
    from train.emoji import Measured  # loads TensorFlow
    from train.fit import Fit

DEV_EVERY = 20  # without dev files, every 20th stretch of the text is held back
# Real steps over which the exported model is compared, in so many stretches evenly over the dev
# text, which is one source after the other; 600 steps are off by x1.003.
EXPORT_STEPS = 6000
EXPORT_STRETCHES = 24
EMOJI_MODEL = "emoji.model"
CHANNEL = "channel.tsv"
JUDGED_PIECES = 3000  # of dev text, by which the loudness of cells is judged


def _need(path: Path, verb: str) -> Path:
    if not path.exists():
        raise ValueError(f"{path} is missing; run `python -m train {verb}` with this --work first")
    return path


def read_text(work: Path) -> Text:
    """The text of an earlier `vocab` in this folder."""
    saved = json.loads(_need(work / "sources.json", "vocab").read_text(encoding="utf-8"))
    rows = [Source(Path(r["path"]), r["weight"], r["licence"]) for r in saved["sources"]]
    return Text(rows, saved["notice"])


def goes_on(work: Path, text: Text) -> bool:
    """Whether a run on this text stands in the folder already.

    Raises ValueError where a run on another text does.
    """
    if not (work / "vocab.model").exists():
        return False
    saved = json.loads(_need(work / "sources.json", "vocab").read_text(encoding="utf-8"))
    if saved != text.to_json():
        raise ValueError(f"{work} holds a run on other text; give another --work, or remove it")
    return True


def best_row(log: Sequence[dict[str, float]]) -> dict[str, float]:
    """The evaluation whose weights are kept."""
    return min(log, key=lambda row: row["dev_alone"] + row["dev_talk"])


def make_vocabulary(work: Path, text: Text, preset: Preset) -> Vocabulary:
    """Count the text and train the vocabulary."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "vocab.model").unlink(missing_ok=True)
    write_json(work / "sources.json", text.to_json())
    counts = corpus.count(text.sources)
    counts.save(work / "counts.json.gz")
    model = train_vocabulary(counts.tokens, preset.vocabulary)
    write_whole(work / "vocab.model", model)  # last: that it is there says that all is
    return Vocabulary(model)


def encoded_text(work: Path) -> list[NDArray[np.uint16]]:
    """The pieces of all sources, from ids.npz where that fits text and vocabulary."""
    sources = read_text(work).sources
    model = _need(work / "vocab.model", "vocab").read_bytes()
    key = hashlib.sha256(model + (work / "sources.json").read_bytes()).hexdigest()
    path = work / "ids.npz"
    if path.exists():
        with np.load(path) as saved:
            if "key" in saved.files and str(saved["key"]) == key:
                return [saved[str(i)] for i in range(len(sources))]
    found = corpus.encode(sources, model)
    arrays: dict[str, Any] = {str(i): ids for i, ids in enumerate(found)}
    partial = path.with_suffix(".part.npz")
    np.savez(partial, key=np.array(key), **arrays)
    os.replace(partial, path)
    return found


def dev_text(
    work: Path, encoded: list[NDArray[np.uint16]], files: Sequence[Path], stretch: int, lines: int
) -> tuple[list[NDArray[np.uint16]], NDArray[np.uint16]]:
    """Training pieces and dev pieces: of dev files (`lines` of each at most), or held back."""
    if files:
        vocabulary = Vocabulary((work / "vocab.model").read_bytes())
        found = [corpus.encode_lines(corpus.read_messages(f), vocabulary, lines) for f in files]
        if not any(len(ids) for ids in found):
            raise ValueError("the dev files hold no text; give files with a message a line")
        return encoded, np.concatenate(found)
    train, dev = [], []
    for ids in encoded:
        parts = corpus.blocks(ids, stretch)
        dev += parts[DEV_EVERY // 2 :: DEV_EVERY]
        kept = [p for i, p in enumerate(parts) if i % DEV_EVERY != DEV_EVERY // 2]
        train.append(np.concatenate(kept) if kept else ids[:0])
    if not dev:
        raise ValueError("the text is too short to hold some back; give dev text with --dev FILES")
    return train, np.concatenate(dev)


def phase_folders(work: Path) -> list[Path]:
    """The folders of the phases that have begun, in order.

    Raises ValueError where none has.
    """
    found = [_need(work / "phase1" / CHECKPOINT, "fit").parent]
    while (folder := work / f"phase{len(found) + 1}").joinpath(CHECKPOINT).exists():
        found.append(folder)
    return found


def fit(work: Path, preset: Preset, dev_files: Sequence[Path], dev_lines: int) -> dict[str, Any]:
    """Train, or go on training, phase by phase; the last one's log row of the best dev loss.

    A phase that has finished is not run again. Raises ValueError where the folder holds a
    run with other settings, before anything is trained.
    """
    from train.fit import Fit, plot_log, read_facts
    from train.model import ModelOptions

    sources = read_text(work).sources
    # One cut for all phases: what is dev text for one is not trained on by another.
    stretch = preset.phases[0].fit.stretch
    encoded, dev = dev_text(work, encoded_text(work), dev_files, stretch, dev_lines)
    vocabulary = Vocabulary((work / "vocab.model").read_bytes())
    plans = [
        (
            work / f"phase{number}",
            ModelOptions(len(vocabulary), phase.width, phase.cells),
            phase.fit,
            phase.weights_of(sources),
        )
        for number, phase in enumerate(preset.phases, 1)
    ]
    found = [read_facts(*plan) for plan in plans]
    np.save(work / "dev.npy", dev)
    for i, ((folder, shape, options, weights), facts) in enumerate(zip(plans, found, strict=True)):
        last = i == len(plans) - 1  # which may go on with more pieces
        if facts is not None and facts.get("finished", False) and not last:
            continue
        before = read_best(plans[i - 1][0] / CHECKPOINT)[0] if i else None
        run = Fit(folder, shape, options, encoded, weights, dev, before)
        settings = {**asdict(options), **asdict(shape), "weights": weights}
        write_json(folder / "fit.json", settings)
        _run_till_stopped(run)
    plot_log(_one_after_another(plan[0] for plan in plans), work / "loss.png")
    return best_row(run.log)


def _one_after_another(folders: Iterable[Path]) -> list[dict[str, float]]:
    """The logs of all phases as one, pieces counted on."""
    rows: list[dict[str, float]] = []
    for folder in folders:
        before = rows[-1]["pieces"] if rows else 0
        log = json.loads(_need(folder / "log.json", "fit").read_text())
        rows += [{**row, "pieces": before + row["pieces"]} for row in log]
    return rows


def _run_till_stopped(run: Fit) -> None:
    """Run it to its end. A signal makes it save and stop: raises KeyboardInterrupt."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in kept:
        signal.signal(number, lambda *_: setattr(run, "stop", True))
    try:
        run.run()
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if run.stop:
        raise KeyboardInterrupt


def export(work: Path) -> dict[str, Any]:
    """Convert the best weights and compare them; model.tflite is written only if it is true."""
    from train.export import export as export_model
    from train.fit import load_best

    phases = phase_folders(work)
    model, facts = load_best(phases[-1])
    dev = np.load(_need(work / "dev.npy", "fit"))
    judged = np.concatenate([[BOS], dev[:JUDGED_PIECES]]).astype(np.int64)
    compared = spread_out(dev, EXPORT_STEPS, EXPORT_STRETCHES)
    found = {
        **asdict(export_model(model, judged, compared, work / "model.tflite")),
        "phase": len(phases),
        "step": best_row(facts["log"])["step"],
    }
    write_json(work / "export.json", found)
    (work / EMOJI_MODEL).unlink(missing_ok=True)  # it reads the predictions of another model
    return found


def spread_out(dev: NDArray[np.uint16], most: int, stretches: int) -> NDArray[np.int64]:
    """About `most` pieces of a text in stretches evenly over it, each with the start before it."""
    parts = [part[: most // stretches] for part in np.array_split(dev, stretches)]
    return np.concatenate([piece for part in parts for piece in ([BOS], part)]).astype(np.int64)


def emoji(work: Path) -> Measured | None:
    """Train the emoji model on the text of the language model; None, and no file, where the text
    has too few emoji."""
    from train.emoji import EmojiOptions, fit, measure, read_places

    vocabulary = Vocabulary((work / "vocab.model").read_bytes())
    model = TFLiteModel(_need(work / "model.tflite", "export").read_bytes())
    names = [source.name for source in read_text(work).sources]
    encoded = dict(zip(names, encoded_text(work), strict=True))
    options = EmojiOptions()
    (work / EMOJI_MODEL).unlink(missing_ok=True)
    places = read_places(
        model, vocabulary, encoded, recipe.EMOJI_RATES, recipe.EMOJI_KINDS, options
    )
    if places is None:
        return None
    found, losses = fit(places, vocabulary, options)
    measured = measure(found, places)
    facts = {**asdict(options), "losses": losses, **measured._asdict()}
    write_json(work / "emoji.json", facts)
    write_whole(work / EMOJI_MODEL, found.to_bytes())
    return measured


def make_bundle(
    work: Path,
    out: Path,
    preset: Preset,
    names: Mapping[str, str],
    cldr: Path | None,
    word_filter: WordFilter | None = None,
    results: Sequence[Path] = (),
    words: Sequence[Path] = (),
) -> Path:
    """Put all parts in one file. `names`: the manifest's name, language and version; results:
    files for the card, see `train.sizes.read_results`; words: lists of right words, see
    `train.lexicon`."""
    lists = [WordList.read(path) for path in words]
    measured = bundle.measured(results)
    counts = Counts.load(_need(work / "counts.json.gz", "vocab"))
    vocabulary_model = _need(work / "vocab.model", "vocab").read_bytes()
    vocabulary = Vocabulary(vocabulary_model)
    model = _need(work / "model.tflite", "export").read_bytes()
    training = _training(work, counts)
    encoded, weights = encoded_text(work), [source.weight for source in read_text(work).sources]
    pairs = pair_counts(encoded, weights, vocabulary)
    lexicon = build_lexicon(
        counts, vocabulary, preset.lexicon_size, preset.lexicon_least, lists, pairs
    )
    own = bundle.DATA / names["language"] / "emoji.tsv"
    table = build_emoji_table(cldr, read_said(own) if own.exists() else {})
    ngrams = None  # of all the text, with what a run without dev files held back
    if preset.ngrams is not None:
        ngrams = build_ngrams(encoded, len(vocabulary), preset.ngrams, weights)
    emoji_model, facts = None, work / "emoji.json"
    if (work / EMOJI_MODEL).exists():
        emoji_model = EmojiModel.from_bytes((work / EMOJI_MODEL).read_bytes(), len(vocabulary))
        training["training"]["emoji_model"] = json.loads(facts.read_text())
    slips = work / CHANNEL
    channel = ChannelModel.from_bytes(slips.read_bytes()) if slips.exists() else None
    letters = sorted({c for t in vocabulary.first_letters.texts for c in t if c.isalpha()})
    notice = read_text(work).notice
    manifest = {
        **names,
        "family": "lstm-tflite",
        "notice": notice,
        "limits": LIMITS_OWN if notice == NOTICE_OWN else recipe.LIMITS,
        "words": len(lexicon),
        "emoji": len(table),
        "filtered": len(word_filter or ()),
        "ngrams": len(ngrams or ()),
        "letters": "".join(letters),
        "emoji_sources": bundle.EMOJI_NAMES + (bundle.EMOJI_CLDR if cldr else ""),
        **training,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    bundle.write(
        out, manifest, model, vocabulary_model, lexicon, table, word_filter, ngrams, emoji_model,
        channel, measured,
    )  # fmt: skip
    return out


def _training(work: Path, counts: Counts) -> dict[str, Any]:
    """How the model came to be, and its figures, for the manifest.

    Raises ValueError where the exported model is not that of the log.
    """
    exported = json.loads(_need(work / "export.json", "export").read_text())
    phases, weights = [], []
    for folder in phase_folders(work):
        settings = json.loads(_need(folder / "fit.json", "fit").read_text())
        log = json.loads(_need(folder / "log.json", "fit").read_text())
        best = best_row(log)
        hours = sum(row["seconds"] for row in log) / 3600
        weights.append(settings.pop("weights"))
        phases.append({**settings, "pieces seen": log[-1]["pieces"], "hours": round(hours, 2)})
    if (exported["phase"], exported["step"]) != (len(phases), best["step"]):
        raise ValueError(
            f"{work}: the model was exported at step {exported['step']} of phase "
            f"{exported['phase']}, the best weights are of step {best['step']} of phase "
            f"{len(phases)}; run `python -m train export` first"
        )
    sources = [
        {
            "name": s.path.name,
            "weight": s.weight,
            "phase_weights": list(by_phase),
            "licence": s.licence,
            "words": words,
        }
        for s, words, *by_phase in zip(read_text(work).sources, counts.words, *weights, strict=True)
    ]
    settings = {
        "pieces seen": sum(phase["pieces seen"] for phase in phases),
        "hours": round(sum(phase["hours"] for phase in phases), 2),
        "words, times their weight in phase 1": round(
            sum(n for t, n in counts.tokens.items() if is_word(t))
        ),
    }
    figures = {
        "dev loss, message alone": round(best["dev_alone"], 4),
        "dev loss, in a conversation": round(best["dev_talk"], 4),
        "perplexity, int8 / float": round(exported["perplexity"], 4),
        "steps with the same best piece, int8 and float": round(exported["top1"], 4),
        "emoji a word in the text": round(bundle.emoji_rate(counts), 4),
    }
    training = {"sources": sources, "settings": settings, "phases": phases}
    return {"training": training, "figures": figures}
