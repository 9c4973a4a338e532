"""The error tree.

    KbengineError
    ├── ModelError    a model file that cannot be run, or does not keep the step contract
    ├── BundleError   a bundle that is broken, incomplete, foreign or of another version
    └── StoreError    a store on disk that cannot be read or written

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
