"""The emoji model: at every place of a text, whether an emoji comes and which, learned from the
text that the language model was trained on (`kbengine.emojimodel`).

Sources in which hardly anybody could type an emoji say nothing of them and are left out. Those
in which nearly every message holds one were chosen for that: they say which, not whether.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kbengine.emojimodel import ARRAYS, LEAST_LOGP, READ, STEPS_PER_NAT, EmojiModel, features
from kbengine.evaluate.emojis import area_under_curve
from kbengine.lm.cache import CacheModel
from kbengine.protocols import Floats, Ints, LanguageModel
from kbengine.vocab import BOS, EOS, UNK, Vocabulary
from train.progress import Progress

LEAST_SHARE, MOST_SHARE = 0.001, 0.5  # of messages with emoji; see the module's docstring
LEAST_EMOJI = 500  # in the text; fewer teach nothing
SIGNS = (".", "!", "?", ",", "...", "..", "!!", ":)", ":(", ":d", ";)", ":p", "xd")
LEAST_SEEN = 30  # places at which a piece was read; rarer ones are left out
LANES = 64  # messages read side by side
LONGEST = 120  # pieces of a message
HELD_BACK = 20  # every so many messages are for measuring


@dataclass(frozen=True)
class EmojiOptions:
    """rows, width, cells: R, D and K of `kbengine.emojimodel`. plain: messages without emoji that
    are read of a source, at most; places: the share of their places; earlier: the share of
    messages that are read after some before them."""

    rows: int = 32
    width: int = 24
    cells: int = 64
    plain: int = 12_000
    places: float = 0.34
    earlier: float = 0.5
    epochs: int = 4
    rate: float = 1e-3
    decay: float = 1e-5
    batch: int = 512
    seed: int = 1


class Places(NamedTuple):
    """P places between words. x float16[P, V']: what is read of the predictions (emoji, then
    signs); read int32[P, READ]: the last pieces of the message, 0 before them; kind int32[P]: which
    emoji comes, -1 for none; rate, which float32[P]: how much each counts for whether an emoji
    comes and for which; held bool[P]: for measuring only."""

    x: NDArray[np.float16]
    read: NDArray[np.int32]
    kind: NDArray[np.int32]
    rate: Floats
    which: Floats
    held: NDArray[np.bool_]


class _Message(NamedTuple):
    before: list[int]
    pieces: list[int]
    weight: float
    held: bool
    wanted: dict[int, tuple[int, float]]  # place -> kind of the emoji there, weight


def _messages(ids: NDArray[np.uint16]) -> list[list[int]]:
    return [part[:-1].tolist() for part in np.split(ids, np.flatnonzero(ids == EOS) + 1)[:-1]]


def _chosen(
    messages: Sequence[list[int]],
    kinds: Mapping[int, int],
    boundary: NDArray[np.bool_],
    options: EmojiOptions,
    rng: np.random.Generator,
) -> tuple[list[_Message], bool]:
    """The messages of a source that are read, and whether they say how often emoji come."""
    has = np.array([any(p in kinds for p in message) for message in messages])
    share = float(has.mean()) if len(has) else 0.0
    if share < LEAST_SHARE:
        return [], False
    natural = share < MOST_SHARE
    kept = min(1.0, options.plain / max(1, int((~has).sum()))) if natural else 0.0
    found = []
    for number, message in enumerate(messages):
        if not message or not (has[number] or rng.random() < kept):
            continue
        before: list[int] = []
        if rng.random() < options.earlier:
            for earlier in messages[max(0, number - 3) : number]:
                before += [*earlier, EOS] if earlier else []
        pieces = message[:LONGEST]
        places = 1.0 if has[number] else options.places
        weight = 1.0 if has[number] else 1.0 / (kept * options.places)
        wanted = {}
        for place, piece in enumerate([*pieces, EOS]):
            kind = kinds.get(piece, -1)
            if (place and pieces[place - 1] in kinds) or not boundary[piece]:
                continue
            if kind >= 0 or (natural and rng.random() < places):
                wanted[place] = kind, weight
        if wanted:
            held = number % HELD_BACK == 0
            found.append(_Message([BOS, *before[-60:]], pieces, weight, held, wanted))
    return found, natural


def read_places(
    model: LanguageModel,
    vocabulary: Vocabulary,
    encoded: Mapping[str, NDArray[np.uint16]],
    rates: Mapping[str, float],
    whiches: Mapping[str, float],
    options: EmojiOptions,
) -> Places | None:
    """The places of all sources by name, None where they have too few emoji. rates, whiches: how
    much a source counts for whether an emoji comes and for which, 1 where it is not named."""
    rng = np.random.default_rng(options.seed)
    kinds = {piece: i for i, piece in enumerate(vocabulary.emoji.ids.tolist())}
    read = np.concatenate([vocabulary.emoji.ids, sign_pieces(vocabulary)])
    jobs = []
    for name, ids in encoded.items():
        found, natural = _chosen(_messages(ids), kinds, vocabulary.boundary, options, rng)
        rate = rates.get(name, 1.0) if natural else 0.0
        jobs += [(message, rate, whiches.get(name, 1.0)) for message in found]
    emoji = sum(kind >= 0 for message, _, _ in jobs for kind, _ in message.wanted.values())
    if emoji < LEAST_EMOJI:
        return None
    jobs.sort(key=lambda job: len(job[0].before) + len(job[0].pieces))
    rows: list[Any] = []
    cached = CacheModel(model, vocabulary.boundary)
    with Progress("reading places", len(jobs), "message") as bar:
        for start in range(0, len(jobs), LANES):
            rows += _read(cached, jobs[start : start + LANES], read)
            bar.step(len(jobs[start : start + LANES]))
    columns = list(zip(*rows, strict=True))
    types = (np.float16, np.int32, np.int32, np.float32, np.float32, np.bool_)
    places = Places(*(np.array(c, kind) for c, kind in zip(columns, types, strict=True)))
    rate, which = places.rate.mean(), places.which.mean()
    return places._replace(rate=places.rate / max(1e-9, rate), which=places.which / which)


def sign_pieces(vocabulary: Vocabulary) -> Ints:
    """The end of a message, and those of SIGNS that are pieces."""
    signs = [vocabulary.encode_token(sign) for sign in SIGNS]
    known = [s[0] for s in signs if len(s) == 1 and s[0] > EOS]
    return np.array([EOS, *known], np.intp)


def _read(
    model: CacheModel, jobs: Sequence[tuple[_Message, float, float]], read: Ints
) -> Iterator[tuple[Any, ...]]:
    """A row of `Places` for each wanted place of some messages."""
    states = [model.start() for _ in jobs]
    paths = [message.before + message.pieces for message, _, _ in jobs]
    lasts = [len(message.before) + max(message.wanted) for message, _, _ in jobs]
    for at in range(max(lasts)):
        asked: list[int] = []
        passed: list[int] = []
        for lane, (message, _, _) in enumerate(jobs):
            if at < lasts[lane]:
                wanted = at + 1 - len(message.before) in message.wanted
                (asked if wanted else passed).append(lane)
        if passed:
            after = model.advance([paths[i][at] for i in passed], [states[i] for i in passed])
            for lane, state in zip(passed, after, strict=True):
                states[lane] = state
        if not asked:
            continue
        logp, after = model.step([paths[i][at] for i in asked], [states[i] for i in asked])
        for row, lane, state in zip(logp[:, read], asked, after, strict=True):
            states[lane] = state
            message, rate, which = jobs[lane]
            place = at + 1 - len(message.before)
            kind, weight = message.wanted[place]
            pieces = np.zeros(READ, np.int32)
            last = [piece for piece in message.pieces[:place] if piece != UNK][-READ:]
            pieces[READ - len(last) :] = last
            yield (
                np.maximum(row, LEAST_LOGP), pieces, kind, rate * weight, which * (kind >= 0),
                message.held,
            )  # fmt: skip


def fit(
    places: Places, vocabulary: Vocabulary, options: EmojiOptions
) -> tuple[EmojiModel, list[float]]:
    """The model of some places, and the loss of each epoch."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    emoji, signs = vocabulary.emoji.ids, sign_pieces(vocabulary)
    n = len(emoji)
    read = np.arange(n + len(signs))  # of `places.x`, as `features` is told

    def inputs(chosen: Ints) -> Floats:
        return features(places.x[chosen].astype(np.float32), read[:n], read[n:])

    learned = np.flatnonzero(~places.held)
    some = inputs(learned[:: max(1, len(learned) // 20_000)])
    mean, spread = some.mean(axis=0), some.std(axis=0) + 1e-2
    tf.random.set_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    w = {name: tf.Variable(v) for name, v in _start(len(mean), n, len(vocabulary), options).items()}
    batch = min(options.batch, len(learned))
    steps = max(1, options.epochs * (len(learned) // batch))
    optimizer = tf.keras.optimizers.AdamW(
        tf.keras.optimizers.schedules.CosineDecay(options.rate, steps), weight_decay=options.decay
    )

    @tf.function(reduce_retracing=True)
    def step(x, pieces, kind, rate, which):  # type: ignore[no-untyped-def]
        with tf.GradientTape() as tape:
            there = tf.cast(pieces > 0, tf.float32)
            there *= tf.cast(tf.random.uniform(tf.shape(there)) > 0.2, tf.float32)
            words = tf.gather(w["words"], pieces)
            bag = tf.einsum("bl,bld->bd", there, words)
            bag /= tf.sqrt(tf.maximum(tf.reduce_sum(there, 1, keepdims=True), 1.0))
            last = words[:, -1] * tf.cast(pieces[:, -1:] > 0, tf.float32)
            mixed = tf.nn.dropout(x, 0.1) @ w["mix"] + w["mix_bias"]
            both = tf.concat([mixed, bag, last], 1)
            cells = tf.nn.relu(both @ w["hidden"] + w["hidden_bias"])
            logit = tf.linalg.matvec(cells, w["trigger"]) + w["scalars"][0]
            raw = x[:, :n] * spread[:n] + mean[:n]
            kinds = w["scalars"][1] * raw + both @ w["kinds"] + w["kinds_bias"]
            comes = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(kind >= 0, tf.float32), logit)
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(kind, 0), kinds)
            # One nat of whether is rarer than one of which; ten to one, both learn.
            loss = 10 * tf.reduce_mean(rate * comes) + tf.reduce_mean(which * each)
        values = list(w.values())
        optimizer.apply_gradients(zip(tape.gradient(loss, values), values, strict=True))
        return loss

    losses = []
    with Progress("emoji model", steps, "step") as bar:
        for _ in range(options.epochs):
            order, found = rng.permutation(learned), []
            for at in range(0, len(order) - batch + 1, batch):
                c = order[at : at + batch]
                x = (inputs(c) - mean) / spread
                loss = step(x, places.read[c], places.kind[c], places.rate[c], places.which[c])
                found.append(float(loss))
                bar.step(1, f"loss {found[-1]:.3f}")
            losses.append(float(np.mean(found)))
    learnt = {name: value.numpy() for name, value in w.items()}
    # What the inputs were scaled by goes into the matrix that reads them.
    learnt["mix_bias"] -= (mean / spread) @ learnt["mix"]
    learnt["mix"] /= spread[:, np.newaxis]
    arrays = _quantized(learnt, places)
    arrays |= {"emoji": emoji.astype(np.uint16), "signs": signs.astype(np.uint16)}
    return EmojiModel({name: arrays[name] for name in ARRAYS}, len(vocabulary)), losses


def _start(inputs: int, emoji: int, vocab_size: int, options: EmojiOptions) -> dict[str, Any]:
    """The weights before anything is learned, by their names in `kbengine.emojimodel`."""
    import tensorflow as tf

    rows, width, cells = options.rows, options.width, options.cells
    z = rows + 2 * width
    return {
        "mix": tf.random.normal((inputs, rows), stddev=0.03),
        "mix_bias": tf.zeros(rows),
        "words": tf.random.uniform((vocab_size, width), -0.05, 0.05),
        "hidden": tf.random.normal((z, cells), stddev=0.1),
        "hidden_bias": tf.zeros(cells),
        "trigger": tf.zeros(cells),
        "kinds": tf.random.normal((z, emoji), stddev=0.03),
        "kinds_bias": tf.zeros(emoji),
        "scalars": tf.constant([-4.0, 1.0]),
    }


def _quantized(learnt: Mapping[str, Any], places: Places) -> dict[str, NDArray[Any]]:
    """The weights as `kbengine.emojimodel` has them, and how rare each emoji is."""
    arrays = {}
    seen = np.bincount(places.read.ravel(), minlength=len(learnt["words"]))
    seen[UNK] = 0
    # What was learned of a few places is chance, and zeros take no room.
    words = np.where((seen < LEAST_SEEN)[:, np.newaxis], 0.0, learnt["words"])
    for name, matrix in {**learnt, "words": words}.items():
        if matrix.ndim == 1:
            arrays[name] = matrix.astype(np.float32)
            continue
        scale = np.maximum(np.abs(matrix).max(axis=0), 1e-8) / 127
        arrays[name] = np.rint(matrix / scale).astype(np.int8).ravel()
        arrays[f"{name}_scale"] = scale.astype(np.float32)
    there = places.kind >= 0
    kinds = len(learnt["kinds_bias"])
    counts = np.bincount(places.kind[there], places.which[there], minlength=kinds)
    nats = -np.log(np.maximum(counts, 0.5) / counts.sum())
    arrays["rarity"] = np.clip(np.rint(STEPS_PER_NAT * nats), 0, 255).astype(np.uint8)
    return arrays


class Measured(NamedTuple):
    """On places held back. auc: chance that a place with an emoji gets a higher P(an emoji comes)
    than one without; top1, top5: how often the emoji that came is first, or of the first five.
    Each by the language model alone and by the emoji model; None where there was nothing to
    measure."""

    places: int
    auc: tuple[float | None, ...]
    top1: tuple[float | None, ...]
    top5: tuple[float | None, ...]


def measure(model: EmojiModel, places: Places) -> Measured:
    """How well a model does on what was held back."""
    held = np.flatnonzero(places.held)
    vocab_size = int(max(model.emoji.max(), model.signs.max())) + 1
    comes, ranks = [], []
    for i in held:
        logp = np.full(vocab_size, LEAST_LOGP, np.float32)
        logp[model.emoji] = places.x[i, : len(model.emoji)]
        logp[model.signs] = places.x[i, len(model.emoji) :]
        found = model.expect(logp, [p for p in places.read[i].tolist() if p])
        if places.rate[i] > 0:
            comes.append((places.kind[i] >= 0, found.lm_logp, found.trigger_logp))
        if places.kind[i] >= 0:
            kind = places.kind[i]
            ranks.append([int((p > p[kind]).sum()) for p in (found.lm_kinds, found.kinds)])
    y, *scores = np.array(comes or [(False, 0.0, 0.0)]).T
    rank = np.array(ranks).reshape(-1, 2)
    return Measured(
        len(held),
        tuple(area_under_curve(score, y > 0) for score in scores),
        tuple(_share(rank[:, i] < 1) for i in (0, 1)),
        tuple(_share(rank[:, i] < 5) for i in (0, 1)),
    )


def _share(hits: NDArray[np.bool_]) -> float | None:
    return float(hits.mean()) if len(hits) else None
