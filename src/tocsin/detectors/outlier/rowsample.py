"""A bounded sample of the rows that pass by, the same whatever batches they come in."""

import numpy as np
import pyarrow as pa

SAMPLE_ROWS = 50_000
"""Rows that are kept."""


class RowSample:
    """Keeps the rows whose number hashes lowest: a uniform sample without replacement, of rows up to a limit.

    A row's chance does not depend on its batch, only on its position in the whole; all rows are kept while they fit.
    """

    def __init__(self, limit: int = SAMPLE_ROWS, seed: int = 0) -> None:
        self.seen = 0
        self._limit = limit
        self._seed = seed
        self._ceiling = np.uint64(2**64 - 1)
        self._parts: list[tuple[np.ndarray, pa.Table]] = []
        self._held = 0

    def add(self, batch: pa.Table) -> None:
        """Offer a batch's rows."""
        priority = _mix(np.arange(self.seen, self.seen + batch.num_rows, dtype=np.uint64), self._seed)
        self.seen += batch.num_rows
        chosen = np.flatnonzero(priority <= self._ceiling)
        if len(chosen) == 0:
            return
        rows = batch if len(chosen) == batch.num_rows else batch.take(pa.array(chosen))
        self._parts.append((priority[chosen], rows))
        self._held += len(chosen)
        if self._held > 2 * self._limit:
            self._thin()

    def table(self) -> pa.Table:
        """Return the sample, in the order of the hashes; a table without columns where nothing was offered."""
        if not self._parts:
            return pa.table({})
        self._thin()
        return self._parts[0][1]

    def _thin(self) -> None:
        priority = np.concatenate([part[0] for part in self._parts])
        rows = pa.concat_tables([part[1] for part in self._parts], promote_options="permissive")
        order = np.argsort(priority, kind="stable")[: self._limit]
        self._parts = [(priority[order], rows.take(pa.array(order)).combine_chunks())]
        self._held = len(order)
        if self._held == self._limit:
            self._ceiling = priority[order[-1]]


def _mix(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Hash numbers with the finaliser of SplitMix64 (Steele, Lea, Flood 2014): (n,) uint64."""
    with np.errstate(over="ignore"):
        z = (numbers + np.uint64(seed % 2**32) * np.uint64(0x2545F4914F6CDD1D) + np.uint64(1)) * np.uint64(
            0x9E3779B97F4A7C15
        )
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))
