"""`kbengine models` and `--bundle NAME|URL` as a person uses them, against a real web server."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

import kbengine
from kbengine.bundle import write_bundle
from kbengine.cli import main
from kbengine.container import open_container
from kbengine.modelindex import Entry
from kbengine.modelstore import ModelStore, StoredModel
from tests.models import model
from tests.toys import toy_manifest, toy_parts
from tests.webserver import Answer, Handler, Site, in_turn, page, serving, status

ROOT = Path(__file__).parent.parent
NOTICE = "Made of data/chat.txt for tests."  # of the toy bundle
NO_SHA256 = "0" * 64
PACKAGE = {("en", "package"), ("en-nano", "package")}
LONG_AGO_S = 1_000_000_000
posix = pytest.mark.skipif(os.name != "posix", reason="a terminal is opened by pty")


class Done(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """The cells of a table that was printed, without the head."""
        lines = self.out.splitlines()[2:]
        return [re.split(r"\s{2,}", line.rstrip()) for line in lines]

    @property
    def places(self) -> set[tuple[str, str]]:
        """Which models a table shows, and where each is; those of the package without version."""
        found = {(cells[0], cells[2]) for cells in self.rows}
        return {(name.split()[0] if place == "package" else name, place) for name, place in found}


Kb = Callable[..., Done]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test."""
    monkeypatch.setenv("KBENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("KBENGINE_INDEX", "KBENGINE_OFFLINE", "KBENGINE_UPDATE_DAYS", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return tmp_path / "cache"


@pytest.fixture
def kb(capsys: pytest.CaptureFixture[str]) -> Kb:
    """Runs the command line."""

    def run(*args: object) -> Done:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


class Publisher:
    """Puts models into a folder, an index beside them, and all of that on a web server."""

    def __init__(self, folder: Path, site: Site, kb: Kb) -> None:
        self.folder, self.site, self.kb = folder, site, kb
        folder.mkdir()

    @property
    def index(self) -> str:
        return self.site.url("index.json")

    def add(self, version: str, name: str = "toy", **parts: bytes) -> Path:
        """A toy bundle of that version; parts: in the place of its own."""
        path = self.folder / f"{name}-{version}.bundle"
        path.write_bytes(model(version, name))
        if parts:
            manifest = toy_manifest() | {"name": name, "version": version}
            write_bundle(path, manifest, toy_parts() | parts)
        return path

    def publish(self, *options: object) -> None:
        assert self.kb("models", "index", self.folder, *options).status == 0
        for path in self.folder.iterdir():
            self.site.put(path.name, path.read_bytes())


@pytest.fixture
def publisher(tmp_path: Path, site: Site, kb: Kb, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """Has published toy 1; where its index is, the environment says."""
    publisher = Publisher(tmp_path / "published", site, kb)
    publisher.add("1")
    publisher.publish()
    monkeypatch.setenv("KBENGINE_INDEX", publisher.index)
    return publisher


def sentence(done: Done) -> str:
    """What a verb says that failed: one line."""
    assert done.status == 1
    assert done.out == ""
    assert re.fullmatch(r"kbengine: [^\n]+\n", done.err)
    return done.err.removeprefix("kbengine: ").strip()


def silent(done: Done) -> str:
    """What a verb prints that did what it should, and complains of nothing."""
    assert (done.status, done.err) == (0, "")
    return done.out


def labels(kb: Kb) -> set[str]:
    """What is in the cache, by name; * after those that were asked for by their version."""
    models = json.loads(silent(kb("models", "list", "--json")))["models"]
    return {f"{model['label']}{'*' * model['pinned']}" for model in models}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def size(path: Path) -> str:
    return f"{path.stat().st_size:,} bytes"


def stored(cache: Path) -> list[Path]:
    return sorted((cache / "models" / "files").iterdir())


def flip(path: Path) -> None:
    """Damage a file in its middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# Publishing


def test_an_index_is_written_and_told(publisher: Publisher, kb: Kb) -> None:
    one, two = publisher.folder / "toy-1.bundle", publisher.add("2")
    told = silent(kb("models", "index", publisher.folder))
    index = publisher.folder / "index.json"
    assert told.splitlines()[:2] == [
        f"toy 1: {size(one)}, sha256 {sha256(one)}",
        f"toy 2: {size(two)}, sha256 {sha256(two)}",
    ]
    assert f"{index}: 2 models" in told
    rows = json.loads(index.read_bytes())["models"]
    assert [row["version"] for row in rows] == ["2", "1"]
    assert {row["licence"] for row in rows} == {NOTICE}


def test_an_index_names_mirrors_and_a_licence(publisher: Publisher, kb: Kb, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere.json"
    bases = ("--base", "https://a.example/m/", "--base", "http://b.example")
    silent(kb("models", "index", publisher.folder, *bases, "--licence", "MIT", "--out", out))
    (row,) = json.loads(out.read_bytes())["models"]
    assert row["urls"] == ["https://a.example/m/toy-1.bundle", "http://b.example/toy-1.bundle"]
    assert row["licence"] == "MIT"


def test_an_index_stands_beside_its_models_or_above_them(
    publisher: Publisher, kb: Kb, tmp_path: Path
) -> None:
    above = tmp_path / "index.json"
    silent(kb("models", "index", publisher.folder, "--out", above))
    (row,) = json.loads(above.read_bytes())["models"]
    assert row["urls"] == ["published/toy-1.bundle"]
    silent(kb("models", "pull", "toy", "--index", above))
    below = publisher.folder / "below"
    below.mkdir()
    told = sentence(kb("models", "index", publisher.folder, "--out", below / "index.json"))
    assert "give --base" in told
    assert list(below.iterdir()) == []


def test_a_mirror_that_fails_is_passed_over(publisher: Publisher, site: Site, kb: Kb) -> None:
    publisher.publish("--base", site.url("gone"), "--base", site.url())
    assert silent(kb("models", "pull", "toy", "--retries", 0)).startswith("toy 1: ")
    assert site.asked("gone/toy-1.bundle") == site.asked("toy-1.bundle") == [0]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("{folder}/none",), "is no folder; give one with models"),
        (("{folder}/toy-1.bundle",), "is no folder; give one with models"),
        (("{folder}", "--base", "ftp://a.example"), "is neither http nor https"),
        (("{folder}", "--out", "{folder}/none/index.json"), "is no folder; make it"),
        (("{folder}", "--licence", "two\nlines"), "licence is no text of one line"),
    ],
)
def test_what_cannot_be_an_index_is_a_sentence(
    publisher: Publisher, kb: Kb, args: Sequence[str], told: str
) -> None:
    before = (publisher.folder / "index.json").read_bytes()
    found = [arg.format(folder=publisher.folder) for arg in args]
    assert told in sentence(kb("models", "index", *found))
    assert (publisher.folder / "index.json").read_bytes() == before


# Pulling, and using


def test_pull_fetches_once(publisher: Publisher, site: Site, cache: Path, kb: Kb) -> None:
    path = publisher.folder / "toy-1.bundle"
    told = f"toy 1: {size(path)}, sha256 {sha256(path)} ok"
    assert silent(kb("models", "pull", "toy", "--index", publisher.index)) == f"{told}\n"
    assert silent(kb("models", "pull", "toy")) == f"{told}; it was here\n"
    assert site.asked("toy-1.bundle") == site.asked("index.json") == [0]
    (file,) = stored(cache)
    assert file.read_bytes() == path.read_bytes()
    assert silent(kb("models", "path", "toy")) == f"{file}\n"


def test_bundle_takes_a_name(publisher: Publisher, site: Site, kb: Kb) -> None:
    by_path = silent(kb("suggest", "--bundle", publisher.folder / "toy-1.bundle", "see you t"))
    assert len(by_path.splitlines()) > 2
    for name in ("toy", "toy", "toy@1", "toy@1"):
        assert silent(kb("suggest", "--bundle", name, "see you t")) == by_path
    assert site.asked("toy-1.bundle") == [0]  # fetched at the first, and found by what it holds
    asked = len(site.requests)
    assert silent(kb("explain", "--bundle", "toy", "see you t", "--candidate", "there"))
    assert len(site.requests) == asked


def test_bundle_takes_a_version(publisher: Publisher, kb: Kb) -> None:
    publisher.add("2")
    publisher.publish()
    silent(kb("suggest", "--bundle", "toy@1", "see you t"))
    silent(kb("suggest", "--bundle", "toy@2", "see you t"))
    assert labels(kb) == {"toy 1*", "toy 2*"}


def test_the_package_s_own_are_named_too(kb: Kb) -> None:
    nano = ROOT / "kbengine" / "models" / "en-nano.bundle"
    assert silent(kb("models", "path", "en-nano")) == f"{nano}\n"
    with open_container(nano) as container:
        name = f"en-nano@{container.manifest()['version']}"
    told = silent(kb("suggest", "--bundle", name, "see you t"))
    assert told == silent(kb("suggest", "--bundle", nano, "see you t"))


def test_eval_takes_a_name(publisher: Publisher, site: Site, tmp_path: Path, kb: Kb) -> None:
    chat = tmp_path / "chat.txt"
    chat.write_text("the cat\nsee you\n")
    for _ in range(2):
        result = json.loads(silent(kb("eval", "--bundle", "toy", chat, "--limit", 1, "--json")))
        assert result["bundle"]["name"] == "toy 1"
        assert result["bundle"]["sha256"] == sha256(publisher.folder / "toy-1.bundle")
    assert site.asked("toy-1.bundle") == [0]
    assert "has no other" in sentence(kb("eval", "--bundle", "other", chat))


def test_a_url_needs_a_sha256_until_it_is_here(publisher: Publisher, site: Site, kb: Kb) -> None:
    url, hexadecimal = site.url("toy-1.bundle"), sha256(publisher.folder / "toy-1.bundle")
    told = sentence(kb("models", "pull", url))
    assert "give its sha256= (`kbengine models pull --sha256`)" in told
    assert site.requests == []
    told = silent(kb("models", "pull", url, "--sha256", hexadecimal.upper()))
    path = publisher.folder / "toy-1.bundle"
    assert told == f"{url}: {size(path)}, sha256 {hexadecimal} ok\n"
    assert silent(kb("models", "pull", url)).endswith("ok; it was here\n")
    assert silent(kb("suggest", "--bundle", url, "see you t"))
    assert silent(kb("models", "verify", url)) == f"{url}: ok\n"
    assert site.asked("toy-1.bundle") == [0]
    assert silent(kb("models", "remove", url)) == f"{url}: removed, {size(path)}\n"
    assert "is not in the cache" in sentence(kb("suggest", "--bundle", url, "see you t"))


def test_a_file_of_another_sha256_is_refused(
    publisher: Publisher, site: Site, cache: Path, kb: Kb
) -> None:
    url = site.url("toy-1.bundle")
    told = sentence(kb("models", "pull", url, "--sha256", NO_SHA256))
    assert told.startswith(f"{url} sends a file of another sha256")
    assert site.asked("toy-1.bundle") == [0]  # it will not have another in a moment
    assert stored(cache) == []
    told = sentence(kb("models", "pull", "toy", "--sha256", NO_SHA256))
    assert "has no toy of that sha256; it has toy@1" in told


def test_a_sha256_is_of_one_model(publisher: Publisher, site: Site, kb: Kb) -> None:
    hexadecimal = sha256(publisher.folder / "toy-1.bundle")
    told = sentence(kb("models", "pull", "toy", "toy@1", "--sha256", hexadecimal))
    assert told == "--sha256 is that of one file; give one model with it"
    assert site.requests == []
    silent(kb("models", "pull", "toy", "--sha256", hexadecimal))


def test_models_before_one_that_is_not_there_are_kept(publisher: Publisher, kb: Kb) -> None:
    done = kb("models", "pull", "toy", "other")
    assert done.status == 1
    assert done.out.startswith("toy 1: ")
    assert len(done.err.splitlines()) == 1
    assert f"the index {publisher.index} has no other; it has toy@1" in done.err
    assert labels(kb) == {"toy 1"}


# Listing


def test_list_shows_what_is_here_and_what_could_be(publisher: Publisher, kb: Kb) -> None:
    done = kb("models", "list")
    head, rule, *_ = silent(done).splitlines()
    assert head.split() == ["model", "MB", "where", "used", "licence"]
    assert set(rule) == {"─"}
    assert done.places == PACKAGE
    assert kb("models", "list", "--available").places == {*PACKAGE, ("toy 1", "index")}
    silent(kb("models", "pull", "toy"))
    publisher.add("2")
    publisher.add("3")
    publisher.publish()
    silent(kb("models", "pull", "toy@2"))
    assert kb("models", "list", "--available").places == {
        *PACKAGE,
        ("toy 1", "cache"),
        ("toy 2", "cache @2"),
        ("toy 3", "newer"),
    }


def test_list_tells_when_a_model_was_used(publisher: Publisher, cache: Path, kb: Kb) -> None:
    silent(kb("models", "pull", "toy"))
    (file,) = stored(cache)
    os.utime(file, (LONG_AGO_S, LONG_AGO_S))
    day = str(datetime.date.fromtimestamp(LONG_AGO_S))
    assert ["toy 1", "0.04", "cache", day, "en", NOTICE] in kb("models", "list").rows
    engine = kbengine.load("toy")
    assert ["toy 1", "0.04", "cache", "now", "en", NOTICE] in kb("models", "list").rows
    del engine
    (model,) = json.loads(silent(kb("models", "list", "--json")))["models"]
    assert not model["in_use"]


def test_a_licence_is_shortened_and_no_markup(publisher: Publisher, kb: Kb) -> None:
    licence = "[red]Ö: all may use it for whatever they like, and more than once if they like"
    publisher.publish("--licence", licence)
    silent(kb("models", "pull", "toy"))
    shown = next(row[-1] for row in kb("models", "list").rows if row[0] == "toy 1")
    assert shown.endswith("…")
    assert shown.startswith("[red]Ö: all may use it for what")
    (model,) = json.loads(silent(kb("models", "list", "--json")))["models"]
    assert model["licence"] == licence


def test_json_holds_all(publisher: Publisher, kb: Kb) -> None:
    silent(kb("models", "pull", "toy@1"))
    (told,) = json.loads(silent(kb("models", "list", "--json")))["models"]
    (model,) = ModelStore().models()
    assert set(told) == set(StoredModel._fields)
    assert told == model._asdict() | {"path": str(model.path), "urls": list(model.urls)}
    assert (told["name"], told["version"], told["pinned"]) == ("toy", "1", True)
    assert told["index_place"] == publisher.index
    both = json.loads(silent(kb("models", "list", "--json", "--available")))
    assert both["models"] == [told]
    (entry,) = both["available"]
    assert set(entry) == set(Entry._fields)
    assert {key: told[key] for key in entry} == entry
    assert [one["name"] for one in both["package"]] == ["en", "en-nano"]
    assert told["path"] == silent(kb("models", "path", "toy")).strip()


def test_a_long_url_leaves_room_for_the_other_columns(
    publisher: Publisher, site: Site, kb: Kb
) -> None:
    path = publisher.folder / "toy-1.bundle"
    url = site.put(f"{'x' * 90}/toy-1.bundle", path.read_bytes())
    silent(kb("models", "pull", url, "--sha256", sha256(path)))
    head = silent(kb("models", "list")).splitlines()[0]
    assert head.split() == ["model", "MB", "where", "used", "licence"]


# Damage


def test_damage_is_told_and_mended(publisher: Publisher, site: Site, cache: Path, kb: Kb) -> None:
    silent(kb("models", "pull", "toy"))
    assert silent(kb("models", "verify")) == "toy 1: ok\n"
    (file,) = stored(cache)
    flip(file)
    for args in ((), ("toy",), ("toy@1",)):
        done = kb("models", "verify", *args)
        assert done == (1, "toy 1: damaged; `kbengine models pull` it again, or `update`\n", "")
    assert "`kbengine models pull` it" in sentence(kb("models", "path", "toy"))
    assert kb("models", "pull", "toy").status == 0
    assert site.asked("toy-1.bundle") == [0, 0]
    assert silent(kb("models", "verify")) == "toy 1: ok\n"
    file.unlink()
    assert kb("models", "verify").status == 1
    for name in ("toy", "toy@1"):
        assert silent(kb("suggest", "--bundle", name, "see you t"))
    assert silent(kb("models", "verify")) == "toy 1: ok\n"


def test_what_is_mended_was_not_here(publisher: Publisher, cache: Path, kb: Kb) -> None:
    silent(kb("models", "pull", "toy"))
    flip(*stored(cache))
    assert "was here" not in silent(kb("models", "pull", "toy"))


# Updating


def test_update_fetches_what_is_newer(publisher: Publisher, cache: Path, kb: Kb) -> None:
    silent(kb("models", "pull", "toy"))
    assert silent(kb("models", "update")) == "toy 1: is the newest\n"
    two = publisher.add("2")
    publisher.publish()
    assert silent(kb("models", "pull", "toy")).endswith("it was here\n")  # asks no index
    assert silent(kb("models", "update", "toy")) == f"toy 1: now toy 2, {size(two)}\n"
    assert [file.stem for file in stored(cache)] == [sha256(two)]
    assert silent(kb("models", "update")) == "toy 2: is the newest\n"


def test_update_leaves_what_was_asked_for_by_version(publisher: Publisher, kb: Kb) -> None:
    silent(kb("models", "pull", "toy@1"))
    publisher.add("2")
    publisher.publish()
    assert silent(kb("models", "update")) == "nothing in the cache is to be updated\n"
    silent(kb("models", "pull", "toy"))
    assert silent(kb("models", "update")) == "toy 2: is the newest\n"
    assert silent(kb("models", "verify")) == "toy 2: ok\ntoy 1: ok\n"


def test_a_newer_one_that_does_not_load_changes_nothing(
    publisher: Publisher, cache: Path, kb: Kb
) -> None:
    silent(kb("models", "pull", "toy"))
    before = stored(cache)
    publisher.add("2", lexicon=b"nothing")
    publisher.publish()
    done = kb("models", "update")
    assert (done.status, done.err) == (1, "")
    stays = r"toy 1: stays, since toy 2 came whole and does not run here: the lexicon [^\n]+\n"
    assert re.fullmatch(stays, done.out)
    assert stored(cache) == before
    assert silent(kb("models", "verify")) == "toy 1: ok\n"
    assert silent(kb("suggest", "--bundle", "toy", "see you t"))
    assert "toy 2 came whole" in sentence(kb("models", "pull", "toy@2"))


@pytest.mark.parametrize(
    ("index", "told"),
    [
        (status(404), "answers 404"),
        (page, "is a web page"),
        (b'{"format": 1, "models": []}', "has no toy any more"),
    ],
)
def test_an_index_that_fails_changes_nothing(
    publisher: Publisher, site: Site, kb: Kb, index: bytes | Answer, told: str
) -> None:
    silent(kb("models", "pull", "toy"))
    site.put("index.json", index)
    done = kb("models", "update", "--retries", 0)
    assert (done.status, done.err) == (1, "")
    assert re.fullmatch(rf"toy 1: stays, since [^\n]*{told}[^\n]*\n", done.out)
    assert silent(kb("suggest", "--bundle", "toy", "see you t"))


def test_an_index_that_is_busy_is_asked_again(publisher: Publisher, site: Site, kb: Kb) -> None:
    site.put("busy", in_turn(status(503), site.answers["/index.json"]))
    busy = ("--index", site.url("busy"))
    assert "answers 503" in sentence(kb("models", "list", "--available", *busy, "--retries", 0))
    assert silent(kb("models", "list", "--available", *busy, "--retries", 0))


def test_update_knows_only_what_is_in_the_cache(publisher: Publisher, kb: Kb) -> None:
    assert "'toy' is not in the cache" in sentence(kb("models", "update", "toy"))


@pytest.mark.parametrize("name", ["toy", "toy@1"])
def test_update_says_why_a_version_that_was_asked_for_stays(
    publisher: Publisher, kb: Kb, name: str
) -> None:
    silent(kb("models", "pull", "toy@1"))
    done = kb("models", "update", name)
    assert "not in the cache" not in done.out + done.err


# Removing


def test_remove_takes_a_version_or_all(publisher: Publisher, cache: Path, kb: Kb) -> None:
    two = publisher.add("2")
    publisher.publish()
    one = publisher.folder / "toy-1.bundle"
    silent(kb("models", "pull", "toy", "toy@1"))
    assert silent(kb("models", "remove", "toy@1")) == f"toy 1: removed, {size(one)}\n"
    assert [file.stem for file in stored(cache)] == [sha256(two)]
    silent(kb("models", "pull", "toy@1"))
    told = silent(kb("models", "remove", "toy"))
    assert told == f"toy 2: removed, {size(two)}\ntoy 1: removed, {size(one)}\n"
    assert stored(cache) == []
    told = sentence(kb("models", "remove", "toy"))
    assert told == "'toy' is not in the cache; see `kbengine models list`"


def test_one_that_fails_does_not_stop_the_others(publisher: Publisher, kb: Kb) -> None:
    done = kb("models", "pull", "nope", "toy", "Nope")
    assert done.status == 1
    assert done.out.startswith("toy 1: ")
    assert [line.split(" ")[0] for line in done.err.splitlines()] == ["kbengine:"] * 2
    done = kb("models", "remove", "nope", "toy")
    assert (done.status, done.out.startswith("toy 1: removed")) == (1, True)


def test_a_file_of_two_names_goes_once(publisher: Publisher, kb: Kb) -> None:
    silent(kb("models", "pull", "toy", "toy@1"))
    path = publisher.folder / "toy-1.bundle"
    assert silent(kb("models", "remove", "toy")) == f"toy 1: removed, {size(path)}\n"


def test_what_is_in_use_is_not_removed(publisher: Publisher, kb: Kb) -> None:
    engine = kbengine.load("toy")
    told = sentence(kb("models", "remove", "toy"))
    assert told == "toy 1 is in use; end the programs that have it loaded first"
    assert engine.suggest("see you t")
    del engine
    assert silent(kb("models", "remove", "toy")).startswith("toy 1: removed")


def test_clear_empties_the_cache(publisher: Publisher, cache: Path, kb: Kb) -> None:
    assert silent(kb("models", "clear")) == "0 bytes freed\n"
    silent(kb("models", "pull", "toy", "toy@1"))
    freed = silent(kb("models", "clear")).removesuffix(" bytes freed\n").replace(",", "")
    assert int(freed) > (publisher.folder / "toy-1.bundle").stat().st_size  # the refs, too
    assert not any(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    assert labels(kb) == set()


# Budgets


@pytest.fixture
def three(publisher: Publisher, cache: Path, kb: Kb) -> dict[str, Path]:
    """Models published, the first two in the cache, the second used longest ago."""
    paths = {name: publisher.add("1", name) for name in ("one", "two", "three")}
    publisher.publish()
    silent(kb("models", "pull", "one", "two"))
    file = cache / "models" / "files" / f"{sha256(paths['two'])}.bundle"
    os.utime(file, (LONG_AGO_S, LONG_AGO_S))
    return paths


def test_a_model_that_is_too_large_is_not_fetched(publisher: Publisher, site: Site, kb: Kb) -> None:
    told = sentence(kb("models", "pull", "toy", "--model-mb", 0.01))
    path = publisher.folder / "toy-1.bundle"
    assert told.startswith(f"toy 1 has {size(path)}, and a model may have 10,000; ")
    assert "--model-mb" in told
    told = sentence(kb("models", "pull", "toy", "--total-mb", 0.01))
    assert "--total-mb" in told
    assert site.asked("toy-1.bundle") == []
    url, hexadecimal = site.url("toy-1.bundle"), sha256(path)
    told = sentence(kb("models", "pull", url, "--sha256", hexadecimal, "--model-mb", 0.01))
    assert "--model-mb" in told
    silent(kb("models", "pull", "toy", "--model-mb", 0.04, "--total-mb", 0.05))


def test_what_was_used_longest_ago_is_dropped_and_told(three: dict[str, Path], kb: Kb) -> None:
    told = silent(kb("models", "pull", "three", "--total-mb", 0.1)).splitlines()
    assert told[0].startswith("three 1: ")
    assert told[1:] == [f"two 1: dropped to make room, {size(three['two'])}"]
    assert labels(kb) == {"one 1", "three 1"}


def test_a_new_one_is_refused_where_nothing_is_to_be_dropped(
    three: dict[str, Path], site: Site, kb: Kb
) -> None:
    refuse = ("--total-mb", 0.1, "--when-full", "refuse")
    told = sentence(kb("models", "pull", "three", *refuse))
    assert told.startswith("three 1 does not fit into 100,000 bytes beside models that are not ")
    assert "`kbengine models remove`" in told
    assert site.asked("three-1.bundle") == []
    assert silent(kb("models", "verify")) == "one 1: ok\ntwo 1: ok\n"
    silent(kb("models", "remove", "one"))
    silent(kb("models", "pull", "three", *refuse))
    assert silent(kb("models", "verify")) == "three 1: ok\ntwo 1: ok\n"


def test_what_is_in_use_is_not_dropped(three: dict[str, Path], kb: Kb) -> None:
    engines = [kbengine.load("one"), kbengine.load("two")]
    told = sentence(kb("models", "pull", "three", "--total-mb", 0.1))
    assert "beside models that are in use" in told
    assert silent(kb("models", "verify")) == "one 1: ok\ntwo 1: ok\n"
    del engines


def test_a_model_larger_than_the_cache_may_be_is_told_so(publisher: Publisher, kb: Kb) -> None:
    told = sentence(kb("models", "pull", "toy", "--total-mb", 0.03))
    assert "in use" not in told
    assert "models remove" not in told


def test_a_file_of_two_names_is_dropped_once(three: dict[str, Path], kb: Kb) -> None:
    silent(kb("models", "pull", "one@1"))
    told = silent(kb("models", "pull", "three", "--total-mb", 0.05)).splitlines()
    assert len(told) == len(set(told)) == 3


def test_update_tells_what_it_has_dropped(
    publisher: Publisher, three: dict[str, Path], kb: Kb
) -> None:
    publisher.add("2", "one")
    publisher.publish()
    told = silent(kb("models", "update", "--total-mb", 0.05))
    assert labels(kb) == {"one 2"}
    assert "two 1: is the newest" not in told
    assert f"two 1: dropped to make room, {size(three['two'])}" in told


@pytest.mark.parametrize("mb", [0, -1])
def test_what_is_no_budget_is_a_sentence(kb: Kb, mb: float) -> None:
    for option in ("--model-mb", "--total-mb"):
        assert "budget" in sentence(kb("models", "pull", "toy", option, mb))


@pytest.mark.parametrize("mb", ["inf", "nan"])
def test_what_is_no_number_is_no_budget(kb: Kb, mb: str) -> None:
    assert "budget" in sentence(kb("models", "pull", "toy", "--model-mb", mb))


# Where the index is


def test_the_index_of_the_option_goes_before_that_of_the_environment(
    publisher: Publisher, site: Site, kb: Kb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBENGINE_INDEX", site.url("gone.json"))
    assert "gone.json answers 404" in sentence(kb("models", "pull", "toy", "--retries", 0))
    silent(kb("models", "pull", "toy", "--index", publisher.index))
    assert silent(kb("models", "update")) == "toy 1: is the newest\n"  # by its own
    monkeypatch.delenv("KBENGINE_INDEX")
    assert silent(kb("models", "update")) == "toy 1: is the newest\n"
    told = sentence(kb("models", "pull", "other"))
    assert "the package has en, en-nano" in told
    assert "set KBENGINE_INDEX" in told


def test_an_index_on_a_file_share(
    publisher: Publisher, site: Site, kb: Kb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KBENGINE_OFFLINE", "1")
    monkeypatch.chdir(publisher.folder)
    assert silent(kb("models", "pull", "toy", "--index", "index.json")).startswith("toy 1: ")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KBENGINE_INDEX")
    assert silent(kb("models", "update")) == "toy 1: is the newest\n"
    (told,) = json.loads(silent(kb("models", "list", "--json")))["models"]
    assert told["index_place"] == str(publisher.folder / "index.json")
    assert told["urls"] == [str(publisher.folder / "toy-1.bundle")]
    assert site.requests == []
    monkeypatch.setenv("KBENGINE_INDEX", str(publisher.folder / "none.json"))
    assert "none.json is not there" in sentence(kb("models", "pull", "other"))
    monkeypatch.setenv("KBENGINE_INDEX", str(publisher.folder))
    assert "is no file" in sentence(kb("models", "pull", "other"))


def test_offline_nothing_is_asked(
    publisher: Publisher, site: Site, kb: Kb, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent(kb("models", "pull", "toy"))
    asked = len(site.requests)
    monkeypatch.setenv("KBENGINE_OFFLINE", "1")
    url = site.url("toy-2.bundle")
    for args in (
        ("models", "pull", "other"),
        ("models", "pull", "toy@2"),
        ("models", "pull", url, "--sha256", NO_SHA256),
        ("models", "list", "--available"),
        ("suggest", "--bundle", "other", "see you t"),
    ):
        assert "KBENGINE_OFFLINE" in sentence(kb(*args))
    done = kb("models", "update")
    assert done.status == 1
    assert re.fullmatch(r"toy 1: stays, since [^\n]+KBENGINE_OFFLINE[^\n]+\n", done.out)
    assert silent(kb("models", "pull", "toy")).endswith("it was here\n")
    assert silent(kb("suggest", "--bundle", "toy", "see you t"))
    assert silent(kb("suggest", "see you t"))
    assert len(site.requests) == asked


# Mistakes


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("pull", "Toy"), "'Toy' is no name of a model; give one such as es or es@3, in small"),
        (("pull", "../toy"), "'../toy' is no name of a model"),
        (("pull", ""), "'' is no name of a model"),
        (("pull", "two\nlines\x1b[2J"), r"'two\nlines\x1b[2J' is no name of a model"),
        (("pull", "ftp://a.example/toy"), "is neither http nor https"),
        (("pull", "http://a.example/a b"), "has characters that no URL has"),
        (("pull", "http://me:secret@a.example/toy"), "names no host, or a password"),
        (("pull", "toy", "--sha256", "12"), "'12' is no sha256; give its 64 hexadecimal digits"),
        (("pull", "toy", "--index", "ftp://a.example/i"), "is neither http nor https"),
        (("path", "toy"), "toy is not here, or damaged; `kbengine models pull` it"),
        (("path", "a/b"), "'a/b' is no name of a model"),
        (("verify", "toy"), "'toy' is not in the cache; see `kbengine models list`"),
        (("verify", "a/b"), "'a/b' is no name of a model"),
        (("remove", "toy"), "'toy' is not in the cache; see `kbengine models list`"),
        (("remove", "a/b"), "'a/b' is no name of a model"),
        (("update", "toy"), "'toy' is not in the cache; see `kbengine models list`"),
    ],
)
def test_a_mistake_is_one_sentence(kb: Kb, cache: Path, args: Sequence[str], told: str) -> None:
    assert told in sentence(kb("models", *args))
    assert not cache.exists()


@pytest.mark.parametrize(
    ("index", "told"),
    [
        (status(404), "{index} answers 404 (Not Found)"),
        (status(503), "{index} answers 503 (Service Unavailable)"),
        (page, "the index {index} is a web page"),
        (b"PK", "the index {index} is no JSON"),
        (b"{}", "the index {index} is none"),
        (b'{"format": 2, "models": []}', "is of format 2, this program reads 1; update kbengine"),
        (b'{"format": 1, "models": [{"name": "../x"}]}', "has a wrong model, number 1: its name"),
        (b'{"format": 1, "models": []}', "the index {index} has no toy; it has none"),
    ],
)
def test_a_wrong_index_is_one_sentence(
    site: Site, kb: Kb, index: bytes | Answer, told: str
) -> None:
    url = site.put("index.json", index)
    found = sentence(kb("models", "pull", "toy", "--index", url, "--retries", 0))
    assert told.format(index=url) in found
    assert ModelStore().models() == []


def test_a_model_that_is_not_where_the_index_says_is_one_sentence(
    publisher: Publisher, site: Site, kb: Kb
) -> None:
    url = site.put("toy-1.bundle", status(404))
    told = sentence(kb("models", "pull", "toy", "--retries", 0))
    assert told.startswith(f"toy 1 cannot be had: {url} answers 404 (Not Found); ")
    site.put("toy-1.bundle", page)
    told = sentence(kb("suggest", "--bundle", "toy", "see you t"))
    assert told.startswith(f"toy 1 cannot be had: {url} ")
    assert "toy@9; it has toy@1" in sentence(kb("suggest", "--bundle", "toy@9", "see you t"))
    assert ModelStore().models() == []


@pytest.mark.parametrize(
    ("bundle", "told"),
    [
        ("toy", "'toy' is not in the cache (the package has en, en-nano), and no index is known"),
        ("en@999", "'en@999' is not in the cache"),
        ("Toy", "'Toy' is neither a file nor the name of a model"),
        ("./toy", "toy: no such file"),
        ("two\nlines", "'two\\nlines' is neither a file nor the name of a model"),
        ("ftp://a.example/toy", "is neither http nor https"),
    ],
)
def test_a_bundle_that_is_nowhere_is_one_sentence(kb: Kb, bundle: str, told: str) -> None:
    assert told in sentence(kb("suggest", "--bundle", bundle, "see you t"))


def test_a_cache_that_cannot_be_is_a_sentence(
    publisher: Publisher, kb: Kb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBENGINE_CACHE", str(publisher.folder / "index.json"))
    for args in (
        ("models", "pull", "toy"),
        ("suggest", "--bundle", "toy", "x"),
        ("models", "clear"),
    ):
        assert "set KBENGINE_CACHE to another folder" in sentence(kb(*args))
    assert kb("models", "list").places == PACKAGE


def test_a_verb_is_needed(kb: Kb, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        kb("models")
    assert left.value.code == 2
    assert "usage: kbengine models" in capsys.readouterr().err


# As a program


def piped(*args: object, **environment: str) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "kbengine", *map(str, args)], cwd=ROOT,
        env=os.environ | environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def test_a_pipe_gets_no_bar(publisher: Publisher) -> None:
    done = piped("models", "pull", "toy", "other")
    assert done.out.startswith("toy 1: ")
    assert "has no other" in sentence(done._replace(out=""))


def test_a_table_is_printed_in_any_encoding(publisher: Publisher) -> None:
    publisher.publish("--licence", "Größe: all may use it for whatever they like")
    done = piped("models", "list", "--available", PYTHONIOENCODING="ascii")
    assert "Gr??e: all may use it" in silent(done)


class Held:
    """An answer that sends half of a file, and the rest when it is let go."""

    def __init__(self, data: bytes) -> None:
        self._data, self._gone = data, threading.Event()
        self.half = len(data) // 2
        self.sign = f"{self.half / 1000:.1f}/{len(data) / 1000:.1f} kB"  # in a bar

    def __call__(self, handler: Handler) -> None:
        handler.head(200, Content_Length=len(self._data))
        handler.wfile.write(self._data[: self.half])
        self._gone.wait(10)
        handler.wfile.write(self._data[self.half :])

    def let_go(self) -> None:
        self._gone.set()


def watched(
    command: Sequence[object], sign: str, act: Callable[[subprocess.Popen[str]], None]
) -> tuple[Done, list[str]]:
    """Run a verb with a terminal as its stderr; act when a sign stands there. Returns what the
    verb did, and what stood on the screen after each change."""
    import pty

    import pyte

    ours, theirs = pty.openpty()
    screen = pyte.Screen(80, 5)
    stream, screens = pyte.ByteStream(screen), [""]
    with subprocess.Popen(
        [sys.executable, "-m", "kbengine", *map(str, command)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=theirs, env=os.environ | {"TERM": "xterm", "COLUMNS": "80"},
        # What runs in the background of a shell is deaf to Ctrl-C, and so are its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as program:  # fmt: skip
        os.close(theirs)
        waits = True
        while data := _read(ours):
            stream.feed(data)
            screens.append("\n".join(row.rstrip() for row in screen.display).strip())
            if waits and sign in screens[-1]:
                waits = False
                act(program)
        out, _ = program.communicate(timeout=30)
    os.close(ours)
    assert not screen.cursor.hidden
    return Done(program.returncode, out, screens[-1]), screens


def _read(terminal: int) -> bytes:
    """What comes next; nothing at the end, which Linux calls an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


@posix
def test_a_terminal_shows_a_bar_that_goes(publisher: Publisher, site: Site) -> None:
    held = Held((publisher.folder / "toy-1.bundle").read_bytes())
    site.put("toy-1.bundle", held)
    done, screens = watched(("models", "pull", "toy"), held.sign, lambda _: held.let_go())
    shown = next(screen for screen in screens if held.sign in screen)
    assert re.match(r"toy ━+", shown)
    assert "\n" not in shown
    assert silent(done).endswith("ok\n")  # the screen is empty again


@posix
def test_a_load_by_name_shows_the_bar_too(publisher: Publisher, site: Site, kb: Kb) -> None:
    held = Held((publisher.folder / "toy-1.bundle").read_bytes())
    site.put("toy-1.bundle", held)
    suggest = ("suggest", "--bundle", "toy", "see you t")
    done, screens = watched(suggest, held.sign, lambda _: held.let_go())
    assert any(held.sign in screen for screen in screens)
    assert silent(done) == silent(kb(*suggest))


@posix
def test_the_bar_of_a_long_url_has_bytes(publisher: Publisher, site: Site) -> None:
    path = publisher.folder / "toy-1.bundle"
    held = Held(path.read_bytes())
    url = site.put(f"{'x' * 90}/toy-1.bundle", held)
    pull = ("models", "pull", url, "--sha256", sha256(path))
    _, screens = watched(pull, held.sign, lambda _: held.let_go())
    assert any("xxx/toy-1.bundle" in screen for screen in screens)


@posix
def test_ctrl_c_ends_it_and_the_next_goes_on_from_there(
    publisher: Publisher, site: Site, kb: Kb
) -> None:
    path = publisher.folder / "toy-1.bundle"
    held, whole = Held(path.read_bytes()), site.answers["/toy-1.bundle"]
    site.put("toy-1.bundle", held)
    pull = ("models", "pull", "toy")
    done, _ = watched(pull, held.sign, lambda program: program.send_signal(signal.SIGINT))
    assert done == (130, "", "")
    held.let_go()
    site.put("toy-1.bundle", whole)
    assert silent(kb(*pull)).endswith("ok\n")
    assert site.asked("toy-1.bundle") == [0, held.half]
