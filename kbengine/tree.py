"""What is known of a text and its continuations: a tree of pieces with their states.

A node is a path of pieces. Its state is computed once, whoever asks first: the context,
the search for the next word, or the same search one key later. So a committed word that
the search had seen costs nothing, a key press steps no context, and backspace and jumps
of the caret find their nodes where they left them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from kbengine.protocols import Floats, LanguageModel, State


class Node:
    """One path of pieces.

    Attributes:
        piece: the last piece of the path.
        state: the language model's state after it, None until asked for.
        logp: float32[V], log P(next piece | path), None until asked for.
        end_logp: log P(the next piece begins something new | path); valid with `logp`.
    """

    __slots__ = ("children", "end_logp", "logp", "parent", "piece", "state")

    def __init__(self, parent: Node | None, piece: int) -> None:
        self.parent = parent
        self.piece = piece
        self.state: State | None = None
        self.logp: Floats | None = None
        self.end_logp = 0.0
        self.children: dict[int, Node] = {}

    def child(self, piece: int) -> Node:
        """The node one piece further, made if it is new; nothing is computed."""
        found = self.children.get(piece)
        if found is None:
            found = self.children[piece] = Node(self, piece)
        return found


class StateTree:
    """The nodes of one text field over one language model.

    rows: how many predictions are kept, at V floats each, in one block that is used over
    and over; the least recently used go first and are computed again when wanted. nodes:
    how many states may stand before those off the current path are dropped.
    """

    def __init__(
        self, model: LanguageModel, boundary: NDArray[np.bool_], rows: int = 64, nodes: int = 1024
    ) -> None:
        self._model = model
        self._inside = np.flatnonzero(~boundary)
        self._ones = np.ones(len(self._inside), np.float32)
        self._block: Floats = np.empty((rows, model.vocab_size), np.float32)
        self._free = list(range(rows))
        self._rows: OrderedDict[Node, int] = OrderedDict()  # whose prediction is in which row
        self._node_limit = nodes
        self._size = 0
        self._roots: dict[tuple[int, ...], Node] = {}

    def root(self, heard: Sequence[int] = ()) -> Node:
        """The node before any piece of a text; see `LanguageModel.start`."""
        key = tuple(heard)
        found = self._roots.get(key)
        if found is None:
            found = self._roots[key] = Node(None, -1)
            found.state = self._model.start(key)
            self._size += 1
        return found

    def walk(self, pieces: Iterable[int], heard: Sequence[int] = ()) -> Node:
        """The node at the end of a path from the root; nothing is computed."""
        node = self.root(heard)
        for piece in pieces:
            node = node.child(piece)
        return node

    def predict(self, nodes: Sequence[Node]) -> None:
        """Fill in state, logp and end_logp of nodes, in one step of the model for all.

        They stay until as many others as there are rows have been asked for; no more nodes
        than that can be asked for at once.
        Nodes above them whose state is not known yet are advanced first.
        """
        wanted = [node for node in dict.fromkeys(nodes) if node.logp is None]
        for node in nodes:
            if node.logp is not None:
                self._rows.move_to_end(node)
        if not wanted:
            return
        for node in wanted:
            self._ensure_state(node.parent)
        logp, states = self._model.step(
            [node.piece for node in wanted], [node.parent.state for node in wanted if node.parent]
        )
        # `take` and `vecdot` are four times as fast as an index and `sum`, and unlike a
        # matrix product they give a row the same digits in any batch.
        inside = np.vecdot(np.exp(logp.take(self._inside, axis=1)), self._ones)
        ends = np.log1p(-np.minimum(inside, np.float32(1 - 1e-6))).tolist()
        for i, (node, state) in enumerate(zip(wanted, states, strict=True)):
            self._size += node.state is None
            node.state, node.end_logp = state, ends[i]
            node.logp = self._row(node)
            node.logp[:] = logp[i]

    def path_logp(self, node: Node, pieces: Iterable[int]) -> tuple[float, Node]:
        """log P(pieces | the path to `node`), and the node that they lead to."""
        logp = 0.0
        for piece in pieces:
            self.predict([node])
            assert node.logp is not None
            logp += float(node.logp[piece])
            node = node.child(piece)
        return logp, node

    def _row(self, node: Node) -> Floats:
        """A row of the block for a node's prediction."""
        if not self._free:
            oldest, row = self._rows.popitem(last=False)
            oldest.logp = None
            self._free.append(row)
        row = self._rows[node] = self._free.pop()
        found: Floats = self._block[row]
        return found

    def _ensure_state(self, node: Node | None) -> None:
        """Advance along the path to `node`, from the last state that is known."""
        missing: list[Node] = []
        while node is not None and node.state is None:
            missing.append(node)
            node = node.parent
        for step in reversed(missing):
            assert step.parent is not None
            step.state = self._model.advance([step.piece], [step.parent.state])[0]
            self._size += 1

    def __del__(self) -> None:
        _let_go(list(self._roots.values()))

    def prune(self, path: Node) -> None:
        """Once the tree is large, drop all nodes that are not on the way to `path`."""
        if self._size <= self._node_limit:
            return
        keep: set[Node] = set()
        dropped: list[Node] = []
        node: Node | None = path
        while node is not None:
            below = node.children
            dropped += [child for child in below.values() if child not in keep]
            node.children = {i: child for i, child in below.items() if child in keep}
            keep.add(node)
            node = node.parent
        dropped += [root for root in self._roots.values() if root not in keep]
        self._roots = {heard: root for heard, root in self._roots.items() if root in keep}
        _let_go(dropped)
        for node in [node for node in self._rows if node not in keep]:
            node.logp = None
            self._free.append(self._rows.pop(node))
        self._size = sum(node.state is not None for node in keep)


def _let_go(nodes: list[Node]) -> None:
    """Part nodes from their children, and those from theirs. Parents and children hold each
    other: the memory would wait for the garbage collector, some megabytes a text field."""
    while nodes:
        node = nodes.pop()
        nodes += node.children.values()
        node.children = {}
