"""Stable hashes of text, and rows by equality: what the jobs select by."""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def hash_text(values: pa.Array | pa.ChunkedArray, key: str) -> np.ndarray:
    """Return (n,) uint64 hashes of text under a key; the same on every machine and in every version."""
    from tocsin.kernels.strings import hash_strings  # imports the compiler, which few commands need

    seed = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") >> 1
    return hash_strings(values, seed)


def matches(batch: pa.Table, scope: dict[str, Any]) -> np.ndarray:
    """Return which rows have all these column values, (n,) bool; a list means any of its values.

    A column that the batch lacks matches nothing.
    """
    mask = np.ones(batch.num_rows, bool)
    for name, wanted in scope.items():
        if name not in batch.column_names:
            return np.zeros(batch.num_rows, bool)
        column = batch.column(name)
        values = pa.array(wanted if isinstance(wanted, list) else [wanted]).cast(column.type)
        mask &= np.asarray(pc.fill_null(pc.is_in(column, value_set=values), fill_value=False))
    return mask
