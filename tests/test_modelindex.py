"""An index from anywhere: read as it was written, or refused in one sentence."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kbengine.errors import DownloadError
from kbengine.modelindex import (
    Entry,
    checked_sha256,
    checked_url,
    entry_of,
    is_url,
    name_and_version,
    newness,
    pick,
    read_index,
    row_of,
    written,
)
from tests.soak import times

SHA256 = hashlib.sha256(b"model").hexdigest()
URL = "https://models.example/my%20models/index.json"
PATH = os.path.join(os.sep, "srv", "my models", "index.json")
PLACES = (URL, PATH)
# A file's name as one may well be, and its place in the URL of an index.
NAMES = (
    "es.bundle", "a b.bundle", "größe.bundle", "100%.bundle", "%41.bundle", "日本 😀.bundle",
    "a'b(1);&=+,@!~$.bundle", "..bundle", ".bundle", "~", "$HOME", "deep/er/es.bundle",
)  # fmt: skip


def row(**changes: Any) -> dict[str, Any]:
    """A model as an index tells of it."""
    return {
        "name": "es", "version": "3", "language": "es", "bytes": 9_123_456, "sha256": SHA256,
        "licence": "CC BY 4.0", "urls": ["es-3.bundle", "https://mirror.example/es-3.bundle"],
        **changes,
    }  # fmt: skip


def index_of(*rows: Any, **changes: Any) -> bytes:
    """An index of these rows."""
    return json.dumps({"format": 1, "models": list(rows), **changes}).encode()


def entry(name: str = "es", version: str = "3", *urls: str) -> Entry:
    return Entry(name, version, urls or ("https://h.example/x",), SHA256, 5, "CC0 1.0", "es")


def refused(data: bytes) -> str:
    """Why an index is refused, wherever it lies: a short line that says which, and what to do."""
    told = ""
    for place in PLACES:
        with pytest.raises(DownloadError) as caught:
            read_index(data, place)
        told = str(caught.value)
        check_sentence(told, place)
    return told.removeprefix(f"the index {place} ")


def check_sentence(told: str, place: str) -> None:
    """Nothing of what the index holds can reach the terminal as more than plain text."""
    assert told.startswith(f"the index {place} "), told
    assert told.isprintable(), repr(told)
    assert len(told) < len(place) + 1000, len(told)
    assert "; " in told, told


def check_entries(entries: list[Entry], place: str) -> None:
    """What whoever fetches these goes by."""
    assert len(entries) <= 1000
    assert len({(e.name, e.version) for e in entries}) == len(entries)
    for found in entries:
        assert re.fullmatch("[a-z][a-z0-9_-]{0,39}", found.name)
        assert re.fullmatch("[A-Za-z0-9][A-Za-z0-9._+-]{0,39}", found.version)
        assert re.fullmatch("[0-9a-f]{64}", found.sha256)
        assert type(found.file_bytes) is int
        assert 0 < found.file_bytes <= 1 << 30
        assert found.licence
        assert (found.licence + found.language).isprintable()
        assert 0 < len(found.urls) <= 16
        for url in found.urls:
            check_place(url, place)


def check_place(url: str, index: str) -> None:
    """A web address without tricks, or a file below the folder of an index that is a file too."""
    if is_url(url):
        parts = urlsplit(url)
        assert parts.scheme in ("http", "https")
        assert parts.hostname
        assert "@" not in parts.netloc
        assert not set(url) & set(' "<>\\^`{|}')
        assert url.isascii()
        assert url.isprintable()
        assert len(url) <= 2000
    else:
        assert not is_url(index), "an index on the web names no file of this machine"
        assert url == os.path.normpath(url)
        assert Path(index).parent in Path(url).parents


# As it was written


def test_an_index_is_read() -> None:
    (found,) = read_index(index_of(row()), URL)
    assert found == Entry(
        "es", "3",
        ("https://models.example/my%20models/es-3.bundle", "https://mirror.example/es-3.bundle"),
        SHA256, 9_123_456, "CC BY 4.0", "es",
    )  # fmt: skip
    (found,) = read_index(index_of(row()), PATH)
    assert found.urls == (
        os.path.join(os.sep, "srv", "my models", "es-3.bundle"),
        "https://mirror.example/es-3.bundle",
    )


def test_no_models_are_an_index_too() -> None:
    assert read_index(index_of(), URL) == []
    assert read_index(written([]), URL) == []


def test_what_is_not_known_does_not_matter() -> None:
    """So that a later program can say more of a model without another format."""
    assert read_index(index_of(row(more=[1, {"x": None}]), kept_by="x"), URL) == read_index(
        index_of(row()), URL
    )


def test_language_may_be_missing() -> None:
    without = {key: value for key, value in row().items() if key != "language"}
    (found,) = read_index(index_of(without), URL)
    assert found.language == ""


def test_other_encodings_of_json_are_read() -> None:
    """As editors on Windows leave them."""
    text = index_of(row(licence="für alle")).decode()
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        (found,) = read_index(text.encode(encoding), URL)
        assert found.licence == "für alle"


def test_a_sha256_is_in_lower_case() -> None:
    (found,) = read_index(index_of(row(sha256=SHA256.upper())), URL)
    assert found.sha256 == SHA256


def test_as_much_as_is_allowed() -> None:
    long = row(
        name="a" * 40, version="1" * 40, bytes=1 << 30, urls=["x" * 2000] * 16,
        licence="x" * 2000, language="x" * 2000,
    )  # fmt: skip
    (found,) = read_index(index_of(long), PATH)
    assert len(found.urls) == 16
    check_entries([found], PATH)
    rows = [row(version=str(number)) for number in range(1000)]
    assert len(read_index(index_of(*rows), URL)) == 1000


def test_written_is_read_again() -> None:
    entries = [
        entry("es", "10", "es-10.bundle", "https://mirror.example/a%20b?c=d"),
        entry("es", "9.1", *map(quote, NAMES)),
        entry("de", "2026-09", "http://[::1]:8000/x.bundle"),
    ]
    data = written(reversed(entries))
    found = read_index(data, URL)
    assert [(e.name, e.version) for e in found] == [("de", "2026-09"), ("es", "10"), ("es", "9.1")]
    for before, after in zip([entries[2], *entries[:2]], found, strict=True):
        assert after == before._replace(urls=after.urls)
        assert len(after.urls) == len(before.urls)
    assert found[0].urls == entries[2].urls, "a URL stays as it is"
    assert written(entries) == data, "whatever their order was"
    assert data.endswith(b"}\n")


def test_written_is_for_people_too() -> None:
    data = written([entry()._replace(licence="für alle")])
    assert "für alle" in data.decode()


versions = st.from_regex("[A-Za-z0-9][A-Za-z0-9._+-]{0,39}", fullmatch=True)
printable = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=30)
entries_of_any = st.builds(
    Entry,
    st.from_regex("[a-z][a-z0-9_-]{0,39}", fullmatch=True),
    versions,
    st.lists(
        st.sampled_from(["http://h.example", "https://[::1]:80/?a=%20", "https://h/~x/(y);z#x"]),
        min_size=1,
        max_size=16,
    ).map(tuple),
    st.sampled_from([SHA256, "0" * 64]),
    st.integers(1, 1 << 30),
    printable.filter(bool),
    printable,
)


@pytest.mark.soak
@given(st.lists(entries_of_any, max_size=6, unique_by=lambda e: (e.name, e.version)))
@settings(max_examples=times(60, 5000))
def test_whatever_is_written_is_read_again(entries: list[Entry]) -> None:
    found = read_index(written(entries), URL)
    assert sorted(found) == sorted(entries)
    assert [e.name for e in found] == sorted(e.name for e in entries)
    for _, same in itertools.groupby(found, lambda e: e.name):
        order = [newness(e.version) for e in same]
        assert order == sorted(order, reverse=True)
    for one in entries:
        assert entry_of(row_of(one)) == one


@pytest.mark.parametrize("name", NAMES)
def test_a_relative_url_leads_to_the_file(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "my #1 modèles"
    file = folder / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"model")
    data = index_of(row(urls=[quote(name)]))
    (found,) = read_index(data, str(folder / "index.json"))
    assert Path(found.urls[0]).read_bytes() == b"model"
    assert Path(found.urls[0]) == file
    for server in (
        "https://h.example/a%20b/index.json",
        "http://h.example:8000/index.json?x=1/2#y",
    ):
        (found,) = read_index(data, server)
        before, after = urlsplit(server), urlsplit(found.urls[0])
        assert after[:2] == before[:2]
        assert after[3:] == ("", "")
        assert unquote(after.path) == unquote(before.path).removesuffix("index.json") + name


def test_what_need_not_be_quoted_need_not_be(tmp_path: Path) -> None:
    """People write an index by hand, too."""
    data = index_of(row(urls=["größer als/es 3.bundle"]))
    (found,) = read_index(data, str(tmp_path / "index.json"))
    assert Path(found.urls[0]) == tmp_path / "größer als" / "es 3.bundle"
    (found,) = read_index(data, "https://h.example")
    assert found.urls == ("https://h.example/gr%C3%B6%C3%9Fer%20als/es%203.bundle",)


def test_an_index_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "es.bundle").write_bytes(b"model")
    (found,) = read_index(index_of(row(urls=["es.bundle"])), "index.json")
    assert Path(found.urls[0]).read_bytes() == b"model"


# What is no index

NO_INDEXES: dict[str, bytes] = {
    "empty": b"",
    "spaces": b" \n",
    "a zero": b"\0",
    "an archive": b"PK\x03\x04" + bytes(40),
    "half": index_of(row())[:-2],
    "more behind it": index_of(row()) + b"{}",
    "no text": b'{"format": 1, "models": [\xff\xfe]}',
    "single quotes": b"{'format': 1, 'models': []}",
    "deep lists": b"[" * 100_000,
    "deep lists, closed": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"models":' * 100_000,
    "deep where it is not looked at": index_of()[:-1] + b', "x": ' + b"[" * 90_000 + b"]" * 90_000,
    "more digits than Python reads": index_of()[:-1] + b', "x": ' + b"9" * 5000 + b"}",
    "null": b"null",
    "a number": b"1",
    "NaN": b"NaN",
    "text": b'"models"',
    "a list": b"[]",
    "a list of models": json.dumps([row()]).encode(),
    "without models": b'{"format": 1}',
    "models: null": b'{"format": 1, "models": null}',
    "models: object": json.dumps({"format": 1, "models": {"es": row()}}).encode(),
    "models: text": b'{"format": 1, "models": "es"}',
    "models: number": b'{"format": 1, "models": 1e999}',
    "too many models": index_of(*[row(version=str(number)) for number in range(1001)]),
    "a model twice": index_of(row(), row(version="4"), row(urls=["https://other.example/x"])),
}


@pytest.mark.parametrize("data", NO_INDEXES.values(), ids=NO_INDEXES)
def test_what_is_no_index_is_refused(data: bytes) -> None:
    refused(data)


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html>\n<p>Sign in", b"\r\n <html></html>", b"<?xml version='1.0'?>"]
)
def test_a_web_page_is_called_one(page: bytes) -> None:
    assert refused(page).startswith("is a web page; ")


def test_a_model_twice_is_named() -> None:
    assert refused(index_of(row(name="de"), row(), row())).startswith("has es 3 twice; ")


def test_a_wrong_model_is_counted() -> None:
    told = refused(index_of(row(name="de"), row(bytes=0), row(name="EN")))
    assert told.startswith("has a wrong model, number 2: its bytes ")


FORMATS = [b"2", b"0", b"-1", b"1.0", b"1e0", b"true", b'"1"', b"null", b"[1]", b"{}", b"NaN",
           b"1e999", b"-Infinity", b"9" * 4000, b'"' + b"x" * 5000 + b'"',
           b"[" * 500 + b"]" * 500]  # fmt: skip


@pytest.mark.parametrize("told", FORMATS, ids=lambda told: told[:12].decode())
def test_another_format_is_refused(told: bytes) -> None:
    data = b'{"models": [], "format": %s}' % told
    assert re.match("is of format .{,20}, this program reads 1; update kbengine$", refused(data))


def test_no_format_is_another() -> None:
    assert "is none: it has no format" in refused(b'{"models": []}')


@pytest.mark.parametrize("told", ["\x1b[31mred", "1\n2", "\r1", "\x9b2J", "\u202e1", "\ud800"])
def test_a_format_does_not_reach_the_terminal(told: str) -> None:
    refused(index_of(format=told))


@pytest.mark.parametrize("value", [None, True, 5, 1.5, "es", [], [row()], [[row()]]], ids=repr)
def test_a_model_is_an_object(value: Any) -> None:
    assert "number 1: it is no object" in refused(index_of(value))


# What is no model

TEXTS: list[Any] = [None, True, 5, 1.5, ["x"], {}, "a\nb", "a\r", "a\0", "\x1b[31mred", "\x9b2J",
    "\x1b]0;title\x07", "\u202eb", "\ud800", "x" * 2001, "\x07" * 1000]  # fmt: skip
FIELDS: dict[str, list[Any]] = {
    "name": [
        *TEXTS, "", "EN", "En", "../en", "/en", "en/", "en/../..", "..", ".", "con\0", "en\n",
        " en", "en ", "es@3", "-es", "_es", "1es", "é", "ｅｓ", "e.s", "e\\s", "e:s", "a" * 41,
        "a" * 1000,
    ],
    "version": [
        *TEXTS, "", "../3", "3/4", "/", ".", "..", ".1", "-1", "+1", "_1", "a b", "3@4", "3\n", "٣",
        "²", "1:2", "1\\2", "1" * 41, "1" * 1000,
    ],
    "sha256": [
        *TEXTS, "", "0", "0" * 63, "0" * 65, "g" * 64, "0x" + "0" * 62, " " + "0" * 63,
        "0" * 63 + "\n", "٠" * 64, "０" * 64, "0" * 40, SHA256 + SHA256, f"{SHA256[:-2]}..",
    ],
    "licence": [*TEXTS, ""],
    "language": TEXTS,
    "bytes": [
        None, True, False, 0, -1, -(10**18), 1.0, 9.5, "9", [9], {}, (1 << 30) + 1, 1 << 63,
        10**400, 1e300, float("nan"), float("inf"), float("-inf"),
    ],
    "urls": [
        None, True, 5, "es.bundle", {}, {"es.bundle": 1}, [], [None], [5], [["es.bundle"]], [{}],
        ["es.bundle", None], ["es.bundle"] * 17, ["x"] * 100_000,
    ],
}  # fmt: skip
WRONG = [(key, value) for key, values in FIELDS.items() for value in values]


def short(value: Any) -> str:
    return ascii(value)[:24]


@pytest.mark.parametrize(("key", "value"), WRONG, ids=short)
def test_a_model_with_a_wrong_field_is_refused(key: str, value: Any) -> None:
    told = refused(index_of(row(**{key: value})))
    assert told.startswith("has a wrong model, number 1: ")
    assert key in told


@pytest.mark.parametrize("key", [key for key in FIELDS if key != "language"])
def test_a_model_without_a_field_is_refused(key: str) -> None:
    assert key in refused(index_of({k: v for k, v in row().items() if k != key}))


URLS = [
    # Of other schemes
    "file:///etc/passwd", "file:/etc/passwd", "file:x", "FILE:///etc/passwd", "ftp://h.example/x",
    "javascript:alert(1)", "data:,x", "data:text/html,<p>", "ssh://h.example/x", "git+https://h/x",
    "httpx://h.example/x", "http:", "http:x", "http:/x", "https:\\\\h\\x", "://x", "x://",
    " https://h.example/x", "\thttps://h.example/x", "view-source:https://h.example/x",
    # Out of the folder
    "", ".", "..", "/", "//", "///", "//h.example/x", "/etc/passwd", "../x", "./x", "x/", "x//y",
    "a/..", "a/../x", "a/../../x", "a/./x", "%2e%2e/x", "%2E./x", "..%2fx", "a%2f..%2f..%2fx",
    "%2fetc/passwd", "%2F%2Fh.example/x", "\\\\h\\x", "..\\x", "a\\..\\..\\x", "a%5cb",
    "%5C%5Ch%5Cx", "C:\\x", "C:/x", "c:x", "C%3A/x", "x:stream", "\\\\?\\C:\\x",
    # Not the name of a file everywhere
    "a?b", "a#b", "?x", "#x", "a*", 'a"b', "a<b", "a>b", "a|b", "x\0.bundle", "a%00b", "a\nb",
    "a%0ab", "a%0d%0aHost: x", "\x1b[31mred", "%1b[31mred", "\x9b2J", "a\u202eb", "%E2%80%AE",
    "\ud800", "\u2028", "\u00a0x", "x" * 2001, "x" * 900_000, "\U000e0001" * 300,
    # No web address
    "https://h.example/a b", "https://h.example/a\nb", "https://h.example/\r\nX: y",
    "https://h.example/\0", "https://h.example/\x1b[31m", "https://h.example/ü", "https://h.example\\x",
    "https://bücher.example/x", 'https://h.example/"', "https://h.example/<",
    "https://h.example/>", "https://h.example/`", "https://h.example/{x}",
    "https://h.example/^", "https://h.example/|", "https://h.example/\x7f",
    "https://", "https:///x", "https://?x", "https://#x", "https://:80/x", "http://", "http:///x",
    "https://user:word@h.example/x", "https://user@h.example/x", "https://@h.example/x",
    "https://h.example:x/", "https://h.example:-1/", "https://h.example:65536/", "https://h.example:+8/",
    "https://h.example:99999999999999999999/", "https://h.example:1e3/", "https://[::1/x",
    "https://::1]/x", "https://[x]/", "https://[]/", "https://h.example/" + "x" * 2000,
]  # fmt: skip


@pytest.mark.parametrize("url", URLS, ids=short)
def test_a_url_that_leads_elsewhere_is_refused(url: str) -> None:
    told = refused(index_of(row(urls=["es.bundle", url])))
    assert repr(url[:80]) in told, "it is told which"
    with pytest.raises(ValueError, match=r"; (give such a URL|quote them|mend it|give host)"):
        checked_url(url)


@pytest.mark.parametrize("url", ["https://h:" + "x" * 1900, f"https://[{'a' * 1900}]/"], ids=short)
def test_a_long_port_or_host_is_told_in_short(url: str) -> None:
    refused(index_of(row(urls=[url])))


def test_a_url_too_long_once_it_is_quoted_is_refused() -> None:
    with pytest.raises(DownloadError, match="or too many") as caught:
        read_index(index_of(row(urls=["ü" * 700])), URL)
    check_sentence(str(caught.value), URL)


@pytest.mark.parametrize("url", ["%ff.bundle", "%FCber.bundle", "a%C3/b"])
def test_a_relative_url_of_another_encoding_leads_to_its_file_or_nowhere(url: str) -> None:
    try:
        (found,) = read_index(index_of(row(urls=[url])), "https://h.example/index.json")
    except DownloadError:
        return
    assert unquote_to_bytes(urlsplit(found.urls[0]).path) == b"/" + unquote_to_bytes(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://h", "https://h.example/", "http://127.0.0.1:8000/x",
        "https://[::1]:8000/x", "https://h.example:/x", "https://h.example/a%20b/c?d=e&f=g#h",
        "https://h.example/~me/(x);v=1,2/*'!$+:@", "https://h.example/" + "x" * 1982,
        "https://xn--bcher-kva.example/x",
    ],
    ids=short,
)  # fmt: skip
def test_a_web_address_stays_as_it_is(url: str) -> None:
    assert checked_url(url) == url
    for place in PLACES:
        (found,) = read_index(index_of(row(urls=[url])), place)
        assert found.urls == (url,)


def test_a_scheme_is_in_small_letters() -> None:
    """So that https is known for what it is."""
    assert checked_url("HTTPS://H.EXAMPLE/X") == "https://H.EXAMPLE/X"


@pytest.mark.parametrize("file", ["foo@2.bundle", "foo@2.shipped"])
def test_a_file_of_a_model_is_no_name(file: str) -> None:
    assert name_and_version(file) is None
    assert name_and_version("foo@2.bundles") == ("foo", "2.bundles")


def test_a_model_is_picked_by_its_sha256() -> None:
    old, new = entry()._replace(version="1", sha256="1" * 64), entry()._replace(version="2")
    assert pick([old, new], old.name) == new
    assert pick([old, new], old.name, sha256=old.sha256) == old
    assert pick([old, new], old.name, "2", old.sha256) is None


# Whatever it holds

tokens = ["..", ".", "/", "//", "\\", "%", "2e", "2F", "%2e", "%2f", "%5C", "%25", "%3a", "%00",
    ":", "://", "http", "https", "file", "@", "?", "#", " ", "\n", "\t", "x", "y", "C:", "é",
    "\x1b", "~", "h.example", "[", "]", "*", "\ud800"]  # fmt: skip
any_url = st.lists(st.sampled_from(tokens), max_size=9).map("".join) | st.text(max_size=30)


@pytest.mark.soak
@given(any_url)
@settings(max_examples=times(400, 20_000))
def test_a_relative_url_leads_below_the_index_or_nowhere(url: str) -> None:
    data = index_of(row(urls=[url]))
    found: list[str] = []
    for place in PLACES:
        try:
            (one,) = read_index(data, place)
        except DownloadError as error:
            check_sentence(str(error), place)
            continue
        check_entries([one], place)
        found += one.urls
    assert len(found) in (0, 2), "on a web server and on a share alike"
    if found and is_url(url):
        assert found == [url, url]
    elif found:
        steps = unquote(url).split("/")
        assert not set(steps) & {"", ".", ".."}
        assert Path(found[1]) == Path(PATH).parent.joinpath(*steps)
        parts = urlsplit(found[0])
        assert (parts.scheme, parts.netloc) == ("https", "models.example")
        assert (parts.query, parts.fragment) == ("", "")
        assert unquote(parts.path) == f"/my models/{unquote(url)}"


ODD = [value for _, value in WRONG] + URLS
keys = st.sampled_from(["format", "models", *row()]) | st.text(max_size=5)
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from([v for v in ODD if len(str(v)) < 500] + [1, "1", "es", SHA256])
)  # fmt: skip
any_json = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=7),
    max_leaves=20,
)
TWO = {"format": 1, "models": [row(), row(name="de", version="10", urls=["deep/de.bundle"])]}


def places_in(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a value of JSON."""
    yield here
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places_in(value[key], (*here, key))


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """The same with another value at one place."""
    if not place:
        return new
    value = copy.copy(value)
    value[place[0]] = replaced(value[place[0]], place[1:], new)
    return value


