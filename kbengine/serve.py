"""JSON lines on stdin and stdout, so that an input method in any language can ask.

One request a line, one reply a line, in order; end of input ends the server. A line that
cannot be answered gets ``{"error": "one sentence"}`` and the server goes on.

    {"op": "predict", "context": "see you ", "prefix": "to", "k": 5, "earlier": ["hi"]}
        -> {"candidates": ["tomorrow", ...], "scores": [-0.4, ...], "kinds": ["word", ...],
            "replaces": [2, ...]}
    {"op": "predict", ..., "touches": [[4.5, 0.7], null]}
        -> the same by where the fingers fell, in key widths
    {"op": "predict", ..., "prefix": "tomorrow", "done": true}
        -> the words that a finished one may stand for, itself among them; and
           "commit": "tomorrow", "commit_p": 0.98: what a space would commit
    {"op": "emoji", "context": "happy birthday ", "k": 5}
        -> {"candidates": ["🎂", ...], "scores": [...], "trigger": 0.1}
    {"op": "emoji", "name": "pizz", "k": 5, "language": "en"}
        -> {"candidates": ["🍕", ...]}
    {"op": "explain", "context": "see you ", "prefix": "to", "candidate": "tomorrow"}
        -> {"logp": -0.4, "score": -0.4, "kind": "word", "parts": {"language model": -1.2, ...}}
    {"op": "info"}      -> {"name", "version", "model_bytes", ...}
    {"op": "learn"}     -> {"ok": false, "reason": ...} until learning exists
    {"op": "reset"}     -> {"ok": true}: there is nothing to forget yet
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from kbengine.autocorrect import margin
from kbengine.emojistyle import PLAIN, EmojiStyle
from kbengine.engine import Engine, context_of
from kbengine.layout import Layout
from kbengine.mix import Slots
from kbengine.predict import MOST, Wish
from kbengine.sources.phrases import PhraseOptions
from kbengine.types import Context, Tap

MAX_LINE_BYTES = 1 << 20


class RequestError(ValueError):
    """A request that cannot be answered, in one sentence."""


class Server:
    """Answers requests one after the other, over one text field at a time."""

    def __init__(
        self,
        engine: Engine,
        slots: str = "words",
        unfiltered: bool = False,
        emoji_style: EmojiStyle = PLAIN,
        phrases: float = PhraseOptions.coverage,
        autocorrect: str = "normal",
        channel: bool = True,
        layout: Layout | None = None,
    ) -> None:
        """Raises ValueError for slots that cannot be read, and for no margin."""
        self._engine = engine
        self._wish = Wish(Slots.parse(slots), unfiltered, emoji_style, phrases)
        self._margin = margin(autocorrect)
        self._predictor = engine.predictor(channel, layout)
        if self._wish.slots is None or self._wish.slots.wants("emoji"):
            self._predictor.emoji.prepare()
        self._ops: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "predict": self._predict,
            "emoji": self._emoji,
            "explain": self._explain,
            "info": self._info,
            "learn": lambda request: {"ok": False, "reason": "this version does not learn yet"},
            "reset": lambda request: {"ok": True},
        }

    def run(self, lines: BinaryIO, out: BinaryIO) -> None:
        """Serve until the input ends."""
        while line := lines.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                while not line.endswith(b"\n") and (line := lines.readline(MAX_LINE_BYTES)):
                    pass
                reply = {"error": f"the line is longer than {MAX_LINE_BYTES} bytes; send less text"}
            else:
                reply = self.answer(line)
            out.write(json.dumps(reply).encode() + b"\n")
            out.flush()

    def answer(self, line: bytes) -> dict[str, Any]:
        """The reply to one line."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "the line is not JSON; send one object a line"}
        if not isinstance(request, dict):
            return {"error": 'the line is not a JSON object; send {"op": ...}'}
        op = self._ops.get(request["op"]) if isinstance(request.get("op"), str) else None
        if op is None:
            return {"error": f"there is no such op; the ops are {', '.join(self._ops)}"}
        try:
            return op(request)
        except RequestError as error:
            return {"error": str(error)}

    def _predict(self, request: Mapping[str, Any]) -> dict[str, Any]:
        context, k, earlier = _common(request)
        prefix = request.get("prefix", "")
        if not isinstance(prefix, str):
            raise RequestError("prefix must be a string")
        touches = _touches(request.get("touches"), len(prefix))
        taps = tuple(Tap(char, *place) for char, place in zip(prefix, touches, strict=True))
        place = Context(earlier, context, taps)
        if _flag(request, "done"):
            found = self._predictor.finish(place, k, self._wish.unfiltered)
        else:
            found = self._predictor.suggest(place, k, self._wish)
        reply: dict[str, Any] = {
            "candidates": [c.text for c in found],
            "scores": [round(c.logp, 4) for c in found],
            "kinds": [c.kind for c in found],
            "replaces": [c.replaces for c in found],
        }
        if _flag(request, "done"):
            # Of the prefix alone: what stands before it is the host's.
            made = self._predictor.autocorrect(
                place, self._margin, self._wish.unfiltered, joins=False
            )
            if made is not None:
                reply |= {"commit": made.text, "commit_p": round(made.p, 4)}
        return reply

    def _emoji(self, request: Mapping[str, Any]) -> dict[str, Any]:
        context, k, earlier = _common(request)
        style = self._wish.emoji_style
        if "name" in request:
            name, language = request["name"], request.get("language")
            if not isinstance(name, str) or not isinstance(language, str | None):
                raise RequestError("name and language must be strings")
            try:
                return {"candidates": self._engine.find_emoji(name, k, language, style)}
            except ValueError as error:
                raise RequestError(str(error)) from error
        prefix = request.get("prefix", "")
        if not isinstance(prefix, str):
            raise RequestError("prefix must be a string")
        place = context_of(context + prefix, earlier)
        wish = replace(self._wish, slots=Slots.parse("emoji"))
        found = self._predictor.emoji_for(place, k, wish)
        return {
            "candidates": [c.text for c in found],
            "scores": [round(c.logp, 4) for c in found],
            "trigger": round(math.exp(self._predictor.emoji_logp(place)), 6),
        }

    def _explain(self, request: Mapping[str, Any]) -> dict[str, Any]:
        context, _, earlier = _common(request)
        prefix, wanted = request.get("prefix", ""), request.get("candidate")
        if not isinstance(prefix, str) or not isinstance(wanted, str):
            raise RequestError("prefix and candidate must be strings")
        try:
            found = self._engine.explain(Context(earlier, context, tuple(map(Tap, prefix))), wanted)
        except ValueError as error:
            raise RequestError(str(error)) from error
        parts = {name: round(value, 4) for name, value in found.parts.items()}
        scores = {"logp": round(found.logp, 4), "score": round(found.score, 4)}
        return {**scores, "kind": found.kind, "parts": parts}

    def _info(self, request: Mapping[str, Any]) -> dict[str, Any]:
        bundle = self._engine.bundle
        return {
            "name": "kbengine",
            "version": bundle.name,
            "model_bytes": bundle.file_bytes,
            "slots": str(self._wish.slots),
            "note": bundle.manifest.get("notice", ""),
        }


