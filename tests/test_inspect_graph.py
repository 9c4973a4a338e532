"""What is read off a model file without running it is what the runtime and the file say."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from kbengine.errors import ModelError
from kbengine.inspect.contract import Rule, check
from kbengine.inspect.duplicates import Duplicate, duplicates
from kbengine.inspect.graph import read_graph
from kbengine.inspect.view import view
from tests.modelfiles import altered, pack, renamed, shipped, small, tensor, written

# The graph is what the runtime reads


def test_tensors_and_signatures_are_those_of_the_runtime() -> None:
    graph, interpreter = read_graph(shipped()), Interpreter(model_content=shipped())
    assert len(graph.subgraphs) == interpreter.num_subgraphs()
    for subgraph in graph.subgraphs:
        details = interpreter.get_tensor_details(subgraph.index)
        assert len(details) == len(subgraph.tensors)
        for theirs, ours in zip(details, subgraph.tensors, strict=True):
            assert (ours.index, ours.name) == (theirs["index"], theirs["name"])
            assert list(ours.signature) == theirs["shape_signature"].tolist()
            assert ours.type == np.dtype(theirs["dtype"]).name
            scales = theirs["quantization_parameters"]["scales"]
            assert np.array_equal(ours.quantization.scales if ours.quantization else [], scales)
    theirs = interpreter._get_full_signature_list()
    ours = {s.name: {"inputs": s.inputs, "outputs": s.outputs} for s in graph.signatures}
    assert ours == theirs


def test_ops_are_those_of_the_runtime() -> None:
    interpreter = Interpreter(model_content=shipped())
    details = interpreter._get_ops_details()
    ops = read_graph(shipped()).subgraphs[0].ops
    assert [op.name for op in ops] == [d["op_name"] for d in details]
    assert [list(op.inputs) for op in ops] == [d["inputs"].tolist() for d in details]


def test_the_bytes_add_up_to_the_file() -> None:
    graph = read_graph(shipped())
    model = schema.ModelT.InitFromPackedBuf(shipped())
    assert [len(b) for b in graph.buffers] == [
        0 if b.data is None else len(b.data) for b in model.buffers
    ]
    shown = view_of(shipped())
    assert sum(row["bytes"] for row in shown["stored"]) + shown["structure_bytes"] == len(shipped())
    assert 0 < shown["structure_bytes"] < len(shipped()) / 100
    tables = {row["name"]: row for row in shown["stored"] if row["kind"] == "table"}
    assert sum(row["bytes"] for row in shown["stored"] if row["kind"] == "table") == sum(
        len(b) for i, b in enumerate(graph.buffers) if i not in graph.metadata.values()
    )
    largest = max(tables.values(), key=lambda row: row["bytes"])
    assert largest["bytes"] == np.prod(largest["shape"]), "a table of int8"


def view_of(data: bytes) -> dict[str, Any]:
    """The model in a view, without the runtime."""
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = view(written(Path(folder) / "a.tflite", data), probe=False)["model"]
        return found


def test_data_behind_the_flatbuffer() -> None:
    """Files above 2 GB hold a table's place instead of the table."""
    data = np.arange(64, dtype=np.float32)
    model = schema.ModelT.InitFromPackedBuf(
        small([(tensor("t", [64], schema.TensorType.FLOAT32, 0), data)])
    )
    model.buffers[1].data, model.buffers[1].size = None, data.nbytes
    model.buffers[1].offset = 2  # any number, for the field to have its size
    start = len(pack(model))
    model.buffers[1].offset = start
    whole = pack(model) + data.tobytes()
    assert read_graph(whole).buffers[1].tobytes() == data.tobytes()
    with pytest.raises(ModelError, match="behind its end"):
        read_graph(whole[:-1])


def test_old_op_codes_and_custom_ops() -> None:
    def old(model: Any) -> None:
        model.operatorCodes[0].builtinCode = 0

    def custom(model: Any) -> None:
        code = model.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = "Mine"

    before = read_graph(shipped()).subgraphs[0].ops[0].name
    assert read_graph(altered(old)).subgraphs[0].ops[0].name == before
    assert read_graph(altered(custom)).subgraphs[0].ops[0].name == "custom Mine"


# The contract


def broken(data: bytes) -> list[Rule]:
    return [rule for rule in check(read_graph(data), None, "not now") if rule.kept is False]


def test_the_shipped_model_keeps_the_contract() -> None:
    rules = check(read_graph(shipped()), True, "")
    assert all(rule.kept for rule in rules)
    assert [r.reason for r in check(read_graph(shipped()), None, "not now")][-1] == "not now"


def other_input(model: Any) -> None:
    model.signatureDefs[1].inputs[0].name = "token"


def other_type(model: Any) -> None:
    model.subgraphs[0].tensors[1].type = schema.TensorType.INT64


