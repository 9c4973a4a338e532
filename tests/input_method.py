"""An input method in sixty lines, to copy from: a text field, keys, and a strip of three.

It uses the public names of `kbengine` and nothing else. Two threads share the work. The
toolkit's own thread (where keys arrive and the screen is drawn) has the text and the
`Session`; that is string work and takes microseconds. A worker asks the engine, which takes
milliseconds. By the time it answers the text may be another one: the session's `revision`
tells.

`tests/scripts` drives it, key by key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from kbengine import Candidate, Edit, Engine


class InputMethod:
    """Every method is for the toolkit's thread. `text` and `caret` are the application's
    own; here a string and a number, there whatever `apply` would tell to change."""

    def __init__(self, engine: Engine, post: Callable[[Callable[[], None]], object]) -> None:
        """post: how this toolkit runs a function on its own thread, soon: `GLib.idle_add`,
        `Handler.post`, `loop.call_soon_threadsafe`."""
        self._engine, self._post = engine, post  # one engine for all fields
        self._field = engine.session()  # one session for each field
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._asked: Future[list[Candidate]] | None = None
        self._slots: str | None = None
        self.text, self.caret = "", 0
        self.strip: list[Candidate] = []  # empty until the answer for this text is there

    def focus(
        self, text: str = "", caret: int = 0, earlier: Sequence[str] = (), slots: str | None = None
    ) -> None:
        """A field is entered, or its text was changed by something else than our keys.
        earlier: the messages of the conversation before this one, the oldest first."""
        self.text, self.caret, self._slots = text, caret, slots
        self._field.set_context(text[:caret], earlier, text[caret:])
        self._ask()

    def key(self, char: str) -> None:
        """A letter, a space, a sign. With `type(char, x, y)` the session learns where the
        finger fell, too."""
        self._apply(self._field.type(char))

    def backspace(self) -> None:
        self._apply(self._field.backspace())

    def move(self, caret: int) -> None:
        """The caret was put elsewhere: an arrow key, or a tap into the text."""
        self.caret = caret
        self._field.jump(caret)
        self._ask()

    def tap(self, place: int) -> None:
        """A suggestion was tapped. Where the strip is for an older text it is empty, and a
        finger that comes too soon takes nothing."""
        if place < len(self.strip):
            self._apply(self._field.accept(self.strip[place]))

    def close(self) -> None:
        self._worker.shutdown(cancel_futures=True)

    def _apply(self, edit: Edit) -> None:
        """Do to the application's text what the session has done to its own: the two stay
        equal, though only edits go from one to the other."""
        left = self.text[: self.caret - edit.delete] + edit.insert
        self.text = left + self.text[self.caret + edit.delete_after :]
        self.caret = len(left)
        self._ask()

    def _ask(self) -> None:
        """Ask for what goes on from here, and go on; the answer comes to `_show`."""
        self.strip = []
        if self._asked is not None:
            self._asked.cancel()  # if the worker has not begun it, nobody wants it any more
        context, revision = self._field.context, self._field.revision
        # One-shot: unlike a session's own `suggest`, it is for any thread.
        self._asked = self._worker.submit(self._engine.suggest, context, 3, slots=self._slots)
        self._asked.add_done_callback(
            lambda answer: self._post(lambda: self._show(answer, revision))
        )

    def _show(self, answer: Future[list[Candidate]], revision: int) -> None:
        """Draw the strip, unless a key was pressed since the question."""
        if revision == self._field.revision and not answer.cancelled():
            self.strip = answer.result()