def _common(request: Mapping[str, Any]) -> tuple[str, int, tuple[str, ...]]:
    """Context, k and earlier messages of a request."""
    context, k, earlier = (
        request.get("context", ""),
        request.get("k", 3),
        request.get("earlier", []),
    )
    if not isinstance(context, str):
        raise RequestError("context must be a string")
    if type(k) is not int or not 1 <= k <= MOST:
        raise RequestError(f"k must be a whole number from 1 to {MOST}")
    if not isinstance(earlier, list) or not all(isinstance(m, str) for m in earlier):
        raise RequestError("earlier must be a list of strings, the oldest first")
    return context, k, tuple(earlier)


def _flag(request: Mapping[str, Any], name: str) -> bool:
    """A field that is true or false, false where it is missing."""
    value = request.get(name, False)
    if not isinstance(value, bool):
        raise RequestError(f"{name} must be true or false")
    return value


def _touches(touches: Any, size: int) -> list[tuple[float, float] | tuple[()]]:
    """Where the finger fell, for each typed character; () where that is not known."""
    if touches is None:
        return [()] * size
    if not isinstance(touches, list) or len(touches) != size:
        raise RequestError(
            "touches must be a list with one [x, y] or null for each letter of prefix"
        )
    found: list[tuple[float, float] | tuple[()]] = []
    for touch in touches:
        if touch is None:
            found.append(())
        elif (
            isinstance(touch, list)
            and len(touch) == 2
            and all(type(v) in (int, float) and abs(v) < 1e6 for v in touch)
        ):
            found.append((float(touch[0]), float(touch[1])))
        else:
            raise RequestError("each of touches must be [x, y] in key widths, or null")
    return found
