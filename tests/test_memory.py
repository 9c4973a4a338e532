"""Little memory: loading works or says that it cannot; it never takes the host with it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import kbengine
from kbengine.memory import needed, reserve
from kbengine.packaged import DEFAULT_BUNDLE
from tests.hostile import run_limited
from tests.soak import times
from tests.toys import toy_bundle

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's"),
]

# Where it loads, the widest steps and some fields of typing must go well too.
LOAD = """
import sys
from kbengine.errors import ModelError
from tests.memory import type_some
try:
    engine = kbengine.load(sys.argv[1])
except ModelError as error:
    assert "memory" in str(error) and "; " in str(error) and str(error).isprintable(), error
    print("refused")
else:
    engine.model.step([0] * 6, [engine.model.start()] * 6)
    assert type_some(engine) > 0
    print("loaded")
"""


def room_for(path: Path) -> int:
    return needed(sum(map(len, kbengine.bundle.read_bundle(path).parts.values())))


def outcome(path: Path, room: int) -> str:
    done = run_limited(room, LOAD, str(path))
    assert done.returncode == 0, (room, done.returncode, done.stderr[-800:])
    return done.stdout.strip()


@pytest.fixture(params=["toy", "shipped"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return toy_bundle(tmp_path / "toy.bundle") if request.param == "toy" else DEFAULT_BUNDLE


def test_it_loads_or_says_that_the_memory_does_not_suffice(path: Path) -> None:
    """From none at all to twice what loading asks for, more closely around that."""
    need = room_for(path)
    steps = times(6, 40)
    far = [2 * need * i // steps for i in range(steps + 1)]
    near = [need + i * need // 200 for i in range(-times(1, 10), times(1, 10) + 1)]
    found = [outcome(path, room) for room in sorted({*far, *near})]
    assert set(found) == {"refused", "loaded"}
    assert found == sorted(found, reverse=True), "below some limit refused, above it loaded"


def test_room_is_asked_for_and_given_back() -> None:
    for _ in range(100):
        reserve(1 << 30)
    with pytest.raises(kbengine.ModelError, match="4611686018427 MB"):
        reserve(1 << 62)
