"""Text fields over the toy engine, and what holds of any list of candidates."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kbengine import Candidate, Engine, Session
from kbengine.types import PARTS
from tests.toys import toy_engine

ALL_KINDS = "words:3,phrase:1,emoji:1,literal:1"


def field(
    left: str = "", earlier: Sequence[str] = (), right: str = "", engine: Engine | None = None
) -> Session:
    """A fresh field that holds a text, of the toy engine or another."""
    session = (engine or toy_engine()).session()
    session.set_context(left, earlier, right)
    return session


def type_all(session: Session, keys: str) -> None:
    for key in keys:
        session.type(key)


def texts(candidates: list[Candidate]) -> list[str]:
    return [c.text for c in candidates]


def assert_same(found: list[Candidate], expected: list[Candidate]) -> None:
    """The same candidates, their scores apart by rounding at most."""

    def facts(candidates: list[Candidate]) -> list[tuple[object, ...]]:
        return [(c.text, c.kind, c.source, c.replaces) for c in candidates]

    assert facts(found) == facts(expected)
    for one, other in zip(found, expected, strict=True):
        assert math.isclose(one.logp, other.logp, abs_tol=1e-6)


def assert_sound(found: list[Candidate], typed: str) -> None:
    """What holds of any list of candidates."""
    assert len(set(texts(found))) == len(found)
    for c in found:
        assert c.text.strip(), "nothing that cannot be seen is suggested"
        assert math.isfinite(c.logp)
        assert c.logp <= 0, "a log-probability"
        assert tuple(c.parts) == PARTS
        assert math.isclose(sum(c.parts.values()), c.score, abs_tol=1e-6)
        if c.kind == "sign":  # it takes the place of a space
            assert not typed
            assert c.replaces >= 0
        elif c.source == "spaces":  # perhaps over the space before the open word
            assert c.replaces >= len(typed) > 0
        else:
            assert c.replaces == len(typed)
