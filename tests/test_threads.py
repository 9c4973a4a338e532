"""One engine for many threads: the same answers as alone, and nothing that hangs.

Threads are made to take turns far more often than Python lets them, so that what is not
safe shows.
"""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

import kbengine
from kbengine import Candidate, Engine
from tests.fields import ALL_KINDS, assert_same, texts
from tests.input_method import InputMethod
from tests.soak import times
from tests.toys import finger_engine, messages, toy_bundle, toy_engine

pytestmark = pytest.mark.soak

THREADS = 8
SECONDS = times(240, 3600)  # a thread that takes longer hangs
SLOTS = ("words:3", ALL_KINDS, None)
T = TypeVar("T")


@pytest.fixture(autouse=True)
def restless() -> Iterator[None]:
    """A thread's turn lasts 10 microseconds and not 5 ms."""
    kept = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(kept)


@pytest.fixture(scope="module", params=["toy", "shipped"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return toy_engine() if request.param == "toy" else kbengine.load()


def together(jobs: list[Callable[[], T]]) -> list[T]:
    """What the jobs return, each run in a thread of its own, all let go at once. Daemons:
    where they hang the test fails, and does not hang as well."""
    answers: queue.Queue[tuple[int, T | BaseException]] = queue.Queue()
    begin = threading.Barrier(len(jobs))

    def run(place: int, job: Callable[[], T]) -> None:
        begin.wait(SECONDS)
        try:
            answers.put((place, job()))
        except BaseException as error:
            answers.put((place, error))
            raise

    for place, job in enumerate(jobs):
        threading.Thread(target=run, args=(place, job), daemon=True).start()
    found: dict[int, T] = {}
    for _ in jobs:
        try:
            place, answer = answers.get(timeout=SECONDS)
        except queue.Empty:
            pytest.fail(f"{len(jobs) - len(found)} threads hang")
        if isinstance(answer, BaseException):
            raise answer
        found[place] = answer
    return [found[place] for place in range(len(jobs))]


def chats() -> list[list[str]]:
    """Messages for each thread to type; each thread's are other ones."""
    share = len(messages()) // THREADS
    most = min(share, times(2, share))
    return [list(messages()[i * share :][:most]) for i in range(THREADS)]


def type_chat(engine: Engine, chat: list[str]) -> list[list[Candidate]]:
    """What is suggested at every key of some messages, typed one after the other; now and
    then the best is taken, or a letter too many is typed and taken back."""
    field, seen, earlier = engine.session(), [], []
    for message in chat:
        field.set_context("", earlier)
        for place, char in enumerate(message):
            field.type(char)
            seen.append(field.suggest(3, SLOTS[place % 3]))
            if place % 7 == 6:
                field.type("x")
                seen.append(field.suggest(3))
                field.backspace()
            if place % 11 == 10 and seen[-1]:
                best = field.suggest(1)
                if best:
                    field.accept(best[0])
        earlier.append(message)
    return seen


def ask_one_shots(engine: Engine, chat: list[str]) -> list[list[Candidate]]:
    """The same without a session, each question standing alone."""
    return [
        engine.suggest(message[:place], 3, chat[:1], SLOTS[place % 3])
        for message in chat
        for place in range(0, len(message), 4)
    ]


def assert_all_same(found: list[list[Candidate]], expected: list[list[Candidate]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_sessions_in_threads_answer_as_alone(engine: Engine) -> None:
    alone = [type_chat(engine, chat) for chat in chats()]
    found = together([lambda chat=chat: type_chat(engine, chat) for chat in chats()])
    for one, other in zip(found, alone, strict=True):
        assert_all_same(one, other)


def test_one_shots_and_sessions_in_threads_answer_as_alone(engine: Engine) -> None:
    """Half of the threads type in a session, half of them ask one-shot questions."""
    asked = [(type_chat, ask_one_shots)[i % 2] for i in range(THREADS)]
    alone = [ask(engine, chat) for ask, chat in zip(asked, chats(), strict=True)]
    found = together(
        [lambda ask=ask, chat=chat: ask(engine, chat)
         for ask, chat in zip(asked, chats(), strict=True)]
    )  # fmt: skip
    for one, other in zip(found, alone, strict=True):
        assert_all_same(one, other)


def test_engines_loaded_in_threads_do_not_touch_one_another(tmp_path: Path) -> None:
    """Each thread loads an engine of its own, one and the other bundle by turns."""
    toy = toy_bundle(tmp_path / "toy.bundle")
    chat = chats()[0]
    alone = [type_chat(finger_engine(), chat), type_chat(kbengine.load(), chat)]

    def load_and_type(path: Path | None) -> list[list[Candidate]]:
        return type_chat(kbengine.load(path), chat)

    found = together([lambda path=path: load_and_type(path) for path in (toy, None) * 2])
    for place, one in enumerate(found):
        assert_all_same(one, alone[place % 2])


def test_an_engine_that_outlives_the_thread_that_loaded_it(tmp_path: Path) -> None:
    """A host loads in the background, then uses the engine from its own thread."""
    path = toy_bundle(tmp_path / "toy.bundle")
    (loaded,) = together([lambda: kbengine.load(path)])
    assert_same(loaded.suggest("see you tom"), finger_engine().suggest("see you tom"))


# The first use of what is built only when it is wanted

FIRST_USE = """
import sys, threading
import kbengine

sys.setswitchinterval(1e-5)
engine = kbengine.load(sys.argv[1])
line = "thank you 🙏🏽 so 👍🏽 👏🏽 "
begin, found = threading.Barrier(8), []

def ask(field):
    begin.wait()
    field.set_context(line)
    found.append(field.suggest(5))

fields = [engine.session() for _ in range(8)]
threads = [threading.Thread(target=ask, args=(field,)) for field in fields]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
again = engine.suggest(line, 5)
print(sum(seen != again for seen in found), "of", len(found), "threads saw something else")
"""


def test_the_first_emoji_from_many_threads(tmp_path: Path) -> None:
    """In a fresh process, where no table of emoji has been built yet."""
    path = toy_bundle(tmp_path / "toy.bundle")
    for _ in range(times(5, 100)):
        done = subprocess.run(
            [sys.executable, "-c", FIRST_USE, str(path)],
            cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False,
            timeout=SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout == "0 of 8 threads saw something else\n"


# Stale answers


def test_a_stale_answer_is_told_by_its_revision() -> None:
    """The worker answers for `see you t` when `see you tom` stands there already."""
    asked: queue.Queue[tuple[int, str] | None] = queue.Queue()
    answers: queue.Queue[tuple[int, list[Candidate]]] = queue.Queue()

    def work() -> None:
        while (question := asked.get(timeout=SECONDS)) is not None:
            revision, line = question
            answers.put((revision, toy_engine().suggest(line, 3)))

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    field = toy_engine().session()
    for key in "see you tom":
        field.type(key)
        asked.put((field.revision, field.text))
    asked.put(None)
    worker.join(SECONDS)
    assert not worker.is_alive()
    came = [answers.get(timeout=SECONDS) for _ in "see you tom"]
    fresh = [found for revision, found in came if revision == field.revision]
    assert len(fresh) == 1, "all others are older"
    assert_same(fresh[0], field.suggest(3))
    stale = came[-3][1]
    assert texts(stale) != texts(fresh[0]), "it was another text"


CHANGES: dict[str, Callable[[InputMethod], None]] = {
    "a key": lambda method: method.key("o"),
    "backspace": lambda method: method.backspace(),
    "the caret": lambda method: method.move(4),
    "another text": lambda method: method.focus("see you t", 9),
    "the same text anew": lambda method: method.focus("see you tom", 11),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_host_throws_a_stale_answer_away(change: str) -> None:
    """The answer is on its way to the host's thread when the text changes."""
    posted: queue.Queue[Callable[[], None]] = queue.Queue()
    method = InputMethod(toy_engine(), posted.put)
    method.focus("see you tom", 11)
    late = posted.get(timeout=SECONDS)
    CHANGES[change](method)
    late()
    assert method.strip == [], "what came too late is not shown"
    posted.get(timeout=SECONDS)()
    left = method.text[: method.caret]
    assert method.strip
    assert_same(method.strip, toy_engine().suggest(left, 3))
    method.close()


def test_a_question_that_is_taken_back_is_asked_again() -> None:
    """Backspace in an empty field changes nothing, the revision neither; but it asks."""
    posted: queue.Queue[Callable[[], None]] = queue.Queue()
    method = InputMethod(toy_engine(), posted.put)
    busy = threading.Event()
    method._worker.submit(busy.wait, SECONDS)
    method.backspace()
    method.backspace()
    posted.get(timeout=SECONDS)()
    assert method.strip == [], "the first was cancelled before the worker came to it"
    busy.set()
    posted.get(timeout=SECONDS)()
    assert_same(method.strip, toy_engine().suggest("", 3))
    method.close()


def test_an_answer_in_time_is_shown() -> None:
    posted: queue.Queue[Callable[[], None]] = queue.Queue()
    method = InputMethod(toy_engine(), posted.put)
    method.focus("see you tom", 11)
    posted.get(timeout=SECONDS)()
    assert texts(method.strip)[0] == "tomorrow"
    method.close()


def test_a_hasty_typist_on_a_busy_machine(engine: Engine) -> None:
    """Keys come faster than answers, while other threads keep the engine busy; what is
    shown in the end is for the text in the end."""
    line = "I'm on my way to the station"

    def type_hastily() -> tuple[str, list[Candidate]]:
        posted: queue.Queue[Callable[[], None]] = queue.Queue()
        method = InputMethod(engine, posted.put)
        for key in line:
            method.key(key)
            while not posted.empty():
                posted.get()()
        while not method.strip:
            posted.get(timeout=SECONDS)()
        method.close()
        return method.text, method.strip

    expected = engine.suggest(line, 3)
    assert expected
    for text, strip in together([type_hastily] * THREADS):
        assert text == line
        assert_same(strip, expected)
