"""The `emoji` package's names, with CLDR's names and keywords -> an EmojiTable.

CLDR is looked for where it is given, in the forms it comes in:

* a ``.tsv`` file: emoji TAB name TAB keywords, parted by commas;
* an annotations ``.xml`` file, as the CLDR itself and Debian's unicode-cldr-core have it:
  ``<annotation cp="😀">face | grin</annotation>``, the name in the one of type ``tts``;
* a folder: one that holds ``cldr_names_keywords_en.tsv``, or a CLDR root, of which the
  English annotations and derived annotations are read.

An emoji stands once, in its fully qualified form. Skin tones are left out: which one a
person wants is theirs to set, not ours to guess.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree

import emoji

from kbengine.emojitable import EmojiEntry, EmojiTable, fold
from kbengine.text import base_emoji, is_emoji

_TABLE_NAME = "cldr_names_keywords_en.tsv"
_ORDER_NAME = "emoji-test.txt"
_INHERITED = "\u2191\u2191\u2191"  # CLDR's mark for "as in the parent language"
_TONE_RE = re.compile("[\U0001f3fb-\U0001f3ff]")
_FLAG_RE = re.compile("[\U0001f1e6-\U0001f1ff]{2}")
# Aliases that are a code and no word: ``a``, ``cat2``, ``clock830``, ``u7533``.
_CODE_RE = re.compile(r".|.*[a-z]\d.*")


@dataclass
class _Cldr:
    """What was read, by emoji in the base form, and the order of Unicode keyboards: all
    emoji that the source puts in order, empty where it puts none."""

    names: dict[str, str] = field(default_factory=dict)
    keywords: dict[str, list[str]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Row:
    """What one line or element says; a part that it does not have is empty."""

    emoji: str
    name: str
    keywords: list[str]


def read_said(path: Path) -> dict[str, list[str]]:
    """Emoji -> what people say with them, of a file with a phrase, a tab and its emoji in a line.

    Raises ValueError, naming the line, where it is no such file.
    """
    said: defaultdict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(_lines(path), 1):
        phrase, tab, symbols = line.partition("\t")
        if not line:
            continue
        if not tab or not phrase.strip() or not all(map(is_emoji, symbols.split())):
            raise ValueError(f"{path}: line {number} is not a phrase, a tab and emoji; mend it")
        for symbol in symbols.split():
            said[base_emoji(symbol)].append(phrase.strip())
    return dict(said)


def build_emoji_table(
    cldr: Path | None, said: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> EmojiTable:
    """The table of all emoji that the `emoji` package knows; see the module's docstring.

    said: what people say with an emoji, further keywords of it (`read_said`).

    Names are the package's; its aliases are the first keywords, then CLDR's name where it
    is another, then CLDR's keywords. The order is that of Unicode keyboards where `cldr`
    tells it: an ``emoji-test.txt`` beside the ``.tsv``, or the order of the XML. Otherwise
    older emoji, which are the better known, come first.

    Raises ValueError where `cldr` is none of these forms.
    """
    facts = {
        symbol: facts
        for symbol, facts in emoji.EMOJI_DATA.items()
        if facts["status"] == emoji.STATUS["fully_qualified"] and not _TONE_RE.search(symbol)
    }
    known = _Cldr() if cldr is None else _read(cldr, facts.keys())
    ranks = {symbol: rank for rank, symbol in enumerate(known.order)}

    def place(symbol: str) -> tuple[int, float, str]:
        """The rank, else just behind the emoji that it begins with, else last and by age."""
        behind = ranks.get(base_emoji(symbol[0]), len(ranks))
        age = 0.0 if symbol in ranks else float(facts[symbol]["E"])
        return ranks.get(symbol, behind), age, symbol

    entries = []
    for symbol in sorted(facts, key=place):
        name = _words(facts[symbol]["en"])
        names = _aliases(symbol, facts[symbol].get("alias", []))
        names.append(known.names.get(symbol, name))
        more = [*known.keywords.get(symbol, []), *said.get(symbol, ())]
        keywords = _distinct(name, names, more)
        entries.append(EmojiEntry(symbol, name, keywords))
    return EmojiTable(entries)


def _words(shortcode: str) -> str:
    """``:red_heart:`` -> ``red heart``."""
    return shortcode.strip(":").replace("_", " ").strip()


def _aliases(symbol: str, shortcodes: Iterable[str]) -> list[str]:
    """The aliases that a person might type."""
    aliases = [_words(shortcode) for shortcode in shortcodes]
    if _FLAG_RE.fullmatch(symbol):
        # Not a country's code: `it`, `us`, `es` are words.
        aliases = [re.sub("^flag for ", "flag ", alias) for alias in aliases if len(alias) > 2]
    return [alias for alias in aliases if not _CODE_RE.fullmatch(alias)]


def _distinct(name: str, names: list[str], keywords: list[str]) -> tuple[str, ...]:
    """An EmojiEntry's keywords: the names that are not `name` itself, or `name` if there
    is none, and the keywords, each once.

    Single words of the name stay: they are how the table knows the telling words of names
    from the likes of "with" and "of", which CLDR has for no keyword.
    """
    others = [other for other in names if fold(other) not in ("", fold(name))]
    found: dict[str, str] = {}
    for keyword in [*(others or [name]), *keywords]:
        found.setdefault(fold(keyword), keyword)
    return tuple(keyword for folded, keyword in found.items() if folded)


def _read(cldr: Path, wanted: Collection[str]) -> _Cldr:
    """What the file or folder says of the `wanted` emoji."""
    table = cldr / _TABLE_NAME if cldr.is_dir() else cldr
    if table.suffix == ".tsv" and table.is_file():
        rows = _table_rows(table)
        order = _keyboard_order(table.with_name(_ORDER_NAME))
    else:
        rows = [row for path in _xml_files(cldr) for row in _xml_rows(path)]
        order = [row.emoji for row in rows]
    found = _Cldr()
    for row in rows:
        base = base_emoji(row.emoji)
        if base in wanted and not _TONE_RE.search(row.emoji):
            found.keywords.setdefault(base, []).extend(row.keywords)
            if row.name:
                found.names[base] = row.name
    if not found.keywords:
        raise ValueError(f"{cldr}: says nothing of any emoji; give CLDR annotations")
    order = [base_emoji(symbol) for symbol in order if not _TONE_RE.search(symbol)]
    found.order = [symbol for symbol in dict.fromkeys(order) if symbol in wanted]
    return found


def _table_rows(path: Path) -> list[_Row]:
    """The rows of a ``.tsv`` file."""
    rows = []
    for number, line in enumerate(_lines(path), 1):
        if not line:
            continue
        columns = line.split("\t")
        if len(columns) != 3:
            raise ValueError(
                f"{path}, line {number}: {len(columns)} columns, not emoji, name and keywords"
            )
        rows.append(_Row(columns[0], columns[1].strip(), _split(columns[2], ",")))
    return rows


def _keyboard_order(path: Path) -> list[str]:
    """The emoji of Unicode's ``emoji-test.txt``, which are in order; none without the file."""
    if not path.is_file():
        return []
    order = []
    for line in _lines(path):
        codes, qualified, _ = line.partition("; fully-qualified")
        if qualified:
            try:
                order.append("".join(chr(int(code, 16)) for code in codes.split()))
            except (ValueError, OverflowError):
                raise ValueError(f"{path}: {codes.strip()!r} are no code points") from None
    return order


