"""What an input method may import, and that the values it gets cannot be altered."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

import kbengine
from kbengine import types
from kbengine.errors import KbengineError

PUBLIC = [
    "BudgetError",
    "BundleError",
    "Candidate",
    "Context",
    "Correction",
    "DownloadError",
    "Edit",
    "EmojiStyle",
    "Engine",
    "FetchOptions",
    "KbengineError",
    "Layout",
    "ModelError",
    "ModelStore",
    "Session",
    "StoreError",
    "StoreOptions",
    "Tap",
    "load",
    "read_layout",
]
FIELDS = {
    "Correction": ["literal", "text", "p", "replaces"],
    "Tap": ["char", "x", "y", "t_ms"],
    "Context": ["earlier", "before", "taps"],
    "Candidate": ["text", "kind", "source", "logp", "replaces", "parts"],
    "Edit": ["delete", "insert", "delete_after"],
}
SESSION = {"explain",
    "accept", "autocorrect", "backspace", "caret", "context", "jump", "literal", "revert",
    "revision", "set_context", "suggest", "text", "type", "typed",
}  # fmt: skip
VALUES = [
    types.Tap("a"), types.Context(), types.Candidate("a", "word", "t", -1.0), types.Edit(),
    types.Correction("teh", "the", 0.9, 3),
]  # fmt: skip


def test_the_public_names() -> None:
    assert sorted(kbengine.__all__) == PUBLIC
    assert all(hasattr(kbengine, name) for name in PUBLIC)


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))
    assert kbengine.__version__ == project["project"]["version"]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_have_their_fields_and_are_frozen(value: object) -> None:
    assert dataclasses.is_dataclass(value)
    names = [field.name for field in dataclasses.fields(value)]
    assert names == FIELDS[type(value).__name__]
    for name in names:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, getattr(value, name))
    assert not hasattr(value, "__dict__")
    assert hash(value) == hash(dataclasses.replace(value))


def test_every_dataclass_of_types_is_pinned() -> None:
    found = {name for name, value in vars(types).items() if dataclasses.is_dataclass(value)}
    assert found == set(FIELDS)


def test_what_a_session_offers() -> None:
    names = {name for name in vars(kbengine.Session) if not name.startswith("_")}
    assert names | {"revision"} == SESSION


@pytest.mark.parametrize("name", ["BundleError", "ModelError", "StoreError"])
def test_errors_are_of_one_tree_and_no_value_errors(name: str) -> None:
    error = getattr(kbengine, name)
    assert issubclass(error, KbengineError)
    assert not issubclass(error, ValueError | OSError)
