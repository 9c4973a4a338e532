"""The verbs of ``kbengine models``."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from kbengine.errors import KbengineError, StoreError
from kbengine.fetch import FetchOptions
from kbengine.loading import is_path
from kbengine.modelindex import Entry, is_url, newness
from kbengine.modelshelf import WhenFull
from kbengine.modelstore import ModelStore, StoredModel
from kbengine.packaged import bundles
from kbengine.quiet import quiet_stderr
from kbengine.storeoptions import StoreOptions

if TYPE_CHECKING:
    from kbengine.fetch import Progress

HELP = "look after models: list, pull, path, verify, update, remove, clear, index, restore"
_MB = 1_000_000


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs and their options."""
    parser.epilog = (
        "KBENGINE_CACHE names another folder, KBENGINE_INDEX an index, KBENGINE_OFFLINE=1 "
        "forbids the network, KBENGINE_UPDATE_DAYS has loading look for newer ones, "
        "KBENGINE_MODEL_MB and KBENGINE_TOTAL_MB are the budget (docs/models.md)."
    )
    verbs = parser.add_subparsers(dest="models_verb", required=True, metavar="VERB")

    def verb(name: str, told: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=told, description=told)

    index, budget = _index_options(), _budget_options()

    def found(name: str, told: str, *options: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=told, description=told, parents=list(options))

    listed = found("list", "what is in the cache, and in the package", index)
    listed.add_argument("--available", action="store_true", help="what the index has, too")
    listed.add_argument("--json", action="store_true", help="as JSON")
    pull = found("pull", "fetch models that are not in the cache", index, budget)
    pull.add_argument("models", nargs="+", metavar="MODEL", help="a name, name@version, or URL")
    pull.add_argument("--sha256", metavar="HEX", help="that the file must have; a URL needs it")
    path = verb("path", "where a model lies; nothing is fetched")
    path.add_argument("model", metavar="MODEL", help="a name, name@version, or URL")
    verify = verb("verify", "whether models in the cache are whole")
    verify.add_argument("models", nargs="*", metavar="MODEL", help="(default: all)")
    update = found("update", "ask indexes for newer versions, and fetch them", index, budget)
    update.add_argument("models", nargs="*", metavar="NAME", help="(default: all)")
    remove = verb("remove", "take models out of the cache")
    remove.add_argument("models", nargs="+", metavar="MODEL",
                        help="a name, for all its versions, name@version, or URL")  # fmt: skip
    verb("clear", "empty the cache, of restored models too")
    made = verb("index", "write an index of a folder of models, for a web server or file share")
    made.add_argument("folder", type=Path, metavar="DIR", help="with .bundle and .shipped files")
    made.add_argument("--base", action="append", default=[], metavar="URL",
                      help="of a folder that holds them; may be given again for mirrors "
                      "(default: where they lie, seen from the index)")  # fmt: skip
    made.add_argument("--licence", default="", metavar="TEXT",
                      help="of all (default: the notice in the manifest of each)")  # fmt: skip
    made.add_argument("--out", type=Path, metavar="FILE", help="(default: index.json in DIR)")
    restore = verb("restore", "restore a shipped model to the bundle that runs, from its own bytes")
    restore.add_argument("shipped", type=Path, metavar="SHIPPED", help="a shipped file")
    restore.add_argument(
        "--out", type=Path, metavar="FILE.bundle",
        help="where to (default: the user's cache folder, where loading looks for it)",
    )  # fmt: skip


def _index_options() -> argparse.ArgumentParser:
    """Of verbs that may ask an index."""
    fetching = FetchOptions()
    index = argparse.ArgumentParser(add_help=False)
    index.add_argument(
        "--index", metavar="URL|FILE",
        help="of models; $KBENGINE_INDEX where it is not given, for a model in the cache its own",
    )  # fmt: skip
    index.add_argument(
        "--timeout", type=float, default=fetching.timeout_s, metavar="S",
        help="for a server to answer in (default: %(default)g)",
    )  # fmt: skip
    index.add_argument(
        "--retries", type=int, default=fetching.retries, metavar="N",
        help="how often all mirrors are asked again (default: %(default)s)",
    )  # fmt: skip
    return index


