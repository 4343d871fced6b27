"""How many different values a key has, exactly, up to a cap."""

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.accumulator import Accumulator, Values
from tocsin.detectors.summary.definition import Reducer
from tocsin.detectors.summary.lists import lists_of, values_of
from tocsin.kernels.entries import Entries
from tocsin.kernels.strings import NULL_HASH


class Unique(Accumulator):
    """Keeps the 64-bit hashes of a slot's different values, `max` of them at most.

    The result is the smaller of `max` and the true number, whatever the split, order and merging. Null values do not
    count. Two values of one slot have the same hash once in 2^64 pairs.

    State: 8 bytes a slot, about 24 a value. A record costs O(1), and nothing is kept of it once its slot is full.
    """

    name = "unique"
    needs = frozenset({"hash"})

    def __init__(self, reducers: tuple[Reducer, ...]) -> None:
        super().__init__(reducers)
        self._entries = Entries(int(reducers[0].options["max"]), nothing=NULL_HASH)

    def grow(self, slots: int) -> None:
        """Make room for so many slots."""
        self._entries.grow(slots)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._entries.nbytes

    def add(self, slots: np.ndarray, values: Values, trace: str = "") -> np.ndarray | None:
        """Add rows."""
        assert values.hash is not None
        if trace:
            return self._entries.trace(slots, values.hash)
        self._entries.add(slots, values.hash)
        return None

    def partial(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return `values`: list<uint64>, the hashes, sorted."""
        starts, ids, _ = self._entries.of(slots)
        return {"values": lists_of(starts, pa.array(ids))}

    def merge(self, slots: np.ndarray, partial: dict[str, pa.Array]) -> None:
        """Merge a partial."""
        lengths, hashes = values_of(partial["values"])
        self._entries.add(slots.repeat(lengths), hashes)

    def results(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return the number of values as int64, 0 where there are none."""
        return {self.reducers[0].name: pa.array(self._entries.lengths(slots).astype(np.int64))}
