"""An index of a folder: of each model what is in its file, or a word on why it cannot be there."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from kbengine.bundle import write_bundle
from kbengine.errors import BundleError
from kbengine.fetch import FetchOptions, fetch_small
from kbengine.indexing import index_folder
from kbengine.modelindex import FILE, Entry, read_index, written
from tests.shipped import archived, shipped_members, small_shipped
from tests.toys import toy_bundle, toy_manifest, toy_parts

NOTICE = toy_manifest()["notice"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing of an index lies in the cache."""
    for name in ("KBENGINE_INDEX", "KBENGINE_OFFLINE", "KBENGINE_UPDATE_DAYS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KBENGINE_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "my models"
    path.mkdir()
    return path


def model(path: Path, **changes: Any) -> Path:
    """The toy bundle with other words in its manifest."""
    write_bundle(path, {**toy_manifest(), **changes}, toy_parts())
    return path


def read_back(folder: Path, entries: list[Entry]) -> list[Entry]:
    """The models of the index of a folder, once it lies there."""
    (folder / FILE).write_bytes(written(entries))
    return read_index((folder / FILE).read_bytes(), str(folder / FILE))


def check_files(entries: list[Entry]) -> None:
    """Each URL, a path, is of a file that is as the entry says."""
    for entry in entries:
        for url in entry.urls:
            data = Path(url).read_bytes()
            assert entry.file_bytes == len(data)
            assert entry.sha256 == hashlib.sha256(data).hexdigest()


# What is there


def test_both_forms_are_indexed(folder: Path) -> None:
    bundle = model(folder / "es 3.bundle", name="kbengine-es", version="3", language="es")
    shipped = folder / "small.shipped"
    shipped.write_bytes(small_shipped())
    first, second = index_folder(folder)
    data = bundle.read_bytes()
    assert first == Entry(
        "es", "3", ("es%203.bundle",), hashlib.sha256(data).hexdigest(), len(data), NOTICE, "es"
    )
    data = small_shipped()
    assert second == Entry(
        "toy", "0", ("small.shipped",), hashlib.sha256(data).hexdigest(), len(data), NOTICE, "en"
    )
    found = read_back(folder, [first, second])
    assert [Path(e.urls[0]) for e in found] == [bundle, shipped]
    check_files(found)


def test_only_a_name_s_beginning_is_left_out(folder: Path) -> None:
    model(folder / "a.bundle", name="kbengine-kbengine-es")
    model(folder / "b.bundle", name="my-kbengine-es")
    assert [e.name for e in index_folder(folder)] == ["kbengine-es", "my-kbengine-es"]


def test_versions_of_a_name_stand_beside_each_other(folder: Path) -> None:
    for version in ("9", "10", "9.5"):
        model(folder / f"toy-{version}.bundle", version=version)
    model(folder / "de.bundle", name="de")
    found = read_back(folder, index_folder(folder))
    assert [e.label for e in found] == ["de 0", "toy 10", "toy 9.5", "toy 9"]
    check_files(found)


def test_other_files_are_no_models(folder: Path) -> None:
    toy_bundle(folder / "toy.bundle")
    for name in ("README", FILE, "toy.bundle.part", "toy.zip", ".bundle"):
        (folder / name).write_bytes(b"something else")
    (folder / "deeper").mkdir()
    toy_bundle(folder / "deeper" / "other.bundle")
    assert [e.label for e in index_folder(folder)] == ["toy 0"]


def test_the_same_folder_gives_the_same_index(folder: Path) -> None:
    for name in ("b", "c", "a"):
        model(folder / f"{name}.bundle", name=name)
    first = written(index_folder(folder))
    (folder / FILE).write_bytes(first)
    assert written(index_folder(folder)) == first
    rows = json.loads(first)["models"]
    assert [row["name"] for row in rows] == ["a", "b", "c"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The static web server of the standard library, without its log."""

    def log_message(self, *ignored: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(folder: Path) -> Iterator[str]:
    """The folder's URL."""
    handler = functools.partial(Quiet, directory=str(folder.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=functools.partial(server.serve_forever, 0.01))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{quote(folder.name)}"
        finally:
            server.shutdown()
            thread.join()


NAMES = ("es 3.bundle", "größe.bundle", "100%.bundle", "%41.bundle", "日本 😀.shipped", "..bundle",
    "a'b(1);&=+,@!~$.bundle")  # fmt: skip


def test_any_static_web_server_or_share_will_do(
    folder: Path, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    for number, name in enumerate(NAMES):
        if name.endswith(".shipped"):
            (folder / name).write_bytes(small_shipped_of(version=str(number)))
        else:
            model(folder / name, version=str(number))
    beside = index_folder(folder)
    mirrored = index_folder(folder, [site, f"{site}/"])
    assert len(beside) == len(mirrored) == len(NAMES)
    check_files(read_back(folder, beside))
    for entries in (beside, mirrored):
        (folder / FILE).write_bytes(written(entries))
        options, place = FetchOptions(retries=0), f"{site}/{FILE}"
        for entry in read_index(fetch_small(place, 1 << 20, options), place):
            for url in entry.urls:
                data = fetch_small(url, 1 << 20, options)
                assert data == (folder / NAMES[int(entry.version)]).read_bytes()
                assert entry.sha256 == hashlib.sha256(data).hexdigest()


def small_shipped_of(**changes: Any) -> bytes:
    """The small shipped file with other words in its bundle's manifest."""
    outer, members = shipped_members()
    return archived({**outer, "bundle": {**outer["bundle"], **changes}}, members)


def test_what_another_shipped_file_says_is_indexed(folder: Path) -> None:
    (folder / "x.shipped").write_bytes(small_shipped_of(name="kbengine-es", version="4"))
    assert [e.label for e in index_folder(folder)] == ["es 4"]


ODD_NAMES = ("a#b.bundle", "a?b.bundle", "a:b.bundle", "a*b.bundle", 'a"b.bundle', "a|b.bundle",
    "a\\b.bundle", "a\nb.bundle", "a\x1b[31mb.bundle")  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="names that only POSIX has")
@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_a_file_of_an_odd_name_is_indexed_or_refused(name: str, folder: Path) -> None:
    """One file must not spoil the index for all others."""
    model(folder / name)
    try:
        entries = index_folder(folder)
    except (BundleError, ValueError):
        return
    check_files(read_back(folder, entries))
    read_index(written(entries), "https://h.example/index.json")


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_a_file_whose_name_is_no_text_is_refused(folder: Path) -> None:
    model(folder / os.fsdecode(b"a\xff.bundle"))
    with pytest.raises((BundleError, ValueError), match=r"a.{1,10}bundle.*; "):
        index_folder(folder)


# Mirrors


def test_mirrors_are_asked_in_the_order_given(folder: Path) -> None:
    model(folder / "es 3.bundle")
    bases = ["https://one.example/m", "http://two.example:8000/", "https://three.example/a%20b/"]
    (entry,) = index_folder(folder, bases)
    assert entry.urls == (
        "https://one.example/m/es%203.bundle",
        "http://two.example:8000/es%203.bundle",
        "https://three.example/a%20b/es%203.bundle",
    )
    assert read_back(folder, [entry]) == [entry]


@pytest.mark.parametrize(
    "base",
    ["", "models", "/srv/models", "ftp://h.example/", "file:///srv", "//h.example", "https://",
     "https://user:word@h.example/", "https://h.example/a b", "https://h.example:x/"],
)  # fmt: skip
def test_a_base_that_is_no_web_address_is_refused(base: str, folder: Path) -> None:
    toy_bundle(folder / "toy.bundle")
    with pytest.raises(ValueError, match="; ") as caught:
        index_folder(folder, ["https://h.example/", base])
    assert repr(base) in str(caught.value)


@pytest.mark.parametrize("base", ["https://h.example/?folder=m", "https://h.example/#m"])
def test_a_base_that_nothing_can_be_put_behind_is_refused(base: str, folder: Path) -> None:
    toy_bundle(folder / "toy.bundle")
    with pytest.raises(ValueError):
        index_folder(folder, [base])


@pytest.mark.parametrize("size", [1900, 2000])
def test_a_base_too_long_for_the_names_behind_it_is_refused(size: int, folder: Path) -> None:
    """Nobody could read its index."""
    toy_bundle(folder / "toy.bundle")
    try:
        entries = index_folder(folder, ["https://h.example/".ljust(size, "x")])
    except (BundleError, ValueError):
        assert size == 2000
    else:
        assert read_back(folder, entries) == entries


def test_more_mirrors_than_an_index_may_name_are_refused(folder: Path) -> None:
    toy_bundle(folder / "toy.bundle")
    (entry,) = index_folder(folder, ["https://h.example"] * 16)
    assert len(entry.urls) == 16
    with pytest.raises((BundleError, ValueError), match="1 to 16") as caught:
        index_folder(folder, ["https://h.example"] * 17)
    assert "; " in str(caught.value)


# Licences


def test_one_licence_stands_for_all(folder: Path) -> None:
    model(folder / "a.bundle", name="a")
    model(folder / "b.bundle", name="b", notice="")
    assert [e.licence for e in index_folder(folder, licence="CC0 1.0")] == ["CC0 1.0"] * 2


def test_each_has_its_own_notice_else(folder: Path) -> None:
    model(folder / "a.bundle", name="a", notice="CC BY 4.0, für alle")
    model(folder / "b.bundle", name="b")
    found = read_back(folder, index_folder(folder))
    assert [e.licence for e in found] == ["CC BY 4.0, für alle", NOTICE]


def test_a_model_without_a_licence_is_refused(folder: Path) -> None:
    without = {key: value for key, value in toy_manifest().items() if key != "notice"}
    write_bundle(folder / "bare.bundle", without, toy_parts())
    with pytest.raises(BundleError, match=r"bare\.bundle .* licence is missing; "):
        index_folder(folder)
    assert index_folder(folder, licence="CC0 1.0")[0].licence == "CC0 1.0"


@pytest.mark.parametrize("licence", ["two\nlines", "\x1b[31mred", "x" * 2001], ids=ascii)
def test_a_licence_that_is_no_line_is_refused(licence: str, folder: Path) -> None:
    toy_bundle(folder / "toy.bundle")
    with pytest.raises((BundleError, ValueError), match="licence is no text of one line"):
        index_folder(folder, licence=licence)


@pytest.mark.parametrize(
    ("bases", "licence"), [(["https://h.example"] * 17, ""), ([], "two\nlines")], ids=ascii
)
def test_the_mend_is_where_the_mistake_is(bases: list[str], licence: str, folder: Path) -> None:
    toy_bundle(folder / "toy.bundle")
    with pytest.raises((BundleError, ValueError)) as caught:
        index_folder(folder, bases, licence)
    assert "mend its manifest" not in str(caught.value)


# What cannot be in an index


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""}, {"name": "kbengine-"}, {"name": "EN"}, {"name": "../en"}, {"name": "en@3"},
        {"name": "en\n"}, {"name": "\x1b[31men"}, {"name": "a" * 41}, {"name": "a" * 5000},
        {"version": ""}, {"version": "../3"}, {"version": "1 2"}, {"version": "\x9b2J"},
        {"language": "\x1b]0;title\x07"}, {"language": "a\nb"}, {"language": "x" * 2001},
        {"notice": "two\nlines"}, {"notice": "\u202eback"}, {"notice": ""},
    ],
    ids=ascii,
)  # fmt: skip
def test_a_manifest_that_no_index_can_hold_is_named(changes: dict[str, str], folder: Path) -> None:
    model(folder / "good.bundle", name="good")
    path = model(folder / "odd.bundle", **changes)
    with pytest.raises(BundleError) as caught:
        index_folder(folder)
    told = str(caught.value)
    assert told.startswith(f"{path} cannot stand in an index: its ")
    assert told.endswith("mend its manifest")
    assert told.isprintable()
    assert len(told) < len(str(path)) + 500


