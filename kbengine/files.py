"""Files that are left for people: checked before the work, and there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def check_target(path: Path, *sources: Path) -> None:
    """Raise ValueError, before long work, where no file can be left at `path`, or where it would
    take the place of one of those that are read."""
    if path.is_dir():
        raise ValueError(f"{path} cannot be written, since it is a folder; give the name of a file")
    if not path.absolute().parent.is_dir():
        raise ValueError(
            f"{path} cannot be written, since {path.parent} is no folder; make it, or give another "
            "path"
        )
    for source in sources:
        if path.exists() and source.exists() and path.samefile(source):
            raise ValueError(f"{path} is a file that is read; give another path to write")


@contextlib.contextmanager
def whole_file(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write, which is brought to the disk and put at `path` once it is whole.

    Until then it stands beside it as `path`.*.part, under a name that no other writer has; only a
    kill leaves it there. mode: of the file, less the user's mask. Raises OSError.
    """
    partial = path.with_name(f"{path.name}.{os.urandom(6).hex()}.part")
    try:
        # A new file and no link: nothing of another's making is written through.
        with open(partial, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def system_sentence(error: OSError) -> str:
    """What the system could not do, and the mend."""
    if error.errno is None:
        return str(error)  # a sentence of our own
    if error.filename is None:
        return f"the output cannot be written ({error.strerror}); send it elsewhere"
    return f"{error.filename} cannot be used ({error.strerror}); give another path"
