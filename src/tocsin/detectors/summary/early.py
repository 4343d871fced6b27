"""The early partials of one worker and window: of each key the newest."""

import numpy as np
import pyarrow as pa

from tocsin.kernels.index import KeyIndex
from tocsin.kernels.room import make_room

_SLACK_ROWS = 1000


class Early:
    """Keeps each key's state with the highest sequence; an older one that comes late changes nothing."""

    def __init__(self, guards: int) -> None:
        self._index = KeyIndex(16)
        self._sequence = np.empty(0, np.int64)
        self._row = np.empty(0, np.int64)
        self._guards = np.empty((0, guards))
        self._table: pa.Table | None = None

    def __len__(self) -> int:
        return len(self._index)

    def put(self, sequence: int, table: pa.Table) -> None:
        """Take states in."""
        slots, _ = self._index.slots(table.column("key").to_numpy())
        for array, empty in ((self._sequence, -1), (self._row, 0), (self._guards, 0.0)):
            make_room(array, len(self._index), empty)
        newer = np.flatnonzero(sequence >= self._sequence[slots])
        held = 0 if self._table is None else self._table.num_rows
        self._sequence[slots[newer]] = sequence
        self._row[slots[newer]] = held + newer
        self._guards[slots[newer]] = _guards(table)[newer]
        self._table = table if self._table is None else pa.concat_tables([self._table, table])
        if self._table.num_rows > 4 * len(self._index) + _SLACK_ROWS:
            self._table, _ = self.all_rows()
            self._row = np.arange(len(self._index))

    def guards(self, keys: np.ndarray) -> np.ndarray:
        """Return each guard's newest value of these keys, (m, guards) float64; 0 where a key is not known."""
        slots = self._index.find(keys)
        values = np.zeros((len(keys), self._guards.shape[1]))
        values[slots >= 0] = self._guards[slots[slots >= 0]]
        return values

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
        known = len(self._index)
        return self._table.take(pa.array(self._row[:known])).combine_chunks(), self._sequence[:known].copy()

    def restore(self, table: pa.Table, sequences: np.ndarray) -> None:
        """Take over what `all_rows` returned."""
        self._index.slots(table.column("key").to_numpy())
        self._sequence, self._row, self._table = sequences.copy(), np.arange(table.num_rows), table
        self._guards = _guards(table)


def _guards(table: pa.Table) -> np.ndarray:
    """Return the values of guards that a partial brings, (m, guards) float64."""
    names = [name for name in table.column_names if name.startswith("guard.")]
    columns = [table.column(name).to_numpy() for name in names]
    return np.stack(columns, axis=1) if columns else np.empty((table.num_rows, 0))
