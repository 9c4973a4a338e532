"""Emoji by name, for a panel's search box: in the bundle's language by its names and keywords, in
others by the names of the `emoji` package.

Forms that the bundle's table leaves out (skin tones, two people of two tones) are found by their
full names, which the package knows as well.
"""

from __future__ import annotations

import functools
from dataclasses import replace

from kbengine import text
from kbengine.emojistyle import PLAIN, EmojiStyle, is_gendered
from kbengine.emojitable import EmojiEntry, EmojiTable, fold


class EmojiFinder:
    """Safe to share between threads."""

    def __init__(self, table: EmojiTable, language: str) -> None:
        self._table, self._language = table, language
        self._named = functools.lru_cache(maxsize=None)(_table_of)

    def find(self, name: str, n: int, language: str, style: EmojiStyle = PLAIN) -> list[str]:
        """Up to n emoji, best first, as they are to be shown.

        Raises ValueError for a language in which no names are known.
        """
        language = language.replace("_", "-").split("-")[0].lower()  # of ``de_AT`` the German
        tables = [self._named(language)]
        if language == self._language:
            tables.insert(0, self._table)
        whole = fold(name)
        found: dict[str, None] = {}
        for table in tables:
            for hit in table.exact(whole, n):
                # Who asks for a woman by name gets her.
                named = replace(style, gender="") if is_gendered(hit.emoji) else style
                found.setdefault(named.apply(hit.emoji))
        for table in tables if whole else ():
            for hit in table.find(name, n):
                found.setdefault(style.apply(hit.emoji))
        return list(found)[:n]


def _table_of(language: str) -> EmojiTable:
    """Every emoji of the `emoji` package by its name in a language."""
    names = text.emoji_names(language)
    if not names:
        raise ValueError(f"no names of emoji are known in {language!r}; give one such as en or de")
    return EmojiTable([EmojiEntry(emoji, name, ()) for emoji, name in names.items()])
