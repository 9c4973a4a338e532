"""What is asked for: a model by its name, perhaps of a version, or a file by its URL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kbengine.modelindex import checked_sha256, checked_url, is_url, name_and_version
from kbengine.modelshelf import Ref


class Wanted(NamedTuple):
    """name: None for a URL; version, sha256: None where any will do."""

    source: str
    name: str | None
    version: str | None
    sha256: str | None

    @classmethod
    def parse(cls, source: str, sha256: str | None) -> Wanted:
        """Raises ValueError for what is neither name nor URL, and for no sha256."""
        known = None if sha256 is None else checked_sha256(sha256)
        if is_url(source):
            return cls(checked_url(source), None, None, known)
        named = name_and_version(source)
        if named is None:
            raise ValueError(
                f"{source[:80]!r} is no name of a model; give one such as es or es@3, in small "
                "letters, or a URL (a file needs no fetching: give kbengine.load its path)"
            )
        return cls(source, *named, known)

    @property
    def is_any(self) -> bool:
        """Whether a name is asked for, of whatever version."""
        return self.name is not None and self.version is None and self.sha256 is None

    def choose(self, refs: Sequence[Ref]) -> Ref | None:
        """One of the refs that stands for the file that is asked for: of a name the one that it
        stands for, else the newest of those that were asked for by their version.

        An index does not decide what a URL means: without a sha256, a URL is what was loaded by it.
        """
        for ref in refs:  # by name, the newest first, those that are not pinned before others
            entry = ref.entry
            if self.sha256 not in (None, entry.sha256):
                continue
            if self.name is None:
                if self.sha256 is not None or (not entry.name and self.source in entry.urls):
                    return ref
            elif self.name == entry.name and self.version in (None, entry.version):
                return ref
        return None

    def own(self, ref: Ref) -> Ref:
        """What is to stand for it from now on, of what stands for the same file."""
        if self.name is None and (ref.entry.name or self.source not in ref.entry.urls):
            return Ref(ref.entry._replace(name="", version="", urls=(self.source,)))
        if self.version is not None and not ref.pinned:
            return ref._replace(pinned=True)
        return ref