def read_or_refused(data: bytes) -> None:
    """One of the two, and nothing else."""
    for place in PLACES:
        try:
            found = read_index(data, place)
        except DownloadError as error:
            check_sentence(str(error), place)
        else:
            check_entries(found, place)


def test_the_index_is_good_until_it_is_changed() -> None:
    assert len(read_index(json.dumps(TWO).encode(), URL)) == 2
    assert len(list(places_in(TWO))) == 1 + 2 + 2 * 8 + 3


@pytest.mark.soak
@given(any_json | st.fixed_dictionaries({"format": st.just(1), "models": st.lists(any_json)}))
@settings(max_examples=times(150, 10_000))
@example({"format": "\x1b[31mred", "models": []})
def test_any_json_is_read_or_refused(value: Any) -> None:
    read_or_refused(json.dumps(value).encode())


@pytest.mark.soak
@given(st.sampled_from(list(places_in(TWO))), any_json)
@settings(max_examples=times(400, 20_000))
@example(("format",), "\x1b[31mred")
def test_an_index_with_one_other_value_is_read_or_refused(place: tuple[Any, ...], new: Any) -> None:
    read_or_refused(json.dumps(replaced(TWO, place, new)).encode())


def test_what_broke_off_is_refused() -> None:
    data = json.dumps(TWO).encode()
    for size in range(len(data)):
        with pytest.raises(DownloadError):
            read_index(data[:size], URL)


