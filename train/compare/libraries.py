"""What a library takes on disk: its own files, and with all that it requires."""

from __future__ import annotations

import functools
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# TensorFlow is installed by one of these names.
TENSORFLOW = ("tensorflow-cpu", "tensorflow")


def distribution(library: str) -> metadata.Distribution:
    """An installed distribution. Raises ValueError where there is none."""
    for name in TENSORFLOW if library == "tensorflow" else (library,):
        try:
            return metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
    raise ValueError(f"{library} is not installed; install kbengine[train]")


@functools.cache
def own_bytes(name: str) -> int:
    """The files that came with a distribution, as its record lists them.

    Raises ValueError where it has no record.
    """
    files = distribution(name).files
    if files is None:
        raise ValueError(f"{name} was installed without a record of its files; install it by pip")
    paths = (Path(str(file.locate())) for file in files)
    return sum(path.stat().st_size for path in paths if path.is_file())


def closure(name: str) -> list[str]:
    """A distribution and all that it requires here, without extras, by name."""
    left, found = [canonicalize_name(distribution(name).metadata["Name"])], set[str]()
    while left:
        if (known := left.pop()) in found:
            continue
        found.add(known)
        wanted = map(Requirement, distribution(known).requires or ())
        left += [
            canonicalize_name(r.name)
            for r in wanted
            if r.marker is None or r.marker.evaluate({"extra": ""})
        ]
    return sorted(found)


def sizes(library: str) -> dict[str, int]:
    """own_bytes: of a library; closure_bytes: with what it requires."""
    name = distribution(library).metadata["Name"]
    return {
        "own_bytes": own_bytes(name),
        "closure_bytes": sum(own_bytes(required) for required in closure(library)),
    }
