"""The zip archive that a bundle is, read as what may come from anywhere.

Whatever the archive says of itself is bounded before it is believed: the list of members is
short, no member is unpacked beyond what its reader allows, and only stored and deflated ones
are, since the other ways to compress are unpacked without a bound.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from kbengine.errors import BundleError
from kbengine.files import whole_file

MANIFEST = "manifest.json"
_MOST_MANIFEST_BYTES = 1 << 20
_MOST_LIST_BYTES = 1 << 12  # the list of an archive is read whole, before anything in it is known
# Whatever `zipfile` raises for an archive that is none: ValueError for places before its
# start and names that are no text, struct.error and OverflowError for numbers out of range.
_UNREADABLE = (
    OSError, zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error, ValueError,
    struct.error, OverflowError,
)  # fmt: skip


class Container:
    """An archive open for reading. All methods raise BundleError for what is not there, or not
    as it must be."""

    def __init__(self, path: Path, file_bytes: int, archive: zipfile.ZipFile) -> None:
        self.path, self.file_bytes = path, file_bytes
        self._archive = archive

    def read(self, name: str, most_bytes: int) -> bytes:
        """A member of at most so many bytes."""
        known = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        try:
            if self._archive.getinfo(name).compress_type not in known:
                raise RuntimeError("compressed in another way")
            with self._archive.open(name) as member:
                data = member.read(most_bytes + 1)
        except (KeyError, RuntimeError) as error:
            raise BundleError(
                f"{self.path} has no readable part {name!r}; fetch or build it again"
            ) from error
        if len(data) > most_bytes:
            raise BundleError(
                f"{self.path}: part {name!r} is larger than it says; fetch or build it again"
            )
        return data

    def stored_bytes(self) -> dict[str, int]:
        """The bytes that each member takes in the archive."""
        return {info.filename: info.compress_size for info in self._archive.infolist()}

    def manifest(self) -> dict[str, Any]:
        """The manifest: an object of JSON with a whole number as its `format`, and all its
        numbers finite, so that it is equal to what it is written as and read from again."""
        content = self.read(MANIFEST, _MOST_MANIFEST_BYTES)
        try:
            manifest = json.loads(content, parse_constant=_finite, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise BundleError(
                f"{self.path}: its manifest is not JSON of finite numbers; fetch or build it again"
            ) from error
        if not isinstance(manifest, dict) or type(manifest.get("format")) is not int:
            raise BundleError(
                f"{self.path} is not a kbengine bundle; give one that `train bundle` made"
            )
        return manifest


@contextlib.contextmanager
def open_container(path: Path) -> Iterator[Container]:
    """Raises BundleError where there is no file, or no archive that can be read."""
    try:
        with path.open("rb") as file:
            size = _size(file)
            with zipfile.ZipFile(file) as archive:
                yield Container(path, size, archive)
    except FileNotFoundError:
        raise BundleError(f"{path}: no such file; give the path of a .bundle") from None
    except _UNREADABLE as error:
        raise BundleError(
            f"{path} is no readable bundle; give a .bundle file, or fetch or build it again"
        ) from error


def _finite(digits: str) -> float:
    """A number of JSON; Python reads NaN and 1e999 as well."""
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is no finite number")
    return number


def _size(file: BinaryIO) -> int:
    """The size of an archive in bytes; raises BadZipFile unless it ends as `write_archive`
    ends one, with a short list of members and no larger (zip64) one before it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 42))
    locator, end = struct.unpack("<4s16x22s", file.read(42).rjust(42, b"\0"))
    if end[:4] != b"PK\5\6" or locator == b"PK\6\7":
        raise zipfile.BadZipFile("no end record where one must stand")
    # `zipfile` goes by the bytes of the list, whatever count stands beside them.
    if struct.unpack_from("<I", end, 12)[0] > _MOST_LIST_BYTES:
        raise zipfile.BadZipFile("too many members")
    return size


def write_archive(
    path: Path,
    manifest: Mapping[str, Any],
    parts: Mapping[str, bytes],
    deflated: bool,
    mode: int = 0o666,
) -> int:
    """Write an archive whole or not at all; returns its bytes. The same manifest and parts give the
    same. deflated: whether the parts are; the manifest always is. mode: see `whole_file`.

    Raises OSError, and ValueError where a number of the manifest is not finite.
    """
    told = json.dumps(manifest, indent=1, allow_nan=False).encode()
    with whole_file(path, mode) as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in {MANIFEST: told, **parts}.items():
                info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
                if deflated or name == MANIFEST:
                    info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, data)
        return file.tell()


def member_bytes(path: Path) -> dict[str, int]:
    """The bytes that each member takes in an archive. Raises BundleError."""
    with open_container(path) as container:
        return container.stored_bytes()
