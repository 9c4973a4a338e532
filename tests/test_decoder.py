"""The decoder against a plain recursion over one word at a time, and keys against fresh starts."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbengine.channel import APOSTROPHE, Channel, ChannelModel, Rates
from kbengine.decoder import Decoder, DecoderOptions
from kbengine.layout import read_layout
from kbengine.lettertrie import LetterTrie
from kbengine.protocols import Floats, Ints
from kbengine.types import Tap
from tests.soak import times

QWERTY = read_layout(Path(__file__).parent.parent / "data" / "layouts" / "qwerty.tsv")
WORDS = sorted(
    ["the", "then", "their", "there", "tea", "teh", "ten", "to", "too", "tool", "told", "a", "i",
     "i'll", "ill", "it's", "its", "don't", "dot", "letter", "later", "receive", "deceive", "café",
     "cafe", "phone", "fone", "on", "no", "one"]
)  # fmt: skip
RULES = {("ei", "ie"): -2.0, ("ph", "f"): -2.5, ("tt", "t"): -2.2, ("e", "a"): -3.0,
         ("er", "re"): -3.5, ("hei", "hie"): -1.5}  # fmt: skip
WIDE = DecoderOptions(width=1e6, nodes=10**6)
LEAST = -200.0  # what is less likely is not compared: floors of single letters add up differently


class Stock:
    """The words, all equally common."""

    def alphabetical(self) -> tuple[list[str], Ints]:
        return WORDS, np.arange(len(WORDS))

    def logps(self, numbers: Ints) -> Floats:
        return np.full(len(numbers), -3.0, np.float32)

    def ranks(self, numbers: Ints) -> Ints:
        return numbers


@functools.cache
def world() -> tuple[LetterTrie, Channel]:
    trie = LetterTrie(Stock())
    return trie, Channel(ChannelModel(Rates(), QWERTY, RULES), trie.alphabet)


def by_recursion(word: str, taps: list[Tap], channel: Channel, whole: bool) -> float:
    """The best way from letters to taps, written down anew: what a typist may have done next.
    whole: all letters were typed or left out; else the taps may end anywhere in the word, but not
    behind a letter left out."""
    rates = channel.rates
    tables = [channel.table(tap) for tap in taps]

    def tap(at: int, letter: str) -> float:
        return float(tables[at][channel.number[letter]])

    @functools.cache
    def best(i: int, j: int, omitted: bool) -> float:
        """From i taps and j letters on; omitted: whether the last letter was left out."""
        found = -math.inf
        if i == len(taps) and (j == len(word) if whole else not omitted):
            found = 0.0
        if j < len(word) and not omitted:
            left_out = rates.apostrophe if word[j] == APOSTROPHE else rates.omitted
            found = max(found, left_out + best(i, j + 1, True))
        if i < len(taps):
            extra = channel.extra(taps[i])
            if j:
                extra = max(extra, rates.doubled + tap(i, word[j - 1]))
            found = max(found, extra + best(i + 1, j, False))
            if j < len(word):
                found = max(found, tap(i, word[j]) + best(i + 1, j + 1, False))
        if i + 1 < len(taps) and j + 1 < len(word):
            swapped = rates.swapped + tap(i, word[j + 1]) + tap(i + 1, word[j])
            found = max(found, swapped + best(i + 2, j + 2, False))
        for (meant, spelt), logp in RULES.items():
            if word.startswith(meant, j) and i + len(spelt) <= len(taps):
                typed = sum(tap(i + at, letter) for at, letter in enumerate(spelt))
                found = max(found, logp + typed + best(i + len(spelt), j + len(meant), False))
        return found

    return best(0, 0, False)


taps_of = st.one_of(
    st.builds(Tap, st.sampled_from("abcdefghijklmnoprstuvwy'")),
    st.builds(Tap, st.sampled_from("aehilnort"), st.floats(0, 10), st.floats(0, 4.5)),
)
slips = st.one_of(
    st.lists(taps_of, min_size=1, max_size=6),
    st.sampled_from(["teh", "recieve", "dont", "leter", "tool", "ill", "cafe", "fone", "hte"]).map(
        lambda word: [Tap(char) for char in word]
    ),
)


@settings(max_examples=times(60, 1000), deadline=None)
@given(slips)
def test_a_wide_decoder_is_exact(taps: list[Tap]) -> None:
    trie, channel = world()
    decoder = Decoder(trie, channel, WIDE)
    decoder.feed(taps)
    whole = dict.fromkeys(WORDS, -math.inf)
    for node, logp in zip(*decoder.front, strict=True):
        if trie.word[node] >= 0:
            whole[WORDS[trie.word[node]]] = float(logp)
    begun = dict.fromkeys(WORDS, -math.inf)
    for node, logp in zip(*decoder.reached, strict=True):
        for word in WORDS[trie.low[node] : trie.high[node]]:
            begun[word] = max(begun[word], float(logp))
    for word in WORDS:
        for found, ends in ((whole, True), (begun, False)):
            wanted = by_recursion(word, taps, channel, ends)
            if wanted > LEAST:
                assert found[word] == pytest.approx(wanted, abs=1e-3), (word, ends)


@settings(max_examples=times(60, 1000), deadline=None)
@given(st.lists(slips, min_size=1, max_size=4))
def test_keys_one_by_one_are_as_a_fresh_start(runs: list[list[Tap]]) -> None:
    """Any way to the same taps: key by key, back and on again, from another word."""
    trie, channel = world()
    used = Decoder(trie, channel)
    for taps in runs:
        for end in range(1, len(taps) + 1):
            used.feed(taps[:end])
        used.feed(taps[:1])
        used.feed(taps)
        fresh = Decoder(trie, channel)
        fresh.feed(taps)
        for one, other in ((used.front, fresh.front), (used.reached, fresh.reached)):
            assert one.nodes.tolist() == other.nodes.tolist()
            assert one.logp.tolist() == other.logp.tolist()


def test_a_narrow_decoder_keeps_the_likeliest() -> None:
    trie, channel = world()
    wide, narrow = Decoder(trie, channel, WIDE), Decoder(trie, channel)
    for word in WORDS:
        taps = [Tap(char) for char in word]
        wide.feed(taps)
        narrow.feed(taps)
        best = wide.front.nodes[np.argmax(wide.front.logp)]
        assert WORDS[trie.word[best]] == word
        assert best in narrow.front.nodes


def test_every_node_knows_its_words_and_children() -> None:
    trie, _ = world()
    for number, word in enumerate(WORDS):
        node = np.zeros(1, np.intp)
        for end, letter in enumerate(word, 1):
            node = trie.child(node, np.array([trie.alphabet.index(letter)]))
            low, high = int(trie.low[node[0]]), int(trie.high[node[0]])
            assert WORDS[low:high] == [w for w in WORDS if w.startswith(word[:end])]
        assert int(trie.word[node[0]]) == number
    none = trie.child(np.zeros(1, np.intp), np.array([trie.alphabet.index("é")]))
    assert none.tolist() == [0]
    assert int(trie.first[-1]) == len(trie.letter)


def test_an_offset_moves_what_is_heard() -> None:
    trie, channel = world()
    decoder = Decoder(trie, channel)
    x, y = QWERTY.keys["o"]
    taps = [Tap("p", x + 0.6, y), Tap("n", QWERTY.keys["n"][0] + 0.4, QWERTY.keys["n"][1])]

    def heard(offset: tuple[float, float]) -> float:
        decoder.feed(taps, offset)
        nodes, logp = decoder.front
        at = np.flatnonzero(trie.word[nodes] == WORDS.index("on"))
        return float(logp[at[0]])

    assert heard((0.5, 0.0)) > heard((0.0, 0.0)) + 1
    assert heard((0.0, 0.0)) > heard((-0.5, 0.0)) + 1


def test_words_with_too_rare_letters_are_left_out() -> None:
    class Many(Stock):
        def alphabetical(self) -> tuple[list[str], Ints]:
            rare = [chr(0x4E00 + i) for i in range(80)]
            words = sorted(["aa", "ab", *rare])
            return words, np.arange(len(words))

    trie = LetterTrie(Many())
    assert len(trie.alphabet) == 64
    assert {"aa", "ab"} < set(trie.words)
    assert len(trie.words) == 2 + 62


def test_a_trie_of_nothing_is_a_root() -> None:
    class Nothing(Stock):
        def alphabetical(self) -> tuple[list[str], Ints]:
            return [], np.arange(0)

    trie = LetterTrie(Nothing())
    decoder = Decoder(trie, Channel(ChannelModel(Rates(), QWERTY, {}), trie.alphabet))
    decoder.feed([Tap("a")])
    assert len(trie.letter) == 1
    assert not len(decoder.front.nodes) or decoder.front.nodes.tolist() == [0]
