"""The shipping form of a bundle: smaller than the one that runs, and restored to it exactly.

The same archive as a bundle is, with members stored as they are, and another manifest:

    format   1001, so that a program that does not know it refuses the file by its number
    bundle   the manifest of the bundle that it is restored to, with sha256 and size of each part
    coding   part -> its stretches in order, each {"kind", "bytes", "coded"}: how it is coded
             (`kbengine.coding`), its bytes restored, and its bytes in the member, where the
             stretches stand one after the other; of a `grid` also its "rows"

A part counts as restored when its sha256 fits. Whether that is the part of the bundle that was
given to `python -m train quantize --ship` (lossless), or has coarser weights, says `lossy` in the
bundle's own manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kbengine.bundle import PARTS, Bundle, check_part, checked, read_bundle
from kbengine.coding import CODINGS, decode_grid
from kbengine.container import Container, open_container, write_archive
from kbengine.errors import BundleError

FORMAT = 1001  # bundles count up from 1
GRID = "grid"
_MOST_STRETCHES = 64  # of a part; a step model of the English bundle has 11
_MOST_DEPTH = 20  # of lists in lists of a manifest, which is written again
_MOST_GROWTH_BYTES = 1 << 16  # of a part by its coding


class Stretch(NamedTuple):
    """One stretch of a part; see the module's docstring. rows: of a `grid`, else 0."""

    kind: str
    raw_bytes: int
    data: bytes
    rows: int = 0


class Shipped(NamedTuple):
    """What a shipped file says of itself: the manifest of its bundle, and for each part how
    many bytes it takes in the file."""

    manifest: Mapping[str, Any]
    coded_bytes: Mapping[str, int]
    file_bytes: int


def is_shipped(path: Path) -> bool:
    """Whether a file is of the shipping form. Raises BundleError where it is no archive that
    could be one or a bundle."""
    with open_container(path) as container:
        return bool(container.manifest()["format"] == FORMAT)


def read_either(path: Path) -> Bundle:
    """A bundle of either form, restored in memory where it has to be. Raises BundleError."""
    return read_shipped(path) if is_shipped(path) else read_bundle(path)


def look(path: Path) -> Shipped:
    """What a shipped file says, with nothing unpacked. Raises BundleError."""
    with open_container(path) as container:
        manifest, coding = _facts(container)
        coded = {name: sum(row["coded"] for row in rows) for name, rows in coding.items()}
        return Shipped(manifest, coded, container.file_bytes)


def read_shipped(path: Path) -> Bundle:
    """Restore a shipped file in memory; its `file_bytes` are those of the shipped file.

    Raises BundleError where the file is missing, of another format, damaged or forged.
    """
    with open_container(path) as container:
        manifest, coding = _facts(container)
        parts = {}
        for name, rows in coding.items():
            data = container.read(name, sum(row["coded"] for row in rows))
            try:
                parts[name] = _restored(data, rows)
            except ValueError as error:
                raise BundleError(
                    f"{path}: part {name!r} cannot be restored ({error}); fetch it again"
                ) from error
            check_part(path, name, parts[name], manifest["parts"][name])
        return Bundle(manifest, parts, container.file_bytes)


def _facts(container: Container) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """The bundle's manifest, and the coding of each of its parts, sizes checked."""
    path, outer = container.path, container.manifest()
    if outer["format"] != FORMAT:
        raise BundleError(
            f"{path} is no shipped bundle; give one that `train quantize --ship` made"
        )
    manifest, coding = outer.get("bundle"), outer.get("coding")
    broken = BundleError(f"{path}: its manifest lacks fields; fetch it again")
    if not isinstance(manifest, dict) or not isinstance(coding, dict):
        raise broken
    if type(manifest.get("format")) is not int or not _shallow(manifest, _MOST_DEPTH):
        raise broken
    manifest = checked(path, manifest)
    names = [name for name in manifest["parts"] if name in PARTS]
    if not all(_fits(coding.get(name), manifest["parts"][name]["bytes"]) for name in names):
        raise broken
    return manifest, {name: coding[name] for name in names}


def _shallow(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    return not isinstance(value, list) or (depth > 0 and all(_shallow(v, depth - 1) for v in value))


def _fits(rows: Any, raw_bytes: int) -> bool:
    """Whether these are stretches of a part of so many bytes."""
    if not isinstance(rows, list) or not 0 < len(rows) <= _MOST_STRETCHES:
        return False
    for row in rows:
        if not isinstance(row, dict) or row.get("kind") not in (*CODINGS, GRID):
            return False
        numbers = [row.get("bytes"), row.get("coded"), row.get("rows", 1)]
        if any(type(number) is not int or number < 0 for number in numbers):
            return False
    raw, coded = (sum(row[key] for row in rows) for key in ("bytes", "coded"))
    return bool(raw == raw_bytes and coded <= raw_bytes + _MOST_GROWTH_BYTES)


def _restored(data: bytes, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A part of its coded stretches. Raises ValueError where they are none."""
    found, start = [], 0
    for row in rows:
        coded = data[start : start + row["coded"]]
        start += row["coded"]
        if row["kind"] == GRID:
            found.append(decode_grid(coded, row["bytes"], row.get("rows", 1)))
        else:
            found.append(CODINGS[row["kind"]].decode(coded, row["bytes"]))
    if start != len(data):
        raise ValueError("it is shorter than it says")
    return b"".join(found)


def write_shipped(
    path: Path, manifest: Mapping[str, Any], coding: Mapping[str, Sequence[Stretch]]
) -> None:
    """Write a shipped file, whole or not at all. manifest: of the bundle, whole."""
    told = {
        name: [
            {"kind": s.kind, "bytes": s.raw_bytes, "coded": len(s.data)}
            | ({"rows": s.rows} if s.kind == GRID else {})
            for s in stretches
        ]
        for name, stretches in coding.items()
    }
    members = {name: b"".join(s.data for s in stretches) for name, stretches in coding.items()}
    outer = {"format": FORMAT, "bundle": manifest, "coding": told}
    write_archive(path, outer, members, deflated=False)
