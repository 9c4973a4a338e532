"""Files from one of several mirrors: bounded, resumed, checked.

The one thing that counts in the end is the sha256 of what came.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kbengine.cachefolder import FULL, size_bytes, told
from kbengine.errors import BudgetError, DownloadError, StoreError
from kbengine.mirror import CHUNK_BYTES, Answer, BrokenError, RefusedError, StaleError, opened
from kbengine.modelindex import Entry, is_url

# Bytes that are here, and of how many, None where nobody knows.
Progress = Callable[[int, int | None], None]

OFFLINE = "KBENGINE_OFFLINE"
_LONGEST_WAIT_S = 8.0
_MOST_S = 1_000_000
_MOST_TOLD = 3  # mirrors in a sentence
_MAGIC = b"PK\x03\x04"  # of a zip archive, which a model is in either form


@dataclass(frozen=True)
class FetchOptions:
    """timeout_s: within which a server must answer, and send 10 kB at least; retries: how often
    all mirrors are asked again; wait_s: before the first of these, doubled each time up to 8;
    most_s: for all of it; offline: whether the network is forbidden, None: where $KBENGINE_OFFLINE
    says so."""

    timeout_s: float = 10.0
    retries: int = 3
    wait_s: float = 0.5
    most_s: float = math.inf
    offline: bool | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for what is no option."""
        if not 0 < self.timeout_s <= _MOST_S or not 0 <= self.wait_s <= _MOST_S:
            raise ValueError(
                f"timeout_s (--timeout) must be more than 0, wait_s 0 or more, none above {_MOST_S}"
            )
        if not self.most_s > 0:
            raise ValueError("most_s must be more than 0")
        if self.retries < 0:
            raise ValueError("retries (--retries) must be 0 or more")

    @property
    def forbidden(self) -> bool:
        """Whether the network is."""
        if self.offline is not None:
            return self.offline
        return os.environ.get(OFFLINE, "").lower() not in ("", "0", "no", "false", "off")


class _Patience(NamedTuple):
    """How long all of a fetch may take: until `until_s`, by `time.monotonic`."""

    options: FetchOptions
    until_s: float

    @classmethod
    def begin(cls, options: FetchOptions) -> _Patience:
        """From now on."""
        return cls(options, time.monotonic() + options.most_s)

    @property
    def is_over(self) -> bool:
        """Whether it is at its end."""
        return time.monotonic() >= self.until_s

    def opened(self, mirror: str, start: int) -> contextlib.AbstractContextManager[Answer]:
        """See `kbengine.mirror.opened`."""
        if self.options.forbidden and is_url(mirror):
            raise RefusedError(f"is on the network, which {OFFLINE} or offline=True forbids")
        return opened(mirror, start, self.options.timeout_s, self.until_s)

    def wait(self, turn: int, asked_s: float) -> None:
        """Before a turn, from 1 on; asked_s: how long a server wants one to."""
        longest_s = min(_LONGEST_WAIT_S, self.options.wait_s * 2.0 ** min(turn - 1, 9))
        # At random, so that all whom a server turned away do not come back at once.
        wait_s = max(longest_s * random.uniform(0.5, 1), min(asked_s, _LONGEST_WAIT_S))
        time.sleep(max(0.0, min(wait_s, self.until_s - time.monotonic())))


def fetch_small(location: str, most_bytes: int, options: FetchOptions) -> bytes:
    """A small file from a URL or path. Raises DownloadError."""
    found: list[bytes] = []
    patience = _Patience.begin(options)

    def once(mirror: str) -> None:
        data = bytearray()
        with patience.opened(mirror, 0) as answer:
            for chunk in answer.chunks:
                data += chunk
                if len(data) > most_bytes:
                    raise RefusedError(f"sends more than {most_bytes} bytes")
        if answer.total_bytes is not None and len(data) != answer.total_bytes:
            raise BrokenError(f"broke off after {len(data)} bytes of {answer.total_bytes}")
        found.append(bytes(data))

    where = "address" if is_url(location) else "path, or begin a URL with http://"
    _from_one(location, [location], once, patience, lambda: 0, f"check its {where}")
    return found[-1]


def fetch_model(
    entry: Entry, part: Path, most_bytes: int, options: FetchOptions, progress: Progress | None
) -> None:
    """Fetch a model from one of its mirrors into a file, synced, whose sha256 fits.

    part: goes on from what is there of it; what has come stays for the next time where this one
    fails or is killed. most_bytes: of a model, whatever its size is said to be.

    Raises DownloadError; BudgetError for one that is larger; StoreError where the disk is full, or
    cannot be written. What `progress` raises comes as it is.
    """
    file, patience = _Part(part), _Patience.begin(options)
    if file.sha256() == entry.sha256:
        return

    def onward(mirror: str, start: int) -> None:
        try:
            _receive(entry, mirror, file, start, most_bytes, patience, progress)
        except RefusedError:
            file.cut(start)  # the rest is of no use to the next mirror
            raise
        except BudgetError:
            file.cut(0)
            raise
        if (found := file.sha256()) != entry.sha256:
            file.cut(0)
            if start:
                raise StaleError("sends what does not go on from what had come before")
            raise RefusedError(f"sends a file of another sha256, {found}")

    def once(mirror: str) -> None:
        start = file.size()
        if entry.file_bytes is not None and start >= entry.file_bytes:
            start = 0
        try:
            onward(mirror, start)
        except StaleError:
            file.cut(0)
            onward(mirror, 0)

    mend = "check what you asked for, or tell who publishes it"
    _from_one(entry.label, entry.urls, once, patience, file.size, mend)


