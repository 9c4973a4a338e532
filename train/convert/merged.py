"""A `.tflite` in which equal tables are stored once."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbengine.inspect.graph import IDENTIFIER


def merged(content: bytes) -> bytes:
    """The same file with the tensors of equal buffers on one of them, and all of them inside the
    flatbuffer: Google's quantizer writes a table twice that two signatures read, and behind it."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # 0 and 1 say that it is inside
            data = content[buffer.offset : buffer.offset + buffer.size]
            buffer.data, buffer.offset, buffer.size = np.frombuffer(data, np.uint8), 0, 0
    first: dict[bytes, int] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is not None and len(data):
                place = first.setdefault(np.asarray(data, np.uint8).tobytes(), tensor.buffer)
                if place != tensor.buffer:
                    model.buffers[tensor.buffer].data = None
                    tensor.buffer = place
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())
