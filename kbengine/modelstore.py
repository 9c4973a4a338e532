"""Models by name or URL: from the cache of this user, else from where they are published.

What is asked for is looked for in the cache first, then in the package, and only then on the
network or a file share: in an index (`kbengine.modelindex`), or at its URL. Nothing is fetched
whose sha256 is not known before. What came is checked, loaded and asked for a suggestion before a
name stands for it, and until then whatever the name stood for stays. A name that stands for
something is not looked up again unless `update` is called, or `StoreOptions.update_days` says so.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from kbengine import cachefolder, published
from kbengine.cachefolder import told
from kbengine.engine import Engine, open_engine
from kbengine.errors import (
    BudgetError,
    BundleError,
    DownloadError,
    KbengineError,
    ModelError,
    StoreError,
)
from kbengine.fetch import (
    Progress,
    fetch_model,
    sha256_of,
    too_large,
)  # fmt: skip
from kbengine.locks import Lease
from kbengine.modelindex import (
    Entry,
    newness,
    pick,
)  # fmt: skip
from kbengine.modelshelf import Ref, Shelf
from kbengine.packaged import packaged
from kbengine.storeoptions import StoreOptions
from kbengine.wanted import Wanted

_DAY_S = 86_400.0
_FETCH_WAIT_S = 600.0  # for another process that fetches the same model
_HURRY_S = 4.0  # for an index, and a file, where a model that is here waits to be loaded
_log = logging.getLogger("kbengine.modelstore")


class StoredModel(NamedTuple):
    """A model in the cache. name, version: "" for a file by its URL; file_bytes, licence: as its
    index says; used_s: when it was used last, in seconds of the clock; pinned: whether it was
    asked for by its version."""

    name: str
    version: str
    label: str
    language: str
    licence: str
    sha256: str
    file_bytes: int
    urls: tuple[str, ...]
    index_place: str | None
    pinned: bool
    path: Path
    used_s: float
    in_use: bool


class Update(NamedTuple):
    """What became of a model: after is before where nothing newer is there, or where it could not
    be had, for the reason of the error."""

    before: StoredModel
    after: StoredModel
    error: KbengineError | None = None


class ModelStore:
    """The models of this user on this machine, and where more can be had. For any thread.

    All methods raise StoreError where the cache folder cannot be used, DownloadError where
    something cannot be had or is not what it should be, BudgetError where there is no room, and
    ValueError for what is no name, URL or sha256; each in one sentence, the cache unharmed.
    """

    def __init__(self, options: StoreOptions | None = None) -> None:
        self.options = options or StoreOptions()
        self._shelf = Shelf(self.options.total_bytes, self.options.when_full)

    def load(
        self, source: str, sha256: str | None = None, progress: Progress | None = None
    ) -> Engine:
        """The engine of a model, by its name, `name@version` or URL; fetched where it is not here.

        sha256: that the file must have; needed for a URL that is not in the cache. progress: is
        called with the bytes that are here and of how many while it comes; what it raises ends
        that, and the next time goes on from there. The file is held as long as the engine lives.

        Raises also BundleError or ModelError for one of the package's own.
        """
        wanted = Wanted.parse(source, sha256)
        held = self._shelf.hold(wanted.choose)
        if held is None and (path := packaged(wanted)):
            return open_engine(path, self.options.total_bytes)
        if held is not None and wanted.is_any and self._is_due(held[0]):
            _let_go(held[1])
            self._refresh(held[0], progress)
            held = self._shelf.hold(wanted.choose)
        lease: Lease | None
        if held is None:
            _, engine, lease = self._fetch(published.wish(wanted, self.options), None, progress)
        else:
            ref, lease = held
            opened = self._opened(ref, lease)
            own = wanted.own(ref)
            if opened is not None:
                engine = opened
                if own is not ref:
                    with contextlib.suppress(StoreError):  # of a folder for reading alone
                        self._shelf.add(own)
            else:
                _, engine, lease = self._mended(own, progress)
        if lease is not None:
            weakref.finalize(engine, lease.release)
        return engine

    def path(self, source: str, sha256: str | None = None) -> Path | None:
        """Where a model lies whole, in the cache or in the package; None where it is not here.
        Nothing is fetched; to ask counts as to use it."""
        wanted = Wanted.parse(source, sha256)
        ref = wanted.choose(self._shelf.refs())
        if ref is None:
            return packaged(wanted)
        if not self._is_whole(ref):
            return None
        path = self._shelf.file(ref.entry.sha256)
        cachefolder.touch(path)
        return path

    def pull(
        self, source: str, sha256: str | None = None, progress: Progress | None = None
    ) -> StoredModel:
        """Fetch a model that is not in the cache, as `load` would; also one that the package
        has."""
        wanted = Wanted.parse(source, sha256)
        refs = self._shelf.refs(strict=True)
        if wanted.name is not None and wanted.version is None:
            refs = [ref for ref in refs if not ref.pinned]  # else it would never be updated
        ref = wanted.choose(refs)
        if ref is not None and self._is_whole(ref):
            own = wanted.own(ref)
            if own is ref or self._shelf.add(own):
                return self._stored(own)
        if ref is None:
            new, _, lease = self._fetch(published.wish(wanted, self.options), None, progress)
        else:
            new, _, lease = self._mended(wanted.own(ref), progress)
        lease.release()
        return self._stored(new)

    def models(self) -> list[StoredModel]:
        """What is in the cache."""
        refs = self._shelf.refs(strict=True)
        used = self._shelf.in_use() if refs else set()
        return [self._stored(ref, used) for ref in refs]

    def available(self) -> list[Entry]:
        """What the index has."""
        return published.look(self.options.index_place, self.options.fetch)

    def update(self, names: Sequence[str] = (), progress: Progress | None = None) -> list[Update]:
        """Ask the indexes for newer versions of all models in the cache, or of these, and fetch
        them; those that were asked for by version or URL stay as they are.

        What goes wrong with one stands in its `Update`.
        """
        names = [names] if isinstance(names, str) else names
        every = self._shelf.refs(strict=True)
        refs = [ref for ref in every if ref.entry.name and not ref.pinned]
        for name in names:
            if name not in {ref.entry.name for ref in refs}:
                label = self._known(name)[0].entry.label
                raise StoreError(
                    f"{label} was asked for as such, and stays; `kbengine models pull` a name for "
                    "its newest version"
                )
        look = published.once(self.options.fetch)
        updates = []
        for ref in refs:
            if names and ref.entry.name not in names:
                continue
            if any(ref.file == other.file for other in self._shelf.refs()):  # not dropped for one
                updates.append(self._update(ref, look, progress))
        return updates

    def verify(self, sources: Sequence[str] = ()) -> list[tuple[StoredModel, bool]]:
        """All models of the cache, or these, and whether each is there and has its sha256."""
        sources = [sources] if isinstance(sources, str) else sources
        refs = self._shelf.refs(strict=True)
        if sources:
            refs = [ref for source in sources for ref in self._known(source)]
        return [(self._stored(ref), self._is_whole(ref)) for ref in refs]

    def remove(self, source: str) -> list[StoredModel]:
        """Take a model out of the cache: of a name all its versions. Raises StoreError where it
        is not there, or in use."""
        refs = self._known(source)
        found = [self._stored(ref) for ref in refs]
        self._shelf.remove(refs)
        return found

    def clear(self) -> int:
        """Empty the cache folder, of restored files too; returns how many bytes that freed. Who
        uses a model has it in memory, and goes on."""
        return self._shelf.clear()

    # Inside

    def _known(self, source: str) -> list[Ref]:
        """All refs of what is in the cache. Raises StoreError where it is not."""
        wanted = Wanted.parse(source, None)
        refs = [
            ref for ref in self._shelf.refs(strict=True)
            if wanted.choose([ref]) and (wanted.name or not ref.entry.name)
        ]  # fmt: skip
        if not refs:
            mend = "see `kbengine models list`"
            if packaged(wanted):
                mend = "it is the package's own, which `kbengine models pull` puts another before"
            raise StoreError(f"{source[:80]!r} is not in the cache; {mend}")
        return refs

    def _stored(self, ref: Ref, used: Collection[str] | None = None) -> StoredModel:
        entry, path = ref.entry, self._shelf.file(ref.entry.sha256)
        used = self._shelf.in_use() if used is None else used
        return StoredModel(
            entry.name, entry.version, entry.label, entry.language, entry.licence, entry.sha256,
            entry.file_bytes or 0, entry.urls, ref.index_place, ref.pinned, path,
            cachefolder.used_s(path), entry.sha256 in used,
        )  # fmt: skip

    def _is_whole(self, ref: Ref) -> bool:
        path = self._shelf.file(ref.entry.sha256)
        try:
            return sha256_of(path) == ref.entry.sha256
        except OSError:
            return False

    def _opened(self, ref: Ref, lease: Lease | None) -> Engine | None:
        """The engine of a file that is held; None where that is not there, or damaged. Where there
        is no engine, it is let go."""
        engine, file = None, self._shelf.file(ref.entry.sha256)
        try:
            if self._is_whole(ref):
                engine = open_engine(file, self.options.total_bytes)
            else:
                _log.warning("%s in the cache is damaged; it is fetched again", ref.entry.label)
        except (BundleError, ModelError) as error:
            if file.exists():  # else somebody has just taken it away
                raise type(error)(
                    f"{ref.entry.label} in the cache is whole and does not run here: {error}; or "
                    "`kbengine models remove` it, and take another version"
                ) from error
        finally:
            if engine is None:
                _let_go(lease)
        return engine

    def _fetch(
        self, wish: Ref, replaced: Ref | None, progress: Progress | None
    ) -> tuple[Ref, Engine, Lease]:
        """Let a name stand for a file: fetched, unless it is here, loaded, and asked."""
        entry, most_bytes = wish.entry, self.options.model_bytes
        if (entry.file_bytes or 0) > most_bytes and not self._is_whole(wish):
            raise BudgetError(too_large(entry.label, entry.file_bytes, most_bytes))

        def tick(done: int) -> None:
            if progress is not None:
                progress(done, entry.file_bytes)

        file, part = self._shelf.file(entry.sha256), self._shelf.part(entry.sha256)
        wait_s = min(_FETCH_WAIT_S, self.options.fetch.most_s)
        with self._shelf.fetching(entry, tick, wait_s):
            is_new = not self._is_whole(wish)
            if is_new:
                self._shelf.make_room(entry, most_bytes, replaced)
                fetch_model(entry, part, most_bytes, self.options.fetch, progress)
            try:
                with told():
                    if is_new:
                        os.replace(part, file)
                    file_bytes = file.stat().st_size
                engine = self._answering(entry, file)
                ref = wish._replace(entry=entry._replace(file_bytes=file_bytes))
                return ref, engine, self._shelf.commit(ref, replaced)
            except StoreError:
                if is_new:
                    with told():
                        file.unlink(missing_ok=True)
                raise

    def _mended(self, ref: Ref, progress: Progress | None) -> tuple[Ref, Engine, Lease]:
        """What `_fetch` gives of a file that is damaged, from where it was, or from where its index
        has it now."""
        try:
            return self._fetch(ref, None, progress)
        except DownloadError as error:
            moved = None
            if ref.index_place is not None:
                with contextlib.suppress(DownloadError):
                    entries = published.look(ref.index_place, self.options.fetch)
                    moved = pick(entries, ref.entry.name, None, ref.entry.sha256)
            if moved is None or moved.urls == ref.entry.urls:
                why = f"{ref.entry.label} in the cache is damaged, and {error}"
                raise DownloadError(why) from error
        return self._fetch(ref._replace(entry=moved), None, progress)

    def _answering(self, entry: Entry, file: Path) -> Engine:
        """The engine of a file, once it has answered. Raises DownloadError."""
        try:
            engine = open_engine(file, self.options.total_bytes)
            if not engine.suggest("", n=1):
                raise ModelError("it suggests nothing where a text begins")
        except KbengineError as error:
            raise DownloadError(
                f"{entry.label} came whole and does not run here: {error}"
            ) from error
        return engine

    def _update(
        self, ref: Ref, look: Callable[[str], list[Entry]], progress: Progress | None
    ) -> Update:
        before = self._stored(ref)
        now = ref._replace(checked_s=time.time())
        error: KbengineError | None = None
        try:
            place = self.options.index_place if self.options.index else ref.index_place
            place = place or self.options.index_place
            entry = pick(look(place), ref.entry.name)
            if entry is None:
                raise DownloadError(f"the index {place} has no {ref.entry.name} any more")
            if newness(entry.version) >= newness(ref.entry.version):
                new = now._replace(entry=entry, index_place=place)
                if entry.sha256 != ref.entry.sha256 or not self._is_whole(ref):
                    new, _, lease = self._fetch(new, ref, progress)
                    lease.release()
                    return Update(before, self._stored(new))
                now = new  # its mirrors may be others
        except (KbengineError, ValueError) as caught:
            error = caught if isinstance(caught, KbengineError) else StoreError(str(caught))
        self._shelf.note(now)
        return Update(before, self._stored(now), error)

    def _is_due(self, ref: Ref) -> bool:
        if ref.pinned or not ref.entry.name or self.options.fetch.forbidden:
            return False
        return not -_DAY_S <= time.time() - ref.checked_s < self.options.due_days * _DAY_S

    def _refresh(self, ref: Ref, progress: Progress | None) -> None:
        """Update a model that is about to be loaded, without much patience; where that fails, it
        stays."""
        fetch = self.options.fetch
        fetch = replace(fetch, most_s=min(fetch.most_s, _HURRY_S), retries=0)
        hurried = ModelStore(replace(self.options, fetch=fetch))
        try:
            failed = hurried._update(ref, published.once(fetch), progress).error
        except StoreError as error:  # a folder for reading alone
            failed = error
        if failed is not None:
            _log.warning("%s was not updated: %s", ref.entry.label, failed)


def _let_go(lease: Lease | None) -> None:
    if lease is not None:
        lease.release()