class _Part:
    """A file that is fetched. All methods raise StoreError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self) -> int:
        """In bytes; 0 where it is not there."""
        with told():
            return size_bytes(self._path)

    def sha256(self) -> str | None:
        """None where it is not there."""
        with told():
            return sha256_of(self._path) if self._path.exists() else None

    def cut(self, size: int) -> None:
        """Keep so many bytes of it at most; 0: take it away."""
        with told():
            if not size:
                self._path.unlink(missing_ok=True)
            elif self.size() > size:
                os.truncate(self._path, size)

    @contextlib.contextmanager
    def writing(self, start: int) -> Iterator[Callable[[bytes], None]]:
        """What writes on from byte `start`; all is synced at the end. Where the disk is full, the
        file is taken away."""
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
        try:
            with told():
                descriptor = os.open(self._path, flags, 0o600)

            def write(chunk: bytes) -> None:
                left = memoryview(chunk)
                with told():
                    while left:
                        left = left[os.write(descriptor, left) :]

            try:
                with told():
                    os.truncate(descriptor, start)
                    os.lseek(descriptor, start, os.SEEK_SET)
                yield write
                with told():
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except StoreError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL:
                self.cut(0)
            raise


def sha256_of(path: Path) -> str:
    """The sha256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_one(
    what: str,
    mirrors: Sequence[str],
    once: Callable[[str], None],
    patience: _Patience,
    here: Callable[[], int],
    mend: str,
) -> None:
    """Do it with one mirror after the other, then again, each time after a longer wait, until it is
    done or none is left to ask.

    here: how many bytes have come; a turn that brought many does not count as a failed one. mend:
    where asking again is of no use.
    Raises DownloadError that tells of the mirrors.
    """
    left, failures = list(mirrors), dict[str, str]()
    turn, most_here = 0, here()
    while left and turn <= patience.options.retries:
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
            if patience.is_over:
                break
        if patience.is_over:
            break
        turn += 1
        if here() >= most_here + CHUNK_BYTES:
            turn, most_here = 0, here()
        if left and turn <= patience.options.retries:
            patience.wait(max(turn, 1), wait_s)
    clauses = [f"{mirror} {why}" for mirror, why in failures.items()]
    if len(clauses) > _MOST_TOLD:
        clauses[_MOST_TOLD:] = [f"and so on with {len(clauses) - _MOST_TOLD} more"]
    name = "" if what in failures else f"{what} cannot be had: "
    if patience.options.forbidden and any(map(is_url, mirrors)):
        mend = f"unset {OFFLINE}, or offline=True"
    elif left:
        mend = "try again later"
    raise DownloadError(f"{name}{'; '.join(clauses)}; {mend}")


def _receive(
    entry: Entry,
    mirror: str,
    part: _Part,
    start: int,
    most_bytes: int,
    patience: _Patience,
    progress: Progress | None,
) -> None:
    """Write what a mirror sends behind what is there."""
    with patience.opened(mirror, start) as answer:
        first, said = next(answer.chunks, b""), answer.total_bytes
        if first and answer.start == 0:
            _check_magic(first)
        if entry.file_bytes is not None and said not in (None, entry.file_bytes):
            raise RefusedError(f"has {said} bytes instead of {entry.file_bytes}")
        expected = entry.file_bytes or said
        if expected is not None and expected > most_bytes:
            raise BudgetError(too_large(entry.label, expected, most_bytes))
        with part.writing(answer.start) as write:
            done = answer.start
            for chunk in itertools.chain([first], answer.chunks):
                done += len(chunk)
                if expected is None and done > most_bytes:
                    raise BudgetError(too_large(entry.label, None, most_bytes))
                if expected is not None and done > expected:
                    raise RefusedError(f"sends more than its {expected} bytes")
                write(chunk)
                if progress is not None:
                    progress(done, expected)
    if expected is not None and done < expected:
        raise BrokenError(f"broke off after {done} bytes of {expected}")


def _check_magic(chunk: bytes) -> None:
    """Raise RefusedError where a file begins like no model."""
    if not _MAGIC.startswith(chunk[:4]):
        page = chunk.lstrip()[:1] == b"<"
        raise RefusedError("sends a web page" if page else "sends no model")


def too_large(label: str, file_bytes: int | None, most_bytes: int) -> str:
    """Why a model is not taken."""
    size = f"more than {most_bytes:,}" if file_bytes is None else f"{file_bytes:,}"
    return (
        f"{label} has {size} bytes, and a model may have {most_bytes:,}; raise model_bytes "
        "(--model-mb), or take a smaller one"
    )