def _xml_files(cldr: Path) -> list[Path]:
    """The annotation files that `cldr` is or holds."""
    if cldr.suffix == ".xml" and cldr.is_file():
        return [cldr]
    for root in (cldr / "common", cldr):
        files = [root / part / "en.xml" for part in ("annotations", "annotationsDerived")]
        if files[0].is_file():
            return [path for path in files if path.is_file()]
    raise ValueError(
        f"{cldr}: no emoji names; give a .tsv table, a CLDR annotations .xml file, or a folder"
        f" with {_TABLE_NAME} or common/annotations/en.xml"
    )


def _xml_rows(path: Path) -> list[_Row]:
    """The rows of an annotations file: an element each, name and keywords apart."""
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: no well-formed XML: {error}") from None
    rows = []
    for element in root.iterfind("annotations/annotation"):
        symbol, said = element.get("cp", ""), (element.text or "").strip()
        if said == _INHERITED:
            said = ""
        if element.get("type") == "tts":
            rows.append(_Row(symbol, said, []))
        else:
            rows.append(_Row(symbol, "", _split(said, "|")))
    return rows


def _split(keywords: str, sign: str) -> list[str]:
    """A list of keywords; ``|`` is not left in any, since the EmojiTable keeps it for itself."""
    parts = (" ".join(part.replace("|", " ").split()) for part in keywords.split(sign))
    return [part for part in parts if part]


def _lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file."""
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text") from None
