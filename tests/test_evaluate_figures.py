"""Sums and intervals: of one result, of files together, of two results compared."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbengine.evaluate import savings
from kbengine.evaluate.compare import clear, compare, differences
from kbengine.evaluate.counts import Counts, pooled
from kbengine.evaluate.evaluation import Settings
from kbengine.evaluate.figures import RESAMPLES, Figure, figures, intervals, resamples, values
from kbengine.evaluate.measures import Measure, described, fields, measures
from kbengine.evaluate.result import FileResult, Result, read_result
from kbengine.evaluate.typist import TypedWord

ALL = measures(2)


def some_counts(lines: int, seed: int, better: float = 0.0) -> Counts:
    """Counts such as a typist makes, of lines of 1 to 12 words; `better`: added to the chance
    that a word is first. The same seed gives the same words."""
    random = np.random.default_rng(seed)
    found = {name: np.zeros(lines) for name in fields(2)}
    found["words"] = random.integers(1, 13, lines).astype(float)
    found["chars"] = 5 * found["words"]
    found["calls"] = 4 * found["words"]
    found["top1"] = random.binomial(found["words"].astype(int), 0.3 + better).astype(float)
    found["keys"] = found["chars"] - 2 * found["top1"]
    found["word_nats"] = random.gamma(found["words"] * 3.0)
    found["line_nats"] = 1.5 * found["word_nats"]
    calls = int(found["calls"].sum())
    times = {clock: np.round(random.lognormal(0, 0.5, calls), 3) for clock in ("wall", "cpu")}
    return Counts(found, times)


def measure(name: str) -> Measure:
    return next(one for one in ALL if one.name == name)


# Values


def test_values_are_ratios_of_sums() -> None:
    counts = some_counts(30, 1)
    total = {name: float(values.sum()) for name, values in counts.fields.items()}
    found = figures(counts, ALL)
    assert found["top1"].value == total["top1"] / total["words"]
    assert found["ksr"].value == (total["chars"] - total["keys"]) / total["chars"]
    per_word = total["word_nats"] / total["words"]
    assert found["word_perplexity"].value == pytest.approx(math.exp(per_word))
    per_char = total["line_nats"] / total["chars"]
    assert found["char_perplexity"].value == pytest.approx(math.exp(per_char))
    assert found["bits_per_char"].value == pytest.approx(per_char / math.log(2))
    assert found["phrase_precision"] == Figure(None, None, None)  # no phrase was shown


@pytest.mark.parametrize(("name", "quantile"), [("p50", 0.5), ("p95", 0.95), ("max", 1.0)])
def test_percentiles_under_weights_are_those_of_the_repeated_calls(
    name: str, quantile: float
) -> None:
    counts = some_counts(20, 2)
    weights = np.random.default_rng(0).integers(0, 4, (5, 20))
    found = values(counts, [measure(f"wall_{name}_ms")], weights)[:, 0]
    for weight, value in zip(weights, found, strict=True):
        calls = sorted(np.repeat(counts.times_ms["wall"], weight[counts.call_lines]))
        assert value == calls[min(int(quantile * len(calls)), len(calls) - 1)]


# Intervals


def test_resamples_draw_as_many_lines_as_there_are() -> None:
    drawn = np.concatenate(list(resamples(17)))
    assert drawn.shape == (RESAMPLES, 17)
    assert (drawn.sum(axis=1) == 17).all()
    assert abs(drawn.mean() - 1) < 1e-12
    assert 0.85 < drawn.var() < 1.05  # of a multinomial: 1 - 1/17


def test_intervals_hold_the_truth_about_95_times_in_100() -> None:
    truth, held, worlds = 0.3, 0, 200
    for seed in range(worlds):
        figure = figures(some_counts(60, seed), [measure("top1")])["top1"]
        assert figure.low is not None
        assert figure.high is not None
        held += figure.low <= truth <= figure.high
    assert 0.90 <= held / worlds <= 0.985


def test_an_interval_of_a_mean_is_as_wide_as_theory_has_it() -> None:
    counts = some_counts(400, 5)
    per_line = counts.fields["word_nats"]
    (found,) = intervals(400, lambda weights: (weights @ per_line)[:, None] / 400)
    assert found.half == pytest.approx(1.96 * per_line.std() / math.sqrt(400), rel=0.1)


def test_one_line_has_no_interval() -> None:
    found = figures(some_counts(1, 3), ALL)["top1"]
    assert found.value is not None
    assert found.low is found.high is found.half is None


# Files together


def test_files_together_are_the_sums_of_files() -> None:
    one, two = some_counts(20, 1), some_counts(30, 2)
    both = pooled([one, two])
    assert len(both) == 50
    for name in fields(2):
        assert both.fields[name].sum() == one.fields[name].sum() + two.fields[name].sum()
    hits, words = (one.fields[n].sum() + two.fields[n].sum() for n in ("top1", "words"))
    assert figures(both, ALL)["top1"].value == hits / words
    for clock in ("wall", "cpu"):
        first, second = one.times_ms[clock], two.times_ms[clock]
        assert len(both.times_ms[clock]) == len(both.call_lines) == len(first) + len(second)
        assert both.times_ms[clock].sum() == pytest.approx(first.sum() + second.sum())


# Packing


def test_counts_come_back_from_json() -> None:
    counts = some_counts(25, 4)
    back = Counts.unpack(json.loads(json.dumps(counts.pack())), fields(2))
    again = figures(back, ALL)
    for name, figure in figures(counts, ALL).items():
        for value, read in zip(figure, again[name], strict=True):
            assert read == (None if value is None else pytest.approx(value, rel=1e-9)), name


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("top1", None), ("top1", "1 x"), ("top1", "1 2"), ("top1", "nan " * 25),
        ("calls", "-1 " * 25), ("wall_us", "5"), ("cpu_us", 5),
    ],
)  # fmt: skip
def test_broken_counts_are_refused(field: str, text: Any) -> None:
    packed: dict[str, Any] = some_counts(25, 4).pack()
    packed[field] = text
    with pytest.raises(ValueError, match=r"its (counts|times)"):
        Counts.unpack(packed, fields(2))


# Comparing


def a_result(*counts: Counts, sha256: str = "0") -> Result:
    files = tuple(FileResult(f"{i}.txt", sha256, one) for i, one in enumerate(counts))
    return Result("toy 0", Settings(most_letters=2), files)


def test_a_result_less_itself_is_zero() -> None:
    result = a_result(some_counts(20, 1), some_counts(30, 2))
    found = compare(result, result)
    assert [one.name for one in found] == ["0.txt", "1.txt", "overall"]
    for one in found:
        for figure in one.figures.values():
            assert figure == Figure(None, None, None) or figure == Figure(0, 0, 0)
            assert not clear(figure)


def test_a_difference_is_that_of_the_values_and_pairing_narrows_it() -> None:
    worse = some_counts(200, 1)
    gained = np.minimum(worse.fields["words"] - worse.fields["top1"], 1)
    better = Counts(
        {**worse.fields, "top1": worse.fields["top1"] + gained}, worse.times_ms
    )  # fmt: skip
    a, b = (figures(counts, ALL)["top1"] for counts in (worse, better))
    gap = differences(worse, better, ALL)["top1"]
    assert a.value is not None
    assert b.value is not None
    assert gap.value == pytest.approx(b.value - a.value)
    assert clear(gap)
    assert gap.half is not None
    assert a.half is not None
    assert gap.half < a.half / 2
    back = differences(better, worse, ALL)["top1"]
    assert gap.value is not None
    assert back.value == -gap.value
    assert back.low == pytest.approx(-(gap.high or 0))


def test_an_interval_around_zero_is_not_clear() -> None:
    # Two draws of the same chance, on the same number of words.
    one, two = some_counts(50, 1), some_counts(50, 1)
    two = replace(two, fields={**two.fields, "top1": one.fields["top1"][::-1]})
    gap = differences(one, two, ALL)["top1"]
    assert gap.half
    assert not clear(gap)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (a_result(some_counts(20, 1), some_counts(20, 1)), "has 1 files, the second 2"),
        (a_result(some_counts(20, 1), sha256="1"), "are different files"),
        (a_result(some_counts(20, 2)), "have other lines"),
        (a_result(some_counts(21, 1)), "have other lines"),
    ],
)
def test_other_lines_are_not_compared(other: Result, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        compare(a_result(some_counts(20, 1)), other)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "is no result of an evaluation"),
        ('{"mode": "predict"}', "is no result of an evaluation"),
        ('{"kbengine_eval": 99}', "is of format 99"),
        ('{"kbengine_eval": 2}', "is a damaged result"),
        ('{"kbengine_eval": 2, "settings": {"k": 0}}', "is a damaged result"),
        ('{"kbengine_eval": 2, "settings": {"slots": 5}}', "is a damaged result"),
        ('{"kbengine_eval": 2, "settings": {}, "files": [], "bundle": {}}', "is a damaged result"),
    ],
)
def test_files_that_are_no_result(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=sentence):
        read_result(path)


# Kinds of words


def test_savings_by_length_and_position() -> None:
    lines = [
        [TypedWord(2, 0, 3, 2), TypedWord(5, 1, 6, 0)],
        [TypedWord(2, 0, 3, 0), TypedWord(40, 1, 40, 10)],
        [],
    ]
    by_length, by_position = savings.by_length(lines), savings.by_position(lines)
    assert by_length["2"].value == 2 / 6
    assert by_length["5"].value == 0
    assert by_length["3"] == Figure(None, None, None)
    assert by_length["12+"].value == 10 / 40
    assert by_position["1"].value == 2 / 6
    assert by_position["2"].value == 10 / 46
    assert by_length["2"].low == 0
    assert by_length["2"].high == pytest.approx(2 / 3)


# Definitions


def test_every_measure_is_defined_once() -> None:
    names = [one.name for one in described()]
    assert len(set(names)) == len(names)
    assert all(len(one.definition) > 20 for one in described())
    assert {one.name for one in measures(3)} - set(names) == {f"after_{n}_top3" for n in (1, 2, 3)}
