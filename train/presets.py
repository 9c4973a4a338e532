"""Named sets of options: what to train, in which phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from train import recipe
from train.corpus import Source
from train.ngrams import NgramOptions
from train.options import FitOptions
from train.vocab import VocabularyOptions


@dataclass(frozen=True)
class Phase:
    """One fit of a model with a table of `width` columns and so many `cells`; a later phase
    begins with the best weights of the one before, widened or cut down. `weights`, by the
    name of a source, stand in place of the text's own."""

    fit: FitOptions
    width: int
    cells: int
    weights: Mapping[str, float] = field(default_factory=dict)

    def weights_of(self, sources: Sequence[Source]) -> list[float]:
        """How much each source counts in this phase."""
        return [self.weights.get(source.name, source.weight) for source in sources]


@dataclass(frozen=True)
class Preset:
    """vocabulary, phases, n-grams; the lexicon keeps the `lexicon_size` commonest right words of
    those that were counted `lexicon_least` times or more, and of the dictionary that is given."""

    vocabulary: VocabularyOptions
    phases: tuple[Phase, ...]
    lexicon_size: int
    lexicon_least: float
    ngrams: NgramOptions | None = None

    @property
    def pieces(self) -> float:
        """How many pieces all phases train on together."""
        return sum(phase.fit.pieces for phase in self.phases)

    def changed(
        self, pieces: float | None = None, seed: int | None = None, vocab_size: int | None = None
    ) -> Preset:
        """The preset with some of its options replaced.

        Of `pieces`, the phases keep their shares; the seed of phase n is `seed` + n - 1.
        """
        phases = []
        for i, phase in enumerate(self.phases):
            fit = phase.fit
            if pieces is not None:
                fit = replace(fit, pieces=pieces * (fit.pieces / self.pieces))
            if seed is not None:
                fit = replace(fit, seed=seed + i)
            phases.append(replace(phase, fit=fit))
        size = self.vocabulary.size if vocab_size is None else vocab_size
        return replace(self, phases=tuple(phases), vocabulary=replace(self.vocabulary, size=size))


# What nano, small and base begin with: two hours on two cores beside other work.
START = Phase(
    FitOptions(
        pieces=140e6, lanes=256, steps=32, negatives=2048, common=0, target_drawn=True,
        rate=2.5e-3, eval_every=800, patience=6,
    ),
    width=256,
    cells=1024,
)  # fmt: skip


def cut_out(pieces: float, rate: float, width: int, cells: int) -> Phase:
    """A smaller model out of `START`, and time to mend what the cut broke."""
    fit = FitOptions(
        pieces=pieces, lanes=256, steps=32, negatives=2048, rate=rate, last_rate=2e-5, warm=0.02,
        flat=0.15, reset=0.3, stretch=32, seed=2, eval_every=400, patience=99, save_every_s=200,
    )  # fmt: skip
    return Phase(fit, width, cells, recipe.TALK)


def late(weights: Mapping[str, float], **options: Any) -> Phase:
    """A later phase of the shipped model: on conversations, with dropout, the rate falling soon."""
    fit = FitOptions(
        lanes=256, steps=64, negatives=2048, last_rate=1e-5, warm=0.02, flat=0.1, reset=0.35,
        dropout=0.1, stretch=32, eval_every=200, patience=99, save_every_s=150,
    )  # fmt: skip
    return Phase(replace(fit, **options), width=256, cells=1536, weights=weights)


PRESETS = {
    # A minute on two cores, for trying things out and for tests: learns little.
    "tiny": Preset(
        vocabulary=VocabularyOptions(
            size=1500, emoji_min_count=1.0, word_min_count=1.0, letter_min_count=1.0
        ),
        phases=(
            Phase(
                FitOptions(
                    pieces=1e5, lanes=8, steps=16, negatives=256, rate=6e-3, eval_every=50,
                    stretch=8, patience=4,
                ),
                width=48,
                cells=96,
            ),
        ),
        lexicon_size=20_000,
        lexicon_least=1.0,
    ),
    # A bundle of 2.3 MB.
    "nano": Preset(
        vocabulary=VocabularyOptions(),
        phases=(START, cut_out(40e6, 2e-3, width=80, cells=640)),
        lexicon_size=40_000,
        lexicon_least=3.0,
    ),
    # A bundle of 5.0 MB.
    "small": Preset(
        vocabulary=VocabularyOptions(),
        phases=(START, cut_out(24e6, 1.5e-3, width=176, cells=1024)),
        lexicon_size=80_000,
        lexicon_least=3.0,
    ),
    # The shipped model, a bundle of 9.9 MB: six hours and a half on two cores beside other work.
    "base": Preset(
        vocabulary=VocabularyOptions(),
        phases=(
            START,
            # Longer stretches and more talk, for conversations. The rate begins lower: most of the
            # weights are trained already.
            Phase(
                FitOptions(
                    pieces=100e6, lanes=256, steps=64, negatives=2048, common=0,
                    target_drawn=True, rate=1.5e-3, last_rate=2e-5, warm=0.02, flat=0.15,
                    reset=0.3, stretch=32, seed=2, begin_share=0.35, eval_every=400, patience=99,
                    save_every_s=200,
                ),
                width=256,
                cells=1536,
                weights=recipe.TALK,
            ),
            # The small sources were read twenty times by now, and are known by heart: less of them
            # than before. The sum of the softmax as it should be, see EXPERIMENTS.md, *The loss*.
            late(recipe.EVEN, pieces=80e6, rate=1e-3, seed=3, eval_every=400, save_every_s=200),
            # And talk once more, at a low rate.
            late(recipe.TALK, pieces=30e6, rate=6e-4, seed=4, begin_share=0.35),
            # Half of all pieces in the sum of the softmax, for what 2,048 leave to chance.
            late(recipe.EVEN, pieces=62e6, rate=8e-4, seed=5, begin_share=0.25, negatives=8192),
        ),
        lexicon_size=100_000,
        lexicon_least=3.0,
        ngrams=NgramOptions(pairs=420_000, triples=510_000),
    ),
}  # fmt: skip
