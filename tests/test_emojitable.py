"""The emoji table: what is found by what, on disk and back, and how it is built."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import emoji
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbengine.emojitable import EmojiEntry, EmojiTable, fold
from kbengine.errors import BundleError
from train.emoji_table import build_emoji_table

TONES = "🏻🏼🏽🏾🏿"

SMALL = EmojiTable(
    [
        EmojiEntry("😂", "face with tears of joy", ("joy", "crying", "face", "laugh", "tears")),
        EmojiEntry("💖", "sparkling heart", ("sparkling heart", "heart", "love", "sparkling")),
        EmojiEntry("❤️", "red heart", ("heart", "love", "red")),
        EmojiEntry("🧀", "cheese wedge", ("cheese", "food", "wedge")),
        EmojiEntry("🍕", "pizza", ("pizza", "cheese", "food", "slice")),
        EmojiEntry("🎂", "birthday cake", ("birthday", "cake", "party")),
        EmojiEntry("🎁", "wrapped gift", ("gift", "birthday", "party")),
        EmojiEntry("🍎", "red apple", ("apple", "food", "red")),
        EmojiEntry("👕", "t-shirt", ("tshirt", "clothing")),
        EmojiEntry("🕹️", "joystick", ("joystick", "game")),
        EmojiEntry("🪅", "piñata", ("piñata", "party")),
        EmojiEntry("🕗", "eight o’clock", ("eight o’clock", "o’clock", "clock")),
    ]
)

TSV = """\
❤	red heart	emotion, heart, love, red
😀	grinning face	cheerful, face, grin, |:
🎂	birthday cake	bday, birthday, cake, party
👋🏻	waving hand: light skin tone	never a keyword
🇬🇧	flag: United Kingdom	flag
"""
XML = """\
<?xml version="1.0" encoding="UTF-8" ?>
<!DOCTYPE ldml SYSTEM "../../common/dtd/ldml.dtd">
<ldml>
  <identity><version number="$Revision$"/><language type="en"/></identity>
  <annotations>
    <annotation cp="#">hash sign</annotation>
    <annotation cp="😀">cheerful | face | grin</annotation>
    <annotation cp="😀" type="tts">grinning face</annotation>
    <annotation cp="❤">emotion | heart | love</annotation>
    <annotation cp="❤" type="tts">red heart</annotation>
    <annotation cp="👨">adult | bro</annotation>
    <annotation cp="🎂">bday | cake | party</annotation>
    <annotation cp="🍕">↑↑↑</annotation>
  </annotations>
</ldml>
"""
DERIVED = """\
<ldml><annotations>
  <annotation cp="👋🏻">never a keyword</annotation>
  <annotation cp="🇬🇧">flag</annotation>
  <annotation cp="🇬🇧" type="tts">flag: United Kingdom</annotation>
