"""`python -m train sizes`: results of the real evaluation on a little text, as a table and a
picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kbengine.bundle import write_bundle
from kbengine.cli import main as kbengine
from tests.toys import messages, toy_bundle, toy_manifest, toy_parts
from train.__main__ import main
from train.bundle import measured
from train.sizes import about, common_sets, read_labels, read_results, sizes

TEXTS = {
    "chat": "See you tomorrow!\nI can't, not at 10:30\nthe cat\n",
    "more": "ok, see you then\nat the weekend\n",
    "rest": "the train was late\n",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results by bundle and sets: the toy bundle's, and those of a larger one."""
    folder = tmp_path_factory.mktemp("sizes")
    for name, content in TEXTS.items():
        (folder / f"{name}.txt").write_text(content, encoding="utf-8")
    toy_bundle(folder / "small.bundle")
    longer = {**toy_manifest(), "notice": " ".join(messages())}
    write_bundle(folder / "large.bundle", longer, toy_parts())
    for bundle, k, names in (
        ("small", 3, ("chat", "more")), ("small", 3, ("rest",)), ("small", 1, ("chat",)),
        ("large", 3, ("more", "chat")),
    ):  # fmt: skip
        texts = [str(folder / f"{name}.txt") for name in names]
        out = folder / f"{bundle}-{'-'.join(names)}-{k}.json"
        model = str(folder / f"{bundle}.bundle")
        assert kbengine(["eval", "--bundle", model, *texts, "-k", str(k), "--out", str(out)]) == 0
    return folder


def figures_of(path: Path) -> dict[str, dict[str, float]]:
    """The figures of each file of a result, without their intervals."""
    files = json.loads(path.read_text(encoding="utf-8"))["files"]
    return {f["name"]: {name: value[0] for name, value in f["figures"].items()} for f in files}


def bench_result(**changes: Any) -> dict[str, Any]:
    """What a bench writes, as far as it is read here."""
    return {
        "data": {"name": "chat", "sha256": "0123456789abcdef", "lines": 500, "sample_seed": 1},
        "k": 3, "measures": {"ksr": 0.5}, "latency": {"p50_ms": 0.25}, "model_mb": 12.5,
        **changes,
    }  # fmt: skip


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


# Figures


def test_figures_are_means_over_the_sets_that_all_have(world: Path) -> None:
    small, rest = world / "small-chat-more-3.json", world / "small-rest-3.json"
    large = world / "large-more-chat-3.json"
    found = read_labels([f"large={large}", f"small={small},{rest}"])
    common = common_sets(found)
    assert [text.name for text in common] == ["chat", "more"]
    assert about(found, common) == "means over chat, more (5 lines); not in all: rest"
    shown = sizes(found, common)
    assert [size.label for size in shown] == ["small", "large"]
    for size, path in zip(shown, (small, large), strict=True):
        figures = figures_of(path).values()
        assert size.mb == (world / f"{size.label}.bundle").stat().st_size / 1e6
        assert size.ksr == pytest.approx(sum(f["ksr"] for f in figures) / 2)
        assert size.p50_ms == pytest.approx(sum(f["wall_p50_ms"] for f in figures) / 2)
    assert 0 < shown[0].ksr == shown[1].ksr < 1


def test_files_of_a_label_may_come_one_by_one(world: Path) -> None:
    paths = world / "small-chat-more-3.json", world / "small-rest-3.json"
    together = read_labels([f"a={paths[0]},{paths[1]}"])
    assert read_labels([f"a={path}" for path in paths]) == together
    assert len(together["a"]) == 3


def test_a_bench_s_results_are_read(tmp_path: Path) -> None:
    ((text, figures),) = read_results(written(tmp_path / "a.json", bench_result())).items()
    assert text == ("chat", "0123456789abcdef", 500, 1, 3, 0)
    assert figures == (12.5, 0.25, 0.5, False)


def test_text_typed_in_a_conversation_is_another_set(tmp_path: Path) -> None:
    alone = bench_result()
    after = bench_result(data={**alone["data"], "earlier": 5})
    a, b = (written(tmp_path / f"{i}.json", result) for i, result in enumerate((alone, after)))
    assert [text.earlier for text in read_labels([f"a={a},{b}"])["a"]] == [0, 5]
    with pytest.raises(ValueError, match="more than one --earlier"):
        common_sets(read_labels([f"a={a},{b}"]))
    with pytest.raises(ValueError, match="no set that all labels have"):
        common_sets(read_labels([f"a={a}", f"b={b}"]))


# The verb


