"""The count model: a distribution after any history, the same in batches and on disk."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbengine.arrays import dump_arrays, load_arrays
from kbengine.errors import ModelError
from kbengine.lm.ngram import NgramModel
from tests.toys import toy_model, toy_vocabulary

SIZE = len(toy_vocabulary())
pieces = st.integers(0, SIZE - 1)
# The chat's own first pieces make histories that the model has seen.
seen = st.sampled_from([(1,), (1, *toy_vocabulary().encode("I'm on my way")[:3])])
histories = st.tuples(seen, st.lists(pieces, max_size=4)).map(lambda h: (*h[0], *h[1]))


def state_after(model: NgramModel, history: tuple[int, ...]) -> tuple[int, ...]:
    state = model.start()
    for piece in history:
        (state,) = model.advance([piece], [state])
    return state


@given(histories, pieces)
@settings(max_examples=50)
def test_rows_are_distributions(history: tuple[int, ...], piece: int) -> None:
    logp, _ = toy_model().step([piece], [state_after(toy_model(), history)])
    assert logp.shape == (1, SIZE)
    assert logp.dtype == np.float32
    assert np.all(np.isfinite(logp))
    assert math.isclose(np.exp(logp.astype(np.float64)).sum(), 1, abs_tol=1e-5)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_rows_of_other_orders_are_distributions(order: int) -> None:
    model = NgramModel.fit([[1, 3, 4, 3, 2], [1, 3, 3, 2]], order, 6)
    state = model.start()
    for piece in (1, 3, 4, 5, 3, 3):
        logp, (state,) = model.step([piece], [state])
        assert math.isclose(np.exp(logp.astype(np.float64)).sum(), 1, abs_tol=1e-5)
        assert len(state) <= order - 1


@given(st.lists(st.tuples(histories, pieces), min_size=1, max_size=6))
@settings(max_examples=40)
def test_a_batch_is_its_singles(rows: list[tuple[tuple[int, ...], int]]) -> None:
    model = toy_model()
    states = [state_after(model, history) for history, _ in rows]
    last = [piece for _, piece in rows]
    logp, after = model.step(last, states)
    assert len(logp) == len(after) == len(rows)
    for i, (piece, state) in enumerate(zip(last, states, strict=True)):
        single, (single_after,) = model.step([piece], [state])
        assert np.array_equal(logp[i], single[0])
        assert after[i] == single_after
    assert model.advance(last, states) == after


@given(histories, pieces, pieces)
@settings(max_examples=40)
def test_a_state_is_a_value(history: tuple[int, ...], one: int, other: int) -> None:
    """Stepping a state leaves it as it was: a search forks it."""
    model = toy_model()
    state = state_after(model, history)
    first, _ = model.step([one], [state])
    model.step([other], [state])
    again, _ = model.step([one], [state])
    assert np.array_equal(first, again)


def test_by_hand() -> None:
    """One message, a a b, over the pieces a = 0, b = 1, c = 2; discount D = 0.75.

    Unigrams: C = 3, T = 2. P(w) = (c(w) - D)/3 + D*2/3 * 1/3 = (c(w) - D)/3 + 1/6, so
    P(a) = 1.25/3 + 1/6 = 7/12, P(b) = 0.25/3 + 1/6 = 3/12, P(c) = 2/12.
    After a: C = 2, T = 2 (a once, b once). P(w | a) = (c - D)/2 + D*2/2 * P(w), so
    P(a | a) = 0.125 + 0.75 * 7/12, P(b | a) = 0.125 + 0.75 * 3/12, P(c | a) = 0.75 * 2/12.
    """
    model = NgramModel.fit([[0, 0, 1]], order=2, vocab_size=3)
    after_a, _ = model.step([0], [model.start()])
    assert np.exp(after_a[0]) == pytest.approx([0.5625, 0.3125, 0.125])
    after_b, _ = model.step([1], [model.start()])
    assert np.exp(after_b[0]) == pytest.approx([7 / 12, 3 / 12, 2 / 12])


def test_longer_histories_count() -> None:
    model = NgramModel.fit([[0, 1, 2], [3, 1, 4]] * 5, order=3, vocab_size=5)
    logp, _ = model.step([1, 1], [(0,), (3,)])
    assert logp.argmax(axis=1).tolist() == [2, 4]


@pytest.mark.parametrize("order", [0, -1])
def test_an_order_below_one_is_refused(order: int) -> None:
    with pytest.raises(ValueError, match="order"):
        NgramModel.fit([[0]], order, 1)


# On disk


def test_round_trip() -> None:
    model = toy_model()
    data = model.to_bytes()
    again = NgramModel.from_bytes(data)
    assert (again.order, again.vocab_size) == (model.order, model.vocab_size)
    assert again.to_bytes() == data
    state = model.start()
    for piece in (1, *toy_vocabulary().encode("see you then!"), 0, SIZE - 1):
        expected, (after,) = model.step([piece], [state])
        found, (state,) = again.step([piece], [state])
        assert np.array_equal(found, expected)
        assert state == after


TYPES = {"order": "i8", "lengths": "i8", "histories": "i8", "kinds": "i8", "pieces": "i8"}
TYPES |= {"counts": "f4"}


def arrays_of(model: NgramModel) -> dict[str, np.ndarray]:
    return load_arrays(model.to_bytes(), TYPES)


SMALL = NgramModel.fit([[1, 3, 4, 2]], 2, 5)  # 4 histories, 7 pieces after them
CONTRADICTIONS = {
    "no order": {"order": np.array([], np.int64)},
    "no size": {"order": np.array([2], np.int64)},
    "order of zero": {"order": np.array([0, 5], np.int64)},
    "piece beyond the vocabulary": {"pieces": np.array([9] * 7, np.int64)},
    "negative piece": {"pieces": np.array([-1] * 7, np.int64)},
    "counts of zero": {"counts": np.zeros(7, np.float32)},
    "counts of nan": {"counts": np.full(7, np.nan, np.float32)},
    "counts without end": {"counts": np.full(7, np.inf, np.float32)},
    "too few counts": {"counts": np.array([1.0], np.float32)},
    "too few kinds": {"kinds": np.array([1], np.int64)},
    "negative kinds": {"kinds": np.array([-3, 99, 0, 1], np.int64)},
    "too few lengths": {"lengths": np.array([0, 1], np.int64)},
    "negative lengths": {"lengths": np.array([-1, 2, 1, 1], np.int64)},
    "lengths of fractions": {"lengths": np.array([0.5] * 4, np.float32)},
    "a piece twice after a history": {"pieces": np.array([1, 1, 3, 4, 3, 4, 2], np.int64)},
    "pieces of another type": {"pieces": np.zeros(7, np.uint8)},
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_arrays_that_contradict_each_other_are_refused(name: str) -> None:
    arrays = arrays_of(SMALL)
    assert NgramModel.from_bytes(dump_arrays(arrays)).vocab_size == 5, "as it was, it can be read"
    with pytest.raises(ModelError):
        NgramModel.from_bytes(dump_arrays(arrays | CONTRADICTIONS[name]))


@pytest.mark.parametrize("name", ["order", "lengths", "histories", "kinds", "pieces", "counts"])
def test_a_missing_array_is_refused(name: str) -> None:
    arrays = arrays_of(SMALL)
    del arrays[name]
    with pytest.raises(ModelError):
        NgramModel.from_bytes(dump_arrays(arrays))


@pytest.mark.parametrize("data", [b"", b"x", b"PK\x03\x04", b"\x93NUMPY", b"\x00" * 100])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        NgramModel.from_bytes(data)


def test_damaged_bytes_are_refused_or_give_a_distribution() -> None:
    """Of a count that is merely another one, only the bundle's hash can tell."""
    data = SMALL.to_bytes()
    random = Random(1)
    refused = 0
    for _ in range(600):
        broken = bytearray(data)
        for _ in range(random.choice([1, 1, 3])):
            broken[random.randrange(len(broken))] ^= 1 << random.randrange(8)
        try:
            model = NgramModel.from_bytes(bytes(broken))
        except ModelError:
            refused += 1
        else:
            if model.vocab_size < 1000:  # a bundle compares it with its vocabulary
                logp, _ = model.step([3], [model.start()])
                assert math.isclose(np.exp(logp.astype(np.float64)).sum(), 1, abs_tol=1e-4)
    assert 100 < refused < 600


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_cut_off_bytes_are_refused(part: float) -> None:
    data = toy_model().to_bytes()
    with pytest.raises(ModelError):
        NgramModel.from_bytes(data[: int(len(data) * part)])
