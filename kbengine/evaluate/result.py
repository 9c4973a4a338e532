"""The result of an evaluation as JSON: figures to read, and counts to compare with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kbengine.engine import Engine
from kbengine.evaluate.counts import Counts, pooled
from kbengine.evaluate.evaluation import Evaluation, Settings
from kbengine.evaluate.figures import RESAMPLES, SEED, Figure, figures
from kbengine.evaluate.measures import fields, measures
from kbengine.evaluate.savings import by_length, by_position

FORMAT = 2  # 1 had another probability of a word


@dataclass(frozen=True)
class FileResult:
    """A file by name and sha256, with what was counted on its lines."""

    name: str
    sha256: str
    counts: Counts


@dataclass(frozen=True)
class Result:
    """A result read back. bundle: the name of the model."""

    bundle: str
    settings: Settings
    files: tuple[FileResult, ...]

    @property
    def pooled(self) -> Counts:
        """The lines of all files."""
        return pooled([file.counts for file in self.files])


def document(
    engine: Engine, bundle: Path, settings: Settings, found: Sequence[Evaluation]
) -> dict[str, Any]:
    """All that `--json` prints; every figure is [value, low, high]."""
    shown = measures(settings.most_letters)
    with bundle.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    files = [
        {
            "name": one.file.name,
            "sha256": one.file.sha256,
            "figures": figures(one.counts, shown),
            "savings_by_length": by_length(one.words),
            "savings_by_position": by_position(one.words),
            "sums": _sums(one.counts),
            "per_line": one.counts.pack(),
        }
        for one in found
    ]
    whole = pooled([one.counts for one in found])
    lines = [words for one in found for words in one.words]
    return {
        "kbengine_eval": FORMAT,
        "version": version("kbengine"),
        "bundle": {
            "name": engine.bundle.name, "sha256": digest, "bytes": engine.bundle.file_bytes,
        },
        "settings": asdict(settings),
        "intervals": {"resamples": RESAMPLES, "seed": SEED, "of": "lines", "level": 0.95},
        "files": files,
        "overall": {
            "figures": figures(whole, shown),
            "savings_by_length": by_length(lines),
            "savings_by_position": by_position(lines),
            "sums": _sums(whole),
        },
    }  # fmt: skip


def _sums(counts: Counts) -> dict[str, float]:
    """The counts summed over all lines."""
    return {
        "lines": len(counts),
        **{name: float(values.sum()) for name, values in counts.fields.items()},
    }


def figures_of(part: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures of a file, or of all, out of a document."""
    return {name: Figure(*figure) for name, figure in part["figures"].items()}


def read_result(path: Path) -> Result:
    """What `--json` or `--out` wrote. Raises ValueError where the file is not that."""
    mend = "give one that `kbengine eval --out` wrote"
    try:
        read = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; {mend}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); {mend}") from error
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is not JSON; {mend}") from None
    if not isinstance(read, dict) or "kbengine_eval" not in read:
        raise ValueError(f"{path} is no result of an evaluation; {mend}")
    if read["kbengine_eval"] != FORMAT:
        raise ValueError(
            f"{path} is of format {read['kbengine_eval']}, this program reads {FORMAT}; "
            "evaluate again"
        )
    try:
        settings = Settings(**read["settings"])
        names = fields(settings.most_letters)
        files = tuple(
            FileResult(str(f["name"]), str(f["sha256"]), Counts.unpack(f["per_line"], names))
            for f in read["files"]
        )
        if not files:
            raise ValueError("it has no files")
        return Result(str(read["bundle"]["name"]), settings, files)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is a damaged result; evaluate again") from error
    except ValueError as error:
        raise ValueError(f"{path} is a damaged result ({error}); evaluate again") from error
