"""How fingers slip and people misspell: all numbers of `kbengine.channel.ChannelModel`, fitted.

Rules of spelling are learned from lists of misspellings (Brill and Moore 2000, "An Improved Error
Model for Noisy Channel Spelling Correction"): a wrong and a right word are aligned at least cost,
and each edit is counted with the letters around it. Of each list every second row is learned from,
the first, the third and so on; the others are what is reported on. Such a list says how people
misspell, not how often: that comes from the training text, as the share of the listed right words'
uses that are spelt as listed.

Rates of slips come from the counts of the training text: a token that is no right word and one slip
away from much commoner right words is theirs, in shares, as often as their counts and the rates so
far make likely (expectation maximisation). What people mend before they send is not in the text;
`--mended` says how much that is, of slips and of misspellings alike; apostrophes and accents, which
people leave out as a habit, they do not mend.

Leaves WORK/channel.tsv, the model, and WORK/channel.json, what was measured.
"""

from __future__ import annotations

import argparse
import math
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kbengine import text
from kbengine.channel import APOSTROPHE, LONGEST_RULE, Channel, ChannelModel, Rates
from kbengine.decoder import Decoder
from kbengine.engine import load
from kbengine.layout import Layout, read_layout
from kbengine.lettertrie import LetterTrie
from kbengine.lexicon import Lexicon
from kbengine.types import Tap
from train.corpus import Counts
from train.files import write_json, write_whole
from train.progress import Progress

HELP = "fit how fingers slip and people misspell (the numbers of kbengine.channel)"
LAYOUT = Path(__file__).parent.parent / "data" / "layouts" / "qwerty.tsv"
VOWELS = frozenset("aeiouy")
SURE = 1000.0  # a token that the text has so often counts as a right word, without --words
COMMONER = 50.0  # a source must be so many times commoner than a token that it explains
LETTERS = 5  # of words whose slips are counted: what is one slip from a shorter one is often slang
# A token counts for its sources at most as one in so many of their uses: what comes oftener is a
# habit or a word of its own, no slip.
RARE = 1000.0
ROUNDS = 12  # of expectation maximisation; it is there after eight
NEAR_KW = 1.7  # keys whose centres are so near are neighbours: one key beside, one row off
MISSPELT = 1e-3  # of words, where the text does not say; shipped: 0.9e-3 as they were sent
_LEAST_LOGP = -30.0
Pair = tuple[str, str]  # wrong, right
Rule = tuple[str, str]  # meant, spelt


# Rules of spelling


@dataclass(frozen=True)
class SpellingOptions:
    """How rules are learned; `choose` tries those of `TRIED`.

    context: letters on either side of an edit, at most; against: so many right words with the
    letters and without the mistake are added, the smoothing; seen: how often at least a rule was
    seen; gain: nats that a rule must be better than what its letters cost without it; most: rules,
    at most, those that save most: each takes time at every key press.
    """

    context: int = 2
    against: float = 2.0
    seen: float = 2.0
    gain: float = 0.2
    most: int = 1500


TRIED = tuple(
    SpellingOptions(context, against) for context in (2, 1) for against in (2.0, 0.5, 8.0, 30.0)
)
FOLDS = 5  # of cross-validation
CLOSE = 0.005  # shares of what comes first that differ by less tell nothing: half a standard error
KEPT = 2000  # right words that are typed to see whether they stay


class Op(NamedTuple):
    """A step of an alignment: letters of the right word, and what stands for them."""

    meant: str
    spelt: str


def align(wrong: str, right: str) -> list[Op]:
    """The steps from a right word to a wrong one at the least number of letters left out, added,
    exchanged, or swapped with the next (Damerau). Of several ways the one that exchanges vowels
    for vowels and leaves out or adds a letter beside the same."""
    rows, columns = len(right), len(wrong)
    best = [[math.inf] * (columns + 1) for _ in range(rows + 1)]
    came: dict[tuple[int, int], Op] = {}
    best[0][0] = 0.0
    for i in range(rows + 1):
        for j in range(columns + 1):
            for op, price in _steps(right, wrong, i, j):
                cost = best[i - len(op.meant)][j - len(op.spelt)] + price
                if cost < best[i][j]:
                    best[i][j], came[i, j] = cost, op
    ops = []
    i, j = rows, columns
    while i or j:
        op = came[i, j]
        ops.append(op)
        i, j = i - len(op.meant), j - len(op.spelt)
    return ops[::-1]


