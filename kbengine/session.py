"""One text field: what is typed into it, and what is suggested there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from math import isfinite
from numbers import Real
from typing import NamedTuple

from kbengine import text
from kbengine.autocorrect import Margin
from kbengine.mix import Slots
from kbengine.predict import NO_WISH, Predictor, Wish
from kbengine.types import Candidate, Context, Correction, Edit, Tap

# Signs that take the place of the space that `accept` has added. Colon and semicolon are
# not among them: after a word they mostly begin an emoticon.
_CLOSING_SIGNS = frozenset(".,!?)]}")

_ENDING_SIGNS = _CLOSING_SIGNS | frozenset(";:")  # a word before them is finished
_GOING_ON = frozenset("/\\@_-")  # as a letter does, they say that no word has ended

_SUFFIXES = frozenset(("st", "nd", "rd", "th"))


def checked(earlier: Sequence[str], *texts: str) -> tuple[str, ...]:
    """The earlier messages of a context that a host gives.

    Raises ValueError where they are no list of texts, or one of `texts` is no text.
    """
    if isinstance(earlier, str) or not all(isinstance(t, str) for t in (*texts, *earlier)):
        raise ValueError("a context is a text, and earlier messages are a list of texts")
    return tuple(earlier)


def _is_number(value: object) -> bool:
    """Whether a value is a number that a place or time can be."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    try:
        return real and isfinite(value)  # type: ignore[arg-type]
    except OverflowError:
        return False


class _Space(Enum):
    """What the space left of the caret is: none of ours, added by `accept`, or the one that
    had followed the word and that `accept` stepped over."""

    NONE = 0
    ADDED = 1
    OWN = 2


class _Made(NamedTuple):
    """A correction: where it begins in the field, what stands there and what was typed."""

    start: int
    text: str
    literal: str


def _moved(made: list[_Made], old: str, new: str) -> list[_Made]:
    """Corrections where they stand once a text has changed; those that were changed are gone."""
    least = min(len(old), len(new))
    same = next((i for i in range(least) if old[i] != new[i]), least)
    tail = next((i for i in range(least - same) if old[-1 - i] != new[-1 - i]), least - same)
    found = []
    for one in made:
        if one.start + len(one.text) <= same:
            found.append(one)
        elif one.start >= len(old) - tail:
            found.append(one._replace(start=one.start + len(new) - len(old)))
    return found


