"""How hard the tests try: a little by default, for long with ``KBENGINE_SOAK=1``.

`times` gives the counts of loops and properties; the mark `soak` is on the tests that use it.
Importing this sets hypothesis's profile too. Neither profile has a deadline: how fast a
machine is, is no property of the engine.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

SOAK = bool(os.environ.get("KBENGINE_SOAK"))


def times(quick: int, soak: int) -> int:
    """How often a loop runs, or how many examples hypothesis tries."""
    return soak if SOAK else quick


settings.register_profile("quick", deadline=None)
settings.register_profile(
    "soak", deadline=None, max_examples=5000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("soak" if SOAK else "quick")
