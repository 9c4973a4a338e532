"""Files from one of several mirrors: bounded, resumed, checked.

The one thing that counts in the end is the sha256 of what came.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kbengine.errors import BudgetError, DownloadError, StoreError
from kbengine.mirror import CHUNK_BYTES, Answer, BrokenError, RefusedError, StaleError, opened
from kbengine.modelindex import Entry, is_url

# Bytes that are here, and of how many, None where nobody knows.
Progress = Callable[[int, int | None], None]

OFFLINE = "KBENGINE_OFFLINE"
_LONGEST_WAIT_S = 8.0
_MAGIC = b"PK\x03\x04"  # of a zip archive, which a model is in either form


@dataclass(frozen=True)
class FetchOptions:
    """timeout_s: within which a server must answer, and send 10 kB at least; retries: how often
    all mirrors are asked again; wait_s: before the first of these, doubled each time up to 8;
    offline: whether the network is forbidden, None: where $KBENGINE_OFFLINE says so."""

    timeout_s: float = 10.0
    retries: int = 3
    wait_s: float = 0.5
    offline: bool | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for what is no option."""
        if not 0 < self.timeout_s < math.inf or not 0 <= self.wait_s < math.inf:
            raise ValueError("timeout_s (--timeout) must be more than 0, and wait_s 0 or more")
        if self.retries < 0:
            raise ValueError("retries (--retries) must be 0 or more")

    @property
    def forbidden(self) -> bool:
        """Whether the network is."""
        if self.offline is not None:
            return self.offline
        return os.environ.get(OFFLINE, "").lower() not in ("", "0", "no", "false", "off")


def fetch_small(location: str, most_bytes: int, options: FetchOptions) -> bytes:
    """A small file from a URL or path. Raises DownloadError."""
    found: list[bytes] = []

    def once(mirror: str) -> None:
        data = bytearray()
        with _reach(mirror, 0, options) as answer:
            for chunk in answer.chunks:
                data += chunk
                if len(data) > most_bytes:
                    raise RefusedError(f"sends more than {most_bytes} bytes")
        if answer.total_bytes is not None and len(data) != answer.total_bytes:
            raise BrokenError(f"broke off after {len(data)} bytes of {answer.total_bytes}")
        found.append(bytes(data))

    mend = (
        "check its address" if is_url(location) else "check its path, or begin a URL with http://"
    )
    _from_one(location, [location], once, options, lambda: 0, mend)
    return found[-1]


def fetch_model(
    entry: Entry, part: Path, most_bytes: int, options: FetchOptions, progress: Progress | None
) -> None:
    """Fetch a model from one of its mirrors into a file, synced, whose sha256 fits.

    part: goes on from what is there of it; what has come stays for the next time where this one
    fails or is killed. most_bytes: of a model, whatever its size is said to be.

    Raises DownloadError; BudgetError for one that is larger; StoreError where the disk is full.
    """
    if part.exists() and sha256_of(part) == entry.sha256:
        return

    def here() -> int:
        return part.stat().st_size if part.exists() else 0

    def onward(mirror: str, start: int) -> None:
        try:
            _receive(entry, mirror, part, start, most_bytes, options, progress)
        except RefusedError:
            if here() > start:  # of no use to the next mirror
                os.truncate(part, start)
            raise
        if (found := sha256_of(part)) != entry.sha256:
            part.unlink()
            if start:
                raise StaleError("sends what does not go on from what had come before")
            raise RefusedError(f"sends a file of another sha256, {found}")

    def once(mirror: str) -> None:
        start = here()
        if entry.file_bytes is not None and start >= entry.file_bytes:
            start = 0
        try:
            onward(mirror, start)
        except StaleError:
            part.unlink(missing_ok=True)
            onward(mirror, 0)

    try:
        mend = "check what you asked for, or tell who publishes it"
        _from_one(entry.label, entry.urls, once, options, here, mend)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        part.unlink(missing_ok=True)
        raise StoreError(
            f"the disk is full: {entry.label} does not fit into {part.parent}; free some and try "
            "again"
        ) from error


