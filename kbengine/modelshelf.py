"""Where models lie on the disk, in `models/` of the user's cache folder:

    refs/es@.json         the model that is meant by "es": its entry of an index, where that is, and
                          when it was asked last; es@3.json: version 3, asked for as such;
                          @SHA256.json: a file asked for by its URL
    files/SHA256.bundle   models, by what they hold; the time of change is that of the last use
    parts/SHA256.part     what has come of one that is being fetched, or was when it broke off
    locks/SHA256.lock     held by who fetches it
    uses/SHA256.*.lock    held by who uses it, as long as that lives
    lock                  held for a moment by who changes refs, takes files away, looks at locks

A file or ref is put in its place whole, and a file counts only when its sha256 fits, so that a kill
at any moment leaves nothing that is believed and half there.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kbengine import cachefolder, restored
from kbengine.cachefolder import (
    MODELS,
    UNUSABLE,
    cache_folder,
    private_folder,
    size_bytes,
    store_error,
    told,
)  # fmt: skip
from kbengine.errors import BudgetError, StoreError
from kbengine.files import whole_file
from kbengine.locks import Lease, alone, is_free, take_away
from kbengine.modelindex import MOST_URLS, Entry, entry_of, newness, row_of

_FORMAT = 1
_PLACES = ("refs", "files", "parts", "locks", "uses")
_WAIT_S = 10.0  # for what others do in a moment
_TICK_S = 0.2
_SHA256_RE = re.compile(r'"sha256": *"([0-9a-f]{64})"')
_log = logging.getLogger("kbengine.modelshelf")

WhenFull = Literal["drop", "refuse"]


class Ref(NamedTuple):
    """What a name stands for. pinned: its version was asked for; index_place: where its entry is
    from, None for a file by its URL; checked_s: when that was asked last, in seconds of the clock.
    """

    entry: Entry
    pinned: bool = False
    index_place: str | None = None
    checked_s: float = 0.0

    @property
    def file(self) -> str:
        """The name of its file."""
        name, version, sha256 = self.entry.name, self.entry.version, self.entry.sha256
        if not name:
            return f"@{sha256}.json"
        return f"{name}@{version if self.pinned else ''}.json"


class Shelf:
    """The models of this user on this machine. For any thread; OSError and NotImplementedError
    come as StoreError."""

    def __init__(self, total_bytes: int, when_full: WhenFull) -> None:
        self._total_bytes, self._when_full = total_bytes, when_full

    # Looking

    def refs(self, strict: bool = False) -> list[Ref]:
        """All refs that can be read, by name, the newest version first; none where there is no
        folder, or one that cannot be used. strict: raises StoreError for that one."""
        try:
            paths = sorted((private_folder(MODELS, make=False) / "refs").glob("*.json"))
        except FileNotFoundError:
            return []
        except OSError as error:
            if strict:
                raise store_error(error) from error
            return []
        found = [ref for path in paths if (ref := _read_ref(path)) is not None]
        found.sort(key=lambda ref: newness(ref.entry.version), reverse=True)
        return sorted(found, key=lambda ref: (ref.entry.name, ref.pinned))

    def file(self, sha256: str) -> Path:
        """Where a model lies, or will lie."""
        return _place("files") / f"{sha256}.bundle"

    def part(self, sha256: str) -> Path:
        """Where it lies while it is fetched."""
        return _place("parts") / f"{sha256}.part"

    def in_use(self) -> set[str]:
        """The sha256 of all that somebody uses."""
        try:
            with self._changing():
                return _used()
        except StoreError:
            return _used()

    def hold(
        self, choose: Callable[[Sequence[Ref]], Ref | None]
    ) -> tuple[Ref, Lease | None] | None:
        """One of the refs, and its file held; without a lease where nothing can be written, and so
        nothing taken away either. None where there is none."""
        if not self.refs():
            return None
        try:
            with self._changing():
                ref = choose(self.refs())
                return None if ref is None else (ref, self._lease(ref.entry.sha256))
        except StoreError:
            ref = choose(self.refs())
            return None if ref is None else (ref, None)

    # Changing

    @contextlib.contextmanager
    def fetching(self, entry: Entry, tick: Callable[[int], None], wait_s: float) -> Iterator[None]:
        """Be the only one who fetches a model. tick: is told the bytes that have come while
        another one does, which is waited for so long."""
        with told():
            _make_places()
        lock = _place("locks") / f"{entry.sha256}.lock"
        with contextlib.ExitStack() as stack:
            for _ in range(math.ceil(wait_s / _TICK_S)):
                try:
                    stack.enter_context(alone(lock, _TICK_S))
                    break
                except TimeoutError:
                    tick(size_bytes(self.part(entry.sha256)))
                except UNUSABLE as error:
                    raise store_error(error) from error
            else:
                raise StoreError(
                    f"another process has fetched {entry.label} for {wait_s:.0f} s; wait for it, "
                    "or end it"
                )
            stack.callback(take_away, lock)
            yield

    def make_room(self, entry: Entry, most_bytes: int, replaced: Ref | None) -> None:
        """Make what room there may be for a model that is to come: of what broke off, for no model
        goes before it has. most_bytes: that it may have where its size is not known.

        Raises BudgetError where it could not stay, StoreError where the disk has no room for it.
        """
        with self._changing():
            if entry.file_bytes is None:
                if cachefolder.taken_bytes() + most_bytes > self._total_bytes:
                    for path in _all("parts"):
                        if path.stem != entry.sha256 and not _being_fetched(path.stem):
                            path.unlink(missing_ok=True)
                return
            needed = entry.file_bytes - size_bytes(self.part(entry.sha256))
            if shutil.disk_usage(cache_folder()).free < needed:
                raise StoreError(
                    f"the disk is full: {entry.label} does not fit into {cache_folder()}; free "
                    f"{needed:,} bytes and try again"
                )
            for path in self._plan(entry, needed, replaced):
                if path.suffix == ".part":
                    path.unlink(missing_ok=True)

    def commit(self, ref: Ref, replaced: Ref | None = None) -> Lease:
        """Let a name stand for a file that is in its place, instead of another, whose file goes
        unless somebody uses it; whatever the budget has no room for any more goes, too.

        Raises BudgetError or StoreError, with nothing changed, where that cannot be.
        """
        with self._changing():
            if replaced is not None and not self._stands(replaced):
                raise StoreError(f"{replaced.entry.label} was taken away meanwhile; pull it anew")
            going = self._plan(ref.entry, 0, replaced)
            lease = self._lease(ref.entry.sha256)
            try:
                self._write(ref)
            except UNUSABLE:
                lease.release()
                raise
            # From here on it stands; what cannot be taken away now, will be another time.
            try:
                for path in going:
                    self._drop(path)
                self._tidy()
            except (*UNUSABLE, StoreError) as error:
                _log.warning("not all that should go is gone: %s", error)
        return lease

    def add(self, ref: Ref) -> bool:
        """Let one more name stand for a file; whether that is there still."""
        with self._changing():
            there = self.file(ref.entry.sha256).exists()
            if there:
                self._write(ref)
            return there

    def note(self, ref: Ref) -> None:
        """Write a ref anew, if it still stands for the same file."""
        with self._changing():
            if self._stands(ref):
                self._write(ref)

    def remove(self, refs: Sequence[Ref]) -> None:
        """Take refs away, and the files that nothing else stands for. Raises StoreError where one
        of these is in use."""
        with self._changing():
            left = {r.entry.sha256 for r in self.refs() if r.file not in {ref.file for ref in refs}}
            used = _used() - left
            for ref in refs:
                if ref.entry.sha256 in used:
                    raise StoreError(
                        f"{ref.entry.label} is in use; end the programs that have it loaded first"
                    )
            for ref in refs:
                (_place("refs") / ref.file).unlink(missing_ok=True)
            self._tidy()

    def clear(self) -> int:
        """Take everything away but what is being fetched right now; returns the bytes.

        Who uses a model has it in memory, and goes on.
        """
        with self._changing():
            before = cachefolder.taken_bytes()
            for path in _all("refs"):
                path.unlink(missing_ok=True)
            for path in (*_all("files"), *_all("parts")):
                if not _being_fetched(path.stem):
                    path.unlink(missing_ok=True)
            for path in (*_all("locks"), *_all("uses")):
                is_free(path)
            restored.clear()
            return max(0, before - cachefolder.taken_bytes())

    # Inside

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock of the shelf. Raises StoreError also for what goes wrong inside."""
        with told():
            _make_places()
            with alone(cache_folder() / MODELS / "lock", _WAIT_S):
                yield

    def _stands(self, ref: Ref) -> bool:
        """Whether a name still stands for the same file."""
        return any((r.file, r.entry.sha256) == (ref.file, ref.entry.sha256) for r in self.refs())

    def _write(self, ref: Ref) -> None:
        entry, path = ref.entry, _place("refs") / ref.file
        if not entry.name and (old := _read_ref(path)):
            # Several URLs may have the same file.
            urls = tuple(dict.fromkeys(entry.urls + old.entry.urls))[:MOST_URLS]
            entry = entry._replace(urls=urls)
        row = row_of(entry) | {"format": _FORMAT, "pinned": ref.pinned}
        row |= {"index": ref.index_place, "checked": ref.checked_s}
        with whole_file(path, mode=0o600) as file:
            file.write(json.dumps(row, indent=1, ensure_ascii=False).encode())

    def _lease(self, sha256: str) -> Lease:
        cachefolder.touch(self.file(sha256))
        return Lease(_place("uses") / f"{sha256}.{os.urandom(6).hex()}.lock")

    def _plan(self, entry: Entry, needed_bytes: int, replaced: Ref | None) -> list[Path]:
        """Which files must go for a model and so many bytes more; the one replaced goes of itself.

        Raises BudgetError where that is not enough.
        """
        over = cachefolder.taken_bytes() + needed_bytes - self._total_bytes
        if over <= 0:
            return []
        used, spared = _used(), {entry.sha256}
        others = {r.entry.sha256 for r in self.refs() if replaced and r.file != replaced.file}
        if replaced is not None and replaced.entry.sha256 not in spared | others:
            spared.add(replaced.entry.sha256)
            if replaced.entry.sha256 not in used:
                over -= size_bytes(self.file(replaced.entry.sha256))
        # What can be had again without the network goes first, and what has come in part last time.
        free = [p for p in _all("parts") if p.stem not in spared] + restored.stored()
        if self._when_full == "drop":
            files = [p for p in _all("files") if p.stem not in spared | used]
            free += sorted(files, key=cachefolder.used_s)
        going = []
        for path in free:
            if over <= 0:
                break
            is_model = path.parent.name != cachefolder.RESTORED
            if is_model and _being_fetched(path.stem):
                continue
            over -= size_bytes(path)
            going.append(path)
        if over > 0 and (entry.file_bytes or 0) > self._total_bytes:
            raise BudgetError(
                f"{entry.label} has {entry.file_bytes:,} bytes, and all models may have "
                f"{self._total_bytes:,}; raise total_bytes (--total-mb)"
            )
        if over > 0:
            why = "in use" if self._when_full == "drop" else "not to be dropped"
            raise BudgetError(
                f"{entry.label} does not fit into {self._total_bytes:,} bytes beside models "
                f"that are {why}; remove one (`kbengine models remove`), or raise total_bytes "
                "(--total-mb)"
            )
        return going

    def _drop(self, path: Path) -> None:
        """Take a file away, its refs first."""
        if path.parent.name == cachefolder.RESTORED:
            return restored.drop(path)
        for ref in self.refs():
            if self.file(ref.entry.sha256) == path:
                _log.info("%s is dropped to make room", ref.entry.label)
                (_place("refs") / ref.file).unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def _tidy(self) -> None:
        """Take away what killed processes have left: half written refs, files that no ref stands
        for."""
        for path in _all("refs"):
            if path.suffix == ".part":
                path.unlink(missing_ok=True)
        kept = _spoken_for() | _used()
        for path in _all("files"):
            if path.stem not in kept and not _being_fetched(path.stem):
                path.unlink(missing_ok=True)


