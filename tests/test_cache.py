"""The cache against its formula, piece by piece."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import kbengine
from kbengine.lm.cache import CacheModel, CacheOptions, CacheState
from kbengine.lm.ngram import NgramModel
from kbengine.vocab import BOS, EOS, UNK

SIZE = 12
BASE = NgramModel.fit([[BOS, 5, 6, 7, EOS], [BOS, 6, 5, 9, 10, EOS]], 3, SIZE)
INSIDE = (7, 9)
BOUNDARY = ~np.isin(np.arange(SIZE), INSIDE)
MODEL = CacheModel(BASE, BOUNDARY, CacheOptions((9.0, 4.0, 3.0), (0.4, 0.3, 0.6), inside=2.5))
paths = st.lists(st.sampled_from([UNK, EOS, 5, 6, 7, 8, 9]), max_size=70)


def after(model: CacheModel, path: list[int]) -> tuple[np.ndarray, CacheState]:
    """The prediction after BOS and a path, and the state."""
    state = model.start()
    for piece in [BOS, *path][:-1]:
        state = model.advance([piece], [state])[0]
    logp, states = model.step([[BOS, *path][-1]], [state])
    return logp[0], states[0]


def formula(path: list[int], options: CacheOptions) -> np.ndarray:
    """P(w | path) as the module's docstring has it, in the plainest way."""
    whole = [BOS, *path]
    state = BASE.start()
    for piece in whole[:-1]:
        state = BASE.advance([piece], [state])[0]
    p = np.exp(BASE.step([whole[-1]], [state])[0][0].astype(np.float64))
    for k, (a, d) in enumerate(zip(options.strength, options.discount, strict=True)):
        history = whole[len(whole) - k :]
        c: defaultdict[int, float] = defaultdict(float)
        for i in range(max(k, 1), len(whole)):
            if whole[i - k : i] == history and whole[i] not in (BOS, UNK):
                c[whole[i]] += options.inside if k and whole[i] in INSIDE else 1
        if len(whole) >= k and c:
            n, t = sum(c.values()), len(c)
            p *= (a + d * t) / (n + a)
            for w, count in c.items():
                p[w] += (count - d) / (n + a)
    return p


@given(paths)
def test_it_is_the_formula_and_sums_to_one(path: list[int]) -> None:
    logp, _ = after(MODEL, path)
    assert np.allclose(np.exp(logp), formula(path, MODEL.options), atol=1e-5)
    assert math.isclose(float(np.exp(logp.astype(np.float64)).sum()), 1, abs_tol=1e-5)


@given(st.lists(paths, min_size=2, max_size=4))
def test_a_batch_gives_what_each_gives_alone(several: list[list[int]]) -> None:
    alone = [after(MODEL, path) for path in several]
    logp, states = MODEL.step([5] * len(alone), [state for _, state in alone])
    for row, state, path in zip(logp, states, several, strict=True):
        single, single_state = after(MODEL, [*path, 5])
        assert np.array_equal(row, single)
        assert state == single_state


def test_with_nothing_said_it_is_the_language_model() -> None:
    logp, _ = after(MODEL, [])
    plain = BASE.step([BOS], [BASE.start()])[0][0]
    assert np.array_equal(logp, plain)


def test_what_was_mentioned_is_likelier_and_its_end_more_so() -> None:
    name = [8, 9, 8]
    logp, _ = after(MODEL, [*name, EOS, 5])
    plain, _ = after(MODEL, [5])
    assert logp[8] > plain[8]
    again, _ = after(MODEL, [*name, EOS, *name, EOS, 5, 8])
    other, _ = after(MODEL, [5, 8])
    assert again[9] > other[9] + math.log(2)


def test_an_unknown_piece_is_never_expected_again() -> None:
    """It stands for many things."""
    path = [UNK, 5] * 20
    state = BASE.start()
    for piece in [BOS, *path]:
        state = BASE.advance([piece], [state])[0]
    plain = BASE.step([5], [state])[0][0]
    assert after(MODEL, [*path, 5])[0][UNK] <= plain[UNK]


def test_a_name_of_the_conversation_is_offered_by_the_engine() -> None:
    engine = kbengine.load()
    said = ["Katie is fine", "yes Katie"]
    alone = engine.suggest("see you in K", 3, slots="words")
    after_that = engine.suggest("see you in K", 3, earlier=said, slots="words")
    assert "Katie" not in [c.text for c in alone]
    assert "Katie" in [c.text for c in after_that]
