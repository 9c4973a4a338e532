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

from kbengine.quiet import quiet_stderr
from train.checkpoint import CHECKPOINT
from train.convert.functional import (
    functional_of,
    input_names,
    layers_of,
    output_names,
    variables_of,
)
from train.convert.graphdef import is_of_tensorflow_1, read_graphdef, read_saved_model_1
from train.convert.onestep import one_step
from train.convert.source import Entry, Source, Specs, Variable, clean, first_line, make_entry, spec

WHAT = (
    "a .keras or .h5 file, a SavedModel folder, a .pb or .pbtxt, MODULE:FUNCTION, or a model of "
    "ours (a .bundle, a --work folder or its checkpoint)"
)
# What code that is not ours may raise.
STRANGE = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError, tf.errors.OpError,
)  # fmt: skip
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
    if not source:
        raise ValueError(f"SOURCE is empty; give {WHAT}")
    if wishes.declared and path.exists():
        raise ValueError(f"--input goes with MODULE:FUNCTION; {source} says what it takes")
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
        if re.fullmatch(r"\w[\w.]*:\w[\w.]*", source):
            return _of_function(source, wishes.declared, wishes.step)
        if re.fullmatch(r"[\w./-]+:[A-Za-z]\w*", source):
            raise ValueError(
                f"{source} is no MODULE:FUNCTION; name the module as in an import, and its folder "
                "by PYTHONPATH"
            )
        raise ValueError(f"{source} is not there; give {WHAT}")
    if (path / SAVED_MODEL).exists():
        return _of_saved_model(path)
    if path.name == SAVED_MODEL:
        return _of_saved_model(path.parent)
    if path.suffix in KERAS:
        return _of_keras_file(path, wishes.step)
    if path.suffix == ".tflite":
        raise ValueError(f"{path} is converted already; see it with `kbengine inspect`")
    if path.is_dir() and not (path / "phase1").exists() and not (path / CHECKPOINT).exists():
        raise ValueError(f"{path} is no SavedModel and no --work folder; give {WHAT}")
    if path.is_dir() or path.name == CHECKPOINT or zipfile.is_zipfile(path):
        from train.convert.ours import read_ours

        return read_ours(path)
    raise ValueError(f"{path} is nothing that can be converted; give {WHAT}")


# Keras


def _of_keras_file(path: Path, step: bool) -> Source:
    if path.name.endswith(".weights.h5"):
        raise ValueError(f"{path} holds weights alone; save the model whole, with model.save")
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is cut off, or no .keras file; save it again")
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile, AttributeError) as error:
        if "Lambda" in str(error):
            raise ValueError(
                f"{path} has a Lambda layer, which is code in a file; write it as a registered "
                "layer and give --import, or give MODULE:NAME of code that builds the model"
            ) from error
        raise ValueError(
            f"{path} is no Keras model that can be loaded here ({_cause(error)}); for layers "
            "of your own give --import the module that registers them"
        ) from error
    return one_step(model) if step else of_keras(model)


def _cause(error: BaseException) -> str:
    """Of what Keras says, the sentence that names what it did not find."""
    missing = re.search(r"Could not locate (class|function) '([^']+)'", str(error))
    return f"it has the unknown {missing[1]} {missing[2]}" if missing else first_line(error)[:120]


def of_keras(model: keras.Model) -> Source:
    """A Keras model with known inputs. Raises ValueError where they are not known."""
    graph = functional_of(model)
    names, gives = input_names(graph), output_names(graph)

    def function(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        given = keras.tree.pack_sequence_as(graph.input, [tensors[n] for n in names])
        found = keras.tree.flatten(model(given, training=False))
        return dict(zip(gives, found, strict=True))

    specs = {n: spec(t.shape, t.dtype, n) for n, t in names.items()}
    layers = layers_of(model)
    kind = f"a Keras model, {model.name}, of {len(layers)} layers"
    entry = make_entry("step", function, specs)
    return Source(kind, (entry,), variables_of(model), layers=layers)


# SavedModels


def _of_saved_model(path: Path) -> Source:
    try:
        if is_of_tensorflow_1(path):
            return read_saved_model_1(path)
        with quiet_stderr():
            loaded = tf.saved_model.load(str(path))
    except (OSError, ValueError, KeyError, tf.errors.OpError, RuntimeError) as error:
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
        entry = _of_signature(name, signature, loaded)
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
    """What each output of a graph is made of, whatever the ops are called."""
    made: dict[str, bytes] = {t.name: name.encode() for name, t in entry.tensors.items()}
    for op in entry.graph.get_operations():  # in the order in which they were made
        node = op.node_def
        kept = (f"{k}={_told(v, entry.graph)}"
                for k, v in sorted(node.attr.items()) if not k.startswith("_"))  # fmt: skip
        parts = [op.type, *kept, *(made[t.name].hex() for t in op.inputs)]
        digest = hashlib.sha256("|".join(parts).encode()).digest()
        for n, out in enumerate(op.outputs):
            made.setdefault(out.name, digest + bytes([n]))
    outputs = entry.function.structured_outputs
    told = [f"{name}:{made[outputs[name].name].hex()}" for name in sorted(outputs)]
    return hashlib.sha256("|".join(told).encode()).digest()


def _told(value: Any, graph: tf.Graph) -> str:
    """An attribute of an op; of a function, whose name is numbered, the ops that it is made of."""
    if not value.HasField("func"):
        return repr(value.SerializeToString(deterministic=True))
    library = {f.signature.name: f for f in graph.as_graph_def().library.function}
    body = library[value.func.name]
    return repr([(node.op, len(node.input)) for node in body.node_def])


def _of_signature(name: str, signature: Any, loaded: Any) -> Entry:
    """loaded: what the signature is of, whose variables live no longer than itself."""
    specs = signature.structured_input_signature[1]
    names = {clean(n): n for n in specs}

    def function(**tensors: tf.Tensor) -> Mapping[str, tf.Tensor]:
        assert loaded is not None  # and so it lives as long as this
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
    if not callable(found):
        raise ValueError(f"{source} is a {type(found).__name__}; give a function or a Keras model")
    if isinstance(found, keras.Model):
        return one_step(found) if step else of_keras(found)
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

    try:
        entry = make_entry(name, function, specs)
    except STRANGE as error:
        raise ValueError(
            f"{source} fails when it is called with {', '.join(specs)}: {type(error).__name__}: "
            f"{first_line(error)}"
        ) from error
    return Source(f"the function {source}", (entry,))


def _import(name: str) -> Any:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        by = "" if error.name == name.partition(".")[0] else f", which {name} imports"
        raise ValueError(
            f"there is no module {error.name}{by}; name its folder, as PYTHONPATH=FOLDER python ..."
        ) from error
    except STRANGE as error:
        raise ValueError(
            f"the module {name} fails when it is imported: {type(error).__name__}: "
            f"{first_line(error)}"
        ) from error


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
    """What a function gives, by names: its own, or output, or output_0, output_1 in their order.

    Raises ValueError where there is nothing, or something else than tensors.
    """
    found = found._asdict() if hasattr(found, "_asdict") else found
    paths = [
        ("_".join(map(str, path)), value) for path, value in keras.tree.flatten_with_path(found)
    ]
    if not paths or any(not tf.is_tensor(value) for _, value in paths):
        raise ValueError("it gives no tensors, or something beside them")
    if len(paths) == 1 and not paths[0][0]:
        return {"output": paths[0][1]}
    named: dict[str, tf.Tensor] = {}
    for path, value in paths:
        named[clean(f"output_{path}" if path[:1].isdigit() else path, named)] = value
    return named
