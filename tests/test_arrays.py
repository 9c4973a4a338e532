"""Flat arrays as bytes: whole or refused, whatever the bytes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kbengine.arrays import dump_arrays, load_arrays

TYPES = {"small": "u1", "middle": "u2", "large": "i8", "real": "f4"}
LIMITS = {"small": (0, 255), "middle": (0, 65_535), "large": (-(2**63), 2**63 - 1)}


def array(kind: str, values: list[float]) -> NDArray[np.generic]:
    return np.array(values, f"<{kind}")


FEW: dict[str, NDArray[np.generic]] = {
    "small": array("u1", [1, 2, 255]),
    "middle": array("u2", [7]),
    "large": array("i8", []),
    "real": array("f4", [0.5, -1.0]),
}
DATA = dump_arrays(FEW)


whole = [st.lists(st.integers(low, high), max_size=9) for low, high in LIMITS.values()]


@given(st.tuples(*whole, st.lists(st.floats(width=32), max_size=9)))
def test_round_trip(values: tuple[list[float], ...]) -> None:
    arrays = {name: array(TYPES[name], v) for name, v in zip(TYPES, values, strict=True)}
    found = load_arrays(dump_arrays(arrays), TYPES)
    assert list(found) == list(TYPES)
    for name, given_ in arrays.items():
        assert found[name].dtype == np.dtype(TYPES[name])
        assert found[name].ndim == 1
        assert found[name].tobytes() == given_.tobytes()


def test_as_documented() -> None:
    arrays = {"pieces": array("u2", [1, 2, 3]), "rarity": array("u1", [255, 128])}
    head = b'{"pieces": ["u2", 3], "rarity": ["u1", 2]}\n'
    assert dump_arrays(arrays) == head + bytes.fromhex("01 00 02 00 03 00 ff 80")


@pytest.mark.parametrize("end", range(len(DATA)))
def test_cut_off_bytes_are_refused(end: int) -> None:
    with pytest.raises(ValueError):
        load_arrays(DATA[:end], TYPES)


@pytest.mark.parametrize(
    "header",
    [
        b"", b"[]", b"null", b"{", b"\xff", b"[" * 99_999, b"9" * 9999,
        json.dumps({"a": ["u1", 1]}).encode(),
        json.dumps({**{n: [t, 0] for n, t in TYPES.items()}, "more": ["u1", 0]}).encode(),
        json.dumps({n: [t, 0] for n, t in reversed(TYPES.items())}).encode(),
        json.dumps({n: [t] for n, t in TYPES.items()}).encode(),
        json.dumps(TYPES).encode(),
        json.dumps({n: ["u1", 0] for n in TYPES}).encode(),
        json.dumps({n: [["u1"], 0] for n in TYPES}).encode(),
    ],
    ids=lambda header: repr(header)[:30],
)  # fmt: skip
def test_another_header_is_refused(header: bytes) -> None:
    with pytest.raises(ValueError):
        load_arrays(header + b"\n", TYPES)


@pytest.mark.parametrize("size", [-1, 2, 10**18, 10**40, 1.0, "1", None, True, [1]])
def test_sizes_that_cannot_be_are_refused(size: object) -> None:
    types = {"a": "u2"}
    assert len(load_arrays(b'{"a": ["u2", 1]}\n\0\0', types)["a"]) == 1
    with pytest.raises(ValueError):
        load_arrays(json.dumps({"a": ["u2", size]}).encode() + b"\n\0\0", types)


@pytest.mark.parametrize("kind", ["O", "f8", "u8", "U4", "V1"])
def test_types_that_are_not_ours_are_refused(kind: str) -> None:
    with pytest.raises(ValueError):
        load_arrays(json.dumps({"a": [kind, 0]}).encode() + b"\n", {"a": kind})


@given(st.integers(0, len(DATA) - 1), st.integers(0, 9), st.binary(max_size=9))
@settings(max_examples=300)
def test_changed_bytes_are_refused_or_read_as_they_stand(start: int, gone: int, put: bytes) -> None:
    changed = DATA[:start] + put + DATA[start + gone :]
    try:
        found = load_arrays(changed, TYPES)
    except ValueError:
        return
    assert list(found) == list(TYPES)
    body = changed.partition(b"\n")[2]
    assert b"".join(a.tobytes() for a in found.values()) == body
