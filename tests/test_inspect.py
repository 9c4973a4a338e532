"""`kbengine inspect`: whole files, the runtime's process, bundles, hostile files, the verb."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from kbengine.bundle import write_bundle
from kbengine.cli import main
from kbengine.errors import BundleError, KbengineError, ModelError
from kbengine.inspect.graph import read_graph
from kbengine.inspect.parts import read_archive
from kbengine.inspect.runtime import ask
from kbengine.inspect.tables import overview_tables, verdicts
from kbengine.inspect.view import view
from kbengine.packaged import DEFAULT_BUNDLE
from tests.modelfiles import altered, mutated, pack, renamed, shipped, small, structure, written
from tests.toys import toy_bundle, toy_lexicon, toy_manifest, toy_parts, toy_vocabulary

ROOT = Path(__file__).parent.parent


# The runtime, in a child process


def test_what_xnnpack_takes_agrees_with_the_runtime(tmp_path: Path) -> None:
    answers = ask(written(tmp_path / "en.tflite", shipped()))
    graph = read_graph(shipped())
    assert answers.stepped is True
    assert not answers.trouble
    interpreter = Interpreter(model_content=shipped())
    native = interpreter._interpreter
    native.AllocateTensors()
    nodes = [native.NodeName(i) for i in range(native.NumNodes())]
    first = answers.delegation(graph.subgraphs[0])
    assert len(first.parts) == nodes.count("DELEGATE")
    taken = {op for part in first.parts for op in part}
    # Its inputs are what the ops that it took read from outside, and nothing else.
    ops = graph.subgraphs[0].ops
    made = {t for op in taken for t in ops[op].outputs}
    read = {t for op in taken for t in ops[op].inputs if t != -1} - made
    assert read == set(native.NodeInputs(nodes.index("DELEGATE")).tolist())
    # The other signature has the same ops but for those of the scores.
    second = answers.delegation(graph.subgraphs[1])
    left = [
        [op.name for i, op in enumerate(s.ops) if i not in {i for p in d.parts for i in p}]
        for s, d in zip(graph.subgraphs, (first, second), strict=True)
    ]
    assert left[0] == left[1] != []


def test_a_file_that_the_runtime_refuses(tmp_path: Path) -> None:
    def unknown(model: Any) -> None:
        code = model.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = "NobodysOp"

    shown = view(written(tmp_path / "odd.tflite", altered(unknown)))
    assert "NobodysOp" in shown["model"]["subgraphs"][0]["xnnpack_error"]
    assert shown["contract"]["kept"] is False


def test_a_crash_or_a_hang_of_the_child_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "en.tflite", shipped())
    late = ask(path, timeout_s=0.001)
    assert "did not come to an end" in late.trouble
    gone = ask(tmp_path / "not there")
    assert "crashed on this file" in gone.trouble
    subgraph = read_graph(shipped()).subgraphs[0]
    assert gone.delegation(subgraph).error == gone.trouble
    assert gone.stepped is None


def test_a_death_by_signal_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child dies while it starts, as it would where native code makes a mistake."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    found = ask(written(tmp_path / "en.tflite", shipped()))
    assert found.trouble == "the runtime crashed on this file (it died of SIGABRT)"


# Bundles


def test_the_shipped_bundle() -> None:
    shown = view(DEFAULT_BUNDLE)
    bundle, members = shown["bundle"], {m["name"]: m for m in shown["bundle"]["members"]}
    assert bundle["opened"] is True
    assert shown["contract"]["kept"] is True
    with zipfile.ZipFile(DEFAULT_BUNDLE) as archive:
        for info in archive.infolist():
            sizes = members[info.filename]["stored_bytes"], members[info.filename]["raw_bytes"]
            assert sizes == (info.compress_size, info.file_size)
    manifest = bundle["manifest"]
    assert members["lexicon"]["entries"] == manifest["words"]
    assert members["emoji"]["entries"] == manifest["emoji"]
    assert members["vocabulary"]["entries"] == members["model"]["entries"] > 0
    assert {m["hash"] for n, m in members.items() if n != "manifest.json"} == {"ok"}


def test_a_bundle_with_an_ngram_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = toy_bundle(tmp_path / "toy.bundle")
    shown = view(path)
    members = {m["name"]: m for m in shown["bundle"]["members"]}
    assert [a["name"] for a in members["model"]["arrays"]][:2] == ["order", "lengths"]
    assert members["lexicon"]["entries"] == len(toy_lexicon())
    assert members["vocabulary"]["entries"] == len(toy_vocabulary())
    assert shown["model"] is shown["contract"] is None
    assert main(["inspect", str(path), "--no-probe"]) == 0
    assert "n-gram model" in capsys.readouterr().out


def patched(path: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """The shipped bundle with a member changed and the manifest as it was."""
    with zipfile.ZipFile(DEFAULT_BUNDLE) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            new.writestr(member, change(data) if member == name else data)
    return path


def test_a_damaged_part_is_told_and_kept_from_the_runtime(tmp_path: Path) -> None:
    def flip(data: bytes) -> bytes:
        return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]

    shown = view(patched(tmp_path / "bad.bundle", "model", flip))
    hashes = {m["name"]: m["hash"] for m in shown["bundle"]["members"]}
    assert hashes == {
        "manifest.json": "none", "model": "damaged", "vocabulary": "ok", "lexicon": "ok",
        "emoji": "ok", "filter": "ok", "ngrams": "ok", "trigger": "ok",
        "channel": "ok",
    }  # fmt: skip
    assert "'model' is damaged" in shown["bundle"]["error"]
    assert shown["bundle"]["opened"] is False
    assert len(shown["model"]["subgraphs"]) == 2, "what can be read is shown"
    assert all("not asked" in s["xnnpack_error"] for s in shown["model"]["subgraphs"])


def test_a_whole_part_that_does_not_open_is_told(tmp_path: Path) -> None:
    path = tmp_path / "odd.bundle"
    write_bundle(path, toy_manifest(), {**toy_parts(), "lexicon": b"{}\n"})
    shown = view(path)
    assert "the lexicon is not readable" in shown["bundle"]["error"]
    assert {m["hash"] for m in shown["bundle"]["members"]} == {"none", "ok"}


@pytest.mark.parametrize(
    "manifest",
    ["", "[]", "{", '{"name": NaN, "figures": {"a": 1e999}}', "[" * 900 + "]" * 900,
     '{"a":' * 90 + "1" + "}" * 90, '{"parts": {"model": 1, "emoji": []}}'],
)  # fmt: skip
def test_any_manifest_gives_plain_json(manifest: str, tmp_path: Path) -> None:
    path = patched(tmp_path / "odd.bundle", "manifest.json", lambda _: manifest.encode())
    shown = view(path)
    assert shown["bundle"]["error"]
    json.dumps(shown, allow_nan=False)


def test_a_manifest_nested_too_deep_to_be_printed_counts_as_none(tmp_path: Path) -> None:
    for depth, kept in ((10, True), (90, False)):
        manifest = '{"a":' * depth + "1" + "}" * depth
        path = tmp_path / f"{depth}.bundle"
        patched(path, "manifest.json", lambda _, text=manifest: text.encode())
        assert bool(view(path)["bundle"]["manifest"]) is kept


# Files that are damaged or hostile


def refusals(path: Path, files: Iterable[bytes]) -> list[str]:
    """Of files, the messages of those that cannot be viewed."""
    found = []
    for data in files:
        try:
            json.dumps(view(written(path, data), probe=False), allow_nan=False)
        except KbengineError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_mutated_models_are_read_or_refused(seed: int, tmp_path: Path) -> None:
    random, path = Random(seed), tmp_path / "odd.tflite"
    told = refusals(path, (mutated(structure(), random, 12) for _ in range(60)))
    assert 0 < len(told) < 60, "both ways were tried"
    assert all(str(path) in line and "\n" not in line for line in told)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_bundles_are_read_or_refused(seed: int, tmp_path: Path) -> None:
    random, path = Random(seed), tmp_path / "odd.bundle"
    whole = toy_bundle(tmp_path / "toy.bundle").read_bytes()
    told = refusals(path, (mutated(whole, random, 6) for _ in range(60)))
    assert 0 < len(told) < 60, "both ways were tried"
    assert all(str(path) in line and "\n" not in line for line in told)


def test_parts_that_overlap_do_not_make_a_small_file_huge() -> None:
    """All subgraphs at one place, as a hostile file may have them: 2,000 x 2,000 tensors."""
    model = schema.ModelT.InitFromPackedBuf(small([]))
    model.subgraphs[0].tensors *= 2_000
    model.subgraphs += [schema.SubGraphT() for _ in range(2_000)]
    data = bytearray(pack(model))
    root = schema.Model.GetRootAs(data, 0)._tab
    start = root.Vector(root.Offset(8))
    target = start + int.from_bytes(data[start : start + 4], "little")
    for i in range(2_001):
        place = start + 4 * i
        data[place : place + 4] = (target - place).to_bytes(4, "little", signed=True)
    with pytest.raises(ModelError, match="larger than the file"):
        read_graph(bytes(data))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0" * 100, b"PK", b"PK\3\4" + b"x" * 50])
def test_what_is_no_model_gets_one_sentence(
    data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "odd.tflite", data)
    assert main(["inspect", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"kbengine: {path}")
    assert err.count("\n") == 1


def test_no_such_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, tmp_path / "none.bundle"):
        assert main(["inspect", str(path)]) == 1
        assert capsys.readouterr().err.count("\n") == 1


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        read_archive(written(tmp_path / "a.bundle", b"PK and no more"))


# The verb


def test_an_archive_of_too_many_members(tmp_path: Path) -> None:
    """Its list would be read whole: half a gigabyte of it is gigabytes of members."""
    path = tmp_path / "many.bundle"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(13_000):
            archive.writestr(f"{i:040}", b"")
    with pytest.raises(BundleError, match="too many members"):
        read_archive(path)


def test_a_broken_contract_is_no_failure_of_the_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "renamed.tflite", altered(renamed))
    assert main(["inspect", str(path), "--no-probe"]) == 0
    head, verdict, *tables = capsys.readouterr().out.splitlines()
    assert head.startswith(f"{path}: model")
    assert verdict.startswith("breaks the contract of a step model")
    assert max(map(len, tables)) <= 100


def test_the_tables_say_what_the_json_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(DEFAULT_BUNDLE), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert main(["inspect", str(DEFAULT_BUNDLE), "--all"]) == 0
    out = capsys.readouterr().out
    assert "keeps the contract of a step model" in out.splitlines()
    for op in shown["model"]["ops"]:
        assert [op["name"], str(op["count"]), str(op["taken"])] in map(str.split, out.splitlines())
    for row in shown["model"]["stored"]:
        assert f"{row['bytes']:,}" in out


def test_names_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].name = "\x1b[2J[bold]"
        model.signatureDefs[0].signatureKey = "a\nb\x07"

    assert (
        main(["inspect", str(written(tmp_path / "a.tflite", altered(change))), "--no-probe"]) == 0
    )
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[2J[bold]" in out


def test_no_tensorflow(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom kbengine.cli import main\nmain(['inspect', sys.argv[1]])\n"
        "print('loaded:', *sorted({'tensorflow', 'keras'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(toy_bundle(tmp_path / "toy.bundle"))],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_an_archive_of_something_else_is_no_bundle(tmp_path: Path) -> None:
    """A Keras file is a zip as well."""
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(BundleError, match="an archive of something else"):
        view(tmp_path / "model.keras")


def test_a_stranger_s_model_breaks_nothing(tmp_path: Path) -> None:
    """It has signatures of its own: said, and no table of broken rules."""
    path = written(tmp_path / "other.tflite", small([]))
    found = view(path)
    assert verdicts(found) == [
        (
            None,
            "no step model of kbengine's, which has the signatures state and logits: it has none",
        )
    ]
    titles = [table.title for table in overview_tables(found)]
    assert "Contract of a step model" not in titles
    assert "Ops" in titles
    ours = view(written(tmp_path / "ours.tflite", altered(renamed)))
    assert [good for good, _ in verdicts(ours)] == [False]
    titles = [table.title for table in overview_tables(ours)]
    assert "Contract of a step model" in titles