def _steps(right: str, wrong: str, i: int, j: int) -> Iterator[tuple[Op, float]]:
    """The steps that end before letter i of the right word and j of the wrong one, with prices:
    1 an edit, a little more for the unlikelier."""
    if i and j:
        a, b = right[i - 1], wrong[j - 1]
        price = 0.0 if a == b else 1.0 if (a in VOWELS) == (b in VOWELS) else 1.2
        yield Op(a, b), price
    if i:
        yield Op(right[i - 1], ""), 1.0 if i > 1 and right[i - 2] == right[i - 1] else 1.05
    if j:
        yield Op("", wrong[j - 1]), 1.0 if j > 1 and wrong[j - 2] == wrong[j - 1] else 1.05
    if i > 1 and j > 1 and right[i - 2] != right[i - 1]:
        pair = right[i - 2 : i]
        if pair == wrong[j - 1] + wrong[j - 2]:
            yield Op(pair, pair[::-1]), 1.0


def rules_of(pair: Pair, context: int) -> set[Rule]:
    """What was spelt for what in a misspelling: its edits, also several together, with up to
    `context` letters on either side, up to three letters on each side of a rule."""
    ops = align(*pair)
    found = set()
    for begin in range(len(ops)):
        for end in range(begin + 1, min(len(ops), begin + 2 * LONGEST_RULE) + 1):
            window = ops[begin:end]
            edits = [i for i, op in enumerate(window) if op.meant != op.spelt]
            if not edits or edits[0] > context or len(window) - 1 - edits[-1] > context:
                continue
            meant = "".join(op.meant for op in window)
            spelt = "".join(op.spelt for op in window)
            fits = 0 < len(meant) <= LONGEST_RULE and 0 < len(spelt) <= LONGEST_RULE
            # Spaces and hyphens are the search's affair.
            if (
                fits
                and meant != spelt
                and text.is_word(f"a{meant}a")
                and text.is_word(f"a{spelt}a")
            ):
                found.add((meant, spelt))
    return found


def _parts(word: str) -> Iterator[str]:
    """All stretches of up to three letters."""
    for length in range(1, LONGEST_RULE + 1):
        for begin in range(len(word) - length + 1):
            yield word[begin : begin + length]


def learn_rules(
    pairs: Sequence[Pair], rates: Rates, level: float, options: SpellingOptions
) -> dict[Rule, float]:
    """Rules with log P(spelt | meant, in running text), the strongest first.

    level: log of how often a word is misspelt at all. A rule that costs as much as its letters
    cost by a shorter rule or by a slip is left out.
    """
    seen: Counter[Rule] = Counter()
    stands: Counter[str] = Counter()
    for wrong, right in pairs:
        seen.update(rules_of((wrong, right), options.context))
        stands.update(_parts(right))
    found: dict[Rule, float] = {}
    worth: dict[Rule, float] = {}
    often = [rule for rule, n in seen.items() if n >= options.seen]
    for rule in sorted(often, key=lambda r: (len(r[0]) + len(r[1]), r)):
        meant, spelt = rule
        p = seen[rule] / (stands[meant] + options.against)
        logp = level + math.log(min(p, 0.95))
        gain = logp - _without(meant, spelt, found, rates)
        if gain >= options.gain:
            found[rule], worth[rule] = logp, gain * seen[rule]
    kept = sorted(found, key=lambda rule: (-worth[rule], rule))[: options.most]
    return {rule: found[rule] for rule in sorted(kept, key=lambda rule: (-found[rule], rule))}


def _without(meant: str, spelt: str, rules: Mapping[Rule, float], rates: Rates) -> float:
    """log P(spelt | meant) of two stretches by one shorter rule or one slip, the rest as meant."""
    best = _LEAST_LOGP
    for before in range(min(len(meant), len(spelt))):
        if meant[:before] != spelt[:before]:
            break
        for after in range(min(len(meant), len(spelt)) - before):
            if after and meant[-after:] != spelt[-after:]:
                break
            core = meant[before : len(meant) - after], spelt[before : len(spelt) - after]
            best = max(best, rules.get(core, _LEAST_LOGP))
    if len(meant) == len(spelt) + 1 and spelt in _left_out(meant):
        best = max(best, rates.omitted)
    if len(meant) == len(spelt) and sorted(meant) == sorted(spelt) and spelt in _swaps(meant):
        best = max(best, rates.swapped)
    if len(spelt) == len(meant) + 1 and any(
        spelt[i] == spelt[i - 1] and meant == spelt[:i] + spelt[i + 1 :]
        for i in range(1, len(spelt))
    ):
        best = max(best, rates.doubled)
    return best


