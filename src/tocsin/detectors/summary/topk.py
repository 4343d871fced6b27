"""The most frequent values of each key, in bounded memory."""

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.accumulator import Accumulator, Values
from tocsin.detectors.summary.blocks import Blocks
from tocsin.detectors.summary.counters import Counters, joined, largest
from tocsin.detectors.summary.definition import Reducer
from tocsin.detectors.summary.lists import fields_of, lists_of
from tocsin.detectors.summary.valued import valued
from tocsin.kernels.buffers import frozen
from tocsin.kernels.spacesaving import CELLS, block_places, count_rows, join_slots, refill_slots
from tocsin.kernels.texts import TextPool

_COUNTER = {"key": np.uint64, "count": np.int64, "error": np.int64, "last": np.uint64}


class TopK(Accumulator):
    """Space-Saving with `size` counters a slot; `shown` of them are the result, the largest first.

    A value's count is at most its `error` too high and never too low, and no value that was dropped occurred more
    often than the smallest count. Both bounds are at most n / size of n records, also after any merging: equal values'
    counts and errors add, one that a full sketch lacks takes its smallest count as count and error, and the `size`
    largest stay (Cafaro, Pulimeno and Tempesta, "A parallel space saving algorithm for frequent items and the Hurwitz
    zeta distribution", Information Sciences 329, 2016). While no slot has more values than `size` all is exact, and
    the same whatever the split and order. Of equal counts the one that was reached first comes first.

    State: 40 bytes a slot, 44 and the text a counter, in blocks that double. A record costs O(1) on average.
    """

    name = "topk"
    needs = frozenset({"text", "hash"})

    def __init__(self, reducers: tuple[Reducer, ...]) -> None:
        super().__init__(reducers)
        self._size, self._shown = (int(reducers[0].options[name]) for name in ("size", "shown"))
        self._texts = TextPool()
        self._blocks = Blocks(
            {"total": np.int64, "least": np.int64, "turn": np.int32, "queued": np.int32},
            {**_COUNTER, "queue": np.int32, "cells": np.int32},
            wide={"cells": CELLS},
        )

    def grow(self, slots: int) -> None:
        """Make room for so many slots."""
        self._blocks.grow(slots)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._blocks.nbytes + self._texts.nbytes

    def add(self, slots: np.ndarray, values: Values, trace: str = "") -> None:
        """Count rows in their slots; null values are not counted."""
        slots, hashes, texts, rows = valued(slots, values)
        new = np.zeros(len(slots), bool)
        columns = (frozen(column) for column in (slots, hashes, values.ordinal[rows]))
        self._blocks.fill(count_rows, *columns, self._size, new)
        self._remember(hashes[new], texts.filter(pa.array(new)))

    def partial(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return `total`, the records counted, and `counters`: list<struct<key, count, error, last, text>>."""
        counters = self._counters(slots)
        fields = {**dict(zip(_COUNTER, counters[1:], strict=True)), "text": self._texts.get(counters.keys)}
        return {"total": pa.array(self._blocks.slot["total"][slots]), "counters": lists_of(counters.starts, fields)}

    def merge(self, slots: np.ndarray, partial: dict[str, pa.Array]) -> None:
        """Merge a partial."""
        starts, fields = fields_of(partial["counters"])
        theirs = Counters(starts, *(frozen(fields[name].to_numpy()) for name in _COUNTER))
        over = np.zeros(len(slots), bool)
        self._blocks.fill(join_slots, slots, *theirs, self._size, over)
        if over.any():
            self._prune(slots[over], theirs.take(over))
        self._blocks.slot["total"][slots] += partial["total"].to_numpy()
        self._remember(theirs.keys, fields["text"])

    def results(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return each slot's largest counters: list<struct<value, count, error>>, null where there is none."""
        starts, key, count, error, _ = largest(self._counters(slots), self._shown)
        fields = {"value": self._texts.get(key), "count": count, "error": error}
        return {self.reducers[0].name: lists_of(starts, fields, empty_is_null=True)}

    def _prune(self, slots: np.ndarray, theirs: Counters) -> None:
        merged = largest(joined(self._counters(slots), theirs, self._size), self._size)
        self._blocks.fill(refill_slots, slots, *merged, self._size)

    def _counters(self, slots: np.ndarray) -> Counters:
        starts, columns, counters = self._blocks.starts(slots), self._blocks.slot, self._blocks.entry
        places = block_places(slots, starts, columns["at"], columns["used"])
        return Counters(starts, *(counters[name][places] for name in _COUNTER))

    def _remember(self, hashes: np.ndarray, texts: pa.Array) -> None:
        self._texts.add(hashes, texts)
        if self._texts.crowded:
            self._texts = self._texts.only(self._counters(self._blocks.all_slots()).keys)