def test_one_model_twice_is_refused(folder: Path) -> None:
    toy_bundle(folder / "a.bundle")
    model(folder / "b.bundle", version="1")
    model(folder / "c.bundle", name="kbengine-toy", notice="Another.")
    with pytest.raises(ValueError, match=r"^a\.bundle and c\.bundle are both toy 0; give one"):
        index_folder(folder)


def test_both_forms_of_one_model_are_one_model_twice(folder: Path) -> None:
    toy_bundle(folder / "toy.bundle")
    (folder / "toy.shipped").write_bytes(small_shipped())
    with pytest.raises(ValueError, match=r"^toy\.bundle and toy\.shipped are both toy 0; "):
        index_folder(folder)


def damaged_part(data: bytes) -> bytes:
    """A bundle whose archive is whole, and whose lexicon is not the one of its manifest."""
    manifest, members = shipped_members()
    return archived(manifest, {**members, "lexicon": bytes(len(members["lexicon"]))})


Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:-1],
    "half": lambda data: data[: len(data) // 2],
    "a byte": lambda data: (
        data[: len(data) // 2] + b"\xa5\x5a\xa5\x5a" + data[len(data) // 2 + 4 :]
    ),
    "a web page": lambda data: b"<!DOCTYPE html><html></html>",
    "a part": damaged_part,
}


@pytest.mark.parametrize("name", ["spoilt.bundle", "spoilt.shipped"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_refused_and_named(damage: Damage, name: str, folder: Path) -> None:
    model(folder / "good.bundle", name="good")
    path = toy_bundle(folder / name)
    whole = small_shipped() if name.endswith(".shipped") else path.read_bytes()
    path.write_bytes(damage(whole))
    with pytest.raises(BundleError) as caught:
        index_folder(folder)
    told = str(caught.value)
    assert told.startswith(str(path))
    assert "; " in told
    assert told.isprintable()


def test_another_archive_is_refused_and_named(folder: Path) -> None:
    with zipfile.ZipFile(folder / "letters.bundle", "w") as archive:
        archive.writestr("letter.txt", "Dear all")
    with pytest.raises(BundleError, match=r"letters\.bundle.*; "):
        index_folder(folder)


def test_what_is_no_file_is_refused_and_named(folder: Path) -> None:
    (folder / "deep.bundle").mkdir()
    with pytest.raises(BundleError, match=r"deep\.bundle.*; "):
        index_folder(folder)


@pytest.mark.skipif(os.name != "posix", reason="links need no rights")
def test_a_link_that_leads_nowhere_is_refused_and_named(folder: Path) -> None:
    (folder / "gone.bundle").symlink_to(folder / "not there")
    with pytest.raises(BundleError, match=r"gone\.bundle.*; "):
        index_folder(folder)


@pytest.mark.parametrize("names", [(), ("README", "toy.zip", FILE)])
def test_a_folder_without_models_is_refused(names: tuple[str, ...], folder: Path) -> None:
    for name in names:
        (folder / name).write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"has no file \.bundle or \.shipped; give a folder") as e:
        index_folder(folder)
    assert str(folder) in str(e.value)
