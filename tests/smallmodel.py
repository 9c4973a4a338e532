"""A small step model for tests: the shipped one with most of its rows and columns left out.

It says nothing sensible, but is made of the same ops, and loads in milliseconds.
"""

from __future__ import annotations

import functools
import zipfile
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbengine.lm.stepfile import check
from kbengine.packaged import DEFAULT_BUNDLE
from tests.toys import toy_vocabulary

CELLS, WIDTH = 24, 8  # the shipped one has hundreds


@functools.cache
def shipped_model() -> bytes:
    with zipfile.ZipFile(DEFAULT_BUNDLE) as archive:
        return archive.read("model")


def unpacked(content: bytes) -> Any:
    """A `.tflite` as nested Python objects (the schema's object API)."""
    return schema.ModelT.InitFromPackedBuf(content, 0)


def packed(model: Any) -> bytes:
    """The `.tflite` of such objects."""
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@functools.cache
def small_model() -> bytes:
    """A step model with the toy vocabulary's pieces, of the ops of the shipped one."""
    model = unpacked(shipped_model())
    shapes = [tuple(map(int, t.shape)) for g in model.subgraphs for t in g.tensors]
    vocab, width = max((s for s in shapes if len(s) == 2), key=np.prod)  # the table
    state = check(shipped_model()).state
    cells = state - width
    sizes = {
        vocab: len(toy_vocabulary()), 3 * cells: 3 * CELLS, state: CELLS + WIDTH, cells: CELLS,
        2 * width: 2 * WIDTH, width: WIDTH,
        cells // 4: CELLS // 4, cells - cells // 4: CELLS - CELLS // 4,  # the loud, the others
    }  # fmt: skip
    types = {schema.TensorType.INT8: "i1", schema.TensorType.INT32: "<i4"}
    done: dict[int, Any] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            old = [int(n) for n in tensor.shape]
            new = [sizes.get(n, n) for n in old]
            data = model.buffers[tensor.buffer].data
            if data is not None and tensor.buffer not in done:
                values = data.tobytes()
                array = np.frombuffer(values, types.get(tensor.type, "<f4")).reshape(old)
                array = array[tuple(slice(n) for n in new)]
                if tensor.type == schema.TensorType.INT32 and array.size == 2:
                    array = np.array([sizes.get(int(n), int(n)) for n in array], "<i4")
                done[tensor.buffer] = np.frombuffer(array.tobytes(), np.uint8)
            if tensor.quantization is not None and tensor.quantization.scale is not None:
                tensor.quantization.scale = tensor.quantization.scale[: new[0]]
                tensor.quantization.zeroPoint = tensor.quantization.zeroPoint[: new[0]]
            tensor.shape = new
            if tensor.shapeSignature is not None:
                tensor.shapeSignature = [sizes.get(int(n), int(n)) for n in tensor.shapeSignature]
    for place, data in done.items():
        model.buffers[place].data = data
    return packed(model)
