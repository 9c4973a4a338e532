"""Lexicons of any size: the shipped words, and blends of them where more are wanted."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from kbengine import text
from kbengine.bench.clock import Samples
from kbengine.bench.growth import Curve
from kbengine.lexicon import Entry, Lexicon
from kbengine.vocab import Vocabulary

LEXICON_SIZE = "words in the lexicon"


def entries_of_size(lexicon: Lexicon, vocabulary: Vocabulary, size: int) -> list[Entry]:
    """So many different words, the commonest first: those of a lexicon, and once they run out
    the beginning of one with the end of another (`brunch`), as rare as its rarest.

    A blend is like a word in its letters and pieces, which is all the search sees. The same
    words every time. Raises ValueError where blends do not suffice, or size is below 1.
    """
    if size < 1:
        raise ValueError(f"a lexicon of {size} words cannot be; ask for 1 or more")
    found = sorted(lexicon, key=lambda entry: (-entry.logp, entry.word))[:size]
    known = {entry.word for entry in found}
    words, rarest = [entry.word for entry in found], found[-1].logp
    rng = random.Random(1)
    misses = 0
    while len(found) < size:
        first, last = rng.choice(words), rng.choice(words)
        blend = first[: (len(first) + 1) // 2] + last[len(last) // 2 :]
        if blend in known or not _can_stand(blend, vocabulary):
            misses += 1
            if misses > 100 * size:
                raise ValueError(f"{len(words)} words do not give {size} by blending; ask for less")
            continue
        known.add(blend)
        found.append(Entry(blend, rarest, blend))
    return found


def _can_stand(word: str, vocabulary: Vocabulary) -> bool:
    """Whether `Lexicon.build` would take a word."""
    return text.is_word(word) and vocabulary.spell(vocabulary.encode_token(word)) == word


def build_lexicons(
    lexicon: Lexicon, vocabulary: Vocabulary, sizes: tuple[int, ...], tick: Callable[[], None]
) -> tuple[dict[int, Lexicon], list[Curve]]:
    """A lexicon of each size, and what building it and reading it back cost (once each)."""
    entries = entries_of_size(lexicon, vocabulary, max(sizes))
    lexicons, build, load = {}, {}, {}
    for size in sizes:
        build[size], load[size] = Samples(), Samples()
        built = build[size].time(partial(Lexicon.build, entries[:size], vocabulary))
        data = built.to_bytes()
        lexicons[size] = load[size].time(partial(Lexicon.from_bytes, data, vocabulary))
        tick()
    return lexicons, [
        Curve("lexicon built", LEXICON_SIZE, False, build),
        Curve("lexicon loaded", LEXICON_SIZE, False, load),
    ]
