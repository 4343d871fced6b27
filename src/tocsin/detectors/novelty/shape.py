"""Which nodes an observation touches in the tree of counts, and which of them judge a component."""

from dataclasses import dataclass

import numpy as np

from tocsin.detectors.novelty.options import MOST_COMPONENTS

OTHERS = 0
"""The number of the value that stands for combinations seen so rarely that they were folded."""

MARKERS = MOST_COMPONENTS
"""Values 1 to this are no values: value j + 1 marks the children that are values of component j."""


@dataclass(frozen=True)
class Shape:
    """The C nodes of an observation of L components; the first L are the chain of its components in order.

    parent: (C,) int32, the column above, -1 for the root. component: (C,) int32, whose value a node has, -1 for a
    marker. marker: (C,) int32, its value where it is one. judged: (C,) int32, the component that it judges, -1: none.
    """

    length: int
    parent: np.ndarray
    component: np.ndarray
    marker: np.ndarray
    judged: np.ndarray

    @property
    def columns(self) -> int:
        """The number of nodes an observation touches."""
        return len(self.parent)


def shape_of(order: str, length: int) -> Shape:
    """Return the shape for an order of judging: `given` or `auto`."""
    return _given(length) if order == "given" else _auto(length)


def _given(length: int) -> Shape:
    """Judge each component by those before it: a chain."""
    chain = np.arange(length, dtype=np.int32)
    return Shape(length, chain - np.int32(1), chain, np.zeros(length, np.int32), chain)


def _auto(length: int) -> Shape:
    """Judge each component by itself and by each other; the chain only counts the whole observation."""
    rows: list[tuple[int, int, int, int]] = [(column - 1, column, 0, -1) for column in range(length)]

    def add(parent: int, component: int, marker: int, judged: int) -> int:
        rows.append((parent, component, marker, judged))
        return len(rows) - 1

    alone = [add(add(-1, -1, one + 1, -1), one, 0, one) for one in range(length)]
    for one in range(length):
        for other in range(length):
            if other != one:
                add(add(alone[other], -1, one + 1, -1), one, 0, one)
    parent, component, marker, judged = (np.array(each, np.int32) for each in zip(*rows, strict=True))
    return Shape(length, parent, component, marker, judged)
