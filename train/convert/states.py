"""Which input takes back which output: the states of a recurrent step.

An input can be a state only where some output has its type and shape. Where several have, as h
and c of an LSTM, the names say more than shapes, and running it says what names don't: a state
answers to itself. Let c be moved in one place, then c' moves most in the same place, as it is
c times the forget gate and something; h is mixed by a matrix and moves everything alike. And a
second layer's state moves nothing of the first. So every way to pair them is rated by names and
by what moved, and the best assignment is taken (Jonker & Volgenant 1987, by scipy). Then it is
checked: the steps are run on, each state fed back, and must stay numbers and make a difference.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from train.convert.source import Arrays, Entry, Specs, dims, written

Call = Callable[[Arrays], Mapping[str, NDArray[Any]]]

PROBES = 16  # places that are moved, one after the other
MOVE = 0.05  # so little that a tanh is straight to a thousandth, so much that float32 sees it
# An output answers to its own place if that moves so many times as far as the others. Where it is
# a place like all others the mean of 16 probes is 0.8, with a deviation of 0.15 (half-normal).
OWN = 1.6
MOST_OWN = 100.0
KIN = "answers to its sibling, as h to c"
MAYBE = "called like one, of its shape, and it makes a difference"
# By hand: the sides of one state have 1.0 without these words, h and c have 0.
SAME_NAME = 0.8  # of `difflib.SequenceMatcher`, without the words that say which side it is
_SIDES = re.compile(r"(?<![a-z])(in|out|input|output|next|new|prev|previous|old|init|initial|after"
                    r"|before|t|tm1|1)(?![a-z])")  # fmt: skip
_STATE = re.compile(r"state|hidden|carry|memory|cell|rnn|lstm|gru|(?<![a-z])[hcrs]\d*(?![a-z])")


@dataclass(frozen=True)
class Pair:
    """An input and the output that it takes back at the next step; why: how that was found."""

    into: str
    out: str
    why: str


def find_pairs(entry: Entry, call: Call, feed: Arrays) -> list[Pair]:
    """The states of an entry. call: the source; feed: inputs for a step, of which those that may
    be states are overwritten."""
    groups: dict[tuple[Any, ...], tuple[list[str], list[str]]] = {}
    for name, spec in entry.inputs.items():
        if spec.dtype.is_floating and dims(spec.shape):
            outs = [n for n, s in entry.outputs.items() if _fits(s, spec)]
            if outs:
                key = (spec.dtype.name, tuple(outs))
                groups.setdefault(key, ([], outs))[0].append(name)
    found = [pair for ins, outs in groups.values() for pair in _group(call, feed, ins, outs)]
    return _without_all(found, entry.inputs)


def _fits(out: Any, into: Any) -> bool:
    return bool(out.dtype == into.dtype and out.shape.is_compatible_with(into.shape))


def _group(call: Call, feed: Arrays, ins: list[str], outs: list[str]) -> list[Pair]:
    """The pairs of what has one type and shape."""
    moved, ratio, own = _answers(call, feed, ins, outs)
    likeness = np.array([[_likeness(i, o) for o in outs] for i in ins])
    # A name outweighs all else, and answering to itself all but a name; the rest breaks ties.
    rating = 4.0 * (likeness >= SAME_NAME) + 2.0 * (ratio >= OWN) + own / MOST_OWN
    rating += 0.1 * (likeness + np.minimum(moved, 1))
    rating[moved == 0] = -100
    best = [(i, o) for i, o in zip(*linear_sum_assignment(-rating), strict=True) if moved[i, o]]
    found, left = {}, []
    for i, o in best:
        named, itself = likeness[i, o] >= SAME_NAME, ratio[i, o] >= OWN
        if why := [w for w, holds in (("by name", named), ("answers to itself", itself)) if holds]:
            found[i, o] = " and ".join(why)
        else:
            left.append((i, o))
    # h of an LSTM: h' is made of c', so it answers to c in its own place.
    kin = [(i, o) for i, o in left if any(ratio[sure, o] >= OWN for sure, _ in found)]
    if len(ins) <= len(outs):
        found |= dict.fromkeys(kin, KIN)
        hinted = [(i, o) for i, o in left if _hints(ins[i]) or _hints(outs[o])]
        found |= {pair: MAYBE for pair in hinted if pair not in found}
    return [Pair(ins[i], outs[o], why) for (i, o), why in sorted(found.items())]


def _hints(name: str) -> bool:
    """Whether a name is that of a state."""
    return bool(_STATE.search(name.lower()))


def _without_all(pairs: list[Pair], inputs: Iterable[str]) -> list[Pair]:
    """A step that takes nothing but states would say the same for ever: the weakest of them, and
    of those the first, is what it is told; and where all go by their names, there are no states
    at all, as in what mends a picture."""
    if {pair.into for pair in pairs} < set(inputs):
        return pairs
    weak = [pair for pair in pairs if pair.why in (KIN, MAYBE)]
    weak = weak or [pair for pair in pairs if "by name" not in pair.why]
    return [pair for pair in pairs if pair is not weak[0]] if weak else []


def unpaired(entry: Entry, pairs: Sequence[Pair]) -> list[str]:
    """What could be a state by its shape, or is called like one, and is not: a sentence each."""
    into, out = {pair.into for pair in pairs}, {pair.out for pair in pairs}
    found = []
    for name, spec in entry.inputs.items():
        if name in into or not spec.dtype.is_floating or not dims(spec.shape):
            continue
        fits = [n for n, s in entry.outputs.items() if n not in out and _fits(s, spec)]
        if fits:
            found.append(f"{name} takes nothing back, though {fits[0]} would fit (--state)")
        elif _hints(name):
            found.append(
                f"{name} is called like a state, and no output gives it back (--outputs, --state)"
            )
    return found


def _likeness(into: str, out: str) -> float:
    """From 0 to 1: how alike two names are without the words that say which side they are."""
    one, other = (_SIDES.sub("", re.sub(r"[_/.:]+", " ", n.lower())).split() for n in (into, out))
    return difflib.SequenceMatcher(None, " ".join(one), " ".join(other)).ratio()


def _answers(
    call: Call, feed: Arrays, ins: list[str], outs: list[str]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """What moving inputs does to outputs, float[ins, outs] each: how far they move in all; how
    many times further in the moved place than in the others, up to `MOST_OWN`; and that times how
    far, since where nothing else moves at all, what moves further is the better answer."""
    rng = np.random.default_rng(1)
    at = {**feed, **{n: _small(rng, feed[n]) for n in ins}}
    rest = call(at)
    moved, ratio, own = np.zeros((3, len(ins), len(outs)))
    for row, name in enumerate(ins):
        size = at[name].size
        places = rng.choice(size, min(PROBES, size), replace=False)
        for place in places:
            changed = at[name].copy()
            changed.reshape(-1)[place] += MOVE
            found = call({**at, name: changed})
            for column, out in enumerate(outs):
                change = np.abs(found[out] - rest[out]).reshape(-1) / MOVE
                if change.size != size or not np.isfinite(change).all():
                    continue
                others = np.delete(change, place)
                further = change[place] / (np.sqrt(np.mean(others**2)) + 1e-6) if size > 1 else 0.0
                moved[row, column] += change.mean() / len(places)
                ratio[row, column] += min(further, MOST_OWN) / len(places)
                own[row, column] += min(further, MOST_OWN) * min(1, change[place]) / len(places)
    return moved, ratio, own


def _small(rng: np.random.Generator, like: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = rng.normal(0, 0.3, like.shape).astype(like.dtype)
    return found


def given_pairs(entry: Entry, specs: Sequence[str]) -> list[Pair]:
    """``IN=OUT`` as pairs. Raises ValueError where they are not of this entry or do not fit."""
    found = []
    for text in specs:
        into, equals, out = text.partition("=")
        if not equals or into not in entry.inputs or out not in entry.outputs:
            raise ValueError(
                f"--state {text} names no input and output of {entry.name}; write IN=OUT of "
                f"{', '.join(entry.inputs)} and {', '.join(entry.outputs)}"
            )
        if not _fits(entry.outputs[out], entry.inputs[into]):
            shapes = [written(s.shape) for s in (entry.inputs[into], entry.outputs[out])]
            raise ValueError(
                f"--state {text}: {into} is {shapes[0]}, {out} is {shapes[1]}; a state keeps its "
                "shape and type"
            )
        found.append(Pair(into, out, "given"))
    return found


def faults(
    call: Call, pairs: Sequence[Pair], steps: Sequence[tuple[Arrays, Mapping[str, NDArray[Any]]]]
) -> dict[Pair, str]:
    """What is wrong with pairs that were fed back: they must stay numbers and make a difference.
    steps: inputs, states with them, and outputs of the source."""
    wild = [pair for pair in pairs if not all(np.isfinite(out[pair.out]).all() for _, out in steps)]
    if wild:
        return dict.fromkeys(wild, "does not stay a number when it is fed back")
    # Where a message begins a state has nothing in it yet.
    told = [step for step in steps if any(step[0][pair.into].any() for pair in pairs)]
    if not told:
        return {}
    feed, out = told[-1]
    fresh = call({**feed, **{pair.into: np.zeros_like(feed[pair.into]) for pair in pairs}})
    if all(np.array_equal(fresh[name], out[name]) for name in out):
        return dict.fromkeys(pairs, "makes no difference")
    return {}


def zeros(specs: Specs, pairs: Sequence[Pair], batch: int = 1) -> dict[str, NDArray[Any]]:
    """The states before the first step."""
    return {
        pair.into: np.zeros(
            [batch if n is None else n for n in dims(specs[pair.into].shape) or ()],
            specs[pair.into].dtype.as_numpy_dtype,
        )
        for pair in pairs
    }


def states_of(out: Mapping[str, NDArray[Any]], pairs: Sequence[Pair]) -> dict[str, NDArray[Any]]:
    """The states after a step, as inputs of the next."""
    return {pair.into: out[pair.out] for pair in pairs}