class Session:
    """The text left and right of the caret, and the keys of the open word.

    Suggestions depend on the text and on where the fingers fell: whatever led to a text, the
    same is shown. (How far from the keys' centres this person's fingers fall is learned from
    word to word, where places are given.) For one thread; `revision` grows with every change,
    so that a host that asks elsewhere can tell a stale answer.
    """

    def __init__(
        self, predictor: Predictor, wish: Wish = NO_WISH, margin: Margin = "normal"
    ) -> None:
        self._predictor, self._wish, self._margin = predictor, wish, margin
        self._made: list[_Made] = []
        self._never: set[str] = set()  # what was brought back, in lower case
        self._earlier: tuple[str, ...] = ()
        self._left = self._right = ""
        self._taps: list[Tap] = []
        self._space = _Space.NONE
        self.revision = 0

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
        return text.split_open_word(self._left)[1]

    @property
    def context(self) -> Context:
        """What the suggestions are made from."""
        typed = self.typed
        taps: list[Tap] = []
        for tap in reversed(self._taps):
            # Of letters that were not typed here, but put in place, no finger is known.
            if not typed.endswith("".join(t.char for t in [tap, *taps])):
                break
            taps.insert(0, tap)
        known = sum(len(tap.char) for tap in taps)
        unknown = [Tap(char) for char in typed[: len(typed) - known]]
        before = self._left[: len(self._left) - len(typed)]
        return Context(self._earlier, before, (*unknown, *taps))

    def _change(self, left: str, right: str, space: _Space = _Space.NONE) -> None:
        if self._made:
            self._made = _moved(self._made, self.text, left + right)
        self._left, self._right, self._space = left, right, space
        self.revision += 1

    def set_context(self, left: str, earlier: Sequence[str] = (), right: str = "") -> None:
        """Put the field's text in place: what stands left and right of the caret, and the
        messages of the conversation before this one, both sides', oldest first.

        Raises ValueError where `left` or `right` is no text, or `earlier` no list of texts.
        """
        self._earlier = checked(earlier, left, right)
        self._taps = []
        self._change(left, right)

    def type(
        self, char: str, x: float | None = None, y: float | None = None, t_ms: float | None = None
    ) -> Edit:
        """A key was pressed: put its character (or characters) at the caret.

        x, y: where the finger fell, in key widths. A closing sign right after `accept` goes
        before the space there; one that `accept` had added gives way to it. A space, and a sign
        that ends a word, commit what `autocorrect` says. Returns what the host must do to its
        own text.

        Raises ValueError where `char` is no text, or x, y or t_ms are no numbers.
        """
        if not isinstance(char, str) or not char:
            raise ValueError(f"{char!r} is no key; type a character")
        for value in (x, y, t_ms):
            if value is not None and not _is_number(value):
                raise ValueError(f"{value!r} is no place or time; give a number, or nothing")
        hasty = self._hasty(char)
        if hasty is not None:
            return hasty
        if char[:1].isspace() or char[:1] in _ENDING_SIGNS:
            edit = self._commit(char)
            if edit is not None:
                return edit
        moved = char[:1] in _CLOSING_SIGNS and self._space is not _Space.NONE
        insert = char + " " if moved and self._space is _Space.OWN else char
        left = self._left[: len(self._left) - moved]
        self._taps.append(Tap(char, x, y, t_ms))
        self._change(left + insert, self._right, _Space.OWN if insert != char else _Space.NONE)
        if not self.typed:
            self._taps = []
        return Edit(int(moved), insert)

    def _commit(self, char: str) -> Edit | None:
        """End the open word with a space or sign, corrected; None where it stays as it is."""
        made = self.autocorrect()
        if made is None:
            return None
        self._predictor.adapt(self.context.taps, made.text)
        if not made.corrects:
            return None
        left = self._left[: len(self._left) - made.replaces]
        literal = self._left[len(left) :]
        self._taps = []
        self._change(left + made.text + char, self._right)
        self._made.append(_Made(len(left), made.text, literal))
        return Edit(made.replaces, made.text + char)

    def _hasty(self, char: str) -> Edit | None:
        """What a sign has corrected is brought back where no space follows it: it was no end of
        a word, but stands in an address, a file's name, a number. None where there is no such."""
        last, sign = (self._made[-1] if self._made else None), self._left[-1:]
        goes_on = char[:1].isalnum() or char[:1] in _GOING_ON
        if last is None or sign not in _ENDING_SIGNS or not goes_on:
            return None
        if last.start + len(last.text) + 1 != len(self._left):
            return None
        self._made.pop()
        gone = len(self._left) - last.start
        insert = last.literal + sign + char
        self._taps = [Tap(char)]
        self._change(self._left[: last.start] + insert, self._right)
        return Edit(gone, insert)

    def autocorrect(self) -> Correction | None:
        """What a space would commit: what was typed, or a correction, with its probability; None
        where no word is open."""
        if text.rest_of_word(self._right):
            typed = self.typed
            return Correction(typed, typed, 1.0, len(typed)) if typed else None
        return self._predictor.autocorrect(
            self.context, self._margin, self._wish.unfiltered, self._never
        )

    def revert(self) -> Edit:
        """Bring back what was typed in the place of the last correction that still stands, also
        after more has been typed; it is not made again in this field. Returns what the host must
        do to its own text: nothing where there is none."""
        made = self._revertible()
        if made is None:
            return Edit()
        self._made.remove(made)
        start, corrected, literal = made
        self._never.add(literal.lower())
        capital = corrected == text.title(literal) and literal.islower()
        if capital and text.starts_sentence(self._left[:start]):
            self._predictor.leave_small()
        insert = literal + self._left[start + len(corrected) :]
        gone = len(self._left) - start
        self._taps = []
        self._change(self._left[:start] + insert, self._right)
        return Edit(gone, insert)

    def _revertible(self) -> _Made | None:
        """The last correction left of the caret; one of capitals alone only right after it, as
        nobody looks back at those."""
        for made in reversed(self._made):
            end = made.start + len(made.text)
            just_made = len(self._left) - end <= 1
            if end <= len(self._left) and (just_made or made.text.lower() != made.literal.lower()):
                return made
        return None

    def backspace(self) -> Edit:
        """Delete the character left of the caret, an emoji or an accented letter as a whole;
        at the start of the field, nothing."""
        last = text.last_character(self._left)
        gone = len(last)
        if not gone:
            return Edit()
        left = self._left[:-gone]
        while self._taps and gone > 0:
            gone -= len(self._taps.pop().char)
        self._change(left, self._right)
        return Edit(delete=len(last))

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
        wish = self._wish if slots is None else replace(self._wish, slots=Slots.parse(slots))
        return self._predictor.suggest(self.context, n, wish)

    def literal(self) -> Candidate | None:
        """What was typed, as a candidate of its own; None where no word is open."""
        found = self._predictor.suggest(self.context, 1, Wish(Slots((("literal", 1),))))
        return found[0] if found else None

    def explain(self, candidate: str) -> Candidate | None:
        """A text as a candidate at the caret, shown or not, with its parts; None where it cannot
        stand there."""
        return self._predictor.score(self.context, candidate)

    def accept(self, candidate: Candidate, words: int | None = None) -> Edit:
        """Put a candidate in place of the open word, with a space after it.

        words: of a phrase only the first so many. The open word is taken whole, also what stands
        of it right of the caret; a space that follows already serves for the new one, and after a
        sign or a digit one is put before the candidate. A sign goes right after the word before
        it, an emoji of `Engine.emoji` behind the open word. Returns what the host must do to its
        own text.

        Raises ValueError where the candidate was made for an open word of another length, and
        where it has not so many words.
        """
        typed = self.typed
        text_ = candidate.text
        if words is not None:
            parts = text_.split(" ")
            if not 1 <= words <= len(parts):
                raise ValueError(f"{text_!r} has no {words} words; take 1 to {len(parts)}")
            text_ = " ".join(parts[:words])
        sign = candidate.kind == "sign"
        # An emoji of a panel goes behind the word that it was asked for.
        behind = candidate.kind == "emoji" and not candidate.replaces and bool(typed)
        if behind and not text.rest_of_word(self._right):
            typed = ""
        gone = len(self._left) - len(self._left.rstrip(" ")) if sign else len(typed)
        if typed and candidate.source == "spaces" and candidate.replaces > gone:
            # A word over the space before it, which stands there still.
            before = self._left[-candidate.replaces : -gone]
            gone = (
                candidate.replaces
                if before[-1:] == " " and text.is_word(text.normalise(before[:-1]))
                else gone
            )
        if candidate.replaces != gone or (sign and typed):
            raise ValueError(
                f"{candidate.text!r} was suggested for another text; ask for suggestions again"
            )
        after = 0
        if typed:
            after = len(text.rest_of_word(self._right))
        served = self._right[after : after + 1] == " "
        free = candidate.kind in ("emoji", "sign")
        glued = behind or (not typed and not free and _wants_space(self._left, text_))
        insert = " " * glued + text_ + " "
        taps, self._taps = self.context.taps, []
        self._predictor.adapt(taps, text_)
        left = self._left[: len(self._left) - gone]
        after += served
        self._change(left + insert, self._right[after:], _Space.OWN if served else _Space.ADDED)
        return Edit(gone, insert, after)


def _wants_space(left: str, word: str) -> bool:
    """Whether a word right after this text wants a space between."""
    last = text.last_character(left)
    if word.lower() in _SUFFIXES and last.isdigit():
        return False
    return last in _CLOSING_SIGNS or last in (":", ";") or last.isdigit() or text.is_emoji(last)
