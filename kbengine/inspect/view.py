"""All that is known of a file as one plain value, for JSON and for people alike."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbengine import shipping
from kbengine.errors import BundleError, ModelError
from kbengine.inspect.contract import check
from kbengine.inspect.duplicates import duplicates
from kbengine.inspect.graph import (
    IDENTIFIER,
    Graph,
    Quantization,
    Signature,
    Stored,
    Subgraph,
    Tensor,
    read_graph,
)
from kbengine.inspect.parts import MANIFEST, Archive, read_archive, restored
from kbengine.inspect.runtime import Answers, ask

MAX_FILE_BYTES = 4 << 30
SHIPPED = "shipped bundle"
NOT_ASKED = "the runtime was not asked"

View = dict[str, Any]
Buffers = tuple[NDArray[np.uint8], ...]


def view(path: Path, probe: bool = True, timing: bool = False) -> View:
    """What a `.tflite` or a bundle holds; without `probe` the native runtime is left out,
    with `timing` it tells as well how long a step takes.

    Raises ModelError or BundleError where the file cannot be read, ValueError where there
    is none.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there, or no file; give a .tflite or a .bundle")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ModelError(f"{path} is larger than {MAX_FILE_BYTES >> 30} GiB; give a smaller file")
    with path.open("rb") as file:
        head = file.read(8)
    if head[:2] == b"PK":
        return {"file": str(path), "bytes": size, **_bundle(path, probe, timing)}
    if head[4:8] != IDENTIFIER:
        raise ModelError(f"{path} is neither a .tflite nor a bundle; give one of these")
    try:
        graph = read_graph(path.read_bytes())
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    answers = ask(path, timing=timing) if probe else Answers(NOT_ASKED)
    shown = {"file": str(path), "bytes": size, "kind": "model", "bundle": None}
    return {**shown, **_graph(graph, answers, timing)}


def _bundle(path: Path, probe: bool, timing: bool) -> View:
    archive = read_archive(path)
    if not any(member.name == MANIFEST for member in archive.members):
        raise BundleError(
            f"{path} is an archive of something else; give a .tflite or a bundle, or convert the "
            "model first, with `python -m train convert`"
        )
    answers = Answers(NOT_ASKED)
    error = ""
    shipped = archive.manifest.get("format") == shipping.FORMAT
    parts: Mapping[str, bytes] = {}
    try:
        parts = shipping.read_either(path).parts
    except BundleError as found:
        # The native runtime is not to get what is not what the manifest says.
        answers = Answers("the bundle does not open, so the runtime was not asked")
        error = str(found)
    else:
        if probe:
            answers = ask(path, timing=timing)
            error = answers.open_error or ("" if answers.opened else answers.trouble)
    if shipped:
        archive = restored(archive, parts)
    kind = SHIPPED if shipped else "bundle"
    shown: View = {"kind": kind, "bundle": _members(archive, answers, error)}
    content = archive.part("model") or b""
    if content[4:8] != IDENTIFIER:
        return {**shown, "model": None, "contract": None}
    try:
        graph = read_graph(content)
    except ModelError as found:
        shown["bundle"]["error"] = error or str(found)
        return {**shown, "model": None, "contract": None}
    return {**shown, **_graph(graph, answers, timing)}


def _members(archive: Archive, answers: Answers, error: str) -> View:
    members = [
        {
            "name": m.name,
            "stored_bytes": m.stored_bytes,
            "raw_bytes": m.raw_bytes,
            "hash": m.hash,
            "kind": _kind(m.data),
            "entries": answers.opened.get(m.name),
            "arrays": [asdict(array) for array in m.arrays],
        }
        for m in archive.members
    ]
    return {
        "manifest": dict(archive.manifest),
        "members": members,
        "opened": bool(answers.opened),
        "error": error,
    }


def _kind(data: bytes | None) -> str:
    """What the bytes of a part are, by their beginning."""
    if data is None:
        return "unknown"
    if data[4:8] == IDENTIFIER:
        return "tflite"
    if data[:1] == b"{":
        return "json" if b"\n" not in data or _is_json(data) else "arrays"
    return "text" if _is_text(data) else "binary"


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in data


def _graph(graph: Graph, answers: Answers, timing: bool) -> View:
    model = {**_model(graph, answers), "times": _times(graph, answers) if timing else None}
    return {"model": model, "contract": _contract(graph, answers)}


def _times(graph: Graph, answers: Answers) -> list[View]:
    """A row for each signature, for the main subgraph (signature None) where there is none."""
    names: list[tuple[str | None, int]] = [(s.name, s.subgraph) for s in graph.signatures]
    rows = names or [(None, index) for index in graph.called()]
    return [{"signature": name, "subgraph": i, **answers.time(i)} for name, i in rows]


