"""Which combinations a context lets go of when it holds too many: the least seen, of those the oldest."""

import numpy as np

from tocsin.detectors.novelty.shape import OTHERS, Shape
from tocsin.detectors.novelty.tables import Leaves, Tables

KEPT = 0.75
"""The part of the most entries that is left after folding, so that it need not be done again soon."""


def folded(tables: Tables, most: int, now: int) -> tuple[Tables, int]:
    """Return tables of at most KEPT · most entries, in which the least seen observations end in `others`.

    The second is the component from which on they do.

    What is folded still counts: as observations of its beginning, and as ones that were seen there once. So a place
    where newness was the rule stays one. Folds the last component first, then more, then more observations.
    """
    shape, leaves = tables.shape, tables.leaves()
    age = (np.int64(now) - leaves.last) & 0x7FFFFFFF
    rarest = np.lexsort((-age, leaves.counts))
    for share in (2, 4, 8, 16, 1):
        victims = rarest[: len(rarest) - (len(rarest) // share if share > 1 else 0)]
        for depth in range(shape.length - 1, -1, -1):
            values = leaves.values.copy()
            values[victims, depth:] = OTHERS
            smaller = built(shape, Leaves(values, leaves.counts, leaves.last))
            if len(smaller) <= KEPT * most:
                return smaller, depth
    return smaller, 0


def fitted(leaves: Leaves, tables: Tables, depth: int) -> Leaves:
    """Fold observations that tables, folded from this component on, no longer hold by themselves."""
    values = leaves.values.copy()
    values[~tables.holds(values), depth:] = OTHERS
    return Leaves(values, leaves.counts, leaves.last)


def built(shape: Shape, leaves: Leaves) -> Tables:
    """Return tables with these observations."""
    tables = Tables(shape)
    tables.add(leaves)
    return tables
