"""`train cache`: the formula over counts is the engine's cache, and the fit finds what is there."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import kbengine
from kbengine.evaluate.lines import Line
from kbengine.lm.cache import CacheModel, CacheOptions
from kbengine.predict import context_pieces
from kbengine.vocab import EOS
from tests.toys import toy_bundle
from train.__main__ import main
from train.cache import fit, mixed_logp, read_line

OPTIONS = CacheOptions((90.0, 20.0, 6.0, 4.0, 3.0), (0.4, 0.3, 0.6, 0.5, 0.7))


def test_the_counts_give_what_the_cache_gives() -> None:
    engine = kbengine.load()
    line = Line("see Katie at the film at eight, see Katie", 1, ("Katie is at the film",) * 20)
    logp, counts = read_line(engine.step_model, engine.vocabulary, line)
    cached = CacheModel(engine.step_model, engine.vocabulary.boundary, OPTIONS)
    heard, stepped = context_pieces(engine.vocabulary, line.earlier, line.text)
    assert heard
    state, found = cached.start(heard), []
    for piece, after in pairwise([*stepped, EOS]):
        row, (state,) = cached.step([piece], [state])
        found.append(row[0, after])
    assert np.allclose(mixed_logp(logp, counts, OPTIONS), found[-len(logp) :], atol=1e-4)


def test_a_text_that_repeats_itself_is_trusted_more_than_one_that_does_not() -> None:
    model, vocabulary = kbengine.load().step_model, kbengine.load().vocabulary
    again = read_line(model, vocabulary, Line("kumquat sorbet please", 1, ("kumquat sorbet",) * 4))
    once = read_line(model, vocabulary, Line("nobody answers me today", 1, ("kumquat sorbet",)))
    _, gain = fit([again])
    _, little = fit([once])
    assert gain > 0.5
    assert little < 0.05


def test_as_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "talk.txt"
    text.write_text("see you in london\nin london at ten\nsee you\n")
    bundle = toy_bundle(tmp_path / "toy.bundle")
    assert main(["cache", "--bundle", str(bundle), "--text", str(text), "--earlier", "2"]) == 0
    said = capsys.readouterr().out
    assert said.count("talk.txt") == 2
    assert "strength = (" in said
    assert main(["cache", "--text", str(tmp_path / "none.txt")]) == 1
    assert "no such file" in capsys.readouterr().err
