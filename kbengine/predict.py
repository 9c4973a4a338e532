"""Context in, candidates out: the sources asked, weighed on one scale, put in slots."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from kbengine import text
from kbengine.autocorrect import Margin, decide
from kbengine.ear import Ear, Sound
from kbengine.emojimodel import EmojiModel, Expected, by_language_model
from kbengine.emojistyle import PLAIN, EmojiStyle
from kbengine.emojitable import EmojiTable
from kbengine.lexicon import Lexicon
from kbengine.mix import Slots, rank
from kbengine.protocols import LanguageModel
from kbengine.said import Said
from kbengine.sources.emoji import EmojiSource
from kbengine.sources.names import EmojiNames
from kbengine.sources.phrases import PhraseOptions, PhraseSource
from kbengine.sources.query import Place, Query
from kbengine.sources.signs import SignSource
from kbengine.sources.spaces import Before, SpaceSource
from kbengine.sources.words import LEAST_WORDS, LONGEST_WORD, WordSource
from kbengine.tree import Node, StateTree
from kbengine.types import Candidate, Context, Correction, Tap, shifted, together
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
CONSIDERED = 5  # words that a space may commit
OPENING = "([{\"'\u201c\u2018\u00ab\u00bf\u00a1\u2014"  # may stand right before a word
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


@dataclass(frozen=True)
class Wish:
    """What a user has chosen. unfiltered: also what is not offered unasked; phrases: the share of
    places at which a phrase is offered, 0 for none."""

    slots: Slots | None = None
    unfiltered: bool = False
    emoji_style: EmojiStyle = PLAIN
    phrases: float = PhraseOptions.coverage

    def __post_init__(self) -> None:
        """Raises ValueError for phrases that are no share."""
        if not isinstance(self.phrases, (int, float)) or not 0 <= self.phrases <= 1:
            raise ValueError(f"phrases at {self.phrases} of all places cannot be; give 0 to 1")


NO_WISH = Wish()


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
        emoji_model: EmojiModel | None = None,
        ear: Ear | None = None,
    ) -> None:
        """ear: what taps may mean; without one they are taken at their word."""
        self._tree = StateTree(model, vocabulary.boundary)
        self._vocabulary, self._filter = vocabulary, word_filter
        self._said = Said(lexicon)
        self._emoji_model = emoji_model
        self.ear = ear
        # Another, whose taps begin one word earlier.
        self._other_ear = None if ear is None else Ear(lexicon, ear.trie, ear.channel)
        self._other: tuple[tuple[tuple[str, ...], str], Place] | None = None
        self.words = WordSource(self._tree, vocabulary, lexicon)
        self.phrases = PhraseSource(self._tree, vocabulary, lexicon, self.words)
        names = EmojiNames(emoji, lexicon)
        self.emoji = EmojiSource(self._tree, vocabulary, names, self.words, emoji_model)
        self.spaces = SpaceSource(self._tree, vocabulary, lexicon, self.words)
        self.signs = SignSource(self._tree, vocabulary)
        self._small = False  # whether this person begins sentences with small letters
        self._line: tuple[tuple[str, ...], str] | None = None
        self._place: Place | None = None
        self._query: Query | None = None
        self._key: tuple[tuple[Tap, ...], bool] = ((), False)

    def query(self, context: Context, finished: bool = False) -> Query:
        """The place in the tree of a context; nothing but new words of it is stepped. finished:
        whether the open word is typed to its end."""
        line = (context.earlier, context.before)
        if line != self._line or self._place is None:
            self._line, self._place, self._query = line, self._find(context), None
            self._tree.prune(self._place.node)
        key = (context.taps, finished)
        if self._query is None or key != self._key:
            raw = context.typed
            # What is longer is no word, and normal forms of many accents take their time.
            typed = text.normalise(raw[: text.MAX_WORD])
            sound = self._sound(context.taps, typed, finished)
            self._key, self._query = key, Query(self._place, raw, typed, typed.lower(), sound)
        return self._query

    def _sound(self, taps: tuple[Tap, ...], typed: str, finished: bool) -> Sound | None:
        """What the taps may mean; None without a channel, and where nothing is typed."""
        if self.ear is None or not typed or len(typed) > LONGEST_WORD:
            return None
        if not text.is_word(typed + "a"):
            return None
        if not all(letter in self.ear.channel.number for letter in typed.lower()):
            return None  # no known word has such a letter
        if len(typed) != len(taps) or any(len(tap.char) != 1 for tap in taps):
            taps = tuple(map(Tap, typed))
        return Sound(self.ear, taps, finished)

    def _find(self, context: Context) -> Place:
        heard, pieces = context_pieces(self._vocabulary, context.earlier, context.before)
        node = self._tree.walk(pieces, heard)
        return Place(
            node,
            self._expected(node, pieces),
            text.starts_sentence(context.before),
            tuple(text.tokens(text.normalise(context.before[-64:]))[-4:]),
            len(context.before) - len(context.before.rstrip(" ")),
            not context.before.rstrip(" ")[-1:].isspace(),
            self._said.words(read(context.earlier, context.before)),
            self._small or text.begins_small(context.before),
        )

    def _expected(self, node: Node, pieces: Sequence[int]) -> Expected:
        """Whether an emoji comes at a node, and which; pieces: those before it, of which the
        emoji model reads those of the open message."""
        self._tree.predict([node])
        assert node.logp is not None
        if self._emoji_model is None:
            return by_language_model(node.logp, self._vocabulary.emoji.ids)
        begin = max(place for place, piece in enumerate(pieces) if piece in (BOS, EOS)) + 1
        return self._emoji_model.expect(node.logp, pieces[begin:])

    def suggest(
        self, context: Context, n: int | None = None, wish: Wish = NO_WISH
    ) -> list[Candidate]:
        """The best candidates of all kinds, or of the slots' kinds: n, or as many as there
        are slots, or PLACES.

        Raises ValueError where n is below 1 or above MOST.
        """
        slots = wish.slots or Slots.any()
        if n is None:
            n = slots.total or PLACES
        if not 1 <= n <= MOST:
            raise ValueError(f"{n} candidates cannot be shown; ask for 1 to {MOST}")
        query = self.query(context)
        offered = NOTHING_HELD_BACK if wish.unfiltered else self._filter
        found: list[Candidate] = []
        apart: list[Candidate] = []
        if slots.wants("word"):
            found = self._words(query, n, offered)
            apart = self._apart(context, query, n, offered)
        if slots.wants("phrase") and wish.phrases:
            phrases = self.phrases.propose(query, n, wish.phrases)
            found += [c for c in phrases if _may_be_offered(c, query, offered)]
        if slots.wants("emoji"):
            found += self._emoji(query, n, offered, wish.emoji_style)
        if slots.wants("sign"):
            found += self.signs.propose(query)
        if query.typed and slots.wants("literal"):
            literal = self.words.literal(query, n)
            (found if self.words.counted(query) else apart).append(literal)
        return slots.fill(rank(_weighed(found, apart)), n)

    def _words(self, query: Query, n: int, offered: WordFilter) -> list[Candidate]:
        """The n best words that may be offered."""
        offers = partial(offered.offers, typed=query.lower, before=query.place.last_word)
        return self.words.propose(query, n, offers)

    def _apart(
        self, context: Context, query: Query, n: int, offered: WordFilter
    ) -> list[Candidate]:
        """Words of which a space is not in its place; not yet in the mass of the others."""
        n = max(n, LEAST_WORDS)
        if n not in query.apart:
            found = self.spaces.propose(query, n)
            before = self._before(context, query)
            if before is not None:
                found += self.spaces.joined(query, before, n)
            query.apart[n] = found
        return [c for c in query.apart[n] if _may_be_offered(c, query, offered)]

    def _before(self, context: Context, query: Query) -> Before | None:
        """The word before the one space left of the open word, and a query for both as one."""
        if query.sound is None or self.ear is None or self._other_ear is None:
            return None
        if context.before[-1:] != " ":
            return None
        rest, word = text.split_open_word(context.before[:-1])
        lower = text.normalise(word).lower()
        if len(lower) != len(word) or len(lower) + len(query.typed) > LONGEST_WORD or not lower:
            return None
        if self.words.known_word(lower) and not self.ear.begins(lower + query.lower):
            return None
        line = (context.earlier, rest)
        if self._other is None or self._other[0] != line:
            self._other = line, self._find(replace(context, before=rest, taps=()))
        taps = (*map(Tap, word), *query.sound.taps)
        sound = Sound(self._other_ear, taps, query.finished)
        raw, typed = f"{word} {query.raw}", word + query.typed
        return Before(word, Query(self._other[1], raw, typed, typed.lower(), sound))

    def _emoji(
        self, query: Query, n: int, offered: WordFilter, style: EmojiStyle
    ) -> list[Candidate]:
        """The n best emoji that may be offered, as they are to be shown."""
        asked = n
        while True:
            found = self.emoji.propose(query, asked, style.diversity)
            kept: dict[str, Candidate] = {}
            for each in found:
                if offered.offers(each.text, query.typed):
                    shown = replace(each, text=style.apply(each.text))
                    kept[shown.text] = together(kept.get(shown.text), shown)
            if len(kept) >= n or len(found) < asked:
                return rank(kept.values())[:n]
            asked *= 2

    def finish(
        self, context: Context, n: int = PLACES, unfiltered: bool = False
    ) -> list[Candidate]:
        """The n best words for a word that is typed to its end, itself among them."""
        query = self.query(context, finished=True)
        offered = NOTHING_HELD_BACK if unfiltered else self._filter
        words, literal = self._words(query, n, offered), self.words.literal(query, n)
        if query.sound is None:
            return rank([*words, literal])[:n]
        apart = self._apart(context, query, n, offered)
        # The mass of the words has that of a known one in it, as it should be written.
        if self.words.counted(query):
            found = rank(_weighed([*words, literal], apart))
        else:
            found = rank(_weighed(words, [literal, *apart]))
        # Whatever is meant, what was typed can be had.
        typed = next(c for c in found if c.kind == "literal")
        return found[:n] if typed in found[:n] else [*found[: n - 1], typed]

    def autocorrect(
        self,
        context: Context,
        margin: Margin = "normal",
        unfiltered: bool = False,
        never: Collection[str] = (),
        joins: bool = True,
    ) -> Correction | None:
        """What a space would commit, None where no word is open. never: what was typed and, once
        corrected, brought back, in lower case; joins: also over the space before
        the open word."""
        query = self.query(context, finished=True)
        if not query.typed:
            return None
        found = self.finish(context, CONSIDERED, unfiltered)
        literals = [c for c in found if c.kind == "literal"]
        literal = literals[0] if literals else self.words.literal(query, CONSIDERED)
        line = (context.before + query.raw).lower()
        meant = [
            c
            for c in found
            if c.kind == "word"
            and line[len(line) - c.replaces :] not in never
            and (joins or c.replaces == query.replaces)
        ]
        known = self.words.known(query)
        # Capitals that nobody asked for are a wish.
        wish = query.raw.isupper() and len(query.raw) > 1 and not _shouts(context.before)
        stays = not text.is_word(query.lower) or not _free(context.before) or (wish and not known)
        if query.sound is None or stays:
            margin = "off"
        fingers = any(tap.x is not None for tap in context.taps)
        return decide([*meant, literal], known, fingers, margin)

    def adapt(self, taps: Sequence[Tap], word: str) -> None:
        """Learn from a word that was meant how far from the keys this person's fingers fall."""
        if self.ear is not None and self._other_ear is not None:
            self.ear.adapt(taps, word)
            self._other_ear.offset_kw = self.ear.offset_kw

    def leave_small(self) -> None:
        """Leave small letters at the start of sentences from now on."""
        self._small, self._line, self._other = True, None, None

    def emoji_logp(self, context: Context) -> float:
        """log P(an emoji comes next); where a word is open, as if it were finished."""
        if context.typed:
            context = replace(context, before=context.before + context.typed, taps=())
        return self.query(context).place.expected.trigger_logp

    def emoji_for(self, context: Context, n: int, wish: Wish) -> list[Candidate]:
        """Emoji for a panel: after the open word as if it were finished, and those in its place
        where its letters name one."""
        if not context.typed:
            return self.suggest(context, n, wish)
        whole = replace(context, before=context.before + context.typed, taps=())
        named = self.suggest(context, n, wish)
        found = self.suggest(whole, n, wish)
        texts = {c.text for c in found}
        return rank([*found, *(c for c in named if c.text not in texts)])[:n]

    def score(self, context: Context, wanted: str) -> Candidate | None:
        """A candidate of a given text: an emoji, a sign, a word, or a phrase of known words;
        None for what cannot stand here."""
        query = self.query(context)
        normal = text.normalise(wanted).strip()
        if text.is_emoji(normal):
            return self.emoji.score(query, text.base_emoji(normal))
        if normal and not any(c.isalnum() for c in normal):
            return self.signs.score(query, normal)
        tokens = tuple(text.tokens(normal))
        if not tokens or not text.is_word(tokens[0]):
            return None
        if len(tokens) == 1:
            return self.words.score(query, tokens[0])
        return self.phrases.score(query, tokens)


def _weighed(found: Iterable[Candidate], others: Iterable[Candidate]) -> list[Candidate]:
    """Candidates on the scale of their mass, and others that are not in that mass: all together."""
    others = list(others)
    if not others:
        return list(found)
    more = -math.log1p(sum(math.exp(c.logp) for c in others))
    return [shifted(c, more) for c in (*found, *others)]


def _free(before: str) -> bool:
    """Whether a word after this text stands by itself: no part of a number, a URL, an e-mail
    address, a hashtag."""
    if not before or before[-1].isspace():
        return True
    return before[-1] in OPENING and not before[-2:-1].isalnum()


def _shouts(before: str) -> bool:
    """Whether the word before is all in capitals."""
    words = before.split()
    return bool(words) and len(words[-1]) > 1 and words[-1].isupper()


def _may_be_offered(phrase: Candidate, query: Query, offered: WordFilter) -> bool:
    """Whether each of its words may be offered after the one before it, signs aside."""
    tokens = text.tokens(text.normalise(phrase.text))
    words = [query.place.last_word, *filter(text.is_word, tokens)]
    return all(offered.offers(word, before=before) for before, word in pairwise(words))
