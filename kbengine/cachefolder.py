"""The cache folder of this user: where it is, that nobody else looks in, how full it may be."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "KBENGINE_CACHE"
# All that lies in the folder: five models as large as a phone takes them.
TOTAL_BYTES = 50_000_000
# What a folder may fail by, where one can do without it; the second: a file system without locks.
UNUSABLE = (OSError, NotImplementedError)


def cache_folder() -> Path:
    """The folder of this user for what can be had again; $KBENGINE_CACHE names another.

    Raises OSError where neither is known.
    """
    try:
        if named := os.environ.get(VARIABLE):
            return Path(named).expanduser()
        from platformdirs import user_cache_path

        return user_cache_path("kbengine", appauthor=False)
    except RuntimeError as error:  # no HOME, and nobody whom the system knows
        raise OSError(f"this user has no home folder; set {VARIABLE} to a folder") from error


def private_folder(name: str, make: bool = True) -> Path:
    """A folder in the cache folder, made where it is missing, which nobody else can look into.

    Raises OSError where it cannot be, or belongs to someone else; without `make` also where it is
    missing.
    """
    folder = cache_folder() / name
    if make:
        for place in (folder.parent, folder):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix":
        facts = folder.lstat()
        if not stat.S_ISDIR(facts.st_mode):
            raise PermissionError(f"{folder} is a link or file; set {VARIABLE} to another folder")
        if facts.st_uid != os.geteuid():
            raise PermissionError(f"{folder} belongs to someone else; set {VARIABLE} to another")
        if facts.st_mode & 0o077:
            folder.chmod(0o700)
    return folder


@contextlib.contextmanager
def alone(lock: Path, wait_s: float) -> Iterator[None]:
    """Hold a lock file. The system lets go of it where a process is killed.

    Raises OSError (TimeoutError where another holds it so long) or NotImplementedError.
    """
    from filelock import FileLock  # 25 ms, which most programs need not spend

    with FileLock(lock, timeout=wait_s, mode=0o600):
        yield


def taken_bytes() -> int:
    """The bytes of all files in the cache folder. Raises OSError."""
    return sum(size_bytes(path) for path in cache_folder().rglob("*"))


def size_bytes(path: Path) -> int:
    """Of a file; 0 for what is none, or has just gone."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return 0
    return facts.st_size if stat.S_ISREG(facts.st_mode) else 0


def touch(path: Path) -> None:
    """Note that a file is used now; its time of change says so. Of no matter where it fails."""
    with contextlib.suppress(OSError):
        os.utime(path)


def used_s(path: Path) -> float:
    """When a file was used last, in seconds of the clock; 0 for one that has gone."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0
