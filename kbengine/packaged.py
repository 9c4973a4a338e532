"""The models in the package, which need neither cache nor network."""

from __future__ import annotations

from pathlib import Path

from kbengine.container import open_container
from kbengine.fetch import sha256_of
from kbengine.wanted import Wanted

_FOLDER = Path(__file__).parent / "models"
DEFAULT_BUNDLE = _FOLDER / "en.bundle"


def bundles() -> dict[str, Path]:
    """Name to file of all of them, by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.bundle"), key=lambda p: p.stem)}


def packaged(wanted: Wanted) -> Path | None:
    """The one that is asked for. Raises BundleError."""
    path = bundles().get(wanted.name or "")
    if path is None or wanted.sha256 not in (None, sha256_of(path)):
        return None
    if wanted.version is not None:
        with open_container(path) as container:
            if container.manifest().get("version") != wanted.version:
                return None
    return path