def _contract(graph: Graph, answers: Answers) -> View:
    rules = check(graph, answers.stepped, answers.step_error or answers.trouble)
    verdicts = {rule.kept for rule in rules}
    kept = False if False in verdicts else None if None in verdicts else True
    return {"kept": kept, "rules": [asdict(rule) for rule in rules]}


def _model(graph: Graph, answers: Answers) -> View:
    subgraphs = [_subgraph(s, graph.buffers, answers) for s in graph.subgraphs]
    stored = [_stored(s) for s in sorted(graph.stored(), key=lambda s: -s.data.nbytes)]
    rest = graph.file_bytes - sum(row["bytes"] for row in stored)
    return {
        "version": graph.version,
        "description": graph.description,
        "bytes": graph.file_bytes,
        "signatures": [_signature(s, graph) for s in graph.signatures],
        "ops": _ops(subgraphs),
        "subgraphs": subgraphs,
        "stored": stored,
        "structure_bytes": rest,
        "duplicates": [
            {**asdict(d), "wasted_bytes": d.wasted_bytes} for d in duplicates(graph)
        ],
        "runtime": answers.trouble,
    }  # fmt: skip


def _signature(signature: Signature, graph: Graph) -> View:
    tensors = graph.subgraphs[signature.subgraph].tensors

    def ends(found: Mapping[str, int]) -> list[View]:
        return [
            {
                "name": name,
                "tensor": i,
                "type": tensors[i].type,
                "shape": list(tensors[i].signature),
            }
            for name, i in found.items()
        ]

    return {
        "name": signature.name,
        "subgraph": signature.subgraph,
        "inputs": ends(signature.inputs),
        "outputs": ends(signature.outputs),
    }


def _subgraph(subgraph: Subgraph, buffers: Buffers, answers: Answers) -> View:
    """part: the number of the stretch in which XNNPACK runs an op, None where it doesn't.
    xnnpack_least: whether there are ops without outputs, of which it can't be told."""
    delegation = answers.delegation(subgraph)
    part = {op: number for number, ops in enumerate(delegation.parts) for op in ops}
    return {
        "index": subgraph.index,
        "name": subgraph.name,
        "inputs": list(subgraph.inputs),
        "outputs": list(subgraph.outputs),
        "xnnpack_parts": None if delegation.error else len(delegation.parts),
        "xnnpack_least": any(not op.outputs for op in subgraph.ops),
        "xnnpack_error": delegation.error,
        "ops": [{**asdict(op), "part": part.get(i)} for i, op in enumerate(subgraph.ops)],
        "tensors": [_tensor(tensor, buffers[tensor.buffer].nbytes) for tensor in subgraph.tensors],
    }


def _ops(subgraphs: list[View]) -> list[View]:
    """Each kind of op: how many, and how many of them XNNPACK takes (None: not known)."""
    known = all(s["xnnpack_parts"] is not None for s in subgraphs)
    ops = [op for s in subgraphs for op in s["ops"]]
    counts = Counter(op["name"] for op in ops)
    taken = Counter(op["name"] for op in ops if op["part"] is not None)
    return [
        {"name": name, "count": count, "taken": taken[name] if known else None}
        for name, count in counts.most_common()
    ]


def _tensor(tensor: Tensor, n_bytes: int) -> View:
    """bytes: of its constant data in the file, 0 where it has none."""
    return {
        "index": tensor.index,
        "name": tensor.name,
        "type": tensor.type,
        "shape": list(tensor.signature),
        "buffer": tensor.buffer,
        "bytes": n_bytes,
        "variable": tensor.variable,
        "sparse": tensor.sparse,
        "external": tensor.external,
        "quantization": _quantization(tensor.quantization),
    }


def _quantization(found: Quantization | None) -> View | None:
    """The scales and zero points in short: how many, along which axis, from where to where."""
    if found is None:
        return None
    zero_points = found.zero_points
    scales = found.scales[np.isfinite(found.scales)]
    return {
        "scales": len(found.scales),
        "scale_range": [float(scales.min()), float(scales.max())] if len(scales) else None,
        "zero_points": len(zero_points),
        "zero_point_range": (
            [int(zero_points.min()), int(zero_points.max())] if len(zero_points) else None
        ),
        "axis": found.axis,
        "block_size": found.block_size,
    }


def _stored(stored: Stored) -> View:
    """A row of the bytes; type, shape and quantization of the first tensor that says most."""
    tensors = sorted((t for _, t in stored.users), key=lambda t: t.quantization is None)
    tensor = tensors[0] if tensors and stored.kind == "table" else None
    return {
        "kind": stored.kind,
        "name": stored.name,
        "bytes": stored.data.nbytes,
        "type": tensor.type if tensor else str(stored.data.dtype),
        "shape": list(tensor.shape) if tensor else list(stored.data.shape),
        "quantization": _quantization(tensor.quantization) if tensor else None,
        "tensors": [[s.index, t.index] for s, t in stored.users],
    }
