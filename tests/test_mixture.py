"""The mixture against its formula; the table as it is built, written and read."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kbengine
from kbengine.bundle import read_bundle, write_bundle
from kbengine.errors import BundleError, KbengineError
from kbengine.evaluate.lines import Line
from kbengine.lm.mixture import STEPS_PER_NAT, MixtureModel, MixtureOptions, NgramTable, shares
from kbengine.lm.ngram import NgramModel
from kbengine.predict import context_pieces
from kbengine.vocab import BOS, EOS
from tests.toys import toy_bundle, toy_manifest, toy_parts
from train.__main__ import main
from train.cache import read_line
from train.mixture import fit, mixed_logp, shares_along
from train.ngrams import DISCOUNT, LEAST_HISTORY, NgramOptions, build

SIZE = 12
BASE = NgramModel.fit([[BOS, 5, 6, 7, EOS], [BOS, 6, 5, 9, 10, EOS]], 3, SIZE)
RNG = np.random.default_rng(5)
TEXT = np.concatenate(
    [np.append(RNG.choice([5, 6, 7, 8, 9], 7, p=[0.4, 0.3, 0.1, 0.1, 0.1]), EOS) for _ in range(80)]
).astype(np.uint16)
OPTIONS = MixtureOptions(0.3, 0.2, 0.4)
EVERYTHING = NgramOptions(10_000, 10_000)
paths = st.lists(st.sampled_from([EOS, 5, 6, 7, 8, 9, 10]), max_size=12)


def grams(length: int) -> Counter[tuple[int, ...]]:
    pieces = TEXT.tolist()
    found = Counter(tuple(pieces[i : i + length]) for i in range(len(pieces) - length + 1))
    return Counter({g: n for g, n in found.items() if EOS not in g[1:-1]})


def predict(model: MixtureModel, path: list[int]) -> np.ndarray:
    state = model.start()
    for piece in [BOS, *path][:-1]:
        (state,) = model.advance([piece], [state])
    return model.step([[BOS, *path][-1]], [state])[0][0]


@given(paths)
def test_it_is_the_formula_and_sums_to_one(path: list[int]) -> None:
    table = build([TEXT], SIZE, EVERYTHING, [1])
    model = MixtureModel(BASE, table, OPTIONS)
    got = predict(model, path)
    state = BASE.start()
    for piece in [BOS, *path][:-1]:
        (state,) = BASE.advance([piece], [state])
    p = np.exp(BASE.step([[BOS, *path][-1]], [state])[0][0].astype(np.float64))
    first, second = ([-1, EOS, *path])[-2:]
    (second_pieces, q2), (third_pieces, q3) = shares(table, first, second)
    a = OPTIONS.pair_beside if len(third_pieces) else OPTIONS.pair
    p *= 1 - a * q2.sum() - OPTIONS.triple * q3.sum()
    p[second_pieces] += a * q2
    p[third_pieces] += OPTIONS.triple * q3
    assert np.allclose(np.exp(got), p, atol=1e-5)
    assert math.isclose(float(np.exp(got.astype(np.float64)).sum()), 1, abs_tol=1e-5)


def test_a_batch_gives_what_each_gives_alone() -> None:
    model = MixtureModel(BASE, build([TEXT], SIZE, EVERYTHING, [1]), OPTIONS)
    states = [model.advance([p], [model.start()])[0] for p in (BOS, 5, 6)]
    together, after = model.step([5, 6, 7], states)
    for piece, state, row, end in zip([5, 6, 7], states, together, after, strict=True):
        alone, (alone_end,) = model.step([piece], [state])
        assert np.array_equal(alone[0], row)
        assert alone_end[1:] == end[1:]


def test_shares_are_those_of_the_text() -> None:
    table = build([TEXT], SIZE, EVERYTHING, [1])
    single, double, triple = grams(1), grams(2), grams(3)
    step = math.exp(0.5 / STEPS_PER_NAT)
    for history in (5, 6, 8, EOS):
        pieces, q = shares(table, -1, history)[0]
        assert set(pieces.tolist()) <= {w for (h, w), n in double.items() if h == history and n > 1}
        for w, share in zip(pieces.tolist(), q.tolist(), strict=True):
            exact = (double[history, w] - DISCOUNT) / single[history,]
            assert exact / step <= share * 1.0001
            assert share <= exact * step * 1.0001
    pieces, q = shares(table, 5, 6)[1]
    assert len(pieces), "common enough"
    for w, share in zip(pieces.tolist(), q.tolist(), strict=True):
        exact = (triple[5, 6, w] - DISCOUNT) / double[5, 6]
        assert abs(math.log(share / exact)) <= 0.5 / STEPS_PER_NAT + 1e-6


def test_the_options_bound_it_and_a_triple_needs_its_pair() -> None:
    small = build([TEXT], SIZE, NgramOptions(6, 4), [1])
    assert len(small.pairs) <= 6
    assert len(small.triples) <= 4
    whole = build([TEXT], SIZE, EVERYTHING, [1])
    assert len(whole) > len(small) > 0
    for first in range(SIZE):
        for second in range(SIZE):
            begin, end = whole.after_pair(first, second)
            if end > begin:
                assert second in whole.pairs[slice(*whole.after(first))]
                assert grams(2)[first, second] >= LEAST_HISTORY


def test_sources_count_by_their_weights() -> None:
    one = np.array([5, 6, EOS] * 3, np.uint16)
    other = np.array([5, 7, EOS] * 2, np.uint16)
    table = build([one, other], SIZE, EVERYTHING, [2, 0.5])
    (pieces, shares2), _ = shares(table, -1, 5)
    wanted = {
        6: 2 * (3 - DISCOUNT) / (2 * 3 + 0.5 * 2),
        7: 0.5 * (2 - DISCOUNT) / (2 * 3 + 0.5 * 2),
    }
    assert dict(zip(pieces.tolist(), shares2.tolist(), strict=True)) == pytest.approx(
        wanted, rel=0.04
    )
    thrice = build([one, other], SIZE, EVERYTHING, [6, 1.5])
    assert thrice.to_bytes() == table.to_bytes()
    alone = build([one], SIZE, EVERYTHING, [1])
    assert build([one, other], SIZE, EVERYTHING, [2, 0]).to_bytes() == alone.to_bytes()


def test_a_table_is_written_and_read() -> None:
    table = build([TEXT], SIZE, EVERYTHING, [1])
    again = NgramTable.from_bytes(table.to_bytes())
    assert again.to_bytes() == table.to_bytes()
    assert len(again) == len(table) > 0


@given(st.integers(0, 2**31))
@settings(max_examples=300)
def test_a_broken_table_is_refused_or_still_a_table(seed: int) -> None:
    data = bytearray(build([TEXT], SIZE, NgramOptions(30, 30), [1]).to_bytes())
    rng = np.random.default_rng(seed)
    for _ in range(rng.integers(1, 4)):
        data[rng.integers(len(data))] = rng.integers(256)
    try:
        table = NgramTable.from_bytes(bytes(data[: rng.integers(len(data) // 2, len(data) + 9)]))
    except BundleError:
        return
    if table.vocab_size != SIZE:
        return
    for path in ([], [5], [5, 6], [6, 9]):
        assert np.isfinite(predict(MixtureModel(BASE, table), path)).all()


def test_a_bundle_carries_it_and_one_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    path = toy_bundle(tmp_path / "toy.bundle")
    plain = kbengine.load(path)
    size = plain.model.vocab_size
    bundle = read_bundle(path)
    manifest = {k: v for k, v in bundle.manifest.items() if k != "parts"}
    pieces = plain.vocabulary.encode("see you in london")
    text = np.array([*pieces, EOS] * 20, np.uint16)
    for vocab_size in (size, size + 1):
        table = build([text], vocab_size, EVERYTHING, [1])
        write_bundle(
            tmp_path / f"{vocab_size}.bundle",
            manifest,
            {**bundle.parts, "ngrams": table.to_bytes()},
        )
    mixed = kbengine.load(tmp_path / f"{size}.bundle")

    def logp(engine: kbengine.Engine) -> float:
        found = engine.suggest("see you in ", 9, slots="words")
        return next((c.logp for c in found if c.text == "London"), -99.0)

    assert logp(mixed) > logp(plain)
    assert isinstance(mixed.step_model, type(plain.step_model))
    with pytest.raises(KbengineError, match="pieces"):
        kbengine.load(tmp_path / f"{size + 1}.bundle")


def test_what_is_fitted_is_the_mixture() -> None:
    engine = kbengine.load()
    line = Line("see you in london at ten")
    pieces = [*context_pieces(engine.vocabulary, (), line.text)[1], EOS]
    size = engine.step_model.vocab_size
    table = build([np.array(pieces[1:] * 9, np.uint16)], size, EVERYTHING, [1])
    logp, _ = read_line(engine.step_model, engine.vocabulary, line)
    along = shares_along(table, pieces, 1)
    model, found = MixtureModel(engine.step_model, table, OPTIONS), []
    state = model.start()
    for piece, after in pairwise(pieces):
        row, (state,) = model.step([piece], [state])
        found.append(row[0, after])
    assert np.allclose(mixed_logp(logp, along, OPTIONS), found, atol=1e-4)
    best, gain = fit([(logp, along)])
    assert best.triple == 0.3, "a text that the table knows by heart"
    assert gain > 0
    nothing = dataclasses.replace(best, pair=0.0, pair_beside=0.0, triple=0.0)
    assert np.allclose(mixed_logp(logp, along, nothing), logp)


def test_a_bundle_without_ngrams_has_nothing_to_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "talk.txt"
    text.write_text("see you\n")
    bundle = tmp_path / "toy.bundle"
    parts = {name: data for name, data in toy_parts().items() if name != "ngrams"}
    write_bundle(bundle, toy_manifest(), parts)
    assert main(["mixture", "--bundle", str(bundle), "--text", str(text)]) == 1
    assert "has no n-grams" in capsys.readouterr().err
