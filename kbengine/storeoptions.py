"""Where a store of models looks, and how much it may keep."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from kbengine import cachefolder
from kbengine.errors import StoreError
from kbengine.fetch import FetchOptions
from kbengine.modelindex import checked_url, is_url
from kbengine.modelshelf import WhenFull

INDEX = "KBENGINE_INDEX"
UPDATE_DAYS = "KBENGINE_UPDATE_DAYS"


@dataclass(frozen=True)
class StoreOptions:
    """index: the URL or path of an index, None: what $KBENGINE_INDEX says; model_bytes: the most a
    model may have, $KBENGINE_MODEL_MB or 10 MB; total_bytes: the most that may lie in the cache
    folder, $KBENGINE_TOTAL_MB or 50 MB; when_full: whether a model that does not fit is refused, or
    those that were used longest ago, and that nobody uses now, are dropped for it; update_days:
    `load` asks the index again after so many days, None: what $KBENGINE_UPDATE_DAYS says, else
    never; fetch: see `kbengine.fetch`."""

    index: str | Path | None = None
    model_bytes: int = field(default_factory=cachefolder.model_bytes)
    total_bytes: int = field(default_factory=cachefolder.total_bytes)
    when_full: WhenFull = "drop"
    update_days: float | None = None
    fetch: FetchOptions = field(default_factory=FetchOptions)

    def __post_init__(self) -> None:
        """Raises ValueError for what is no option."""
        if self.when_full not in get_args(WhenFull):
            raise ValueError(f"{self.when_full!r} is none of drop and refuse; give one")
        if min(self.model_bytes, self.total_bytes) <= 0:
            raise ValueError("model_bytes and total_bytes must be more than 0")
        if self.update_days is not None and not self.update_days >= 0:
            raise ValueError(f"{self.update_days!r} is no number of days; give one, or None")

    @property
    def due_days(self) -> float:
        """After how many days the index is asked again; infinite for never. Raises StoreError."""
        if self.update_days is not None:
            return self.update_days
        named = os.environ.get(UPDATE_DAYS) or "inf"
        try:
            days = float(named)
        except ValueError:
            days = math.nan
        if not days >= 0:
            raise StoreError(f"{UPDATE_DAYS} is {named!r}; set it to a number of days, or unset it")
        return days

    @property
    def index_place(self) -> str:
        """Where the index is; a path in full. Raises StoreError where none is known."""
        place = self.index or os.environ.get(INDEX)
        if not place:
            raise StoreError(
                f"no index is known; set {INDEX}, or give StoreOptions(index=...), or `kbengine "
                "models pull --index`"
            )
        place = str(place)
        return checked_url(place) if is_url(place) else str(Path(place).expanduser().absolute())
