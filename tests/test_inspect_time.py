"""`kbengine inspect --time`: how long a step takes, in the runtime's own process."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema

from kbengine.cli import main
from kbengine.inspect.timing import CALLS, times
from kbengine.inspect.view import view
from tests.modelfiles import pack, small, tensor, written
from tests.smallmodel import small_model
from tests.toys import toy_bundle


def timed(path: Path, data: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = view(written(path, data), timing=True)["model"]["times"]
    return found


def check_time(row: dict[str, Any]) -> None:
    assert row["calls"] == CALLS
    assert 0 < row["p50_ms"] <= row["p99_ms"]


def test_every_signature_of_a_step_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "step.tflite", small_model())
    assert main(["inspect", str(path), "--time", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["contract"]["kept"] is True, "the rest of the answers is as without"
    rows = shown["model"]["times"]
    signatures = shown["model"]["signatures"]
    assert [(r["signature"], r["subgraph"]) for r in rows] == [
        (s["name"], s["subgraph"]) for s in signatures
    ]
    for row in rows:
        check_time(row)


def test_nothing_is_timed_unless_asked_for(tmp_path: Path) -> None:
    assert view(written(tmp_path / "add.tflite", small([])))["model"]["times"] is None


def test_the_terminal_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "add.tflite", small([]))
    assert main(["inspect", str(path), "--time"]) == 0
    out = capsys.readouterr().out
    assert "Time of a step" in out
    row = next(line.split() for line in out.splitlines() if str(CALLS) in line.split())
    assert row[:2] == ["none", "0"]
    assert 0 <= float(row[2]) <= float(row[3])


def changed(change: Callable[[Any], object]) -> bytes:
    """x + x = y with something changed."""
    model = schema.ModelT.InitFromPackedBuf(small([]))
    change(model)
    return pack(model)


def int8(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.tensors = [
        tensor(name, [1, 4], schema.TensorType.INT8, 0, scales=[0.5]) for name in ("x", "y")
    ]


def two_inputs(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.tensors.append(tensor("z", [1, 4], schema.TensorType.FLOAT32, 0))
    graph.inputs, graph.operators[0].inputs = [0, 2], [0, 2]


def free_batch(model: Any) -> None:
    for found in model.subgraphs[0].tensors:
        found.shape, found.shapeSignature = [1, 4], [-1, 4]


def of_text(model: Any) -> None:
    """Text goes in and comes out as it is."""
    graph = model.subgraphs[0]
    graph.tensors[0].type = schema.TensorType.STRING
    graph.operators, graph.outputs = [], [0]


@pytest.mark.parametrize("change", [int8, two_inputs, free_batch, of_text])
def test_foreign_files_without_a_signature(change: Callable[[Any], None], tmp_path: Path) -> None:
    (row,) = timed(tmp_path / "a.tflite", changed(change))
    assert (row["signature"], row["subgraph"]) == (None, 0)
    check_time(row)


def unknown_op(model: Any) -> None:
    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "NobodysOp"


def a_resource(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.tensors[0].type = schema.TensorType.RESOURCE
    graph.operators, graph.outputs = [], [0]


def too_large(model: Any) -> None:
    for found in model.subgraphs[0].tensors:
        found.shape = [1 << 20, 1 << 12]


def deadly(model: Any) -> None:
    """The runtime aborts where a quantized addition has no scales."""
    for found in model.subgraphs[0].tensors:
        found.type = schema.TensorType.UINT8


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (unknown_op, "NobodysOp"),
        (a_resource, "RESOURCE"),
        (too_large, "the runtime gave no reason"),
        (deadly, "the runtime crashed on this file (it died of SIGABRT)"),
    ],
)
def test_a_file_that_cannot_run_says_why(
    change: Callable[[Any], None], why: str, tmp_path: Path
) -> None:
    shown = view(written(tmp_path / "a.tflite", changed(change)), timing=True)["model"]
    (row,) = shown["times"]
    assert shown["subgraphs"][0]["xnnpack_error"] or change is a_resource
    assert row.keys() == {"signature", "subgraph", "error"}
    assert why in row["error"]
    assert "\n" not in row["error"]


def test_one_subgraph_may_run_where_another_cannot(tmp_path: Path) -> None:
    """Signatures share a subgraph, or have one that the runtime refuses."""

    def change(model: Any) -> None:
        good, bad = model.subgraphs[0], schema.SubGraphT()
        bad.tensors, bad.inputs, bad.outputs = good.tensors, [0], [1]
        op = schema.OperatorT()
        op.inputs, op.outputs, op.opcodeIndex = [0], [1], 1
        bad.operators = [op]
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = "NobodysOp"
        model.operatorCodes.append(code)
        model.subgraphs.append(bad)
        model.signatureDefs = []
        for name, where in (("one", 0), ("other", 0), ("bad", 1)):
            found = schema.SignatureDefT()
            found.signatureKey, found.subgraphIndex = name, where
            found.inputs, found.outputs = [], []
            model.signatureDefs.append(found)

    one, other, bad = timed(tmp_path / "a.tflite", changed(change))
    assert one == {**other, "signature": "one"}, "what they share is timed once"
    assert "NobodysOp" in bad["error"]


def test_a_slow_graph_is_called_once_at_least() -> None:
    assert times(small([]), budget_s=0.0)["calls"] == 1


def test_without_the_runtime_it_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "any.tflite", "--time", "--no-probe"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("kbengine: --time needs the runtime")
    assert err.count("\n") == 1


def test_bundles(tmp_path: Path) -> None:
    """One of n-grams has no graph to time; a damaged one is kept from the runtime."""
    assert view(toy_bundle(tmp_path / "toy.bundle"), timing=True)["model"] is None
    path = tmp_path / "bad.bundle"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "{}")
        archive.writestr("model", small_model())
    rows = view(path, timing=True)["model"]["times"]
    assert {row["error"] for row in rows} == {
        "the bundle does not open, so the runtime was not asked"
    }
