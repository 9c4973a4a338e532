"""Where the boxes and lines of a picture go."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kbengine.inspect.layers import GAP, Layout, Net, layout

Size = tuple[float, float]
SIZES = st.tuples(st.integers(10, 300).map(float), st.integers(10, 90).map(float))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Size], list[Net]]:
    sizes = draw(st.lists(SIZES, max_size=18))
    nets = []
    for source in range(len(sizes) - 1):
        for _ in range(draw(st.integers(0, 2))):
            targets = draw(st.sets(st.integers(source + 1, len(sizes) - 1), max_size=4))
            nets.append(Net(source, tuple(targets)))
    return sizes, nets


def hits(found: Layout, sizes: list[Size], low: Size, high: Size) -> set[int]:
    """The boxes that a rectangle cuts into."""
    return {
        box
        for box, ((x, y), (width, height)) in enumerate(zip(found.places, sizes, strict=True))
        if x < high[0] and low[0] < x + width and y < high[1] and low[1] < y + height
    }


@given(graphs())
def test_boxes_stand_apart_and_inside(graph: tuple[list[Size], list[Net]]) -> None:
    sizes, nets = graph
    found = layout(sizes, nets)
    slack = 1e-6  # sums of floats
    for box, ((x, y), (width, height)) in enumerate(zip(found.places, sizes, strict=True)):
        wide = (x - GAP + slack, y + slack), (x + width + GAP - slack, y + height - slack)
        assert hits(found, sizes, *wide) == {box}
        assert x >= -slack
        assert y >= 0
        assert x + width <= found.width + slack
        assert y + height <= found.height + slack


@given(graphs())
@settings(max_examples=200)
def test_every_line_goes_down_and_through_no_box(graph: tuple[list[Size], list[Net]]) -> None:
    sizes, nets = graph
    found = layout(sizes, nets)
    assert set(found.lines) == {(i, t) for i, net in enumerate(nets) for t in net.targets}
    for (net, target), points in found.lines.items():
        source = nets[net].source
        for box, (x, y), down in ((source, points[0], 1), (target, points[-1], 0)):
            left, top = found.places[box]
            assert left <= x <= left + sizes[box][0]
            assert y == top + down * sizes[box][1]
        ys = [y for _, y in points]
        assert ys == sorted(ys)
        assert points[0][1] < points[-1][1]
        assert len(points) % 2 == 0
        assert all(0 <= x <= found.width + 1e-6 for x, _ in points)
        for (x, y), (to, below) in pairs(points):
            assert x == to, "straight down"
            assert hits(found, sizes, (x - 1, y + 1e-6), (x + 1, below - 1e-6)) == set()
        for (_, y), (_, below) in pairs(points[1:-1]):
            across = (0.0, y + 1e-6), (found.width, below - 1e-6)
            assert y < below
            assert hits(found, sizes, *across) == set(), "curves stay between the rows"


def pairs(points: tuple[Size, ...]) -> list[tuple[Size, Size]]:
    return list(zip(points[::2], points[1::2], strict=True))


@given(graphs())
def test_the_same_graph_is_drawn_the_same(graph: tuple[list[Size], list[Net]]) -> None:
    assert layout(*graph) == layout(*graph)


def test_a_chain_hangs_straight() -> None:
    sizes = [(40.0, 20.0), (200.0, 30.0), (90.0, 20.0)]
    found = layout(sizes, [Net(0, (1,)), Net(1, (2,))])
    assert [x + w / 2 for (x, _), (w, _) in zip(found.places, sizes, strict=True)] == [100.0] * 3
    assert all(x == 100.0 for points in found.lines.values() for x, _ in points)


def test_lines_that_need_not_cross_do_not() -> None:
    """Two chains of which the second's end is numbered before the first's."""
    found = layout([(50.0, 20.0)] * 4, [Net(0, (3,)), Net(1, (2,))])
    x = [place[0] for place in found.places]
    assert (x[0] < x[1]) == (x[3] < x[2])


def test_a_long_line_is_straight_beside_the_boxes_that_it_passes() -> None:
    """From the first box to the last, past a chain of narrow and wide ones."""
    sizes = [(width, 20.0) for width in (200.0, 50.0, 50.0, 200.0, 200.0, 200.0, 200.0)]
    chain = [Net(i, (i + 1,)) for i in range(6)]
    found = layout(sizes, [*chain, Net(0, (6,))])
    assert len({x for x, _ in found.lines[6, 6][2:-2]}) == 1


def test_what_is_used_late_stands_near_its_use() -> None:
    chain = [Net(i, (i + 1,)) for i in range(1, 5)]
    found = layout([(50.0, 20.0)] * 6, [Net(0, (5,)), *chain])
    assert found.places[0][1] == found.places[4][1], "in the row above box 5"


def test_nothing_is_drawn_of_nothing() -> None:
    assert layout([], []) == Layout(0.0, 0.0, (), {})
