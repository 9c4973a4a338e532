"""How the numbers of the channel are fitted, on small made-up data."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from kbengine.channel import Channel, ChannelModel, Rates
from kbengine.layout import read_layout
from tests.toys import toy_bundle
from train.__main__ import main
from train.channel import LAYOUT, MISSPELT, misspelt, read_pairs
from train.corpus import Counts
from train.slips import Slips, fit_rates, right_words, sigma_of, slip_rates
from train.spelling import SpellingOptions, align, learn_rules, rules_of

QWERTY = read_layout(LAYOUT)
WORDS = {"receive": 1e6, "kitchen": 2e6, "morning": 3e6, "flower": 1e6, "don't": 9e5, "i'm": 9e5}


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


# Rules of spelling


def test_a_word_is_aligned_at_least_cost() -> None:
    edits = [op for op in align("recieve", "receive") if op.meant != op.spelt]
    assert edits == [("ei", "ie")]
    assert [op for op in align("acomodate", "accommodate") if op.meant != op.spelt] == [
        ("c", ""),
        ("m", ""),
    ]
    assert "".join(op.spelt for op in align("wierdly", "weird")) == "wierdly"


def test_an_edit_is_counted_with_the_letters_around_it() -> None:
    assert rules_of(("comon", "common"), 1) == {("mm", "m"), ("mo", "o"), ("mmo", "mo")}
    assert rules_of(("definate", "definite"), 0) == {("i", "a")}
    assert rules_of(("definate", "definite"), 1) >= {("i", "a"), ("ni", "na"), ("nit", "nat")}


def test_rules_have_letters_alone() -> None:
    assert not {c for rule in rules_of(("alot", "a lot"), 2) for c in "".join(rule)} & {" "}


def test_what_is_often_misspelt_alike_becomes_a_rule() -> None:
    pairs = [("recieve", "receive"), ("concieve", "conceive"), ("decieve", "deceive")]
    pairs.append(("flowre", "flower"))
    rules = learn_rules(pairs, Rates(swapped=-7.0), math.log(0.01), SpellingOptions())
    assert ("ei", "ie") in rules
    assert all(logp <= math.log(0.01) for logp in rules.values())
    assert ("er", "re") not in rules, "seen once"
    ChannelModel.from_bytes(ChannelModel(Rates(), QWERTY, rules).to_bytes())
    Channel(ChannelModel(Rates(), QWERTY, rules), "ceirv")


def test_a_rule_that_says_no_more_than_a_slip_is_left_out() -> None:
    pairs = [("flwer", "flower"), ("pwer", "power"), ("twer", "tower")]
    assert learn_rules(pairs, Rates(), -3.0, SpellingOptions())
    assert not learn_rules(pairs, Rates(omitted=-2.0), -3.0, SpellingOptions())


def test_rules_are_as_many_as_asked_for() -> None:
    pairs = [("dei", "die"), ("gas", "gaz"), ("lover", "luver")] * 3
    assert len(learn_rules(pairs, Rates(), -3.0, SpellingOptions(most=2))) == 2


def test_how_often_people_misspell_is_the_texts() -> None:
    tokens = {"recieve": 10.0, "receive": 990.0, "flower": 500.0}
    assert misspelt(tokens, {"receive", "flower"}, [("recieve", "receive")]) == 0.01
    right = {"receive": 1.0, "flower": 1.0, "recieve": 1.0}
    assert misspelt(tokens, right, [("recieve", "receive")]) == MISSPELT


# Every second row


def test_every_second_row_is_learned_from(tmp_path: Path) -> None:
    one = written(tmp_path / "one.tsv", "aa\tAb", "ba\tbb", "ca\tcb")
    two = written(tmp_path / "two.tsv", "da\tdb", "ea\teb", "fa\tfb", "ca\tcb")
    learned, reported = read_pairs([one, two])
    assert learned == [("aa", "ab"), ("ca", "cb"), ("da", "db"), ("fa", "fb")]
    assert reported == [("ba", "bb"), ("ea", "eb")], "what was learned is not reported on"


@pytest.mark.parametrize("line", ["alone", "wrong\t", "a\tb\tc"])
def test_a_row_that_is_no_pair_is_named(tmp_path: Path, line: str) -> None:
    path = written(tmp_path / "typos.tsv", "teh\tthe", line)
    with pytest.raises(ValueError, match=r"typos\.tsv, line 2: write"):
        read_pairs([path])


# Rates


def slipped(kind: str, rate: float) -> dict[str, float]:
    """Counts of a text in which fingers slip so."""
    tokens = dict(WORDS)
    for word, n in WORDS.items():
        for i in range(len(word) - (kind == "swapped")):
            token = {
                "omitted": word[:i] + word[i + 1 :],
                "doubled": word[: i + 1] + word[i:],
                "swapped": word[:i] + word[i : i + 2][::-1] + word[i + 2 :],
            }[kind]
            if "'" not in word:
                tokens[token] = tokens.get(token, 0.0) + n * rate
    return tokens


@pytest.mark.parametrize("kind", ["omitted", "doubled", "swapped"])
def test_known_rates_are_found_again(kind: str) -> None:
    tokens = slipped(kind, 3e-4)
    found = slip_rates(tokens, WORDS, Slips(WORDS, QWERTY, ()))
    assert found[kind] == pytest.approx(3e-4, rel=0.1)
    others = {name: rate for name, rate in found.items() if name not in (kind, "missed_space")}
    assert max(others.values()) < 1e-4


def test_what_people_mend_is_added_to_slips_alone() -> None:
    tokens = slipped("omitted", 3e-4) | {"dont": 1e5, "im": 1e5}
    sent, _ = fit_rates(tokens, WORDS, QWERTY, 0.0)
    made, _ = fit_rates(tokens, WORDS, QWERTY, 0.9)
    assert math.exp(made.omitted) == pytest.approx(10 * math.exp(sent.omitted))
    assert made.apostrophe == sent.apostrophe == pytest.approx(math.log(0.1), abs=0.01)
    assert made.extra_space == made.missed_space


def test_a_token_that_is_common_is_no_slip() -> None:
    tokens = {"flower": 1e6, "flowr": 5e4}
    slips = Slips({"flower": 1e6}, QWERTY, ())
    assert slips.of("flowr", 5e4) is None
    assert slips.of("flowr", 5e2) is not None
    assert slip_rates(tokens, {"flower": 1e6}, slips)["omitted"] < 1e-6


def test_the_gaussian_has_the_mass_it_is_given() -> None:
    even = dict.fromkeys("qwertyuiopasdfghjklzxcvbnm", 1.0)
    # A key inside a row: 2 * P(x > 0.5) of sigma 0.2 is 1.24 %, at the rows' ends half of it.
    assert sigma_of(0.0115, QWERTY, even) == pytest.approx(0.2, abs=0.005)
    assert sigma_of(0.02, QWERTY, even) > sigma_of(0.01, QWERTY, even)


def test_without_a_list_common_tokens_are_right() -> None:
    tokens = {"don't": 9e4, "dont": 5e3, "we'll": 2e3, "well": 9e4, "rare": 3.0, "!": 9e9}
    assert set(right_words(tokens, ())) == {"don't", "we'll", "well"}
    assert set(right_words(tokens, {"rare", "absent"})) == {"rare"}


# The command


def work_folder(tmp_path: Path) -> Path:
    tokens = slipped("swapped", 3e-4) | {"dont": 1e5, "recieve": 9e3}
    Counts(tokens, {}, [1]).save(tmp_path / "counts.json.gz")
    return tmp_path


def test_the_command_does_without_misspellings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = work_folder(tmp_path)
    assert main(["channel", "--work", str(work), "--sigma", "0.25"]) == 0
    model = ChannelModel.from_bytes((work / "channel.tsv").read_bytes())
    assert not model.rules
    assert model.layout == QWERTY
    assert model.rates.sigma_kw == 0.25
    told = json.loads((work / "channel.json").read_text())
    assert told["as_sent"]["swapped"] == pytest.approx(3e-4, rel=0.5)
    out = capsys.readouterr().out
    assert "swapped" in out
    assert "0 rules" in out


def test_the_command_learns_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = work_folder(tmp_path)
    typos = written(
        tmp_path / "typos.tsv",
        "recieve\treceive", "tomorow\ttomorrow", "decieve\tdeceive", "togehter\ttogether",
    )  # fmt: skip
    words = written(tmp_path / "words.txt", *(f"{w} 1" for w in WORDS))
    bundle = toy_bundle(tmp_path / "toy.bundle")
    options = ["--typos", str(typos), "--words", str(words), "--bundle", str(bundle)]
    assert main(["channel", "--work", str(work), *options]) == 0
    model = ChannelModel.from_bytes((work / "channel.tsv").read_bytes())
    assert ("ei", "ie") in model.rules
    assert json.loads((work / "channel.json").read_text())["reported"]["pairs"] == 2
    assert "of 2 misspellings" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--mended", "1"], "--mended"),
        (["--sigma", "9"], "--sigma"),
        (["--listed", "0"], "--listed"),
        (["--typos", "absent.tsv"], "absent.tsv"),
        (["--layout", "absent.tsv"], "absent.tsv"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    assert main(["channel", "--work", str(work_folder(tmp_path)), *options]) == 1
    assert told in capsys.readouterr().err


def test_counts_without_right_words_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["channel", "--work", str(tmp_path)]) == 1
    assert "run `python -m train vocab`" in capsys.readouterr().err
    Counts({"rare": 1.0}, {}, [1]).save(tmp_path / "counts.json.gz")
    assert main(["channel", "--work", str(tmp_path)]) == 1
    assert "--words" in capsys.readouterr().err