def _place(name: str) -> Path:
    return cache_folder() / MODELS / name


def _make_places() -> None:
    """Raises OSError where the folder cannot be, or is not this user's own."""
    folder = private_folder(MODELS)
    for name in _PLACES:
        (folder / name).mkdir(mode=0o700, exist_ok=True)


def _all(place: str) -> list[Path]:
    """The files of a place."""
    return sorted(path for path in _place(place).iterdir() if path.is_file())


def _used() -> set[str]:
    """The sha256 of all files that somebody holds, or that one cannot tell of."""
    used = set()
    for lock in _place("uses").glob("*.lock"):
        try:
            free = is_free(lock)
        except UNUSABLE:
            free = False
        if not free:
            used.add(lock.name.partition(".")[0])
    return used


def _being_fetched(sha256: str) -> bool:
    return not is_free(_place("locks") / f"{sha256}.lock")


def _spoken_for() -> set[str]:
    """The sha256 of all files that refs stand for, those of another format, too.

    Raises OSError where one cannot be read now: what it stands for must not go.
    """
    told = (path.read_bytes().decode(errors="replace") for path in _all("refs"))
    return {sha256 for text in told for sha256 in _SHA256_RE.findall(text)}


def _read_ref(path: Path) -> Ref | None:
    """None for what is none, or cannot be read now: it is fetched again where it is asked for."""
    try:
        row: Any = json.loads(path.read_bytes())
        entry = entry_of(row, named=False)
        index, checked_s = row.get("index"), row.get("checked")
        if row.get("format") != _FORMAT or not isinstance(index, str | None):
            return None
        if type(checked_s) not in (int, float) or not math.isfinite(checked_s):
            return None
    except (OSError, ValueError, RecursionError):
        return None
    ref = Ref(entry, row.get("pinned") is True, index, float(checked_s))
    return ref if ref.file == path.name else None
