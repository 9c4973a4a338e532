"""The emoji model's training, and the tools that fit what goes around it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from kbengine.emojimodel import LEAST_LOGP, READ
from kbengine.evaluate.lines import Line, words
from kbengine.predict import Predictor
from kbengine.sources.names import NameOptions
from kbengine.sources.phrases import PhraseOptions
from kbengine.types import Context
from kbengine.vocab import BOS, EOS
from tests.toys import CHAT, messages, toy_bundle, toy_engine, toy_vocabulary
from train import calibrate, emoji, names, phrases
from train.__main__ import main
from train.calibrate import Came
from train.emoji import EmojiOptions, Places, sign_pieces
from train.names import Sent
from train.phrases import Place

VOCABULARY = toy_vocabulary()
EMOJI = VOCABULARY.emoji.ids
KINDS = {piece: kind for kind, piece in enumerate(EMOJI.tolist())}
PLAIN = VOCABULARY.encode("see you at ten, ok")
INNER = int(np.flatnonzero(~VOCABULARY.boundary[EOS + 1 :])[0]) + EOS + 1
NO_KINDS = np.zeros(0, np.float32)


# Which places are read


def chosen(source: Sequence[list[int]], options: EmojiOptions) -> tuple[list[emoji._Message], bool]:
    rng = np.random.default_rng(1)
    return emoji._chosen(source, KINDS, VOCABULARY.boundary, options, rng)


def test_messages_end_where_the_text_says_so() -> None:
    ids = np.array([5, 6, EOS, EOS, 7, EOS], np.uint16)
    assert emoji._messages(ids) == [[5, 6], [], [7]]


def test_a_source_without_emoji_is_left_out() -> None:
    assert chosen([], EmojiOptions()) == ([], False)
    assert chosen([PLAIN] * 99, EmojiOptions()) == ([], False)
    rare = [[*PLAIN, int(EMOJI[0])], *[PLAIN] * 2000]
    assert chosen(rare, EmojiOptions()) == ([], False)
    assert chosen(rare[:900], EmojiOptions())[0]


def test_of_a_source_chosen_for_its_emoji_only_those_are_read() -> None:
    first, second = EMOJI[:2].tolist()
    source = [[*PLAIN, first, second], [second, *PLAIN], PLAIN] * 20
    found, natural = chosen(source, EmojiOptions())
    assert not natural
    assert len(found) == 40, "messages without emoji are not read"
    for message in found:
        wanted = {place: kind for place, (kind, _) in message.wanted.items()}
        assert wanted == ({len(PLAIN): 0} if message.pieces[-1] == second else {0: 1})


def test_of_another_source_every_emoji_and_place_between_words_is_read() -> None:
    first = int(EMOJI[0])
    word = [PLAIN[0], INNER, INNER]
    source = [[*word, first, first, *word], *[word] * 3]
    found, natural = chosen(source, EmojiOptions(places=1.0, earlier=0.0))
    assert natural
    assert [message.pieces for message in found] == source
    assert {place: kind for place, (kind, _) in found[0].wanted.items()} == {0: -1, 3: 0, 8: -1}
    for message in found[1:]:
        assert message.wanted == {0: (-1, 1.0), 3: (-1, 1.0)}
    assert all(message.before == [BOS] for message in found)


def test_what_is_left_out_is_made_up_for_by_weight() -> None:
    source = [[*PLAIN, int(EMOJI[0])], *[PLAIN] * 9] * 400
    options = EmojiOptions(plain=1800, places=0.4)
    found, _ = chosen(source, options)
    every, _ = chosen(source, EmojiOptions(plain=10**6, places=1.0))
    assert len(found) < 0.7 * len(every)

    def mass(some: Sequence[emoji._Message], came: bool) -> float:
        rows = [row for message in some for row in message.wanted.values()]
        return sum(weight for kind, weight in rows if (kind >= 0) == came)

    assert mass(found, True) == mass(every, True) == 400
    assert math.isclose(mass(found, False), mass(every, False), rel_tol=0.05)


def test_a_message_is_read_after_some_before_it() -> None:
    source = [[*PLAIN, int(EMOJI[i % 3])] for i in range(9)]
    found, _ = chosen(source, EmojiOptions(earlier=1.0))
    assert found[0].before == [BOS]
    assert found[2].before == [BOS, *source[0], EOS, *source[1], EOS]
    assert max(len(message.before) for message in found) <= 61


def test_the_end_and_the_signs_that_are_pieces_are_read() -> None:
    pieces = sign_pieces(VOCABULARY).tolist()
    assert pieces[0] == EOS
    assert len(set(pieces)) == len(pieces)
    assert {VOCABULARY.pieces[i] for i in pieces[1:]} <= set(emoji.SIGNS)
    assert VOCABULARY.encode_token(".")[0] in pieces


def test_too_little_text_gives_no_places() -> None:
    ids = np.array([*PLAIN, EMOJI[0], EOS] * 3, np.uint16)
    engine = toy_engine()
    found = emoji.read_places(engine.model, VOCABULARY, {"a": ids}, {}, {}, EmojiOptions())
    assert found is None


def test_places_are_read_with_what_the_model_predicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emoji, "LEAST_EMOJI", 3)
    engine, first = toy_engine(), int(EMOJI[0])
    ids = np.array([*[*PLAIN, EOS] * 9, *[*PLAIN, first, EOS] * 3], np.uint16)
    options = EmojiOptions(places=1.0, earlier=0.0)
    found = emoji.read_places(engine.step_model, VOCABULARY, {"a": ids}, {}, {}, options)
    assert found is not None
    assert int((found.kind == 0).sum()) == 3
    assert set(found.kind.tolist()) == {-1, 0}
    assert math.isclose(float(found.rate.mean()), 1, abs_tol=1e-5)
    assert (found.which > 0).tolist() == (found.kind >= 0).tolist()
    predictor = engine.predictor()
    line = "see you at ten, ok "
    node = predictor.query(Context(before=line)).place.node
    assert node.logp is not None
    read = np.concatenate([EMOJI, sign_pieces(VOCABULARY)])
    row = found.x[found.kind == 0][0].astype(float)
    assert np.allclose(np.exp(row), np.exp(np.maximum(node.logp[read], LEAST_LOGP)), atol=0.02)
    for pieces in found.read[found.kind == 0]:
        assert pieces.tolist() == [0] * (READ - len(PLAIN)) + PLAIN


# Learning


def made_up(count: int = 6000, rules: int = 4) -> tuple[Places, list[int]]:
    """A word each for some emoji, after which it always comes; after others none does."""
    rng = np.random.default_rng(3)
    words = [i for i in range(EOS + 1, len(VOCABULARY)) if i not in KINDS][: rules + 40]
    read = np.zeros((count, READ), np.int32)
    read[:, -4:] = rng.choice(words[rules:], (count, 4))
    kind = np.where(rng.random(count) < 0.4, rng.integers(0, rules, count), -1).astype(np.int32)
    telling = kind >= 0
    read[telling, -1] = np.array(words)[kind[telling]]
    x = rng.normal(-6, 1, (count, len(EMOJI) + len(sign_pieces(VOCABULARY))))
    one = np.ones(count, np.float32)
    held = np.arange(count) % 10 == 0
    places = Places(x.astype(np.float16), read, kind, one, telling.astype(np.float32), held)
    return places, words


def test_a_rule_is_learned() -> None:
    pytest.importorskip("tensorflow")
    places, pieces = made_up()
    options = EmojiOptions(rows=4, width=8, cells=16, epochs=12, rate=2e-2, batch=128)
    model, losses = emoji.fit(places, VOCABULARY, options)
    assert losses[-1] < losses[0] / 2
    logp = np.full(len(VOCABULARY), -6.0, np.float32)
    other = pieces[20:23]
    assert model.expect(logp, other).trigger_logp < math.log(0.3)
    for kind in range(4):
        found = model.expect(logp, [*other, pieces[kind]])
        assert int(found.kinds.argmax()) == kind
        assert found.trigger_logp > math.log(0.5)
    measured = emoji.measure(model, places)
    assert measured.places == int(places.held.sum())
    assert measured.auc[1] is not None
    assert measured.auc[0] is not None
    assert measured.auc[1] > 0.95 > measured.auc[0]
    assert measured.top1[1] > 0.9 > measured.top1[0]
    assert measured.top5[1] >= measured.top1[1]
    # Of the emoji that came, each is rare by its share; the others rarer still.
    share = np.bincount(places.kind[places.kind >= 0], minlength=len(EMOJI))[:4]
    assert np.allclose(model.rarity[:4], -np.log(share / share.sum()), atol=0.1)
    assert model.rarity[4:].min() > model.rarity[:4].max()
    again = type(model).from_bytes(model.to_bytes(), len(VOCABULARY))
    assert np.array_equal(again.expect(logp, other).kinds, model.expect(logp, other).kinds)


def test_fewer_places_than_a_batch_still_teach() -> None:
    pytest.importorskip("tensorflow")
    places, _ = made_up(400)
    options = EmojiOptions(rows=4, width=8, cells=16, epochs=2)
    assert options.batch > len(places.kind)
    assert np.isfinite(emoji.fit(places, VOCABULARY, options)[1]).all()


def test_what_is_only_chosen_text_can_be_measured() -> None:
    places, _ = made_up(200)
    nothing = places._replace(rate=np.zeros(len(places.rate), np.float32))
    model = toy_engine().emoji_model
    assert model is not None
    cut = nothing._replace(x=nothing.x[:, : len(EMOJI) + len(model.signs)])
    assert emoji.measure(model, cut).places == int(places.held.sum())


# How often an emoji comes


def test_slope_and_shift_of_made_up_places_are_found() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, 40_000)
    came = rng.random(len(logits)) < 1 / (1 + np.exp(-(0.7 * logits - 0.5)))
    places = [
        Came(False, float(x), bool(y), NO_KINDS, -1) for x, y in zip(logits, came, strict=True)
    ]
    slope, shift = calibrate.fit(places)
    assert math.isclose(slope, 0.7, abs_tol=0.05)
    assert math.isclose(shift, -0.5, abs_tol=0.05)


def test_few_places_move_little() -> None:
    assert calibrate.fit([]) == pytest.approx((1.0, 0.0))
    once = calibrate.fit([Came(False, 0.0, True, NO_KINDS, -1)])
    often = calibrate.fit([Came(False, 0.0, True, NO_KINDS, -1)] * 50)
    assert 0 < once[1] < often[1] < 5


def test_the_temperature_of_made_up_emoji_is_found() -> None:
    rng = np.random.default_rng(5)
    truth = 1.3
    places = []
    for _ in range(6000):
        kinds = rng.normal(0, 2, 8).astype(np.float32)
        p = np.exp(kinds / truth)
        which = int(rng.choice(8, p=p / p.sum()))
        places.append(Came(False, 0.0, True, kinds, which))
    assert math.isclose(calibrate.fit_temperature(places), truth, abs_tol=0.07)
    wrong = np.array([9.0, 0.0], np.float32)
    misled = [Came(True, 0.0, True, wrong, 1), Came(False, 0.0, False, NO_KINDS, -1)] * 6000
    after = calibrate.fit_temperature([*places, *misled])
    assert after == calibrate.fit_temperature(places), "what comes after an emoji is not asked"


# Names


def test_the_text_before_an_emoji() -> None:
    assert names.before_emoji("so happy 😂 yes 🍕") == ("so happy ", "😂")
    assert names.before_emoji("so happy😂") == ("so happy ", "😂")
    assert names.before_emoji("love ❤") == ("love ", "❤️")
    assert names.before_emoji("ok 👍🏽") == ("ok ", "👍")
    for line in ("", "no emoji", "😂 first", "  😂😂 two"):
        assert names.before_emoji(line) is None


def test_names_gain_where_they_are_right() -> None:
    options = NameOptions()
    rare = options.rarity + 4
    silent, right, wrong = (
        Sent(0.01, []),
        Sent(0.01, [(rare, 0, 0.9, 0.9, 0.9)]),
        Sent(0.01, [(rare, 0, 0.0, 0.9, 0.9)]),
    )
    assert names.gain([], options) == 0
    assert names.gain([silent, silent], options) == 0
    assert names.gain([right], options) > 0 > names.gain([wrong], options)
    assert names.gain([right, silent], options) == pytest.approx(names.gain([right], options) / 2)
    far = Sent(0.01, [(rare, 3, 0.9, 0.9, 0.9)])
    common = Sent(0.01, [(options.rarity - 4, 0, 0.9, 0.9, 0.9)])
    for less in (far, common):
        assert 0 < names.gain([less], options) < names.gain([right], options)


@pytest.mark.parametrize(("before", "symbol"), [("tears of joy ", "😂"), ("birthday ", "🎂")])
def test_the_gain_is_that_of_the_engine(before: str, symbol: str) -> None:
    engine = toy_engine()
    predictor = engine.predictor()
    known = names.sent(engine, predictor, before, symbol)
    assert known.names
    assert known.model_p > 0
    query = predictor.query(Context(before=before))
    told = predictor.emoji.score(query, symbol)
    assert told is not None
    with_names = math.exp(told.logp - query.place.expected.trigger_logp)
    gained = names.gain([known], predictor.emoji.names.options)
    assert math.isclose(gained, math.log(with_names / known.model_p), abs_tol=1e-3)


# Phrases


def test_the_curve_of_a_list_worked_by_hand() -> None:
    found = [Place(-1.0, True), None, Place(-0.5, False), Place(-2.0, True)]
    coverage, confidence, precision = phrases.curve(found)
    assert coverage.tolist() == [0.25, 0.5, 0.75]
    assert confidence.tolist() == [-0.5, -1.0, -2.0]
    assert precision == pytest.approx([0, 1 / 2, 2 / 3])


def test_every_word_is_a_place_and_a_line_of_the_text_is_foreseen() -> None:
    predictor = toy_engine().predictor()
    predictor.phrases.options = PhraseOptions(table=((0.0, phrases.LOOSEST),))
    line = Line("Tomorrow at ten, 10:30 or so")
    assert len(phrases.places(predictor, line)) == 5
    found = [place for text in messages()[:80] for place in phrases.places(predictor, Line(text))]
    shown = [place for place in found if place is not None]
    assert {place.right for place in shown} == {True, False}
    assert all(place.confidence <= 0 for place in shown)


def test_a_phrase_that_is_less_sure_than_is_asked_is_not_offered() -> None:
    predictor = toy_engine().predictor()
    tried = 0
    for text in messages()[:30]:
        for word in words(text):
            before = text[: word.start]
            predictor.phrases.options = PhraseOptions(table=((0.0, phrases.LOOSEST),))
            (place,) = phrases.places(predictor, Line(f"{before}{word.text}"))[-1:]
            if place is None:
                continue
            loosest = best_phrase(predictor, before)
            predictor.phrases.options = PhraseOptions(table=((0.0, place.confidence + 1e-4),))
            assert best_phrase(predictor, before) != loosest
            tried += 1
    assert tried > 20


def best_phrase(predictor: Predictor, before: str) -> str | None:
    shown = predictor.suggest(Context(before=before), 1, phrases.PHRASE)
    return next((c.text for c in shown if c.kind == "phrase"), None)


# As a person runs them


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "talk.txt"
    lines = [*CHAT.read_text(encoding="utf-8").splitlines()[:40], "a pizza 🍕", "my cat 🐱🐱 is in"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(verb: str, tmp_path: Path, *args: object) -> int:
    bundle = toy_bundle(tmp_path / "toy.bundle")
    return main([verb, "--bundle", str(bundle), *map(str, args)])


def test_calibrate_as_a_command(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("calibrate", tmp_path, "--text", text, "--chosen", text) == 0
    first, after, options = capsys.readouterr().out.splitlines()
    assert "places: said " in first
    assert "places after an emoji: said " in after
    assert options.startswith("TriggerOptions(slope=")


def test_names_as_a_command(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("names", tmp_path, "--text", text) == 0
    said = capsys.readouterr().out
    assert "of them after a name" in said
    shipped, best = (
        float(line.split(":")[1].split()[0])
        for line in said.splitlines()
        if line.startswith(("as shipped:", "best:"))
    )
    assert best >= shipped
    plain = tmp_path / "plain.txt"
    plain.write_text("nothing here\n", encoding="utf-8")
    assert run("names", tmp_path, "--text", plain) == 1
    assert "no emoji after words" in capsys.readouterr().err


def test_phrases_as_a_command(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "a.png"
    assert run("phrases", tmp_path, "--text", text, "--plot", picture, "--compare") == 0
    said = capsys.readouterr().out.splitlines()
    head = next(i for i, line in enumerate(said) if "confidence" in line)
    rows = [line.split() for line in said[head + 1 :] if re.match(r" *\d+% +-", line)]
    asked = [f"{coverage:.0%}" for coverage in phrases.COVERAGES]
    assert rows
    assert [row[0] for row in rows] == asked[: len(rows)]
    if len(rows) < len(asked):
        assert any("at no more places" in line for line in said)
    least = [float(row[1]) for row in rows]
    assert least == sorted(least, reverse=True), "more coverage asks for less confidence"
    assert any(line.startswith("CONFIDENCE = (") for line in said)
    assert sum(line.endswith("% saved") for line in said) == 3
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_phrases_of_a_text_without_words_are_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text("10:30\n", encoding="utf-8")
    assert run("phrases", tmp_path, "--text", path) == 1
    assert capsys.readouterr().err.startswith("train: ")


def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("calibrate", "names", "phrases"):
        assert run(verb, tmp_path, "--text", tmp_path / "none.txt") == 1
        assert "no such file" in capsys.readouterr().err
