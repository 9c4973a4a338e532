"""The parts of `kbengine bench`: its clock, its typist, its lexicons, its curves."""

from __future__ import annotations

import gc
import json
import time
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import kbengine
from kbengine import Engine, text
from kbengine.bench.clock import Samples, interleave, no_gc, percentiles
from kbengine.bench.growth import (
    ContextTrial,
    Curve,
    EarlierTrial,
    WordsTrial,
    curves,
    factor_per_tenfold,
)
from kbengine.bench.keys import BACKSPACES, JUMPS, key_name, type_lines
from kbengine.bench.lines import LINES
from kbengine.bench.process import PLACES, STEPS, measure_process, start
from kbengine.bench.steps import BURST, measure_steps
from kbengine.bench.weights import bare_signatures, weight_bytes
from kbengine.bench.wordstock import build_lexicons, entries_of_size
from kbengine.lexicon import Lexicon
from tests.toys import (
    toy_bundle,
    toy_engine,
    toy_entries,
    toy_lexicon,
    toy_vocabulary,
)

SLOTS = "words:2,emoji:1"


def nothing() -> None:
    """A tick that nobody counts."""


def samples_of(*times_ms: float) -> Samples:
    found = Samples()
    found.wall_ns = found.cpu_ns = [int(ms * 1e6) for ms in times_ms]
    return found


# The clock


def test_percentiles_are_numpys() -> None:
    rng = np.random.default_rng(1)
    times_ns = rng.integers(10_000, 90_000_000, 999).tolist()
    found = percentiles(times_ns)
    assert list(found) == ["p50", "p95", "p99"]
    assert list(found.values()) == pytest.approx(np.percentile(times_ns, (50, 95, 99)) / 1e6, 1e-3)
    assert percentiles([7_000_000]) == {"p50": 7.0, "p95": 7.0, "p99": 7.0}
    assert percentiles([1_000_000, 2_000_000])["p50"] == 1.5


def test_percentiles_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing was timed"):
        percentiles([])


def test_sleep_is_wall_time_and_no_cpu_time() -> None:
    samples = Samples()
    assert samples.time(lambda: time.sleep(0.02) or "done") == "done"
    assert len(samples) == 1
    assert samples.wall_ns[0] >= 20_000_000  # what sleep promises
    assert samples.cpu_ns[0] < samples.wall_ns[0]
    assert samples.wall_p50_ms == samples.wall_ns[0] / 1e6
    assert samples.cpu_p50_ms == samples.cpu_ns[0] / 1e6


def test_calls_take_turns() -> None:
    called: list[str] = []
    ticks: list[int] = []
    calls = {name: lambda name=name: called.append(name) for name in "abc"}
    samples = interleave(calls, 20, 4, 2, lambda: ticks.append(len(called)))
    assert Counter(called) == dict.fromkeys("abc", 20 * 6)
    assert {name: len(s) for name, s in samples.items()} == dict.fromkeys("abc", 20 * 4)
    assert ticks == [18 * n for n in range(1, 21)]
    rounds = ["".join(called[i : i + 18 : 6]) for i in range(0, len(called), 18)]
    assert all(sorted(order) == list("abc") for order in rounds)
    assert len(set(rounds)) > 1, "none always comes after the same other"


def test_the_collector_is_off_while_calls_are_compared() -> None:
    seen: list[bool] = []
    assert gc.isenabled()
    interleave({"a": lambda: seen.append(gc.isenabled())}, 1, 1, 0, nothing)
    assert seen == [False]
    assert gc.isenabled()
    with pytest.raises(KeyError), no_gc():
        raise KeyError
    assert gc.isenabled()


# Steps and weights


@pytest.fixture(scope="module")
def shipped() -> Engine:
    return kbengine.load()


def test_weights_are_what_a_step_multiplies(shipped: Engine) -> None:
    """`logits` reads the output table and its biases beside what `state` reads."""
    content = shipped.bundle.parts["model"]
    sizes = weight_bytes(content)
    assert set(sizes) == {"state", "logits"}
    vocab_size = len(shipped.vocabulary)
    details = Interpreter(model_content=content).get_tensor_details()
    shape = next(
        t["shape"] for t in details if t["dtype"] == np.int8 and t["shape"][0] == vocab_size
    )
    assert sizes["logits"] - sizes["state"] == np.prod(shape) + 4 * vocab_size
    assert 0 < sizes["state"] < sizes["logits"] < len(content)


