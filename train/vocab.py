"""Counts of tokens -> a SentencePiece unigram model with signs and emoji as symbols."""

from __future__ import annotations

import contextlib
import io
import string
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import sentencepiece as spm

from kbengine import text
from kbengine.vocab import BOS, EOS, UNK


@dataclass(frozen=True)
class VocabularyOptions:
    """How large a vocabulary is, and what stands in it whole.

    An emoji below `emoji_min_count` is met too rarely for the model to learn when it is
    written; the engine still offers it by name. A run of signs above `sign_min_share`
    of all tokens is one piece (``...``, ``:)``). A letter below `letter_min_count` is
    unknown: by count and not by share, or English text loses its ``é``.
    """

    size: int = 16_000
    emoji_min_count: float = 10.0
    sign_min_share: float = 4e-6
    word_min_count: float = 2.0
    letter_min_count: float = 50.0


def _commonest(counts: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def symbols(counts: Mapping[str, float], options: VocabularyOptions) -> list[str]:
    """Signs and emoji that get a piece of their own, the commonest first."""
    total = sum(counts.values())
    chosen = []
    for token, n in _commonest(counts):
        if token[0].isalnum() or len(token) > 12 or "\u2581" in token:
            continue
        if text.is_emoji(token):
            if n >= options.emoji_min_count:
                chosen.append(token)
        elif n >= options.sign_min_share * total:
            chosen.append(token)
    single = [c for c in string.punctuation if c != "'" and c not in chosen]
    return chosen + single


def train_vocabulary(counts: Mapping[str, float], options: VocabularyOptions) -> bytes:
    """The serialised SentencePiece model.

    Raises ValueError where the text is too small for `options.size` pieces.
    """
    words = [
        (token, round(n))
        for token, n in _commonest(counts)
        if token[0].isalnum() and n >= options.word_min_count
    ]
    letters: Counter[str] = Counter()
    for word, n in words:
        letters.update(dict.fromkeys(word, n))
    words = [
        (word, n) for word, n in words if min(letters[c] for c in word) >= options.letter_min_count
    ]
    out = io.BytesIO()
    # The model keeps the path that it was trained from: a relative one, so that the same
    # counts give the same bytes.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        table = Path("words.tsv")
        table.write_text("".join(f"{w}\t{n}\n" for w, n in words), encoding="utf-8")
        try:
            spm.SentencePieceTrainer.train(
                input=str(table),
                input_format="tsv",
                model_writer=out,
                model_type="unigram",
                vocab_size=options.size,
                hard_vocab_limit=False,  # a small text gives fewer pieces
                user_defined_symbols=symbols(counts, options),
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                pad_id=-1,
                normalization_rule_name="identity",
                remove_extra_whitespaces=False,
                split_by_unicode_script=False,
                split_by_number=False,
                character_coverage=1.0,
                num_threads=2,
                minloglevel=2,
            )
        except (RuntimeError, OSError) as error:
            raise ValueError(
                f"no vocabulary of {options.size} pieces can be made of {len(words)} kinds of "
                f"words; give more text or a smaller --vocab-size ({error})"
            ) from error
    return out.getvalue()