def sha256_of(path: Path) -> str:
    """The sha256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_one(
    what: str,
    mirrors: Sequence[str],
    once: Callable[[str], None],
    options: FetchOptions,
    here: Callable[[], int],
    mend: str,
) -> None:
    """Do it with one mirror after the other, then again, each time after a longer wait, until it is
    done or none is left to ask.

    here: how many bytes have come; a turn that brought many does not count as a failed one. mend:
    where asking again is of no use.
    Raises DownloadError that tells of each mirror.
    """
    left, failures = list(mirrors), dict[str, str]()
    turn, most_here = 0, here()
    while left:
        wait_s = 0.0
        for mirror in list(left):
            try:
                return once(mirror)
            except RefusedError as error:
                left.remove(mirror)
                failures[mirror] = str(error)
            except BrokenError as error:
                wait_s = max(wait_s, error.wait_s)
                failures[mirror] = str(error)
        turn += 1
        if here() >= most_here + CHUNK_BYTES:
            turn, most_here = 0, here()
        if turn > options.retries:
            break
        if left:
            longest_s = min(_LONGEST_WAIT_S, options.wait_s * 2.0 ** max(turn - 1, 0))
            # At random, so that all whom a server turned away do not come back at once.
            time.sleep(max(longest_s * random.uniform(0.5, 1), min(wait_s, _LONGEST_WAIT_S)))
    told = "; ".join(f"{mirror} {why}" for mirror, why in failures.items())
    name = "" if what in failures else f"{what} cannot be had: "
    if options.forbidden and any(map(is_url, mirrors)):
        mend = f"unset {OFFLINE}, or offline=True"
    elif left:
        mend = "try again later"
    raise DownloadError(f"{name}{told}; {mend}")


def _receive(
    entry: Entry,
    mirror: str,
    part: Path,
    start: int,
    most_bytes: int,
    options: FetchOptions,
    progress: Progress | None,
) -> None:
    """Write what a mirror sends behind what is there."""
    with _reach(mirror, start, options) as answer:
        first, said = next(answer.chunks, b""), answer.total_bytes
        if first and answer.start == 0:
            _check_magic(first)
        if entry.file_bytes is not None and said not in (None, entry.file_bytes):
            raise RefusedError(f"has {said} bytes instead of {entry.file_bytes}")
        expected = entry.file_bytes or said
        with _part(part, answer.start) as file:
            done = answer.start
            for chunk in itertools.chain([first], answer.chunks):
                done += len(chunk)
                if done > (expected or most_bytes) or (expected or 0) > most_bytes:
                    if expected is None or expected > most_bytes:
                        raise BudgetError(too_large(entry.label, expected, most_bytes))
                    raise RefusedError(f"sends more than its {expected} bytes")
                file.write(chunk)
                if progress is not None:
                    progress(done, expected)
            file.flush()
            os.fsync(file.fileno())
    if expected is not None and done < expected:
        raise BrokenError(f"broke off after {done} bytes of {expected}")


def _check_magic(chunk: bytes) -> None:
    """Raise RefusedError where a file begins like no model."""
    if not _MAGIC.startswith(chunk[:4]):
        page = chunk.lstrip()[:1] == b"<"
        raise RefusedError("sends a web page" if page else "sends no model")


def _reach(
    mirror: str, start: int, options: FetchOptions
) -> contextlib.AbstractContextManager[Answer]:
    if options.forbidden and is_url(mirror):
        raise RefusedError(f"is on the network, which {OFFLINE} or offline=True forbids")
    return opened(mirror, start, options.timeout_s)


def too_large(label: str, file_bytes: int | None, most_bytes: int) -> str:
    """Why a model is not taken."""
    size = f"more than {most_bytes:,}" if file_bytes is None else f"{file_bytes:,}"
    return (
        f"{label} has {size} bytes, and a model may have {most_bytes:,}; raise model_bytes "
        "(--model-mb), or take a smaller one"
    )


@contextlib.contextmanager
def _part(part: Path, start: int) -> Iterator[BinaryIO]:
    """A file to go on with from byte `start`."""
    with open(part, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.truncate(start)
        yield file
