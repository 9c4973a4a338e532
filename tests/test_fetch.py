"""Fetching over HTTP and from file shares: bounded, resumed, checked, from one of some mirrors."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbengine.errors import BudgetError, DownloadError, StoreError
from kbengine.fetch import FetchOptions, fetch_model, fetch_small
from kbengine.modelindex import Entry
from tests import webserver
from tests.webserver import (
    Answer,
    Handler,
    Site,
    broken_off,
    chunked,
    continuing,
    dripping,
    dripping_headers,
    dripping_line,
    endless,
    in_turn,
    moved,
    page,
    raw,
    serving,
    silent,
    stalling,
    status,
    unsized,
    without_ranges,
)  # fmt: skip

# Begins like an archive; larger than what a pipe between two processes holds.
DATA = b"PK\x03\x04" + random.Random(1).randbytes(300_000)
WRONG = DATA[:-1] + bytes([DATA[-1] ^ 1])
PATIENT = FetchOptions(timeout_s=30, retries=2, wait_s=0.001)
QUICK = FetchOptions(timeout_s=0.5, retries=0)  # where a server stalls


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.delenv("KBENGINE_OFFLINE", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with serving() as found:
        yield found


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "model.part"


def entry(*urls: str, file_bytes: int | None = len(DATA)) -> Entry:
    return Entry("toy", "1", urls, hashlib.sha256(DATA).hexdigest(), file_bytes)


def fetch(
    part: Path, *urls: str, file_bytes: int | None = len(DATA), options: FetchOptions = PATIENT
) -> None:
    fetch_model(entry(*urls, file_bytes=file_bytes), part, 10_000_000, options, None)
    assert part.read_bytes() == DATA


def refused(part: Path, *urls: str, options: FetchOptions = PATIENT) -> str:
    """Why it cannot be had; in one line, which names every mirror."""
    with pytest.raises(DownloadError) as raised:
        fetch_model(entry(*urls), part, 10_000_000, options, None)
    told = str(raised.value)
    assert told.isprintable()
    assert len(told) < 600
    assert all(url in told for url in urls)
    return told


# What goes right


@pytest.mark.parametrize("file_bytes", [len(DATA), None])
@pytest.mark.parametrize("answer", [webserver.whole, unsized, chunked])
def test_a_file_comes_whole(site: Site, part: Path, answer: type, file_bytes: int | None) -> None:
    fetch(part, site.put("a", answer(DATA)), file_bytes=file_bytes)
    assert site.asked("a") == [0]


def test_progress_ends_at_the_end(site: Site, part: Path) -> None:
    told: list[tuple[int, int | None]] = []
    fetch_model(entry(site.put("a", DATA)), part, 10**9, PATIENT, lambda *x: told.append(x))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (len(DATA), len(DATA))
    assert len(told) > 3


def test_what_progress_raises_ends_it_and_the_next_time_goes_on(site: Site, part: Path) -> None:
    class EnoughError(Exception):
        pass

    def some(done: int, total: int | None) -> None:
        if done > 100_000:
            raise EnoughError

    url = site.put("a", DATA)
    with pytest.raises(EnoughError):
        fetch_model(entry(url), part, 10**9, PATIENT, some)
    assert part.stat().st_size > 100_000
    fetch(part, url)
    assert site.asked("a")[1] > 100_000


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirection_is_followed(site: Site, part: Path, code: int) -> None:
    site.put("b/c", DATA)
    fetch(part, site.put("a", moved("/b/c", code)))
    assert len(site.requests) == 2


def test_nothing_is_asked_for_where_all_has_come(site: Site, part: Path) -> None:
    part.write_bytes(DATA)
    fetch(part, site.url("gone"))
    assert site.requests == []


# Resuming


def test_a_broken_download_goes_on_where_it_broke_off(site: Site, part: Path) -> None:
    fetch(part, site.put("a", broken_off(DATA, 70_000)))
    assert site.asked("a") == [0, 70_000, 140_000, 210_000, 280_000], "more often than retries"


def test_a_later_try_goes_on(site: Site, part: Path) -> None:
    part.write_bytes(DATA[:123_456])
    fetch(part, site.put("a", DATA))
    assert site.asked("a") == [123_456]


def test_the_next_mirror_goes_on_where_one_broke_off(site: Site, part: Path) -> None:
    """From a server that has all, or one that cannot go on in the middle."""
    first = site.put("a", in_turn(broken_off(DATA, 50_000), status(404)))
    fetch(part, first, site.put("b", DATA))
    assert (site.asked("a"), site.asked("b")) == ([0], [50_000])
    part.unlink()
    first = site.put("c", in_turn(broken_off(DATA, 50_000), status(404)))
    fetch(part, first, site.put("d", without_ranges(webserver.whole(DATA))))
    assert site.asked("d") == [50_000]


@pytest.mark.parametrize("file_bytes", [len(DATA), None])
@pytest.mark.parametrize("before", [b"PK\x03\x04 of another", b"x" * len(DATA), b"x" * 999_999])
def test_a_wrong_beginning_is_given_up(
    site: Site, part: Path, before: bytes, file_bytes: int | None
) -> None:
    part.write_bytes(before)
    fetch(part, site.put("a", DATA), file_bytes=file_bytes)
    assert site.asked("a")[-1] == 0


def other_range(handler: Handler) -> None:
    if handler.start:
        handler.head(206, Content_Range="bytes 0-9/10", Content_Length=10)
        handler.wfile.write(DATA[:10])
    else:
        webserver.whole(DATA)(handler)


def test_another_range_than_asked_for_is_not_written(site: Site, part: Path) -> None:
    part.write_bytes(DATA[:100_000])
    fetch(part, site.put("a", other_range))
    assert site.asked("a") == [100_000, 0]


def test_a_server_that_breaks_off_at_the_same_byte_is_given_up(site: Site, part: Path) -> None:
    told = refused(part, site.put("a", without_ranges(broken_off(DATA, 100_000))))
    assert "broke off" in told
    # One turn that brought something, and those that did not.
    assert len(site.requests) == 2 + PATIENT.retries


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout_s": 0}, {"timeout_s": float("nan")}, {"timeout_s": 1e10}, {"most_s": 0},
        {"timeout_s": float("inf")},        {"retries": -1}, {"wait_s": -1},
    ],
)  # fmt: skip
def test_what_is_no_option_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        FetchOptions(**wrong)  # type: ignore[arg-type]


# What goes wrong


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (status(404), "answers 404 (Not Found)"),
        (status(403), "answers 403 (Forbidden)"),
        (status(299), "answers 299"),
        (page, "sends a web page"),
        (webserver.whole(b"something else" * 99_999), "sends no model"),
        (webserver.whole(DATA[:99]), "99 bytes instead of"),
        (unsized(b"something else" * 99_999), "sends no model"),
        (webserver.whole(WRONG), "another sha256"),
        (webserver.whole(DATA + b"more"), "bytes instead of"),
        (unsized(DATA + b"more"), f"sends more than its {len(DATA)} bytes"),
        (webserver.whole(b""), "0 bytes instead of"),
        (unsized(b""), "broke off after 0 bytes"),
        (unsized(DATA[:-9]), f"broke off after {len(DATA) - 9} bytes of {len(DATA)}"),
        (broken_off(DATA, 999), "broke off"),
        (stalling(DATA, 0), "sent nothing for 0.5 s"),
        (stalling(DATA, 999), "sent 999 bytes for 0.5 s"),
        (dripping(DATA, 0.05), "bytes for 0.5 s"),
        (dripping_headers(0.05), "sent nothing for 0.5 s"),
        (silent, "sent nothing for 0.5 s"),
        (endless, "sends more than its"),
        (moved("b"), "404"),
        (moved("a"), "in circles"),
        (moved("file:///etc/passwd"), "neither http nor https"),
        (moved("ftp://127.0.0.1/a"), "neither http nor https"),
        (moved("http://user:secret@127.0.0.1/a"), "or a password"),
        (moved("http://[oops/a"), "is no web address"),
        (raw(b""), "broke off"),
        (raw(b"\xff\x00garbage\r\n\r\n"), "broke off, or sends what is no HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b"), "compressed"),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 99_999 + b"\r\n\r\n"), "broke off"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 999 + b"\r\n"), "broke off"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "broke off"),
        (raw(b"HTTP/1.1 206 Some\r\nContent-Range: bytes 5-9/10\r\n\r\nPK\x03\x04"), "range"),
        (raw(b"HTTP/1.1 416 \x1b[31mred\r\n\r\n"), "fewer bytes"),
        (raw(b"HTTP/1.1 302 Found\r\nLocation: http://x/\x1b[2J\r\n\r\n"), "no web address"),
    ],
)  # fmt: skip
def test_a_server_that_goes_wrong(site: Site, part: Path, answer: Answer, told: str) -> None:
    """Is told of in a sentence, and a mirror that goes right is enough."""
    url = site.put("a", answer)
    assert told in refused(part, url, options=QUICK)
    fetch(part, url, site.put("good", DATA), options=QUICK)


def test_circles_of_redirections_are_left(site: Site, part: Path) -> None:
    for number in range(30):
        site.put(f"r{number}", moved(f"/r{number + 1}"))
    assert "too often" in refused(part, site.url("r0"))
    assert len(site.requests) < 10


def test_a_port_that_nobody_listens_on(part: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "cannot be reached" in refused(part, f"http://127.0.0.1:{port}/a")


def test_what_may_pass_is_tried_again(site: Site, part: Path) -> None:
    codes = [status(code, Retry_After=0) for code in (503, 429)]
    fetch(part, site.put("a", in_turn(*codes, webserver.whole(DATA))))
    assert len(site.requests) == 3
    site.requests.clear()
    part.unlink()
    refused(part, site.put("b", status(503)))
    assert len(site.requests) == 1 + PATIENT.retries
    site.requests.clear()
    refused(part, site.put("c", status(404)))
    assert len(site.requests) == 1, "404 will not be otherwise in a moment"


def test_the_wait_before_a_retry_grows(
    site: Site, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("kbengine.fetch.time.sleep", waits.append)
    url = site.put("a", in_turn(*[status(503)] * 6, status(503, Retry_After=7), status(503)))
    with pytest.raises(DownloadError, match="answers 503"):
        fetch_model(entry(url), part, 10**9, FetchOptions(retries=8, wait_s=0.5), None)
    bounds = [0.5, 1, 2, 4, 8, 8]
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=False))
    assert waits[6] >= 7, "as long as the server asked for"
    assert len(waits) == 8


def test_a_budget_bounds_what_is_taken(site: Site, part: Path) -> None:
    """Whatever is said of its size, before it comes or while it does."""
    for name, answer in {"a": webserver.whole(DATA), "b": unsized(DATA), "c": endless}.items():
        url = site.put(name, answer)
        with pytest.raises(BudgetError, match=r"a model may have 200,000; raise model_bytes"):
            fetch_model(entry(url, file_bytes=None), part, 200_000, PATIENT, None)
        assert not part.exists()


@pytest.mark.skipif(os.name != "posix", reason="a limit on files stands for a full disk")
def test_a_full_disk_is_told_and_left_as_it_was(site: Site, part: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from kbengine.errors import StoreError
from kbengine.fetch import FetchOptions, fetch_model
from kbengine.modelindex import Entry
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
entry = Entry("toy", "1", (sys.argv[1],), "0" * 64, None)
try:
    fetch_model(entry, Path(sys.argv[2]), 10**9, FetchOptions(), None)
except StoreError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, site.put("a", DATA), str(part)],
        cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("StoreError the disk is full"), done
    assert not part.exists()


@pytest.mark.soak
@given(st.binary(max_size=300), st.booleans())
def test_whatever_a_server_sends(data: bytes, as_answer: bool) -> None:
    """In the place of an answer, or as headers of one."""
    head = b"HTTP/1.1 200 OK\r\n" if as_answer else b""
    with serving() as site:
        site.put("a", raw(head + data))
        try:
            found = fetch_small(site.url("a"), 200, FetchOptions(timeout_s=30, retries=0))
        except DownloadError as error:
            told = str(error)
        else:
            told = "" if len(found) <= 200 else "\n"
        assert told.isprintable()


# Small files


def test_a_small_file_is_bounded(site: Site) -> None:
    assert fetch_small(site.put("a", b"[1]"), 3, PATIENT) == b"[1]"
    for answer in (webserver.whole(b"[10]"), endless):
        with pytest.raises(DownloadError, match="sends more than 3 bytes"):
            fetch_small(site.put("b", answer), 3, PATIENT)


def test_a_small_file_is_not_believed_half(site: Site) -> None:
    assert (
        fetch_small(
            site.put("a", in_turn(broken_off(b"[1]", 1), webserver.whole(b"[1]"))), 9, PATIENT
        )
        == b"[1]"
    )
    with pytest.raises(DownloadError, match="broke off"):
        fetch_small(site.put("b", broken_off(b"[1]", 1)), 9, PATIENT)


# File shares


def test_a_file_of_a_share(part: Path, tmp_path: Path) -> None:
    path = tmp_path / "share file.bundle"
    path.write_bytes(DATA)
    fetch(part, str(tmp_path / "missing"), str(path))
    part.write_bytes(DATA[:1000])
    fetch(part, str(path))
    assert "is not there" in refused(tmp_path / "other.part", str(tmp_path / "missing"))
    assert "is no file" in refused(part.with_name("x"), str(tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="of systems with named pipes")
def test_a_pipe_of_a_share_is_not_waited_for(part: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "is no file" in refused(part, str(tmp_path / "fifo"))


# The network


def test_all_together_has_an_end(site: Site, part: Path) -> None:
    """However many mirrors there are, each of which does well enough by itself."""
    urls = [site.put(f"{number}", dripping(DATA, 0.01)) for number in range(9)]
    options = FetchOptions(timeout_s=1000, retries=99, most_s=0.4)
    assert "not done in time" in refused(part, *urls[:1], options=options)
    with pytest.raises(DownloadError, match="not done in time; try again later"):
        fetch_model(entry(*urls), part, 10**9, options, None)
    assert len(site.requests) == 2
    with pytest.raises(DownloadError, match="not done in time"):
        fetch_small(urls[0], 10**9, options)
    with pytest.raises(DownloadError, match="not done in time"):
        fetch_small(urls[0], 10**9, FetchOptions(most_s=1e-9))


def test_an_error_of_progress_s_own_is_none_of_the_store(site: Site, part: Path) -> None:
    def gone(done: int, total: int | None) -> None:
        raise BrokenPipeError("nobody looks")

    with pytest.raises(BrokenPipeError, match="nobody looks"):
        fetch_model(entry(site.put("a", DATA)), part, 10**9, PATIENT, gone)


def test_a_part_that_cannot_be_written_is_told(site: Site, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="set KBENGINE_CACHE"):
        fetch_model(entry(site.put("a", DATA)), tmp_path / "no" / "part", 10**9, PATIENT, None)


def test_many_mirrors_make_no_long_sentence(site: Site, part: Path) -> None:
    urls = [site.url("x" * 1900 + str(number)) for number in range(16)]
    with pytest.raises(DownloadError, match="and so on with 13 more") as raised:
        fetch_model(entry(*urls), part, 10**9, PATIENT, None)
    assert len(str(raised.value)) < 7000
    assert len(site.requests) == 16


def test_many_retries_are_no_large_number(site: Site) -> None:
    with pytest.raises(DownloadError):
        fetch_small(site.put("a", status(503)), 9, FetchOptions(retries=1100, wait_s=0))
    assert len(site.requests) == 1101


@pytest.mark.parametrize("value", ["1", "yes"])
def test_offline_nothing_is_asked(
    site: Site, part: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("KBENGINE_OFFLINE", value)
    url = site.put("a", DATA)
    assert "KBENGINE_OFFLINE or offline=True forbids" in refused(part, url)
    (tmp_path / "share").write_bytes(DATA)
    fetch(part, url, str(tmp_path / "share"))
    assert site.requests == []


@pytest.mark.parametrize("value", ["", "0", "no", "False"])
def test_online_it_is(site: Site, part: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("KBENGINE_OFFLINE", value)
    fetch(part, site.put("a", DATA))


def test_an_option_says_more_than_the_variable(
    site: Site, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBENGINE_OFFLINE", "1")
    options = FetchOptions(timeout_s=5, offline=False)
    fetch_model(entry(site.put("a", DATA)), part, 10**9, options, None)
    monkeypatch.delenv("KBENGINE_OFFLINE")
    with pytest.raises(DownloadError):
        fetch_small(site.url("a"), 10**9, FetchOptions(offline=True))


def test_the_proxy_is_asked(site: Site, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its password, for hosts that only it knows; those of NO_PROXY without it."""
    site.answers["http://models.example/a"] = webserver.whole(DATA)
    proxy = site.url().replace("http://", "http://me:p%20w@").rstrip("/")
    monkeypatch.setenv("http_proxy", proxy)
    fetch(part, "http://models.example/a")
    (request,) = site.requests
    assert request.headers["proxy-authorization"] == "Basic bWU6cCB3"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    part.unlink()
    fetch(part, site.put("b", DATA))
    assert "proxy-authorization" not in site.requests[-1].headers


