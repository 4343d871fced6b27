"""Accumulators that keep the highest-ranked records of each key: a sample of them, or the newest."""

from typing import ClassVar

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.accumulator import Accumulator, Values
from tocsin.detectors.summary.blocks import Blocks
from tocsin.detectors.summary.definition import Reducer
from tocsin.detectors.summary.lists import fields_of, lists_of
from tocsin.detectors.summary.valued import valued
from tocsin.kernels.buffers import frozen
from tocsin.kernels.ranked import rank_rows, ring_places
from tocsin.kernels.texts import TextPool


class Ranked(Accumulator):
    """Of each slot the `size` records of the highest rank, with a word of 64 bits each; a record counts once.

    State: 20 bytes a slot and 24 an entry, in blocks that double. A record
    costs O(log size) and, where it is kept but does not come in order of rank, shifting up to half of the entries.
    """

    drawn: ClassVar[bool] = False
    """Rank by a random priority of the record's own, not by time."""

    def __init__(self, reducers: tuple[Reducer, ...]) -> None:
        super().__init__(reducers)
        self._size = int(reducers[0].options["size"])
        self._blocks = Blocks({"head": np.int32}, {"time": np.int64, "ordinal": np.uint64, "value": np.uint64})

    def grow(self, slots: int) -> None:
        """Make room for so many slots."""
        self._blocks.grow(slots)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._blocks.nbytes

    def _rank(self, slots: np.ndarray, times: np.ndarray, ordinals: np.ndarray, words: np.ndarray) -> np.ndarray:
        """Add rows to their slots; return which of them became entries, (n,) bool."""
        kept = np.zeros(len(slots), bool)
        rows = (frozen(column) for column in (slots, times, ordinals, words))
        self._blocks.fill(rank_rows, *rows, self.drawn, self._size, kept)
        return kept

    def _entries(self, slots: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return starts, (m + 1,) int64, and the columns of these slots' entries, lowest rank first."""
        starts, columns = self._blocks.starts(slots), self._blocks.slot
        places = ring_places(slots, starts, columns["at"], columns["room"], columns["used"], columns["head"])
        return starts, {name: column[places] for name, column in self._blocks.entry.items()}


class Kept(Ranked):
    """Keeps values as text; null ones are not kept. Results: list<string>, in order of time, then of ordinal."""

    needs = frozenset({"text", "hash"})

    def __init__(self, reducers: tuple[Reducer, ...]) -> None:
        super().__init__(reducers)
        self._texts = TextPool()

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return super().nbytes + self._texts.nbytes

    def add(self, slots: np.ndarray, values: Values, trace: str = "") -> None:
        """Add rows to their slots."""
        slots, hashes, texts, rows = valued(slots, values)
        self._keep(slots, values.time_us[rows], values.ordinal[rows], hashes, texts)

    def partial(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return each slot's entries: list<struct<time, ordinal, hash, text>>."""
        starts, entry = self._entries(slots)
        text = self._texts.get(entry["value"])
        fields = {"time": entry["time"], "ordinal": entry["ordinal"], "hash": entry["value"], "text": text}
        return {"entries": lists_of(starts, fields)}

    def merge(self, slots: np.ndarray, partial: dict[str, pa.Array]) -> None:
        """Merge a partial."""
        starts, fields = fields_of(partial["entries"])
        time, ordinal, hashes = (fields[name].to_numpy() for name in ("time", "ordinal", "hash"))
        self._keep(np.repeat(slots, np.diff(starts)), time, ordinal, hashes, fields["text"])

    def results(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return each slot's values, null where there is none."""
        starts, entry = self._entries(slots)
        row = np.repeat(np.arange(len(slots)), np.diff(starts))
        order = np.lexsort((entry["ordinal"], entry["time"], row))
        texts = self._texts.get(entry["value"][order])
        return {self.reducers[0].name: lists_of(starts, texts, empty_is_null=True)}

    def _keep(
        self, slots: np.ndarray, times: np.ndarray, ordinals: np.ndarray, hashes: np.ndarray, texts: pa.Array
    ) -> None:
        kept = self._rank(slots, times, ordinals, hashes)
        self._texts.add(hashes[kept], texts.filter(pa.array(kept)))
        if self._texts.crowded:
            self._texts = self._texts.only(self._entries(self._blocks.all_slots())[1]["value"])


class Sample(Kept):
    """A uniform random sample of `size` of a key's records, the same whatever the split, order or merging.

    Each record's priority is a fixed one-to-one mix of its ordinal; the sample is the records of the largest.
    """

    name = "sample"
    drawn = True


class Last(Kept):
    """The values of the newest `size` records, by time, and by ordinal where times are equal; oldest first."""

    name = "last"