def test_a_table_and_a_picture(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, large = world / "small-chat-more-3.json", world / "large-more-chat-3.json"
    specs = [f"[bold]small|$x={small}", f"large={large}"]
    out = world / "sizes.png"
    assert main(["sizes", *specs, "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    header, *rows = (line for line in shown.out.splitlines() if line.strip())
    assert header.split() == ["model", "MB", "ms", "p50", "KSR", "%"]
    assert [row.split()[0] for row in rows[:2]] == ["[bold]small|$x", "large"]
    assert rows[2] == "means over chat, more (5 lines)"
    assert len({len(row.rstrip()) for row in (header, *rows[:2])}) == 1  # right-aligned
    assert out.read_bytes().startswith(b"\x89PNG")
    assert main(["sizes", *specs, "--markdown"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[:2] == ["| model | MB | ms p50 | KSR % |", "| --- | ---: | ---: | ---: |"]
    assert table[2].startswith("| [bold]small\\|$x | ")
    assert table[2].split(" | ")[1:] == [*rows[0].split()[1:-1], f"{rows[0].split()[-1]} |"]


def test_a_point_alone_is_drawn(tmp_path: Path) -> None:
    result, out = written(tmp_path / "a.json", bench_result()), tmp_path / "one.png"
    assert main(["sizes", f"one={result}", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


# Mistakes


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["{small}"], "write LABEL=FILE"),
        (["={small}"], "write LABEL=FILE"),
        (["a="], "write LABEL=FILE"),
        (["a={small},"], "write LABEL=FILE"),
        (["a=nowhere.json"], "nowhere.json cannot be read (No such file or directory)"),
        (["a={text}"], "chat.txt is not JSON"),
        (["a={small},{small}"], "a has chat twice"),
        (["a={small}", "a={small}"], "a has chat twice"),
        (["a={rest},{large}"], "a has results of more than one bundle"),
        (["a={rest}", "b={large}"], "no set that all labels have"),
        (["a={one}", "b={large}"], "no set that all labels have"),
        (["a={one},{small}"], "more than one number of candidates"),
        (["a={small}", "b={bench}"], "times of eval, in process, and of a bench"),
        (["a={small}", "--out", "nowhere/a.png"], "nowhere/a.png cannot be written"),
    ],
)
def test_mistakes_get_one_sentence(
    world: Path, capsys: pytest.CaptureFixture[str], args: list[str], sentence: str
) -> None:
    places = {
        "small": world / "small-chat-more-3.json", "rest": world / "small-rest-3.json",
        "one": world / "small-chat-1.json", "large": world / "large-more-chat-3.json",
        "text": world / "chat.txt", "bench": written(world / "bench.json", bench_result()),
    }  # fmt: skip
    assert main(["sizes", *(arg.format(**places) for arg in args)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("train: ")
    assert sentence in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("content", [[], 5, {}, {"mode": "emoji"}])
def test_json_of_another_kind_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(ValueError, match=r"a\.json holds no keystroke savings"):
        read_results(written(tmp_path / "a.json", content))


@pytest.mark.parametrize(
    "content",
    [
        bench_result(data={}), bench_result(data=[]), bench_result(k=None),
        bench_result(measures={"ksr": None}), bench_result(measures={"ksr": "0.5"}),
        bench_result(model_mb=0), bench_result(model_mb=float("nan")), bench_result(model_mb=-1),
        bench_result(latency={"p50_ms": 10**400}), bench_result(k=float("inf")),
        {"kbengine_eval": 1}, {"kbengine_eval": 1, "settings": {}, "files": [], "bundle": {}},
    ],
    ids=range(12),
)  # fmt: skip
def test_damaged_results_are_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(ValueError, match=r"a\.json is a damaged result"):
        read_results(written(tmp_path / "a.json", content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda read: read["files"][0].pop("figures"),
        lambda read: read["files"][0]["figures"].update(ksr=[]),
        lambda read: read["files"][0]["figures"].update(ksr=[None, None, None]),
        lambda read: read["files"][0].update(name=5),
        lambda read: read["settings"].update(sample_seed=[]),
        lambda read: read["bundle"].update(bytes=0),
        lambda read: read.update(files=5),
    ],
)
def test_a_damaged_evaluation_is_refused(
    world: Path, tmp_path: Path, damage: Callable[[dict[str, Any]], object]
) -> None:
    read = json.loads((world / "small-chat-more-3.json").read_text(encoding="utf-8"))
    damage(read)
    with pytest.raises(ValueError, match="is a damaged result; measure again"):
        read_results(written(tmp_path / "a.json", read))


def test_a_card_shows_what_was_measured(world: Path) -> None:
    path = world / "small-chat-more-3.json"
    rows = measured([path]).strip().split("\n")
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| chat", "| more"]
    chat = figures_of(path)["chat.txt"]
    assert f"| 3 | 0 | 3 | {100 * chat['ksr']:.1f} | {chat['wall_p50_ms']:.2f} |" in rows[2]
    assert measured([]) == ""
    with pytest.raises(ValueError, match="cannot be read"):
        measured([world / "none.json"])
