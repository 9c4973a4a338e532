"""kbengine: predicts what a person will type next, at every key press.

engine = kbengine.load()              # the English model in the package
field = engine.session()              # one text field
field.set_context("They see you ")    # text left of the caret
field.suggest(3)                      # [Candidate(...), ...], best first
"""

from kbengine.emojistyle import EmojiStyle
from kbengine.engine import Engine
from kbengine.errors import (
    BudgetError,
    BundleError,
    DownloadError,
    KbengineError,
    ModelError,
    StoreError,
)  # fmt: skip
from kbengine.fetch import FetchOptions
from kbengine.layout import Layout, read_layout
from kbengine.loading import load
from kbengine.modelstore import ModelStore
from kbengine.session import Session
from kbengine.storeoptions import StoreOptions
from kbengine.types import Candidate, Context, Correction, Edit, Tap

__all__ = [
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
__version__ = "0.1.0"
