"""Files as an attacker or a bad disk would make them, and child processes to open them in.

A native crash must not end pytest: what has the right hash, and so reaches native code, is
opened by ``python -m tests.hostile SUBJECT FIRST COUNT``, which makes a forgery for each
seed and prints a JSON line with what came of it.
"""

from __future__ import annotations

import copy
import functools
import io
import json
import random
import resource
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np

import kbengine
from kbengine.bundle import PARTS, write_bundle
from kbengine.errors import BundleError, ModelError
from tests.smallmodel import packed, small_model, unpacked
from tests.toys import toy_manifest, toy_parts

ROOT = Path(__file__).parent.parent
MEMORY_BYTES = 2 << 30  # more than any of it may take; a bomb ends its own process here


@functools.cache
def small_parts() -> Mapping[str, bytes]:
    return {**toy_parts(), "model": small_model()}


def small_manifest() -> dict[str, Any]:
    return {**toy_manifest(), "family": "lstm-tflite"}


@functools.cache
def small_bundle() -> bytes:
    """A bundle of the toy world with the small step model, as a file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.bundle"
        write_bundle(path, small_manifest(), small_parts())
        return path.read_bytes()


# Bytes


def flipped(data: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, in all or in the last kilobyte, where an archive lists itself."""
    found = bytearray(data)
    first = draw.choice([0, max(0, len(data) - 1000)])
    for _ in range(draw.choice([1, 1, 2, 8])):
        place = draw.randrange(first, len(found))
        found[place] = draw.choice(
            [0, 255, draw.randrange(256), found[place] ^ 1 << draw.randrange(8)]
        )
    return bytes(found)


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def shifted(data: bytes, draw: random.Random) -> bytes:
    """A stretch left out, put in, or put in twice."""
    place, size = draw.randrange(len(data)), draw.randrange(1, 200)
    middle = draw.choice([b"", draw.randbytes(size), data[place : place + size] * 2])
    return data[:place] + middle + data[place + draw.choice([0, size]) :]


BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (flipped, cut, shifted)


# Archives


def members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(small_bundle())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(found: Mapping[str, bytes] | list[tuple[str, bytes]], **how: Any) -> bytes:
    """An archive of members, which may come twice in a list."""
    out = io.BytesIO()
    rows = list(found.items()) if isinstance(found, Mapping) else found
    with zipfile.ZipFile(out, "w", **how) as archive:
        for name, data in rows:
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=name == "zip64") as member:
                member.write(data)
    return out.getvalue()


def swapped(draw: random.Random) -> bytes:
    found = members()
    one, other = draw.sample(PARTS, 2)
    found[one], found[other] = found[other], found[one]
    return archive_of(found)


def tampered(draw: random.Random) -> bytes:
    """A byte of a part changed by one who knows archives: only the hash can tell."""
    found = members()
    part = draw.choice(PARTS)
    data = bytearray(found[part])
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return archive_of({**found, part: bytes(data)})


def dropped(draw: random.Random) -> bytes:
    found = members()
    del found[draw.choice(list(found))]
    return archive_of(found)


def doubled(draw: random.Random) -> bytes:
    """A member twice, another one's bytes in the second."""
    found = list(members().items())
    return archive_of([*found, (draw.choice(found)[0], draw.choice(found)[1])])


def renamed(draw: random.Random) -> bytes:
    found = members()
    name = draw.choice(list(found))
    data = found.pop(name)
    odd = ["../" + name, "/" + name, name + "\0", name.upper(), "", "\u2581", name + "/"]
    return archive_of({**found, draw.choice(odd): data})


def compressed_otherwise(draw: random.Random) -> bytes:
    out = io.BytesIO()
    method = draw.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members().items():
            archive.writestr(name, data)
    return flipped(out.getvalue(), draw) if draw.random() < 0.5 else out.getvalue()


