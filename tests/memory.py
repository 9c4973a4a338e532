"""What loading and typing need of address space: ``python -m tests.memory [BUNDLE]``.

Prints by how many bytes a process grows, at its peak, from ``import kbengine`` to the end
of some typing; the constants of `kbengine.memory` come from it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import kbengine
from kbengine import bundle
from kbengine.serve import Server

# All kinds, an emoji (for which a large library is imported), unknown words, a text beyond
# the window, and earlier messages.
LINES: Sequence[tuple[str, Sequence[str]]] = (
    ("see you tomorr", ()),
    ("happy birthday \U0001f382 pizz", ("When? \U0001f602",)),
    ("caf\u00e9 zzxqvw", ("hi",) * 50),
    ("so we went there and " * 400 + "t", ()),
    ("we ", tuple(f"message {i} of many" for i in range(300))),
)


def type_some(engine: kbengine.Engine) -> int:
    """Suggestions in several fields and by the server; how many came."""
    server = Server(engine, "words:3,phrase:1,emoji:1")
    found = len(server.answer(b'{"op": "predict", "context": "see ", "k": 9}')["candidates"])
    for line, earlier in LINES:
        field = engine.session("words:3,phrase:1,emoji:1")
        for end in range(max(0, len(line) - 30), len(line) + 1):
            field.set_context(line[:end], earlier)
            found += len(field.suggest())
        found += len(engine.suggest(line, 3, earlier))
    return found


def address_space(kind: str) -> int:
    """VmSize or VmPeak of this process, in bytes (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith(kind + ":"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Load, type, and print the growth after each; without the reserve, which would be
    measured along."""
    bundle.reserve = lambda size_bytes: None
    before = address_space("VmSize")
    engine = kbengine.load(*sys.argv[1:])
    loaded = address_space("VmPeak") - before
    type_some(engine)
    parts = sum(map(len, engine.bundle.parts.values()))
    typed = address_space("VmPeak") - before
    print(f"parts {parts:,}, loading {loaded:,}, and typing {typed:,} bytes")


if __name__ == "__main__":
    main()