def test_a_changed_byte_is_read_or_refused() -> None:
    data = json.dumps(TWO).encode()
    for place, byte in itertools.product(range(len(data)), b'\0\n\x1b"/.9e%\xff'):
        read_or_refused(data[:place] + bytes([byte]) + data[place + 1 :])


# Names, hashes, entries


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("es", ("es", None)), ("es@3", ("es", "3")), ("en-nano@2026.09", ("en-nano", "2026.09")),
        ("a" * 40, ("a" * 40, None)), ("x_1@v1+rc-2", ("x_1", "v1+rc-2")),
        *((source, None) for source in (
            "", "@", "es@", "@3", "es@3@4", "ES", "es ", "es\n", "es@3\n", "es@../3", "a" * 41,
            "es@" + "3" * 41, "es.bundle", "./es", "/es", "..", "https://h.example/es", "ｅｓ",
            "es@٣",
        )),
    ],
    ids=short,
)  # fmt: skip
def test_a_name_may_have_a_version(source: str, found: tuple[str, str | None] | None) -> None:
    assert name_and_version(source) == found


@pytest.mark.parametrize("value", FIELDS["sha256"], ids=short)
def test_what_is_no_sha256_is_told_in_short(value: Any) -> None:
    with pytest.raises(ValueError, match="is no sha256; give its 64 hexadecimal digits") as caught:
        checked_sha256(value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_sha256_may_be_in_upper_case() -> None:
    assert checked_sha256(SHA256.upper()) == checked_sha256(SHA256) == SHA256


def test_a_file_by_its_url_has_no_name() -> None:
    """As the cache keeps it; in an index each has one."""
    by_url = Entry("", "", ("https://h.example/x",), SHA256, 5)
    assert entry_of(row_of(by_url), named=False) == by_url
    assert by_url.label == "https://h.example/x"
    with pytest.raises(ValueError, match="its name"):
        entry_of(row_of(by_url))
    for half in (entry()._replace(version=""), entry()._replace(licence="")):
        with pytest.raises(ValueError, match=r"its (version|licence)"):
            entry_of(row_of(half), named=False)


def test_a_model_of_no_known_size_does_not_stand_in_an_index() -> None:
    with pytest.raises(ValueError, match="its bytes"):
        entry_of(row_of(entry()._replace(file_bytes=None)))


def test_people_call_a_model_by_name_and_version() -> None:
    assert entry("es", "3").label == "es 3"


# Versions

ORDER = ["alpha", "beta", "0", "0.9", "1", "1-rc1", "1-rc2", "1-rc10", "1.0", "1.1", "1.9", "1.10",
    "2", "7", "7.1", "7.1.1", "10", "2026.9", "2026.11", "20261128"]  # fmt: skip


def test_the_order_of_versions() -> None:
    for older, newer in itertools.combinations(ORDER, 2):
        assert newness(older) < newness(newer), (older, newer)


numbers = st.integers(0, 1 << 40)


@pytest.mark.soak
@given(versions, versions, numbers, numbers)
@settings(max_examples=times(100, 5000))
def test_any_versions_have_an_order(first: str, second: str, n: int, m: int) -> None:
    assert (newness(first) < newness(second)) is not (newness(first) >= newness(second))
    assert newness(first) < newness(f"{first}.{n}")
    assert (newness(f"{first}.{n}") < newness(f"{first}.{m}")) is (n < m)


@pytest.mark.parametrize("version", ["²", "1²", "①"])
def test_any_text_has_its_place_in_the_order(version: str) -> None:
    """`entry_of` lets any line be the version of what has no name, and the cache sorts by it."""
    loose = entry_of(row_of(entry()._replace(name="", version=version)), named=False)
    assert newness(loose.version) != newness("1")


def test_the_newest_is_picked() -> None:
    entries = [entry("es", version) for version in ("9", "10", "9.5", "10-rc")] + [
        entry("de", "99")
    ]
    for some in itertools.permutations(entries):
        assert pick(some, "es") == entry("es", "10-rc")
        assert pick(some, "de") == entry("de", "99")
        assert pick(some, "es", "9.5") == entry("es", "9.5")
        assert pick(some, "es", "9.50") is None
        assert pick(some, "es", "99") is None
        assert pick(some, "fr") is None
    assert pick([], "es") is None
