"""Files that are written whole or not at all, so that a kill leaves no half of one."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, then put it in its place."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(data)
    os.replace(partial, path)


def write_json(path: Path, value: Any) -> None:
    """A value as JSON, whole or not at all."""
    write_whole(path, json.dumps(value, indent=1).encode())


def sha256(path: Path) -> str:
    """The sha256 of a file's content."""
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
