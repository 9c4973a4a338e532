"""The error tree.

    KbengineError
    ├── ModelError    a model file that cannot be run, or does not keep the step contract
    ├── BundleError   a bundle that is broken, incomplete, foreign or of another version
    └── StoreError    a store on disk that cannot be read or written
        ├── BudgetError    it has no room for a model
        └── DownloadError  what was to come into it did not come, or came wrong

A caller's mistake is a plain ``ValueError``. What a person types never raises.
"""


class KbengineError(Exception):
    """Whatever kbengine raises of its own, in one sentence that names the mend."""


class ModelError(KbengineError):
    """A model file cannot be run, or does not keep the contract of a step model."""


class BundleError(KbengineError):
    """A bundle is broken, incomplete, foreign, or of a version this program can't read."""


class StoreError(KbengineError):
    """A store on disk cannot be read or written."""


class BudgetError(StoreError):
    """A model is larger than one may be, or all together would be."""


class DownloadError(StoreError):
    """A model or index cannot be had from where it should come, or is not what it should be."""
