"""One text field: what is typed into it, and what is suggested there."""

from __future__ import annotations

from collections.abc import Sequence

from kbengine import text
from kbengine.mix import Slots
from kbengine.predict import Predictor
from kbengine.types import Candidate, Context, Edit, Tap

_CLOSING_SIGNS = frozenset(".,!?;:)]}")


class Session:
    """The text left and right of the caret, and the keys of the open word.

    Suggestions depend on the text alone (and on where the fingers fell): whatever led to
    a text, the same is shown. For one thread; `revision` grows with every change, so that
    a host that asks elsewhere can tell a stale answer.
    """

    def __init__(self, predictor: Predictor, slots: Slots | None = None) -> None:
        self._predictor = predictor
        self._slots = slots
        self._earlier: tuple[str, ...] = ()
        self._left = self._right = ""
        self._taps: list[Tap] = []
        self._auto_space = False
        self.revision = 0

    PLACES = 3  # shown where neither a number nor slots say how many

    @property
    def places(self) -> int:
        """How many candidates `suggest` shows unless told otherwise."""
        return (self._slots.total if self._slots else None) or self.PLACES

    @property
    def text(self) -> str:
        """All that stands in the field."""
        return self._left + self._right

    @property
    def caret(self) -> int:
        """Where the caret stands: characters left of it."""
        return len(self._left)

    @property
    def typed(self) -> str:
        """The letters of the open word left of the caret."""
        return text.split_open_word(self._left[-256:])[1]

    @property
    def context(self) -> Context:
        """What the suggestions are made from."""
        typed = self.typed
        taps = self._taps[-len(typed) :] if typed else []
        if "".join(tap.char for tap in taps) != typed:
            taps = [Tap(char) for char in typed]
        return Context(self._earlier, self._left[: len(self._left) - len(typed)], tuple(taps))

    def _change(self, left: str, right: str, auto_space: bool = False) -> None:
        self._left, self._right, self._auto_space = left, right, auto_space
        self.revision += 1

    def set_context(self, left: str, earlier: Sequence[str] = (), right: str = "") -> None:
        """Put the field's text in place: what stands left and right of the caret, and the
        messages of the conversation before this one, both sides', oldest first."""
        self._earlier = tuple(earlier)
        self._taps = []
        self._change(left, right)

    def type(
        self, char: str, x: float | None = None, y: float | None = None, t_ms: float | None = None
    ) -> Edit:
        """A key was pressed: put its character (or characters) at the caret.

        x, y: where the finger fell, in key widths. A closing sign takes the place of a
        space that `accept` had added. Returns what the host must do to its own text.
        """
        delete = int(self._auto_space and char[:1] in _CLOSING_SIGNS)
        left = self._left[: len(self._left) - delete]
        self._taps.append(Tap(char, x, y, t_ms))
        self._change(left + char, self._right)
        if not self.typed:
            self._taps = []
        return Edit(delete, char)

    def backspace(self) -> Edit:
        """Delete the character left of the caret; at the start of the field, nothing."""
        if not self._left:
            return Edit()
        if self._taps:
            self._taps.pop()
        self._change(self._left[:-1], self._right)
        return Edit(delete=1)

    def jump(self, caret: int) -> None:
        """Put the caret elsewhere in the field.

        Raises ValueError for a place outside the text.
        """
        whole = self.text
        if not 0 <= caret <= len(whole):
            raise ValueError(
                f"the caret cannot stand at {caret}; the text has {len(whole)} characters"
            )
        self._taps = []
        self._change(whole[:caret], whole[caret:])

    def suggest(self, n: int | None = None, slots: str | None = None) -> list[Candidate]:
        """The best candidates at the caret, best first: n, or as many as there are slots,
        or 3. `slots` ("words:2,emoji:1") overrides the session's own.

        Raises ValueError for n below 1 and for slots that cannot be read.
        """
        policy = Slots.parse(slots) if slots else self._slots
        if n is None:
            n = self.places if policy is None else policy.total or self.PLACES
        return self._predictor.suggest(self.context, n, policy)

    def literal(self) -> Candidate | None:
        """What was typed, as a candidate of its own; None where no word is open."""
        found = self._predictor.suggest(self.context, 1, Slots((("literal", 1),)))
        return found[0] if found else None

    def accept(self, candidate: Candidate) -> Edit:
        """Put a candidate in place of what it replaces, with a space after it unless one
        follows. Returns what the host must do to its own text.

        Raises ValueError where the candidate was made for another text (the open word is
        not the one it replaces).
        """
        if candidate.replaces != len(text.normalise(self.typed)):
            raise ValueError(
                f"{candidate.text!r} was suggested for another text; ask for suggestions again"
            )
        delete = len(self.typed)
        space = "" if self._right[:1].isspace() else " "
        insert = candidate.text + space
        self._taps = []
        self._change(self._left[: len(self._left) - delete] + insert, self._right, bool(space))
        return Edit(delete, insert)
