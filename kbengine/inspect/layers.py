"""Where the boxes of a graph go: in rows, every line downwards, few crossings.

The way of Sugiyama, Tagawa and Toda (1981), each step in its plainest form: rows by the
longest path, the order within rows by barycentres, places by least squares. No library does
it here: Graphviz is a program that pip can't bring along, and the layouts in JavaScript
(dagre, ELK) would have to be shipped in every page and run there.

Time grows with the lengths of the lines in rows, all together; whoever calls bounds them.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# All lengths are in the units of the sizes that are given (pixels), chosen by eye.
GAP = 24.0  # between boxes side by side
LINE_GAP = 12.0  # between a line that passes and what is beside it
ROW_GAP = 36.0
PORT_GAP = 20.0  # between the ends of lines at one box, where it is wide enough
ORDER_SWEEPS = 12
PLACE_SWEEPS = 12

Point = tuple[float, float]
Line = tuple[int, int]  # the number of a net, and the box that it goes to


@dataclass(frozen=True, slots=True)
class Net:
    """Lines from one box to others that carry the same and share their way.

    Every target has a higher number than the source, and stands there once.
    """

    source: int
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """places: left and top of each box. lines: an even number of points for each, from the
    lower edge of a box to the upper edge of another. From the first straight down to the
    second, a curve to the third, straight down to the fourth, and so on."""

    width: float
    height: float
    places: tuple[Point, ...]
    lines: Mapping[Line, tuple[Point, ...]]


def layout(sizes: Sequence[Point], nets: Sequence[Net]) -> Layout:
    """Places for boxes of these widths and heights."""
    widths = [width for width, _ in sizes]
    rows = _Rows(_ranks(len(sizes), nets), nets)
    rows.sort()
    centres = rows.centres(widths)
    heights = [0.0] * len(rows.rows)
    for (_, height), rank in zip(sizes, rows.ranks, strict=False):
        heights[rank] = max(heights[rank], height)
    tops = [0.0, *itertools.accumulate(height + ROW_GAP for height in heights)]
    bands = [(top, top + height) for top, height in zip(tops, heights, strict=False)]
    places = [
        (x - width / 2, tops[rank] + (heights[rank] - height) / 2)
        for (width, height), rank, x in zip(sizes, rows.ranks, centres, strict=False)
    ]
    edges = [(y, y + height) for (_, y), (_, height) in zip(places, sizes, strict=True)]
    outs, ins = _ports(rows, centres, widths)
    lines = {}
    for line, way in rows.ways.items():
        net, target = line
        source = way[0]
        points = [(outs[net], edges[source][1]), (outs[net], bands[rows.ranks[source]][1])]
        for item in way[1:-1]:
            points += [(centres[item], y) for y in bands[rows.ranks[item]]]
        points += [(ins[line], bands[rows.ranks[target]][0]), (ins[line], edges[target][0])]
        lines[line] = tuple(points)
    right = [x + width for (x, _), width in zip(places, widths, strict=True)]
    right += centres[len(sizes) :]
    return Layout(max(right, default=0.0), bands[-1][1] if bands else 0.0, tuple(places), lines)


def _ranks(n_boxes: int, nets: Sequence[Net]) -> list[int]:
    """The row of each box: as high as may be, but a box that more lines leave than reach
    stands as low as may be, which shortens them."""
    found = [0] * n_boxes
    surplus = [0] * n_boxes  # of lines that leave
    by_source: list[list[int]] = [[] for _ in range(n_boxes)]
    for net in nets:
        by_source[net.source] += net.targets
    for source, targets in enumerate(by_source):
        surplus[source] += len(targets)
        for target in targets:
            found[target] = max(found[target], found[source] + 1)
            surplus[target] -= 1
    for source in reversed(range(n_boxes)):
        if surplus[source] > 0:
            found[source] = min(found[target] for target in by_source[source]) - 1
    places = {rank: i for i, rank in enumerate(sorted(set(found)))}  # none is left empty
    return [places[rank] for rank in found]


class _Rows:
    """The items of each row from left to right: boxes, by their numbers, and above these
    the joints, where a net passes a row.

    Attributes:
        rows: row -> items. ranks: item -> row. ways: the items of each line, ends and all.
    """

    def __init__(self, ranks: list[int], nets: Sequence[Net]) -> None:
        self._n_boxes = len(ranks)
        self.ranks = list(ranks)
        self.rows: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
        for box, rank in enumerate(ranks):
            self.rows[rank].append(box)
        self._up: list[list[int]] = [[] for _ in ranks]
        self._down: list[list[int]] = [[] for _ in ranks]
        self.ways: dict[Line, tuple[int, ...]] = {}
        self._chains: list[list[int]] = []  # the joints of each net, from the top down
        for number, net in enumerate(nets):
            chain = [net.source]
            for target in sorted(net.targets, key=lambda target: ranks[target]):
                while ranks[target] - ranks[net.source] > len(chain):
                    chain.append(self._joint(chain[-1]))
                self._link(chain[ranks[target] - ranks[net.source] - 1], target)
                self.ways[number, target] = (*chain[: ranks[target] - ranks[net.source]], target)
            self._chains.append(chain[1:])

    def _joint(self, above: int) -> int:
        item = len(self.ranks)
        self.ranks.append(self.ranks[above] + 1)
        self.rows[self.ranks[item]].append(item)
        self._up.append([])
        self._down.append([])
        self._link(above, item)
        return item

    def _link(self, above: int, below: int) -> None:
        self._down[above].append(below)
        self._up[below].append(above)

    def sort(self) -> None:
        """Order the rows: each item where those that it is linked with stand on average,
        from the top down and from the bottom up by turns; the best of all is kept."""
        best, fewest = [list(row) for row in self.rows], self._crossings()
        for sweep in range(ORDER_SWEEPS):
            if not fewest:
                break
            for row, links in self._sweep(sweep % 2 == 1):
                self._sort(row, links)
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(row) for row in self.rows], crossings
        self.rows = best

    def _sweep(self, upwards: bool) -> Iterable[tuple[list[int], list[list[int]]]]:
        """The rows in turn, and what each item is linked with in the row before."""
        rows, links = (reversed(self.rows), self._down) if upwards else (self.rows, self._up)
        return ((row, links) for row in rows)

    def _sort(self, row: list[int], links: list[list[int]]) -> None:
        place = self._place
        means = {
            item: sum(place[other] for other in links[item]) / len(links[item])
            if links[item] else place[item]
            for item in row
        }  # fmt: skip
        row.sort(key=means.__getitem__)
        for i, item in enumerate(row):
            place[item] = i

    def _crossings(self) -> int:
        """How often lines cross; also notes where each item stands in its row."""
        self._place = [0] * len(self.ranks)
        for row in self.rows:
            for i, item in enumerate(row):
                self._place[item] = i
        count = 0
        for row in self.rows:
            below = [sorted(self._place[other] for other in self._down[item]) for item in row]
            count += _inversions(itertools.chain.from_iterable(below))
        return count

    def centres(self, widths: Sequence[float]) -> list[float]:
        """Where the middle of each item is, the leftmost edge at 0: near to those that it is
        linked with, and no nearer to its neighbours than the gaps."""
        sizes = [*widths, *[0.0] * (len(self.ranks) - self._n_boxes)]
        found = [0.0] * len(sizes)
        gaps = {}
        for r, row in enumerate(self.rows):
            gaps[r] = [
                (sizes[a] + sizes[b]) / 2 + (GAP if max(a, b) < self._n_boxes else LINE_GAP)
                for a, b in itertools.pairwise(row)
            ]
            self._settle(row, gaps[r], [[]] * len(sizes), found)
        both = [up + down for up, down in zip(self._up, self._down, strict=True)]
        for sweep in range(PLACE_SWEEPS):
            for row, links in self._sweep(sweep % 2 == 1):
                if row:
                    self._settle(row, gaps[self.ranks[row[0]]], links, found)
        for r, row in enumerate(self.rows):
            self._settle(row, gaps[r], both, found)
        self._straighten(gaps, found)
        left = min((x - size / 2 for x, size in zip(found, sizes, strict=True)), default=0.0)
        return [x - left for x in found]

    def _straighten(self, gaps: Mapping[int, list[float]], found: list[float]) -> None:
        """Move the joints of each net, as many in a row as can be, to one place: what is left
        are few bends. Their neighbours stay."""
        place = {item: i for row in self.rows for i, item in enumerate(row)}
        for chain in self._chains:
            start, low, high = 0, -math.inf, math.inf
            for n, item in enumerate([*chain, None]):
                if item is not None:
                    row, gap, i = self.rows[self.ranks[item]], gaps[self.ranks[item]], place[item]
                    least = found[row[i - 1]] + gap[i - 1] if i else -math.inf
                    most = found[row[i + 1]] - gap[i] if i + 1 < len(row) else math.inf
                    if max(low, least) <= min(high, most):
                        low, high = max(low, least), min(high, most)
                        continue
                stretch = chain[start:n]
                if stretch:
                    mean = sum(found[joint] for joint in stretch) / len(stretch)
                    for joint in stretch:
                        found[joint] = min(max(mean, low), high)
                if item is not None:
                    start, low, high = n, least, most

    def _settle(
        self, row: list[int], gaps: list[float], links: list[list[int]], found: list[float]
    ) -> None:
        wishes, weights = [], []
        for item in row:
            # A long line should be straight before all: 1, 2, 8 are Gansner's (1993) weights
            # for links of two boxes, of a box and a joint, of two joints.
            pull = [(1, 2, 8)[(item >= self._n_boxes) + (o >= self._n_boxes)] for o in links[item]]
            total = sum(pull)
            wished = sum(w * found[o] for w, o in zip(pull, links[item], strict=True))
            wishes.append(wished / total if total else found[item])
            weights.append(float(total or 1))
        for item, x in zip(row, _spread(wishes, weights, gaps), strict=True):
            found[item] = x


def _inversions(numbers: Iterable[int]) -> int:
    """How many pairs stand in the wrong order."""
    count = 0
    seen: list[int] = []
    for number in numbers:
        place = bisect_right(seen, number)
        count += len(seen) - place
        seen.insert(place, number)
    return count


def _spread(wishes: list[float], weights: list[float], gaps: list[float]) -> list[float]:
    """The places nearest to the wishes (weighted least squares) with at least such gaps.

    Less what the gaps add up to it is an isotonic regression, and pooling those that
    stand in each other's way solves it.
    """
    offsets = [0.0, *itertools.accumulate(gaps)]
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for wish, weight, offset in zip(wishes, weights, offsets, strict=False):
        pool = (wish - offset, weight, 1)
        while pools and pools[-1][0] >= pool[0]:
            mean, heavy, count = pools.pop()
            total = heavy + pool[1]
            pool = ((mean * heavy + pool[0] * pool[1]) / total, total, count + pool[2])
        pools.append(pool)
    means = itertools.chain.from_iterable([mean] * count for mean, _, count in pools)
    return [mean + offset for mean, offset in zip(means, offsets, strict=False)]


def _ports(
    rows: _Rows, centres: Sequence[float], widths: Sequence[float]
) -> tuple[dict[int, float], dict[Line, float]]:
    """Where each net leaves its box, and where each line reaches its own: side by side, in
    the order in which they come."""
    leaving: dict[int, dict[int, list[float]]] = {}
    reaching: dict[int, list[tuple[float, Line]]] = {}
    for line, way in rows.ways.items():
        leaving.setdefault(way[0], {}).setdefault(line[0], []).append(centres[way[1]])
        reaching.setdefault(way[-1], []).append((centres[way[-2]], line))
    outs: dict[int, float] = {}
    for box, nets in leaving.items():
        order = sorted(nets, key=lambda net: (sum(nets[net]) / len(nets[net]), net))
        outs |= zip(order, _side_by_side(centres[box], widths[box], len(order)), strict=True)
    ins: dict[Line, float] = {}
    for box, found in reaching.items():
        order_in = [line for _, line in sorted(found)]
        ins |= zip(order_in, _side_by_side(centres[box], widths[box], len(found)), strict=True)
    return outs, ins


def _side_by_side(centre: float, width: float, count: int) -> list[float]:
    gap = min(PORT_GAP, width / (count + 1))
    return [centre + gap * (i - (count - 1) / 2) for i in range(count)]
