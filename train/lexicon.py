"""Which words the lexicon holds: the counted ones without slips, and those of word lists.

A word of the text is judged once, the commonest first, so that a rare spelling is held against
the words that were kept before it:

    right   it stands in the dictionary, or nothing explains it: kept
    loose   a right word without its apostrophe, or a short one that is rare: kept, offered, not
            protected from correction
    slip    a misspelling of a much commoner right word, or right words run together: left out
    scarce  in no list and too rare to be believed: left out

Of word lists, files with a word and its count a line, the first is the dictionary, whose words
need no other proof. The others tell what people write, misspellings included: a word of theirs is
believed where it is as common there as in the text. Without lists the counts alone decide.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kbengine import text
from kbengine.lexicon import Entry, Lexicon, unigram_logp
from kbengine.vocab import MARK, Vocabulary
from train.corpus import Counts

# A spelling other than lower case is shown where more than this share of a word's uses
# inside sentences has it, and it was seen at least so often.
WRITTEN_SHARE = 0.6  # see "Casing" in EXPERIMENTS.md
WRITTEN_COUNT = 3.0

# All that follows is set by `train bundle --words en_82k_books_scowl.txt en_50k_subtitles.txt`
# over the counts of the shipped model: the misspellings of the even rows of
# wikipedia_misspellings.tsv and norvig_testset1.tsv that it leaves in, and the tokens of dev text
# that it takes out.

# How many times as common a right word must be to explain a spelling one slip away, by the letters
# of the spelling at least. Swapped and doubled letters are how one misspells.
LIKELY_RATIOS = ((7, 3.0), (5, 12.0), (4, 60.0), (3, 300.0))
OTHER_RATIOS = ((8, 7.0), (7, 12.0), (6, 60.0), (5, 200.0))
# Where the last letter alone differs: endings do that (centers), and who shortens (comin).
END_RATIOS = ((5, 3000.0),)
DOUBLED_END = 6  # letters; the last one of a shorter word is doubled on purpose: soo
TWO_SLIP_RATIOS = ((9, 30.0), (8, 300.0))  # and one two slips away
FAR_STRENGTH = 100.0  # what a word must count to explain one: rarer ones would cost memory alone
ENDED_WORDS = 20  # kinds of words that have an ending behind an apostrophe ('s, 'll, 'd)
UNPROVEN = 3.0  # times as much where the dictionary lacks the right word
# And times as much, for slips and words run together, where there is no dictionary at all, and
# then only swapped and doubled letters are slips: supper and startled, mayor and bean must stay.
NO_DICTIONARY = 25.0
NAME = 3.0  # times as much where both are mostly capitalised; where the spelling alone is, nothing
BOOKS = 300.0  # a word that the text lacks may be so common by the dictionary's counts, at most
# Right words run together: the pair stands apart so many times as often, or at least this share
# where they were counted less than `RARE_RUN`: compounds and names (powershell) do not.
APART_RATIO, RARE_APART_RATIO = 2.0, 0.25
RARE_RUN = 12.0
RUN_NAME = 5.0  # times as much where the word is mostly capitalised
SHORT_RUN = 4  # letters; shorter ones are abbreviations
SUPPORT = 0.25  # of a word's share in the text, its share in a list that bears it out
SCARCE = 6.0  # in no list, a word is believed when counted so often
# A spelling without its apostrophe is loose where the dictionary accounts for less than this share
# of its uses (cant 0.12, its 1.2, ill 0.5), and the other spelling is so many times as common.
OWN_SHARE = 0.3
LOOSE_RATIO, UNPROVEN_LOOSE_RATIO = 1.0, 6.0  # the second without a dictionary: its, lets
# Short words are what slips make of others (hte, ig): below such a share of the text, by their
# letters at most, they are loose; a dictionary's are below a tenth of it. The commonest that are:
# og, oc, ue; kep, hae.
SHORT_SHARES = ((3, 3e-5), (4, 4e-6))
LISTED_SHORT = 0.1
PROLONGED = 20.0  # a letter three times or more is meant when counted so often
LISTED_COUNT = 1.0  # what a word of the dictionary counts that the text has less often

_PROLONGED_RE = re.compile(r"(.)\1{2,}")
_DOUBLED_RE = re.compile(r"(.)\1+")
_PIECE_BITS = 16
_MOST_PIECES = 4  # of a pair of words, that fit in 64 bits


class WordList(NamedTuple):
    """Words and the share of all words that each is, 0 to 1."""

    shares: Mapping[str, float]

    @classmethod
    def read(cls, path: Path) -> WordList:
        """A word a line, perhaps with its count. Raises ValueError where the file is no such."""
        if not path.is_file():
            raise ValueError(f"{path}: no such file; give a list with a word and its count a line")
        counts: dict[str, float] = {}
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            word, _, count = text.normalise(line).strip().lower().rpartition(" ")
            if not word:
                word, count = count, "1"
            try:
                counts[word] = counts.get(word, 0.0) + float(count)
            except ValueError:
                raise ValueError(f"{path}: {line!r} is no word with its count") from None
        counts = {word: n for word, n in counts.items() if text.is_word(word) and 0 < n < math.inf}
        total = sum(counts.values())
        if not total:
            raise ValueError(f"{path} holds no words; give a list with a word and its count a line")
        return cls({word: n / total for word, n in counts.items()})


# How often the two words stand side by side, for each pair.
PairCounts = Callable[[Sequence[tuple[str, str]]], Sequence[float]]


def written_forms(casings: Mapping[str, float], least: float = WRITTEN_COUNT) -> dict[str, str]:
    """Words in lower case -> how they are mostly written, where that is another casing that was
    counted at least `least` times."""
    by_word: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for form, n in casings.items():
        by_word[form.lower()][form] = n
    chosen = {}
    for word, forms in by_word.items():
        best = max(forms, key=lambda form: (forms[form], form))
        often = forms[best] >= least and forms[best] > WRITTEN_SHARE * sum(forms.values())
        if best != word and often:
            chosen[word] = best
    return chosen


def pair_counts(
    encoded: Sequence[NDArray[np.uint16]], weights: Sequence[float], vocabulary: Vocabulary
) -> PairCounts:
    """Counts pairs of words in text: the pieces of each source and how much it counts.

    A pair that takes more than `_MOST_PIECES` pieces counts 0.
    """

    def count(pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        goes_on = np.array([_goes_on(piece) for piece in vocabulary.pieces])
        found = np.zeros(len(pairs))
        by_length: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for place, (first, second) in enumerate(pairs):
            pieces = vocabulary.encode_token(first) + vocabulary.encode_token(second)
            key = 0
            for piece in pieces:
                key = key << _PIECE_BITS | piece
            by_length[len(pieces)].append((key, place))
        for length, rows in by_length.items():
            if length > _MOST_PIECES:
                continue
            wanted = np.array(sorted(rows), np.uint64)
            for ids, weight in zip(encoded, weights, strict=True):
                if len(ids) <= length:
                    continue
                keys = np.zeros(len(ids) - length, np.uint64)
                for at in range(length):
                    keys = keys << np.uint64(_PIECE_BITS) | ids[at : at - length]
                # A word of theirs may be the beginning of a longer one.
                keys, n = np.unique(keys[~goes_on[ids[length:]]], return_counts=True)
                if not len(keys):
                    continue
                places = np.minimum(np.searchsorted(keys, wanted[:, 0]), len(keys) - 1)
                same = keys[places] == wanted[:, 0]
                found[wanted[same, 1].astype(np.intp)] += weight * n[places[same]]
        return [float(n) for n in found]

    return count


def _goes_on(piece: str) -> bool:
    """Whether a piece is a further one of a word; neither signs nor </s> are."""
    return not piece.startswith((MARK, "<")) and any(c.isalpha() for c in piece)


@dataclass(frozen=True)
class Choice:
    """What became of the words of a text: kept ones with their counts, the commonest first, and
    why the others were left out: the word or words they stand for, nothing for the scarce."""

    kept: dict[str, float]
    loose: dict[str, str]  # the word it stands for, "" where it is short and rare
    slips: dict[str, str]
    run_ons: dict[str, str]
    scarce: set[str]


class _Judge:
    """Holds spellings against the right words met so far."""

    def __init__(self, words: Mapping[str, float], counts: Counts, lists: Sequence[WordList]):
        self.total = sum(words.values())
        self.counts = words
        self.dictionary = dict(lists[0].shares) if lists else {}
        self.others = [known.shares for known in lists[1:]]
        self.written = written_forms(counts.casings)
        self._near: defaultdict[str, list[str]] = defaultdict(list)
        self.endings = Counter(w.rpartition("'")[2] for w in words if "'" in w)
        self.right: Mapping[str, float] = {}  # what was kept so far
        for word in self.dictionary:
            self.learn(word)

    def strength(self, word: str) -> float:
        """How often a right word might stand in the text."""
        listed = min(self.dictionary.get(word, 0.0) * self.total, BOOKS)
        return max(self.counts.get(word, 0.0), listed)

    def learn(self, word: str) -> None:
        """Let a right word explain others."""
        far = len(word) >= LIKELY_RATIOS[0][0] - 1 and self.strength(word) >= FAR_STRENGTH
        for left in _without(word, 2 if far else 1):
            self._near[left].append(word)

    def supported(self, word: str) -> bool:
        """Whether a list that is no dictionary bears a word out."""
        share = SUPPORT * self.counts.get(word, 0.0) / self.total
        return any(known.get(word, 0.0) >= max(share, 1e-12) for known in self.others)

    def apostrophised(self, word: str) -> str | None:
        """The commoner right word that a word is without its apostrophe."""
        if "'" in word:
            return None
        n = self.counts[word]
        own = self.dictionary.get(word, 0.0) * self.total
        if own >= OWN_SHARE * n:
            return None
        forms = (f"{word[:i]}'{word[i:]}" for i in range(1, len(word)))
        forms = (form for form in forms if self._is_part(form))
        best = max(forms, key=lambda form: self.counts.get(form, 0.0), default="")
        ratio = LOOSE_RATIO if self.dictionary else UNPROVEN_LOOSE_RATIO
        return best if self.counts.get(best, 0.0) >= max(ratio * n, WRITTEN_COUNT) else None

    def misspelt(self, word: str) -> str | None:
        """The right word that a spelling is a slip of."""
        if self.is_ended(word):
            return None  # audience's is no slip of audiences
        far = len(word) >= LIKELY_RATIOS[0][0]
        n = self.counts[word]
        best, most = None, 0.0
        seen = {word}
        for left in _without(word, 2 if far else 1):
            for other in self._near.get(left, ()):
                if other in seen:
                    continue
                seen.add(other)
                strength = self.strength(other)
                if strength <= most or strength < LIKELY_RATIOS[0][1] * n:
                    continue
                if strength >= self._needed(word, other) * n and not self._borne_out(word, other):
                    best, most = other, strength
        return best

    def is_ended(self, word: str) -> bool:
        """Whether a word is a right one and an ending that follows an apostrophe at many."""
        short, _, ending = word.rpartition("'")
        return self.endings[ending] >= ENDED_WORDS and self._is_part(short)

    def _needed(self, word: str, right: str) -> float:
        """How many times as common `right` must be to explain `word`."""
        if word[0] != right[0] and word[1::-1] != right[:2]:  # one starts a word right
            return float("inf")
        moved = "'" in word and word.replace("'", "") == right.replace("'", "")
        slips = _slips(word, right)
        table = {1: OTHER_RATIOS, 2: TWO_SLIP_RATIOS}.get(slips, ())
        likely = moved or _likely(word, right)
        if likely:
            table = LIKELY_RATIOS
        elif right in (word[:-1], word[:-1] + right[-1]) or word == right[:-1]:
            table = END_RATIOS
        elif slips == 2 and abs(len(word) - len(right)) > 1:
            table = ()
        needed = next((ratio for letters, ratio in table if len(word) >= letters), float("inf"))
        if not self.dictionary and not likely:
            return float("inf")
        if right not in self.dictionary:
            needed *= UNPROVEN if self.dictionary else NO_DICTIONARY
        if word in self.written:
            needed *= NAME if right in self.written else float("inf")
        return needed

    def _borne_out(self, word: str, right: str) -> bool:
        """Whether a list that has the spelling has it too often for a slip."""
        needed = self._needed(word, right)
        return any(known.get(word, 0.0) * needed > known.get(right, 0.0) for known in self.others)

    def prolonged(self, word: str) -> str | None:
        """The right word whose letters a rare spelling repeats."""
        if self.counts[word] >= PROLONGED or not _PROLONGED_RE.search(word):
            return None
        for letters in (r"\1", r"\1\1"):
            short = _PROLONGED_RE.sub(letters, word)
            if short in self.dictionary or short in self.right:
                return short
        return None

    def parts(self, word: str) -> Iterator[tuple[str, str]]:
        """Right words, two and two, that make a word when run together."""
        for cut in range(1, len(word) if len(word) >= SHORT_RUN else 0):
            first, second = word[:cut], word[cut:]
            if self._is_part(first) and self._is_part(second):
                yield first, second

    def _is_part(self, word: str) -> bool:
        return (word in self.dictionary or word in self.right) and text.is_word(word)

    def is_run_on(self, word: str, first: str, second: str, apart: float) -> bool:
        """Whether a word is two that stand apart so often."""
        n = self.counts[word]
        rare = n < RARE_RUN and min(len(first), len(second)) > 1
        ratio = RARE_APART_RATIO if rare else APART_RATIO
        if not self.dictionary:
            ratio *= NO_DICTIONARY
        return apart >= ratio * (RUN_NAME if word in self.written else 1.0) * n


def _without(word: str, letters: int) -> Iterable[str]:
    """A word, and it without up to so many of its letters."""
    found = {word}
    for _ in range(letters):
        found |= {w[:i] + w[i + 1 :] for w in found for i in range(len(w))}
    return found


def _likely(word: str, right: str) -> bool:
    """Whether two neighbouring letters are swapped, or some are doubled or were."""
    if len(word) == len(right) and word != right:
        differ = [i for i, (a, b) in enumerate(zip(word, right, strict=True)) if a != b]
        first, last = differ[0], differ[-1]
        if last == first + 1 and word[first : last + 1] == right[last] + right[first]:
            return True
    if len(word) < DOUBLED_END and word[:-1] == right:
        return False  # sooo begins with soo
    return _DOUBLED_RE.sub(r"\1", word) == _DOUBLED_RE.sub(r"\1", right)


def _slips(word: str, right: str) -> int:
    """How many letters must be put in, left out, replaced or swapped with the next."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(word, 1):
        older, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            least = min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and b == word[i - 2]:
                least = min(least, older[j - 2] + 1)
            row.append(least)
    return row[-1]