def test_a_proxy_that_is_not_there(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert "through the proxy" in refused(part, "http://models.example/a")
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    assert "socks5 proxy" in refused(part, "http://models.example/a")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_certificate_must_be_trusted(
    site: Site, part: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with serving() as secure:
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        url = secure.url("a").replace("http:", "https:")
        secure.put("a", DATA)
        secure.put("down", moved(site.put("b", DATA)))
        assert "no certificate that is trusted" in refused(part, url)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        fetch(part, url)
        part.unlink()
        for scheme in ("https", "HTTPS"):
            down = url.removesuffix("a").replace("https", scheme) + "down"
            with pytest.raises(DownloadError, match="from https to http"):
                fetch_small(down, 9, PATIENT)
    assert site.requests == []


def test_http_where_https_is_asked_for(site: Site, part: Path) -> None:
    site.put("a", DATA)
    assert "speaks no https" in refused(part, site.url("a").replace("http:", "https:"))


@pytest.mark.parametrize(
    "answer",
    [endless, silent, stalling(DATA, 999), dripping_headers(0.01), dripping_line(0.01), continuing],
)
def test_threads_that_wait_for_a_server_go_when_nobody_waits_for_them(
    site: Site, part: Path, answer: Answer
) -> None:
    """Though a server that sends a little now and then renews every time-out of a socket."""
    refused(part, site.put("a", answer), options=FetchOptions(timeout_s=0.2, retries=0))
    waiting = [thread for thread in threading.enumerate() if thread.name == "kbengine-fetch"]
    for thread in waiting:
        thread.join(timeout=10)
        assert not thread.is_alive()
