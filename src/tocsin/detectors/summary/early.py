"""The early partials of one worker and window: of each key the newest."""

import numpy as np
import pyarrow as pa

from tocsin.kernels.index import KeyIndex

_SLACK_ROWS = 1000


class Early:
    """Keeps each key's state with the highest sequence; an older one that comes late changes nothing."""

    def __init__(self) -> None:
        self._index = KeyIndex(16)
        self._sequence = np.empty(0, np.int64)
        self._row = np.empty(0, np.int64)
        self._table: pa.Table | None = None

    def __len__(self) -> int:
        return len(self._index)

    def put(self, sequence: int, table: pa.Table) -> None:
        """Take states in."""
        slots, first = self._index.slots(table.column("key").to_numpy())
        if len(first):
            self._sequence = np.concatenate([self._sequence, np.full(len(first), -1)])
            self._row = np.concatenate([self._row, np.zeros(len(first), np.int64)])
        newer = sequence >= self._sequence[slots]
        held = 0 if self._table is None else self._table.num_rows
        self._sequence[slots[newer]] = sequence
        self._row[slots[newer]] = held + np.flatnonzero(newer)
        self._table = table if self._table is None else pa.concat_tables([self._table, table])
        if self._table.num_rows > 4 * len(self._index) + _SLACK_ROWS:
            self._table = self._table.take(pa.array(self._row)).combine_chunks()
            self._row = np.arange(len(self._index))

    def rows(self, keys: np.ndarray) -> pa.Table | None:
        """Return the newest states of those of these keys that are known; None of none."""
        slots = self._index.find(keys)
        slots = slots[slots >= 0]
        if self._table is None or not len(slots):
            return None
        return self._table.take(pa.array(self._row[slots])).combine_chunks()

    def all_rows(self) -> tuple[pa.Table, np.ndarray]:
        """Return the newest state of every key, and its sequence, (n,) int64. There is at least one."""
        assert self._table is not None
        return self._table.take(pa.array(self._row)).combine_chunks(), self._sequence

    def restore(self, table: pa.Table, sequences: np.ndarray) -> None:
        """Take over what `all_rows` returned."""
        self._index.slots(table.column("key").to_numpy())
        self._sequence, self._row, self._table = sequences.copy(), np.arange(table.num_rows), table
