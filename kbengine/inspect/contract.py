"""Whether a model keeps the contract of a step model (`kbengine.lm.tflite`), rule by rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kbengine.inspect.graph import Graph, Signature, Tensor

_INPUTS = {"piece": "int32", "state": "float32"}
_OUTPUTS = {
    "state": {"state": "float32"},
    "logits": {"state": "float32", "logits": "float32"},
}
_RANKS = {"piece": 1, "state": 2, "logits": 2}


@dataclass(frozen=True, slots=True)
class Rule:
    """kept: None where it could not be tried. reason: what is there instead, or why not."""

    name: str
    kept: bool | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _End:
    """An input or output of a signature."""

    where: str
    name: str
    tensor: Tensor


def check(graph: Graph, stepped: bool | None, reason: str) -> list[Rule]:
    """The rules in the order of the contract.

    stepped: whether the engine's own adapter could step the model; None where it was not
    tried, for the `reason`.
    """
    ends = list(_ends(graph))
    rules = [
        _rule("two signatures, state and logits", _signatures(graph)),
        _rule("they take piece and state, and give state (and logits)", _names(graph)),
        _rule("piece is int32, state and logits are float32", _types(ends)),
        _rule("shapes are piece [B], state [B, S], logits [B, V]", _ranks(ends)),
        _rule("the batch B is free", _batch(ends)),
        _rule("S and V are fixed, S the same everywhere", _sizes(ends)),
        _rule("nothing is kept between two calls", _memory(graph)),
    ]
    if any(rule.kept is False for rule in rules):
        stepped, reason = None, "a rule before this one is broken"
    return [*rules, Rule("the engine runs it, many rows as one by one", stepped, reason)]


def _rule(name: str, faults: Iterator[str]) -> Rule:
    reason = "; ".join(faults)
    return Rule(name, not reason, reason)


def _signatures(graph: Graph) -> Iterator[str]:
    names = sorted(signature.name for signature in graph.signatures)
    if names != ["logits", "state"]:
        yield f"it has {', '.join(names) or 'none'}"


def _ours(graph: Graph) -> list[Signature]:
    return [signature for signature in graph.signatures if signature.name in _OUTPUTS]


def _names(graph: Graph) -> Iterator[str]:
    if not _ours(graph):
        yield "it has no such signature"
    for signature in _ours(graph):
        wanted: Mapping[str, Mapping[str, object]] = {
            "takes": _INPUTS,
            "gives": _OUTPUTS[signature.name],
        }
        for verb, found in (("takes", signature.inputs), ("gives", signature.outputs)):
            if set(found) != set(wanted[verb]):
                yield f"{signature.name} {verb} {', '.join(sorted(found)) or 'nothing'}"


def _ends(graph: Graph) -> Iterator[_End]:
    """The inputs and outputs that the contract names, as far as they are there."""
    for signature in _ours(graph):
        tensors = graph.subgraphs[signature.subgraph].tensors
        for side, found in (("input", signature.inputs), ("output", signature.outputs)):
            for name in _RANKS.keys() & found.keys():
                yield _End(f"{signature.name}'s {side} {name}", name, tensors[found[name]])


def _types(ends: list[_End]) -> Iterator[str]:
    if not ends:
        yield "there are none"
    for end in ends:
        wanted = "int32" if end.name == "piece" else "float32"
        if end.tensor.type != wanted:
            yield f"{end.where} is {end.tensor.type}"


def _ranks(ends: list[_End]) -> Iterator[str]:
    if not ends:
        yield "there are none"
    for end in ends:
        if len(end.tensor.signature) != _RANKS[end.name]:
            yield f"{end.where} is {list(end.tensor.signature)}"


def _batch(ends: list[_End]) -> Iterator[str]:
    if not ends:
        yield "there is none"
    for end in ends:
        if end.tensor.signature[:1] != (-1,):
            yield f"{end.where} is {list(end.tensor.signature)}"


def _sizes(ends: list[_End]) -> Iterator[str]:
    sizes: dict[str, set[int]] = {"state": set(), "logits": set()}
    for end in ends:
        if end.name in sizes:
            sizes[end.name].update(end.tensor.signature[1:2])
    for name, found in sizes.items():
        if len(found) != 1 or min(found) <= 0:
            yield f"{name} has the sizes {sorted(found)}" if found else f"there is no {name}"


def _memory(graph: Graph) -> Iterator[str]:
    for subgraph in graph.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.variable or tensor.type == "resource":
                yield f"subgraph {subgraph.index} has the variable {tensor.name}"
