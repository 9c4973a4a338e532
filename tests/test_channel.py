"""P(taps | letters): probabilities that sum to 1, keyboards, and what is refused on disk."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from kbengine.channel import FAR_LOGP, Channel, ChannelModel, Rates
from kbengine.errors import BundleError
from kbengine.layout import SPACE, Layout, read_layout
from kbengine.types import Tap

LAYOUTS = Path(__file__).parent.parent / "data" / "layouts"
QWERTY = read_layout(LAYOUTS / "qwerty.tsv")
LETTERS = "'abcdefghijklmnopqrstuvwxyzéü"


def channel(layout: Layout = QWERTY, **rates: float) -> Channel:
    return Channel(ChannelModel(Rates(**rates), layout, {("ei", "ie"): -2.0}), LETTERS)


def test_a_letter_in_the_middle_is_tapped_on_some_key() -> None:
    """The keys' areas around an inner letter leave little of the Gaussian out."""
    found = channel()
    for letter in "sdfghjk":
        mass = sum(
            math.exp(found.table(Tap(key))[found.number[letter]])
            for key in QWERTY.keys
            if key != SPACE and key.isalpha()
        )
        assert 0.97 < mass < 1.03


def test_a_place_has_a_density() -> None:
    """Over the plane it integrates to 1, taps that fall anywhere aside."""
    found = channel(anywhere=-50.0, sigma_kw=0.3)
    x, y = QWERTY.keys["g"]
    step = 0.05
    grid = np.arange(-1.5, 1.5, step)
    total = sum(
        math.exp(found.table(Tap("g", x + dx, y + dy))[found.number["g"]]) * step * step
        for dx in grid
        for dy in grid
    )
    assert total == pytest.approx(1.0, abs=0.01)


def test_a_tap_says_most_for_its_own_key() -> None:
    found = channel()
    for letter in "abcdefghijklmnopqrstuvwxyz":
        for tap in (Tap(letter), Tap(letter, *QWERTY.keys[letter]), Tap(letter.upper())):
            assert int(np.argmax(found.table(tap))) == found.number[letter]


def test_a_near_key_is_likelier_than_a_far_one() -> None:
    found = channel()
    table = found.table(Tap("g"))
    assert table[found.number["h"]] > table[found.number["j"]] > table[found.number["p"]] - 1e-6


def test_an_accent_costs_little_where_it_has_no_key() -> None:
    found, rates = channel(), Rates()
    e, accented = found.table(Tap("e"))[[found.number["e"], found.number["é"]]]
    assert accented == pytest.approx(e + rates.accent, abs=1e-5)
    # Who takes the accent from a long press means it.
    table = found.table(Tap("é"))
    assert table[found.number["é"]] == 0
    assert table[found.number["e"]] == FAR_LOGP


def test_a_key_of_its_own_is_a_key() -> None:
    german = channel(read_layout(LAYOUTS / "qwertz.tsv"))
    z, y = german.number["z"], german.number["y"]
    assert german.table(Tap("z"))[z] > german.table(Tap("z"))[y] + 5
    assert german.table(Tap("ü"))[german.number["ü"]] > -1
    # z stands where it does on QWERTY between t and u, y in the lowest row.
    assert german.table(Tap("t"))[z] > german.table(Tap("t"))[y]
    french = channel(read_layout(LAYOUTS / "azerty.tsv"))
    assert french.table(Tap("a"))[french.number["z"]] > french.table(Tap("a"))[french.number["s"]]


def test_what_no_key_types_is_meant() -> None:
    found = channel()
    for char in ("'", "\u2019"):
        table = found.table(Tap(char))
        assert table[found.number["'"]] == 0
        assert table[found.number["a"]] == FAR_LOGP


def test_the_space_key_is_wide_and_below() -> None:
    found = channel()
    assert found.space(Tap("b")) > found.space(Tap("g")) + 5
    assert found.space(Tap("b")) > found.space(Tap("q"))
    low = found.space(Tap("b", 6.0, 4.4))
    assert low > found.space(Tap("b", 6.0, 3.75)) + 2
    assert found.space(Tap("?")) == FAR_LOGP
    without = Channel(ChannelModel(Rates(), Layout({"a": (0.5, 0.75)})), "a")
    assert without.space(Tap("a")) == FAR_LOGP


def test_a_model_comes_back_as_it_was() -> None:
    model = ChannelModel(Rates(omitted=-4.5), QWERTY, {("ph", "f"): -3.25, ("é", "e"): -0.5})
    again = ChannelModel.from_bytes(model.to_bytes())
    assert again == model
    assert again.to_bytes() == model.to_bytes()


@pytest.mark.parametrize(
    "lines",
    [
        b"\xff\n", b"rate\tomitted\tx\n", b"rate\tomitted\t1\nkey\ta\t1\t1\n",
        b"rate\tspeed\t-1\nkey\ta\t1\t1\n", b"key\ta\t1\n", b"key\tab\t1\t1\n", b"",
        b"key\ta\tnan\t1\n", b"key\ta\t1\t1\nspell\ta\ta\t-1\n", b"key\ta\t1\t1\nspell\t\ta\t-1\n",
        b"key\ta\t1\t1\nspell\taaaa\ta\t-1\n", b"key\ta\t1\t1\nspell\ta\tb\tnan\n",
        b"key\ta\t1\t1\nrate\tsigma_kw\t0\n", b"key\ta\t1\t1\nkey\ta\t1\t1\n", b"nothing\n",
        b"rate\tsigma_kw\tinf\nkey\ta\t1\t1\n",
    ],
)  # fmt: skip
def test_a_broken_model_is_refused(lines: bytes) -> None:
    with pytest.raises(BundleError, match="channel"):
        ChannelModel.from_bytes(lines)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("", "1 to"), ("a\t1\n", "line 1"), ("a\tx\t1\n", "line 1"), ("A\t1\t1\n", "'A'"),
        ("a\t1\t1\na\t2\t1\n", "line 2"), ("a\tnan\t1\n", "'a'"), ("ab\t1\t1\n", "'ab'"),
        ("\t1\t1\n", "''"),
    ],
)  # fmt: skip
def test_a_broken_layout_is_refused(lines: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text(lines, encoding="utf-8")
    with pytest.raises(BundleError, match=told):
        read_layout(path)
    with pytest.raises(BundleError, match="no such file"):
        read_layout(tmp_path / "none.tsv")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError):
        read_layout(path)


def test_the_shipped_layouts_can_be_read() -> None:
    for name in ("qwerty", "qwertz", "azerty"):
        found = read_layout(LAYOUTS / f"{name}.tsv")
        assert set("abcdefghijklmnopqrstuvwxyz") | {SPACE} <= set(found.keys)
        assert found.row_kw == 1.5
        assert Layout.parse(str(found)) == found
