"""Context in, candidates out: the sources asked, weighed on one scale, put in slots."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from kbengine import text
from kbengine.emojitable import EmojiTable
from kbengine.lexicon import Lexicon
from kbengine.mix import Slots, rank
from kbengine.protocols import LanguageModel
from kbengine.said import Said
from kbengine.sources.emoji import EmojiSource
from kbengine.sources.phrases import PhraseSource
from kbengine.sources.query import Place, Query
from kbengine.sources.words import WordSource
from kbengine.tree import StateTree
from kbengine.types import Candidate, Context
from kbengine.vocab import BOS, EOS, Vocabulary
from kbengine.wordfilter import NOTHING_HELD_BACK, WordFilter

# Characters of this message, and of those before it, that are read. A message of
# more than WINDOW keeps its last WINDOW/2 to WINDOW: the cut moves in steps, so that what
# is known of the text stays known from key to key.
WINDOW = 2048
EARLIER_WINDOW = 1024
# Pieces of earlier messages that are stepped; those before them are only heard: the cache and
# the words of the conversation know them. The cut moves in steps, as above. What fewer of them
# lose stands in train/EXPERIMENTS.md, *Message starts*.
MOST_STEPPED = 72
STEPPED_MOVES = 8
MOST = 100  # candidates that can be asked for; each more is another word to prove the best
PLACES = 3  # shown where neither a number nor slots say how many


def window(before: str) -> str:
    """The end of a text that the model reads, cut at a space; a function of the text."""
    if len(before) <= WINDOW:
        return before
    half = WINDOW // 2
    start = (len(before) - half) // half * half
    space = before.find(" ", start, start + half // 4)
    return before[max(start, space + 1) :]


def recent(earlier: Sequence[str]) -> list[str]:
    """The last of the earlier messages, EARLIER_WINDOW characters at most.

    As with `window`, the cut moves in steps of half of it, so that a growing conversation is
    read afresh once in many messages and not with every one.
    """
    messages = [message[-EARLIER_WINDOW:] for message in earlier]
    half = EARLIER_WINDOW // 2
    total = sum(len(message) for message in messages)
    skip = 0 if total <= EARLIER_WINDOW else -(-(total - EARLIER_WINDOW) // half) * half
    first = 0
    while skip > 0 and first < len(messages) - 1:
        skip -= len(messages[first])
        first += 1
    return messages[first:]


def read(earlier: Sequence[str], before: str) -> list[str]:
    """What is read of a conversation and of the open message, which stands last.

    No earlier messages are read where the open one is longer than WINDOW.
    """
    return [*(recent(earlier) if len(before) <= WINDOW else ()), window(before)]


def context_pieces(
    vocabulary: Vocabulary, earlier: Sequence[str], before: str
) -> tuple[list[int], list[int]]:
    """The pieces of a conversation and of the open message: BOS m1 EOS m2 EOS ... mn.

    Two parts: those that are only heard, none but in a longer conversation, and those that are
    stepped, which begin with BOS; see `LanguageModel.start`.
    """
    *messages, last = read(earlier, before)
    pieces: list[int] = []
    for message in messages:
        encoded = vocabulary.encode(message)
        pieces += [*encoded, EOS] if encoded else []
    over = max(0, len(pieces) - MOST_STEPPED)
    cut = -(-over // STEPPED_MOVES) * STEPPED_MOVES
    # A text begins with something new, and not with its end.
    while 0 < cut < len(pieces) and (pieces[cut] == EOS or not vocabulary.boundary[pieces[cut]]):
        cut += 1
    return pieces[:cut], [BOS, *pieces[cut:], *vocabulary.encode(last)]


class Predictor:
    """Suggestions for one text field after another; keeps what it has computed.

    Not safe to share between threads; the language model behind it is.
    """

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        lexicon: Lexicon,
        emoji: EmojiTable,
        word_filter: WordFilter = NOTHING_HELD_BACK,
    ) -> None:
        self._tree = StateTree(model, vocabulary.boundary)
        self._vocabulary, self._filter = vocabulary, word_filter
        self._said = Said(lexicon)
        self.words = WordSource(self._tree, vocabulary, lexicon)
        self.phrases = PhraseSource(self._tree, vocabulary, lexicon, self.words)
        self.emoji = EmojiSource(self._tree, vocabulary, emoji, self.words)
        self._line: tuple[tuple[str, ...], str] | None = None
        self._place = Place(self._tree.root(), True, ())
        self._query: Query | None = None

    def query(self, context: Context) -> Query:
        """The place in the tree of a context; nothing but new words of it is stepped."""
        line = (context.earlier, context.before)
        if line != self._line:
            heard, pieces = context_pieces(self._vocabulary, *line)
            node = self._tree.walk(pieces, heard)
            self._tree.prune(node)
            last_tokens = tuple(text.tokens(text.normalise(context.before[-64:]))[-3:])
            start = text.starts_sentence(context.before)
            said = self._said.words(read(context.earlier, context.before))
            self._line, self._place = line, Place(node, start, last_tokens, said)
            self._query = None
        raw = context.typed
        if self._query is None or raw != self._query.raw:
            # What is longer is no word, and normal forms of many accents take their time.
            typed = text.normalise(raw[: text.MAX_WORD])
            self._query = Query(self._place, raw, typed, typed.lower())
        return self._query

    def suggest(
        self,
        context: Context,
        n: int | None = None,
        slots: Slots | None = None,
        unfiltered: bool = False,
    ) -> list[Candidate]:
        """The best candidates of all kinds, or of the slots' kinds: n, or as many as there
        are slots, or PLACES. unfiltered: also what is not offered unasked.

        Raises ValueError where n is below 1 or above MOST.
        """
        slots = slots or Slots.any()
        if n is None:
            n = slots.total or PLACES
        if not 1 <= n <= MOST:
            raise ValueError(f"{n} candidates cannot be shown; ask for 1 to {MOST}")
        query = self.query(context)
        offered = NOTHING_HELD_BACK if unfiltered else self._filter
        found: list[Candidate] = []
        if slots.wants("word"):
            found = self._words(query, n, offered)
        if slots.wants("phrase"):
            phrases = self.phrases.propose(query, n)
            found += [c for c in phrases if _may_be_offered(c, query, offered)]
        if slots.wants("emoji"):
            found += self._emoji(query, n, offered)
        if query.typed and slots.wants("literal"):
            found = [*found, self.words.literal(query, n)]
        return slots.fill(rank(found), n)

    def _words(self, query: Query, n: int, offered: WordFilter) -> list[Candidate]:
        """The n best words that may be offered."""
        offers = partial(offered.offers, typed=query.lower, before=query.place.last_word)
        return self.words.propose(query, n, offers)

    def _emoji(self, query: Query, n: int, offered: WordFilter) -> list[Candidate]:
        """The n best emoji that may be offered."""
        asked = n
        while True:
            found = self.emoji.propose(query, asked)
            kept = [c for c in found if offered.offers(c.text, query.typed)]
            if len(kept) >= n or len(found) < asked:
                return kept[:n]
            asked *= 2

    def finish(
        self, context: Context, n: int = PLACES, unfiltered: bool = False
    ) -> list[Candidate]:
        """The n best words for a word that is typed to its end, itself among them."""
        query = self.query(context)
        words = self._words(query, n, NOTHING_HELD_BACK if unfiltered else self._filter)
        return rank([*words, self.words.literal(query, n)])[:n]


def _may_be_offered(phrase: Candidate, query: Query, offered: WordFilter) -> bool:
    """Whether each of its words may be offered after the one before it."""
    words = [query.place.last_word, *phrase.text.lower().split(" ")]
    return all(offered.offers(word, before=before) for before, word in pairwise(words))