def choose(
    counts: Counts,
    least: float,
    lists: Sequence[WordList] = (),
    pairs: PairCounts | None = None,
) -> Choice:
    """Judge the words that were counted at least `least` times; see the module's docstring."""
    words = {t: n for t, n in counts.tokens.items() if text.is_word(t)}
    judge = _Judge(words, counts, lists)
    kept: dict[str, float] = {}
    judge.right = kept
    found = Choice(kept, {}, {}, {}, set())
    ordered = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    for word, n in ordered:
        if n < least:
            break
        if (apart := judge.apostrophised(word)) is not None:
            found.loose[word] = apart
        elif word in judge.dictionary:
            pass
        elif (right := judge.prolonged(word) or judge.misspelt(word)) is not None:
            found.slips[word] = right
            continue
        elif lists and n < SCARCE and not judge.supported(word) and not judge.is_ended(word):
            found.scarce.add(word)
            continue
        kept[word] = n
        if word not in judge.dictionary and word not in found.loose:
            judge.learn(word)
    _leave_out_run_ons(judge, found, pairs)
    for word in judge.dictionary:
        kept.setdefault(word, LISTED_COUNT)
    for word, n in kept.items():
        least_share = next((share for letters, share in SHORT_SHARES if len(word) <= letters), 0.0)
        least_share *= LISTED_SHORT if word in judge.dictionary else 1.0
        if n < least_share * judge.total:
            found.loose.setdefault(word, "")
    return found