def test_bare_signatures_say_the_same(shipped: Engine) -> None:
    runners = bare_signatures(shipped.bundle.parts["model"])
    state = np.zeros((1, shipped.step_model.start().size), np.float32)
    out = runners["logits"](piece=np.array([7], np.int32), state=state)
    logits = out["logits"][0].astype(np.float64)  # type: ignore[index]
    logp, _ = shipped.step_model.step([7], [shipped.step_model.start()])
    assert np.allclose(logp[0], logits - np.log(np.exp(logits).sum()), atol=1e-4)


def test_steps_of_the_shipped_model_have_a_speed(shipped: Engine) -> None:
    rows, samples = measure_steps(shipped, 1, nothing)
    sizes = weight_bytes(shipped.bundle.parts["model"])
    for row in rows:
        assert row["weight_bytes"] == sizes[row["signature"]]
        runtime_ns = row["runtime"]["wall_ms"]["p50"] * 1e6
        assert row["step_gb_s"] == pytest.approx(row["weight_bytes"] / runtime_ns, rel=0.01)
        assert row["read_gb_s"] > 0
        assert row["count"] == row["runtime"]["count"] == BURST
    assert list(samples) == [f"{n}, B = {b}" for b in (1, 4, 8, 16) for n in ("state", "logits")]


# Typing


def test_every_key_is_counted_once_by_its_prefix() -> None:
    lines = ["I don't see you there 😂", "ok, tomorrow"]
    samples = type_lines(lambda: toy_engine().session(SLOTS), lines, 3, nothing)
    prefixes = Counter(
        key_name(len(text.split_open_word(line[:end])[1]))
        for line in lines
        for end in range(1, len(line) + 1)
    )
    assert {name: len(samples[name]) for name in prefixes} == prefixes
    assert len(samples["key press"]) == sum(map(len, lines))
    assert len(samples["committed word"]) == sum(len(line.split(" ")) for line in lines)
    assert len(samples["backspace"]) == BACKSPACES * len(lines)
    assert len(samples["cursor jump"]) == JUMPS * len(lines)


def test_what_a_text_has_none_of_is_left_out() -> None:
    samples = type_lines(lambda: toy_engine().session(SLOTS), ["I am"], 3, nothing)
    assert key_name(2) in samples
    assert key_name(3) not in samples
    assert key_name(4) not in samples


# Processes


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("bench") / "toy.bundle")


def test_a_fresh_process_tells_its_figures(bundle: Path) -> None:
    ticks: list[int] = []
    found = measure_process(bundle, ["see you 😂"], SLOTS, 3, 2, lambda: ticks.append(1))
    assert len(ticks) == 3
    assert found["start"]["count"] == 2
    whole = found["start"]["whole_ms"]["min"]
    assert sum(found["start"][step]["min"] for step in STEPS if step != "whole_ms") < whole
    memory = found["memory"]
    assert set(memory) == set(PLACES)
    if Path("/proc/self/status").exists():
        assert 0 < memory["python_bytes"] < memory["after_load_bytes"]
        assert memory["after_typing_bytes"] <= memory["peak_bytes"]


def test_memory_is_the_childs_own(bundle: Path) -> None:
    """What this process holds doesn't count (as it would in a child's `ru_maxrss`)."""
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell what is resident")
    before = start(bundle, [], SLOTS, 3)
    ballast = np.ones(200_000_000, np.int8)
    after = start(bundle, [], SLOTS, 3)
    for place in ("after_load_bytes", "peak_bytes"):
        assert abs(after[place] - before[place]) < ballast.nbytes // 4


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"failed: .*no such file; give the path of a \.bundle"):
        start(tmp_path / "none.bundle", [], SLOTS, 3)


# Lexicons


@pytest.mark.parametrize("size", [1, 50, 600, 3000])
def test_lexicons_have_the_size_asked_for(size: int) -> None:
    entries = entries_of_size(toy_lexicon(), toy_vocabulary(), size)
    assert len({entry.word for entry in entries}) == len(entries) == size
    assert all(a.logp >= b.logp for a, b in pairwise(entries))
    built = Lexicon.build(entries, toy_vocabulary())
    assert len(built) == size, "every word can be spelt"
    assert entries == entries_of_size(toy_lexicon(), toy_vocabulary(), size)


def test_known_words_come_before_blends() -> None:
    known = {entry.word for entry in toy_entries()}
    entries = entries_of_size(toy_lexicon(), toy_vocabulary(), len(toy_lexicon()) + 100)
    words = [entry.word for entry in entries]
    assert set(words[: len(toy_lexicon())]) <= known
    assert not set(words[len(toy_lexicon()) :]) & known
    assert entries_of_size(toy_lexicon(), toy_vocabulary(), 20) == entries[:20]


