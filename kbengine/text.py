"""What is on the line: normal form, tokens, the open word, casing.

Pure functions, shared by the engine and the training, so that a model always
sees the text that it was trained on.

A *token* is what the language model reads as a unit of its own:

* a word: letters with inner apostrophes, in lower case (``don't``);
* a number: a run of digits;
* an emoji, in its fully qualified form and without skin tone;
* a run of anything else that is not space (``...``, ``?!``, ``:)``).

Spaces are not tokens: a word is the same word after ``(`` and after a space,
and the spacing of signs is left to the rules of the keyboard.
"""

from __future__ import annotations

import functools
import re
import threading
import unicodedata
from collections.abc import Iterable
from enum import Enum
from itertools import chain, pairwise
from typing import Any


def _marks() -> str:
    """The combining marks of the basic plane, as ranges of a character class: `\\w` leaves
    them out, and a word must not end before its accents and vowel signs. Those of emoji
    (U+FE00 to U+FE0F, U+20E3) are not among them: no letter wears one."""
    # Han and Hangul, two thirds of the plane, have none.
    plane = chain(range(0x300, 0x3400), range(0xA000, 0xAC00), range(0xF900, 0x10000))
    found = [i for i in plane if unicodedata.category(chr(i))[0] == "M"]
    found = [i for i in found if i != 0x20E3 and not 0xFE00 <= i <= 0xFE0F]
    ends = [(a, b) for a, b in pairwise(found) if b != a + 1]
    firsts = [found[0], *(b for _, b in ends)]
    lasts = [*(a for a, _ in ends), found[-1]]
    return "".join(f"\\u{a:04x}-\\u{b:04x}" for a, b in zip(firsts, lasts, strict=True))


# U+02BC counts as a letter but is typed for an apostrophe.
_LETTER = rf"(?:[^\W\d_\u02bc]|[{_marks()}])"
# Inside a word, too: ZWNJ and ZWJ, which Persian and Indic words are written with.
_WORD = rf"{_LETTER}+(?:['\u200c\u200d]{_LETTER}+)*"
_TOKEN_RE = re.compile(rf"{_WORD}|\d+|(?:(?!{_LETTER})[^\s\d])+")
_WORD_RE = re.compile(_WORD)
# As it is typed, before `normalise`: with any of the apostrophes, perhaps the last sign yet.
_INNER = "'\u2019\u02bc\u200c\u200d"
_OPEN_WORD_RE = re.compile(rf"{_LETTER}+(?:[{_INNER}]{_LETTER}+)*[{_INNER}]?\Z")
_REST_OF_WORD_RE = re.compile(rf"{_LETTER}*(?:[{_INNER}]{_LETTER}+)*")
MAX_WORD = 256  # letters; a longer run is read from its end

# One spelling for signs that keyboards and word processors write in several ways.
_PLAIN = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u201b": "'", "\u2032": "'",
        "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2033": '"',
        "\u2026": "...", "\u2010": "-", "\u2011": "-",
    }
)  # fmt: skip
# Format characters that change nothing a reader sees. ZWJ, ZWNJ and U+FE0F stay: they
# are part of emoji and of Persian and Indic words.
_UNSEEN_RE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\uffff]")
_CONTROL_RE = re.compile("[\x00-\x1f\x7f-\x9f]")
# Where an emoji can begin: a quick test that spares most lines the emoji library.
_MAYBE_EMOJI_RE = re.compile(
    "[\u00a9\u00ae\u203c\u2049\u20e3\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001faff]"
)
_SKIN_TONE_RE = re.compile("[\U0001f3fb-\U0001f3ff]")


class Shape(Enum):
    """How a word is capitalised."""

    LOWER = "lower"
    TITLE = "title"
    UPPER = "upper"
    MIXED = "mixed"


def normalise(text: str) -> str:
    """`text` in NFC with plain quotes, without control and unseen characters.

    Any string gives a string: lone surrogates, which cannot be encoded, are left out, and
    line breaks and tabs become spaces.
    """
    if text.isascii():
        return _CONTROL_RE.sub(" ", text)
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = _CONTROL_RE.sub(" ", _UNSEEN_RE.sub("", text.translate(_PLAIN)))
    return unicodedata.normalize("NFC", text)  # last: letter and accent may have met just now