def _budget_options() -> argparse.ArgumentParser:
    """Of verbs that may fetch models."""
    budget = argparse.ArgumentParser(add_help=False)
    budget.add_argument(
        "--model-mb", type=float, metavar="MB",
        help="the most that a model may have (default: $KBENGINE_MODEL_MB, or 10)",
    )  # fmt: skip
    budget.add_argument(
        "--total-mb", type=float, metavar="MB",
        help="the most that may lie in the cache (default: $KBENGINE_TOTAL_MB, or 50)",
    )  # fmt: skip
    budget.add_argument(
        "--when-full", choices=get_args(WhenFull), default="drop",
        help="drop models used longest ago, or refuse new ones (default: %(default)s)",
    )  # fmt: skip
    return budget


def run(args: argparse.Namespace) -> int:
    """Do what a verb says; returns the exit status. Raises KbengineError, OSError or ValueError."""
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    verbs: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list, "pull": _pull, "path": _path, "verify": _verify, "update": _update,
        "remove": _remove, "clear": _clear, "index": _index, "restore": _restore,
    }  # fmt: skip
    return verbs[args.models_verb](args)


@contextlib.contextmanager
def bar(label: str, at_once: bool = False) -> Iterator[Progress]:
    """A bar on stderr, at once or when bytes come; none where that is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )  # fmt: skip

    # A handle of its own: while a model is loaded, what libraries print on stderr is not shown.
    with open(os.dup(2), "w", encoding=sys.stderr.encoding, errors="replace") as stderr:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(16), DownloadColumn(),
                   TransferSpeedColumn(), TimeRemainingColumn())  # fmt: skip
        shown = Progress(*columns, console=Console(file=stderr), transient=True)
        task = shown.add_task(_short(label, 24), total=None)

        def start() -> None:
            if stderr.isatty():
                shown.start()

        def progress(done: int, total: int | None) -> None:
            start()
            shown.update(task, completed=done, total=total)

        try:
            if at_once:
                start()
            yield progress
        finally:
            if shown.live.is_started:  # else it would end a line
                shown.stop()


def located(source: str) -> Path:
    """The file of a path, or of a name or URL, fetched where it is not here. Raises as `run`."""
    if is_path(source):
        return Path(source)
    store = ModelStore()
    if (path := store.path(source)) is not None:
        return path
    with bar(source) as progress, quiet_stderr():
        return store.pull(source, progress=progress).path


def _store(args: argparse.Namespace) -> ModelStore:
    """The store with the options that a verb has."""
    fetch = FetchOptions(timeout_s=args.timeout, retries=args.retries)
    if "total_mb" not in args:
        return ModelStore(StoreOptions(index=args.index, fetch=fetch))
    options = StoreOptions(index=args.index, when_full=args.when_full, fetch=fetch)
    for name, field, size in (
        ("--model-mb", "model_bytes", args.model_mb), ("--total-mb", "total_bytes", args.total_mb)
    ):  # fmt: skip
        if size is not None:
            if not 1 / _MB <= size < _MB:
                raise ValueError(f"{name} {size:g} is no budget; give megabytes, such as 10")
            options = replace(options, **{field: round(size * _MB)})
    return ModelStore(options)


def _list(args: argparse.Namespace) -> int:
    import json

    from kbengine.container import open_container

    store = _store(args)
    models: list[StoredModel] = []
    failed = None
    try:
        models = store.models()
    except StoreError as error:  # those of the package are there all the same
        failed = error
    package = []
    for name, path in bundles().items():
        with open_container(path) as container:
            told = container.manifest()
            package.append(
                {"name": name, "version": told["version"], "language": told["language"],
                 "licence": told.get("notice", ""), "file_bytes": container.file_bytes,
                 "path": str(path)}
            )  # fmt: skip
    available = store.available() if args.available else []
    if args.json:
        found = {"models": [m._asdict() | {"path": str(m.path)} for m in models]}
        found |= {"package": package}
        if args.available:
            found |= {"available": [entry._asdict() for entry in available]}
        print(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        _print_list(models, package, available)
    if failed is not None:
        raise failed
    return 0


def _print_list(
    models: Sequence[StoredModel], package: Sequence[Mapping[str, Any]], available: Sequence[Entry]
) -> None:
    """A table, in which the licence has what room is left."""
    import time

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows: list[tuple[str, int, str, str, str, str]] = []
    for m in models:
        used = time.strftime("%Y-%m-%d", time.localtime(m.used_s)) if m.used_s else "gone"
        where = f"cache @{m.version}" if m.pinned else "cache"
        used = "now" if m.in_use else used
        rows.append((m.label, m.file_bytes, where, used, m.language, m.licence))
    for told in package:
        label, size = f"{told['name']} {told['version']}", told["file_bytes"]
        rows.append((label, size, "package", "", told["language"], told["licence"]))
    here = {row[0] for row in rows}
    version = {m.name: m.version for m in models if not m.pinned}
    for e in available:
        newer = e.name in version and newness(e.version) > newness(version[e.name])
        where = "newer" if newer else "index"
        if e.label not in here:
            rows.append((e.label, e.file_bytes or 0, where, "", e.language, e.licence))
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    for name in ("model", "MB", "where", "used", "", "licence"):
        table.add_column(
            name, justify="right" if name == "MB" else "left", no_wrap=name != "licence"
        )
    for label, size, *others, licence in rows:
        last = Text(licence, no_wrap=True, overflow="ellipsis")  # the only one that gives way
        table.add_row(_short(label), f"{size / _MB:.2f}", *others, last)
    Console(highlight=False, markup=False).print(table)


def _short(text: str, most: int = 32) -> str:
    """What a column has room for; of a URL its end."""
    if len(text) <= most:
        return text
    return f"…{text[1 - most :]}" if is_url(text) else f"{text[: most - 1]}…"


def _each(sources: Sequence[str], act: Callable[[str], None]) -> int:
    """Do it with each, also where one fails, which is told; returns the exit status."""
    failed = 0
    for source in dict.fromkeys(sources):
        try:
            act(source)
        except (KbengineError, ValueError) as error:
            print(f"kbengine: {error}", file=sys.stderr)
            failed = 1
    return failed


def _pull(args: argparse.Namespace) -> int:
    if args.sha256 and len(args.models) > 1:
        raise ValueError("--sha256 is that of one file; give one model with it")
    store = _store(args)

    def pull(source: str) -> None:
        before, here = store.models(), {m.sha256 for m, is_whole in store.verify() if is_whole}
        with bar(source, at_once=True) as progress, quiet_stderr():
            model = store.pull(source, args.sha256, progress)
        told = f"{model.label}: {model.file_bytes:,} bytes, sha256 {model.sha256} ok"
        if model.sha256 in here:
            told += "; it was here"
        if model.name in bundles():
            told += "; it comes before the package's own"
        print(told)
        _tell_dropped(before, store)

    return _each(args.models, pull)


def _tell_dropped(before: Sequence[StoredModel], store: ModelStore) -> None:
    left = {m.sha256 for m in store.models()}
    _tell_gone([m for m in before if m.sha256 not in left], "dropped to make room")


def _tell_gone(models: Sequence[StoredModel], how: str) -> None:
    """Each file once, whatever stood for it."""
    for model in {m.sha256: m for m in models}.values():
        print(f"{model.label}: {how}, {model.file_bytes:,} bytes")


def _path(args: argparse.Namespace) -> int:
    path = ModelStore().path(args.model)
    if path is None:
        raise ValueError(f"{args.model} is not here, or damaged; `kbengine models pull` it")
    print(path)
    return 0


def _verify(args: argparse.Namespace) -> int:
    found = ModelStore().verify(args.models)
    if not found:
        print("no models are in the cache")
    # A file that several names stand for is told of once.
    for (label, _), whole in {(m.label, m.sha256): whole for m, whole in found}.items():
        told = "ok" if whole else "damaged; `kbengine models pull` it again, or `update`"
        print(f"{label}: {told}")
    return 0 if all(whole for _, whole in found) else 1


def _update(args: argparse.Namespace) -> int:
    store = _store(args)
    before = store.models()
    with bar("update", at_once=True) as progress, quiet_stderr():
        updates = store.update(args.models, progress)
    left = {model.sha256 for model in store.models()}
    for one in updates:
        if one.after.sha256 not in left:
            continue  # dropped for another, which is told below
        if one.error is not None:
            print(f"{one.before.label}: stays, since {one.error}")
        elif one.before.sha256 == one.after.sha256:
            print(f"{one.before.label}: is the newest")
        else:
            print(f"{one.before.label}: now {one.after.label}, {one.after.file_bytes:,} bytes")
    if not updates:
        print("nothing in the cache is to be updated")
    replaced = {one.before.sha256 for one in updates if one.before.sha256 != one.after.sha256}
    _tell_dropped([m for m in before if m.sha256 not in replaced], store)
    return 1 if any(one.error for one in updates) else 0


def _remove(args: argparse.Namespace) -> int:
    return _each(args.models, lambda source: _tell_gone(ModelStore().remove(source), "removed"))


def _clear(args: argparse.Namespace) -> int:
    print(f"{ModelStore().clear():,} bytes freed")
    return 0


def _index(args: argparse.Namespace) -> int:
    from kbengine.files import check_target, whole_file
    from kbengine.indexing import index_folder
    from kbengine.modelindex import FILE, written

    if not args.folder.is_dir():
        raise ValueError(f"{args.folder} is no folder; give one with models")
    out = args.out or args.folder / FILE
    check_target(out)
    beside = Path(os.path.relpath(args.folder, out.parent)).as_posix()
    if not args.base and beside.startswith(".."):
        raise ValueError(
            f"{args.folder} does not lie in the folder of {out}; give --base with its URL, or put "
            "the index beside or above it"
        )
    entries = index_folder(args.folder, args.base, args.licence, "" if beside == "." else beside)
    with whole_file(out) as file:
        file.write(written(entries))
    for entry in entries:
        print(f"{entry.label}: {entry.file_bytes:,} bytes, sha256 {entry.sha256}")
    print(f"{out}: {len(entries)} model{'s' if len(entries) > 1 else ''}")
    return 0


def _restore(args: argparse.Namespace) -> int:
    import time

    from rich.console import Console
    from rich.table import Table

    from kbengine.restored import restore
    from kbengine.shipping import look

    start = time.perf_counter()
    place, bundle = restore(args.shipped, args.out)
    took_s = time.perf_counter() - start
    shipped = look(args.shipped)
    table = Table(box=None, pad_edge=False)
    table.add_column("part")
    for column in ("shipped", "restored"):
        table.add_column(column, justify="right")
    table.add_column("sha256")
    for name, data in bundle.parts.items():
        told = bundle.manifest["parts"][name]["sha256"]
        table.add_row(name, f"{shipped.coded_bytes[name]:,}", f"{len(data):,}", f"{told[:16]} ok")
    Console(highlight=False).print(table)
    print(
        f"{place}: {bundle.name}, {bundle.file_bytes:,} bytes of {shipped.file_bytes:,} shipped "
        f"in {took_s:.2f} s; the sha256 of every part is right"
    )
    return 0
