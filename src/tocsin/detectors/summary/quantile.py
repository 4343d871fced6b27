"""A quantile of each key's numbers, within a stated relative error."""

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.accumulator import Accumulator, Values
from tocsin.detectors.summary.definition import Reducer
from tocsin.detectors.summary.lists import lists_of, values_of
from tocsin.kernels.ddsketch import buckets, quantiles
from tocsin.kernels.entries import Entries


class Quantile(Accumulator):
    """DDSketch (Masson, Rim and Lee, "DDSketch", PVLDB 12, 2019): counts of logarithmic buckets.

    The result is within `error`, relatively, of the number of rank ⌊q (n - 1)⌋, counted from 0, of a slot's n numbers;
    null without any. NaN and infinity are no numbers here. Numbers nearer to 0 than 1e-9 count as 0, those beyond 1e18
    as 1e18, so that a slot has at most 124 / ln((1 + error) / (1 - error)) + 5 buckets: 6,222 for an error of 1 %.
    Buckets are never joined: the result is the same whatever the split, order and merging.

    State: 8 bytes a slot, about 32 a bucket in use. A record costs O(1).
    """

    name = "quantile"
    needs = frozenset({"number"})

    def __init__(self, reducers: tuple[Reducer, ...]) -> None:
        super().__init__(reducers)
        self._q, self._error = (float(reducers[0].options[name]) for name in ("q", "error"))
        self._entries = Entries(counted=True)

    def grow(self, slots: int) -> None:
        """Make room for so many slots."""
        self._entries.grow(slots)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._entries.nbytes

    def add(self, slots: np.ndarray, values: Values, trace: str = "") -> None:
        """Add rows."""
        assert values.number is not None
        self._entries.add(slots, buckets(values.number, self._error))

    def partial(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return `buckets`: list<uint64>, and `counts`: list<int64>."""
        starts, ids, counts = self._entries.of(slots)
        return {"buckets": lists_of(starts, pa.array(ids)), "counts": lists_of(starts, pa.array(counts))}

    def merge(self, slots: np.ndarray, partial: dict[str, pa.Array]) -> None:
        """Merge a partial."""
        lengths, ids = values_of(partial["buckets"])
        _, counts = values_of(partial["counts"])
        self._entries.add(slots.repeat(lengths), ids, counts)

    def results(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return the quantile as float64, null where there are no numbers."""
        found = quantiles(*self._entries.of(slots), self._q, self._error)
        return {self.reducers[0].name: pa.array(found, from_pandas=True)}