_EMOJI_LOCK = threading.Lock()


@functools.cache
def _emoji() -> Any:
    """The emoji library, loaded once an emoji is met. Its search tree is filled by the first
    search, and a second thread must not read it meanwhile."""
    with _EMOJI_LOCK:
        import emoji

        emoji.emoji_count("x")
    return emoji


@functools.cache
def _qualified() -> dict[str, str]:
    """Emoji without U+FE0F -> the fully qualified form."""
    emoji = _emoji()
    full = emoji.STATUS["fully_qualified"]
    return {
        e.replace("\ufe0f", ""): e
        for e, facts in emoji.EMOJI_DATA.items()
        if facts["status"] <= full
    }


def base_emoji(symbol: str) -> str:
    """The fully qualified form of an emoji, without its skin tone.

    >>> base_emoji("\\u2764") == "\\u2764\\ufe0f"
    True
    """
    bare = symbol.replace("\ufe0f", "")
    found = _qualified().get(_SKIN_TONE_RE.sub("", bare))
    # Two people of two tones have no form without.
    return found or _qualified().get(bare, symbol)


def is_emoji(token: str) -> bool:
    """Whether a token is one emoji, in whatever form."""
    return (
        bool(_MAYBE_EMOJI_RE.search(token))
        and token.replace("\ufe0f", "") in _qualified_with_tones()
    )


@functools.cache
def _qualified_with_tones() -> frozenset[str]:
    return frozenset(e.replace("\ufe0f", "") for e in _emoji().EMOJI_DATA)


def emoji_names(language: str) -> dict[str, str]:
    """Every emoji, in all its forms, and its name in a language; none where there are no names."""
    emoji = _emoji()
    if language not in emoji.LANGUAGES:
        return {}
    emoji.config.load_language(language)
    full = emoji.STATUS["fully_qualified"]
    return {
        symbol: facts[language].strip(":").replace("_", " ")
        for symbol, facts in emoji.EMOJI_DATA.items()
        if facts["status"] <= full and language in facts
    }


def split_emoji(text: str) -> list[tuple[str, bool]]:
    """`text` in stretches, each with whether it is one emoji (then in its base form)."""
    if not _MAYBE_EMOJI_RE.search(text):
        return [(text, False)]
    found: list[tuple[str, bool]] = []
    plain = ""
    # U+FE0F before a joiner that joins nothing stops the library from seeing the emoji; the
    # base form has it again.
    text = text.replace("\ufe0f", "")
    for token in _emoji().analyze(text, non_emoji=True, join_emoji=True):
        if isinstance(token.value, str):
            plain += token.chars
            continue
        if plain:
            found.append((plain, False))
            plain = ""
        found.append((base_emoji(token.chars), True))
    return [*found, (plain, False)] if plain else found


def emoji_spans(text: str) -> list[tuple[int, int, str]]:
    """Where the emoji of a text begin and end, and their base forms."""
    if not _MAYBE_EMOJI_RE.search(text):
        return []
    found = []
    for token in _emoji().analyze(text, non_emoji=True, join_emoji=True):
        if not isinstance(token.value, str):
            start = token.value.start
            end = start + len(token.chars)
            # A selector behind an emoji that has none in its name is still a part of it.
            end += text[end : end + 1] == "\ufe0f"
            found.append((start, end, base_emoji(token.chars)))
    return found


def tokens(text: str) -> list[str]:
    """The tokens of a *normalised* text, in lower case; see the module's docstring.

    A sign that is nothing but apostrophes becomes ``"``: it is a quotation mark there,
    and the apostrophe is kept for the inside of words.

    >>> tokens("I can't, not at 10:30 :)")
    ['i', "can't", ',', 'not', 'at', '10', ':', '30', ':)']
    """
    found: list[str] = []
    for stretch, emoji_here in split_emoji(text):
        if emoji_here:
            found.append(stretch)
        else:
            found += [t if t.strip("'") else '"' for t in _TOKEN_RE.findall(stretch.lower())]
    return found


def is_word(token: str) -> bool:
    """Whether a token is a word: letters and inner apostrophes, nothing else."""
    return _WORD_RE.fullmatch(token) is not None


