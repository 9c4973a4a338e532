"""Small shipped files for tests, made of the small world's bundle."""

from __future__ import annotations

import functools
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kbengine.bundle import Bundle, read_bundle
from kbengine.shipping import write_shipped
from tests import hostile
from train.shipping import stretches


@functools.cache
def small_whole() -> Bundle:
    """The bundle of the toy world with the small step model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.bundle"
        path.write_bytes(hostile.small_bundle())
        return read_bundle(path)


@functools.cache
def small_shipped() -> bytes:
    """Its lossless shipping form, as a file's bytes."""
    bundle = small_whole()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.shipped"
        coding = {name: stretches(name, data) for name, data in bundle.parts.items()}
        write_shipped(path, bundle.manifest, coding)
        return path.read_bytes()


def shipped_members() -> tuple[dict[str, Any], dict[str, bytes]]:
    """Its manifest and the coded parts, to be altered."""
    with zipfile.ZipFile(io.BytesIO(small_shipped())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(members.pop("manifest.json")), members


def archived(manifest: Mapping[str, Any], members: Mapping[str, bytes]) -> bytes:
    """An archive of a manifest and members, as one who knows archives would make it."""
    return hostile.archive_of({"manifest.json": json.dumps(manifest).encode(), **members})
