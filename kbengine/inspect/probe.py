"""What the native runtime makes of a file: a process of its own, for a file may crash it.

    python -m kbengine.inspect.probe FILE [--time]

prints JSON lines, each as soon as it is known, so that a crash takes away only what comes
after it:

    {"subgraph": 0, "delegates": [{"inputs": [...], "outputs": [...]}]}   tensors by index
    {"subgraph": 1, "error": "..."}
    {"stepped": true}          or false with an "error"; of a model
    {"opened": {"vocabulary": 16000, ...}}   or null with an "error"; of a bundle
    {"timed": 0, "calls": 300, "p50_ms": 0.08, "p99_ms": 0.12}   a subgraph, or with an "error"

The other side is `kbengine.inspect.runtime`.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from kbengine.bundle import Bundle
from kbengine.errors import KbengineError
from kbengine.inspect.graph import read_graph
from kbengine.inspect.timing import ALL_S, MOST_S, times
from kbengine.lm.mixture import MixtureModel
from kbengine.lm.tflite import TFLiteModel
from kbengine.protocols import LanguageModel
from kbengine.shipping import read_either

MAX_SUBGRAPHS = 64
_MEMORY_BYTES = 8 << 30  # a shape in a few bytes may ask for any amount


def answers(path: Path, timing: bool) -> Iterator[dict[str, Any]]:
    """The lines for a file; raises KbengineError for a bundle that can't be read."""
    with path.open("rb") as file:
        is_bundle = file.read(2) == b"PK"
    bundle = read_either(path) if is_bundle else None
    content = None
    if bundle is None:
        content = path.read_bytes()
    elif bundle.manifest["family"] == "lstm-tflite":
        content = bundle.parts["model"]
    if content is not None:
        yield from _delegations(content)
        yield _stepped(content)
    if bundle is not None:
        yield _opened(bundle)
    if content is not None and timing:
        yield from _times(content)


def _opened(bundle: Bundle) -> dict[str, Any]:
    """How many entries each part has."""
    try:
        model, vocabulary, lexicon, table, held_back, emoji_model, channel = bundle.open()
    except KbengineError as error:
        return {"opened": None, "error": str(error)}
    counts = {"model": model.vocab_size, "vocabulary": len(vocabulary)}
    counts |= {"lexicon": len(lexicon), "emoji": len(table), "filter": len(held_back)}
    if isinstance(model, MixtureModel):
        counts["ngrams"] = len(model.table)
    if emoji_model is not None:
        counts["trigger"] = len(emoji_model.emoji)
    if channel is not None:
        counts["channel"] = len(channel.rules)
    return {"opened": counts}


def _delegations(content: bytes) -> Iterator[dict[str, Any]]:
    """For every subgraph the nodes that the default delegate, XNNPACK, has put in."""
    count = schema.Model.GetRootAs(content, 0).SubgraphsLength()
    for index in range(min(count, MAX_SUBGRAPHS)):
        try:
            # The engine's settings, for the same answer. It owns the bytes that `native` reads.
            interpreter = Interpreter(model_content=_first(content, index), num_threads=1)
            native = interpreter._interpreter
            native.AllocateTensors()  # `allocate_tensors` would refuse while `native` is held
        except (ValueError, RuntimeError) as error:
            yield {"subgraph": index, "error": _told(error)}
            continue
        delegates = [
            {"inputs": native.NodeInputs(i).tolist(), "outputs": native.NodeOutputs(i).tolist()}
            for i in range(native.NumNodes())
            if native.NodeName(i) == "DELEGATE"
        ]
        yield {"subgraph": index, "delegates": delegates}


def _told(error: Exception) -> str:
    """What the runtime says in one line; now and then, as where memory is short, it is nothing."""
    return " ".join(str(error).split()) or f"the runtime gave no reason ({type(error).__name__})"


def _first(content: bytes, index: int) -> bytes:
    """The model with a subgraph in the first place, as the runtime tells nodes of that alone.

    One offset is changed; the subgraph stands in its old place too, where control flow may
    refer to it.
    """
    table = schema.Model.GetRootAs(content, 0)._tab
    start = table.Vector(table.Offset(8))  # 8: the place of `subgraphs` in the schema
    (offset,) = struct.unpack_from("<I", content, start + 4 * index)
    return content[:start] + struct.pack("<I", offset + 4 * index) + content[start + 4 :]


def _stepped(content: bytes) -> dict[str, Any]:
    try:
        fault = _fault(TFLiteModel(content))
    except (KbengineError, ValueError, RuntimeError) as error:
        fault = _told(error)
    return {"stepped": not fault, **({"error": fault} if fault else {})}


def _fault(model: LanguageModel) -> str:
    """Where two rows in one call are other than one by one, or `advance` than `step`."""
    start = model.start()
    pieces = [0, model.vocab_size - 1]
    logp, states = model.step(pieces, [start, start])
    for row, piece in enumerate(pieces):
        alone, after = model.step([piece], [start])
        if not np.allclose(logp[row], alone[0], atol=1e-3):
            return "a row's logits depend on the rows beside it"
        others = (states[row], model.advance([piece], [start])[0])
        if not all(np.allclose(after[0], other, atol=1e-3) for other in others):
            return "one step gives different states in a batch, alone, or by the other signature"
    return ""


def _times(content: bytes) -> Iterator[dict[str, Any]]:
    """For every subgraph that a signature calls, how long a call takes."""
    subgraphs = read_graph(content).called()[:MAX_SUBGRAPHS]
    for index in subgraphs:
        try:
            found = times(_first(content, index), min(MOST_S, ALL_S / len(subgraphs)))
        except (ValueError, RuntimeError, TypeError, MemoryError) as error:
            found = {"error": _told(error)}
        yield {"timed": index, **found}


def _limit_memory() -> None:
    """A bound on memory, and no core file, where the system knows such things."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = _MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(_MEMORY_BYTES, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def main() -> int:
    """Answer for the file that the command line names."""
    _limit_memory()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print must not spoil the answers
    path, *options = sys.argv[1:]
    for answer in answers(Path(path), "--time" in options):
        print(json.dumps(answer), file=out, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
