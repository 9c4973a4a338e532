"""One question to the sources: where the caret stands and what is typed there."""

from __future__ import annotations

from dataclasses import dataclass, field

from kbengine.beam import Found
from kbengine.tree import Node


@dataclass(eq=False)
class Query:
    """node: the end of the committed text; typed, lower: the open word as it stands and in
    lower case; last_tokens: the last few tokens before it. `found` keeps the word searches
    by their size, for the sources that build on them."""

    node: Node
    typed: str
    lower: str
    sentence_start: bool
    last_tokens: tuple[str, ...]
    found: dict[int, Found] = field(default_factory=dict)
