"""A predictor small enough to work out by hand, for counting with two programs.

As a function for `kbengine.evaluate`, and as a process that speaks the server's JSON lines:

    python tests/small_predictor.py text > small.txt
    python -m bench run --predictor "python tests/small_predictor.py" --data small.txt --out r.json
"""

from __future__ import annotations

import json
import sys

SHOWN = (
    "I", "see", "see you", "the", "to", "you", "Tomorrow", "at the", "at", "and you", "soon",
    "don't", "see you soon", "I'm", "tomorrow", "ok", "be", "bank", "Know", "or not", "me", "to be",
)  # fmt: skip

# Punctuation, digits, hyphens, apostrophes, quotes of both kinds, blanks, an emoji, phrases,
# words at the end of a line, of one letter, in capitals, twice in a line, and unknown ones.
TEXT = """\
See you soon!
I don't know, see you at 10:30
  \u201cDon\u2019t\u201d e-mail me   tomorrow
I'm at the... the bank (today), see you sooner

to be or not to be
\U0001f602 ok, AND you? 2nd
see yourself, Tomorrow
rock'n'roll at the end'
a
"""


def suggest(context: str, prefix: str, k: int = 5) -> list[str]:
    """The first k that begin with the prefix, from another place in the list for each context."""
    start = len(context) % len(SHOWN)
    turned = SHOWN[start:] + SHOWN[:start]
    return [shown for shown in turned if shown.lower().startswith(prefix.lower())][:k]


def serve() -> None:
    """Answer requests until the input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, object] = {"ok": True}
        if request["op"] == "predict":
            reply = {"candidates": suggest(request["context"], request["prefix"], request["k"])}
        elif request["op"] == "info":
            reply = {"name": "small", "version": "1", "model_bytes": 0}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["text"]:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        print(TEXT, end="")
    else:
        serve()
