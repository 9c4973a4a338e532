"""`kbengine.load`: an engine from a path, a name or a URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kbengine.engine import Engine, open_engine
from kbengine.errors import BundleError
from kbengine.modelindex import checked_sha256, is_url, name_and_version
from kbengine.packaged import DEFAULT_BUNDLE

if TYPE_CHECKING:
    from kbengine.fetch import Progress
    from kbengine.modelstore import ModelStore


def is_path(source: str | Path) -> bool:
    """Whether this means a file, and no name or URL of a model. A name has neither dots nor
    slashes: a file of that name is `./es`."""
    return isinstance(source, Path) or not (is_url(source) or name_and_version(source))


def load(
    source: str | Path | None = None,
    sha256: str | None = None,
    store: ModelStore | None = None,
    progress: Progress | None = None,
) -> Engine:
    """The engine of a bundle: of the English one in the package, of the file at a path, or of a
    model by its name ("es", "es@3") or URL, from the cache, else from where it is published (see
    `kbengine.ModelStore.load`).

    A bundle of the shipping form is restored first, once (`kbengine.restored`). sha256: that the
    file must have. store: with other options than the default; progress: of a download. The
    package's own models and files need no network.

    Raises BundleError or ModelError, in one sentence, where a file cannot be used; StoreError and
    its kinds where a model cannot be had; ValueError for what is no sha256.
    """
    if source is not None and not is_path(source):
        from kbengine.modelstore import ModelStore

        return (store or ModelStore()).load(str(source), sha256, progress)
    path = DEFAULT_BUNDLE if source is None else Path(source)
    if isinstance(source, str) and not set(source) & set("./\\") and not path.is_file():
        raise ValueError(
            f"{source[:80]!r} is neither a file nor the name of a model; a name is such as es or "
            "es@3, in small letters"
        )
    if sha256 is not None:
        _check(path, checked_sha256(sha256))
    return open_engine(path)


def _check(path: Path, sha256: str) -> None:
    """Raises BundleError where a file has another sha256."""
    from kbengine.fetch import sha256_of

    try:
        found = sha256_of(path)
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}); give another") from error
    if found != sha256:
        raise BundleError(f"{path} has the sha256 {found}, not the one asked for; fetch it again")
