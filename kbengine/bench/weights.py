"""What a step of a `.tflite` model has to read, and that step without the engine around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

# These read a row for each piece, not their whole table.
_ROWS_ONLY = frozenset((schema.BuiltinOperator.GATHER, schema.BuiltinOperator.EMBEDDING_LOOKUP))


def weight_bytes(content: bytes) -> dict[str, int]:
    """For each signature, the bytes of the constants that its operations read whole, each
    counted once: what one step at B = 1 must fetch from memory or cache."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    found = {}
    for signature in model.signatureDefs:
        graph = model.subgraphs[signature.subgraphIndex]
        buffers = {
            graph.tensors[place].buffer
            for operator in graph.operators
            if _code(model.operatorCodes[operator.opcodeIndex]) not in _ROWS_ONLY
            for place in operator.inputs
            if place >= 0
        }
        data = (model.buffers[place].data for place in buffers)
        found[signature.signatureKey.decode()] = sum(len(d) for d in data if d is not None)
    return found


def _code(code: Any) -> int:
    """The operation; files before 2020 have it in the deprecated field alone."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def bare_signatures(content: bytes) -> Mapping[str, Callable[..., object]]:
    """The signatures as the runtime offers them, on one thread as the engine runs them."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    return {
        name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()
    }
