"""Where shipped bundles lie restored, and `read`, through which every bundle is opened.

A shipped file is restored at its first load into a folder of the user's own, under a name made
of what it is restored to. The file there is written beside its place, brought to the disk and
then put into it, by one process at a time: it is there whole or not at all. It is believed only
where its manifest is the shipped one's and all its hashes fit; whatever else stands under its
name is restored again. Where the folder cannot be used (read-only, full, another user's, no room
left in the budget), the bundle is restored in memory, at every load.

The restored file is stored, not deflated: of the English bundle it takes 12.7 MB instead of 9.4,
and writing it 0.02 s instead of 0.24 (level 1) to 0.39 (level 6) of the second that all has to
take, and it opens 0.05 s sooner each time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kbengine import cachefolder
from kbengine.bundle import Bundle, read_bundle
from kbengine.cachefolder import RESTORED, UNUSABLE, private_folder
from kbengine.container import write_archive
from kbengine.errors import BudgetError, BundleError, StoreError
from kbengine.files import check_target
from kbengine.locks import alone, is_free
from kbengine.shipping import is_shipped, look, read_shipped

# Restoring takes a second; who waits longer does without the folder.
_WAIT_S = 10.0
_BESIDE_PARTS_BYTES = 100_000  # the manifest (6 kB of the English bundle) and the list of members


def read(path: Path, total_bytes: int | None = None) -> Bundle:
    """A bundle; one of the shipping form from where it lies restored, or restored now.

    Its `file_bytes` are those of the file that it is opened from. total_bytes: what the cache
    folder may hold, None: what `cachefolder.total_bytes` says; where that has no room, the bundle
    is restored in memory. Raises
    BundleError where the file is missing, of another format, damaged or forged.
    """
    if not is_shipped(path):
        return read_bundle(path)
    manifest = look(path).manifest
    bundle = None
    try:
        place = _place(manifest)
        found = _believed(place, manifest)
        if found is None:
            with alone(place.with_suffix(".lock"), _WAIT_S):
                found = _believed(place, manifest)  # another process may just have been here
                if found is None:
                    bundle = read_shipped(path)
                    file_bytes = _store(place, bundle, total_bytes)
                    found = Bundle(bundle.manifest, bundle.parts, file_bytes)
        cachefolder.touch(place)
        return found
    except (*UNUSABLE, StoreError):
        return bundle or read_shipped(path)


def restore(path: Path, out: Path | None = None) -> tuple[Path, Bundle]:
    """Restore a shipped file into `out`, or into the cache, from its own bytes in any case;
    returns where, and the bundle.

    Raises BundleError as `read` does, OSError where the file cannot be written, BudgetError where
    the cache has no room for it, ValueError where `out` is no place for it.
    """
    if out is not None:
        check_target(out, path)
    bundle = read_shipped(path)
    if out is not None:
        place = out
        file_bytes = write_archive(out, bundle.manifest, bundle.parts, deflated=False)
    else:
        place = _place(bundle.manifest)
        with alone(place.with_suffix(".lock"), _WAIT_S):
            file_bytes = _store(place, bundle, None)
    return place, Bundle(bundle.manifest, bundle.parts, file_bytes)


def stored() -> list[Path]:
    """The restored files, the one used longest ago first; none where there is no folder, or one
    that cannot be used. Whoever has opened one has all of it in memory: each may be dropped."""
    try:
        found = list(private_folder(RESTORED, make=False).glob("*.bundle"))
    except OSError:
        return []
    return sorted(found, key=cachefolder.used_s)


def drop(place: Path) -> None:
    """Take a restored file away. Raises OSError or NotImplementedError."""
    place.unlink(missing_ok=True)
    is_free(place.with_suffix(".lock"))


def clear() -> None:
    """Take all of them away, and what killed processes have left. Raises OSError or
    NotImplementedError."""
    try:
        folder = private_folder(RESTORED, make=False)
    except OSError:
        return
    for path in [*folder.glob("*.bundle"), *folder.glob("*.bundle.*.part")]:
        path.unlink(missing_ok=True)
    for lock in folder.glob("*.lock"):
        is_free(lock)


def _place(manifest: Mapping[str, Any]) -> Path:
    """Where the bundle of a manifest lies, or will lie. The folder is made where it is missing.

    Raises OSError where it cannot be, or belongs to someone else.
    """
    told = json.dumps(manifest, sort_keys=True).encode()
    return private_folder(RESTORED) / f"{hashlib.sha256(told).hexdigest()[:32]}.bundle"


def _believed(place: Path, manifest: Mapping[str, Any]) -> Bundle | None:
    """What lies there, where it is the bundle of the manifest and whole."""
    try:
        found = read_bundle(place)
    except BundleError:
        return None
    return found if found.manifest == manifest else None


def _store(place: Path, bundle: Bundle, total_bytes: int | None) -> int:
    """Put a bundle into the cache, dropping others where that needs it; returns its bytes.

    Whoever does so holds the lock, so that what killed processes have left beside the place is
    nobody's. Raises OSError, and BudgetError where there is no room.
    """
    for left in place.parent.glob(f"{place.name}*.part"):
        left.unlink()
    needed = sum(map(len, bundle.parts.values())) + _BESIDE_PARTS_BYTES
    others = [other for other in stored() if other != place]
    most = cachefolder.total_bytes() if total_bytes is None else total_bytes
    over = cachefolder.taken_bytes() - cachefolder.size_bytes(place) + needed - most
    if over > sum(map(cachefolder.size_bytes, others)):
        raise BudgetError(
            f"{bundle.name} takes {needed / 1e6:.1f} MB restored, for which {place.parent.parent} "
            "has no room; remove models (`kbengine models list`), or restore with --out"
        )
    for other in others:
        if over <= 0:
            break
        over -= cachefolder.size_bytes(other)
        drop(other)
    return write_archive(place, bundle.manifest, bundle.parts, deflated=False, mode=0o600)
