"""The quantization modes, and what each asks of the converter.

float32   weights and arithmetic as in the source
float16   weights in two bytes, arithmetic in float32
dynamic   int8 weights; what they are multiplied with is rounded to int8 as it comes
int8      int8 weights and activations, the ranges from representative inputs; the ends stay float
16x8      int8 weights, int16 activations, likewise
int4      int4 weights of products in blocks of 32, a scale each; what they are multiplied with
          as in `dynamic`
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.lite.python.convert_phase import ConverterError  # has no public name

from kbengine.errors import ModelError
from kbengine.quiet import quiet_stderr
from train.convert.merged import merged

# Bytes that a weight takes, scales left out.
WEIGHT_BYTES: Mapping[str, float] = {
    "float32": 4, "float16": 2, "dynamic": 1, "int8": 1, "16x8": 1, "int4": 0.5,
}  # fmt: skip
MODES = tuple(WEIGHT_BYTES)
NEED_SAMPLES = frozenset(("int8", "16x8"))

Function: TypeAlias = "tf.types.experimental.ConcreteFunction"
Feed = Mapping[str, NDArray[Any]]
Samples = Mapping[str, Sequence[Feed]]


def convert(signatures: Mapping[str, Function], mode: str, samples: Samples | None = None) -> bytes:
    """A `.tflite` with these signatures, unchecked.

    signatures: functions of named tensors that give a dict of them. samples: for each signature
    inputs by name, as real as can be had, for the modes in `NEED_SAMPLES`.

    Raises ModelError where the converter gives up: its sentence, and the ConverterError as cause.
    """
    if mode not in MODES:
        raise ValueError(f"{mode!r} is no mode; give one of {', '.join(MODES)}")
    if mode in NEED_SAMPLES and not (samples and all(samples.get(name) for name in signatures)):
        raise ValueError(f"the mode {mode} needs representative inputs for every signature")
    if mode == "16x8":
        return _16x8(signatures, samples or {})
    content = _converted(signatures, lambda converter: _SETTINGS[mode](converter, samples or {}),
                         f"in the mode {mode}")  # fmt: skip
    return _with_int4(content) if mode == "int4" else content


def with_flex(signatures: Mapping[str, Function]) -> bytes:
    """A file that may hold ops of TensorFlow's own and unknown ones, to see which; the engine's
    runtime has none of them. Raises ModelError where the converter gives up even so."""

    def settings(converter: Any) -> None:
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS,
        ]  # fmt: skip
        converter.allow_custom_ops = True
        converter._experimental_lower_tensor_list_ops = False

    return _converted(signatures, settings, "even with ops of TensorFlow's own")


def _converted(
    signatures: Mapping[str, Function], settings: Callable[[Any], None], told: str
) -> bytes:
    module = tf.Module()
    module.functions = dict(signatures)
    # By a SavedModel, as only that keeps the names of inputs and outputs.
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=dict(signatures))
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(signatures)
        )
        settings(converter)
        try:
            with quiet_stderr():
                return bytes(converter.convert())
        except (ConverterError, ValueError, RuntimeError) as error:
            raise ModelError(f"the converter gives up {told}: {_first(error)}") from error


def _first(error: BaseException) -> str:
    """The line of an error that says most: the first that names an error, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if "error:" in line), lines[0] if lines else "no reason")
    return told.rpartition("error: ")[2][:300]


def _plain(converter: Any, samples: Samples) -> None:
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]


def _float16(converter: Any, samples: Samples) -> None:
    _dynamic(converter, samples)
    converter.target_spec.supported_types = [tf.float16]


def _dynamic(converter: Any, samples: Samples) -> None:
    _plain(converter, samples)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _int8(converter: Any, samples: Samples) -> None:
    _dynamic(converter, samples)
    converter.representative_dataset = _dataset(samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]


_FLOAT_ENDS = [
    {"regex": ".*", "operation": end, "algorithm_key": "no_quantize"} for end in ("INPUT", "OUTPUT")
]


def _16x8(signatures: Mapping[str, Function], samples: Samples) -> bytes:
    def settings(converter: Any) -> None:
        _dynamic(converter, samples)
        converter.representative_dataset = _dataset(samples)
        # The second set: what has no int16 kernel stays float.
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,
        ]

    try:
        return _converted(signatures, settings, "in the mode 16x8")
    except ModelError:
        # It trips over integers that are reckoned with, as Keras does with the index of a table.
        return _quantized(
            _converted(signatures, lambda c: _plain(c, {}), "in the mode 16x8"),
            [*_recipes("16x8").static_wi8_ai16(), *_FLOAT_ENDS], samples, "16x8",
        )  # fmt: skip


_SETTINGS: Mapping[str, Callable[[Any, Samples], None]] = {
    "float32": _plain, "float16": _float16, "dynamic": _dynamic, "int8": _int8, "int4": _plain,
}  # fmt: skip


def _dataset(samples: Samples) -> Callable[[], Iterator[tuple[str, dict[str, NDArray[Any]]]]]:
    def feeds() -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
        for name, found in samples.items():
            for feed in found:
                yield name, {key: np.ascontiguousarray(value) for key, value in feed.items()}

    return feeds


def _with_int4(content: bytes) -> bytes:
    """The products of a float file in int4. Raises ModelError where that can't be."""
    recipe = _recipes("int4")
    try:
        return _quantized(content, recipe.dynamic_wi4b32_afp32(), None, "int4")
    except ModelError:  # rows that no blocks of 32 fill
        return _quantized(content, recipe.dynamic_wi4_afp32(), None, "int4")


def _recipes(mode: str) -> Any:
    try:
        from ai_edge_quantizer import recipe
    except ImportError:
        raise ModelError(
            f"the mode {mode} needs the package ai-edge-quantizer; `pip install ai-edge-quantizer`"
        ) from None
    return recipe


def _quantized(content: bytes, recipe: Any, samples: Samples | None, mode: str) -> bytes:
    """A float file by Google's own quantizer of such files, which the converter has no int4 of,
    and which leaves integers alone in 16x8."""
    from ai_edge_quantizer import calibrator, quantizer, recipe_manager
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    try:
        with quiet_stderr(), contextlib.redirect_stdout(io.StringIO()):
            work = quantizer.Quantizer(content)
            work.load_quantization_recipe(recipe)
            ranges = None
            if samples is not None:
                # Its own `calibrate` takes a moving average of the ranges, which cuts off the
                # few large values of a state.
                wanted = recipe_manager.RecipeManager()
                wanted.load_quantization_recipe(recipe)
                measured = calibrator.Calibrator(
                    content, num_threads=1, qsv_update_func=min_max_update
                )
                measured.calibrate({n: list(feeds) for n, feeds in samples.items()}, wanted)
                ranges = measured.get_model_qsvs()
            return merged(bytes(work.quantize(ranges).quantized_model))
    except (ValueError, RuntimeError, NotImplementedError, KeyError) as error:
        raise ModelError(f"the quantizer gives up in the mode {mode}: {_first(error)}") from error
