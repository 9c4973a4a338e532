"""Named sets of options: what to train."""

from __future__ import annotations

from dataclasses import dataclass, replace

from train.options import FitOptions
from train.vocab import VocabularyOptions


@dataclass(frozen=True)
class Preset:
    """vocabulary, shape (`width`, `cells`), fit; the lexicon keeps the `lexicon_size`
    commonest words that were counted `lexicon_least` times or more."""

    vocabulary: VocabularyOptions
    width: int
    cells: int
    fit: FitOptions
    lexicon_size: int
    lexicon_least: float

    def changed(
        self, pieces: float | None = None, seed: int | None = None, vocab_size: int | None = None
    ) -> Preset:
        """The preset with some of its options replaced."""
        fit = {k: v for k, v in {"pieces": pieces, "seed": seed}.items() if v is not None}
        vocabulary = {} if vocab_size is None else {"size": vocab_size}
        return replace(
            self,
            fit=replace(self.fit, **fit),  # type: ignore[arg-type]
            vocabulary=replace(self.vocabulary, **vocabulary),
        )


PRESETS = {
    # A minute on two cores, for trying things out and for tests: learns little.
    "tiny": Preset(
        vocabulary=VocabularyOptions(
            size=1500, emoji_min_count=1.0, word_min_count=1.0, letter_min_count=1.0
        ),
        width=48,
        cells=96,
        fit=FitOptions(
            pieces=1e5, lanes=8, steps=16, negatives=256, rate=6e-3, eval_every=50, stretch=8,
            patience=4,
        ),
        lexicon_size=20_000,
        lexicon_least=1.0,
    ),
    # The shipped model: 2 hours on two cores beside other work.
    "base": Preset(
        vocabulary=VocabularyOptions(),
        width=256,
        cells=1024,
        fit=FitOptions(
            pieces=140e6, lanes=256, steps=32, negatives=2048, rate=2.5e-3, eval_every=800,
            patience=6,
        ),
        lexicon_size=80_000,
        lexicon_least=3.0,
    ),
}  # fmt: skip
