"""The shipping form of a bundle: `kbengine.shipping` says what it is, `docs/shipping.md` what it
costs. Nothing is left under its name unless a process of its own has restored it bit by bit."""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kbengine import restored
from kbengine.bundle import FAMILIES, Bundle, described, read_bundle, write_bundle
from kbengine.coding import encode_grid
from kbengine.container import member_bytes
from kbengine.errors import BundleError
from kbengine.files import check_target
from kbengine.protocols import LanguageModel
from kbengine.quiet import quiet_stderr
from kbengine.shipping import GRID, Stretch, is_shipped, write_shipped
from train import coarse, tables
from train.agreement import Agreement
from train.pieces import DEFAULT_TEXT, read_pieces
from train.progress import Progress
from train.shipping import Grid, bound_bytes, stretches

HELP = "make the shipping form of a bundle: smaller, and restored exactly at its first load"
GOES_ON_GRIDS = "lstm-tflite"  # the family whose weights --share may make coarser
_ROOM_BYTES = 1024  # for `lossy` in the manifest, 181 bytes of JSON, and the rows of grids


class Plan(NamedTuple):
    """A bundle that is shipped: its whole manifest, parts, and their coding; agreement: its model
    with the given one's."""

    manifest: Mapping[str, Any]
    parts: Mapping[str, bytes]
    coding: Mapping[str, Sequence[Stretch]]
    grids: Mapping[int, Grid]
    agreement: Agreement


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="a .bundle file")
    add("--ship", type=Path, metavar="OUT", help="write the shipping form")
    add("--share", type=float, metavar="S",
        help="at most this share of the bundle's bytes (0.65), with coarser weights where it "
        "takes them; without it every part stays bit by bit what it is")  # fmt: skip
    add("--runnable", type=Path, metavar="FILE.bundle",
        help="write also the bundle that the shipping form is restored to")  # fmt: skip
    add("--text", nargs="+", type=Path, default=[DEFAULT_TEXT], metavar="FILE",
        help="what the models are compared on (default: data/chat_dev.txt)")  # fmt: skip
    add("--pieces", type=int, default=6000, help="of the text, at most (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Make, check and tell. Raises ValueError, OSError or KbengineError, and leaves no file."""
    _check(args)
    bundle = read_bundle(args.bundle)
    pieces = _pieces(args.text, bundle.parts["vocabulary"], args.pieces)
    with Progress("coding", len(bundle.parts) + coarse.ROUNDS, "step") as bar:
        plan = _lossless(bundle, bar)
        with tempfile.TemporaryDirectory(dir=args.ship.absolute().parent) as folder:
            unchecked = Path(folder) / args.ship.name
            size = _write(unchecked, plan)
            if args.share is not None and size > args.share * bundle.file_bytes:
                plan = _lossy(bundle, plan, args.share, size, pieces, bar)
                size = _write(unchecked, plan)
            restore_s = _restored_bit_by_bit(unchecked, plan)
            os.replace(unchecked, args.ship)
    if args.runnable is not None:
        write_bundle(args.runnable, plan.manifest, plan.parts)
    _tell(args, bundle, plan, size, restore_s)


def _check(args: argparse.Namespace) -> None:
    if args.ship is None:
        raise ValueError("give --ship OUT: where the shipping form of the bundle is to be written")
    if args.share is not None and not 0 < args.share <= 1:
        raise ValueError(f"--share {args.share:g} is no share; give one of 0 to 1, such as 0.65")
    if args.pieces < 2:
        raise ValueError(f"--pieces {args.pieces} compare nothing; give 2 or more")
    for path in filter(None, (args.ship, args.runnable)):
        check_target(path, args.bundle, *args.text)
    if args.runnable is not None and args.ship.resolve() == args.runnable.resolve():
        raise ValueError("--ship and --runnable name one file; give each its own")
    if is_shipped(args.bundle):
        raise ValueError(
            f"{args.bundle} is shipped already; give the bundle that it was made of, or what "
            "`kbengine models restore` makes of it"
        )


def _pieces(paths: Sequence[Path], vocabulary: bytes, most: int) -> NDArray[np.int32]:
    """The first pieces of each text, equally many of each."""
    each = max(2, most // len(paths))
    return np.concatenate([read_pieces([path], vocabulary)[:each] for path in paths])


def _lossless(bundle: Bundle, bar: Progress) -> Plan:
    coding = {}
    for name, data in bundle.parts.items():
        coding[name] = stretches(name, data)
        bar.step(1, name)
    return Plan(bundle.manifest, bundle.parts, coding, {}, Agreement())


def _lossy(
    bundle: Bundle,
    lossless: Plan,
    share: float,
    lossless_bytes: int,
    pieces: NDArray[np.int32],
    bar: Progress,
) -> Plan:
    """The finest grids that leave room for all else in the share. Raises ValueError."""
    if bundle.manifest["family"] != GOES_ON_GRIDS:
        raise ValueError(
            f"the weights of a model of the family {bundle.manifest['family']} cannot be coarser; "
            "leave --share out"
        )
    content = bundle.parts["model"]
    with quiet_stderr():  # the runtime tells of its delegate
        given = FAMILIES[GOES_ON_GRIDS](content)
    expected = coarse.usage(given, pieces)
    places = coarse.coarser(content, expected, 1.0).grids
    fixed, start = lossless_bytes + _ROOM_BYTES, 0
    for stretch in lossless.coding["model"]:
        fixed -= len(stretch.data) * (start in places)
        start += stretch.raw_bytes
    found = coarse.fit(
        content, expected, share * bundle.file_bytes - fixed,
        lambda tried: sum(len(encode_grid(*grid)) for grid in tried.grids.values()),
        lambda: bar.step(1, "grids"),
    )  # fmt: skip
    if found is None:
        raise ValueError(f"--share {share:g} is less than the parts beside the weights; give more")
    agreement = compared(given, FAMILIES[GOES_ON_GRIDS](found.content), pieces)
    parts = {**bundle.parts, "model": found.content}
    told = {
        "share": share, "perplexity": round(agreement.perplexity, 4),
        "top1": round(agreement.top1, 4), "steps": agreement.steps,
        "model_sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    # A name of its own, so that both may stand in one index.
    name = f"{bundle.manifest['name']}-{share * 100:.0f}"
    manifest = {**bundle.manifest, "name": name, "lossy": told, "parts": described(parts)}
    coding = {**lossless.coding, "model": stretches("model", found.content, found.grids)}
    return Plan(manifest, parts, coding, found.grids, agreement)


def compared(given: LanguageModel, found: LanguageModel, pieces: NDArray[np.integer]) -> Agreement:
    """How near `found` is to `given` along pieces, each on its own drifting state."""
    agreement = Agreement()
    state, own = given.start(), found.start()
    for piece, right in zip(pieces[:-1].tolist(), pieces[1:].tolist(), strict=True):
        wanted, (state,) = given.step([piece], [state])
        got, (own,) = found.step([piece], [own])
        agreement.add(wanted[0], got[0], right)
    return agreement


def _write(path: Path, plan: Plan) -> int:
    write_shipped(path, plan.manifest, plan.coding)
    return path.stat().st_size


def _restored_bit_by_bit(path: Path, plan: Plan) -> float:
    """Restore a shipped file in a fresh process; returns the seconds that it takes here.

    Raises BundleError where a bit is another.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "restored.bundle"
        command = [
            sys.executable,
            "-m",
            "kbengine",
            "models",
            "restore",
            str(path),
            "--out",
            str(out),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BundleError(f"nothing was written, since {done.stderr.strip()}")
        back = read_bundle(out)
        if back.parts != plan.parts or back.manifest != plan.manifest:
            raise BundleError("nothing was written, since it is not restored to what was shipped")
        start = time.perf_counter()
        restored.restore(path, out)
        return time.perf_counter() - start


# Telling

COLUMNS = ("part", "#raw bytes", "#in the bundle", "#shipped", "#entropy bound")


def _tell(
    args: argparse.Namespace, bundle: Bundle, plan: Plan, size: int, restore_s: float
) -> None:
    in_bundle = member_bytes(args.bundle)
    rows = []
    for name, data in plan.parts.items():
        coded = plan.coding[name]
        grids = plan.grids if name == "model" else {}
        bound = bound_bytes(data, coded, grids)
        rows.append((len(data), in_bundle[name], sum(len(s.data) for s in coded), round(bound)))
    raw, _, shipped, bound = (sum(column) for column in zip(*rows, strict=True))
    rows.append((raw, bundle.file_bytes, size, bound))
    cells = [
        (name, *(f"{n:,}" for n in row))
        for name, row in zip([*plan.parts, "all"], rows, strict=True)
    ]
    tables.show(tables.console(), f"{args.ship} of {bundle.name}", COLUMNS, cells)
    print(
        f"{size / bundle.file_bytes:.1%} of the bundle's bytes, {size / raw:.1%} of its raw parts "
        f"({size - shipped:,} bytes are manifest and archive)"
    )
    print("entropy bound: order 0, of the codes of weights and of bytes elsewhere; LZMA goes below")
    print(f"{_kind(plan)}; restored bit by bit in a fresh process, here in {restore_s:.2f} s")


def _kind(plan: Plan) -> str:
    if not plan.grids:
        return "lossless: perplexity x1.0000, same best piece in 100.0%, since no bit is another"
    codes = sum(len(s.data) for s in plan.coding["model"] if s.kind == GRID)
    weights = sum(grid.codes.size for grid in plan.grids.values())
    found = plan.agreement
    return (
        f"lossy: {8 * codes / weights:.2f} bits a weight, perplexity x{found.perplexity:.4f}, same "
        f"best piece in {found.top1:.1%} of {found.steps:,} steps"
    )