def forged_header(draw: random.Random) -> bytes:
    """A number of an archive's own lists replaced: flags, method, sizes, places, counts."""
    data = bytearray(small_bundle())
    starts = [i for i in range(len(data)) if data[i : i + 4] in (b"PK\1\2", b"PK\3\4", b"PK\5\6")]
    start = draw.choice(starts)
    fields = {
        b"\1": (6, 8, 10, 16, 20, 24, 28, 30, 32, 42), b"\3": (4, 6, 8, 14, 18, 22, 26, 28),
        b"\5": (4, 6, 8, 10, 12, 16, 20),
    }[bytes(data[start + 2 : start + 3])]  # fmt: skip
    value = draw.choice([0, 1, 99, 0x7FFFFFFF, 0xFFFFFFFF, draw.randrange(1 << 32)])
    place = start + draw.choice(fields)
    size = draw.choice([2, 4])
    data[place : place + size] = struct.pack("<I", value)[:size]
    return bytes(data)


ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63, 10**300, 1.5, "", "x", "0" * 64, "\ud800", "a\nb", [], {},
    [[[]]], {"x": {"y": []}}, float("nan"), float("inf"), "x" * 100_000,
)  # fmt: skip


def forged_manifest(draw: random.Random) -> bytes:
    """A field of the manifest, at any depth, of another type or value, left out, or nested."""
    found = members()
    manifest = json.loads(found["manifest.json"])
    target = draw.choice([manifest, manifest["parts"], manifest["parts"][draw.choice(PARTS)]])
    name = draw.choice(list(target))
    target[name] = draw.choice(ODD)
    text = json.dumps(manifest)
    if draw.random() < 0.2:
        text = text.replace(
            ": ", draw.choice([": [", ": 1e999", ":" + "[" * 20_000, ": " + "9" * 5000]), 1
        )
    return archive_of({**found, "manifest.json": text.encode("utf-8", "surrogatepass")})


FORGERIES: tuple[Callable[[random.Random], bytes], ...] = (
    *(lambda draw, change=change: change(small_bundle(), draw) for change in BYTES),
    tampered, swapped, dropped, doubled, renamed, compressed_otherwise, forged_header,
    forged_manifest,
)  # fmt: skip


def forged_bundle(seed: int) -> bytes:
    """A bundle whose hashes don't fit, unless the forgery left them alone."""
    draw = random.Random(seed)
    return FORGERIES[seed % len(FORGERIES)](draw)


# Parts with the right hash


def corrupt_part(seed: int) -> tuple[str, bytes]:
    """A part beside the model with changed bytes."""
    draw = random.Random(seed)
    part = ("vocabulary", "lexicon", "emoji", "filter", "ngrams")[seed % 5]
    data = small_parts()[part]
    for _ in range(draw.choice([1, 1, 5])):
        data = draw.choice(BYTES)(data, draw) or b"\0"
    return part, data


