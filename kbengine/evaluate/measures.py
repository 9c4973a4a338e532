"""The measures: name, definition, and the sums that each is made of.

`kbengine eval --help` and `docs/measures.md` say what stands here. Imports nothing heavy:
the command line reads it before it knows its verb.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["%", "perplexity", "bits", "ms"]
MOST_LETTERS = 3  # completion after 1 to so many letters, unless --letters says else


@dataclass(frozen=True)
class Measure:
    """One figure.

    name: in JSON; table, header: where it is shown; definition: a sentence or two.
    over, under: the sums whose ratio it is ("-keys": less that sum): a share, or for
    perplexity and bits natural log-probability per unit. Of times: which clock, and the
    share of calls that took no longer.
    """

    name: str
    table: str
    header: str
    unit: Unit
    definition: str
    over: tuple[str, ...] = ()
    under: tuple[str, ...] = ()
    clock: Literal["wall", "cpu"] | None = None
    quantile: float = 0.0

    @property
    def sums(self) -> frozenset[str]:
        """The fields it needs, of those that are counted by line."""
        needed = {field.removeprefix("-") for field in (*self.over, *self.under)}
        return frozenset(needed | ({"calls"} if self.clock else set()))


NEXT = "Next word, before its first letter (%)"
KEYS = "Keystrokes saved (%)"
PHRASES = "Phrases (%)"
COMPLETION = "Completion (%)"
PERPLEXITY = "Perplexity"
WALL = "A call of suggest, by the clock (ms)"
CPU = "A call of suggest, CPU time (ms)"


def _next_word() -> list[Measure]:
    found = [
        Measure(
            f"top{n}", NEXT, f"top-{n}", "%",
            f"Share of words that are {first} before their first letter is typed, whatever their "
            "case. Every word position counts, unknown words included.",
            (f"top{n}",), ("words",),
        )
        for n, first in (
            (1, "the first candidate"),
            (3, "among the first 3 candidates"),
            (5, "among the first 5 candidates"),
        )
    ]  # fmt: skip
    return found + [
        Measure(
            f"top{n}_exact_case", NEXT, f"exact top-{n}", "%",
            f"The same as top{n}, the candidate written exactly as the word.",
            (f"exact{n}",), ("words",),
        )
        for n in (1, 3, 5)
    ]  # fmt: skip


def _savings() -> list[Measure]:
    rows = (
        ("ksr", "KSR", "keys",
         "Keystroke savings: 1 - keystrokes / characters, spaces and signs included. The user "
         "looks at the first k candidates before each letter, the first included, and picks the "
         "word as soon as it is there: one keystroke, which also types the space after it. "
         "Everything else costs a keystroke a character; shift costs nothing."),
        ("ksr_exact_case", "exact case", "keys_exact",
         "The same as ksr, a word being picked only where it is written exactly as wanted."),
        ("ksr_bound_0", "bound 0", "keys_bound_0",
         "What ksr would be with the right word always there before its first letter."),
        ("ksr_bound_1", "bound 1", "keys_bound_1",
         "What ksr would be with the right word always there after its first letter."),
    )  # fmt: skip
    found = [
        Measure(name, KEYS, header, "%", text, ("chars", f"-{keys}"), ("chars",))
        for name, header, keys, text in rows
    ]
    kss = Measure(
        "kss", KEYS, "KSS", "%",
        "Letters of words not typed / letters of words: picks are free, spaces not counted.",
        ("letters", "-letters_typed"), ("letters",),
    )  # fmt: skip
    return [*found, kss]


def _phrases() -> list[Measure]:
    return [
        Measure(
            "ksr_phrases", PHRASES, "KSR", "%",
            "The same as ksr, when a phrase (two words or more) among the first k may be picked "
            "too, if the line goes on with all of it: one keystroke.",
            ("chars", "-keys_phrases"), ("chars",),
        ),
        Measure(
            "phrase_coverage", PHRASES, "coverage", "%",
            "Share of words before whose first letter a phrase stands among the first k.",
            ("phrases_shown",), ("words",),
        ),
        Measure(
            "phrase_precision", PHRASES, "precision", "%",
            "Share of those words at which the line goes on with all of one such phrase.",
            ("phrases_right",), ("phrases_shown",),
        ),
    ]  # fmt: skip


def after(letters: int | str) -> Measure:
    """Completion after so many letters."""
    return Measure(
        f"after_{letters}_top3", COMPLETION, f"after {letters}", "%",
        f"Share of words of more than {letters} letters that are among the first 3 candidates "
        f"once {letters} of their letters are typed.",
        (f"after{letters}_top3",), (f"after{letters}",),
    )  # fmt: skip


def _completion(letters: list[Measure]) -> list[Measure]:
    mrr = Measure(
        "completion_mrr", COMPLETION, "MRR", "%",
        "Mean of 1 / rank of the word among the candidates asked for (the greater of k and 5), "
        "over every proper beginning of one letter or more of every word; 0 where it is not "
        "there.",
        ("reciprocal_ranks",), ("prefixes",),
    )  # fmt: skip
    return [*letters, mrr]


def _perplexities() -> list[Measure]:
    return [
        Measure(
            "word_perplexity", PERPLEXITY, "word", "perplexity",
            "exp of the mean of -log P(word), over all words. P(word) is the probability, where "
            "something new begins after the text before it, of the word's pieces, and then of "
            "something new again, so that the word has ended. A letter or sign that the "
            "vocabulary lacks counts as its unknown piece.",
            ("word_nats",), ("words",),
        ),
        Measure(
            "spelled_word_perplexity", PERPLEXITY, "spelled word", "perplexity",
            "The same over the words that need no unknown piece.",
            ("word_nats", "-unknown_word_nats"), ("words", "-unknown_words"),
        ),
        Measure(
            "unknown_words", PERPLEXITY, "unknown %", "%",
            "Share of words that need an unknown piece.",
            ("unknown_words",), ("words",),
        ),
        Measure(
            "char_perplexity", PERPLEXITY, "character", "perplexity",
            "exp of -log P(all pieces of the line and the end of the message) / characters of "
            "the line, spaces and signs included. Capitals are not predicted.",
            ("line_nats",), ("chars",),
        ),
        Measure(
            "bits_per_char", PERPLEXITY, "bits/char", "bits",
            "Base-2 logarithm of char_perplexity.",
            ("line_nats",), ("chars",),
        ),
    ]  # fmt: skip


def _times() -> list[Measure]:
    clocks = (("wall", WALL, "by the clock"), ("cpu", CPU, "in CPU time of the calling thread"))
    quantiles = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
    return [
        Measure(
            f"{clock}_{name}_ms", table, name, "ms",
            f"The longest call of suggest, in process, {words}."
            if name == "max"
            else f"The time that {quantile:.0%} of the calls of suggest took at most, in process, "
            f"{words}.",
            clock=clock, quantile=quantile,  # type: ignore[arg-type]
        )
        for clock, table, words in clocks
        for name, quantile in quantiles
    ]  # fmt: skip


def measures(most_letters: int) -> tuple[Measure, ...]:
    """All measures, with completion after 1 to `most_letters` letters."""
    return _all([after(n) for n in range(1, most_letters + 1)])


def described() -> tuple[Measure, ...]:
    """All measures, one standing for completion after any number N of letters."""
    return _all([after("N")])


def _all(letters: list[Measure]) -> tuple[Measure, ...]:
    return (
        *_next_word(), *_savings(), *_phrases(), *_completion(letters), *_perplexities(), *_times()
    )  # fmt: skip


def fields(most_letters: int) -> tuple[str, ...]:
    """The sums that all measures need, by name."""
    return tuple(sorted({field for measure in measures(most_letters) for field in measure.sums}))
