"""One mirror, a web server or a file share, opened from some byte on.

Nothing is believed of it: how much it sends, for how long, where it sends one on, what it calls
what it sends.

urllib3 does the HTTP: well kept, without dependencies of its own, with time-outs, proxies and the
certificates of the system, and it streams. httpx and requests do no more of what is left, mirrors
and resuming, and bring 3 to 5 packages along; pooch downloads by hash, but neither resumes nor
bounds, and knows no mirrors.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from kbengine.modelindex import checked_url, is_url

CHUNK_BYTES = 1 << 16
_LEAST_BYTES = 10_000  # in every time-out; who sends less has stalled
_MOST_REDIRECTS = 5
_THREAD = "kbengine-fetch"
_AGAIN = {408, 425, 429, 500, 502, 503, 504}  # what may be otherwise in a moment
_RANGE_RE = re.compile(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)")


class RefusedError(Exception):
    """A mirror has not what is asked for, and will not have it in a moment either."""


class BrokenError(Exception):
    """Something went wrong that may go right the next time."""

    def __init__(self, told: str, wait_s: float = 0.0) -> None:
        super().__init__(told)
        self.wait_s = wait_s


class StaleError(BrokenError):
    """A mirror cannot go on from where the file ends: what has come before may be wrong."""


class Answer(NamedTuple):
    """start: which byte of the file comes first; total_bytes: of the whole file, if known."""

    start: int
    total_bytes: int | None
    chunks: Iterator[bytes]


@contextlib.contextmanager
def opened(mirror: str, start: int, timeout_s: float, until_s: float) -> Iterator[Answer]:
    """What a mirror has from byte `start` on, or from the first where it cannot do that.

    timeout_s: within which a server must answer, and send 10 kB; until_s: when all must have come,
    by `time.monotonic`. Raises RefusedError or BrokenError, also while it is read.
    """
    if not is_url(mirror):
        with _file(Path(mirror)) as file:
            yield Answer(0, os.fstat(file.fileno()).st_size, _chunks(file))
        return
    pipe = _Pipe(timeout_s, until_s)
    threading.Thread(
        target=_ask, args=(mirror, start, pipe, timeout_s), daemon=True, name=_THREAD
    ).start()
    try:
        head = pipe.get()
        if not isinstance(head, tuple):
            raise BrokenError("closed the connection without an answer")
        yield Answer(head[0], head[1], pipe.chunks())
    finally:
        pipe.close()


def _file(path: Path) -> BinaryIO:
    """A file of a share."""
    # Without waiting where it is a pipe, whose other end nobody may hold.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise RefusedError("is not there") from None
    except (OSError, ValueError) as error:  # the second: no path at all
        why = getattr(error, "strerror", None) or "that is no path"
        raise RefusedError(f"cannot be read ({why})") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RefusedError("is no file")
    return open(descriptor, "rb")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    try:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
    except OSError as error:
        raise BrokenError(f"cannot be read on ({error.strerror})") from error


class _Pipe:
    """From the thread that waits for a server to the one that watches the clock: a head (start,
    total_bytes), chunks, and None at the end, or an error.

    A thread of its own, since nothing else bounds how long looking up a name, or a server that
    sends a letter now and then, may take.
    """

    def __init__(self, timeout_s: float, until_s: float) -> None:
        self._gone = threading.Event()  # nobody reads any more
        self._items: queue.Queue[Any] = queue.Queue(maxsize=16)
        self._timeout_s, self._until_s = timeout_s, until_s
        self._since_s, self._bytes = time.monotonic(), 0
        self._connections: list[Any] = []

    def close(self) -> None:
        """Read no more, and break off whatever the thread waits for."""
        self._gone.set()
        for connection in self._connections:
            for sock in (connection.sock, connection.last_sock):
                sock = getattr(sock, "socket", sock)  # of TLS within TLS, what is beneath
                if isinstance(sock, socket.socket):
                    with contextlib.suppress(OSError):
                        # Not that of TLS, which would change what the thread works with.
                        socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def watched(self, manager: Any) -> Any:
        """A pool manager of urllib3 whose connections this can break off."""

        def watched_pool(pool: Any) -> Any:
            class Connection(pool.ConnectionCls):  # type: ignore[misc]
                last_sock = None  # the response takes it over

                def connect(connection) -> None:  # noqa: N805
                    self._connections.append(connection)
                    super().connect()
                    connection.last_sock = connection.sock
                    if self._gone.is_set():
                        raise BrokenError("is not waited for any more")

            return type(pool.__name__, (pool,), {"ConnectionCls": Connection})

        pools = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {name: watched_pool(pools[name]) for name in pools}
        return manager

    def put(self, item: Any) -> bool:
        """Whether somebody still reads."""
        while not self._gone.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=0.2)
                return True
        return False

    def get(self) -> Any:
        """The next; raises the error that came in its place, or BrokenError after a stall."""
        while True:
            end_s = min(self._since_s + self._timeout_s, self._until_s)
            left_s = end_s - time.monotonic()
            item: Any = b""
            with contextlib.suppress(queue.Empty):
                item = self._items.get(timeout=max(left_s, 1e-3))
            if isinstance(item, RefusedError | BrokenError):
                raise item
            if not isinstance(item, bytes):
                self._since_s = time.monotonic()
                return item
            self._bytes += len(item)
            if time.monotonic() >= self._until_s:
                raise BrokenError("was not done in time")
            if time.monotonic() >= self._since_s + self._timeout_s:
                # What still waits here is no fault of the server.
                if self._bytes < _LEAST_BYTES and self._items.empty():
                    told = f"{self._bytes} bytes" if self._bytes else "nothing"
                    raise BrokenError(f"sent {told} for {self._timeout_s:g} s")
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
        with contextlib.closing(_response(url, start, pipe, timeout_s)) as response:
            if not pipe.put(_head(response, start)):
                return
            while chunk := response.read1(CHUNK_BYTES, decode_content=False):
                if not pipe.put(chunk):
                    return
    except (RefusedError, BrokenError) as error:
        pipe.put(error)
    except urllib3.exceptions.SSLError as error:
        pipe.put(_tls_error(error.args[0]))
    except (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError) as error:
        pipe.put(BrokenError(_clause(error)))
    finally:
        pipe.put(None)


def _tls_error(error: object) -> RefusedError | BrokenError:
    """Whether it will be the same in a moment, too."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return RefusedError("has no certificate that is trusted here")
    if getattr(error, "reason", None) == "WRONG_VERSION_NUMBER":
        return RefusedError("speaks no https")
    return BrokenError("broke off")


