"""Perplexity against the plain sum over the model, a piece at a time."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

import kbengine
from kbengine import text
from kbengine.evaluate.evaluation import Settings, evaluate
from kbengine.evaluate.figures import figures
from kbengine.evaluate.lines import Line, TextFile
from kbengine.evaluate.measures import measures
from kbengine.evaluate.perplexity import LANES, line_logps
from kbengine.lm.ngram import NgramModel
from kbengine.protocols import LanguageModel
from kbengine.vocab import BOS, EOS, MARK, UNK, Vocabulary
from tests.toys import messages, toy_engine, toy_model, toy_vocabulary
from train.vocab import VocabularyOptions, train_vocabulary

MIXED = "I'll see you (tomorrow), at 10:30 \U0001f602 run!"


def direct(
    pieces: Sequence[int], after: Sequence[int] = (BOS,), model: LanguageModel | None = None
) -> tuple[float, float]:
    """log P(pieces | after), and log P(a boundary | after, pieces); by default of the toy model."""
    model = model or toy_model()
    state, total = model.start(), 0.0
    for i, piece in enumerate(whole := [*after, *pieces]):
        logp, (state,) = model.step([piece], [state])
        if len(after) <= i + 1 < len(whole):
            total += float(logp[0, whole[i + 1]])
    p = np.exp(logp[0].astype(float))
    return total, math.log(p[toy_vocabulary().boundary].sum())


def scored(lines: Sequence[Line]) -> list[tuple[float, dict[str, float]]]:
    found = line_logps(toy_model(), toy_vocabulary(), lines)
    return [(line.logp, {w.word.text: w.logp for w in line.words}) for line in found]


def test_a_line_is_the_sum_of_its_pieces_and_its_end() -> None:
    pieces = [*toy_vocabulary().encode(MIXED), EOS]
    ((logp, _),) = scored([Line(MIXED)])
    assert logp == pytest.approx(direct(pieces)[0], rel=1e-6)


def test_a_word_is_its_pieces_and_a_boundary_where_something_new_begins() -> None:
    ((_, found),) = scored([Line(MIXED)])
    assert list(found) == ["I'll", "see", "you", "tomorrow", "at", "run"]
    encode = toy_vocabulary().encode
    for word in ("I'll", "you", "tomorrow", "at", "run"):
        start = MIXED.index(word)
        before = [BOS, *encode(MIXED[:start])]
        logp, end_logp = direct(encode(word), before)
        begin_logp = direct([], before)[1]
        assert found[word] == pytest.approx(logp + end_logp - begin_logp, abs=1e-4)
        assert end_logp < 0


def two_letters() -> tuple[Vocabulary, NgramModel]:
    """A world whose words are spelled by `a` and `b`, a piece a letter: in one way each."""
    lines = ("a", "ab ba.", "ba, a b", "b \U0001f602", "aab ab", "a b ab!")
    counts = Counter(token for line in lines for token in text.tokens(line))
    options = VocabularyOptions(size=38, emoji_min_count=1, word_min_count=1, letter_min_count=1)
    vocabulary = Vocabulary(train_vocabulary(counts, options))
    assert {piece for piece in vocabulary.pieces if "a" in piece or "b" in piece} == {"a", "b"}
    pieces = ([BOS, *vocabulary.encode(line), EOS] for line in lines)
    return vocabulary, NgramModel.fit(pieces, 3, len(vocabulary))


@pytest.mark.parametrize("before", ["", "a ", "ab ba ", "ab, ", "b \U0001f602 "])
def test_what_may_come_at_one_place_sums_to_1(before: str) -> None:
    vocabulary, model = two_letters()
    words = ["".join(w) for n in range(1, 10) for w in itertools.product("ab", repeat=n)]
    lines = line_logps(model, vocabulary, [Line(before + word) for word in words])
    of_words = sum(math.exp(line.words[-1].logp) for line in lines)
    # Signs, emoji and the end of the message, by what the model says itself; and a mark alone.
    state = model.start()
    for piece in [BOS, *vocabulary.encode(before)]:
        logp, (state,) = model.step([piece], [state])
    p = np.exp(logp[0].astype(float))
    mark = vocabulary.pieces.index(MARK)
    after_mark = np.exp(model.step([mark], [state])[0][0].astype(float))
    boundary = vocabulary.boundary
    others = p[boundary].sum() - p[mark] + p[mark] * after_mark[boundary].sum()
    assert 0.1 < of_words < 0.99
    # Words of ten letters and more are left out.
    assert of_words + others / p[boundary].sum() == pytest.approx(1, abs=1e-3)


def test_the_words_of_a_line_multiply_to_the_line() -> None:
    """Where nothing but words stands in it: each end pays for the next beginning."""
    line = "see you at the train tomorrow"
    ((logp, found),) = scored([Line(line)])
    assert len(found) == 6
    pieces = [BOS, *toy_vocabulary().encode(line)]
    (end_logp, _), begin_logp = direct([EOS], pieces), direct([], [BOS])[1]
    boundary_logp = direct([], pieces)[1]
    assert sum(found.values()) + end_logp - boundary_logp == pytest.approx(
        logp - begin_logp, abs=1e-4
    )


def test_a_word_is_as_far_from_others_as_its_candidate_is() -> None:
    engine = toy_engine()
    candidates = engine.suggest("see you ", 5, slots="words")
    assert len(candidates) == 5
    before = [BOS, *engine.vocabulary.encode("see you ")]
    begin_logp = direct([], before, engine.model)[1]
    lines = [Line(f"see you {candidate.text}") for candidate in candidates]
    scores = line_logps(engine.model, engine.vocabulary, lines)
    for candidate, line in zip(candidates, scores, strict=True):
        assert line.words[-1].logp == pytest.approx(
            candidate.parts["language model"] - begin_logp, abs=1e-4
        )


def test_earlier_messages_come_before() -> None:
    encode = toy_vocabulary().encode
    after = [BOS, *encode("see you"), EOS, *encode("ok"), EOS]
    ((logp, _),) = scored([Line("tomorrow", earlier=("see you", "ok"))])
    assert logp == pytest.approx(direct([*encode("tomorrow"), EOS], after)[0], rel=1e-6)
    assert logp != scored([Line("tomorrow")])[0][0]


def test_earlier_messages_are_there_for_the_suggestions_too() -> None:
    # Nothing follows the end of a message in what the toy model has read.
    alone, told = (
        evaluate(
            toy_engine(),
            TextFile("t", "0", tuple(Line(m, 1, e) for m in messages()[:20])),
            Settings(),
        ).counts.fields
        for e in ((), ("ok",))
    )
    assert told["top5"].sum() < alone["top5"].sum()
    assert told["line_nats"].sum() > alone["line_nats"].sum()


def test_lines_side_by_side_are_lines_alone() -> None:
    lines = [Line(message) for message in messages()[: 2 * LANES + 5]]
    lines += [lines[0], Line(lines[1].text, earlier=(lines[0].text,))]
    assert scored(lines) == [scored([line])[0] for line in lines]


def test_what_the_vocabulary_cannot_spell_is_counted_apart() -> None:
    vocabulary = toy_vocabulary()
    assert UNK in vocabulary.encode("żółw")
    (line,) = line_logps(toy_model(), vocabulary, [Line("see żółw")])
    assert [word.known for word in line.words] == [True, False]
    engine = toy_engine()
    file = TextFile("text", "0", (Line("see żółw"), Line("see you")))
    found = figures(evaluate(engine, file, Settings()).counts, measures(3))
    logps = [w.logp for one in line_logps(engine.model, vocabulary, file.lines) for w in one.words]
    known = [logp for i, logp in enumerate(logps) if i != 1]
    assert found["unknown_words"].value == 1 / 4
    assert found["word_perplexity"].value == pytest.approx(math.exp(-sum(logps) / 4))
    assert found["spelled_word_perplexity"].value == pytest.approx(math.exp(-sum(known) / 3))


def test_perplexity_by_character_of_a_file_is_the_direct_sum() -> None:
    engine, texts = toy_engine(), messages()[:20]
    file = TextFile("text", "0", tuple(map(Line, texts)))
    found = figures(evaluate(engine, file, Settings()).counts, measures(3))
    encode = engine.vocabulary.encode
    nats = -sum(direct([*encode(line), EOS], model=engine.model)[0] for line in texts)
    per_char = nats / sum(map(len, texts))
    assert found["char_perplexity"].value == pytest.approx(math.exp(per_char), rel=1e-5)
    assert found["bits_per_char"].value == pytest.approx(per_char / math.log(2), rel=1e-5)


def test_earlier_messages_help_on_the_shipped_model() -> None:
    """A question about the trains makes "train" likelier, or they are not read."""
    engine = kbengine.load()
    asked = ("When does your train get in?", "The train is late")
    alone, told = line_logps(
        engine.model, engine.vocabulary, [Line("My train"), Line("My train", earlier=asked)]
    )
    assert told.words[1].logp > alone.words[1].logp + 1
