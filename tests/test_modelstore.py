"""Models by name or URL: from the cache, else from where they are published; never half, never
more than the budget, never somebody else's."""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kbengine
from kbengine import BudgetError, DownloadError, FetchOptions, ModelStore, StoreError, StoreOptions
from kbengine.cachefolder import taken_bytes
from kbengine.engine import open_engine
from kbengine.modelindex import written
from tests import webserver
from tests.models import entry, file_of, model, publish, sha256, spoilt
from tests.shipped import small_shipped
from tests.soak import times
from tests.webserver import (
    Answer,
    Site,
    broken_off,
    endless,
    in_turn,
    moved,
    page,
    serving,
    slowly,
    stalling,
    status,
)

ROOT = Path(__file__).parent.parent
QUICK = FetchOptions(timeout_s=0.5, retries=0)
posix = pytest.mark.skipif(os.name != "posix", reason="of file systems with owners and modes")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the models of this test lie."""
    for name in ("INDEX", "OFFLINE", "UPDATE_DAYS"):
        monkeypatch.delenv(f"KBENGINE_{name}", raising=False)
    monkeypatch.setenv("KBENGINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as found:
        yield found


def store(site: Site, **options: Any) -> ModelStore:
    """A store that asks the index of a site."""
    options.setdefault("index", site.url("index.json"))
    return ModelStore(StoreOptions(fetch=FetchOptions(timeout_s=30, retries=0), **options))


def version(engine: kbengine.Engine) -> str:
    """Of a model that has answered."""
    assert engine.suggest("see you t")
    return str(engine.bundle.manifest["version"])


def labels(found: ModelStore) -> list[str]:
    return [m.label for m in found.models()]


def everything(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, beside locks and what is being fetched."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in paths
        if path.suffix not in (".lock", ".part") and path.name != "lock"
    }  # fmt: skip


# The cache first


def test_a_name_is_fetched_once(site: Site) -> None:
    publish(site, "1")
    assert version(store(site).load("toy")) == "1"
    asked = len(site.requests)
    assert asked == 2, "the index and the file"
    assert version(store(site).load("toy")) == "1"
    assert version(kbengine.load("toy")) == "1", "without an index, too"
    assert len(site.requests) == asked


def test_what_is_in_the_cache_needs_no_network_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving() as site:
        index = publish(site, "1")
        url, digest = site.url(file_of()), sha256(model())
        store(site).load("toy")
    monkeypatch.setenv("KBENGINE_INDEX", index)
    for offline in ("0", "1"):
        monkeypatch.setenv("KBENGINE_OFFLINE", offline)
        for again in (
            kbengine.load("toy"), kbengine.load("toy@1"), kbengine.load(url, sha256=digest),
            kbengine.load(url), kbengine.load("toy", sha256=digest.upper()),
        ):  # fmt: skip
            assert version(again) == "1"


def test_a_url_is_fetched_once_and_needs_a_sha256(site: Site) -> None:
    url = site.put("es.bundle", model())
    with pytest.raises(ValueError, match=r"give its sha256= \(`kbengine models pull --sha256`\)"):
        kbengine.load(url)
    assert site.requests == []
    assert version(kbengine.load(url, sha256=sha256(model()))) == "1"
    assert version(kbengine.load(url, sha256=sha256(model()))) == "1"
    assert version(kbengine.load(url)) == "1"
    assert site.asked("es.bundle") == [0]
    assert labels(store(site)) == [url]


def test_the_same_file_by_name_and_url_is_fetched_once(site: Site, cache: Path) -> None:
    publish(site, "1")
    url = site.put("copy.bundle", model())
    store(site).load("toy")
    kbengine.load(url, sha256=sha256(model()))
    assert version(kbengine.load(url, sha256=sha256(model()))) == "1"
    assert site.asked("copy.bundle") == []
    assert len(list((cache / "files").iterdir())) == 1


def test_a_path_is_a_path(site: Site, tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "toy.bundle"
    path.write_bytes(model("3"))
    assert version(kbengine.load(path)) == "3"
    assert version(kbengine.load(str(path), sha256=sha256(model("3")))) == "3"
    with pytest.raises(kbengine.BundleError, match="not the one asked for"):
        kbengine.load(path, sha256=sha256(model()))
    assert not cache.exists()


def test_the_package_s_own_needs_neither_network_nor_cache(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBENGINE_INDEX", site.url("index.json"))
    own = kbengine.load()
    for name in ("en", f"en@{version(own)}", Path(kbengine.__file__).parent / "models/en.bundle"):
        assert kbengine.load(name).bundle.manifest == own.bundle.manifest
    assert kbengine.load("en-nano").bundle.file_bytes < own.bundle.file_bytes
    assert site.requests == []
    assert not cache.exists()


def test_loading_what_is_here_loads_no_http(tmp_path: Path, site: Site) -> None:
    publish(site, "1")
    store(site).load("toy")
    program = """
import sys, kbengine
for source in (None, "en-nano", "toy"):
    kbengine.load(source)
