"""The ideal user: how lines are read, what is counted, and that the neutral bench counts so too."""

from __future__ import annotations

import functools
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kbengine.evaluate.counts import counts_of
from kbengine.evaluate.figures import figures
from kbengine.evaluate.lines import Line, clean_line, read_text, words
from kbengine.evaluate.measures import fields, measures
from kbengine.evaluate.typist import Suggest, TypedWord, type_line
from tests import small_predictor

ROOT = Path(__file__).parent.parent
# The folder that holds `bench/`: the bench that the project is measured by, outside of it.
BENCH = Path(os.environ.get("KBENGINE_BENCH", ROOT.parent / "shared"))
needs_bench = pytest.mark.skipif(
    not (BENCH / "bench" / "__main__.py").exists(),
    reason="no neutral bench here; KBENGINE_BENCH names the folder that holds bench/",
)
CALLED_OTHERWISE = {"after_1_letter_top3": "after_1_top3", "after_2_letters_top3": "after_2_top3"}


# Lines


def test_lines_are_cleaned() -> None:
    assert clean_line(" \u201cDon\u2019t\u201d\u00a0 go\t\n") == '"Don\'t" go'


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("Don't stop!", ["Don't", "stop"]),
        ("'quoted' (word), 2nd", ["quoted", "word", "nd"]),
        ("e-mail 10:30 www.x.org a1b", []),
        ("rock'n'roll '' ...", ["rock'n'roll"]),
        ("caf\u00e9 \U0001f602ok", ["caf\u00e9", "ok"]),
    ],
)
def test_words(line: str, found: list[str]) -> None:
    assert [word.text for word in words(line)] == found
    assert all(line[word.start : word.end] == word.text for word in words(line))


def test_lines_of_a_file_know_their_place(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"one\r\n\n  two \nthree\nfour")
    assert read_text(path, earlier=2).lines == (
        Line("one", 1), Line("two", 3, ("one",)),
        Line("three", 4, ("one", "two")), Line("four", 5, ("two", "three")),
    )  # fmt: skip
    assert [line.text for line in read_text(path, limit=2).lines] == ["one", "two"]
    drawn = read_text(path, 2, sample_seed=1, earlier=1).lines
    # random.Random(1).sample(range(4), 2) is [1, 2]
    assert drawn == (Line("two", 3, ("one",)), Line("three", 4, ("two",)))
    # ... and random.Random(2).sample(range(4), 3) is [0, 3, 2]: the file's order is kept
    assert [line.number for line in read_text(path, 3, sample_seed=2).lines] == [1, 4, 5]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b" \n\n", "holds no text"),
        (b"a\nb\xff\n", "line 2 is not UTF-8"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        read_text(path)


# Counts, worked by hand


def shows(table: Mapping[tuple[str, str], Sequence[str]]) -> Suggest:
    return lambda before, typed: table.get((before, typed), ())


def test_nothing_shown() -> None:
    found = type_line("to be, or", shows({}), 3, 3)
    sums = found.sums
    assert (sums["words"], sums["chars"], sums["letters"], sums["letters_typed"]) == (3, 9, 6, 6)
    assert sums["keys"] == sums["keys_exact"] == sums["keys_phrases"] == 9
    # at once: "to ", "be", ", ", "or"; after a letter: one more key for each word
    assert (sums["keys_bound_0"], sums["keys_bound_1"]) == (1 + 1 + 2 + 1, 2 + 2 + 2 + 2)
    assert found.words == [TypedWord(2, 0, 3, 0), TypedWord(2, 1, 2, 0), TypedWord(2, 2, 2, 0)]


def test_a_pick_types_the_space_after_it() -> None:
    table = {("", ""): ["a", "To"], ("to ", "b"): ["by", "but", "be"]}
    found = type_line("to be or", shows(table), 3, 3)
    # "to " for one key, "b" and "be " for two, "or" for two
    assert found.sums["keys"] == 1 + 2 + 2
    assert found.sums["keys_exact"] == 3 + 2 + 2  # "To" is not "to"
    assert found.sums["letters_typed"] == 0 + 1 + 2
    assert (found.sums["top1"], found.sums["top3"], found.sums["exact3"]) == (0, 1, 0)
    # after t, b and o; be was there, third
    assert (found.sums["prefixes"], found.sums["after1"], found.sums["after1_top3"]) == (3, 3, 1)
    assert found.sums["reciprocal_ranks"] == 1 / 3
    assert found.words[:2] == [TypedWord(2, 0, 3, 2), TypedWord(2, 1, 3, 1)]


def test_what_stands_beyond_k_is_not_picked() -> None:
    show = shows({("", ""): ["a", "b", "c", "to"]})
    assert [type_line("to be", show, k, 1).sums["keys"] for k in (3, 4)] == [5, 3]
    assert type_line("to be", show, 3, 1).sums["top5"] == 1


def test_tokens_that_are_no_words_are_typed() -> None:
    show = shows({("", ""): ["at"], ("at 10:30 ", ""): ["ok"]})
    assert type_line("at 10:30 ok", show, 3, 1).sums["keys"] == 1 + 6 + 1


def test_a_phrase_is_picked_where_the_line_goes_on_with_all_of_it() -> None:
    table = {
        ("", ""): ["See you", "so"],
        ("see ", ""): ["the end"],
        ("see you ", "so"): ["so on", "soon"],
    }
    sums = type_line("see you soon", shows(table), 3, 3).sums
    assert (sums["keys"], sums["keys_phrases"]) == (8 + 3, 1 + 3)
    assert (sums["phrases_shown"], sums["phrases_right"]) == (2, 1)
    assert type_line("to bed", shows({("", ""): ["to be"]}), 3, 1).sums["keys_phrases"] == 6


def test_the_earlier_of_word_and_phrase_is_picked_and_the_phrase_where_both_are() -> None:
    late = {("", ""): ["see"], ("", "s"): ["see you"]}
    assert type_line("see you", shows(late), 3, 1).sums["keys_phrases"] == 1 + 3
    both = {("", ""): ["see", "see you"]}
    assert type_line("see you", shows(both), 3, 1).sums["keys_phrases"] == 1


# The neutral bench


def small_figures(k: int) -> dict[str, float | None]:
    """What is found for the small predictor on its text."""
    lines = [clean_line(line) for line in small_predictor.TEXT.splitlines()]
    sums: list[Mapping[str, float]] = []
    show = functools.partial(small_predictor.suggest, k=max(k, 5))
    for line in filter(None, lines):
        sums.append(type_line(line, show, k, 3).sums)
    counts = counts_of(sums, fields(3), {"wall": [], "cpu": []})
    found = figures(counts, measures(3))
    totals = {name: float(values.sum()) for name, values in counts.fields.items()}
    return {**totals, **{name: figure.value for name, figure in found.items()}}


def assert_agree(ours: Mapping[str, Any], bench: Mapping[str, Any]) -> None:
    """Whatever the bench counts has the same digits; 1/rank is summed in another order."""
    apart = {"lines", "wpr"}  # lines: no figure; wpr: its top-3
    shared = {k for k in bench if not k.endswith("_ci95")} - apart
    assert len(shared) >= 18
    for name in shared:
        here = ours[CALLED_OTHERWISE.get(name, name)]
        if name == "completion_mrr":
            assert here == pytest.approx(bench[name], rel=1e-12)
        else:
            assert here == bench[name], name


# python tests/small_predictor.py text > small.txt
# python -m bench run --predictor "python tests/small_predictor.py" --data small.txt --out r.json
RECORDED = {
    "after_1_letter_top3": 0.7027027027027027, "after_2_letters_top3": 0.7307692307692307,
    "chars": 197, "completion_mrr": 0.5697278911564625, "keys": 137, "ksr": 0.30456852791878175,
    "ksr_bound_0": 0.6192893401015228, "ksr_bound_1": 0.4263959390862944,
    "ksr_exact_case": 0.2436548223350254, "ksr_phrases": 0.39593908629441626,
    "kss": 0.5036496350364964, "phrase_coverage": 0.6666666666666666,
    "phrase_precision": 0.038461538461538464, "top1": 0.07692307692307693,
    "top1_exact_case": 0.05128205128205128, "top3": 0.1794871794871795,
    "top3_exact_case": 0.1282051282051282, "top5": 0.23076923076923078,
    "top5_exact_case": 0.1794871794871795, "words": 39,
}  # fmt: skip


def test_figures_are_those_that_the_bench_gave() -> None:
    assert_agree(small_figures(3), RECORDED)


def run_bench(out: Path, predictor: list[str], data: Path, *options: str) -> dict[str, Any]:
    """The figures of the bench; `out` is its result file."""
    subprocess.run(
        [
            sys.executable, "-m", "bench", "run", "--predictor", shlex.join(predictor),
            "--data", str(data), "--out", str(out), "--quiet", *options,
        ],
        cwd=BENCH, check=True, capture_output=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))["measures"]
    return found


