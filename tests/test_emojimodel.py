"""The emoji model against its formulas; what it reads; the arrays that it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbengine.arrays import dump_arrays, load_arrays
from kbengine.emojimodel import (
    ARRAYS,
    LEAST_LOGP,
    READ,
    EmojiModel,
    Expected,
    TriggerOptions,
    by_language_model,
    features,
)
from kbengine.errors import BundleError
from kbengine.protocols import Floats
from kbengine.vocab import UNK
from tests.toys import toy_emoji_model, toy_vocabulary

V = len(toy_vocabulary())
EMOJI = toy_emoji_model().emoji
WORDS = np.setdiff1d(np.arange(UNK + 1, V), EMOJI).tolist()
FLOATS = [name for name, kind in ARRAYS.items() if kind == "f4"]
PLAIN = TriggerOptions()

seeds = st.integers(0, 2**31)
messages = st.lists(st.integers(0, V - 1), max_size=READ + 12)
before_words = st.lists(st.sampled_from([UNK, *WORDS]), max_size=READ + 12)


def prediction(seed: int) -> Floats:
    """What a language model may say: some likely, some next to impossible."""
    raw = np.random.default_rng(seed).normal(scale=6, size=V)
    logp: Floats = (raw - np.logaddexp.reduce(raw)).astype(np.float32)
    return logp


def arrays(**changes: Any) -> dict[str, Any]:
    return load_arrays(toy_emoji_model().to_bytes(), ARRAYS) | changes


def model(options: TriggerOptions, **changes: Any) -> EmojiModel:
    return EmojiModel(arrays(**changes), V, options)


def log_odds(found: Expected) -> float:
    return found.trigger_logp - found.other_logp


def assert_alike(one: Expected, other: Expected) -> None:
    for a, b in zip(one, other, strict=True):
        assert np.array_equal(np.asarray(a), np.asarray(b))


# What is expected


@given(seeds, messages)
def test_what_is_expected_are_probabilities(seed: int, message: list[int]) -> None:
    found = toy_emoji_model().expect(prediction(seed), message)
    assert math.isclose(math.exp(found.trigger_logp) + math.exp(found.other_logp), 1)
    for kinds in (found.kinds, found.lm_kinds):
        assert len(kinds) == len(EMOJI)
        assert math.isclose(float(np.exp(kinds.astype(float)).sum()), 1, abs_tol=1e-5)


@given(seeds, before_words)
def test_it_is_the_formulas_of_its_docstring(seed: int, message: list[int]) -> None:
    options = TriggerOptions(0.8, -0.3, 9.0, 9.0, 1.3)
    logp, a = prediction(seed), {name: array.astype(float) for name, array in arrays().items()}
    r, d = len(a["mix_scale"]), len(a["words_scale"])
    k, n = len(a["hidden_scale"]), len(EMOJI)

    def matrix(name: str, columns: int) -> np.ndarray:
        scaled: np.ndarray = a[name].reshape(-1, columns) * a[f"{name}_scale"]
        return scaled

    read = np.maximum(logp.astype(float), LEAST_LOGP)
    any_emoji = np.logaddexp.reduce(read[EMOJI])
    signs = read[arrays()["signs"]]
    x = np.concatenate([read[EMOJI] - any_emoji, [any_emoji], signs])
    pieces = matrix("words", d)[[p for p in message[-READ:] if p != UNK]]
    bag = pieces.sum(axis=0) / math.sqrt(len(pieces)) if len(pieces) else np.zeros(d)
    last = pieces[-1] if len(pieces) else np.zeros(d)
    z = np.concatenate([x @ matrix("mix", r) + a["mix_bias"], bag, last])
    t0, s = a["scalars"]
    cells = np.maximum(0, z @ matrix("hidden", k) + a["hidden_bias"])
    odds = options.slope * (cells @ a["trigger"] + t0) + options.shift
    raw = (s * x[:n] + z @ matrix("kinds", n) + a["kinds_bias"]) / options.temperature
    found = model(options).expect(logp, message)
    assert math.isclose(math.exp(found.trigger_logp), 1 / (1 + math.exp(-odds)), rel_tol=1e-3)
    assert np.allclose(found.kinds, raw - np.logaddexp.reduce(raw), atol=1e-3)
    alone = np.logaddexp.reduce(logp[EMOJI].astype(float))
    assert math.isclose(found.lm_logp, min(alone, -1e-6), abs_tol=1e-4)
    assert np.allclose(found.lm_kinds, logp[EMOJI] - alone, atol=1e-4)


@given(seeds, messages, st.sampled_from(EMOJI.tolist()))
def test_right_after_an_emoji_which_is_left_to_the_language_model(
    seed: int, message: list[int], emoji: int
) -> None:
    logp = prediction(seed)
    options = TriggerOptions(3.0, 4.0, 0.6, -0.9, 2.0)
    found = model(options).expect(logp, [*message, emoji])
    alone = by_language_model(logp, EMOJI)
    assert np.array_equal(found.kinds, alone.kinds)
    assert math.isclose(log_odds(found), 0.6 * log_odds(alone) - 0.9, abs_tol=1e-6)


def test_elsewhere_slope_shift_and_temperature_act() -> None:
    logp, message = prediction(3), WORDS[:4]
    plain = model(PLAIN).expect(logp, message)
    moved = model(TriggerOptions(2.0, -1.0, 5.0, 5.0)).expect(logp, message)
    assert math.isclose(log_odds(moved), 2 * log_odds(plain) - 1, abs_tol=1e-6)
    assert np.array_equal(moved.kinds, plain.kinds)
    warm = model(TriggerOptions(temperature=2.0)).expect(logp, message)
    assert np.allclose(np.diff(warm.kinds), np.diff(plain.kinds) / 2, atol=1e-4)
    assert log_odds(warm) == log_odds(plain)


def test_a_vocabulary_without_emoji_expects_none() -> None:
    found = by_language_model(prediction(1), np.zeros(0, np.intp))
    assert (found.trigger_logp, found.other_logp, len(found.kinds)) == (-math.inf, 0.0, 0)


# What is read


@given(seeds, before_words, st.lists(st.sampled_from(WORDS), min_size=READ, max_size=READ))
def test_only_the_last_pieces_are_read(seed: int, before: list[int], last: list[int]) -> None:
    logp, emoji = prediction(seed), toy_emoji_model()
    assert_alike(emoji.expect(logp, [*before, *last]), emoji.expect(logp, last))


def test_the_first_of_the_last_pieces_is_read() -> None:
    logp, emoji = prediction(2), toy_emoji_model()
    one, other = ([word, *[WORDS[9]] * (READ - 1)] for word in WORDS[:2])
    assert not np.array_equal(emoji.expect(logp, one).kinds, emoji.expect(logp, other).kinds)


@given(seeds, st.lists(st.sampled_from([UNK, UNK, *WORDS[:9]]), max_size=READ))
def test_unknown_pieces_are_left_out(seed: int, message: list[int]) -> None:
    logp, emoji = prediction(seed), toy_emoji_model()
    known = [piece for piece in message if piece != UNK]
    assert_alike(emoji.expect(logp, message), emoji.expect(logp, known))


@given(st.lists(seeds, min_size=1, max_size=5))
def test_the_features_of_a_row_are_its_own(rows: list[int]) -> None:
    signs = toy_emoji_model().signs
    logp = np.stack([prediction(seed) for seed in rows])
    together = features(logp, EMOJI, signs)
    assert together.shape == (len(rows), len(EMOJI) + 1 + len(signs))
    for row, found in zip(logp, together, strict=True):
        assert np.allclose(features(row[np.newaxis], EMOJI, signs)[0], found, atol=1e-5)


def test_what_is_next_to_impossible_says_no_more_than_the_least() -> None:
    signs = toy_emoji_model().signs
    least = np.full((1, V), LEAST_LOGP, np.float32)
    less, more = least * np.float32(9), least / np.float32(9)
    assert np.array_equal(features(less, EMOJI, signs), features(least, EMOJI, signs))
    assert not np.array_equal(features(more, EMOJI, signs), features(least, EMOJI, signs))


# On disk


@given(seeds, messages)
def test_a_model_is_written_and_read(seed: int, message: list[int]) -> None:
    again = EmojiModel.from_bytes(toy_emoji_model().to_bytes(), V)
    assert again.to_bytes() == toy_emoji_model().to_bytes()
    logp = prediction(seed)
    assert_alike(again.expect(logp, message), toy_emoji_model().expect(logp, message))


def refused(broken: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        EmojiModel(broken, V)
    with pytest.raises(BundleError, match=why):
        EmojiModel.from_bytes(dump_arrays(broken), V)


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_of_another_size_is_refused(name: str) -> None:
    whole = arrays()[name]
    for other in (whole[:-1], np.append(whole, whole[:1]), whole[:0]):
        refused(arrays(**{name: other}), "do not fit together")


@pytest.mark.parametrize("name", ARRAYS)
def test_a_missing_array_is_refused(name: str) -> None:
    left = {other: array for other, array in arrays().items() if other != name}
    with pytest.raises(BundleError, match="other arrays"):
        EmojiModel.from_bytes(dump_arrays(left), V)


@pytest.mark.parametrize("name", ["emoji", "signs"])
def test_pieces_of_another_vocabulary_are_refused(name: str) -> None:
    outside = arrays()[name].copy()
    outside[-1] = V
    refused(arrays(**{name: outside}), "none of the vocabulary")


@pytest.mark.parametrize("size", [V - 1, V + 1])
def test_another_vocabulary_is_refused(size: int) -> None:
    with pytest.raises(BundleError, match="vocabulary is another"):
        EmojiModel.from_bytes(toy_emoji_model().to_bytes(), size)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", FLOATS)
def test_weights_that_are_no_numbers_are_refused(name: str, value: float) -> None:
    broken = arrays()[name].copy()
    broken[0] = value
    refused(arrays(**{name: broken}), "no numbers")


def test_a_model_of_no_emoji_is_refused() -> None:
    whole = arrays()
    rows, signs = len(whole["mix_scale"]), len(whole["signs"])
    of_emoji = ("emoji", "rarity", "kinds", "kinds_scale", "kinds_bias")
    none = {name: whole[name][:0] for name in of_emoji}
    refused(arrays(**none, mix=whole["mix"][: (1 + signs) * rows]), "do not fit together")


def assert_refused_or_finite(data: bytes) -> None:
    try:
        read = EmojiModel.from_bytes(data, V)
    except BundleError:
        return
    for message in (WORDS[:0], WORDS[:3]):
        found = read.expect(prediction(1), message)
        assert np.isfinite(found.kinds).all()
        assert not math.isnan(found.trigger_logp + found.other_logp)


@pytest.mark.parametrize("name", FLOATS)
def test_an_enormous_weight_is_refused_or_does_no_harm(name: str) -> None:
    for value in (3e38, -3e38):
        broken = arrays()[name].copy()
        broken[:] = value
        assert_refused_or_finite(dump_arrays(arrays(**{name: broken})))


@given(seeds)
@settings(max_examples=300)
def test_broken_bytes_are_refused_or_do_no_harm(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(toy_emoji_model().to_bytes())
    for _ in range(rng.integers(1, 4)):
        data[rng.integers(len(data))] = rng.integers(256)
    assert_refused_or_finite(bytes(data[: rng.integers(len(data) - 1, len(data) + 9)]))
