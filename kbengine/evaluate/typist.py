"""An ideal user types a line, looks at the candidates before each letter, and is counted.

The user picks the word as soon as it is among the first k candidates: one keystroke, which
also types the space after the word if there is one. Everything else costs a keystroke a
character; shift costs nothing. This is the counting of keystroke savings in Trnka and McCoy
2008, "Evaluating Word Prediction: Framing Keystroke Savings", with a space typed by the pick.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kbengine.evaluate.lines import Word, words

Suggest = Callable[[str, str], Sequence[str]]
"""(the line before the word, the letters typed of it) -> candidates, best first."""

Sums = defaultdict[str, float]
TOPS = (1, 3, 5)
SHOWN = 5  # candidates asked for at least, so that top-5 can be counted


class Look(NamedTuple):
    """What the user sees before one letter of a word.

    rank, exact_rank: the word's place among the candidates from 1, None where it is not
    there; whatever its case, and in its own case. phrase_end: where in the line the longest
    phrase ends that the line goes on with, 0 for none. phrase_shown: whether there is one
    at all, right or wrong.
    """

    rank: int | None
    exact_rank: int | None
    phrase_end: int
    phrase_shown: bool


class TypedWord(NamedTuple):
    """What one word cost. letters: its length; position: how many words stand before it in
    the line; room: its characters with the space a pick types; saved: keystrokes saved."""

    letters: int
    position: int
    room: int
    saved: int


@dataclass(frozen=True)
class TypedLine:
    """The sums of one line by field (see `measures`), and its words one by one."""

    sums: Sums
    words: list[TypedWord]


def fold(word: str) -> str:
    """A word as it is compared whatever its case."""
    return word.lower().replace("\u2019", "'")


def _place(candidates: Sequence[str], word: str) -> int | None:
    return next((i for i, candidate in enumerate(candidates, 1) if candidate == word), None)


def look(shown: Sequence[str], line: str, word: Word, k: int) -> Look:
    """What there is to see in a list of candidates; phrases among the first k alone."""
    texts = [candidate.strip() for candidate in shown]
    phrases = [candidate for candidate in texts[:k] if " " in candidate]
    ends = (word.start + len(phrase) for phrase in phrases if goes_on(line, word.start, phrase))
    return Look(
        _place([fold(candidate) for candidate in texts], fold(word.text)),
        _place(texts, word.text),
        max(ends, default=0),
        bool(phrases),
    )


def goes_on(line: str, start: int, phrase: str) -> bool:
    """Whether the line goes on with a whole phrase, which ends where a word ends."""
    end = start + len(phrase)
    return fold(line[start:end]) == fold(phrase) and not line[end : end + 1].isalpha()


def _picked(looks: Sequence[Look], k: int, exact: bool = False) -> int | None:
    """How many letters are typed before the word can be picked, None where it never can."""
    for typed, seen in enumerate(looks):
        rank = seen.exact_rank if exact else seen.rank
        if rank is not None and rank <= k:
            return typed
    return None


def _space_after(line: str, end: int) -> int:
    return int(line[end : end + 1] == " ")


def type_line(line: str, suggest: Suggest, k: int, most_letters: int) -> TypedLine:
    """Type a cleaned line; `suggest` is asked once before each letter of each word.

    k: candidates looked at; most_letters: completion is counted after 1 to so many letters.
    """
    sums: Sums = defaultdict(float, chars=len(line))
    places = words(line)
    typed_words: list[TypedWord] = []
    seen: list[list[Look]] = []
    for position, word in enumerate(places):
        looks = [
            look(suggest(line[: word.start], word.text[:typed]), line, word, k)
            for typed in range(len(word.text))
        ]
        _count_first_look(sums, looks[0])
        _count_completion(sums, looks[1:], most_letters)
        typed_words.append(_count_keys(sums, line, word, position, looks, k))
        seen.append(looks)
    for field in ("keys", "keys_exact", "keys_bound_0", "keys_bound_1"):
        sums[field] += len(line)  # less what the words have saved
    sums["keys_phrases"] = _keys_with_phrases(line, places, seen, k)
    return TypedLine(sums, typed_words)


def _count_first_look(sums: Sums, first: Look) -> None:
    """Before the first letter: the next word, and phrases."""
    sums["words"] += 1
    for top in TOPS:
        sums[f"top{top}"] += first.rank is not None and first.rank <= top
        sums[f"exact{top}"] += first.exact_rank is not None and first.exact_rank <= top
    sums["phrases_shown"] += first.phrase_shown
    sums["phrases_right"] += first.phrase_end > 0


def _count_completion(sums: Sums, looks: Sequence[Look], most_letters: int) -> None:
    """After each letter but the last."""
    for typed, seen in enumerate(looks, 1):
        sums["prefixes"] += 1
        sums["reciprocal_ranks"] += 1 / seen.rank if seen.rank else 0
        if typed <= most_letters:
            sums[f"after{typed}"] += 1
            sums[f"after{typed}_top3"] += seen.rank is not None and seen.rank <= 3


def _count_keys(
    sums: Sums, line: str, word: Word, position: int, looks: Sequence[Look], k: int
) -> TypedWord:
    """Keystrokes saved on a word: by this list, and by one that had it after 0 letters or 1."""
    letters = len(word.text)
    room = letters + _space_after(line, word.end)

    def saved(typed: int | None) -> int:
        return 0 if typed is None else room - typed - 1

    picked = _picked(looks, k)
    sums["letters"] += letters
    sums["letters_typed"] += letters if picked is None else picked
    sums["keys"] -= saved(picked)
    sums["keys_exact"] -= saved(_picked(looks, k, exact=True))
    sums["keys_bound_0"] -= saved(0)
    sums["keys_bound_1"] -= saved(1) if letters > 1 else 0
    return TypedWord(letters, position, room, saved(picked))


def _keys_with_phrases(
    line: str, places: Sequence[Word], seen: Sequence[Sequence[Look]], k: int
) -> int:
    """Keystrokes of a user who takes phrases too: a word or phrase as soon as one is there,
    the phrase where both are."""
    keys = done = 0
    for word, looks in zip(places, seen, strict=True):
        if word.start < done:
            continue  # a phrase has typed it
        keys += word.start - done
        picked = _picked(looks, k)
        phrase = next((i for i, one in enumerate(looks) if one.phrase_end), None)
        if phrase is not None and (picked is None or phrase <= picked):
            picked, end = phrase, looks[phrase].phrase_end
        else:
            end = word.end
        if picked is None:
            keys += len(word.text)
            done = end
        else:
            keys += picked + 1
            done = end + _space_after(line, end)
    return keys + len(line) - done
