"""Text to pieces, over the toy vocabulary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kbengine import text
from tests.toys import messages, toy_vocabulary

SIGNS = (
    "a",
    "can't",
    "B",
    " ",
    "\t",
    "\n",
    ".",
    "...",
    "7",
    "é",
    "e\u0301",
    "❤️",
    "👩‍🚀",
    "\u200d",
    "'",
)


@given(st.lists(st.sampled_from(SIGNS)).map("".join) | st.text())
def test_a_message_is_its_tokens_one_by_one(message: str) -> None:
    """Also where a stretch of it was met before, beside others."""
    vocabulary = toy_vocabulary()
    tokens = text.tokens(text.normalise(message))
    assert vocabulary.encode(message) == [i for t in tokens for i in vocabulary.encode_token(t)]


@given(st.sampled_from(messages()))
def test_what_was_encoded_is_spelt_again(message: str) -> None:
    vocabulary = toy_vocabulary()
    for token in filter(text.is_word, text.tokens(message)):
        assert vocabulary.spell(vocabulary.encode_token(token)) == token


def test_the_pieces_of_a_message_are_the_callers_own() -> None:
    vocabulary = toy_vocabulary()
    vocabulary.encode("see").append(-1)
    assert -1 not in vocabulary.encode("see")
