"""SOURCE, whatever it is, as a `Source`."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import re
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from train.convert.graphdef import read_graphdef
from train.convert.onestep import functional_of, one_step
from train.convert.source import Entry, Source, Specs, Variable, clean, first_line, make_entry, spec

WHAT = (
    "a .keras or .h5 file, a SavedModel folder, a .pb or .pbtxt, MODULE:FUNCTION, or a model of "
    "ours (a .bundle, a --work folder or its checkpoint)"
)
SAVED_MODEL = "saved_model.pb"
GRAPHS = (".pb", ".pbtxt")
KERAS = (".keras", ".h5", ".hdf5")
_INPUT_RE = re.compile(r"([A-Za-z]\w*):(\w+)\[([\d,?\s]*)\]")


@dataclass(frozen=True)
class Wishes:
    """What is not left to be found. inputs, outputs: tensors of a graph. declared: inputs of a
    function, ``NAME:TYPE[SHAPE]``. modules: imported first, for the layers that they register.
    step: one step of a Keras model that reads sequences, see `train.convert.onestep`."""

    checkpoint: Path | None = None
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    declared: Sequence[str] = ()
    modules: Sequence[str] = ()
    step: bool = False


def read_source(source: str, wishes: Wishes | None = None) -> Source:
    """SOURCE, with the outputs that are wished for. Raises ValueError, ModelError or BundleError,
    in one sentence, where it cannot be read."""
    wishes = wishes or Wishes()
    path = Path(source)
    if path.is_file() and path.suffix in GRAPHS and path.name != SAVED_MODEL:
        # It names nothing, so that both ends have to be known at once.
        return read_graphdef(path, wishes.checkpoint, wishes.inputs, wishes.outputs)
    if wishes.inputs or wishes.checkpoint:
        raise ValueError(f"--inputs and --checkpoint go with a .pb; {source} says what it takes")
    return _read(source, wishes).giving(wishes.outputs)


def _read(source: str, wishes: Wishes) -> Source:
    for module in wishes.modules:
        _import(module)
    path = Path(source)
    keras_source = path.suffix in KERAS or not path.exists()
    if wishes.step and not keras_source:
        raise ValueError(f"--step takes apart Keras models alone; {source} is none")
    if not path.exists():
        if re.fullmatch(r"[\w.]+:[\w.]+", source):
            return _of_function(source, wishes.declared, wishes.step)
        raise ValueError(f"{source} is not there; give {WHAT}")
    if (path / SAVED_MODEL).exists():
        return _of_saved_model(path)
    if path.name == SAVED_MODEL:
        return _of_saved_model(path.parent)
    if path.suffix in KERAS:
        return _of_keras_file(path, wishes.step)
    if path.suffix == ".tflite":
        raise ValueError(f"{path} is converted already; see it with `kbengine inspect`")
    if path.is_dir() or path.suffix in (".bundle", ".npz"):
        from train.convert.ours import read_ours

        return read_ours(path)
    raise ValueError(f"{path} is nothing that can be converted; give {WHAT}")


# Keras


def _of_keras_file(path: Path, step: bool) -> Source:
    if path.name.endswith(".weights.h5"):
        raise ValueError(f"{path} holds weights alone; save the model whole, with model.save")
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile, AttributeError) as error:
        raise ValueError(
            f"{path} is no Keras model that can be loaded here ({first_line(error)}); for layers "
            "of your own give --import the module that registers them"
        ) from error
    return one_step(_with_inputs(model)) if step else of_keras(model)


def of_keras(model: keras.Model) -> Source:
    """A Keras model with known inputs. Raises ValueError where they are not known."""
    graph = functional_of(_with_inputs(model))
    names: dict[str, Any] = {}
    for tensor in keras.tree.flatten(graph.input):
        names[clean(tensor.name, names)] = tensor
    gives: list[str] = []
    for n, tensor in enumerate(graph.outputs):
        same = len(graph.output_names) == len(graph.outputs)
        gives.append(clean(graph.output_names[n] if same else tensor.name, gives))

    def function(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        given = keras.tree.pack_sequence_as(graph.input, [tensors[n] for n in names])
        found = keras.tree.flatten(model(given, training=False))
        return dict(zip(gives, found, strict=True))

    specs = {n: spec(t.shape, t.dtype, n) for n, t in names.items()}
    variables = tuple(
        Variable.of(w.path, w.shape, tf.dtypes.as_dtype(w.dtype)) for w in model.weights
    )
    layers = {layer.name: type(layer).__name__ for layer in _layers(model)}
    kind = f"a Keras model, {model.name}, of {len(model.layers)} layers"
    return Source(kind, (make_entry("step", function, specs),), variables, layers=layers)


def _with_inputs(model: keras.Model) -> keras.Model:
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"the model {model.name} has no known inputs: it is a class of its own that was not "
            "built by Input layers; wrap it in a function and give MODULE:FUNCTION"
        )
    return model


def _layers(model: keras.Model) -> list[keras.Layer]:
    return list(model._flatten_layers(include_self=False))


# SavedModels


def _of_saved_model(path: Path) -> Source:
    try:
        loaded = tf.saved_model.load(str(path))
    except (OSError, ValueError, tf.errors.OpError, RuntimeError) as error:
        raise ValueError(f"{path} is no SavedModel ({first_line(error)}); save it again") from error
    signatures, chosen = dict(loaded.signatures), []
    signatures.pop("__saved_model_init_op", None)
    if not signatures:
        raise ValueError(
            f"{path} has no signatures; save it with signatures=..., or give MODULE:FUNCTION"
        )
    entries: dict[bytes, Entry] = {}
    variables: dict[str, tf.Variable] = {}
    for name, signature in sorted(signatures.items(), reverse=True):
        entry = _of_signature(name, signature)
        # One function under two names, as Keras exports it, is one entry.
        same = entries.setdefault(_fingerprint(entry), entry)
        if same is not entry:
            chosen.append(f"{name} is {same.name} under another name")
        variables |= {v.name: v for v in signature.variables}
    known = tuple(Variable.of(n, v.shape, v.dtype) for n, v in sorted(variables.items()))
    if len(entries) > 1:
        chosen.append(f"signatures {', '.join(e.name for e in entries.values())} (--signature)")
    return Source("a SavedModel", tuple(entries.values()), known, tuple(chosen))


def _fingerprint(entry: Entry) -> bytes:
    """What a graph is made of, whatever its ops are called."""
    nodes = []
    for node in entry.graph.as_graph_def().node:
        plain = type(node)()
        plain.CopyFrom(node)
        plain.ClearField("name")
        plain.ClearField("input")
        plain.ClearField("experimental_debug_info")
        plain.attr.pop("_output_shapes", None)
        nodes.append(plain.SerializeToString(deterministic=True))
    return hashlib.sha256(b"".join(sorted(nodes))).digest()


def _of_signature(name: str, signature: Any) -> Entry:
    specs = signature.structured_input_signature[1]
    names = {clean(n): n for n in specs}

    def function(**tensors: tf.Tensor) -> Mapping[str, tf.Tensor]:
        found = signature(**{names[n]: t for n, t in tensors.items()})
        return {clean(n): t for n, t in found.items()}

    inputs = {n: spec(specs[real].shape, specs[real].dtype, n) for n, real in names.items()}
    return make_entry(clean(name), function, inputs)


# Functions


def _of_function(source: str, declared: Sequence[str], step: bool) -> Source:
    module_name, _, path = source.partition(":")
    found: Any = _import(module_name)
    for part in path.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{module_name} has no {path}; give MODULE:FUNCTION")
        found = getattr(found, part)
    if isinstance(found, keras.Model):
        return one_step(_with_inputs(found)) if step else of_keras(found)
    name = clean(path.rpartition(".")[2])
    specs = _declared(declared) or _own_specs(found)
    if not specs:
        raise ValueError(
            f"{source} does not say what it takes; give it an input_signature, annotate its "
            "arguments with tf.TensorSpec, or give --input NAME:TYPE[SHAPE], as piece:int32[?]"
        )
    called: Callable[..., Any] = found

    def function(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return _named(called(*(tensors[n] for n in specs)))

    return Source(f"the function {source}", (make_entry(name, function, specs),))


def _import(name: str) -> Any:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"there is no module {error.name}; run this where it can be imported"
        ) from (error)


def _declared(texts: Sequence[str]) -> Specs:
    found = {}
    for text in texts:
        match = _INPUT_RE.fullmatch(text)
        try:
            dtype = tf.dtypes.as_dtype(match[2]) if match else None
        except TypeError:
            dtype = None
        if match is None or dtype is None:
            raise ValueError(
                f"--input {text} cannot be read; write NAME:TYPE[SHAPE], as piece:int32[?]"
            )
        shape = [None if d.strip() == "?" else int(d) for d in match[3].split(",") if d.strip()]
        found[match[1]] = spec(shape, dtype, match[1])
    return found


def _own_specs(function: Any) -> Specs:
    """What a function itself says it takes: its input signature, or its annotations."""
    python = getattr(function, "python_function", function)
    parameters = inspect.signature(python).parameters if callable(python) else {}
    names = [name for name in parameters if name != "self"]
    signature = getattr(function, "input_signature", None)
    if signature is None and hasattr(function, "structured_input_signature"):
        places, keywords = function.structured_input_signature
        return {
            clean(s.name): spec(s.shape, s.dtype, clean(s.name))
            for s in (*places, *keywords.values())
        }
    if signature is not None:
        return {n: spec(s.shape, s.dtype, n) for n, s in zip(names, signature, strict=False)}
    try:
        notes = inspect.get_annotations(python, eval_str=True) if names else {}
    except NameError:  # of names that are there for type checkers alone
        notes = {}
    found = {n: notes[n] for n in names if isinstance(notes.get(n), tf.TensorSpec)}
    return (
        {n: spec(s.shape, s.dtype, n) for n, s in found.items()} if len(found) == len(names) else {}
    )


def _named(found: Any) -> dict[str, tf.Tensor]:
    """What a function gives, by names: its own, or out_0, out_1 in their order."""
    if isinstance(found, Mapping):
        return {clean(str(n)): t for n, t in found.items()}
    if hasattr(found, "_asdict"):
        return {clean(n): t for n, t in found._asdict().items()}
    flat = tf.nest.flatten(found)
    return {"output": flat[0]} if len(flat) == 1 else {f"output_{n}": t for n, t in enumerate(flat)}
