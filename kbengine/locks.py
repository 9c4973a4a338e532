"""Lock files, of which the system lets go where a process is killed.

They are taken away only by who holds them: filelock sees where the file that it has locked is no
longer the one at the path, and takes the next.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(lock: Path, wait_s: float) -> Iterator[None]:
    """Hold a lock file.

    Raises OSError (TimeoutError where another holds it so long) or NotImplementedError.
    """
    from filelock import FileLock  # 25 ms, which most programs need not spend

    with FileLock(lock, timeout=wait_s, mode=0o600):
        yield


def is_free(lock: Path) -> bool:
    """Whether nobody holds a lock file; one that is free is taken away.

    Who looks holds it for a moment: two who look must not do so at once. Raises OSError or
    NotImplementedError where that cannot be told.
    """
    if not lock.exists():
        return True
    try:
        with alone(lock, 0):
            take_away(lock)
    except TimeoutError:
        return False
    return True


def take_away(lock: Path) -> None:
    """Unlink a lock file that one holds; where the system does not let one, it stays."""
    with contextlib.suppress(OSError):
        lock.unlink(missing_ok=True)


class Lease:
    """Holds a lock file until it is released, from any thread, or the process ends."""

    def __init__(self, lock: Path) -> None:
        """Raises OSError or NotImplementedError."""
        from filelock import FileLock

        self._path, self._process = lock, os.getpid()
        self._lock = FileLock(lock, timeout=0, mode=0o600, thread_local=False)
        self._lock.acquire()

    def release(self) -> None:
        """Let it go; once is enough. A forked child has none: it is its parent's."""
        if os.getpid() == self._process and self._lock.is_locked:
            take_away(self._path)
            self._lock.release()
