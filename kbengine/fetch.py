"""Files from web servers and file shares: bounded, resumed, checked, from one of several mirrors.

Nothing is believed of a server: how much it sends, for how long, where it sends one on, what it
calls what it sends. The one thing that counts in the end is the sha256 of what came.

urllib3 does the HTTP: well kept, without dependencies of its own, with time-outs, proxies and the
certificates of the system, and it streams. httpx and requests do no more of what is left, mirrors
and resuming, and bring 3 to 5 packages along; pooch downloads by hash, but neither resumes nor
bounds, and knows no mirrors.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import queue
import random
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from kbengine.errors import BudgetError, DownloadError, StoreError
from kbengine.modelindex import Entry, checked_url, is_url

# Bytes that are here, and of how many, None where nobody knows.
Progress = Callable[[int, int | None], None]

OFFLINE = "KBENGINE_OFFLINE"
_CHUNK_BYTES = 1 << 16
_LEAST_BYTES = 10_000  # in every time-out; who sends less has stalled
_MOST_REDIRECTS = 5
_LONGEST_WAIT_S = 8.0
_THREAD = "kbengine-fetch"
_MAGIC = b"PK\x03\x04"  # of a zip archive, which a model is in either form
_AGAIN = {408, 425, 429, 500, 502, 503, 504}  # what may be otherwise in a moment
_RANGE_RE = re.compile(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)")


@dataclass(frozen=True)
class FetchOptions:
    """timeout_s: within which a server must answer, and send 10 kB at least; retries: how often
    all mirrors are asked again; wait_s: before the first of these, doubled each time up to 8;
    offline: whether the network is forbidden, None: where $KBENGINE_OFFLINE says so."""

    timeout_s: float = 20.0
    retries: int = 4
    wait_s: float = 0.5
    offline: bool | None = None

    @property
    def forbidden(self) -> bool:
        """Whether the network is."""
        return self.offline if self.offline is not None else _offline()


class _RefusedError(Exception):
    """A mirror has not what is asked for, and will not have it in a moment either."""


class _BrokenError(Exception):
    """Something went wrong that may go right the next time."""

    def __init__(self, told: str, wait_s: float = 0.0) -> None:
        super().__init__(told)
        self.wait_s = wait_s


class _StaleError(_BrokenError):
    """A mirror cannot go on from where the file ends: what has come before may be wrong."""


class _Answer(NamedTuple):
    """start: which byte of the file comes first; total_bytes: of the whole file, if known."""

    start: int
    total_bytes: int | None
    chunks: Iterator[bytes]


def fetch_small(location: str, most_bytes: int, options: FetchOptions) -> bytes:
    """A small file from a URL or path. Raises DownloadError."""
    found: list[bytes] = []

    def once(mirror: str) -> None:
        data = bytearray()
        with _opened(mirror, 0, options) as answer:
            for chunk in answer.chunks:
                data += chunk
                if len(data) > most_bytes:
                    raise _RefusedError(f"sends more than {most_bytes} bytes")
        if answer.total_bytes is not None and len(data) != answer.total_bytes:
            raise _BrokenError(f"broke off after {len(data)} bytes of {answer.total_bytes}")
        found.append(bytes(data))

    _from_one(location, [location], once, options, lambda: 0)
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
        except _RefusedError:
            if here() > start:  # of no use to the next mirror
                os.truncate(part, start)
            raise
        if sha256_of(part) != entry.sha256:
            part.unlink()
            if start:
                raise _StaleError("sends what does not go on from what had come before")
            raise _RefusedError("sends a file of another sha256")

    def once(mirror: str) -> None:
        start = here()
        if entry.file_bytes is not None and start >= entry.file_bytes:
            start = 0
        try:
            onward(mirror, start)
        except _StaleError:
            part.unlink(missing_ok=True)
            onward(mirror, 0)

    try:
        _from_one(entry.label, entry.urls, once, options, here)
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
) -> None:
    """Do it with one mirror after the other, then again, each time after a longer wait, until it is
    done or none is left to ask.

    here: how many bytes have come; a turn that brought many does not count as a failed one.
    Raises DownloadError that tells of each mirror.
    """
    left, failures = list(mirrors), dict[str, str]()
    turn, most_here = 0, here()
    while left:
        wait_s = 0.0
        for mirror in list(left):
            try:
                return once(mirror)
            except _RefusedError as error:
                left.remove(mirror)
                failures[mirror] = str(error)
            except _BrokenError as error:
                wait_s = max(wait_s, error.wait_s)
                failures[mirror] = str(error)
        turn += 1
        if here() >= most_here + _CHUNK_BYTES:
            turn, most_here = 0, here()
        if turn > options.retries:
            break
        if left:
            longest_s = min(_LONGEST_WAIT_S, options.wait_s * 2.0 ** max(turn - 1, 0))
            # At random, so that all whom a server turned away do not come back at once.
            time.sleep(max(longest_s * random.uniform(0.5, 1), min(wait_s, _LONGEST_WAIT_S)))
    told = "; ".join(f"{mirror} {why}" for mirror, why in failures.items())
    name = "" if what in failures else f"{what} cannot be had: "
    raise DownloadError(f"{name}{told}; try again, or from elsewhere")


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
    with _opened(mirror, start, options) as answer:
        first, said = next(answer.chunks, b""), answer.total_bytes
        if first and answer.start == 0:
            _check_magic(first)
        if entry.file_bytes is not None and said not in (None, entry.file_bytes):
            raise _RefusedError(f"has {said} bytes instead of {entry.file_bytes}")
        expected = entry.file_bytes or said
        with _part(part, answer.start) as file:
            done = answer.start
            for chunk in itertools.chain([first], answer.chunks):
                done += len(chunk)
                if done > (expected or most_bytes) or (expected or 0) > most_bytes:
                    if expected is None or expected > most_bytes:
                        raise BudgetError(too_large(entry.label, expected, most_bytes))
                    raise _RefusedError(f"sends more than its {expected} bytes")
                file.write(chunk)
                if progress is not None:
                    progress(done, expected)
            file.flush()
            os.fsync(file.fileno())
    if expected is not None and done < expected:
        raise _BrokenError(f"broke off after {done} bytes of {expected}")


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


def _check_magic(chunk: bytes) -> None:
    """Raise _RefusedError where a file begins like no model."""
    if not _MAGIC.startswith(chunk[:4]):
        page = chunk.lstrip()[:1] == b"<"
        raise _RefusedError("sends a web page" if page else "sends no model")


@contextlib.contextmanager
def _opened(mirror: str, start: int, options: FetchOptions) -> Iterator[_Answer]:
    """What a mirror has from byte `start` on, or from the first where it cannot do that.

    Raises _RefusedError or _BrokenError, also while it is read.
    """
    if not is_url(mirror):
        with _file(Path(mirror)) as file:
            yield _Answer(0, os.fstat(file.fileno()).st_size, _chunks(file))
        return
    if options.forbidden:
        raise _RefusedError(f"is on the network, which {OFFLINE} forbids")
    pipe = _Pipe(options.timeout_s)
    threading.Thread(
        target=_ask, args=(mirror, start, pipe, options.timeout_s), daemon=True, name=_THREAD
    ).start()
    try:
        head = pipe.get()
        if not isinstance(head, tuple):
            raise _BrokenError("closed the connection without an answer")
        yield _Answer(head[0], head[1], pipe.chunks())
    finally:
        pipe.gone.set()


def _file(path: Path) -> BinaryIO:
    """A file of a share."""
    # Without waiting where it is a pipe, whose other end nobody may hold.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise _RefusedError("is not there") from None
    except OSError as error:
        raise _RefusedError(f"cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _RefusedError("is no file")
    return open(descriptor, "rb")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    try:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
    except OSError as error:
        raise _BrokenError(f"cannot be read on ({error.strerror})") from error


class _Pipe:
    """From the thread that waits for a server to the one that watches the clock: a head (start,
    total_bytes), chunks, and None at the end, or an error.

    A thread of its own, since nothing else bounds how long looking up a name, or a server that
    sends a letter now and then, may take.
    """

    def __init__(self, timeout_s: float) -> None:
        self.gone = threading.Event()  # nobody reads any more
        self._items: queue.Queue[Any] = queue.Queue(maxsize=16)
        self._timeout_s = timeout_s
        self._since_s, self._bytes = time.monotonic(), 0

    def put(self, item: Any) -> bool:
        """Whether somebody still reads."""
        while not self.gone.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=0.2)
                return True
        return False

    def get(self) -> Any:
        """The next; raises the error that came in its place, or _BrokenError after a stall."""
        while True:
            left_s = self._since_s + self._timeout_s - time.monotonic()
            item: Any = b""
            with contextlib.suppress(queue.Empty):
                item = self._items.get(timeout=max(left_s, 1e-3))
            if isinstance(item, _RefusedError | _BrokenError):
                raise item
            if not isinstance(item, bytes):
                self._since_s = time.monotonic()
                return item
            self._bytes += len(item)
            if time.monotonic() >= self._since_s + self._timeout_s:
                # What still waits here is no fault of the server.
                if self._bytes < _LEAST_BYTES and self._items.empty():
                    told = f"{self._bytes} bytes" if self._bytes else "nothing"
                    raise _BrokenError(f"sent {told} for {self._timeout_s:g} s")
                self._since_s, self._bytes = time.monotonic(), 0
            if item:
                return item

    def chunks(self) -> Iterator[bytes]:
        """All chunks that are left."""
        while (item := self.get()) is not None:
            yield item


def _ask(url: str, start: int, pipe: _Pipe, timeout_s: float) -> None:
    """Put into a pipe what a server answers."""
    from http.client import HTTPException

    import urllib3  # 60 ms, which nobody need spend who downloads nothing

    try:
        with contextlib.closing(_response(url, start, timeout_s)) as response:
            if not pipe.put(_head(response, start)):
                return
            while chunk := response.read1(_CHUNK_BYTES, decode_content=False):
                if not pipe.put(chunk):
                    return
    except (_RefusedError, _BrokenError) as error:
        pipe.put(error)
    except (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError) as error:
        pipe.put(_BrokenError(_clause(error)))
    finally:
        pipe.put(None)


def _response(url: str, start: int, timeout_s: float) -> Any:
    """The answer of the server at the end of all redirections."""
    import urllib3

    headers = {"Accept-Encoding": "identity", "User-Agent": "kbengine"}
    if start:
        headers["Range"] = f"bytes={start}-"
    seen = [url]
    while True:
        response = _pool(url).request(
            "GET", url, headers=headers, redirect=False, retries=False, preload_content=False,
            timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s),
        )  # fmt: skip
        place = response.headers.get("Location")
        if response.status not in (301, 302, 303, 307, 308) or place is None:
            return response
        response.close()
        try:
            target = checked_url(urljoin(url, place))
        except ValueError as error:
            raise _RefusedError(f"sends one on to what is no web address: {error}") from error
        if url.startswith("https:") and not target.startswith("https:"):
            raise _RefusedError("sends one on from https to http")
        if target in seen or len(seen) > _MOST_REDIRECTS:
            raise _RefusedError("sends one on in circles, or too often")
        url = target
        seen.append(url)


def _pool(url: str) -> Any:
    """What asks for a URL, through the proxy that the system or $HTTPS_PROXY, $HTTP_PROXY,
    $ALL_PROXY and $NO_PROXY name."""
    import urllib.request

    import urllib3

    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(parts.netloc):
        return urllib3.PoolManager(num_pools=1)
    told = urlsplit(proxy if is_url(proxy) else f"http://{proxy}")
    if told.scheme not in ("http", "https"):
        raise _RefusedError(f"is behind a {told.scheme} proxy; give an http one, or set NO_PROXY")
    headers = None
    if told.username is not None:
        login = f"{unquote(told.username)}:{unquote(told.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=login)
    address = f"{told.scheme}://{told.netloc.rpartition('@')[2]}"
    return urllib3.ProxyManager(address, num_pools=1, proxy_headers=headers)


def _head(response: Any, start: int) -> tuple[int, int | None]:
    """What comes: from which byte on, and how many the whole file has."""
    from http import HTTPStatus

    status = response.status
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _RefusedError("sends it compressed, unasked")
    if status == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if re.fullmatch(r"\d{1,15}", length) else None
    if status == 206:
        told = _RANGE_RE.fullmatch(response.headers.get("Content-Range", ""))
        if told is None or int(told[1]) != start:
            raise _StaleError("sends another range than asked for")
        return start, None if told[2] == "*" else int(told[2])
    if status == 416:
        # It has no more than has come, which is more than it should.
        raise _StaleError("has fewer bytes than came from elsewhere")
    try:
        phrase = f"{status} ({HTTPStatus(status).phrase})"
    except ValueError:
        phrase = str(status)
    if status in _AGAIN:
        after = response.headers.get("Retry-After", "")
        wait_s = float(after) if re.fullmatch(r"\d{1,6}", after) else 0.0
        raise _BrokenError(f"answers {phrase}", wait_s)
    raise _RefusedError(f"answers {phrase}")


def _clause(error: Exception) -> str:
    """What urllib3 or the system says, without its objects."""
    import urllib3.exceptions as known

    for kind, told in (
        (known.NameResolutionError, "is of no known host"),
        (known.NewConnectionError, "cannot be reached"),
        (known.ConnectTimeoutError, "cannot be reached in time"),
        (known.ReadTimeoutError, "does not answer in time"),
        (known.ProxyError, "cannot be reached through the proxy"),
        (known.SSLError, "has no certificate that is trusted here"),
        (known.IncompleteRead, "broke off"),
        (known.ProtocolError, "broke off, or sends what is no HTTP"),
    ):
        if isinstance(error, kind):
            return told
    return "cannot be reached, or sends what is no HTTP"


def _offline() -> bool:
    return os.environ.get(OFFLINE, "") not in ("", "0")
