"""Bundles: written and read back whole, or refused in one sentence."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

import kbengine
from kbengine.bundle import PARTS, Bundle, read_bundle, write_bundle
from kbengine.errors import BundleError, KbengineError, ModelError
from kbengine.lm.ngram import NgramModel
from tests.toys import finger_engine, toy_bundle, toy_engine, toy_manifest, toy_parts

Manifest = dict[str, Any]


def is_one_sentence(error: BaseException) -> bool:
    told = str(error)
    return "\n" not in told and 10 < len(told) < 300 and not told.endswith(".")


def refused(path: Path, error: type[KbengineError] = BundleError) -> str:
    """The message with which `kbengine.load` refuses a file."""
    with pytest.raises(error) as caught:
        kbengine.load(path)
    assert type(caught.value) is error
    assert is_one_sentence(caught.value)
    return str(caught.value)


def rewrite(
    path: Path,
    manifest: Callable[[Manifest], object] = lambda manifest: None,
    parts: Mapping[str, bytes | None] | None = None,
    compression: int = zipfile.ZIP_DEFLATED,
) -> Path:
    """The toy bundle with its manifest altered in place and members replaced (or, None,
    left out), hashes and sizes as they were."""
    toy_bundle(path)
    with zipfile.ZipFile(path) as archive:
        members: dict[str, bytes | None] = {n: archive.read(n) for n in archive.namelist()}
    facts = json.loads(members["manifest.json"] or b"")
    manifest(facts)
    members |= {"manifest.json": json.dumps(facts).encode(), **(parts or {})}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            if data is not None:
                archive.writestr(name, data)
    return path


# Round trip


def test_round_trip(tmp_path: Path) -> None:
    path = toy_bundle(tmp_path / "toy.bundle")
    bundle = read_bundle(path)
    assert bundle.parts == toy_parts()
    assert bundle.file_bytes == path.stat().st_size
    assert bundle.name == "toy 0"
    manifest = dict(bundle.manifest)
    assert manifest.pop("format") == 1
    assert manifest.pop("parts") == {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in toy_parts().items()
    }
    assert manifest == toy_manifest()


def test_the_same_parts_give_the_same_file(tmp_path: Path) -> None:
    one, other = (toy_bundle(tmp_path / name) for name in ("one.bundle", "other.bundle"))
    assert one.read_bytes() == other.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.bundle", "other.bundle"]


def test_a_bundle_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "toy.bundle"
    path.write_bytes(b"something else")
    kbengine.load(toy_bundle(path))


def test_a_write_that_fails_leaves_the_old_bundle(tmp_path: Path) -> None:
    path = toy_bundle(tmp_path / "toy.bundle")
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_bundle(path, {**toy_manifest(), "figures": {"x": object()}}, toy_parts())
    assert path.read_bytes() == before


def test_rewriting_alone_does_no_harm(tmp_path: Path) -> None:
    """So what the other tests see refused is refused for what they changed."""
    engine = kbengine.load(rewrite(tmp_path / "toy.bundle"))
    assert engine.suggest("see you t", 3) == finger_engine().suggest("see you t", 3)


def test_members_that_are_not_known_are_left_alone(tmp_path: Path) -> None:
    path = rewrite(tmp_path / "toy.bundle", parts={"more": b"x"})
    assert read_bundle(path).parts == toy_parts()


# What is refused


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.bundle")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path)


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "toy.bundle"
    path.write_bytes(data)
    refused(path)


def test_a_foreign_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "hello")
    assert "manifest.json" in refused(path)


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_refused(tmp_path: Path, part: str) -> None:
    assert part in refused(rewrite(tmp_path / "toy.bundle", parts={part: None}))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("damage", ["flip", "cut", "grown", "empty"])
def test_a_damaged_part_is_refused(tmp_path: Path, part: str, damage: str) -> None:
    """The zip is sound: only the manifest's hash and size can tell."""
    data = toy_parts()[part]
    broken = {
        "flip": data[:99] + bytes([data[99] ^ 1]) + data[100:],
        "cut": data[:-1],
        "grown": data + b"x",
        "empty": b"",
    }[damage]
    assert part in refused(rewrite(tmp_path / "toy.bundle", parts={part: broken}))


@pytest.mark.parametrize("part", PARTS)
def test_a_wrong_hash_or_size_is_refused(tmp_path: Path, part: str) -> None:
    path = tmp_path / "toy.bundle"
    size = len(toy_parts()[part])
    for facts in (
        {"sha256": "0" * 64},
        {"sha256": hashlib.sha256(toy_parts()[part]).hexdigest().upper()},
        {"bytes": size - 1},
        {"bytes": size + 1},
        {"bytes": 0},
    ):
        rewrite(path, lambda m, facts=facts: m["parts"][part].update(facts))  # type: ignore[misc]
        assert part in refused(path)


@pytest.mark.parametrize("version", [0, 2, 99])
def test_another_format_version_is_refused(tmp_path: Path, version: int) -> None:
    path = rewrite(tmp_path / "toy.bundle", lambda m: m.update(format=version))
    assert str(version) in refused(path)


def test_an_unknown_family_is_refused(tmp_path: Path) -> None:
    path = rewrite(tmp_path / "toy.bundle", lambda m: m.update(family="transformer"))
    told = refused(path)
    assert "transformer" in told
    assert "ngram" in told