def _response(url: str, start: int, pipe: _Pipe, timeout_s: float) -> Any:
    """The answer of the server at the end of all redirections."""
    import urllib3

    # Who waits has left before these time-outs.
    headers = {"Accept-Encoding": "identity", "User-Agent": "kbengine"}
    if start:
        headers["Range"] = f"bytes={start}-"
    seen = [url]
    while True:
        response = pipe.watched(_pool(url)).request(
            "GET", url, headers=headers, redirect=False, retries=False, preload_content=False,
            timeout=urllib3.Timeout(connect=2 * timeout_s, read=2 * timeout_s),
        )  # fmt: skip
        place = response.headers.get("Location")
        if response.status not in (301, 302, 303, 307, 308) or place is None:
            return response
        response.close()
        try:
            target = checked_url(urljoin(url, place))
        except ValueError as error:
            raise RefusedError(f"sends one on to what is no web address: {error}") from error
        if (urlsplit(url).scheme, urlsplit(target).scheme) == ("https", "http"):
            raise RefusedError("sends one on from https to http")
        if target in seen or len(seen) > _MOST_REDIRECTS:
            raise RefusedError("sends one on in circles, or too often")
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
        raise RefusedError(f"is behind a {told.scheme} proxy; give an http one, or set NO_PROXY")
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
    if response.headers.get("Content-Encoding", "").lower() not in ("", "identity"):
        raise RefusedError("sends it compressed, unasked")
    if status == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if re.fullmatch(r"\d{1,15}", length) else None
    if status == 206:
        told = _RANGE_RE.fullmatch(response.headers.get("Content-Range", ""))
        if told is None or int(told[1]) != start:
            raise StaleError("sends another range than asked for")
        return start, None if told[2] == "*" else int(told[2])
    if status == 416:
        # It has no more than has come, which is more than it should.
        raise StaleError("has fewer bytes than came from elsewhere")
    try:
        phrase = f"{status} ({HTTPStatus(status).phrase})"
    except ValueError:
        phrase = str(status)
    if status in _AGAIN:
        after = response.headers.get("Retry-After", "")
        wait_s = float(after) if re.fullmatch(r"\d{1,6}", after) else 0.0
        raise BrokenError(f"answers {phrase}", wait_s)
    raise RefusedError(f"answers {phrase}")


def _clause(error: Exception) -> str:
    """What urllib3 or the system says, without its objects."""
    import urllib3.exceptions as known

    for kind, told in (
        (known.NameResolutionError, "is of no known host"),
        (known.NewConnectionError, "cannot be reached"),
        (known.ConnectTimeoutError, "cannot be reached in time"),
        (known.ReadTimeoutError, "does not answer in time"),
        (known.ProxyError, "cannot be reached through the proxy"),
        (known.IncompleteRead, "broke off"),
        (known.ProtocolError, "broke off, or sends what is no HTTP"),
    ):
        if isinstance(error, kind):
            return told
    return "cannot be reached, or sends what is no HTTP"
