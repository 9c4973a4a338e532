"""The cache folder of this user: where it is, that nobody else looks in, how full it may be."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from kbengine.errors import StoreError

VARIABLE = "KBENGINE_CACHE"
MODELS, RESTORED = FOLDERS = ("models", "restored")
# A model as large as a phone takes it, and five of them.
_MODEL_MB, _TOTAL_MB = 10.0, 50.0
# What a folder may fail by, where one can do without it; the second: a file system without locks.
UNUSABLE = (OSError, NotImplementedError)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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


def model_bytes() -> int:
    """The most that a model may have: $KBENGINE_MODEL_MB, or 10 MB. Raises StoreError."""
    return _budget("KBENGINE_MODEL_MB", _MODEL_MB)


def total_bytes() -> int:
    """The most that may lie in the cache folder: $KBENGINE_TOTAL_MB, or 50 MB. Raises
    StoreError."""
    return _budget("KBENGINE_TOTAL_MB", _TOTAL_MB)


def _budget(variable: str, default_mb: float) -> int:
    told = os.environ.get(variable) or str(default_mb)
    try:
        mb = float(told)
    except ValueError:
        mb = 0.0
    if not 0 < mb < 1e6:
        raise StoreError(f"{variable} is {told[:40]!r}; set it to megabytes, such as 50")
    return round(mb * 1e6)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What the system cannot do in the folder comes as StoreError, with the mend."""
    try:
        yield
    except UNUSABLE as error:
        raise store_error(error) from error


def store_error(error: OSError | NotImplementedError) -> StoreError:
    """Why the folder cannot be used, and the mend."""
    if isinstance(error, TimeoutError):
        return StoreError("another process has held the models for too long; try again")
    if isinstance(error, OSError) and error.errno is None:
        return StoreError(str(error))  # a sentence of our own
    if isinstance(error, OSError) and error.errno in FULL:
        return StoreError(f"the disk is full, of {cache_folder()}; free some and try again")
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return StoreError("too many files are open to look after models; close some and try again")
    why = getattr(error, "strerror", None) or "it has no locks"
    return StoreError(
        f"models cannot be kept in {cache_folder()} ({why}); set {VARIABLE} to another folder"
    )


def taken_bytes() -> int:
    """The bytes of all that lies in the folders of ours. Raises OSError."""
    folders = (cache_folder() / name for name in FOLDERS)
    own = (folder for folder in folders if not folder.is_symlink())
    return sum(size_bytes(path) for folder in own for path in folder.rglob("*"))


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
    """When a file was used last, in seconds of the clock; 0 for one that cannot be seen."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
