"""Conversions for tests, and the files that they give stepped by nothing of the converter's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from tests.foreign import WORDS
from train.convert.conversion import Converted, make
from train.convert.source import Source
from train.convert.stepping import Plan
from train.convert.steps import Material

PIECES = np.random.default_rng(3).integers(0, WORDS, 500)
TEXT = Material(PIECES, "of a test")


def converted(source: Source, mode: str = "float32", **plan: Any) -> Converted:
    return make(source, Plan(mode=mode, steps=40, samples=60, **plan), TEXT)


def pairs(made: Converted) -> dict[str, str]:
    return {pair.into: pair.out for each in made.stepped for pair in each.pairs}


def stepper(content: bytes, name: str = "step") -> Any:
    interpreter = Interpreter(model_content=content, num_threads=1)
    found = interpreter.get_signature_runner(name)
    return lambda **feed: {n: np.array(v) for n, v in found(**feed).items()}