def corrupt_model(seed: int) -> tuple[str, bytes]:
    """The small model with changed bytes; half of them in one of its numbers of 4 bytes."""
    draw = random.Random(seed)
    data = bytearray(small_model())
    for _ in range(draw.choice([1, 1, 2, 5])):
        if draw.random() < 0.5:
            data = bytearray(flipped(bytes(data), draw))
            continue
        place = 4 * draw.randrange(len(data) // 4)
        (old,) = struct.unpack_from("<i", data, place)
        new = draw.choice([old + 1, old - 1, old + 4, -1, 0, 2**31 - 1, old * 2, -old])
        struct.pack_into("<I", data, place, new & 0xFFFFFFFF)
    return "model", bytes(data)


def foreign_model(seed: int) -> tuple[str, bytes]:
    """The small model well built, but of another network: a few attributes of it altered."""
    draw = random.Random(seed)
    model = copy.deepcopy(unpacked(small_model()))
    for _ in range(draw.choice([1, 1, 2])):
        _alter(model, draw)
    return "model", packed(model)


def _alter(model: Any, draw: random.Random) -> None:
    """One number, list or byte string of one object of a model, replaced by another."""
    objects = list(_objects(model))
    kind = draw.choice(sorted({type(o).__name__ for o in objects}))
    target = draw.choice([o for o in objects if type(o).__name__ == kind])
    names = [n for n, v in vars(target).items() if v is None or not hasattr(v, "__dict__")]
    name = draw.choice(names)
    value = getattr(target, name)
    if isinstance(value, bool):
        value = not value
    elif isinstance(value, int):
        value = draw.choice([0, 1, 2, 3, value + 1, max(0, value - 1), 9, 17, 100])
    elif isinstance(value, float):
        value = draw.choice([0.0, 1.0])
    elif isinstance(value, bytes):
        value = draw.choice([b"", b"logits", b"state", b"piece", b"\xff", b"x" * 10_000])
    elif isinstance(value, np.ndarray) and value.dtype == np.uint8:
        fewer = value[: draw.randrange(len(value))]
        float_bits = np.frombuffer(struct.pack("<f", draw.choice([np.nan, np.inf, 1e30])), np.uint8)
        value = draw.choice([fewer, np.tile(float_bits, max(1, len(value) // 4)), None])
    elif isinstance(value, list | np.ndarray) and len(value):
        items = list(value)
        draw.choice([items.reverse, items.pop, lambda: items.append(items[0])])()
        if items and isinstance(items[0], int | np.integer) and draw.random() < 0.6:
            items[draw.randrange(len(items))] = draw.choice([-1, 0, 1, 2, 7, 40, 2**20, 2**31 - 1])
        value = items
    setattr(target, name, value)


def _objects(target: Any) -> Iterator[Any]:
    """All objects of the schema below one."""
    yield target
    for value in vars(target).values():
        for inner in value if isinstance(value, list) else [value]:
            if hasattr(inner, "__dict__") and not isinstance(inner, np.ndarray):
                yield from _objects(inner)


SUBJECTS: Mapping[str, Callable[[int], tuple[str, bytes]]] = {
    "part": corrupt_part, "model": corrupt_model, "foreign": foreign_model,
}  # fmt: skip


# Opening them


@dataclass(frozen=True)
class Verdict:
    """What came of a file: "loaded", or the name of the error and its message."""

    seed: int
    result: str
    message: str = ""

    def check(self) -> None:
        """Refused in one sentence by an error of ours, or loaded."""
        if self.result != "loaded":
            assert self.result in ("BundleError", "ModelError"), self
            assert one_sentence(self.message), self


def one_sentence(told: str) -> bool:
    """Whether a message is one short sentence with a mend behind its semicolon or dash."""
    return told.isprintable() and 20 < len(told) < 300 and "; " in told and "Traceback" not in told


def verdict(path: Path, seed: int = 0) -> Verdict:
    """Load a bundle and, where it loads, type a little with it."""
    try:
        engine = kbengine.load(path)
    except (BundleError, ModelError) as error:
        return Verdict(seed, type(error).__name__, str(error))
    for line in ("", "see you t", "happy birthday ", "xq", "100 \u2764"):
        engine.suggest(line, 5, earlier=["hello"])
    return Verdict(seed, "loaded")


def opened_in_children(subject: str, count: int, batch: int = 250) -> list[Verdict]:
    """What came of `count` forgeries, opened in child processes one after the other.

    Raises AssertionError, with the seed, where a child crashes, hangs or prints a traceback.
    """
    found: list[Verdict] = []
    while len(found) < count:
        first, size = len(found), min(batch, count - len(found))
        command = [sys.executable, "-m", "tests.hostile", subject, str(first), str(size)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=600, check=False)
        rows = [Verdict(*json.loads(line)) for line in done.stdout.splitlines()]
        seed = first + len(rows)
        assert done.returncode == 0, f"{subject} {seed}: {done.returncode} {done.stderr[-800:]!r}"
        assert len(rows) == size
        found += rows
    return found


def run_limited(room_bytes: int, program: str, *arguments: str) -> CompletedProcess[str]:
    """Run a program in a child that may grow by `room_bytes` of address space from where it
    stands with kbengine imported."""
    head = (
        "import resource, sys\nfrom pathlib import Path\nimport kbengine\n"
        "from tests.memory import address_space\n"
        f"most = address_space('VmSize') + {room_bytes}\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
    )
    command = [sys.executable, "-c", head + program, *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def main() -> None:
    """See the module's docstring."""
    subject, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forged.bundle"
        for seed in range(first, first + count):
            part, data = SUBJECTS[subject](seed)
            write_bundle(path, small_manifest(), {**small_parts(), part: data})
            told = verdict(path, seed)
            print(json.dumps([told.seed, told.result, told.message]), flush=True)


if __name__ == "__main__":
    main()
