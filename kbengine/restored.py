"""Where shipped bundles lie restored, and `read`, through which every bundle is opened.

A shipped file is restored at its first load into a folder of the user's own, under a name made
of what it is restored to. The file there is written beside its place, brought to the disk and
then put into it, by one process at a time: it is there whole or not at all. It is believed only
where its manifest is the shipped one's and all its hashes fit; whatever else stands under its
name is restored again. Where the folder cannot be used (read-only, full, another user's), the
bundle is restored in memory, at every load.

The restored file is stored, not deflated: of the English bundle it takes 12.7 MB instead of 9.4,
and writing it 0.02 s instead of 0.24 (level 1) to 0.39 (level 6) of the second that all has to
take, and it opens 0.05 s sooner each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kbengine.bundle import Bundle, read_bundle
from kbengine.container import write_archive
from kbengine.errors import BundleError
from kbengine.files import check_target
from kbengine.shipping import is_shipped, look, read_shipped

VARIABLE = "KBENGINE_CACHE"
_FOLDER = "restored"
# Restoring takes a second; who waits longer does without the folder.
_WAIT_S = 10.0
_UNUSABLE = (OSError, NotImplementedError)  # the second: a file system without locks


def cache_folder() -> Path:
    """The folder of this user for what can be had again; $KBENGINE_CACHE names another.

    Raises OSError where neither is known.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named)
    from platformdirs import user_cache_path

    try:
        return user_cache_path("kbengine", appauthor=False)
    except RuntimeError as error:  # no HOME, and nobody whom the system knows
        raise OSError(f"this user has no home folder; set {VARIABLE} to a folder") from error


def read(path: Path) -> Bundle:
    """A bundle; one of the shipping form from where it lies restored, or restored now.

    Its `file_bytes` are those of the file that it is opened from. Raises BundleError where the
    file is missing, of another format, damaged or forged.
    """
    if not is_shipped(path):
        return read_bundle(path)
    manifest = look(path).manifest
    bundle = None
    try:
        place = _place(manifest)
        found = _believed(place, manifest)
        if found is None:
            with _alone(place):
                found = _believed(place, manifest)  # another process may just have been here
                if found is None:
                    bundle = read_shipped(path)
                    file_bytes = _store(place, bundle)
                    found = Bundle(bundle.manifest, bundle.parts, file_bytes)
        return found
    except _UNUSABLE:
        return bundle or read_shipped(path)


def restore(path: Path, out: Path | None = None) -> tuple[Path, Bundle]:
    """Restore a shipped file into `out`, or into the cache, from its own bytes in any case;
    returns where, and the bundle.

    Raises BundleError as `read` does, OSError where the file cannot be written, ValueError where
    `out` is no place for it.
    """
    if out is not None:
        check_target(out, path)
    bundle = read_shipped(path)
    if out is not None:
        place = out
        file_bytes = write_archive(out, bundle.manifest, bundle.parts, deflated=False)
    else:
        place = _place(bundle.manifest)
        with _alone(place):
            file_bytes = _store(place, bundle)
    return place, Bundle(bundle.manifest, bundle.parts, file_bytes)


def _place(manifest: Mapping[str, Any]) -> Path:
    """Where the bundle of a manifest lies, or will lie. The folder is made where it is missing.

    Raises OSError where it cannot be, or belongs to someone else.
    """
    folder = cache_folder() / _FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix":
        facts = folder.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
            raise PermissionError(f"{folder} belongs to someone else; set {VARIABLE} to another")
        if facts.st_mode & 0o077:
            folder.chmod(0o700)
    told = json.dumps(manifest, sort_keys=True).encode()
    return folder / f"{hashlib.sha256(told).hexdigest()[:32]}.bundle"


def _believed(place: Path, manifest: Mapping[str, Any]) -> Bundle | None:
    """What lies there, where it is the bundle of the manifest and whole."""
    try:
        found = read_bundle(place)
    except BundleError:
        return None
    return found if found.manifest == manifest else None


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold the lock of a restored file. The system lets go of it where a process is killed."""
    from filelock import FileLock  # 25 ms, which most programs need not spend

    with FileLock(place.with_suffix(".lock"), timeout=_WAIT_S):
        yield


def _store(place: Path, bundle: Bundle) -> int:
    """Put a bundle into the cache; returns its bytes.

    Whoever does so holds the lock, so that what killed processes have left beside the place is
    nobody's.
    """
    for left in place.parent.glob(f"{place.name}*.part"):
        left.unlink()
    return write_archive(place, bundle.manifest, bundle.parts, deflated=False, mode=0o600)
