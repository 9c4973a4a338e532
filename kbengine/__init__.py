"""kbengine: predicts what a person will type next, at every key press.

engine = kbengine.load()              # the English model in the package
field = engine.session()              # one text field
field.set_context("They see you ")    # text left of the caret
field.suggest(3)                      # [Candidate(...), ...], best first
"""

from kbengine.emojistyle import EmojiStyle
from kbengine.engine import Engine, load
from kbengine.errors import BundleError, KbengineError, ModelError, StoreError
from kbengine.layout import Layout, read_layout
from kbengine.session import Session
from kbengine.types import Candidate, Context, Correction, Edit, Tap

__all__ = [
    "BundleError",
    "Candidate",
    "Context",
    "Correction",
    "Edit",
    "EmojiStyle",
    "Engine",
    "KbengineError",
    "Layout",
    "ModelError",
    "Session",
    "StoreError",
    "Tap",
    "load",
    "read_layout",
]
__version__ = "0.1.0"
