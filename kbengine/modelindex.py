"""An index: which models can be had where. One JSON file on any web server or file share:

    {"format": 1, "models": [
      {"name": "es", "version": "3", "language": "es", "bytes": 9123456, "sha256": "0f3a...",
       "licence": "CC BY 4.0", "urls": ["es-3.bundle", "https://mirror.example/es-3.bundle"]}]}

`urls` are mirrors of one file, the first asked first: http or https, or relative to the index,
without steps upwards. The highest version of a name is its newest: runs of digits count as
numbers, the rest as text. Whatever an index holds is believed only as far as this allows, and a
file that it names only when its sha256 fits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from kbengine.errors import DownloadError

FORMAT = 1
FILE = "index.json"
MOST_BYTES = 1 << 20
SUFFIXES = (".bundle", ".shipped")  # of files of models
MOST_URLS, MOST_TEXT = 16, 2000
_MOST_MODELS = 1000
_MOST_FILE_BYTES = 1 << 30  # what a budget may allow stands in `kbengine.modelstore`
_NAME_RE = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_VERSION_RE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}")
_SHA256_RE = re.compile(r"[0-9a-f]{64}")
# Of a URL: printable ASCII without what no URL holds unquoted.
_URL_RE = re.compile(r"[!#-;=?-\[\]_a-z~]+")


class Entry(NamedTuple):
    """One model of an index, or a file by its URL, then without name and version.

    urls: mirrors, URLs or paths of files; sha256: in lower case; file_bytes: None where nobody
    knows it yet.
    """

    name: str
    version: str
    urls: tuple[str, ...]
    sha256: str
    file_bytes: int | None
    licence: str = ""
    language: str = ""

    @property
    def label(self) -> str:
        """What people call it."""
        return f"{self.name} {self.version}" if self.name else self.urls[0]


def is_url(source: str) -> bool:
    """Whether a text means a place on the network, of whatever scheme."""
    return "://" in source


def name_and_version(source: str) -> tuple[str, str | None] | None:
    """Of `es` or `es@3`; None for what is no name of a model, such as a file of one."""
    name, at, version = source.partition("@")
    if source.endswith(SUFFIXES):
        return None
    if not _NAME_RE.fullmatch(name) or (at and not _VERSION_RE.fullmatch(version)):
        return None
    return name, version if at else None


def checked_sha256(sha256: str) -> str:
    """In lower case; raises ValueError where it is none."""
    if not isinstance(sha256, str) or not _SHA256_RE.fullmatch(sha256.lower()):
        raise ValueError(f"{str(sha256)[:80]!r} is no sha256; give its 64 hexadecimal digits")
    return sha256.lower()


def checked_url(url: str) -> str:
    """Raises ValueError for what is not to be fetched."""
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(f"{url[:80]!r} is neither http nor https; give such a URL")
    if len(url) > MOST_TEXT or not _URL_RE.fullmatch(url):
        raise ValueError(f"{url[:80]!r} has characters that no URL has, or too many; quote them")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{url[:80]!r} is no URL ({error!s:.80}); mend it") from error
    if not host or "@" in parts.netloc:
        raise ValueError(f"{url[:80]!r} names no host, or a password; give host and path alone")
    return parts.scheme + url[len(parts.scheme) :]  # in small letters


def newness(version: str) -> tuple[tuple[int, int, str], ...]:
    """What versions are ordered by: 2 < 10, 1 < 1.1."""
    parts = re.findall(r"[0-9]+|[^0-9]+", version)
    return tuple((1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts)


def pick(
    entries: Iterable[Entry], name: str, version: str | None = None, sha256: str | None = None
) -> Entry | None:
    """The newest of a name, of those with that version and sha256."""
    found = [
        e for e in entries
        if e.name == name and version in (None, e.version) and sha256 in (None, e.sha256)
    ]  # fmt: skip
    return max(found, key=lambda e: newness(e.version), default=None)


def read_index(data: bytes, location: str) -> list[Entry]:
    """The models of an index that lies at a URL or path.

    Raises DownloadError, in one sentence, for whatever is no index or not to be believed.
    """

    def bad(why: str) -> DownloadError:
        return DownloadError(f"the index {location} {why}; tell who keeps it, or give another")

    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        if data.lstrip()[:1] == b"<":
            raise DownloadError(
                f"the index {location} is a web page; sign in where the network asks for that, or "
                "give the address of an index"
            ) from None
        where = (
            f" ({error.msg}, line {error.lineno})"
            if isinstance(error, json.JSONDecodeError)
            else ""
        )
        raise bad(f"is no JSON{where}") from None
    if not isinstance(told, dict) or not isinstance(told.get("models"), list):
        raise bad("is none: it has no list of models")
    if "format" not in told:
        raise bad("is none: it has no format")
    if type(told["format"]) is not int or told["format"] != FORMAT:
        raise DownloadError(
            f"the index {location} is of format {told['format']!r:.20}, this program reads "
            f"{FORMAT}; update kbengine"
        )
    if len(told["models"]) > _MOST_MODELS:
        raise bad(f"has more than {_MOST_MODELS} models")
    entries: dict[tuple[str, str], Entry] = {}
    for number, row in enumerate(told["models"], 1):
        try:
            entry = entry_of(row)
            urls = tuple(resolved(url, location) for url in entry.urls)
        except ValueError as error:
            why = str(error).partition("; ")[0]
            raise bad(f"has a wrong model, number {number}: {why}") from error
        if (entry.name, entry.version) in entries:
            raise bad(f"has {entry.label} twice")
        entries[entry.name, entry.version] = entry._replace(urls=urls)
    return list(entries.values())


def entry_of(row: Any, named: bool = True) -> Entry:
    """An entry of a row of JSON, its urls as they stand there; named: whether it must have a name,
    version and licence. Raises ValueError, in a clause, for what is none."""
    if not isinstance(row, dict):
        raise ValueError("it is no object")
    texts = {key: row.get(key, "") for key in ("name", "version", "sha256", "licence", "language")}
    for key, value in texts.items():
        if not isinstance(value, str) or len(value) > MOST_TEXT or not value.isprintable():
            raise ValueError(f"its {key} is no text of one line")
    if named or texts["name"]:
        if not _NAME_RE.fullmatch(texts["name"]):
            raise ValueError(f"its name {texts['name'][:40]!r} is none of a-z, 0-9, - and _")
        if not _VERSION_RE.fullmatch(texts["version"]):
            raise ValueError(f"its version {texts['version'][:40]!r} is none")
        if not texts["licence"]:
            raise ValueError("its licence is missing")
    size, urls = row.get("bytes"), row.get("urls")
    if type(size) is not int or not 0 < size <= _MOST_FILE_BYTES:
        raise ValueError("its bytes are no size of a file")
    if not isinstance(urls, list) or not 0 < len(urls) <= MOST_URLS:
        raise ValueError(f"its urls are no list of 1 to {MOST_URLS}")
    if not all(isinstance(url, str) for url in urls):
        raise ValueError("one of its urls is no text")
    sha256 = texts["sha256"].lower()
    if not _SHA256_RE.fullmatch(sha256):
        raise ValueError("its sha256 is none of 64 hexadecimal digits")
    return Entry(
        texts["name"], texts["version"], tuple(urls), sha256, size, texts["licence"],
        texts["language"],
    )  # fmt: skip


def resolved(url: str, location: str) -> str:
    """A URL of an index, which lies at a location, as it can be fetched; raises ValueError, in a
    clause, for any other."""
    if is_url(url):
        return checked_url(url)
    # A relative one: the decoded path must be plain steps downwards, on every system.
    plain = unquote(url)
    steps = plain.split("/")
    if (
        any(step in ("", ".", "..") for step in steps) or not plain.isprintable()
        or set(plain) & set('\\:*"<>|\ufffd') or set(url) & set("?#") or len(url) > MOST_TEXT
    ):  # fmt: skip
        raise ValueError(f"{url[:80]!r} is neither http nor https nor a plain path from the index")
    if is_url(location):
        return checked_url(urljoin(location, quote(plain)))
    return str(Path(location).parent.joinpath(*steps))


def row_of(entry: Entry) -> dict[str, Any]:
    """What an index says of a model."""
    return {
        "name": entry.name, "version": entry.version, "language": entry.language,
        "bytes": entry.file_bytes, "sha256": entry.sha256, "licence": entry.licence,
        "urls": list(entry.urls),
    }  # fmt: skip


def written(entries: Iterable[Entry]) -> bytes:
    """An index of these models, by name, the newest version first."""
    newest_first = sorted(entries, key=lambda e: newness(e.version), reverse=True)
    rows = [row_of(entry) for entry in sorted(newest_first, key=lambda e: e.name)]
    told = {"format": FORMAT, "models": rows}
    return (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode()