# Rates of slips


def right_words(tokens: Mapping[str, float], listed: Collection[str]) -> dict[str, float]:
    """The tokens that are right words: the listed ones, or without a list those that the text has
    `SURE` times or more and that are not a commoner one without its apostrophe."""
    if listed:
        return {token: n for token, n in tokens.items() if n > 0 and token in listed}
    sure = {token: n for token, n in tokens.items() if n >= SURE and text.is_word(token)}
    bare = {word.replace(APOSTROPHE, ""): n for word, n in sure.items() if APOSTROPHE in word}
    return {word: n for word, n in sure.items() if n > bare.get(word, 0.0)}


class Sources(NamedTuple):
    """What a token may be a slip of. uses: of all those words in the text; expected: by kind of
    slip, how often the token would stand there if each opportunity for one were taken."""

    uses: float
    expected: Mapping[str, float]


KINDS = ("omitted", "doubled", "extra", "swapped", "neighbour", "far", "missed_space")


def _left_out(word: str) -> Iterator[str]:
    """A word with each of its letters left out in turn, the same ones as often as they come."""
    for i in range(len(word)):
        yield word[:i] + word[i + 1 :]


def _swaps(word: str) -> Iterator[str]:
    """A word with each two different neighbours swapped in turn."""
    for i in range(len(word) - 1):
        if word[i] != word[i + 1]:
            yield word[:i] + word[i + 1] + word[i] + word[i + 2 :]


class Slips:
    """Which right words a token may be a slip of. Letters are those that have a key."""

    def __init__(
        self, right: Mapping[str, float], layout: Layout, spared: Collection[Rule]
    ) -> None:
        """spared: exchanges of a letter that are spelling, not fingers."""
        self._letters = {char for char in layout.keys if len(char) == 1 and char.isalpha()}
        self._right = {w: n for w, n in right.items() if self._typed(w)}
        self._left_out = {word.replace(APOSTROPHE, "") for word in right if APOSTROPHE in word}
        self._total = sum(self._right.values())
        self._without: defaultdict[str, list[str]] = defaultdict(list)
        self._but_one: defaultdict[str, list[str]] = defaultdict(list)
        for word in self._right:
            if len(word) >= LETTERS:
                for i, short in enumerate(_left_out(word)):
                    self._without[short].append(word)
                    self._but_one[word[:i] + "?" + word[i + 1 :]].append(word)
        self.near = neighbours(layout, self._letters)
        vowels = {(a, b) for a in VOWELS for b in VOWELS}
        self.far = {
            a: sorted(
                b
                for b in self._letters
                if b != a and b not in near and (a, b) not in vowels and (a, b) not in spared
            )
            for a, near in self.near.items()
        }

    def _typed(self, word: str) -> bool:
        return len(word) > 1 and self._letters.issuperset(word)

    def opportunities(self) -> dict[str, float]:
        """How often each slip could have happened in the right words."""
        found = dict.fromkeys(KINDS, 0.0)
        for word, n in self._right.items():
            if len(word) < LETTERS:
                continue
            for kind in ("doubled", "extra", "omitted", "neighbour"):
                found[kind] += n * len(word)
            found["far"] += n * sum(bool(self.far[c]) for c in word)
            found["swapped"] += n * sum(a != b for a, b in pairwise(word))
        found["missed_space"] = self._total
        return found

    def of(self, token: str, count: float) -> Sources | None:
        """The ways to a token from words that are `COMMONER` times as common as it."""
        if not self._typed(token) or len(token) < LETTERS - 1 or token in self._left_out:
            return None
        uses: dict[str, float] = {}
        found: defaultdict[str, float] = defaultdict(float)

        def came(kind: str, word: str, share: float = 1.0) -> None:
            n = self._right.get(word, 0.0)
            if len(word) >= LETTERS and n and n >= COMMONER * count:
                uses[word] = n
                found[kind] += n * share

        for word in self._without.get(token, ()):  # once for each letter that may be missing
            came("omitted", word)
        for i, word in enumerate(_left_out(token)):
            if i and token[i - 1] == token[i]:
                came("doubled", word)
            came("extra", word, 1 / len(self._letters))
        for word in _swaps(token):
            came("swapped", word)
        for i, char in enumerate(token):
            for word in self._but_one.get(token[:i] + "?" + token[i + 1 :], ()):
                for kind, letters in (("neighbour", self.near), ("far", self.far)):
                    if char in letters[word[i]]:
                        came(kind, word, 1 / len(letters[word[i]]))
        for i in range(1, len(token)):
            one, two = (self._right.get(part, 0.0) for part in (token[:i], token[i:]))
            if min(one, two) > COMMONER * count:
                # How often the two stand side by side is not counted: as if by chance.
                found["missed_space"] += one * two / self._total
                uses[token[:i] + " " + token[i:]] = min(one, two)
        return Sources(sum(uses.values()), found) if found else None


