"""Folders that the tools leave pictures in."""

from __future__ import annotations

from pathlib import Path


def make_folder(folder: Path, option: str) -> None:
    """Make a folder where it is not there, before long work rather than after.

    Raises ValueError, naming the option that it was given with, where it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "there is a file of that name" if folder.is_file() else error.strerror
        raise ValueError(f"{folder} cannot be a folder ({why}); give {option} another") from error