print(*sorted({"urllib3", "http.client", "requests"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_a_pulled_model_comes_before_the_package_s(site: Site) -> None:
    publish(site, "99", name="en")
    mine = store(site)
    assert version(mine.load("en")) != "99"
    mine.pull("en")
    assert version(kbengine.load("en")) == "99"
    mine.remove("en")
    assert version(kbengine.load("en")) != "99"


def test_a_version_is_asked_for(site: Site) -> None:
    publish(site, "9", "10", "11")
    mine = store(site)
    assert version(mine.load("toy@10")) == "10"
    assert version(kbengine.load("toy")) == "10", "which is here"
    assert mine.pull("toy").version == "11"
    assert version(kbengine.load("toy")) == "11"
    assert version(kbengine.load("toy@10")) == "10"
    assert labels(mine) == ["toy 11", "toy 10"]


def test_an_index_on_a_file_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    share = tmp_path / "share"
    share.mkdir()
    (share / file_of()).write_bytes(model())
    (share / "index.json").write_bytes(written([entry(model(), "1", file_of())]))
    monkeypatch.setenv("KBENGINE_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KBENGINE_INDEX", "share/index.json")
    assert version(kbengine.load("toy")) == "1"
    monkeypatch.delenv("KBENGINE_INDEX")
    monkeypatch.chdir(ROOT)
    (found,) = ModelStore().update()
    assert found.error is None


@pytest.mark.parametrize(
    ("source", "error", "told"),
    [
        ("other", DownloadError, "has no other; it has toy@1"),
        ("toy@2", DownloadError, "has no toy@2; it has toy@1"),
        ("ftp://127.0.0.1/toy", ValueError, "neither http nor https"),
        ("file:///etc/passwd", ValueError, "neither http nor https"),
        ("http://me:secret@127.0.0.1/x", ValueError, "or a password"),
        ("toy.bundle", kbengine.BundleError, "no such file"),
        ("../toy", kbengine.BundleError, "no such file"),
        ("toy@../2", kbengine.BundleError, "no such file"),
    ],
)
def test_what_cannot_be_had(site: Site, source: str, error: type, told: str) -> None:
    publish(site, "1")
    with pytest.raises(error) as raised:
        kbengine.load(source, store=store(site))
    assert told in str(raised.value)
    assert str(raised.value).isprintable()


def test_without_an_index_a_name_is_told_what_there_is() -> None:
    with pytest.raises(StoreError, match=r"the package has en, en-nano.*set KBENGINE_INDEX"):
        kbengine.load("xx")
    with pytest.raises(StoreError, match=r"'en' is not in the cache .* and no index is known"):
        ModelStore().pull("en")


def test_offline_it_is_told_why(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(site, "1")
    monkeypatch.setenv("KBENGINE_OFFLINE", "1")
    url = site.url(file_of())
    for source in ("toy", url):
        with pytest.raises(DownloadError, match="KBENGINE_OFFLINE"):
            kbengine.load(source, sha256=sha256(model()), store=store(site))
    assert site.requests == []


@pytest.mark.parametrize("bad", ["", "12", "x" * 64, None, b"0" * 64])
def test_what_is_no_sha256_is_refused(site: Site, bad: Any) -> None:
    if bad is not None:
        with pytest.raises(ValueError, match="64 hexadecimal digits"):
            kbengine.load(site.url("a"), sha256=bad)
        with pytest.raises(ValueError, match="64 hexadecimal digits"):
            kbengine.load(sha256=bad)
    assert site.requests == []


def test_another_sha256_than_the_index_has_is_not_fetched(site: Site) -> None:
    publish(site, "1")
    with pytest.raises(DownloadError, match="has no toy of that sha256"):
        store(site).load("toy", sha256="0" * 64)
    assert site.asked(file_of()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"when_full": "perhaps"}, {"model_bytes": 0}, {"total_bytes": -1},
        {"update_days": -1}, {"update_days": float("nan")},
    ],
)  # fmt: skip
def test_what_is_no_option_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"give|must"):
        StoreOptions(**wrong)


def test_a_sha256_picks_the_version(site: Site) -> None:
    publish(site, "1", "2")
    assert version(store(site).load("toy", sha256=sha256(model("1")))) == "1"
    with pytest.raises(StoreError, match="en in the package has another sha256"):
        kbengine.load("en", sha256="0" * 64)


def test_what_a_load_asks_for_stays_as_asked(site: Site, cache: Path) -> None:
    """Though the same file was here under another name."""
    publish(site, "1")
    copies = [site.put(name, model()) for name in ("copy", "other")]
    mine = store(site)
    mine.load("toy")
    mine.load("toy@1")
    for url in copies:
        mine.load(url, sha256=sha256(model()))
    assert len(list((cache / "files").iterdir())) == 1
    publish(site, "1", "2")
    mine.update()
    site.answers.clear()
    assert version(mine.load("toy")) == "2"
    for source in ("toy@1", *copies):
        assert version(mine.load(source)) == "1"


def test_what_a_load_asks_for_is_not_updated_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(site, "1")
    store(site).load("toy")
    url = site.put("copy", model())
    publish(site, "2")
    monkeypatch.setenv("KBENGINE_UPDATE_DAYS", "0")
    assert version(kbengine.load("toy", sha256=sha256(model()))) == "1"
    assert version(kbengine.load(url, sha256=sha256(model()))) == "1"
    assert version(kbengine.load("toy@1")) == "1"
    assert version(kbengine.load("toy")) == "2"
    assert version(kbengine.load("toy@1")) == "1"


def test_what_goes_while_it_is_loaded_is_fetched_again(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    cleared = []

    def opened(path: Path, total_bytes: int | None = None) -> kbengine.Engine:
        if not cleared:
            cleared.append(ModelStore().clear())
        return open_engine(path, total_bytes)

    monkeypatch.setattr("kbengine.modelstore.open_engine", opened)
    assert version(mine.load("toy@1")) == "1"
    assert cleared[0] > 0
    assert [whole for _, whole in mine.verify()] == [True]


def test_no_name_is_given_to_what_has_gone(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    is_whole, removed = mine._is_whole, []

    def found(ref: Any) -> bool:
        told = is_whole(ref)
        if not removed:
            removed.append(ModelStore().remove("toy"))
        return told

    monkeypatch.setattr(mine, "_is_whole", found)
    assert mine.pull("toy@1").path.exists()
    assert labels(mine) == ["toy 1"]


def test_what_is_removed_while_it_is_updated_stays_away(site: Site, cache: Path) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    publish(site, "1", "2")
    removed: list[Any] = []

    def remove(done: int, total: int | None) -> None:
        if not removed:
            removed.append(ModelStore().remove("toy"))

    (found,) = mine.update(progress=remove)
    assert "toy 1 was taken away meanwhile" in str(found.error)
    assert everything(cache) == {}


def test_an_index_does_not_say_what_a_url_means(site: Site) -> None:
    good = site.put("good.bundle", model("5"))
    site.put("index.json", written([entry(model(), "1", good, site.put("a", model()))]))
    mine = store(site)
    mine.load("toy")
    with pytest.raises(ValueError, match="give its sha256"):
        mine.load(good)


def test_the_index_may_be_a_path_of_any_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / file_of()).write_bytes(model())
    (tmp_path / "i.json").write_bytes(written([entry(model(), "1", file_of())]))
    monkeypatch.setenv("HOME", str(tmp_path))
    for index in (tmp_path / "i.json", "~/i.json"):
        assert ModelStore(StoreOptions(index=index)).available()[0].label == "toy 1"
    with pytest.raises(DownloadError, match="that is no path"):
        ModelStore(StoreOptions(index="a\0b")).available()


def test_budgets_may_stand_in_the_environment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(site, "1")
    monkeypatch.setenv("KBENGINE_INDEX", site.url("index.json"))
    monkeypatch.setenv("KBENGINE_MODEL_MB", "0.01")
    with pytest.raises(BudgetError, match="a model may have 10,000"):
        kbengine.load("toy")
    monkeypatch.setenv("KBENGINE_MODEL_MB", "20")
    monkeypatch.setenv("KBENGINE_TOTAL_MB", "0.02")
    with pytest.raises(BudgetError, match="all models may have 20,000"):
        kbengine.load("toy")
    for wrong in ("much", "0", "-1", "inf", "nan"):
        monkeypatch.setenv("KBENGINE_TOTAL_MB", wrong)
        with pytest.raises(StoreError, match=r"KBENGINE_TOTAL_MB is .*; set it to megabytes"):
            kbengine.load("toy")
        assert kbengine.load(), "which needs none"


# Newer versions


def test_a_newer_version_comes_only_when_asked_for(site: Site, cache: Path) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    publish(site, "1", "2")
    asked = len(site.requests)
    assert version(mine.load("toy")) == "1"
    assert mine.pull("toy").version == "1"
    assert len(site.requests) == asked
    (found,) = mine.update()
    assert (found.before.version, found.after.version, found.error) == ("1", "2", None)
    assert version(kbengine.load("toy")) == "2"
    assert [path.stem for path in (cache / "files").iterdir()] == [sha256(model("2"))]
    (found,) = mine.update(["toy"])
    assert found.after == found.before._replace(used_s=found.after.used_s)


def test_a_policy_asks_for_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(site, "1")
    store(site).pull("toy")
    publish(site, "1", "2")
    assert version(store(site, update_days=1).load("toy")) == "1", "asked just now"
    assert version(store(site, update_days=0).load("toy")) == "2"
    publish(site, "1", "2", "3")
    monkeypatch.setenv("KBENGINE_UPDATE_DAYS", "0")
    monkeypatch.setenv("KBENGINE_OFFLINE", "1")
    assert version(kbengine.load("toy")) == "2"
    monkeypatch.delenv("KBENGINE_OFFLINE")
    assert version(kbengine.load("toy")) == "3"
    monkeypatch.setenv("KBENGINE_UPDATE_DAYS", "often")
    with pytest.raises(StoreError, match="KBENGINE_UPDATE_DAYS is 'often'"):
        kbengine.load("toy")


def test_what_a_policy_cannot_have_does_not_hold_loading_up(site: Site) -> None:
    """And is not tried at every load."""
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    site.put("index.json", page)
    assert version(store(site, update_days=0).load("toy")) == "1"
    asked = len(site.requests)
    assert version(store(site, update_days=1).load("toy")) == "1"
    assert len(site.requests) == asked


def test_a_server_that_is_silent_does_not_hold_loading_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a model is here, even the patient are not."""
    publish(site, "1")
    store(site).pull("toy")
    site.put("index.json", webserver.silent)
    monkeypatch.setattr("kbengine.modelstore._HURRY_S", 0.3)
    patient = StoreOptions(update_days=0, fetch=FetchOptions(timeout_s=10_000, retries=99))
    assert version(ModelStore(patient).load("toy")) == "1"
    assert site.asked("index.json") == [0, 0], "once for the pull, once now"
    publish(site, "1", "2")
    site.put(file_of("2"), webserver.dripping(model("2"), 0.01))
    assert version(ModelStore(patient).load("toy")) == "1"
    site.put(file_of("2"), model("2"))
    assert version(ModelStore(patient).load("toy")) == "2"
    assert site.asked(file_of("2"))[1] > 0, "what had come was not in vain"


def not_a_model(kind: str) -> bytes:
    """What has the right sha256, and does not run."""
    data = {"archive": shutil_archive(), "half": model("2")[: len(model("2")) // 2]}
    return data[kind]


def shutil_archive() -> bytes:
    from tests.hostile import archive_of

    return archive_of({"manifest.json": b"{}", "other": b"x" * 9999})


@pytest.mark.parametrize("kind", ["archive", "half"])
def test_the_old_one_stays_until_the_new_one_has_answered(
    site: Site, cache: Path, kind: str
) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    before = everything(cache)
    data = not_a_model(kind)
    site.put("bad.bundle", data)
    publish(site, "1", more=(entry(data, "2", "bad.bundle"),))
    (found,) = mine.update()
    assert isinstance(found.error, DownloadError)
    assert "toy 2 came whole and does not run here" in str(found.error)
    assert version(kbengine.load("toy")) == "1"
    after = everything(cache)
    assert after.keys() == before.keys()


def test_while_the_new_one_comes_the_old_one_serves(site: Site) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    publish(site, "1", "2")
    served = []
    mine.update(progress=lambda done, total: served.append(version(kbengine.load("toy"))))
    assert set(served) == {"1"}
    assert version(kbengine.load("toy")) == "2"


def test_an_older_version_in_the_index_does_not_come(site: Site) -> None:
    publish(site, "2")
    mine = store(site)
    mine.pull("toy")
    publish(site, "1")
    (found,) = mine.update()
    assert (found.after.version, found.error) == ("2", None)


def test_another_file_of_the_same_version_comes(site: Site) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    site.put("index.json", written([entry(model("x"), "1", site.put("x", model("x")))]))
    mine.update()
    assert version(kbengine.load("toy")) == "x"


def test_what_was_asked_for_by_version_or_url_stays(site: Site) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy@1")
    mine.pull(site.put("a", model("x")), sha256(model("x")))
    publish(site, "1", "2")
    assert mine.update() == []
    with pytest.raises(StoreError, match="toy 1 was asked for as such, and stays"):
        mine.update(["toy"])
    with pytest.raises(StoreError, match="'other' is not in the cache"):
        mine.update(["other"])
    with pytest.raises(StoreError, match="'en' is not in the cache; it is the package's own"):
        mine.remove("en")
    assert labels(mine) == [site.url("a"), "toy 1"]


def test_the_index_is_asked_where_the_model_came_from(site: Site) -> None:
    publish(site, "1")
    store(site).pull("toy")
    with serving() as other:
        publish(other, "5")
        (found,) = ModelStore().update()
        assert (found.after.version, found.error) == ("1", None)
        (found,) = store(other).update()
        assert found.after.version == "5"


def test_a_bad_moment_of_its_index_moves_a_model_to_no_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(site, "1")
    store(site).pull("toy")
    site.put("index.json", status(503))
    with serving() as other:
        monkeypatch.setenv("KBENGINE_INDEX", publish(other, "5"))
        (found,) = ModelStore(StoreOptions(fetch=QUICK)).update()
    assert (found.after.version, type(found.error)) == ("1", DownloadError)
    assert ModelStore().models()[0].index_place == site.url("index.json")


def test_a_given_index_is_remembered_where_nothing_is_newer(site: Site) -> None:
    publish(site, "1")
    store(site).pull("toy")
    with serving() as other:
        publish(other, "1")
        store(other).update()
        assert ModelStore().models()[0].index_place == other.url("index.json")


def test_one_index_that_fails_does_not_stop_the_others(site: Site) -> None:
    publish(site, "1")
    store(site).pull("toy")
    with serving() as other:
        publish(other, "1", name="alto")
        store(other).pull("alto")
    publish(site, "1", "2")
    updates = ModelStore(StoreOptions(fetch=QUICK)).update()
    assert [u.before.name for u in updates] == ["alto", "toy"]
    assert isinstance(updates[0].error, DownloadError)
    assert updates[1].after.version == "2"


def test_an_index_is_asked_once_for_all_its_models(site: Site) -> None:
    publish(site, "1", more=(entry(model("1", "alto"), "1", "alto", name="alto"),))
    site.put("alto", model("1", "alto"))
    mine = store(site)
    mine.pull("toy")
    mine.pull("alto")
    for answer in (site.answers["/index.json"], status(404)):
        site.put("index.json", answer)
        site.requests.clear()
        assert len(mine.update()) == 2
        assert site.asked("index.json") == [0]


# Budget

SIZE = len(model())


def test_a_model_larger_than_one_may_be_is_not_fetched(site: Site, cache: Path) -> None:
    publish(site, "1")
    for source in ("toy", site.url(file_of())):
        with pytest.raises(BudgetError, match=r"raise model_bytes \(--model-mb\)"):
            store(site, model_bytes=SIZE - 1).load(source, sha256(model()))
    assert store(site, model_bytes=SIZE).pull("toy").file_bytes == SIZE


def test_the_defaults() -> None:
    assert (StoreOptions().model_bytes, StoreOptions().total_bytes) == (10_000_000, 50_000_000)


def budget(files: float) -> int:
    """In bytes, for so many of the small models with their refs."""
    return round(files * (SIZE + 1500))


def test_the_one_used_longest_ago_is_dropped(site: Site, cache: Path) -> None:
    publish(site, "1", "2", "3", "4")
    mine = store(site, total_bytes=budget(3))
    for wanted in ("toy@1", "toy@2", "toy@3"):
        mine.pull(wanted)
    assert len(labels(mine)) == 3
    mine.load("toy@1")
    gc.collect()
    mine.pull("toy@4")
    assert labels(mine) == ["toy 4", "toy 3", "toy 1"]
    assert taken_bytes() <= budget(3)
    assert len(list((cache / "files").iterdir())) == 3


def test_one_in_use_is_not_dropped(site: Site) -> None:
    publish(site, "1", "2", "3")
    mine = store(site, total_bytes=budget(2))
    engine = mine.load("toy@1")
    mine.pull("toy@2")
    mine.pull("toy@3")
    assert labels(mine) == ["toy 3", "toy 1"]
    second = mine.load("toy@3")
    before = labels(mine)
    with pytest.raises(BudgetError, match="models that are in use; remove one"):
        mine.load("toy@2")
    assert labels(mine) == before
    assert version(engine) + version(second) == "13"
    del engine, second
    gc.collect()
    assert version(mine.load("toy@2")) == "2"


USING = """
import sys, kbengine
engine = kbengine.load("toy@1")
print("ready", flush=True)
sys.stdin.readline()
assert engine.suggest("see you t")
"""


def using() -> subprocess.Popen[bytes]:
    """Another process that uses toy 1 until it gets a line."""
    child = subprocess.Popen(
        [sys.executable, "-c", USING], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


def test_one_in_use_by_another_process_is_not_dropped(site: Site) -> None:
    publish(site, "1", "2", "3")
    mine = store(site, total_bytes=budget(2))
    mine.pull("toy@1")
    child = using()
    mine.pull("toy@2")
    mine.pull("toy@3")
    assert labels(mine) == ["toy 3", "toy 1"]
    with pytest.raises(StoreError, match="toy 1 is in use; end the programs"):
        mine.remove("toy@1")
    assert [m.in_use for m in mine.models()] == [False, True]
    child.communicate(b"\n", timeout=60)
    assert child.returncode == 0
    mine.remove("toy@1")
    assert labels(mine) == ["toy 3"]


def test_one_that_a_killed_process_used_is_free(site: Site, cache: Path) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy@1")
    child = using()
    child.kill()
    child.communicate()
    assert not mine.models()[0].in_use
    mine.remove("toy")
    assert everything(cache) == {}
    assert list((cache / "uses").iterdir()) == []


def test_a_full_cache_may_refuse_instead(site: Site) -> None:
    publish(site, "1", "2", "3")
    mine = store(site, total_bytes=budget(2), when_full="refuse")
    mine.pull("toy@1")
    mine.pull("toy@2")
    asked = len(site.requests)
    with pytest.raises(BudgetError, match=r"not to be dropped; remove one.*--total-mb"):
        mine.pull("toy@3")
    assert site.asked(file_of("3")) == []
    assert len(site.requests) == asked + 1, "the index"
    assert labels(mine) == ["toy 2", "toy 1"]
    mine.remove("toy@1")
    mine.pull("toy@3")


def test_a_download_that_fails_drops_nothing(site: Site) -> None:
    publish(site, "1", "2", "3")
    mine = store(site, total_bytes=budget(2))
    mine.pull("toy@1")
    mine.pull("toy@2")
    site.put(file_of("3"), spoilt(model("3")))
    with pytest.raises(DownloadError, match="another sha256"):
        mine.pull("toy@3")
    assert labels(mine) == ["toy 2", "toy 1"]


def test_an_update_needs_no_room_for_both(site: Site) -> None:
    publish(site, "1", name="alto")
    mine = store(site, total_bytes=budget(2))
    mine.pull("alto")
    publish(site, "1")
    mine.pull("toy")
    publish(site, "1", "2")
    mine.update(["toy"])
    assert labels(mine) == ["alto 1", "toy 2"]


def test_one_that_stays_under_another_name_counts(site: Site) -> None:
    publish(site, "1")
    mine = store(site, total_bytes=budget(1.5), when_full="refuse")
    mine.pull("toy")
    mine.pull("toy@1")
    publish(site, "1", "2")
    (found,) = mine.update()
    assert isinstance(found.error, BudgetError)
    assert taken_bytes() <= budget(1.5)
    (found,) = store(site, total_bytes=budget(1.5)).update()
    assert found.after.version == "2"
    assert taken_bytes() <= budget(1.5)


def test_what_is_here_may_be_larger_than_what_may_come(site: Site) -> None:
    publish(site, "1")
    store(site).pull(site.url(file_of()), sha256(model()))
    assert version(store(site, model_bytes=1000).load("toy")) == "1"


def test_one_that_is_too_large_for_all_drops_nothing(site: Site) -> None:
    publish(site, "1", "2")
    mine = store(site, total_bytes=budget(1) // 2)
    store(site).pull("toy@1")
    with pytest.raises(BudgetError):
        mine.pull("toy@2")
    assert labels(mine) == ["toy 1"]


def test_restored_files_count_and_go_first(site: Site, cache: Path) -> None:
    data = small_shipped()
    site.put("small", data)
    index = written([entry(data, "1", "small", name="small")])
    site.put("index.json", index)
    whole = store(site)
    engine = whole.load("small")
    assert engine.bundle.file_bytes > len(data), "opened from the restored file"
    restored = cache.parent / "restored"
    taken = taken_bytes()
    assert taken > 2 * len(data)
    publish(site, "1")
    store(site, total_bytes=taken).pull("toy")
    assert labels(whole) == ["small 1", "toy 1"]
    assert list(restored.glob("*.bundle")) == []
    tight = store(site, total_bytes=taken_bytes() + 1000)
    assert tight.load("small").bundle.file_bytes == len(data), "restored in memory: no room"
    assert taken_bytes() <= taken


# Each user's own


@posix
def test_no_one_else_can_look_in(site: Site, cache: Path) -> None:
    publish(site, "1")
    old = os.umask(0)
    try:
        store(site).pull("toy")
        cache.chmod(0o755)
        store(site).load("toy")
    finally:
        os.umask(old)
    places = (cache.parent, *cache.parent.rglob("*"))
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in places}
    for path, mode in modes.items():
        if path.is_dir():
            assert mode == 0o700, path
    for path in (*(cache / "files").iterdir(), *(cache / "refs").iterdir()):
        assert modes[path] == 0o600


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="gives a folder away")
def test_another_s_folder_is_not_used(site: Site, cache: Path) -> None:
    publish(site, "1", name="en")
    store(site).pull("en")
    os.chown(cache, 54321, 54321)
    assert version(kbengine.load("en")) != "1"
    with pytest.raises(StoreError, match="belongs to someone else; set KBENGINE_CACHE"):
        store(site).pull("en")
    for look in (ModelStore().models, ModelStore().verify, ModelStore().update):
        with pytest.raises(StoreError, match="belongs to someone else; set KBENGINE_CACHE"):
            look()


@posix
def test_a_folder_that_is_a_link_is_not_used(site: Site, cache: Path, tmp_path: Path) -> None:
    publish(site, "1")
    (tmp_path / "elsewhere").mkdir()
    cache.parent.mkdir()
    cache.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link or file; set KBENGINE_CACHE"):
        store(site).pull("toy")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_without_a_place_for_it_a_model_is_not_fetched(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(site, "1")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("KBENGINE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StoreError, match=r"models cannot be kept in .*set KBENGINE_CACHE"):
        store(site).pull("toy")
    assert version(kbengine.load("en-nano"))


AS_SOMEBODY = """
import os, sys
import kbengine, filelock, platformdirs, urllib3
kbengine.load("toy")  # loads what somebody else may not be able to find
uid = 54321 if os.geteuid() == 0 else os.geteuid()
for place, folders, files in os.walk(os.environ["KBENGINE_CACHE"], topdown=False):
    for name in files:
        os.chown(os.path.join(place, name), uid, -1)
        os.chmod(os.path.join(place, name), 0o400)
    os.chown(place, uid, -1)
    os.chmod(place, 0o500)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
(model,) = kbengine.ModelStore().models()
assert model.in_use  # as far as one can tell
(model, is_whole), = kbengine.ModelStore().verify()
assert is_whole
engine = kbengine.load("toy")
assert engine.suggest("see you t")
try:
    kbengine.ModelStore().clear()
except kbengine.StoreError as error:
    print(error)
"""


@posix
def test_a_cache_for_reading_alone_is_read(site: Site, cache: Path) -> None:
    publish(site, "1")
    store(site).pull("toy")
    (cache / "uses" / f"{sha256(model())}.left.lock").write_bytes(b"")
    cache.parent.parent.chmod(0o755)
    for parent in cache.parent.parents:
        if parent.name.startswith("pytest-"):
            parent.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", AS_SOMEBODY], cwd=ROOT, capture_output=True, text=True, check=False
    )
    for path in (cache.parent, *cache.parent.rglob("*")):
        path.chmod(0o700)
    assert done.returncode == 0, done.stderr
    assert "set KBENGINE_CACHE to another folder" in done.stdout


# Once


def test_processes_that_pull_the_same_do_it_once(site: Site) -> None:
    index = publish(site, "1")
    site.put(file_of(), slowly(model(), 0.5))
    program = """
import sys, kbengine
print("ready", flush=True)
sys.stdin.readline()
seen = []
kbengine.load("toy", progress=lambda done, total: seen.append((done, total)))
print(seen[-1])
"""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env={**os.environ, "KBENGINE_INDEX": index},
        )
        for _ in range(3)
    ]  # fmt: skip
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
    told = []
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
    for child in children:
        told.append(child.communicate(timeout=60)[0])
        assert child.returncode == 0
    assert site.asked(file_of()) == [0]
    assert any(f"({SIZE}, {SIZE})".encode() in line for line in told)


def test_threads_that_pull_the_same_do_it_once(site: Site) -> None:
    publish(site, "1")
    site.put(file_of(), slowly(model(), 0.2))
    found: list[str] = []
    mine = store(site)
    threads = [
        threading.Thread(target=lambda: found.append(version(mine.load("toy")))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["1"] * 5
    assert site.asked(file_of()) == [0]


# Whole or not at all


def test_what_came_before_a_kill_is_gone_on_with(site: Site) -> None:
    index = publish(site, "1")
    site.put(file_of(), in_turn(stalling(model(), 20_000), webserver.whole(model())))
    child = subprocess.Popen(
        [sys.executable, "-c", "import kbengine; kbengine.load('toy')"], cwd=ROOT,
        env={**os.environ, "KBENGINE_INDEX": index},
    )  # fmt: skip
    part = Path(os.environ["KBENGINE_CACHE"]) / "models" / "parts" / f"{sha256(model())}.part"
    waited = threading.Event()
    while not (part.exists() and part.stat().st_size):
        assert child.poll() is None
        waited.wait(0.02)
    child.send_signal(signal.SIGTERM)
    child.wait()
    here = part.stat().st_size
    assert version(store(site).load("toy")) == "1"
    assert site.asked(file_of()) == [0, here]


KILLED = """
import os, random, signal, sys, time
import kbengine, filelock, platformdirs, urllib3
from kbengine.fetch import sha256_of
from pathlib import Path
index, count = sys.argv[1], int(sys.argv[2])
moments = random.Random(4)
store = kbengine.ModelStore(kbengine.StoreOptions(index=index, total_bytes=%d))
files = Path(os.environ["KBENGINE_CACHE"]) / "models" / "files"
store.pull("toy@1")
store.load("toy@1")  # whatever is loaded lazily is loaded before
for turn in range(count):
    child = os.fork()
    if not child:
        while True:
            for version in ("1", "2", "3"):
                store.pull(f"toy@{version}")
            store.pull("toy")
            store.remove("toy")
    time.sleep(moments.uniform(0.002, 0.12))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for path in files.iterdir():
        assert path.stem == sha256_of(path), "half written"
    for model, whole in store.verify():
        assert whole, model
    if turn %% 10 == 9:
        assert store.load(f"toy@{1 + turn %% 3}").suggest("see you t")
"""


@pytest.mark.soak
@forks
def test_a_kill_leaves_nothing_half_written(site: Site, cache: Path) -> None:
    index = publish(site, "1", "2", "3")
    count = times(50, 1000)
    done = subprocess.run(
        [sys.executable, "-c", KILLED % budget(2.5), index, str(count)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(site.requests) > count / 2, "it was at work when it was killed"
    mine = store(site)
    assert version(mine.load("toy@3")) == "3"
    mine.clear()
    assert everything(cache) == {}
    assert list((cache / "parts").iterdir()) == []


# Kills a process at the first thing that it does to files, then at the second, and so on.
KILLED_IN_TURN = """
import itertools, os, shutil, signal, sys
import kbengine, filelock, platformdirs, urllib3
cache, step = os.environ["KBENGINE_CACHE"], int(sys.argv[2])
store = kbengine.ModelStore(kbengine.StoreOptions(index=sys.argv[1]))
shutil.copytree(cache, cache + ".old")
store.update()
versions = []
for last in itertools.count(1, step):
    shutil.rmtree(cache)
    shutil.copytree(cache + ".old", cache)
    child = os.fork()
    if not child:
        turns = itertools.count(1)
        def hook(event, args):
            if event.startswith(("open", "os.")) and next(turns) == last:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        (found,) = store.update()
        os._exit(0 if found.error is None else 1)
    _, status = os.waitpid(child, 0)
    assert all(whole for _, whole in store.verify())
    engine = kbengine.load("toy")
    assert engine.suggest("see you t")
    versions.append(int(engine.bundle.manifest["version"]))
    if not os.WIFSIGNALED(status):
        assert status == 0
        break
print(*versions)
"""


@forks
@pytest.mark.soak
def test_a_kill_before_any_access_leaves_the_old_or_the_new(site: Site) -> None:
    """Of the whole way of an update: download, placing, loading, answering, dropping the old."""
    publish(site, "1")
    store(site).pull("toy")
    newer = publish(site, "1", "2")
    done = subprocess.run(
        [sys.executable, "-c", KILLED_IN_TURN, newer, str(times(4, 1))],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    versions = list(map(int, done.stdout.split()))
    assert versions == sorted(versions), "first the old one, then the new one"
    assert versions.count(1) > times(10, 40)
    assert versions[-1] == 2


def test_a_damaged_file_is_fetched_again(site: Site, cache: Path) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    (path,) = (cache / "files").iterdir()
    for data in (b"", model()[:-1], model("2"), b"something else"):
        path.write_bytes(data)
        assert [whole for _, whole in mine.verify()] == [False]
        assert mine.path("toy") is None
        assert version(kbengine.load("toy")) == "1"
        assert [whole for _, whole in mine.verify()] == [True]
    path.unlink()
    assert mine.pull("toy").path == path
    assert mine.path("toy") == path


def test_a_damaged_file_is_not_believed_offline(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(site, "1")
    store(site).pull("toy")
    (path,) = (cache / "files").iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    monkeypatch.setenv("KBENGINE_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"is damaged, and .*; unset KBENGINE_OFFLINE"):
        kbengine.load("toy")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000])
def test_a_broken_ref_is_as_if_it_were_not_there(site: Site, cache: Path, data: bytes) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    (ref,) = (cache / "refs").iterdir()
    ref.write_bytes(data)
    assert mine.models() == []
    assert version(mine.load("toy")) == "1"
    assert labels(mine) == ["toy 1"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "../x"), ("sha256", "../../x"), ("version", 1), ("bytes", True), ("urls", "x"),
        ("checked", "now"), ("checked", 1e999), ("index", 5), ("format", 2), ("name", "other"),
    ],
)  # fmt: skip
def test_a_forged_ref_is_as_if_it_were_not_there(
    site: Site, cache: Path, key: str, value: Any
) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    (ref,) = (cache / "refs").iterdir()
    ref.write_text(json.dumps({**json.loads(ref.read_bytes()), key: value}))
    assert mine.models() == []
    assert version(mine.load("toy")) == "1"


# What goes wrong leaves the cache as it was

WRONG: dict[str, Answer] = {
    "404": status(404),
    "page": page,
    "wrong hash": webserver.whole(spoilt(model("2"))),
    "truncated": webserver.without_ranges(broken_off(model("2"), 20_000)),
    "truncated at the end": webserver.unsized(model("2")[:-1]),
    "too long": webserver.unsized(model("2") + b"x"),
    "circles": moved(f"/{file_of('2')}"),
    "stalls": stalling(model("2"), 20_000),
    "says nothing": webserver.silent,
    "endless": endless,
    "elsewhere": moved("file:///etc/passwd"),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
def test_a_server_that_goes_wrong(site: Site, cache: Path, answer: Answer) -> None:
    publish(site, "1")
    mine = ModelStore(StoreOptions(index=site.url("index.json"), fetch=QUICK))
    mine.pull("toy")
    before = everything(cache)
    publish(site, "1", "2")
    site.put(file_of("2"), answer)
    with pytest.raises(DownloadError) as raised:
        mine.load("toy@2")
    assert str(raised.value).isprintable()
    assert everything(cache) == before
    (found,) = mine.update()
    assert isinstance(found.error, DownloadError)
    assert version(kbengine.load("toy")) == "1"
    site.put(file_of("2"), model("2"))
    assert version(mine.load("toy@2")) == "2", "and it comes once the server is mended"


@pytest.mark.parametrize("answer", [status(404), page, endless, moved("/index.json"), status(500)])
def test_an_index_that_goes_wrong(site: Site, cache: Path, answer: Answer) -> None:
    publish(site, "1")
    mine = ModelStore(StoreOptions(index=site.url("index.json"), fetch=QUICK))
    mine.pull("toy")
    before = everything(cache)
    site.put("index.json", answer)
    with pytest.raises(DownloadError, match=r"index\.json"):
        mine.load("other")
    assert everything(cache) == before


def hostile(**changes: Any) -> Callable[[Site], bytes]:
    def index(site: Site) -> bytes:
        row = json.loads(written([entry(model("2"), "2", file_of("2"))]))["models"][0]
        return json.dumps({"format": 1, "models": [row | changes]}).encode()

    return index


@pytest.mark.parametrize(
    "changes",
    [
        {"urls": ["../../../etc/passwd"]}, {"urls": ["/etc/passwd"]}, {"urls": ["file:///etc/passwd"]},
        {"urls": ["%2e%2e/x"]}, {"urls": ["ftp://127.0.0.1/x"]}, {"bytes": 10**15}, {"bytes": -1},
        {"name": "../../toy"}, {"version": "../2"}, {"sha256": "../" * 21 + "x"}, {"urls": []},
    ],
)  # fmt: skip
def test_a_hostile_index(site: Site, cache: Path, changes: dict[str, Any]) -> None:
    publish(site, "1", "2")
    mine = store(site)
    mine.pull("toy@1")
    before, around = everything(cache), everything(cache.parent.parent)
    site.put("index.json", hostile(**changes)(site))
    asked = len(site.requests)
    with pytest.raises(DownloadError, match="has a wrong model, number 1"):
        mine.load("toy@2")
    assert len(site.requests) == asked + 1
    assert everything(cache) == before
    assert everything(cache.parent.parent) == around


def test_an_index_that_lies_about_sizes(site: Site, cache: Path) -> None:
    """Whether it says too little or too much."""
    for size in (1, len(model("2")) - 1, len(model("2")) + 1):
        publish(site, "1", "2")
        told = entry(model("2"), "2", file_of("2"))._replace(file_bytes=size)
        site.put("index.json", written([told]))
        with pytest.raises(DownloadError, match=f"bytes instead of {size}"):
            store(site).load("toy")
    assert everything(cache) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on files stands for a full disk")
@pytest.mark.parametrize("limit", [100, 20_000])
def test_a_full_disk(site: Site, cache: Path, limit: int) -> None:
    """Where a ref does not fit, and where the file does not."""
    index = publish(site, "1")
    store(site).pull("toy")
    publish(site, "1", "2")
    before = everything(cache)
    program = """
import resource, sys, kbengine
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    kbengine.ModelStore(kbengine.StoreOptions(index=sys.argv[1])).pull("toy@2")
except kbengine.StoreError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, index, str(limit)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "the disk is full" in done.stdout, done
    assert everything(cache) == before
    assert list((cache / "parts").iterdir()) == []
    assert version(kbengine.load("toy")) == "1"


def test_parts_of_what_broke_off_count(site: Site, cache: Path) -> None:
    """For the budget, of which they are the first to go."""
    publish(site, "1")
    total = budget(4)
    mine = ModelStore(StoreOptions(model_bytes=50_000, total_bytes=total, fetch=QUICK))
    for number in range(12):
        data = model("2")[:-1] + bytes([number])
        url = site.put(f"{number}", webserver.without_ranges(broken_off(data, 30_000)))
        with pytest.raises(DownloadError):
            mine.pull(url, sha256(data))
        assert taken_bytes() <= total
    assert len(list((cache / "parts").iterdir())) > 1
    with pytest.raises(BudgetError):
        ModelStore(StoreOptions(model_bytes=99_999)).pull(site.put("x", endless), "1" * 64)
    assert not (cache / "parts" / f"{'1' * 64}.part").exists()


def test_what_cannot_be_read_for_a_moment_does_not_go(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what another version of this program keeps."""
    publish(site, "1", "2", "3")
    mine = store(site)
    mine.pull("toy@1")
    newer = json.loads((cache / "refs" / "toy@1.json").read_bytes()) | {"format": 2, "more": []}
    (cache / "refs" / "toy@1.json").write_text(json.dumps(newer))
    mine.pull("toy@2")
    read, unreadable = Path.read_bytes, ["toy@2.json"]

    def read_bytes(path: Path) -> bytes:
        if path.name in unreadable:
            raise OSError(24, "Too many open files", str(path))
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", read_bytes)
        mine.pull("toy@3")
    files = {path.stem for path in (cache / "files").iterdir()}
    assert files == {sha256(model(v)) for v in "123"}
    assert version(kbengine.load("toy@2")) == "2"


def test_what_cannot_be_taken_away_does_not_hold_the_new_one_up(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another program looks into the old file, on some systems."""
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    publish(site, "1", "2", "3")
    site.put("index.json", written([entry(model("2"), "2", file_of("2"))]))
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.stem == sha256(model()):
            raise PermissionError(13, "in use", str(path))
        unlink(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        (found,) = mine.update()
    assert (found.after.version, found.error) == ("2", None)
    assert version(kbengine.load("toy")) == "2"
    assert len(list((cache / "files").iterdir())) == 2
    publish(site, "3")
    mine.pull("toy@3")
    left = {path.stem for path in (cache / "files").iterdir()}
    assert left == {sha256(model("2")), sha256(model("3"))}


def test_a_damaged_model_comes_from_where_the_index_has_it_now(site: Site, cache: Path) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    (cache / "files" / f"{sha256(model())}.bundle").write_bytes(b"damaged")
    site.put(file_of(), status(404))
    url = site.put("moved", model())
    site.put("index.json", written([entry(model(), "1", url)]))
    (found,) = mine.update()
    assert (found.error, found.after.urls) == (None, (url,))
    for mend in (mine.load, mine.pull):
        site.put("index.json", written([entry(model(), "1", site.url("gone"))]))
        mine.update()
        (cache / "files" / f"{sha256(model())}.bundle").write_bytes(b"damaged")
        with pytest.raises(DownloadError, match="toy 1 in the cache is damaged, and"):
            mend("toy")
        site.put("index.json", written([entry(model(), "1", url)]))
        mend("toy")
        assert [whole for _, whole in mine.verify()] == [True]


def test_a_model_that_this_program_does_not_run_is_told_of(site: Site, cache: Path) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    data = shutil_archive()
    (cache / "files" / f"{sha256(data)}.bundle").write_bytes(data)
    ref = json.loads((cache / "refs" / "toy@.json").read_bytes())
    (cache / "refs" / "toy@.json").write_text(json.dumps(ref | {"sha256": sha256(data)}))
    with pytest.raises(
        kbengine.BundleError, match=r"does not run here: .*`kbengine models remove`"
    ):
        mine.load("toy")
    assert not mine.models()[0].in_use


# Taking away


def test_remove_takes_all_versions_or_one(site: Site, cache: Path) -> None:
    publish(site, "1", "2")
    mine = store(site)
    mine.pull("toy@1")
    mine.pull("toy")
    assert [m.label for m in mine.remove("toy@1")] == ["toy 1"]
    assert labels(mine) == ["toy 2"]
    mine.pull("toy@1")
    assert [m.label for m in mine.remove("toy")] == ["toy 2", "toy 1"]
    assert everything(cache) == {}
    for source in ("toy", "toy@1", site.url("x")):
        with pytest.raises(StoreError, match="not in the cache"):
            mine.remove(source)


def test_a_file_that_two_names_stand_for_stays_for_the_other(site: Site) -> None:
    publish(site, "1")
    mine = store(site)
    mine.pull("toy@1")
    mine.pull("toy")
    mine.remove("toy@1")
    assert labels(mine) == []
    mine.pull("toy@1")
    mine.pull(site.url(file_of()), sha256(model()))
    mine.remove("toy@1")
    assert version(kbengine.load(site.url(file_of()))) == "1"
    mine.pull("toy")
    assert [m.name for m in mine.remove(site.url(file_of()))] == [""]
    assert labels(mine) == ["toy 1"]
    with pytest.raises(StoreError, match="not in the cache"):
        mine.remove(site.url(file_of()))


def test_clear_takes_everything_and_who_has_loaded_goes_on(site: Site, cache: Path) -> None:
    publish(site, "1")
    mine = store(site)
    engine = mine.load("toy")
    shipped = cache.parent.parent / "small.shipped"
    shipped.write_bytes(small_shipped())
    kbengine.load(shipped)
    (cache / "parts" / f"{'0' * 64}.part").write_bytes(b"half")
    (cache / "refs" / "toy@.json.0.part").write_bytes(b"half")
    taken = taken_bytes()
    assert mine.clear() == taken
    assert taken_bytes() == 0
    assert version(engine) == "1"
    assert version(mine.load("toy")) == "1"


def test_clear_leaves_what_is_not_ours(site: Site, cache: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "precious.bundle").write_bytes(b"precious")
    cache.parent.mkdir()
    (cache.parent / "restored").symlink_to(own)
    (cache.parent / "notes.txt").write_bytes(bytes(60_000_000))
    (own / "large").write_bytes(bytes(60_000_000))
    publish(site, "1")
    mine = store(site)
    mine.pull("toy")
    shipped = tmp_path / "small.shipped"
    shipped.write_bytes(small_shipped())
    kbengine.load(shipped)
    assert mine.clear() > 0
    assert {path.name for path in own.iterdir()} == {"precious.bundle", "large"}
    assert (cache.parent / "notes.txt").exists()


CLEARING = """
import random, sys, time, kbengine
draw = random.Random(int(sys.argv[1]))
store = kbengine.ModelStore(kbengine.StoreOptions(index=sys.argv[2]))
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    act = draw.choice([store.load, store.load, store.pull, store.models, store.verify, store.clear])
    try:
        act(draw.choice(["toy@1", "toy@2"])) if act in (store.load, store.pull) else act()
    except kbengine.DownloadError as error:
        sys.exit(f"{error}")  # nothing is wrong with the server
    except kbengine.StoreError as error:
        if "in use" not in str(error):
            raise
"""


@pytest.mark.soak
def test_processes_that_clear_do_not_disturb_others(site: Site, cache: Path) -> None:
    index = publish(site, "1", "2")
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CLEARING, str(seed), index, str(times(3, 60))],
            cwd=ROOT, stderr=subprocess.PIPE,
        )
        for seed in range(4)
    ]  # fmt: skip
    for child in children:
        _, told = child.communicate(timeout=200)
        assert child.returncode == 0, told.decode()
    mine = store(site)
    mine.clear()
    assert [path for path in cache.rglob("*") if path.is_file() and path.name != "lock"] == []
    assert version(mine.load("toy@1")) == "1"


def test_clear_of_nothing() -> None:
    assert ModelStore().clear() == 0


def test_an_engine_lets_go_when_it_goes(site: Site, cache: Path) -> None:
    publish(site, "1")
    engine = store(site).load("toy")
    assert store(site).models()[0].in_use
    assert engine.suggest("see you t")
    del engine
    gc.collect()
    assert not store(site).models()[0].in_use
    assert list((cache / "uses").iterdir()) == []


@forks
def test_a_forked_child_leaves_the_engine_to_its_parent(site: Site) -> None:
    publish(site, "1")
    store(site).pull("toy")
    program = """
import os, sys, kbengine
engine = kbengine.load("toy")
child = os.fork()
if not child:
    assert engine.suggest("see you t")
    sys.exit()  # with all that is done at the end of a program
_, status = os.waitpid(child, 0)
print(status, kbengine.ModelStore().models()[0].in_use)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "0 True\n", done.stderr
    assert not store(site).models()[0].in_use


@pytest.mark.soak
@forks
def test_any_order_of_things_leaves_what_is_whole(site: Site, cache: Path) -> None:
    """Whatever is done to a store, it holds the budget, and what it has is whole."""
    draw = random.Random(5)
    versions = ["1", "2", "3", "4"]
    publish(site, *versions)
    total = budget(2.5)
    mine = store(site, total_bytes=total)
    engines: list[kbengine.Engine] = []
    for _ in range(times(60, 2000)):
        wanted = draw.choice(["toy", *(f"toy@{v}" for v in versions)])
        act = draw.choice(["load", "load", "pull", "update", "remove", "forget", "clear", "damage"])
        try:
            if act == "load":
                engines.append(mine.load(wanted))
            elif act == "pull":
                mine.pull(wanted)
            elif act == "update":
                mine.update()
            elif act == "remove":
                mine.remove(wanted)
            elif act == "forget" and engines:
                engines.pop(draw.randrange(len(engines)))
                gc.collect()
            elif act == "clear" and draw.random() < 0.2:
                mine.clear()
            elif act == "damage" and cache.exists():
                files = sorted((cache / "files").iterdir())
                if files and draw.random() < 0.3:
                    draw.choice(files).write_bytes(b"damaged")
        except StoreError:
            pass
        assert all(engine.suggest("see you t") for engine in engines[-1:])
        assert not cache.exists() or taken_bytes() <= total
    for wanted in versions:
        engines.clear()
        gc.collect()
        assert version(mine.load(f"toy@{wanted}")) == wanted