def neighbours(layout: Layout, letters: Collection[str]) -> dict[str, list[str]]:
    """The letters whose keys touch a letter's."""
    return {
        a: sorted(
            b for b in letters if b != a and math.dist(layout.keys[a], layout.keys[b]) <= NEAR_KW
        )
        for a in letters
    }


def slip_rates(
    tokens: Mapping[str, float], right: Mapping[str, float], slips: Slips
) -> dict[str, float]:
    """How often each kind of slip stands in the text, per opportunity."""
    chances = slips.opportunities()
    known = [
        (min(count, found.uses / RARE), found.expected)
        for token, count in tokens.items()
        if token not in right and text.is_word(token) and (found := slips.of(token, count))
    ]
    rates = dict.fromkeys(KINDS, 1e-4)
    for _ in range(ROUNDS):
        explained = dict.fromkeys(KINDS, 0.0)
        for count, expected in known:
            weights = {kind: rates[kind] * n for kind, n in expected.items()}
            whole = sum(weights.values())
            for kind, weight in weights.items():
                explained[kind] += count * weight / whole
        # One slip more than was seen, in a text that is 1,000 letters longer: none is impossible.
        rates = {k: (explained[k] + 1e-3) / (chances[k] + 1e3) for k in KINDS}
    return rates


def left_out_share(
    tokens: Mapping[str, float], right: Mapping[str, float], plain: Mapping[str, str]
) -> float | None:
    """How often words are typed without their apostrophes or accents; None where the text does not
    say. plain: each such word without them. One whose plain form is a right word, or so common
    beside it that it is one, says nothing."""
    with_them = without = 0.0
    for word, bare in plain.items():
        n, m = tokens.get(word, 0.0), tokens.get(bare, 0.0)
        if bare not in right and m <= COMMONER * n:
            with_them, without = with_them + n, without + m
    whole = with_them + without
    return (without + 0.5) / (whole + 1) if whole else None


def sigma_of(rate: float, layout: Layout, use: Mapping[str, float]) -> float:
    """The Gaussian, in key widths, whose mass on other letters' keys is `rate` of all taps.
    use: how often each letter is typed."""
    letters = [char for char in layout.keys if char in use]
    places = np.array([layout.keys[c] for c in letters])
    weights = np.array([use[c] for c in letters])
    away = np.abs(places[:, None] - places[None])
    half = np.array([0.5, layout.row_kw / 2])

    def mass(sigma: float) -> float:
        scale = sigma * math.sqrt(2)
        erf = np.vectorize(math.erf)
        on = np.prod((erf((away + half) / scale) - erf((away - half) / scale)) / 2, axis=2)
        np.fill_diagonal(on, 0.0)
        return float((weights @ on.sum(axis=1)) / weights.sum())

    low, high = 0.05, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if mass(middle) < rate else (low, middle)
    return (low + high) / 2


