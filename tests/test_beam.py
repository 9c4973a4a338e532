"""The search against brute force, on small worlds where everything can be enumerated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbengine.beam import BeamOptions, search
from kbengine.constraint import Known, Typed
from kbengine.lm.ngram import NgramModel
from kbengine.tree import Node, StateTree
from kbengine.vocab import BOS, EOS, Vocabulary
from tests import toys
from train.vocab import VocabularyOptions, train_vocabulary

WIDE = BeamOptions(batch=16, calls=10_000, fan=64)
EPSILON = 2e-4  # float32 sums in another order


def tree_of(model: NgramModel, vocabulary: Vocabulary) -> StateTree:
    return StateTree(model, vocabulary.boundary)


def node_of(tree: StateTree, vocabulary: Vocabulary, context: str) -> Node:
    return tree.walk([BOS, *vocabulary.encode(context)])


def word_logp(
    model: NgramModel, vocabulary: Vocabulary, before: list[int], word: list[int]
) -> float:
    """log P(these pieces, then a boundary | before), by the chain rule and nothing else."""
    state = model.start()
    for piece in before[:-1]:
        (state,) = model.advance([piece], [state])
    rows, (state,) = model.step([before[-1]], [state])
    total = 0.0
    for piece in word:
        total += float(rows[0][piece])
        rows, (state,) = model.step([piece], [state])
    return total + math.log(float(np.exp(rows[0].astype(np.float64))[vocabulary.boundary].sum()))


contexts = st.sampled_from(
    ["", "see you ", "I am ", "are you coming to ", "Good morning", "!!! ", "the ", "happy 🎂 "]
)
prefixes = st.sampled_from(
    ["", "a", "b", "th", "to", "s", "mo", "wh", "i", "don'", "zz", "birthd", "y", "can", "xq"]
)


@settings(max_examples=60, deadline=None)
@given(contexts, prefixes, st.integers(1, 8))
def test_known_words_are_exact(context: str, typed: str, k: int) -> None:
    vocabulary, model = toys.toy_vocabulary(), toys.toy_model()
    lexicon = toys.toy_lexicon()
    tree = tree_of(model, vocabulary)
    before = [BOS, *vocabulary.encode(context)]
    wanted = sorted(
        (
            (-word_logp(model, vocabulary, before, list(vocabulary.encode_token(e.word))), e.word)
            for e in lexicon
            if e.word.startswith(typed)
        ),
    )[:k]
    found = search(
        tree, node_of(tree, vocabulary, context), Known(lexicon, typed), vocabulary.spell, k, WIDE
    )
    assert found.exact
    assert [h.score for _, h in found.words] == pytest.approx([-s for s, _ in wanted], abs=EPSILON)
    for (word, hypothesis), (score, _) in zip(found.words, wanted, strict=True):
        own = word_logp(model, vocabulary, before, list(hypothesis.pieces))
        assert vocabulary.spell(hypothesis.pieces) == word
        assert hypothesis.score == pytest.approx(own, abs=EPSILON)
        assert -score == pytest.approx(own, abs=EPSILON)


@pytest.fixture(scope="module")
def micro() -> tuple[Vocabulary, NgramModel]:
    """A language of two dozen pieces, where one word has many spellings in pieces."""
    words = {"ab": 9, "abab": 5, "ba": 7, "bab": 3, "aba": 4, "b": 6, "a": 8, "abba": 2, "c": 1}
    options = VocabularyOptions(size=48, word_min_count=1, letter_min_count=1)
    vocabulary = Vocabulary(train_vocabulary({**words, ".": 5, "?": 2}, options))
    rng = np.random.default_rng(5)
    names = list(words)
    messages = [
        [BOS, *vocabulary.encode(" ".join(rng.choice(names, 4)) + "."), EOS] for _ in range(60)
    ]
    # Other spellings of the same words are seen too, so that they compete.
    inner = vocabulary.inner_letters.ids.tolist()
    messages += [
        [
            BOS,
            *rng.choice(vocabulary.first_letters.ids, 1).tolist(),
            *rng.choice(inner, 2).tolist(),
            EOS,
        ]
        for _ in range(40)
    ]
    return vocabulary, NgramModel.fit(messages, 3, len(vocabulary))


@settings(max_examples=25, deadline=None)
@given(typed=st.sampled_from(["", "a", "ab", "b", "ba", "abb", "c", "d"]), k=st.integers(1, 6))
def test_any_word_of_any_pieces_is_exact(
    micro: tuple[Vocabulary, NgramModel], typed: str, k: int
) -> None:
    vocabulary, model = micro
    tree = tree_of(model, vocabulary)
    before = [BOS, *vocabulary.encode("ab ")]
    found = search(tree, tree.walk(before), Typed(vocabulary, typed), vocabulary.spell, k, WIDE)
    # Every path of up to `depth` pieces, pruned only where the letters contradict.
    best: dict[str, float] = {}
    depth, longest = 5, -math.inf
    open_paths: list[tuple[list[int], float]] = [([], 0.0)]
    for _ in range(depth):
        grown = []
        for path, logp in open_paths:
            node = tree.walk([*before, *path])
            tree.predict([node])
            assert node.logp is not None
            index = vocabulary.inner_letters if path else vocabulary.first_letters
            row = node.logp.copy()
            for piece in index.ids.tolist():
                spelt = vocabulary.spell((*path, piece))
                score = logp + float(row[piece])
                # What cannot reach the k-th best found word need not be followed.
                hopeless = len(found.words) == k and score < found.words[-1][1].score - 1
                if not hopeless and (spelt.startswith(typed) or typed.startswith(spelt)):
                    grown.append(([*path, piece], score))
        for path, _ in grown:
            spelt = vocabulary.spell(tuple(path))
            if spelt.startswith(typed):
                score = word_logp(model, vocabulary, before, path)
                best[spelt] = max(best.get(spelt, -math.inf), score)
        longest = max((logp for _, logp in grown), default=-math.inf)
        open_paths = grown
    wanted = sorted(best.values(), reverse=True)[:k]
    for (word, hypothesis), score in zip(found.words, wanted, strict=False):
        if score > longest:  # longer paths than were enumerated cannot come before it
            assert hypothesis.score == pytest.approx(score, abs=EPSILON)
            assert best[word] == pytest.approx(score, abs=EPSILON)


@settings(max_examples=30, deadline=None)
@given(contexts, prefixes)
def test_what_was_searched_before_changes_nothing(context: str, typed: str) -> None:
    vocabulary, lexicon = toys.toy_vocabulary(), toys.toy_lexicon()
    used = tree_of(toys.toy_model(), vocabulary)
    for length in range(len(typed) + 1):
        node = node_of(used, vocabulary, context)
        warm = search(used, node, Known(lexicon, typed[:length]), vocabulary.spell, 4)
    fresh = tree_of(toys.toy_model(), vocabulary)
    node = node_of(fresh, vocabulary, context)
    cold = search(fresh, node, Known(lexicon, typed), vocabulary.spell, 4)
    assert [(w, h.score) for w, h in warm.words] == [(w, h.score) for w, h in cold.words]
    assert warm.total_logp == cold.total_logp


def test_the_mass_of_all_words_is_at_most_1_and_narrows_with_typing() -> None:
    vocabulary, lexicon = toys.toy_vocabulary(), toys.toy_lexicon()
    tree = tree_of(toys.toy_model(), vocabulary)
    node = node_of(tree, vocabulary, "see you ")
    last = 1e-6
    for typed in ("", "t", "to", "tom", "tomo"):
        found = search(tree, node, Known(lexicon, typed), vocabulary.spell, 3)
        assert found.total_logp <= last + 1e-6
        assert all(h.score <= found.total_logp + 1e-6 for _, h in found.words)
        last = found.total_logp


def test_a_short_budget_still_answers() -> None:
    vocabulary, lexicon = toys.toy_vocabulary(), toys.toy_lexicon()
    tree = tree_of(toys.toy_model(), vocabulary)
    node = node_of(tree, vocabulary, "")
    found = search(
        tree, node, Known(lexicon, ""), vocabulary.spell, 50, BeamOptions(batch=4, calls=1)
    )
    assert not found.exact
    assert 0 < len(found.words) <= 4


def test_the_better_of_two_spellings_counts(micro: tuple[Vocabulary, NgramModel]) -> None:
    vocabulary, model = micro
    tree = tree_of(model, vocabulary)
    found = search(tree, tree.walk([BOS]), Typed(vocabulary, "ab"), vocabulary.spell, 4, WIDE)
    words = [word for word, _ in found.words]
    assert len(set(words)) == len(words)
    assert "ab" in words


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_word_left_aside_takes_no_place(micro: tuple[Vocabulary, NgramModel], k: int) -> None:
    vocabulary, model = micro
    tree = tree_of(model, vocabulary)
    node = tree.walk([BOS])

    def words(k: int, aside: str | None = None) -> list[str]:
        typed = Typed(vocabulary, "a")
        found = search(tree, node, typed, vocabulary.spell, k, WIDE, aside)
        assert found.exact
        return [word for word, _ in found.words]

    everything = words(9)
    for aside in (everything[0], everything[k - 1], everything[k], "nowhere"):
        found = words(k, aside)
        assert [w for w in found if w != aside] == [w for w in everything if w != aside][:k]
        assert (aside in found) == (aside in everything[:k])


def test_a_word_does_not_win_by_the_mass_of_a_longer_one() -> None:
    vocabulary = Vocabulary(
        train_vocabulary(
            {"run": 5, "running": 50, "rum": 4, "ning": 9, "n": 3, ".": 2},
            VocabularyOptions(size=50, word_min_count=1, letter_min_count=1),
        )
    )
    pieces = list(vocabulary.encode_token("run"))
    more = vocabulary.pieces.index("n")
    assert not vocabulary.boundary[more]
    longer = [*pieces, more]
    rum = list(vocabulary.encode_token("rum"))
    model = NgramModel.fit(
        [[BOS, *longer, EOS]] * 50 + [[BOS, *pieces, EOS]] * 2 + [[BOS, *rum, EOS]] * 8,
        4,
        len(vocabulary),
    )
    tree = tree_of(model, vocabulary)
    found = search(tree, tree.walk([BOS]), Typed(vocabulary, "ru"), vocabulary.spell, 12, WIDE)
    ranked = [word for word, _ in found.words]
    assert ranked.index("rum") < ranked.index("run")
