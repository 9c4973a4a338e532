"""An index of the models in a folder, to be put on a web server or file share beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from kbengine.errors import BundleError, DownloadError
from kbengine.fetch import sha256_of
from kbengine.modelindex import (
    FILE,
    MOST_TEXT,
    MOST_URLS,
    SUFFIXES,
    Entry,
    checked_url,
    entry_of,
    read_index,
    resolved,
    row_of,
    written,
)  # fmt: skip
from kbengine.shipping import read_either


def index_folder(
    folder: Path, bases: Sequence[str] = (), licence: str = "", beside: str = ""
) -> list[Entry]:
    """The models of a folder, each read whole and checked.

    A model is called what its manifest says, less `kbengine-` before it. bases: URLs of folders
    that hold the same files, the mirrors; without one, a model is looked for beside the index, in
    its folder `beside` (such as `models/`) where that is given. licence: of all; without one, the
    notice in each manifest counts.

    Raises BundleError for a file that is no model, ValueError for what cannot stand in an index.
    """
    for base in bases:
        if set(checked_url(base)) & set("?#"):
            raise ValueError(f"{base[:80]!r} is no folder; give a URL without ? and #")
    if len(bases) > MOST_URLS:
        raise ValueError(f"{len(bases)} mirrors are too many; give 1 to {MOST_URLS}")
    if not licence.isprintable() or len(licence) > MOST_TEXT:
        raise ValueError(f"the licence is no text of one line: {licence[:80]!r}; give it shorter")
    found: dict[tuple[str, str], tuple[Path, Entry]] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES):
        entry = _entry(path, bases or (quote(beside),), licence)
        other, _ = found.setdefault((entry.name, entry.version), (path, entry))
        if other != path:
            raise ValueError(
                f"{other.name} and {path.name} are both {entry.label}; give one another version, "
                "or take it out of the folder"
            )
    if not found:
        raise ValueError(f"{folder} has no file {' or '.join(SUFFIXES)}; give a folder of models")
    entries = [entry for _, entry in found.values()]
    try:
        read_index(written(entries), FILE)
    except DownloadError as error:
        raise ValueError(f"these models make no index: {error}") from error
    return entries


def _entry(path: Path, bases: Sequence[str], licence: str) -> Entry:
    if not path.name.isprintable():
        raise ValueError(f"{path.name!r} is no name that a URL can have; give the file another")
    manifest = read_either(path).manifest
    name = quote(path.name, safe="")
    notice = manifest.get("notice", "")
    entry = Entry(
        str(manifest["name"]).removeprefix("kbengine-"),
        str(manifest["version"]),
        tuple(f"{base.rstrip('/')}/{name}".lstrip("/") for base in bases),
        sha256_of(path),
        path.stat().st_size,
        licence or (notice if isinstance(notice, str) else ""),
        str(manifest["language"]),
    )
    try:
        for url in entry.urls:
            resolved(url, FILE)
    except ValueError as error:
        raise ValueError(f"{path} cannot stand in an index: {error}; rename it") from error
    try:
        return entry_of(row_of(entry))
    except ValueError as error:
        mend = "mend its manifest" if entry.licence else "give --licence, or mend its manifest"
        raise BundleError(f"{path} cannot stand in an index: {error}; {mend}") from error