def fit_rates(
    tokens: Mapping[str, float],
    right: Mapping[str, float],
    layout: Layout,
    mended: float,
    spared: Collection[Rule] = (),
) -> tuple[Rates, dict[str, float]]:
    """The rates, and those of the text as they stand there, per opportunity.

    mended: which share of slips people mend before they send.
    """
    slips = Slips(right, layout, spared)
    raw = slip_rates(tokens, right, slips)
    bare = {w: w.replace(APOSTROPHE, "") for w in right if APOSTROPHE in w}
    raw_apostrophe = left_out_share(tokens, right, bare)
    accents = {
        w: plain
        for w in tokens
        if not w.isascii() and text.is_word(w) and (plain := without_accents(w)).isascii()
    }
    raw_accent = left_out_share(tokens, right, accents)
    use: defaultdict[str, float] = defaultdict(float)
    for word, n in right.items():
        for char in word:
            use[char] += n
    made = {k: min(0.2, rate / (1 - mended)) for k, rate in raw.items()}
    far = sum(map(len, slips.far.values())) / max(1, len(slips.far))
    logs = {k: _log(made[k]) for k in ("omitted", "doubled", "extra", "swapped", "missed_space")}
    default = Rates()
    rates = Rates(
        **logs,
        apostrophe=default.apostrophe if raw_apostrophe is None else _log(raw_apostrophe),
        accent=default.accent if raw_accent is None else _log(raw_accent),
        # Counts of words do not show a space too many: as often as one is missed.
        extra_space=logs["missed_space"],
        # `far` of the keys were looked at; a tap that falls anywhere may hit them all.
        anywhere=_log(made["far"] * len(layout.keys) / max(1.0, far)),
        sigma_kw=sigma_of(made["neighbour"], layout, use),
    )
    measured = {**raw, "neighbour_made": made["neighbour"]}
    if raw_apostrophe is not None:
        measured["apostrophe"] = raw_apostrophe
    if raw_accent is not None:
        measured["accent"] = raw_accent
    return rates, measured


def without_accents(word: str) -> str:
    """A word with its letters' accents taken off."""
    return "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))


def _log(rate: float) -> float:
    return max(_LEAST_LOGP, min(0.0, math.log(max(rate, 1e-13))))


def misspelt(
    tokens: Mapping[str, float], right: Mapping[str, float], pairs: Iterable[Pair]
) -> float:
    """How often, in the text, words of a list of misspellings are spelt as it says, `MISSPELT`
    where it has none of them. Wrong spellings that are right words say nothing."""
    told = {pair for pair in pairs if pair[0] not in right and pair[1] in tokens}
    wrong = sum(tokens.get(a, 0.0) for a, _ in told)
    good = sum(tokens[b] for b in {b for _, b in told})
    return wrong / (wrong + good) if wrong else MISSPELT


# How well it corrects


class Judged(NamedTuple):
    """pairs: how many; first, first3: the share whose right word comes first, in the first three;
    sure, sure_first, sure_first3: the same without the pairs whose wrong spelling the lexicon has
    as a word; lacking: pairs whose right word the lexicon lacks, which count as wrong; ms: the mean
    time of a key press, in milliseconds."""

    pairs: int
    first: float
    first3: float
    sure: int
    sure_first: float
    sure_first3: float
    lacking: int
    ms: float


