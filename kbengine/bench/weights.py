"""What a step of a `.tflite` model has to read, and that step without the engine around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ai_edge_litert.interpreter import Interpreter

from kbengine.inspect.graph import NO_TENSOR, read_graph

# These read a row for each piece, not their whole table.
_ROWS_ONLY = frozenset(("GATHER", "EMBEDDING_LOOKUP"))


def weight_bytes(content: bytes) -> dict[str, int]:
    """For each signature, the bytes of the constants that its operations read whole, each
    counted once: what one step at B = 1 must fetch from memory or cache."""
    graph = read_graph(content)
    found = {}
    for signature in graph.signatures:
        subgraph = graph.subgraphs[signature.subgraph]
        read = {
            subgraph.tensors[place].buffer
            for op in subgraph.ops
            if op.name not in _ROWS_ONLY
            for place in op.inputs
            if place != NO_TENSOR
        }
        found[signature.name] = sum(graph.buffers[buffer].nbytes for buffer in read)
    return found


def bare_signatures(content: bytes) -> Mapping[str, Callable[..., object]]:
    """The signatures as the runtime offers them, on one thread as the engine runs them."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    return {
        name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()
    }