def other_rank(model: Any) -> None:
    model.subgraphs[0].tensors[1].shapeSignature = [-1, 1]


def fixed_batch(model: Any) -> None:
    model.subgraphs[0].tensors[0].shapeSignature = [1, 1024]


def other_size(model: Any) -> None:
    model.subgraphs[1].tensors[0].shapeSignature = [-1, 7]


def free_size(model: Any) -> None:
    graph = model.subgraphs[0]
    logits = max((graph.tensors[i] for i in graph.outputs), key=lambda tensor: tensor.shape[-1])
    logits.shapeSignature = [-1, -1]


def variable(model: Any) -> None:
    model.subgraphs[1].tensors[20].isVariable = True


@pytest.mark.parametrize(
    ("change", "rule", "reason"),
    [
        (renamed, "two signatures", "it has scores, state"),
        (other_input, "they take piece", "state takes state, token"),
        (other_type, "piece is int32", "logits's input piece is int64"),
        (other_rank, "shapes are", "logits's input piece is [-1, 1]"),
        (fixed_batch, "the batch B", "logits's input state is [1, 1024]"),
        (other_size, "S and V", "state has the sizes [7, "),
        (free_size, "S and V", "logits has the sizes [-1]"),
        (variable, "nothing is kept", "subgraph 1 has the variable "),
    ],
)
def test_each_broken_rule_is_told(change: Callable[[Any], None], rule: str, reason: str) -> None:
    found = broken(altered(change))
    assert found[0].name.startswith(rule)
    assert reason in found[0].reason


def test_a_foreign_model_breaks_it_and_is_shown_all_the_same(tmp_path: Path) -> None:
    shown = view(written(tmp_path / "add.tflite", small([])))
    assert shown["contract"]["kept"] is False
    assert shown["model"]["ops"] == [{"name": "ADD", "count": 1, "taken": 1}]


# Tables that stand there twice


def twice(data: bytes) -> list[Duplicate]:
    return duplicates(read_graph(data))


def test_the_shipped_model_holds_no_table_twice() -> None:
    assert all(d.wasted_bytes < 100_000 for d in twice(shipped()))


def test_a_buffer_that_stands_there_twice() -> None:
    graph = read_graph(shipped())
    largest = max(range(len(graph.buffers)), key=lambda i: len(graph.buffers[i]))

    def change(model: Any) -> None:
        copy = schema.BufferT()
        copy.data = model.buffers[largest].data
        model.subgraphs[1].tensors[8].buffer = len(model.buffers)
        model.buffers.append(copy)

    found = twice(altered(change))[0]
    size = len(graph.buffers[largest])
    assert (found.kind, found.wasted_bytes, found.stored_bytes) == ("bytes", size, (size, size))


@functools.cache
def table() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((40, 24)).astype(np.float32)


FLOAT, HALF, INT8 = (getattr(schema.TensorType, n) for n in ("FLOAT32", "FLOAT16", "INT8"))


def test_a_table_beside_its_rounding() -> None:
    scales = np.abs(table()).max(axis=1) / 127
    rounded = np.round(table() / scales[:, None]).astype(np.int8)
    other = np.random.default_rng(2).standard_normal((40, 24)).astype(np.float32)
    found = twice(
        small(
            [
                (tensor("float", [40, 24], FLOAT, 0), table()),
                (tensor("int8", [40, 24], INT8, 0, scales), rounded),
                (tensor("half", [40, 24], HALF, 0), table().astype(np.float16)),
                (tensor("other", [40, 24], FLOAT, 0), other),
            ]
        )
    )
    assert {(d.kind, frozenset(d.names), d.wasted_bytes) for d in found} == {
        ("values", frozenset(("float", "int8")), 3840),
        ("values", frozenset(("float", "half")), 3840),
        ("values", frozenset(("half", "int8")), 1920),
    }


def test_a_table_beside_its_transpose() -> None:
    scale = [np.abs(table()).max() / 127]
    rounded = np.round(table().T / scale[0]).astype(np.int8)
    pairs = [
        (tensor("float", [40, 24], FLOAT, 0), table()),
        (tensor("turned", [24, 40], INT8, 0, scale), rounded),
    ]
    (found,) = twice(small(pairs))
    assert (found.kind, found.names, found.wasted_bytes) == (
        "transposed",
        ("float", "turned"),
        3840,
    )
    rounded[5, 7] += 2  # one number of 960
    assert twice(small([pairs[0], (tensor("near", [24, 40], INT8, 0, scale), rounded)])) == []


def test_tables_of_one_number_are_no_copies() -> None:
    tables = [
        (tensor("zero", [40, 24], FLOAT, 0), np.zeros((40, 24), np.float32)),
        (tensor("also", [40, 24], HALF, 0), np.zeros((40, 24), np.float16)),
    ]
    assert twice(small(tables)) == []