class Words:
    """A lexicon's words as the decoder searches them, and how common they are."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.trie = LetterTrie(lexicon)
        self.known = frozenset(self.trie.words)
        self.logp = lexicon.logps(self.trie.place)


def judge(pairs: Sequence[Pair], words: Words, model: ChannelModel) -> Judged:
    """How often the right word comes first by log P(taps | letters) + unigram logp."""
    trie = words.trie
    ranks = []
    keys, began = 0, time.perf_counter()
    decoder = Decoder(trie, Channel(model, trie.alphabet))
    for wrong, right in pairs:
        decoder.feed([Tap(char) for char in wrong])
        keys += len(wrong)
        front = decoder.front
        found = trie.word[front.nodes]
        ends = found >= 0
        found = found[ends]
        score = front.logp[ends] + words.logp[found]
        best = [trie.words[found[i]] for i in np.argsort(-score, kind="stable")[:3]]
        ranks.append(best.index(right) if right in best else 3)
    ms = 1000 * (time.perf_counter() - began) / max(1, keys)
    rank = np.array(ranks, np.intp)
    sure = np.array([wrong not in words.known for wrong, _ in pairs], np.bool_)

    def share(of: Any) -> float:
        return float(np.mean(of)) if len(of) else 0.0

    return Judged(
        len(pairs), share(rank == 0), share(rank < 3),
        int(sure.sum()), share(rank[sure] == 0), share(rank[sure] < 3),
        sum(right not in words.known for _, right in pairs), ms,
    )  # fmt: skip


def choose(
    pairs: Sequence[Pair], words: Words, rates: Rates, layout: Layout, level: float
) -> tuple[SpellingOptions, dict[SpellingOptions, float]]:
    """The most smoothed of the best of `TRIED` by cross-validation, and how often the right word
    came first with each, where the lexicon does not have the wrong one: of each fold by rules
    learned from the others, which have none of its right words."""
    order = {right: i for i, right in enumerate(sorted({right for _, right in pairs}))}
    folds = [[pair for pair in pairs if order[pair[1]] % FOLDS == i] for i in range(FOLDS)]
    found = {}
    with Progress("choosing", len(TRIED) * FOLDS, "fold") as bar:
        for options in TRIED:
            first = sure = 0.0
            for i, held in enumerate(folds):
                rest = [pair for j, fold in enumerate(folds) if j != i for pair in fold]
                rules = learn_rules(rest, rates, level, options)
                judged = judge(held, words, ChannelModel(rates, layout, rules))
                first, sure = first + judged.sure_first * judged.sure, sure + judged.sure
                bar.step(1)
            found[options] = first / max(1.0, sure)
    best = max(found.values())
    # Rules of few words look good on lists of misspellings, and change right words.
    close = [options for options, first in found.items() if first > best - CLOSE]
    return max(close, key=lambda options: (options.against, found[options])), found


# Reading and telling


def read_pairs(paths: Sequence[Path]) -> tuple[list[Pair], list[Pair]]:
    """Wrong and right words in lower case: those that are learned from, the first, third ... row of
    each file, and those that are reported on, the others, without any that stand among the former.

    Raises ValueError for a file without such rows.
    """
    learned: list[Pair] = []
    reported: list[Pair] = []
    for path in paths:
        rows = []
        for number, line in enumerate(_lines(path), 1):
            fields = [text.normalise(field).lower().strip() for field in line.split("\t")]
            if len(fields) != 2 or "" in fields:
                raise ValueError(
                    f"{path}, line {number}: write the wrong word, a tab, the right word"
                )
            rows.append((fields[0], fields[1]))
        learned += rows[0::2]
        reported += rows[1::2]
    told = set(learned)
    return learned, [pair for pair in reported if pair not in told]


def read_words(paths: Sequence[Path]) -> set[str]:
    """The first word of each line, in lower case. Raises ValueError for files without any."""
    found = {
        text.normalise(line).lower().split()[0]
        for path in paths
        for line in _lines(path)
        if line.strip()
    }
    if paths and not found:
        raise ValueError("the lists hold no words; give files with a word a line")
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); give a text file in UTF-8") from None


def show(
    rates: Rates, measured: Mapping[str, float], rules: Mapping[Rule, float], judged: Judged | None
) -> None:
    """Print the rates, the strongest rules and the report."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in ("rate", "fitted", "as sent"):
        table.add_column(header, justify="left" if header == "rate" else "right")
    for name, value in asdict(rates).items():
        fitted = f"{value:.3f} kw" if name == "sigma_kw" else f"{100 * math.exp(value):.3f} %"
        sent = f"{100 * measured[name]:.4f} %" if name in measured else ""
        table.add_row(name, fitted, sent)
    for name in ("neighbour", "far"):
        table.add_row(f"taps on keys that are {name}", "", f"{100 * measured[name]:.4f} %")
    console.print(table)
    print(f"{len(rules):,} rules of spelling")
    if rules:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for header in ("meant", "spelt", "of uses"):
            table.add_column(header, justify="right" if header == "of uses" else "left")
        for (meant, spelt), logp in sorted(rules.items(), key=lambda rule: -rule[1])[:15]:
            table.add_row(Text(meant), Text(spelt), f"{100 * math.exp(logp):.3f} %")
        console.print(table)
    if judged is not None:
        print(
            f"of {judged.pairs:,} misspellings not learned from the right word comes first in "
            f"{judged.first:.1%}, among three in {judged.first3:.1%} ({judged.lacking:,} are not "
            f"in the lexicon); of the {judged.sure:,} whose wrong spelling is no word there in "
            f"{judged.sure_first:.1%} and {judged.sure_first3:.1%}; {judged.ms:.2f} ms a key"
        )


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--work", type=Path, required=True, help="folder with the counts that `vocab` left")
    add("--typos", nargs="*", type=Path, default=[], metavar="FILE",
        help="misspellings: wrong, tab, right; every second row is learned from")  # fmt: skip
    add("--words", nargs="*", type=Path, default=[], metavar="FILE",
        help="lists of right words, a word first on each line (default: the commonest "
        "tokens)")  # fmt: skip
    add("--layout", type=Path, default=LAYOUT, metavar="FILE", help="default: qwerty.tsv")
    add("--bundle", type=Path, metavar="FILE",
        help="whose words are searched for the report (default: the English one of the "
        "package)")  # fmt: skip
    # Palin et al. 2019, "How do People Type on Mobile Devices?", as we recall it: about 2.3 % of
    # characters stay wrong and some 8 to 9 % of keys are corrections, so that about 0.8 is mended
    # when sentences are copied; messages that were sent, with a keyboard's help, have less left.
    add("--mended", type=float, default=0.9, metavar="SHARE",
        help="of slips and misspellings, mended before a text was sent (default: "
        "%(default)s)")  # fmt: skip
    # The shipped lists are every second row of a list, and every second of theirs is learned from.
    # That fits the text, where slips of all kinds explain four times what those rows list.
    add("--listed", type=float, default=0.25, metavar="SHARE",
        help="of the misspellings of their words, in the rows learned from (default: "
        "%(default)s)")  # fmt: skip
    add("--sigma", type=float, metavar="KW",
        help="of the Gaussian around a key, from measured touches, in key widths (default: "
        "what the text shows, which is rather too little)")  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Fit, leave WORK/channel.tsv and WORK/channel.json, and print what was found.

    Raises ValueError for files that cannot be read and BundleError for a broken bundle or layout.
    """
    if not 0 <= args.mended < 1:
        raise ValueError(f"--mended {args.mended:g} is no share below 1; give one such as 0.9")
    if not 0 < args.listed <= 1:
        raise ValueError(f"--listed {args.listed:g} is no share above 0; give one such as 0.25")
    if args.sigma is not None and not 0.05 <= args.sigma <= 1:
        raise ValueError(f"--sigma {args.sigma:g} is no such width; give one of 0.05 to 1")
    path = args.work / "counts.json.gz"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; run `python -m train vocab` first")
    layout = read_layout(args.layout)
    learned, reported = read_pairs(args.typos)
    tokens = Counts.load(path).tokens
    right = right_words(tokens, read_words(args.words))
    if not right:
        raise ValueError("the text has none of the right words; give a list of them with --words")
    once = Counter(rule for pair in learned for rule in rules_of(pair, 0))
    spared = {rule for rule, n in once.items() if n > 1 and len(rule[0]) == len(rule[1]) == 1}
    rates, measured = fit_rates(tokens, right, layout, args.mended, spared)
    if args.sigma is not None:
        rates = replace(rates, sigma_kw=args.sigma)
    told: dict[str, Any] = {
        "mended": args.mended,
        "listed": args.listed,
        "right_words": len(right),
        "as_sent": measured,
    }
    rules: dict[Rule, float] = {}
    judged = None
    if learned:
        share = misspelt(tokens, right, learned)
        # No more than every second word is misspelt.
        level = _log(min(0.5, share / args.listed / (1 - args.mended)))
        words = Words(load(args.bundle).lexicon)
        options, tried = choose(learned, words, rates, layout, level)
        rules = learn_rules(learned, rates, level, options)
        model = ChannelModel(rates, layout, rules)
        judged = judge(reported, words, model)
        sample = sorted(words.known & right.keys())
        sample = sample[:: max(1, len(sample) // KEPT)]
        kept = judge([(word, word) for word in sample], words, model).first
        print(f"of {len(sample):,} right words, typed as they are, {kept:.1%} come first")
        told |= {
            "misspelt_as_sent": share,
            "level": level,
            "options": asdict(options),
            "cross_validation": [{**asdict(o), "sure_first": first} for o, first in tried.items()],
            "learned": len(learned),
            "reported": judged._asdict(),
            "right_kept": kept,
        }
    told |= {"rates": asdict(rates), "rules": len(rules)}
    write_whole(args.work / "channel.tsv", ChannelModel(rates, layout, rules).to_bytes())
    write_json(args.work / "channel.json", told)
    show(rates, measured, rules, judged)
