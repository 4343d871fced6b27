"""What a context knows that is most like an observation: what would have been usual."""

from dataclasses import dataclass

import numpy as np

from tocsin.detectors.novelty.tables import Leaves


@dataclass(frozen=True)
class Known:
    """An observation that was seen: how often, and in which components another differs from it."""

    observation: tuple[str, ...]
    count: float
    differs: tuple[int, ...]


def nearest_rows(leaves: Leaves, values: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which leaves have most components in common with an observation, the most frequent first, itself left out.

    values: (L,) int32. Returns rows: (k,) int64, and same: (k, L) bool, which components they share.
    """
    same = leaves.values == values
    common = same.sum(axis=1)
    others = np.flatnonzero(common < len(values))
    order = np.lexsort((others, -leaves.counts[others], -common[others]))[:most]
    rows = others[order]
    return rows, same[rows]
