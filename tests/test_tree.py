"""The tree of states: computed once, the same however it was reached, and bounded."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbengine.lm.cache import CacheModel
from kbengine.lm.ngram import NgramModel, Path
from kbengine.protocols import Floats
from kbengine.tree import StateTree
from kbengine.vocab import BOS
from tests import toys


class Counting:
    """The toy model, with a note of every path that is stepped."""

    def __init__(self, model: NgramModel) -> None:
        self._model = model
        self.vocab_size = model.vocab_size
        self.stepped: list[tuple[int, Path]] = []

    def start(self, heard: Sequence[int] = ()) -> Path:
        return self._model.start(heard)

    def advance(self, pieces: Sequence[int], states: Sequence[Path]) -> list[Path]:
        self.stepped += list(zip(pieces, states, strict=True))
        return self._model.advance(pieces, states)

    def step(self, pieces: Sequence[int], states: Sequence[Path]) -> tuple[Floats, list[Path]]:
        self.stepped += list(zip(pieces, states, strict=True))
        return self._model.step(pieces, states)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(3, 200), min_size=1, max_size=6), min_size=1, max_size=12))
def test_few_rows_give_the_same_as_many(paths: list[list[int]]) -> None:
    vocabulary, model = toys.toy_vocabulary(), toys.toy_model()
    small = StateTree(model, vocabulary.boundary, rows=2, nodes=5)
    large = StateTree(model, vocabulary.boundary)
    for path in paths:
        nodes = [tree.walk([BOS, *path]) for tree in (small, large)]
        small.prune(nodes[0])
        for tree, node in zip((small, large), nodes, strict=True):
            tree.predict([node])
        mine, theirs = nodes
        assert mine.logp is not None
        assert theirs.logp is not None
        np.testing.assert_array_equal(mine.logp, theirs.logp)
        assert mine.end_logp == theirs.end_logp


def test_the_end_is_the_mass_of_the_boundary_pieces() -> None:
    vocabulary, model = toys.toy_vocabulary(), toys.toy_model()
    tree = StateTree(model, vocabulary.boundary)
    node = tree.walk([BOS, *vocabulary.encode("see")])
    tree.predict([node])
    assert node.logp is not None
    p = np.exp(node.logp.astype(np.float64))
    assert abs(p.sum() - 1) < 1e-4
    assert abs(np.exp(node.end_logp) - p[vocabulary.boundary].sum()) < 1e-4


def test_nothing_is_stepped_twice() -> None:
    vocabulary = toys.toy_vocabulary()
    model = Counting(toys.toy_model())
    tree = StateTree(model, vocabulary.boundary)
    pieces = [BOS, *vocabulary.encode("see you at the station tomorrow")]
    for end in range(1, len(pieces) + 1):
        tree.predict([tree.walk(pieces[:end])])
    for end in range(len(pieces), 0, -1):
        tree.predict([tree.walk(pieces[:end])])
    assert len(model.stepped) == len(pieces)


def test_what_stands_before_a_start_is_heard_and_not_stepped() -> None:
    vocabulary = toys.toy_vocabulary()
    base = Counting(toys.toy_model())
    cached = CacheModel(base, vocabulary.boundary)
    heard, read = vocabulary.encode("see you at the station"), vocabulary.encode("see")
    tree = StateTree(cached, vocabulary.boundary)
    node, alone = tree.walk([BOS, *read], heard), tree.walk([BOS, *read])
    tree.predict([node])
    assert len(base.stepped) == 1 + len(read)
    tree.predict([alone])
    # It is expected again all the same: the cache knows it as if it had been stepped.
    state = cached.start()
    for piece in (*heard, BOS, *read):
        logp, (state,) = cached.step([piece], [state])
    you = vocabulary.encode("see you")[-1]
    assert node.logp is not None
    assert alone.logp is not None
    np.testing.assert_allclose(node.logp, logp[0], atol=1e-5)
    assert node.logp[you] > alone.logp[you]


def test_of_many_conversations_the_last_is_kept() -> None:
    vocabulary = toys.toy_vocabulary()
    model = Counting(toys.toy_model())
    tree = StateTree(model, vocabulary.boundary, rows=8, nodes=20)
    path = [BOS, *vocabulary.encode("see you at")]
    for piece in range(3, 30):
        here = tree.walk(path, [piece])
        tree.predict([here])
        tree.prune(here)
    before = len(model.stepped)
    tree.predict([tree.walk(path, [29])])
    assert len(model.stepped) == before
    tree.predict([tree.walk(path, [3])])
    assert len(model.stepped) == before + len(path)


def test_many_nodes_are_pruned_to_the_path() -> None:
    vocabulary = toys.toy_vocabulary()
    model = Counting(toys.toy_model())
    tree = StateTree(model, vocabulary.boundary, rows=8, nodes=20)
    path = [BOS, *vocabulary.encode("see you at")]
    here = tree.walk(path)
    tree.predict([here])
    for piece in range(3, 60):
        tree.predict([here.child(piece)])
    assert len(here.children) == 57
    tree.prune(here)
    assert not here.children
    assert tree.walk(path) is here
    before = len(model.stepped)
    tree.predict([here.child(3)])
    assert len(model.stepped) == before + 1  # the states of the path are still known


@pytest.mark.parametrize("whole", [False, True], ids=["tree", "session"])
def test_a_tree_goes_with_its_last_user(whole: bool) -> None:
    """Without the garbage collector: a tree holds some megabytes, and text fields come and go."""
    gc.disable()
    try:
        if whole:
            field = toys.toy_engine().session()
            field.set_context("see you ")
            field.suggest()
            held = field._predictor._tree
            del field
        else:
            held = StateTree(toys.toy_model(), toys.toy_vocabulary().boundary)
            held.predict([held.walk([BOS, 5, 7]), held.walk([BOS, 6])])
        watched = weakref.ref(held._block)
        del held
        assert watched() is None
    finally:
        gc.enable()
