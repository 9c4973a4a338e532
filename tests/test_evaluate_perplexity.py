"""Perplexity against the plain sum over the model, a piece at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

import kbengine
from kbengine.evaluate.evaluation import Settings, evaluate
from kbengine.evaluate.figures import figures
from kbengine.evaluate.lines import Line, TextFile
from kbengine.evaluate.measures import measures
from kbengine.evaluate.perplexity import LANES, line_logps
from kbengine.vocab import BOS, EOS, UNK
from tests.toys import messages, toy_engine, toy_model, toy_vocabulary

MIXED = "I'll see you (tomorrow), at 10:30 \U0001f602 run!"


def direct(pieces: Sequence[int], after: Sequence[int] = (BOS,)) -> tuple[float, float]:
    """log P(pieces | after), and log P(a boundary | after, pieces)."""
    model, state, total = toy_model(), toy_model().start(), 0.0
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


def test_a_word_is_its_pieces_and_a_boundary() -> None:
    ((_, found),) = scored([Line(MIXED)])
    assert list(found) == ["I'll", "see", "you", "tomorrow", "at", "run"]
    encode = toy_vocabulary().encode
    for word in ("I'll", "you", "tomorrow", "at", "run"):
        start = MIXED.index(word)
        before = [BOS, *encode(MIXED[:start])]
        logp, end_logp = direct(encode(word), before)
        assert found[word] == pytest.approx(logp + end_logp, abs=1e-4)
        assert end_logp < 0


def test_a_word_has_the_logp_that_its_candidate_has() -> None:
    candidates = toy_engine().suggest("see you ", 5, slots="words")
    assert len(candidates) == 5
    lines = [Line(f"see you {candidate.text}") for candidate in candidates]
    for candidate, (_, found) in zip(candidates, scored(lines), strict=True):
        assert found[candidate.text] == pytest.approx(candidate.logp, abs=1e-4)


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
    texts = messages()[:20]
    file = TextFile("text", "0", tuple(map(Line, texts)))
    found = figures(evaluate(toy_engine(), file, Settings()).counts, measures(3))
    encode = toy_vocabulary().encode
    nats = -sum(direct([*encode(line), EOS])[0] for line in texts)
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