def split_open_word(text: str) -> tuple[str, str]:
    """Text left of the caret -> (text before the open word, the open word).

    The open word is the run of letters and inner apostrophes that the caret touches;
    after a space or a sign there is none.

    >>> split_open_word("They see you t")
    ('They see you ', 't')
    """
    # From the last space on, or each key would search a whole line.
    start = max(0, len(text) - MAX_WORD, text.rfind(" ") + 1)
    match = _OPEN_WORD_RE.search(text, start)
    return (text[: match.start()], match.group()) if match else (text, "")


def rest_of_word(right: str) -> str:
    """What stands of the open word right of the caret."""
    match = _REST_OF_WORD_RE.match(right[:MAX_WORD])
    return match.group() if match else ""


def last_character(line: str) -> str:
    """What one backspace takes away at the end of a line: a letter with its accents, or an
    emoji, however many code points they are; nothing of an empty line."""
    tail = line[-32:]
    if _MAYBE_EMOJI_RE.search(tail):
        *_, last = _emoji().analyze(tail, non_emoji=True, join_emoji=True)
        if not isinstance(last.value, str):
            return tail[last.value.start :]  # with what stands after it unseen
    marks = 0
    while marks < len(tail) - 1 and unicodedata.category(tail[-1 - marks])[0] == "M":
        marks += 1
    return tail[len(tail) - 1 - marks :] if tail else ""


def starts_sentence(before: str) -> bool:
    """Whether a keyboard would have its shift key down after a text, in whatever form.

    True for an empty field or line, and after ``.``, ``!``, ``?`` followed by a space, also
    with a closing quote or bracket between them.
    """
    line = normalise(before[-64:].rpartition("\n")[2])
    tail = line.rstrip().rstrip("\"')]")
    return not tail or (tail[-1] in ".!?" and line[-1:].isspace())


_SMALL_START_RE = re.compile(r"(?:\A|[.!?]\s)\s*[\"'(\[]*[^\W\d_]")


def begins_small(before: str) -> bool:
    """Whether a sentence of a text begins with a small letter.

    >>> begins_small("Hi. how are you?"), begins_small("Hi. How are you?")
    (True, False)
    """
    return any(m.group()[-1].islower() for m in _SMALL_START_RE.finditer(before[-512:]))


def shape(word: str) -> Shape:
    """How a word is capitalised; one capital letter alone counts as TITLE."""
    if not word or word.islower():
        return Shape.LOWER
    letters = [c for c in word if c.isalpha()]
    if all(not c.isupper() for c in letters):
        return Shape.LOWER
    if word[:1].isupper() and all(not c.isupper() for c in word[1:]):
        return Shape.TITLE
    return Shape.UPPER if all(c.isupper() for c in letters) else Shape.MIXED


def without_accents(word: str) -> str:
    """A word without the accents of its letters.

    >>> without_accents("caf\u00e9")
    'cafe'
    """
    return "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))


def title(word: str) -> str:
    """`word` with a capital first letter, the rest as it is."""
    return word[:1].upper() + word[1:]


def follow_case(word: str, typed: str, sentence_start: bool) -> str:
    """`word`, in the casing its lexicon gives it, as it should stand in the field.

    The user's capitals are a wish: ``HEL`` gives ``HELLO``, ``Hel`` gives ``Hello``, and
    letters that were typed keep the case they were typed in, unless that is all lower case,
    where the lexicon's own capitals are restored (``lond`` -> ``London``). A sentence's
    start is capitalised before its first letter is typed; a small letter typed there
    nevertheless is how this user writes.
    """
    given = shape(typed)
    if given is Shape.UPPER:
        return word.upper()
    if given is Shape.TITLE:
        return title(word)
    if given is Shape.MIXED:
        begun = word.lower().startswith(typed.lower())
        return typed + word[len(typed) :] if begun else word
    return title(word) if sentence_start and not typed else word


def count_casings(text: str) -> Iterable[tuple[str, bool]]:
    """The words of a normalised text in their own casing, each with whether it starts a
    sentence there (and so says nothing about how the word is written elsewhere)."""
    end_of_last = 0
    start = True
    for match in _WORD_RE.finditer(text):
        between = text[end_of_last : match.start()]
        if end_of_last:
            start = any(c in '.!?:"' for c in between) or not between
        yield match.group(), start
        end_of_last = match.end()
