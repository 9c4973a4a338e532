"""A web server on loopback, and all the ways in which one can go wrong."""

from __future__ import annotations

import contextlib
import functools
import http.server
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

# Writes a whole answer, from the status line on.
Answer = Callable[["Handler"], None]


class Request(NamedTuple):
    """start: the first byte that was asked for, 0 where no range was; headers: names in lower
    case."""

    path: str
    start: int
    headers: dict[str, str]


class Site(http.server.ThreadingHTTPServer):
    """What stands at which path, and what was asked for. Change `answers` at any time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Answer] = {}
        self.requests: list[Request] = []
        self.closing = threading.Event()

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def asked(self, path: str) -> list[int]:
        """From which bytes on a path was asked for, in turn."""
        return [request.start for request in self.requests if request.path == f"/{path}"]

    def put(self, path: str, answer: bytes | Answer) -> str:
        """Let a file, or a way to go wrong, stand at a path; returns its URL."""
        self.answers[f"/{path}"] = whole(answer) if isinstance(answer, bytes) else answer
        return self.url(path)

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever hangs up is of no interest."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the site's table."""

    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        self.start = int(match[1]) if match else 0
        path = self.path.removeprefix(self.server.url().rstrip("/"))  # as a proxy is asked
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(Request(path, self.start, headers))
        self.close_connection = True
        self.server.answers.get(path, status(404))(self)

    def head(self, code: int, **headers: object) -> None:
        """Send the status line and headers; `Content_Length` stands for Content-Length."""
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Connection", "close")
        self.end_headers()

    def sleep(self, seconds: float = 3600) -> None:
        """Until the site closes at the latest."""
        self.server.closing.wait(seconds)

    def log_message(self, *ignored: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving() -> Iterator[Site]:
    """A site that answers 404 to everything."""
    with Site() as site:
        thread = threading.Thread(target=functools.partial(site.serve_forever, 0.01))
        thread.start()
        try:
            yield site
        finally:
            site.closing.set()
            site.shutdown()
            thread.join()


def whole(data: bytes) -> Answer:
    """A file, or what of it is asked for."""

    def answer(handler: Handler) -> None:
        start = handler.start
        if start >= len(data) > 0:
            handler.head(416, Content_Range=f"bytes */{len(data)}", Content_Length=0)
        elif start:
            told = f"bytes {start}-{len(data) - 1}/{len(data)}"
            handler.head(206, Content_Range=told, Content_Length=len(data) - start)
            handler.wfile.write(data[start:])
        else:
            handler.head(200, Content_Length=len(data))
            handler.wfile.write(data)

    return answer


def in_turn(*answers: Answer) -> Answer:
    """One after the other; the last for ever."""
    left = list(answers)
    return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


def status(code: int, **headers: object) -> Answer:
    return lambda handler: handler.head(code, Content_Length=0, **headers)


def moved(place: str, code: int = 302) -> Answer:
    return status(code, Location=place)


def page(handler: Handler) -> None:
    """What a hotel's network answers to everything."""
    text = b"<!DOCTYPE html><html><body>Please sign in.</body></html>"
    handler.head(200, Content_Type="text/html", Content_Length=len(text))
    handler.wfile.write(text)


def broken_off(data: bytes, most_bytes: int) -> Answer:
    """Sends so many bytes of what is asked for, then hangs up."""

    def answer(handler: Handler) -> None:
        rest = data[handler.start :]
        told = f"bytes {handler.start}-{len(data) - 1}/{len(data)}"
        code, more = (206, {"Content_Range": told}) if handler.start else (200, {})
        handler.head(code, Content_Length=len(rest), **more)
        handler.wfile.write(rest[:most_bytes])

    return answer


def without_ranges(answer: Answer) -> Answer:
    """A server that sends all whatever is asked for."""

    def ignoring(handler: Handler) -> None:
        handler.start = 0
        answer(handler)

    return ignoring


def unsized(data: bytes) -> Answer:
    """Does not say how much it sends."""

    def answer(handler: Handler) -> None:
        handler.head(200)
        handler.wfile.write(data)

    return answer


def chunked(data: bytes) -> Answer:
    def answer(handler: Handler) -> None:
        handler.head(200, Transfer_Encoding="chunked")
        for start in range(0, len(data), 1000):
            piece = data[start : start + 1000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")

    return answer


def stalling(data: bytes, after_bytes: int) -> Answer:
    """Sends so much, then nothing more, without hanging up."""

    def answer(handler: Handler) -> None:
        handler.head(200, Content_Length=len(data))
        handler.wfile.write(data[:after_bytes])
        handler.sleep()

    return answer


def dripping(data: bytes, every_s: float) -> Answer:
    """A byte now and then, so that no single wait is long."""

    def answer(handler: Handler) -> None:
        handler.head(200, Content_Length=len(data))
        for byte in data:
            handler.wfile.write(bytes([byte]))
            handler.sleep(every_s)
            if handler.server.closing.is_set():
                return

    return answer


def dripping_headers(every_s: float) -> Answer:
    def answer(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not handler.server.closing.is_set():
            handler.wfile.write(b"X-More: of the same\r\n")
            handler.sleep(every_s)

    return answer


def dripping_line(every_s: float) -> Answer:
    """One header for ever, byte by byte."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        with contextlib.suppress(OSError):
            while not handler.server.closing.is_set():
                handler.wfile.write(b"x")
                handler.sleep(every_s)

    return answer


def continuing(handler: Handler) -> None:
    """Says for ever that more is to come."""
    with contextlib.suppress(OSError):
        while not handler.server.closing.is_set():
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def silent(handler: Handler) -> None:
    """Takes the connection, and says nothing."""
    handler.sleep()


def endless(handler: Handler) -> None:
    """As much as anybody takes."""
    handler.head(200)
    with contextlib.suppress(OSError):
        handler.wfile.write(b"PK\x03\x04")
        while not handler.server.closing.is_set():
            handler.wfile.write(bytes(1 << 16))


def raw(data: bytes) -> Answer:
    """Whatever these bytes are, in the place of an answer."""
    return lambda handler: handler.wfile.write(data) and None  # type: ignore[func-returns-value]


def slowly(data: bytes, seconds: float) -> Answer:
    """A file in some steps."""

    def answer(handler: Handler) -> None:
        handler.head(200, Content_Length=len(data))
        for start in range(0, len(data), len(data) // 8 + 1):
            handler.wfile.write(data[start : start + len(data) // 8 + 1])
            time.sleep(seconds / 8)

    return answer
