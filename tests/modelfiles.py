"""Model files for tests: the shipped one, as it is and altered, and small ones made by hand."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbengine.packaged import DEFAULT_BUNDLE


@functools.cache
def shipped() -> bytes:
    """The model of the bundle in the package."""
    with zipfile.ZipFile(DEFAULT_BUNDLE) as archive:
        return archive.read("model")


def pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def altered(change: Callable[[Any], object]) -> bytes:
    """The shipped model with something changed."""
    model = schema.ModelT.InitFromPackedBuf(shipped())
    change(model)
    return pack(model)


def tensor(name: str, shape: list[int], kind: int, buffer: int, scales: Any = None) -> Any:
    found = schema.TensorT()
    found.name, found.shape, found.type, found.buffer = name, shape, kind, buffer
    if scales is not None:
        found.quantization = schema.QuantizationParametersT()
        found.quantization.scale = np.asarray(scales, np.float32)
        found.quantization.zeroPoint = np.zeros(len(scales), np.int64)
        found.quantization.details = None
    return found


def small(tables: list[tuple[Any, np.ndarray]], op: int = schema.BuiltinOperator.ADD) -> bytes:
    """x + x = y over float32[1, 4], and tables that stand beside it. Of a table the tensor
    and its data; the tensor's buffer is filled in here."""
    model = schema.ModelT()
    model.version, model.description = 3, "made by a test"
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = op
    model.operatorCodes = [code]
    graph, ends = schema.SubGraphT(), [("x", 0), ("y", 0)]
    graph.name, graph.inputs, graph.outputs = "main", [0], [1]
    graph.tensors = [tensor(name, [1, 4], schema.TensorType.FLOAT32, 0) for name, _ in ends]
    model.buffers = [schema.BufferT()]
    for found, data in tables:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data.tobytes(), np.uint8)
        found.buffer = len(model.buffers)
        model.buffers.append(buffer)
        graph.tensors.append(found)
    add = schema.OperatorT()
    add.inputs, add.outputs = [0, 0], [1]
    add.builtinOptionsType = schema.BuiltinOptions.AddOptions
    add.builtinOptions = schema.AddOptionsT()
    graph.operators = [add]
    model.subgraphs = [graph]
    return pack(model)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def renamed(model: Any) -> None:
    model.signatureDefs[0].signatureKey = "scores"


def mutated(data: bytes, random: Random, spread: int) -> bytes:
    """Cut off, or with up to `spread` bytes changed, most of them in the structure."""
    found = bytearray(data)
    if random.random() < 0.2:
        del found[random.randrange(len(found)) :]
    for _ in range(random.randrange(1, spread)):
        if found:
            found[random.randrange(len(found))] = random.choice((0, 1, 127, 128, 255))
    return bytes(found)


@functools.cache
def structure() -> bytes:
    """A small model of two signatures, nearly all of it structure: the shipped one with its
    tables cut short. Only read here, never run."""

    def change(model: Any) -> None:
        for buffer in model.buffers:
            buffer.data = None if buffer.data is None else buffer.data[:64]
        for subgraph in model.subgraphs:
            for found in subgraph.tensors:
                if found.quantization is not None and found.quantization.scale is not None:
                    found.quantization.scale = found.quantization.scale[:8]
                    found.quantization.zeroPoint = found.quantization.zeroPoint[:8]

    return altered(change)
