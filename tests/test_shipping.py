"""The shipping form: codings, the file, hostile files, coarser weights, the verbs."""

from __future__ import annotations

import hashlib
import json
import lzma
import random
import sys
import zlib
from collections.abc import Callable
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kbengine
from kbengine import cli
from kbengine.bundle import read_bundle
from kbengine.coding import CODINGS, decode_grid, encode_grid, on_grid
from kbengine.container import member_bytes
from kbengine.errors import BundleError
from kbengine.lm.stepfile import check
from kbengine.lm.tflite import TFLiteModel
from kbengine.packaged import DEFAULT_BUNDLE
from kbengine.shipping import FORMAT, Stretch, is_shipped, look, read_shipped, write_shipped
from tests import hostile
from tests.shipped import archived, shipped_members, small_shipped, small_whole
from tests.soak import times
from tests.toys import toy_bundle
from train import __main__ as train
from train import coarse, quantize
from train.shipping import entropy_bytes, matrices, stretches

NANO = DEFAULT_BUNDLE.with_name("en-nano.bundle")
TALK = np.array([1, *range(3, 400, 7)], np.int32)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBENGINE_CACHE", str(tmp_path / "cache"))


# Codings


@pytest.mark.parametrize("kind", CODINGS)
@given(data=st.binary(max_size=300) | st.binary(min_size=1, max_size=3).map(lambda b: b * 900))
def test_a_coding_gives_back_what_it_got(kind: str, data: bytes) -> None:
    data = data[: len(data) // 2 * 2]  # some are of numbers of two bytes
    coded = CODINGS[kind].encode(data)
    assert CODINGS[kind].decode(coded, len(data)) == data


@pytest.mark.parametrize("kind", CODINGS)
def test_a_coding_gives_no_more_and_no_less_than_it_says(kind: str) -> None:
    data = bytes(range(200)) * 3
    coded = CODINGS[kind].encode(data)
    for wrong in (coded[:-1], coded[: len(coded) // 2], coded + b"\0", b"", b"\xff" * 40):
        with pytest.raises(ValueError):
            CODINGS[kind].decode(wrong, len(data))
    for size in (0, len(data) - 2, len(data) + 2):
        with pytest.raises(ValueError):
            CODINGS[kind].decode(coded, size)


def test_rising_numbers_cost_less_by_their_differences() -> None:
    numbers = np.cumsum(np.random.default_rng(1).integers(0, 9, 4000)).astype("<u2").tobytes()
    assert len(CODINGS["rising"].encode(numbers)) < 0.8 * len(CODINGS["words"].encode(numbers))


def test_a_grid_s_weights_are_those_of_exact_arithmetic() -> None:
    """All codes with all steps, rounded half up and bounded."""
    steps, codes = np.arange(256, dtype=np.uint8), np.arange(-128, 128).astype(np.int8)
    found = on_grid(np.tile(codes, (256, 1)), steps)
    for step in range(0, 256, 5):
        right = [floor(Fraction(int(c) * step, 4) + Fraction(1, 2)) for c in codes]
        assert found[step].tolist() == [max(-127, min(127, w)) for w in right]


def test_a_step_of_four_quarters_alters_no_weight() -> None:
    weights = np.arange(-127, 128).astype(np.int8).reshape(3, -1)
    coded = encode_grid(weights, np.full(3, 4, np.uint8))
    assert decode_grid(coded, weights.size, 3) == weights.tobytes()


@pytest.mark.parametrize("rows", [0, -1, 2, 256, 10**9])
def test_a_grid_of_other_rows_is_refused(rows: int) -> None:
    coded = encode_grid(np.ones((3, 85), np.int8), np.full(3, 9, np.uint8))
    with pytest.raises(ValueError):
        decode_grid(coded, 255, rows)


# The file


def test_parts_come_back_bit_by_bit(tmp_path: Path) -> None:
    path = tmp_path / "small.shipped"
    path.write_bytes(small_shipped())
    assert is_shipped(path)
    found = read_shipped(path)
    assert found.parts == small_whole().parts
    assert list(found.parts) == list(small_whole().parts)
    assert found.manifest == small_whole().manifest
    assert path.stat().st_size < 0.97 * small_whole().file_bytes
    assert look(path).coded_bytes == {
        name: size for name, size in member_bytes(path).items() if name != "manifest.json"
    }


def test_the_engine_of_a_shipped_file_is_that_of_its_bundle(tmp_path: Path) -> None:
    shipped, bundle = tmp_path / "small.shipped", tmp_path / "small.bundle"
    shipped.write_bytes(small_shipped())
    bundle.write_bytes(hostile.small_bundle())
    one, other = kbengine.load(shipped), kbengine.load(bundle)
    for line in ("see you t", "happy birthday ", ""):
        assert one.suggest(line, 5) == other.suggest(line, 5)


def test_a_program_that_does_not_know_the_form_says_so(tmp_path: Path) -> None:
    """What reads bundles alone is what older programs do."""
    path = tmp_path / "small.shipped"
    path.write_bytes(small_shipped())
    with pytest.raises(BundleError, match=f"is of format {FORMAT}, this program reads 1; update"):
        read_bundle(path)


def test_what_is_no_shipped_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no shipped bundle; give one that `train quantize"):
        read_shipped(toy_bundle(tmp_path / "toy.bundle"))
    with pytest.raises(BundleError, match="no such file"):
        read_shipped(tmp_path / "none")


# Hostile files


def mutated(seed: int) -> bytes:
    """A shipped file damaged as a whole, or in one member by one who knows archives."""
    draw = random.Random(seed)
    damage = draw.choice(hostile.BYTES)
    if draw.random() < 0.4:
        return damage(small_shipped(), draw)
    manifest, members = shipped_members()
    if draw.random() < 0.5:
        name = draw.choice(list(members))
        members[name] = damage(members[name], draw)
        return archived(manifest, members)
    rows = manifest["coding"][draw.choice(list(members))]
    row = draw.choice(rows)
    key = draw.choice(list(row))
    row[key] = draw.choice([0, -1, 1, 2**62, None, "x", row[key], 1.5, float("nan"), *CODINGS])
    if draw.random() < 0.3:
        rows.append(dict(row))
    return archived(manifest, members)


@pytest.mark.soak
def test_a_forged_shipped_file_is_refused_or_whole(tmp_path: Path) -> None:
    path = tmp_path / "forged.shipped"
    told: dict[int, str] = {}
    whole = 0
    for seed in range(times(300, 10_000)):
        path.write_bytes(mutated(seed))
        try:
            found = read_shipped(path)
        except BundleError as error:
            told[seed] = str(error)
        else:
            assert found.parts == small_whole().parts, seed
            whole += 1
    assert not [(seed, text) for seed, text in told.items() if not hostile.one_sentence(text)]
    assert len(told) > 2 * whole > 0


Alter = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "alter",
    [
        lambda m: m.pop("bundle"),
        lambda m: m.update(bundle=[]),
        lambda m: m.pop("coding"),
        lambda m: m["coding"].pop("model"),
        lambda m: m["coding"].update(model=[]),
        lambda m: m["coding"].update(model=m["coding"]["model"] * 50),
        lambda m: m["bundle"].pop("format"),
        lambda m: m["bundle"].update(format=True),
        lambda m: m["bundle"].update(format=2),
        lambda m: m["bundle"].update(notice=float("nan")),
        lambda m: m["bundle"]["parts"]["model"].update(bytes=1 << 40),
        lambda m: m["bundle"]["parts"]["model"].update(sha256="0" * 64),
        lambda m: m["bundle"].update(family="oracle"),
        lambda m: m["bundle"].update(deep=json.loads("[" * 50 + "]" * 50)),
        lambda m: m["coding"]["emoji"][0].update(coded=1 << 40),
        lambda m: m["coding"]["emoji"][0].update(kind="zip"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(tmp_path: Path, alter: Alter) -> None:
    manifest, members = shipped_members()
    alter(manifest)
    path = tmp_path / "odd.shipped"
    path.write_bytes(archived(manifest, members))
    with pytest.raises(BundleError) as caught:
        kbengine.load(path)
    assert hostile.one_sentence(str(caught.value))


@pytest.mark.skipif(sys.platform != "linux", reason="children get Linux's RLIMIT_AS")
@pytest.mark.parametrize("kind", ["bytes", "codes", "grid"])
def test_a_bomb_is_refused(tmp_path: Path, kind: str) -> None:
    """A stretch of much more than it says, in a process that may not have the room for it."""
    manifest, members = shipped_members()
    size = times(400, 4000) << 20
    if kind == "bytes":
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 4096}]
        packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters)
        bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()
    else:
        coder = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = b"".join(coder.compress(bytes(1 << 20)) for _ in range(size >> 20)) + coder.flush()
        if kind == "grid":
            steps = CODINGS["bytes"].encode(b"\4")
            bomb = len(steps).to_bytes(4, "little") + steps + bomb
    # A part whose size its manifest may state, and which has room for the coded bytes.
    raw = manifest["bundle"]["parts"]["model"]["bytes"] = max(len(bomb), 4 << 20)
    row = {"kind": kind, "bytes": raw, "coded": len(bomb), "rows": 1}
    manifest["coding"]["model"] = [row]
    path = tmp_path / "bomb.shipped"
    path.write_bytes(archived(manifest, {**members, "model": bomb}))
    program = "from tests import hostile\nprint(hostile.verdict(Path(sys.argv[1])))"
    done = hostile.run_limited(200_000_000, program, str(path))
    assert done.returncode == 0, done.stderr
    assert "BundleError" in done.stdout
    assert "longer or shorter" in done.stdout


# Coarser weights


@pytest.fixture(scope="module")
def expected() -> np.ndarray[Any, Any]:
    return coarse.usage(TFLiteModel(small_whole().parts["model"]), TALK)


def test_usage_is_a_mean_of_probabilities(expected: np.ndarray[Any, Any]) -> None:
    assert expected.min() > 0
    assert expected.sum() == pytest.approx(1, abs=1e-4)


def test_coarser_weights_alter_nothing_else_of_the_file(expected: np.ndarray[Any, Any]) -> None:
    content = small_whole().parts["model"]
    found = coarse.coarser(content, expected, 9.0)
    assert check(found.content) == check(content)
    weights = matrices(content)
    assert weights
    assert set(found.grids) == {w.start for w in weights}
    patched = bytearray(found.content)
    for w in weights:
        got, was = w.of(found.content).astype(int), w.of(content).astype(int)
        steps = found.grids[w.start].steps[:, np.newaxis] / 4
        assert (np.abs(got - was) <= steps / 2 + 0.5).all()
        assert (got != was).any()
        patched[w.start : w.end] = content[w.start : w.end]
    assert bytes(patched) == content


def test_rows_that_are_expected_stay_finer(expected: np.ndarray[Any, Any]) -> None:
    content = small_whole().parts["model"]
    (table,) = (w for w in matrices(content) if w.rows == len(expected))
    steps = coarse.coarser(content, expected, 9.0).grids[table.start].steps
    often = np.argsort(-expected)
    assert steps[often[:50]].mean() < steps[often[-50:]].mean()


def test_a_file_with_grids_comes_back_bit_by_bit(
    tmp_path: Path, expected: np.ndarray[Any, Any]
) -> None:
    whole = small_whole()
    found = coarse.coarser(whole.parts["model"], expected, 9.0)
    parts = {**whole.parts, "model": found.content}
    coding = {n: stretches(n, d, found.grids if n == "model" else {}) for n, d in parts.items()}
    assert "grid" in {stretch.kind for stretch in coding["model"]}
    manifest = {**whole.manifest, "parts": quantize.described(parts)}
    path = tmp_path / "coarse.shipped"
    write_shipped(path, manifest, coding)
    assert read_shipped(path).parts == parts


def test_the_fit_uses_the_room_it_has(expected: np.ndarray[Any, Any]) -> None:
    content = small_whole().parts["model"]

    def size(found: coarse.Coarse) -> int:
        return sum(len(encode_grid(*grid)) for grid in found.grids.values())

    most, ticks = size(coarse.coarser(content, expected, 1.0)), []
    found = coarse.fit(content, expected, 0.6 * most, size, lambda: ticks.append(1))
    assert found is not None
    assert 0.57 * most < size(found) <= 0.6 * most
    assert len(ticks) == coarse.ROUNDS
    assert coarse.fit(content, expected, 10, size, lambda: None) is None


def test_the_entropy_bound_is_shannon_s() -> None:
    assert entropy_bytes(np.arange(256)) == pytest.approx(256)
    assert entropy_bytes(np.zeros(100)) == 0
    assert entropy_bytes(np.array([0, 1] * 40)) == pytest.approx(10)


# The verbs


def run(*words: object) -> int:
    return train.main(["quantize", *map(str, words)])


def test_quantize_ships_a_bundle_lossless(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nano.shipped"
    assert run(NANO, "--ship", out) == 0
    told = capfd.readouterr().out
    assert "lossless: perplexity x1.0000" in told
    assert "restored bit by bit" in told
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert out.stat().st_size < 0.99 * NANO.stat().st_size
    found = read_shipped(out)
    assert found.parts == read_bundle(NANO).parts
    assert found.manifest == read_bundle(NANO).manifest
    assert f"{out.stat().st_size:,}" in told


def test_quantize_keeps_to_a_share(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, runnable = tmp_path / "nano.shipped", tmp_path / "nano.bundle"
    assert run(NANO, "--ship", out, "--share", 0.75, "--runnable", runnable, "--pieces", 500) == 0
    told = capfd.readouterr().out
    size = out.stat().st_size
    assert 0.74 * NANO.stat().st_size < size <= 0.75 * NANO.stat().st_size
    found, given = read_shipped(out), read_bundle(NANO)
    assert found.parts == read_bundle(runnable).parts
    assert found.manifest == read_bundle(runnable).manifest
    changed = {name for name in given.parts if found.parts[name] != given.parts[name]}
    assert changed == {"model"}
    assert found.manifest["name"] == f"{given.manifest['name']}-75"
    lossy = found.manifest["lossy"]
    assert lossy["model_sha256"] == hashlib.sha256(given.parts["model"]).hexdigest()
    assert 0.99 < lossy["perplexity"] < 1.05
    assert f"perplexity x{lossy['perplexity']:.4f}" in told
    assert (lossy["steps"], lossy["share"]) == (499, 0.75)


def test_a_share_that_needs_no_loss_gets_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle, out = toy_bundle(tmp_path / "toy.bundle"), tmp_path / "toy.shipped"
    assert run(bundle, "--ship", out, "--share", 0.99) == 0
    assert "lossless" in capfd.readouterr().out
    assert read_shipped(out).parts == read_bundle(bundle).parts


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "give --ship OUT"),
        (("--ship", "none/x.shipped"), "cannot be written"),
        (("--ship", "toy.bundle"), "is a file that is read"),
        (("--ship", "text.txt"), "is a file that is read"),
        (("--ship", "x.shipped", "--runnable", "toy.bundle"), "is a file that is read"),
        (("--ship", "."), "is a folder"),
        (("--ship", "x.shipped", "--runnable", "x.shipped"), "name one file"),
        (("--ship", "x.shipped", "--share", "65"), "give one of 0 to 1"),
        (("--ship", "x.shipped", "--share", "nan"), "give one of 0 to 1"),
        (("--ship", "x.shipped", "--pieces", "1"), "give 2 or more"),
        (("--ship", "x.shipped", "--share", "0.3"), "cannot be coarser; leave --share out"),
        (("--ship", "x.shipped", "--text", "none.txt"), "none.txt"),
    ],
)
def test_quantize_says_what_is_wrong_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...], told: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    toy_bundle(Path("toy.bundle"))
    Path("text.txt").write_text("see you\n", encoding="utf-8")
    if "--text" not in words:
        words = (*words, "--text", "text.txt")
    assert run("toy.bundle", *words) == 1
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.txt", "toy.bundle"]


def test_what_is_shipped_is_not_shipped_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.shipped"
    path.write_bytes(small_shipped())
    assert run(path, "--ship", tmp_path / "x.shipped") == 1
    assert "is shipped already; give the bundle" in capsys.readouterr().err


def test_a_share_below_the_other_parts_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "small.bundle"
    bundle.write_bytes(hostile.small_bundle())
    assert run(bundle, "--ship", tmp_path / "x.shipped", "--share", 0.1, "--pieces", 40) == 1
    assert "is less than the parts beside the weights; give more" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["small.bundle"]


def test_what_another_process_restores_otherwise_is_not_shipped(tmp_path: Path) -> None:
    whole = small_whole()
    path = tmp_path / "small.shipped"
    path.write_bytes(small_shipped())
    plan = quantize.Plan(whole.manifest, whole.parts, {}, {}, quantize.Agreement())
    assert quantize._restored_bit_by_bit(path, plan) > 0
    other = plan._replace(parts={**whole.parts, "emoji": b"other"})
    with pytest.raises(BundleError, match="not restored to what was shipped"):
        quantize._restored_bit_by_bit(path, other)
    path.write_bytes(small_shipped()[:-1])
    with pytest.raises(BundleError, match="nothing was written, since"):
        quantize._restored_bit_by_bit(path, plan)


def test_models_restore_tells_where_and_how(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "small.shipped", tmp_path / "back.bundle"
    path.write_bytes(small_shipped())
    assert cli.main(["models", "restore", str(path), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[-1].startswith(f"{out}: toy 0, {out.stat().st_size:,} bytes of ")
    assert "the sha256 of every part is right" in told
    assert read_bundle(out).parts == small_whole().parts
    assert cli.main(["models", "restore", str(path)]) == 0
    (place,) = (tmp_path / "cache" / "restored").glob("*.bundle")
    assert f"{place}: " in capsys.readouterr().out
    path.write_bytes(small_shipped()[:-30])
    assert cli.main(["models", "restore", str(path), "--out", str(tmp_path / "x")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_models_restore_says_where_it_cannot_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.shipped"
    path.write_bytes(small_shipped())
    for out, told in (
        (path, "is a file that is read"),
        (tmp_path, "is a folder"),
        (tmp_path / "none" / "x.bundle", f"{tmp_path / 'none'} is no folder"),
    ):
        assert cli.main(["models", "restore", str(path), "--out", str(out)]) == 1
        error = capsys.readouterr().err
        assert told in error
        assert len(error.splitlines()) == 1
    assert path.read_bytes() == small_shipped()
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


def test_stretches_cover_a_part() -> None:
    for name, data in small_whole().parts.items():
        coded = stretches(name, data)
        assert all(isinstance(stretch, Stretch) for stretch in coded)
        assert sum(stretch.raw_bytes for stretch in coded) == len(data)


# Looking inside


def test_inspect_says_what_a_shipped_file_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.shipped"
    path.write_bytes(small_shipped())
    assert cli.main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    parts = {m["name"]: m for m in found["bundle"]["members"] if m["name"] != "manifest.json"}
    sizes = {name: len(data) for name, data in small_whole().parts.items()}
    assert {name: m["raw_bytes"] for name, m in parts.items()} == sizes
    assert {name: m["stored_bytes"] for name, m in parts.items()} == look(path).coded_bytes
    assert {m["hash"] for m in parts.values()} == {"ok"}
    assert found["bundle"]["manifest"] == small_whole().manifest
    assert found["contract"]["kept"] is True
    assert cli.main(["inspect", str(path), "--no-probe"]) == 0
    assert "the shipping form: " in capsys.readouterr().out
    assert not (tmp_path / "cache").exists()


def test_inspect_shows_what_it_can_of_a_damaged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, members = shipped_members()
    path = tmp_path / "damaged.shipped"
    path.write_bytes(archived(manifest, {**members, "emoji": members["emoji"][:-9]}))
    assert cli.main(["inspect", str(path)]) == 0
    told = capsys.readouterr().out
    assert "does not open: " in told
    assert "toy" in told