def _leave_out_run_ons(judge: _Judge, found: Choice, pairs: PairCounts | None) -> None:
    """Sort out the kept words that are others run together, when all right words are known."""
    asked: list[tuple[str, str, str]] = []
    for word in found.kept:
        if word in judge.dictionary or word in found.loose or judge.supported(word):
            continue
        asked += [(word, *parts) for parts in judge.parts(word)]
    if pairs is None:  # as often as if the one had nothing to do with the other
        apart = [judge.strength(a) * judge.strength(b) / judge.total for _, a, b in asked]
    else:
        apart = list(pairs([(a, b) for _, a, b in asked]))
    for (word, first, second), n in zip(asked, apart, strict=True):
        if judge.is_run_on(word, first, second, n):
            found.run_ons.setdefault(word, f"{first} {second}")
    for word, form in list(found.loose.items()):
        if form in found.run_ons:  # idont, of idon't
            found.run_ons[word] = found.run_ons[form]
            del found.loose[word]
    for word in found.run_ons:
        del found.kept[word]


def build_lexicon(
    counts: Counts,
    vocabulary: Vocabulary,
    size: int,
    least: float,
    lists: Sequence[WordList] = (),
    pairs: PairCounts | None = None,
) -> Lexicon:
    """The commonest `size` words that `choose` keeps."""
    found = choose(counts, least, lists, pairs)
    total = sum(n for t, n in counts.tokens.items() if text.is_word(t))
    written = written_forms(counts.casings)
    if lists:  # of a rare word of the dictionary, little was seen: the more it counts
        rare = written_forms(counts.casings, 0.0).items()
        listed = lists[0].shares
        written |= {w: f for w, f in rare if w in listed and counts.tokens.get(w, 0.0) < least}
    commonness = lists[0].shares if lists else {}
    ordered = sorted(
        found.kept.items(), key=lambda kv: (-kv[1], -commonness.get(kv[0], 0.0), kv[0])
    )
    return Lexicon.build(
        (
            Entry(word, unigram_logp(n, total), written.get(word, word), word in found.loose)
            for word, n in ordered[:size]
        ),
        vocabulary,
    )