def test_too_few_words_for_the_size() -> None:
    two = Lexicon.build(toy_entries()[:2], toy_vocabulary())
    with pytest.raises(ValueError, match="2 words do not give 500 by blending"):
        entries_of_size(two, toy_vocabulary(), 500)
    with pytest.raises(ValueError, match="a lexicon of 0 words cannot be"):
        entries_of_size(two, toy_vocabulary(), 0)


def test_lexicons_are_built_and_read_back() -> None:
    lexicons, found = build_lexicons(toy_lexicon(), toy_vocabulary(), (100, 700), nothing)
    assert {size: len(lexicon) for size, lexicon in lexicons.items()} == {100: 100, 700: 700}
    assert [curve.what for curve in found] == ["lexicon built", "lexicon loaded"]
    assert all(len(s) == 1 for curve in found for s in curve.samples.values())


# Growth


@pytest.mark.parametrize(("power", "factor"), [(0, 1), (0.5, 10**0.5), (1, 10), (2, 100)])
def test_the_slope_of_made_up_curves(power: float, factor: float) -> None:
    xs = [10, 30, 100, 5000]
    assert factor_per_tenfold(xs, [3 * x**power for x in xs]) == pytest.approx(factor)


@pytest.mark.parametrize(("xs", "costs"), [([5, 5], [1, 2]), ([0, 5], [1, 2]), ([1, 5], [0, 2])])
def test_no_slope(xs: list[float], costs: list[float]) -> None:
    with pytest.raises(ValueError, match="two sizes"):
        factor_per_tenfold(xs, costs)


@pytest.mark.parametrize(
    ("at_ten_thousand", "verdict"), [(1.0, "flat"), (0.5, "flat"), (1.5, "flat"), (1.6, "grows")]
)
def test_flat_is_15_percent_for_ten_times_as_much(at_ten_thousand: float, verdict: str) -> None:
    samples = {10: samples_of(1, 1, 9), 10_000: samples_of(at_ten_thousand)}
    curve = Curve("key press", "characters of context", True, samples)
    summary = json.loads(json.dumps(curve.summary()))
    assert summary["verdict"] == verdict
    assert summary["factor_per_tenfold"] == pytest.approx(at_ten_thousand ** (1 / 3), abs=1e-3)
    assert [point["x"] for point in summary["points"]] == [10, 10_000]


def test_the_first_turn_of_a_curve_is_not_counted() -> None:
    fields = {x: toy_engine().session(SLOTS) for x in (10, 200)}
    trial = ContextTrial(LINES, 200, 3, 3)
    found = curves("characters of context", ("key press",), fields, trial, 3, nothing)
    assert {c.what: c.must_be_flat for c in found} == {
        "first suggestion": False, "key press": True, "committed word": False
    }  # fmt: skip
    first = next(curve for curve in found if curve.what == "first suggestion")
    assert {x: len(s) for x, s in first.samples.items()} == {10: 3, 200: 3}


@pytest.mark.parametrize("x", [10, 333, 5000])
def test_a_context_has_the_length_asked_for(x: int) -> None:
    field = toy_engine().session(SLOTS)
    trial = ContextTrial(LINES, 5000, 1, 3)
    endings = []
    for turn in range(2):
        trial(field, x, turn, defaultdict(Samples))
        left = field.text[:x]
        assert len(left) == x
        assert left.endswith(" ")
        assert len(field.text) > x, "a word was committed after it"
        endings.append(left)
    longer = toy_engine().session(SLOTS)
    trial(longer, 5000, 1, defaultdict(Samples))
    assert longer.text[:5000].endswith(endings[1]), "all lengths end in the same words"


def test_earlier_messages_are_those_before_the_line() -> None:
    field = toy_engine().session(SLOTS)
    samples: defaultdict[str, Samples] = defaultdict(Samples)
    EarlierTrial(LINES, 3)(field, 4, 10, samples)
    assert field.context.earlier == LINES[6:10]
    first, *words = LINES[10].split()
    assert field.text == " ".join([first, *words[:-1], words[-1][:4]])
    assert len(samples["key press"]) == sum(len(word[:4]) for word in words)
    assert len(samples["first suggestion"]) == 1


def test_a_line_of_one_word_is_timed_too() -> None:
    samples: defaultdict[str, Samples] = defaultdict(Samples)
    EarlierTrial(["hi"], 3)(toy_engine().session(SLOTS), 1, 0, samples)
    assert len(samples["key press"]) == 2


def test_words_are_typed_by_their_first_letters() -> None:
    samples: defaultdict[str, Samples] = defaultdict(Samples)
    WordsTrial(["see you tomorrow"], 3)(toy_engine().session(SLOTS), 10, 0, samples)
    assert {name: len(s) for name, s in samples.items()} == {"key press": 3 + 3 + 4}
