"""The rows of an input that have a value."""

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.accumulator import Values
from tocsin.kernels.strings import NULL_HASH


def valued(slots: np.ndarray, values: Values) -> tuple[np.ndarray, np.ndarray, pa.Array, np.ndarray | slice]:
    """Return the slots, hashes and texts of the rows that have a value, and which rows those are."""
    assert values.hash is not None
    assert values.text is not None
    there = values.hash != np.uint64(NULL_HASH)
    if there.all():
        return slots, values.hash, values.text, slice(None)
    rows = np.flatnonzero(there)
    return slots[rows], values.hash[rows], values.text.take(pa.array(rows)), rows
