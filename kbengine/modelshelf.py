"""Where models lie on the disk, in `models/` of the user's cache folder:

    refs/es@.json         the model that is meant by "es": its entry of an index, where that is, and
                          when it was asked last; es@3.json: version 3, asked for as such;
                          @SHA256.json: a file asked for by its URL
    files/SHA256.bundle   models, by what they hold; the time of change is that of the last use
    parts/SHA256.part     what has come of one that is being fetched, or was when it broke off
    locks/SHA256.lock     held by who fetches it
    uses/SHA256.*.lock    held by who uses it, as long as that lives
    lock                  held, for a moment, by who changes refs or takes files away

A file or ref is put in its place whole, and a file counts only when its sha256 fits, so that a kill
at any moment leaves nothing that is believed and half there. Locks are those of the system
(filelock), which lets go of them where a process is killed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kbengine import cachefolder, restored
from kbengine.cachefolder import UNUSABLE, alone, cache_folder, private_folder, size_bytes
from kbengine.errors import BudgetError, StoreError
from kbengine.files import whole_file
from kbengine.modelindex import Entry, entry_of, newness, row_of

FOLDER = "models"
_FORMAT = 1
_PLACES = ("refs", "files", "parts", "locks", "uses")
_WAIT_S = 10.0  # for what others do in a moment
_FETCH_WAIT_S = 600.0  # for who fetches the same model
_TICK_S = 0.2
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


class Lease:
    """Holds a file of the shelf, so that nobody takes it away. For any thread."""

    def __init__(self, path: Path) -> None:
        from filelock import FileLock

        self._path, self._process = path, os.getpid()
        self._lock = FileLock(path, timeout=0, mode=0o600, thread_local=False)
        self._lock.acquire()

    def release(self) -> None:
        """Let it go; once is enough. A forked child has none: it is its parent's."""
        if os.getpid() != self._process:
            return
        self._lock.release()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


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
            paths = sorted((private_folder(FOLDER, make=False) / "refs").glob("*.json"))
        except FileNotFoundError:
            return []
        except OSError as error:
            if strict:
                raise _store_error(error) from error
            return []
        found = [ref for path in paths if (ref := _read_ref(path)) is not None]
        found.sort(key=lambda ref: newness(ref.entry.version), reverse=True)
        return sorted(found, key=lambda ref: (ref.entry.name, ref.pinned))

    def file(self, sha256: str) -> Path:
        """Where a model lies, or will lie."""
        return cache_folder() / FOLDER / "files" / f"{sha256}.bundle"

    def part(self, sha256: str) -> Path:
        """Where it lies while it is fetched."""
        return cache_folder() / FOLDER / "parts" / f"{sha256}.part"

    def in_use(self, sha256: str) -> bool:
        """Whether somebody holds it."""
        uses = (cache_folder() / FOLDER / "uses").glob(f"{sha256}.*.lock")
        return any(not _free(path) for path in uses)

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
    def fetching(self, entry: Entry, tick: Callable[[int], None]) -> Iterator[None]:
        """Be the only one who fetches a model. tick: is told the bytes that have come while
        another one does."""
        with told():
            for place in _PLACES:
                (private_folder(FOLDER) / place).mkdir(mode=0o700, exist_ok=True)
        lock = cache_folder() / FOLDER / "locks" / f"{entry.sha256}.lock"
        with contextlib.ExitStack() as stack:
            for _ in range(math.ceil(_FETCH_WAIT_S / _TICK_S)):
                try:
                    stack.enter_context(alone(lock, _TICK_S))
                    break
                except TimeoutError:
                    tick(size_bytes(self.part(entry.sha256)))
                except UNUSABLE as error:
                    raise _store_error(error) from error
            else:
                raise StoreError(
                    f"another process has fetched {entry.label} for {_FETCH_WAIT_S / 60:.0f} "
                    "minutes; wait for it, or end it"
                )
            yield

    def check_room(self, entry: Entry, replaced: Ref | None) -> None:
        """Raises BudgetError where a model that has not come yet could not stay, StoreError where
        the disk has no room for it."""
        import shutil

        with told():
            needed = (entry.file_bytes or 0) - size_bytes(self.part(entry.sha256))
            if shutil.disk_usage(cache_folder()).free < needed:
                raise StoreError(
                    f"the disk is full: {entry.label} does not fit into {cache_folder()}; free "
                    f"{needed / 1e6:.1f} MB and try again"
                )
            self._plan(entry, needed, replaced)

    def commit(self, ref: Ref, replaced: Ref | None = None) -> Lease:
        """Let a name stand for a file that is in its place, instead of another, whose file goes
        unless somebody uses it; whatever the budget has no room for any more goes, too.

        Raises BudgetError, with nothing changed, where that cannot be.
        """
        with self._changing():
            self._tidy()
            going = self._plan(ref.entry, 0, replaced)
            lease = self._lease(ref.entry.sha256)
            try:
                self._write(ref)
                for other in going:
                    self._drop(other)
                self._tidy()
            except UNUSABLE:
                lease.release()
                raise
        return lease

    def note(self, ref: Ref) -> None:
        """Write a ref anew, if it still stands for the same file."""
        with self._changing():
            if any((r.file, r.entry.sha256) == (ref.file, ref.entry.sha256) for r in self.refs()):
                self._write(ref)

    def remove(self, refs: Sequence[Ref]) -> None:
        """Take refs away, and the files that nothing else stands for. Raises StoreError where one
        of these is in use."""
        with self._changing():
            for ref in refs:
                if self.in_use(ref.entry.sha256):
                    raise StoreError(
                        f"{ref.entry.label} is in use; end the programs that have it loaded first"
                    )
            for ref in refs:
                self._ref_path(ref).unlink(missing_ok=True)
            self._tidy()

    def clear(self) -> int:
        """Take everything away but what is being fetched right now; returns the bytes.

        Who uses a model has it in memory, and goes on.
        """
        with self._changing():
            before = cachefolder.taken_bytes()
            for path in (*self._all("refs"), *self._all("files")):
                if not self._being_fetched(path.stem):
                    path.unlink(missing_ok=True)
            self._tidy(parts=True)
            for path in self._all("locks"):
                if _free(path):
                    path.unlink(missing_ok=True)
            for path in (cache_folder() / restored.FOLDER).glob("*"):
                path.unlink(missing_ok=True)
            return before - cachefolder.taken_bytes()

    # Inside

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock of the shelf. Raises StoreError also for what goes wrong inside."""
        with told():
            lock = private_folder(FOLDER) / "lock"
            for place in _PLACES:
                (lock.parent / place).mkdir(mode=0o700, exist_ok=True)
            with alone(lock, _WAIT_S):
                yield

    def _all(self, place: str) -> list[Path]:
        return sorted((cache_folder() / FOLDER / place).iterdir())

    def _ref_path(self, ref: Ref) -> Path:
        return cache_folder() / FOLDER / "refs" / ref.file

    def _write(self, ref: Ref) -> None:
        row = row_of(ref.entry) | {"format": _FORMAT, "pinned": ref.pinned}
        row |= {"index": ref.index_place, "checked": ref.checked_s}
        with whole_file(self._ref_path(ref), mode=0o600) as file:
            file.write(json.dumps(row, indent=1, ensure_ascii=False).encode())

    def _lease(self, sha256: str) -> Lease:
        cachefolder.touch(self.file(sha256))
        uses = cache_folder() / FOLDER / "uses"
        return Lease(uses / f"{sha256}.{os.urandom(6).hex()}.lock")

    def _being_fetched(self, sha256: str) -> bool:
        return not _free(cache_folder() / FOLDER / "locks" / f"{sha256}.lock")

    def _plan(self, entry: Entry, needed_bytes: int, replaced: Ref | None) -> list[Path]:
        """Which files must go for a model and so many bytes more; the one replaced goes of itself.

        Raises BudgetError where that is not enough.
        """
        over = cachefolder.taken_bytes() + needed_bytes - self._total_bytes
        spared = {entry.sha256}
        if replaced is not None and replaced.entry.sha256 not in spared:
            spared.add(replaced.entry.sha256)
            if not self.in_use(replaced.entry.sha256):
                over -= size_bytes(self.file(replaced.entry.sha256))
        # What can be had again without the network goes first, and what has come in part last time.
        free = [
            path for path in self._all("parts")
            if path.stem not in spared and not self._being_fetched(path.stem)
        ] + restored.stored()  # fmt: skip
        if self._when_full == "drop":
            files = sorted(self._all("files"), key=cachefolder.used_s)
            free += [
                path for path in files
                if path.stem not in spared
                and not self.in_use(path.stem) and not self._being_fetched(path.stem)
            ]  # fmt: skip
        going = []
        for path in free:
            if over <= 0:
                break
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
        for ref in self.refs():
            if self.file(ref.entry.sha256) == path:
                _log.info("%s is dropped to make room", ref.entry.label)
                self._ref_path(ref).unlink(missing_ok=True)
        if path.parent.name == restored.FOLDER:
            restored.drop(path)
        else:
            path.unlink(missing_ok=True)

    def _tidy(self, parts: bool = False) -> None:
        """Take away what killed processes have left: half written refs, files that no ref stands
        for; parts: also what has come of models."""
        for path in self._all("refs"):
            if path.suffix == ".part":
                path.unlink(missing_ok=True)
        for path in self._all("uses"):
            if _free(path):
                path.unlink(missing_ok=True)
        known = {ref.entry.sha256 for ref in self.refs()}
        for path in [*self._all("files"), *(self._all("parts") if parts else ())]:
            sha256 = path.stem
            if sha256 not in known and not self.in_use(sha256) and not self._being_fetched(sha256):
                path.unlink(missing_ok=True)


def _read_ref(path: Path) -> Ref | None:
    """None for what is none: it is fetched again where it is asked for."""
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


def _free(lock: Path) -> bool:
    """Whether nobody holds a lock file. Raises OSError or NotImplementedError."""
    if not lock.exists():
        return True
    try:
        with alone(lock, 0):
            return True
    except TimeoutError:
        return False


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What the system cannot do comes as StoreError."""
    try:
        yield
    except UNUSABLE as error:
        raise _store_error(error) from error


def _store_error(error: OSError | NotImplementedError) -> StoreError:
    """Why the folder cannot be used, and the mend."""
    if isinstance(error, TimeoutError):
        told = f"another process holds the models for more than {_WAIT_S:.0f} s; try again"
    elif isinstance(error, OSError) and error.errno is None:
        told = str(error)  # a sentence of our own
    else:
        why = getattr(error, "strerror", None) or "it has no locks"
        told = f"models cannot be kept in {cache_folder()} ({why}); set {cachefolder.VARIABLE}"
        told += " to another folder"
    return StoreError(told)