@needs_bench
@pytest.mark.parametrize("k", [1, 3, 6])
def test_the_bench_gives_the_same_now(tmp_path: Path, k: int) -> None:
    data = tmp_path / "small.txt"
    data.write_text(small_predictor.TEXT, encoding="utf-8")
    program = [sys.executable, str(ROOT / "tests" / "small_predictor.py")]
    bench = run_bench(tmp_path / "r.json", program, data, "-k", str(k))
    assert_agree(small_figures(k), bench)


@needs_bench
@pytest.mark.parametrize("slots", ["words", "words:2,phrase:1"])
def test_the_bench_and_eval_agree_on_the_shipped_model(tmp_path: Path, slots: str) -> None:
    """The server's process on the one side, the engine in process on the other."""
    data = tmp_path / "small.txt"
    lines = (ROOT / "data" / "chat_dev.txt").read_text(encoding="utf-8").splitlines(True)
    data.write_text("".join(lines[:14]), encoding="utf-8")
    options = ["--limit", "12", "--sample-seed", "3", "--earlier", "2"]
    kbengine = [sys.executable, "-m", "kbengine"]
    server = [*kbengine, "serve", "--stdio", "--slots", slots]
    # The bench runs from its own folder: the server is to be this checkout's.
    server = ["env", f"PYTHONPATH={ROOT}", *server]
    bench = run_bench(tmp_path / "r.json", server, data, *options)
    done = subprocess.run(
        [*kbengine, "eval", str(data), "--slots", slots, *options, "--json"],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    overall = json.loads(done.stdout)["overall"]
    ours = {name: value for name, (value, _, _) in overall["figures"].items()}
    assert_agree({**overall["sums"], **ours}, bench)
    assert bench["top3"] > 0.1  # something was suggested
