"""Counting by key over batches, in memory bounded by the number of keys, independent of order and split."""

import zlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

COMPACT_ROWS = 200_000
"""Rows that wait before they are added up."""


class Tally:
    """Adds up columns by key; the same totals whatever the order of the batches.

    keys: columns that name a group. totals: column -> sum, min or max.
    """

    def __init__(self, keys: Sequence[str], totals: dict[str, str]) -> None:
        self._keys = list(keys)
        self._totals = totals
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def add(self, rows: pa.Table) -> None:
        """Take rows in that have the keys and the columns."""
        if rows.num_rows == 0:
            return
        self._waiting.append(self._sum([rows]))
        self._rows += self._waiting[-1].num_rows
        if self._rows > COMPACT_ROWS:
            self._waiting = [self.result()]
            # What is left after adding up is the size of the result: let as much again wait.
            self._rows = 0

    def result(self) -> pa.Table:
        """Return one row a key, with the totals under the columns' own names; unordered."""
        return self._sum(self._waiting)

    def _sum(self, tables: list[pa.Table]) -> pa.Table:
        if not tables:
            return pa.table({name: pa.array([], pa.string()) for name in [*self._keys, *self._totals]})
        table = pa.concat_tables(tables, promote_options="permissive")
        grouped = table.group_by(self._keys).aggregate(list(self._totals.items()))
        return grouped.rename_columns([self._original(name) for name in grouped.column_names])

    def _original(self, name: str) -> str:
        return next((column for column, total in self._totals.items() if name == f"{column}_{total}"), name)


class Heads:
    """Keeps the first `size` rows of each group in a fixed order; the same rows whatever the order of the batches."""

    def __init__(self, group: Sequence[str], order: Sequence[tuple[str, str]], size: int) -> None:
        self._group = list(group)
        self._order = list(order)
        self._size = size
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def add(self, rows: pa.Table) -> None:
        """Take rows in; columns may differ between batches."""
        if rows.num_rows == 0:
            return
        self._waiting.append(heads(rows, self._group, self._order, self._size))
        self._rows += self._waiting[-1].num_rows
        if self._rows > COMPACT_ROWS:
            self._waiting = [self.result()]
            self._rows = 0

    def result(self) -> pa.Table | None:
        """Return the kept rows, ordered by group and order; None when there never were any."""
        if not self._waiting:
            return None
        rows = pa.concat_tables(self._waiting, promote_options="permissive")
        return heads(rows, self._group, self._order, self._size)


def heads(rows: pa.Table, group: list[str], order: list[tuple[str, str]], size: int) -> pa.Table:
    """Return the first `size` rows of each group, ordered by group and order."""
    keys = [(name, "ascending") for name in group] + order
    rows = rows.take(pc.sort_indices(rows, sort_keys=keys))
    starts = np.zeros(rows.num_rows, bool)
    starts[:1] = True
    for name in group:
        codes = _codes(rows.column(name))
        starts[1:] |= codes[1:] != codes[:-1]
    position = np.arange(rows.num_rows)
    since_start = position - np.maximum.accumulate(np.where(starts, position, 0))
    return rows.filter(pa.array(since_start < size))


def spread_hash(values: pa.ChunkedArray) -> pa.Array:
    """Return a fixed number for each text, spread evenly over 0 to 2³²."""
    encoded = values.combine_chunks().dictionary_encode()
    # crc32 alone keeps like texts together; the multiplication (Knuth's constant) spreads them.
    crcs = np.fromiter((zlib.crc32(text.encode()) for text in encoded.dictionary.to_pylist()), np.uint64)
    mixed = (crcs * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    return pa.array(mixed.astype(np.int64)).take(encoded.indices)


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    codes: np.ndarray = column.combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
    return codes
