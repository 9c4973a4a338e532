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
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kbengine import text
from kbengine.channel import Channel, ChannelModel, Rates
from kbengine.decoder import Decoder
from kbengine.layout import Layout, read_layout
from kbengine.lettertrie import LetterTrie
from kbengine.lexicon import Lexicon
from kbengine.loading import load
from kbengine.types import Tap
from train.corpus import Counts
from train.files import write_json, write_whole
from train.progress import Progress
from train.slips import (
    fit_rates,
    log_rate,
    right_words,
)
from train.spelling import Pair, Rule, SpellingOptions, learn_rules, rules_of

HELP = "fit how fingers slip and people misspell (the numbers of kbengine.channel)"
LAYOUT = Path(__file__).parent.parent / "data" / "layouts" / "qwerty.tsv"
MISSPELT = 1e-3  # of words, where the text does not say; shipped: 0.9e-3 as they were sent
TRIED = tuple(
    SpellingOptions(context, against) for context in (2, 1) for against in (2.0, 0.5, 8.0, 30.0)
)
FOLDS = 5  # of cross-validation
CLOSE = 0.005  # shares of what comes first that differ by less tell nothing: half a standard error
KEPT = 2000  # right words that are typed to see whether they stay


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
    # No text shows how far fingers fall from keys that they hit; see EXPERIMENTS.md, "Fingers".
    add("--sigma", type=float, default=Rates.sigma_kw, metavar="KW",
        help="of the Gaussian around a key where places are known, in key widths; where keys alone "
        "are, what the text shows (default: %(default)s)")  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Fit, leave WORK/channel.tsv and WORK/channel.json, and print what was found.

    Raises ValueError for files that cannot be read and BundleError for a broken bundle or layout.
    """
    if not 0 <= args.mended < 1:
        raise ValueError(f"--mended {args.mended:g} is no share below 1; give one such as 0.9")
    if not 0 < args.listed <= 1:
        raise ValueError(f"--listed {args.listed:g} is no share above 0; give one such as 0.25")
    if not 0.05 <= args.sigma <= 1:
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
        level = log_rate(min(0.5, share / args.listed / (1 - args.mended)))
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
