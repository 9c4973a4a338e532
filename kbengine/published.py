"""What is published: in indexes, or at URLs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from kbengine.errors import DownloadError, KbengineError, StoreError
from kbengine.fetch import OFFLINE, FetchOptions, fetch_small
from kbengine.modelindex import MOST_BYTES, Entry, is_url, pick, read_index
from kbengine.modelshelf import Ref
from kbengine.packaged import bundles, packaged
from kbengine.storeoptions import StoreOptions
from kbengine.wanted import Wanted


def look(place: str, options: FetchOptions) -> list[Entry]:
    """The models of an index. Raises DownloadError."""
    return read_index(fetch_small(place, MOST_BYTES, options), place)


def once(options: FetchOptions) -> Callable[[str], list[Entry]]:
    """Looks once at each index, also at one that does not answer."""
    known: dict[str, list[Entry] | KbengineError] = {}

    def looked(place: str) -> list[Entry]:
        if place not in known:
            try:
                known[place] = look(place, options)
            except KbengineError as error:
                known[place] = error
        found = known[place]
        if isinstance(found, KbengineError):
            raise found
        return found

    return looked


def wish(wanted: Wanted, options: StoreOptions) -> Ref:
    """The ref that is to be, of something that is not in the cache.

    Raises ValueError for a URL without a sha256, StoreError where no index is known, DownloadError
    where it cannot be had or has not what is asked for.
    """
    if wanted.name is None:
        if wanted.sha256 is None:
            raise ValueError(
                f"{wanted.source} is not in the cache; give its sha256= (`kbengine models pull "
                "--sha256`), so that what comes can be checked"
            )
        return Ref(Entry("", "", (wanted.source,), wanted.sha256, None))
    try:
        place = options.index_place
    except StoreError as error:
        if wanted.sha256 is not None and packaged(wanted._replace(sha256=None)):
            why = f"{wanted.source} in the package has another sha256 than {wanted.sha256}"
        else:
            why = f"{wanted.source!r} is not in the cache (the package has {', '.join(bundles())})"
        raise StoreError(f"{why}, and {error}") from error
    if is_url(place) and options.fetch.forbidden:
        raise DownloadError(
            f"{wanted.source} is not in the cache, and the network is forbidden; unset {OFFLINE} "
            "or offline=True, or pull it before"
        )
    entries = look(place, options.fetch)
    entry = pick(entries, wanted.name, wanted.version, wanted.sha256)
    if entry is None:
        names = dict.fromkeys(f"{e.name}@{e.version}" for e in entries)
        what = wanted.source if wanted.sha256 is None else f"{wanted.source} of that sha256"
        if Path(wanted.source).is_file():
            what += f" (the file is ./{wanted.source})"
        raise DownloadError(
            f"the index {place} has no {what}; it has {', '.join(list(names)[:12]) or 'none'}"
        )
    return Ref(entry, wanted.version is not None, place, time.time())