</annotations></ldml>
"""


def found(table: EmojiTable, prefix: str, n: int = 5) -> list[str]:
    return [hit.emoji for hit in table.find(prefix, n)]


def keywords(table: EmojiTable, symbol: str) -> tuple[str, ...]:
    return next(entry.keywords for entry in table if entry.emoji == symbol)


# Finding


@pytest.mark.parametrize(
    ("typed", "best"),
    [
        ("pizz", "🍕"),
        ("birthd", "🎂"),  # a word of the name is worth more than the gift's keyword
        ("PIZ", "🍕"),
        ("heart", "❤️"),  # by its second name, though another heart comes first
        ("joy", "😂"),  # the complete word comes before the joystick
        ("joys", "🕹️"),
        ("red hea", "❤️"),
        ("Red  App", "🍎"),
        ("t-sh", "👕"),
        ("pin\u0303a", "🪅"),  # decomposed as typed, composed in the table
        ("o'c", "🕗"),
    ],
)
def test_the_best_emoji_of_what_is_typed(typed: str, best: str) -> None:
    assert found(SMALL, typed)[0] == best


def test_a_hit_names_its_whole_word() -> None:
    assert SMALL.find("birthd", 1)[0].keyword == "birthday"
    assert SMALL.find("red hea", 1)[0].keyword == "red heart"


def test_a_word_is_not_found_by_a_phrase_nor_a_phrase_by_a_word() -> None:
    assert {hit.keyword for hit in SMALL.find("red", 9)} == {"red"}
    assert {hit.keyword for hit in SMALL.find("red ", 9)} == {"red heart", "red apple"}


def test_ties_go_by_the_order_of_the_entries() -> None:
    assert found(SMALL, "red") == ["❤️", "🍎"]
    assert found(EmojiTable(list(SMALL)[::-1]), "red") == ["🍎", "❤️"]


def test_what_is_tied_to_one_emoji_has_a_great_share_and_what_is_spread_a_small_one() -> None:
    assert SMALL.exact("pizza", 1)[0].share > 0.85
    assert all(hit.share < 0.5 for hit in SMALL.exact("red", 9))
    whole_name, name_word, keyword = (SMALL.exact(w, 9) for w in ("pizza", "birthday", "food"))
    assert whole_name[0].share > name_word[0].share > keyword[0].share


def test_the_little_words_of_names_say_little() -> None:
    assert SMALL.exact("of", 1)[0].share < 0.2 < SMALL.exact("tears", 1)[0].share


def test_exact_takes_complete_words_and_phrases_only() -> None:
    assert [hit.emoji for hit in SMALL.exact("Birthday", 9)] == ["🎂", "🎁"]
    assert [hit.emoji for hit in SMALL.exact("red heart", 9)] == ["❤️"]
    assert SMALL.exact("birthda", 9) == SMALL.exact("red hea", 9) == SMALL.exact("", 9) == []


@pytest.mark.parametrize("typed", ["", " ", "!", "zzz", "\ud800", "red hearts", "\U0010ffff"])
def test_nothing_is_found_by_nothing(typed: str) -> None:
    assert SMALL.find(typed, 5) == []


def test_no_more_than_asked_for() -> None:
    assert SMALL.find("p", 0) == SMALL.exact("red", 0) == SMALL.exact("red", -1) == []
    assert len(SMALL.find("p", 2)) == 2


# Properties, of tables whose names and keywords overlap much

_phrases = st.text("abAé -'.", min_size=1, max_size=6)
_entries = st.lists(
    st.builds(EmojiEntry, st.text(min_size=1, max_size=1, alphabet="🍕🎂🎁🍎😂🧀"), _phrases,
              st.lists(_phrases, max_size=4).map(tuple)),
    min_size=1, unique_by=lambda entry: entry.emoji,
)  # fmt: skip
_tables = _entries.map(EmojiTable)


@given(_tables, st.text("abé", min_size=1, max_size=3))
def test_find_finds_what_a_plain_search_finds(table: EmojiTable, prefix: str) -> None:
    phrases = {e.emoji: [fold(p) for p in (e.name, *e.keywords)] for e in table}
    words = {symbol: {w for p in folded for w in p.split()} for symbol, folded in phrases.items()}
    hits = table.find(prefix, 99)
    reachable = {e for e, known in words.items() if any(w.startswith(prefix) for w in known)}
    assert {hit.emoji for hit in hits} == reachable
    assert len({hit.emoji for hit in hits}) == len(hits)
    assert all(hit.keyword in words[hit.emoji] for hit in hits)
    for n in range(len(hits)):
        assert table.find(prefix, n) == hits[:n]


@given(_tables, st.text("ab ", min_size=1, max_size=4))
def test_a_hit_agrees_with_exact(table: EmojiTable, prefix: str) -> None:
    for hit in table.find(prefix, 99):
        assert hit.keyword.startswith(fold(prefix))
        assert hit in table.exact(hit.keyword, 99)


@given(_tables)
def test_the_shares_of_a_keyword_are_a_part_of_one(table: EmojiTable) -> None:
    phrases = {fold(p) for e in table for p in (e.name, *e.keywords)}
    for keyword in phrases | {word for phrase in phrases for word in phrase.split()}:
        shares = [hit.share for hit in table.exact(keyword, 99)]
        assert all(0 < share <= 1 for share in shares)
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1


@given(st.text())
def test_any_text_may_be_typed(typed: str) -> None:
    SMALL.find(typed, 3)
    SMALL.exact(typed, 3)
    assert fold(fold(typed)) == fold(typed)


# On disk


def test_a_table_comes_back_as_it_was() -> None:
    back = EmojiTable.from_bytes(SMALL.to_bytes())
    assert list(back) == list(SMALL)
    assert len(back) == len(SMALL) == 12
    assert back.find("p", 9) == SMALL.find("p", 9)


_fields = st.text(
    st.characters(exclude_characters="\t\n|", exclude_categories=["Cs"]), min_size=1, max_size=8
)


@given(
    st.lists(
        st.builds(EmojiEntry, _fields, _fields, st.lists(_fields, max_size=3).map(tuple)),
        min_size=1,
        unique_by=lambda entry: entry.emoji,
    )
)
def test_any_table_comes_back_as_it_was(entries: list[EmojiEntry]) -> None:
    assert list(EmojiTable.from_bytes(EmojiTable(entries).to_bytes())) == entries


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\xff\xfe",
        "🍕\tpizza".encode(),
        "🍕\tpizza\tcheese\tfood\n".encode(),
        "🍕\tpizza\tcheese\n\n🎂\tcake\t\n".encode(),
        "🍕\t\tcheese\n".encode(),
        b"\tpizza\tcheese\n",
        "🍕\tpizza\tcheese||food\n".encode(),
        "🍕\tpizza\tcheese\n🍕\tpizza\tcheese\n".encode(),
    ],
)
def test_a_broken_table_is_refused_in_one_sentence(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"^[^\n]*emoji table[^\n]*build the bundle again$"):
        EmojiTable.from_bytes(data)


@given(st.binary() | st.text("🍕🎂\t\n|a").map(str.encode))
def test_any_bytes_are_a_table_or_a_bundle_error(data: bytes) -> None:
    try:
        table = EmojiTable.from_bytes(data)
    except BundleError:
        return
    assert len(table) > 0


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [EmojiEntry("🍕", "", ())],
        [EmojiEntry("🍕", "piz\tza", ())],
        [EmojiEntry("🍕", "pizza", ("a|b",))],
        [EmojiEntry("🍕", "pizza", ("",))],
        [EmojiEntry("🍕", "pizza", ()), EmojiEntry("🍕", "pie", ())],
    ],
)
def test_a_table_that_cannot_be_written_is_a_value_error(entries: list[EmojiEntry]) -> None:
    with pytest.raises(ValueError):
        EmojiTable(entries)


def test_the_table_needs_no_emoji_package() -> None:
    program = (
        "import sys; from kbengine.emojitable import EmojiEntry, EmojiTable\n"
        "EmojiTable([EmojiEntry('🍕', 'pizza', ())]).find('piñ', 3)\n"
        "sys.exit('emoji' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# Building


@pytest.fixture(scope="module")
def plain() -> EmojiTable:
    """The table of the `emoji` package alone."""
    return build_emoji_table(None)


@pytest.fixture
def tsv(tmp_path: Path) -> Path:
    path = tmp_path / "cldr_names_keywords_en.tsv"
    path.write_text(TSV, encoding="utf-8")
    return path


@pytest.fixture
def cldr_root(tmp_path: Path) -> Path:
    root = tmp_path / "cldr"
    for part, content in (("annotations", XML), ("annotationsDerived", DERIVED)):
        (root / "common" / part).mkdir(parents=True)
        (root / "common" / part / "en.xml").write_text(content, encoding="utf-8")
    return root


def test_every_qualified_emoji_without_skin_tone_is_in_the_table(plain: EmojiTable) -> None:
    full = emoji.STATUS["fully_qualified"]
    wanted = {e for e, facts in emoji.EMOJI_DATA.items() if facts["status"] == full}
    assert {entry.emoji for entry in plain} == {e for e in wanted if not set(e) & set(TONES)}


def test_no_emoji_has_a_skin_tone(plain: EmojiTable) -> None:
    assert not [entry.emoji for entry in plain if set(entry.emoji) & set(TONES)]


def test_every_emoji_is_found_by_its_name(plain: EmojiTable) -> None:
    names = defaultdict(set)
    for entry in plain:
        names[emoji.EMOJI_DATA[entry.emoji]["en"].strip(":").replace("_", " ")].add(entry.emoji)
    for name, symbols in names.items():
        assert symbols <= {hit.emoji for hit in plain.exact(name, 20)}, name
        assert symbols <= set(found(plain, name, 20)), name


def test_the_emoji_package_alone_knows_the_common_ones(plain: EmojiTable) -> None:
    best = {word: found(plain, word)[0] for word in ("pizz", "heart", "joy", "smile", "thumbsup")}
    assert best == {"pizz": "🍕", "heart": "❤️", "joy": "😂", "smile": "😄", "thumbsup": "👍"}
    assert "🇮🇹" not in {hit.emoji for hit in plain.exact("it", 9)}  # the code is a word too


def test_a_built_table_comes_back_as_it_was(plain: EmojiTable) -> None:
    assert list(EmojiTable.from_bytes(plain.to_bytes())) == list(plain)


def test_the_older_emoji_come_first_where_nothing_tells_the_order(plain: EmojiTable) -> None:
    versions = [emoji.EMOJI_DATA[entry.emoji]["E"] for entry in plain]
    assert versions == sorted(versions)


def test_a_tsv_file_adds_keywords(plain: EmojiTable, tsv: Path) -> None:
    table = build_emoji_table(tsv)
    assert len(table) == len(plain)
    assert found(table, "bday") == ["🎂"]
    assert found(table, "birthd")[0] == "🎂"
    assert "❤️" in found(table, "emotion")  # the file has it without U+FE0F
    assert table.exact("flag united kingdom", 5)[0].emoji == "🇬🇧"
    assert table.find("never", 5) == []  # of a skin tone
    assert keywords(table, "❤️")[0] == "heart"  # the package's alias, before CLDR's keywords


def test_a_folder_of_corpora_is_its_tsv_file(tsv: Path) -> None:
    assert list(build_emoji_table(tsv.parent)) == list(build_emoji_table(tsv))


def test_the_keyboard_order_beside_a_tsv_file_is_followed(tsv: Path) -> None:
    tsv.with_name("emoji-test.txt").write_text(
        "# group: any\n"
        "1F382      ; fully-qualified     # 🎂 E0.6 birthday cake\n"
        "1F468 1F3FB ; fully-qualified    # 👨🏻 E1.0 man: light skin tone\n"
        "1F468      ; fully-qualified     # 👨 E0.6 man\n"
        "2764 FE0F  ; fully-qualified     # ❤️ E0.6 red heart\n"
        "2764       ; unqualified         # ❤ E0.6 red heart\n",
        encoding="utf-8",
    )
    order = [entry.emoji for entry in build_emoji_table(tsv)]
    assert order[:2] == ["🎂", "👨"]
    # What the file lacks follows the emoji that it begins with.
    assert order.index("👨\u200d🚀") < order.index("❤️") < order.index("❤️\u200d🔥") < 150
    assert order[-1] not in "🎂👨❤️"


def test_an_annotations_file_adds_keywords(plain: EmojiTable, cldr_root: Path) -> None:
    table = build_emoji_table(cldr_root / "common" / "annotations" / "en.xml")
    assert len(table) == len(plain)
    assert found(table, "bday") == ["🎂"]
    assert found(table, "bro")[0] == "👨"
    assert "❤️" in found(table, "emotion")
    assert "↑↑↑" not in keywords(table, "🍕")
    assert [entry.emoji for entry in table][:3] == ["😀", "❤️", "❤️\u200d🔥"]  # as in the file


@pytest.mark.parametrize("below", ["", "common"])
def test_a_cldr_root_is_all_its_annotations(cldr_root: Path, below: str) -> None:
    table = build_emoji_table(cldr_root / below)
    assert found(table, "bday") == ["🎂"]
    assert table.exact("flag united kingdom", 5)[0].emoji == "🇬🇧"
    assert table.find("never", 5) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("table.tsv", b"\xff\xfe"),
        ("table.tsv", b""),
        ("table.tsv", "🎂\tbirthday cake\n".encode()),
        ("table.tsv", b"x\tno emoji\tword\n"),
        ("en.xml", b"<ldml><annotations>"),
        ("en.xml", b"<ldml/>"),
        ("en.json", b"{}"),
    ],
)
def test_another_file_is_a_value_error(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^[^\n]*{name}[^\n]*$"):
        build_emoji_table(path)


def test_a_broken_keyboard_order_is_a_value_error(tsv: Path) -> None:
    for code in ("XYZ", "FFFFFFFFFFFFFFFFFFFF", "110000"):
        line = f"{code} ; fully-qualified # 🎂\n"
        tsv.with_name("emoji-test.txt").write_text(line, encoding="utf-8")
        with pytest.raises(ValueError, match="code points"):
            build_emoji_table(tsv)


def test_a_missing_file_or_another_folder_is_a_value_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", tmp_path / "none.tsv", tmp_path / "none.xml"):
        with pytest.raises(ValueError, match=r"give a \.tsv table"):
            build_emoji_table(path)
