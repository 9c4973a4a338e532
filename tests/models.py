"""Small models of several versions, published on a site of `tests.webserver`."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from pathlib import Path

from kbengine.bundle import write_bundle
from kbengine.modelindex import Entry, written
from tests.toys import toy_manifest, toy_parts
from tests.webserver import Site


@functools.cache
def model(version: str = "1", name: str = "toy") -> bytes:
    """A model that loads, as a file's bytes; each version and name has a sha256 of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "toy.bundle"
        write_bundle(path, {**toy_manifest(), "name": name, "version": version}, toy_parts())
        return path.read_bytes()


def spoilt(data: bytes) -> bytes:
    """As large, and not the same."""
    return data[:-1] + bytes([data[-1] ^ 1])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def entry(data: bytes, version: str, *urls: str, name: str = "toy") -> Entry:
    """What an index says of these bytes."""
    return Entry(name, version, urls, sha256(data), len(data), "Apache-2.0", "en")


def file_of(version: str = "1", name: str = "toy") -> str:
    """The path of a model on a site."""
    return f"{name}-{version}.bundle"


def publish(site: Site, *versions: str, name: str = "toy", more: tuple[Entry, ...] = ()) -> str:
    """Put versions of a model and an index of them on a site, with other entries; returns the
    URL of the index."""
    for version in versions:
        site.put(file_of(version, name), model(version, name))
    entries = [entry(model(v, name), v, file_of(v, name), name=name) for v in versions]
    return site.put("index.json", written([*entries, *more]))
