"""A bundle's members as they stand in the archive, damaged or not.

`kbengine.bundle` reads a bundle whole or refuses it; here as much is told as can be.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kbengine.arrays import load_arrays
from kbengine.bundle import PARTS
from kbengine.errors import BundleError

MANIFEST = "manifest.json"
_KNOWN = (MANIFEST, *PARTS)
_MAX_MEMBERS = 1000
_MAX_BYTES = 64 << 20  # of a member, unpacked
_MAX_ARCHIVE_BYTES = 512 << 20
_MAX_LIST_BYTES = 1 << 20  # of the list of members, which is read whole
_MAX_DEPTH = 20
# What the zip reader raises for archives that contradict themselves.
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError,
           OSError, ValueError, struct.error, OverflowError)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Array:
    """A flat array of a part (`kbengine.arrays`): its type (``u2``) and length."""

    name: str
    type: str
    length: int


@dataclass(frozen=True, slots=True)
class Member:
    """stored_bytes: in the archive; raw_bytes: unpacked.

    hash: ``ok``, ``damaged``, or ``none`` where the manifest gives none. data: None where
    it cannot be unpacked, or is no part of a bundle. arrays: of parts that are flat arrays.
    """

    name: str
    stored_bytes: int
    raw_bytes: int
    hash: str
    data: bytes | None = field(default=None, repr=False)
    arrays: tuple[Array, ...] = ()


@dataclass(frozen=True, slots=True)
class Archive:
    """manifest: empty where it can't be read."""

    manifest: Mapping[str, Any]
    members: tuple[Member, ...]

    def part(self, name: str) -> bytes | None:
        """The bytes of a member, damaged or not; None where they can't be had."""
        return next((m.data for m in self.members if m.name == name), None)


def read_archive(path: Path) -> Archive:
    """Raises BundleError where the file is no zip archive that can be read at all."""
    if path.stat().st_size > _MAX_ARCHIVE_BYTES:
        raise BundleError(f"{path} is too large for a bundle; fetch or build it again")
    if not _short_list(path):
        raise BundleError(f"{path} lists too many members for a bundle; fetch or build it again")
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()[:_MAX_MEMBERS]
            unpacked = {i.filename: _unpack(archive, i) for i in infos if i.filename in _KNOWN}
    except _BROKEN as error:
        raise BundleError(
            f"{path} is no readable bundle; give a .bundle file, or fetch or build it again"
        ) from error
    manifest = _manifest(unpacked.get(MANIFEST))
    parts = manifest.get("parts")
    facts = parts if isinstance(parts, dict) else {}
    members = []
    for info in infos:
        data = unpacked.get(info.filename)
        members.append(
            Member(
                name=info.filename,
                stored_bytes=info.compress_size,
                raw_bytes=info.file_size,
                hash=_hash(info.filename, data, facts),
                data=data,
                arrays=_arrays(data or b""),
            )
        )
    return Archive(manifest, tuple(members))


def restored(archive: Archive, parts: Mapping[str, bytes]) -> Archive:
    """A shipped archive (`kbengine.shipping`) with its parts as they are restored, and the manifest
    of the bundle that they are of. parts: none where they cannot be had."""
    inner = archive.manifest.get("bundle")
    members = tuple(
        replace(m, raw_bytes=len(data), hash="ok", data=data, arrays=_arrays(data))
        if (data := parts.get(m.name)) is not None
        else m
        for m in archive.members
    )
    return Archive(inner if isinstance(inner, dict) else {}, members)


def _short_list(path: Path) -> bool:
    """Whether the end record, where there is one, tells of a short list and of no larger
    (zip64) record before it."""
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, (1 << 16) + 42), os.SEEK_END)
        tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + 22:
        return True  # `zipfile` will say what it is
    large = tail[max(0, end - 20) :].startswith(b"PK\6\7")
    return not large and int(struct.unpack_from("<I", tail, end + 12)[0]) <= _MAX_LIST_BYTES


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | None:
    # The other ways to compress are unpacked without a bound on what comes out at a time.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return None
    try:
        with archive.open(info) as member:
            data = member.read(_MAX_BYTES + 1)
    except _BROKEN:
        return None
    return data if len(data) <= _MAX_BYTES else None


def _hash(name: str, data: bytes | None, facts: Mapping[str, Any]) -> str:
    said = facts.get(name)
    if name not in _KNOWN or (data is not None and not isinstance(said, dict)):
        return "none"
    if data is None or not isinstance(said, dict):
        return "damaged"
    right = said.get("sha256") == hashlib.sha256(data).hexdigest()
    return "ok" if right and said.get("bytes") == len(data) else "damaged"


def _manifest(data: bytes | None) -> Mapping[str, Any]:
    try:
        found = json.loads(data or b"", parse_constant=str, parse_float=_number)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and _shallow(found, _MAX_DEPTH) else {}


def _number(digits: str) -> float | str:
    """JSON has no infinity, but a float may be too large to be anything else."""
    return float(digits) if math.isfinite(float(digits)) else digits


def _shallow(value: object, depth: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    return not isinstance(value, list) or (depth > 0 and all(_shallow(v, depth - 1) for v in value))


def _arrays(data: bytes) -> tuple[Array, ...]:
    """The arrays of a part; none where it is something else."""
    try:
        header = json.loads(data.partition(b"\n")[0])
        types = {name: entry[0] for name, entry in header.items()}
        found = load_arrays(data, types)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return ()
    return tuple(Array(name, types[name], len(array)) for name, array in found.items())