@pytest.mark.parametrize(
    "field", ["format", "name", "version", "language", "family", "parts"]
)  # fmt: skip
@pytest.mark.parametrize("value", [None, [], 1.5, {"x": 1}])
def test_manifest_fields_of_another_type_are_refused(
    tmp_path: Path, field: str, value: object
) -> None:
    refused(rewrite(tmp_path / "toy.bundle", lambda m: m.update({field: value})))


@pytest.mark.parametrize("field", ["format", "name", "version", "language", "family", "parts"])
def test_a_manifest_that_lacks_a_field_is_refused(tmp_path: Path, field: str) -> None:
    refused(rewrite(tmp_path / "toy.bundle", lambda m: m.pop(field)))


@pytest.mark.parametrize(
    "facts", [None, {}, {"bytes": 1}, {"sha256": "0"}, {"sha256": 0, "bytes": 1},
              {"sha256": "0", "bytes": "1"}, {"sha256": "0", "bytes": -1},
              {"sha256": "0", "bytes": True}, {"sha256": "0", "bytes": 1e3},
              {"sha256": "0", "bytes": 1 << 40}],
)  # fmt: skip
def test_facts_of_a_part_that_cannot_be_are_refused(tmp_path: Path, facts: object) -> None:
    refused(rewrite(tmp_path / "toy.bundle", lambda m: m["parts"].update(model=facts)))


@pytest.mark.parametrize(
    "manifest",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe{}", b"[" * 5000, b"{} x", b"1" * 9999],
)
def test_a_manifest_that_is_no_json_object_is_refused(tmp_path: Path, manifest: bytes) -> None:
    refused(rewrite(tmp_path / "toy.bundle", parts={"manifest.json": manifest}))


def test_a_manifest_without_end_is_refused(tmp_path: Path) -> None:
    refused(rewrite(tmp_path / "toy.bundle", parts={"manifest.json": b" " * (2 << 20) + b"{}"}))


def test_a_model_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "toy.bundle"
    model = NgramModel.fit([[1, 3, 2]], 2, 77).to_bytes()
    write_bundle(path, toy_manifest(), {**toy_parts(), "model": model})
    told = refused(path)
    assert "77" in told
    assert str(len(toy_engine().vocabulary)) in told


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ("model", ModelError),
        ("vocabulary", BundleError),
        ("lexicon", BundleError),
        ("emoji", BundleError),
        ("filter", BundleError),
        ("ngrams", BundleError),
    ],
)
@pytest.mark.parametrize("data", [b"", b"hello", bytes(100), b"PK\x03\x04", "😂".encode() * 9])
def test_a_part_that_is_something_else_is_refused(
    tmp_path: Path, part: str, error: type[KbengineError], data: bytes
) -> None:
    """With the right hash: each part knows its own."""
    path = tmp_path / "toy.bundle"
    write_bundle(path, toy_manifest(), {**toy_parts(), part: data})
    refused(path, error)


def test_a_tflite_family_of_other_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "toy.bundle"
    write_bundle(path, {**toy_manifest(), "family": "lstm-tflite"}, toy_parts())
    refused(path, ModelError)


# Any damage at all


def mutated(data: bytes, random: Random) -> bytes:
    """A copy with a few flipped bits, foreign bytes, a piece cut off, left out or put in."""
    found = bytearray(data)
    place = random.randrange(len(found))
    match random.randrange(5):
        case 0:
            for _ in range(random.choice([1, 1, 4])):
                found[random.randrange(len(found))] ^= 1 << random.randrange(8)
        case 1:
            found[place] = random.choice([0, 255, random.randrange(256)])
        case 2:
            del found[place:]
        case 3:
            del found[place : place + random.randrange(1, 200)]
        case 4:
            found[place:place] = random.randbytes(random.randrange(1, 9))
    return bytes(found)


def read_or_refused(path: Path) -> Bundle | None:
    """The bundle; None where it is refused as it should be. All else is raised."""
    try:
        bundle = read_bundle(path)
        bundle.open()
    except (BundleError, ModelError) as error:
        told = error
    else:
        return bundle
    assert is_one_sentence(told)
    return None


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_mutated_bundle_is_refused_or_whole(tmp_path: Path, compression: int) -> None:
    path = rewrite(tmp_path / "toy.bundle", compression=compression)
    data, whole = path.read_bytes(), read_bundle(path)
    head = data.index(b"PK\x01\x02")  # the table of contents: where most mutations tell
    random = Random(7)
    refusals = 0
    for turn in range(200):
        if turn % 2:
            path.write_bytes(data[:head] + mutated(data[head:], random))
        else:
            path.write_bytes(mutated(data, random))
        bundle = read_or_refused(path)
        if bundle is None:
            refusals += 1
        else:
            assert bundle.parts == whole.parts
            assert bundle.manifest == whole.manifest
    assert 100 < refusals < 200


@pytest.mark.parametrize("part", PARTS)
def test_a_mutated_part_with_the_right_hash_is_refused_or_works(tmp_path: Path, part: str) -> None:
    """As a faulty build would write it."""
    path = tmp_path / "toy.bundle"
    random = Random(11)
    for _ in range(50):
        data = mutated(toy_parts()[part], random)
        write_bundle(path, toy_manifest(), {**toy_parts(), part: data})
        bundle = read_or_refused(path)
        if bundle is not None:
            assert len(kbengine.Engine(bundle).suggest("see you t", 3)) <= 3
