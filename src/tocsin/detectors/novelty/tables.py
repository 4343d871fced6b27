"""The counting tables of one context: a tree of values in flat arrays.

An entry takes 8 bytes for its key (its parent's slot and its value's number), 16 for count, spread and when it was last
seen, and 5 to 11 of the index; an entry with several children 96 more for their spread.
"""

from dataclasses import dataclass

import numpy as np

from tocsin.detectors.novelty.shape import MARKERS, OTHERS, Shape
from tocsin.kernels.index import KeyIndex
from tocsin.kernels.novelty import (
    CLASSES,
    TYPICAL,
    add_counts,
    branching,
    judge,
    paths,
    place_keys,
    respread,
    walk_down,
)
from tocsin.kernels.room import make_room

_ROOT = np.array([np.iinfo(np.uint64).max])

GRAIN = 2.0**20
"""Counts that fade stay multiples of 1 / GRAIN, so that they add up to the same in any order."""

_SPARE = 1024


@dataclass(frozen=True)
class Leaves:
    """Distinct whole observations: values (m, L) int32 by number, counts (m,) float64, last (m,) int32 sequence."""

    values: np.ndarray
    counts: np.ndarray
    last: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    def only(self, rows: np.ndarray) -> "Leaves":
        """Return some of them: a mask or indices."""
        return Leaves(self.values[rows], self.counts[rows], self.last[rows])


@dataclass(frozen=True)
class Judged:
    """bits: (n, L) float64 novelty given those before; share: (n, L) float64, of the surprise; most: (n,) int32.

    sums: (n, 4) float64, columns RAW and SUMMED surprise in bits, count SEEN of the observation, and OF_ALL.
    """

    bits: np.ndarray
    share: np.ndarray
    most: np.ndarray
    sums: np.ndarray


RAW, SUMMED, SEEN, OF_ALL = range(4)


class Tables:
    """Counts of observations, of their beginnings, and of what else the shape counts."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._clear()

    def _clear(self) -> None:
        self._index = KeyIndex()
        self._entries = np.zeros((16, 2))
        self._spreads = np.zeros((16, CLASSES), np.int32)
        self._used = 1
        self._index.slots(_ROOT)

    def __len__(self) -> int:
        return len(self._index) - 1

    @property
    def total(self) -> float:
        """The number of observations that count."""
        return float(self._entries[0, 0])

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._index.nbytes + self._entries.nbytes + self._spreads.nbytes

    @property
    def live(self) -> int:
        """Entries that count; others only wait to be seen again."""
        return int(np.count_nonzero(self._entries[1 : len(self._index), 0] > 0))

    def learn(self, values: np.ndarray, now: int) -> Judged:
        """Count observations one after the other and judge each. values: (n, L) int32; now: the first's sequence."""
        slots = self._place(values)
        make_room(self._spreads, min(self._used + slots.size, len(self._index) + 1), 0)
        return self._judge(slots, now, learn=True)

    def judge(self, values: np.ndarray) -> Judged:
        """Judge observations without counting them; -1 is a value that is not known."""
        return self._judge(self._find(values, self.shape.columns), 0, learn=False)

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Say which whole observations are among those that count: (n, L) int32 -> (n,) bool."""
        slots = self._find(values, self.shape.length)[-1]
        held: np.ndarray = (slots >= 0) & (self._entries[np.maximum(slots, 0), 0] > 0)
        return held

    def add(self, leaves: Leaves) -> None:
        """Add whole observations with their counts; counts may be negative."""
        self.put(leaves)
        self.settle()

    def put(self, leaves: Leaves) -> None:
        """Add whole observations as `add` does, in tables that judge nothing before `settle`."""
        slots = self._place(leaves.values)
        own, come = slots[self.shape.length - 1], leaves.counts > 0
        add_counts(slots, leaves.counts, self._entries, self._meta, self._meta[own, 3])
        np.maximum.at(self._meta[:, 3], own[come], leaves.last[come])

    def fade(self, factor: float, least: float) -> None:
        """Let every observation weigh this much less, and drop those that then weigh less than `least`."""
        leaves = self.leaves()
        counts = np.round(leaves.counts * factor * GRAIN) / GRAIN
        counts[counts < least] = 0.0
        self.add(Leaves(leaves.values, counts - leaves.counts, leaves.last))
        self.compact()

    def compact(self, spare: float = 1.0) -> None:
        """Let go of entries that no longer count, where they are more than this part of those that do."""
        if len(self) > (1 + spare) * self.live + _SPARE:
            leaves = self.leaves()
            self._clear()
            self.add(leaves)

    def settle(self) -> None:
        """Make the spreads fit the counts again."""
        keys, children = self._index.keys, np.zeros(len(self._index), np.uint8)
        make_room(self._spreads, branching(keys, self._entries, OTHERS, children) + 1, 0)
        self._used = respread(keys, self._entries, self._meta, children, self._spreads, OTHERS)
        self._spreads[self._used :] = 0  # what learning takes next must not hold what was there before

    def leaves(self) -> Leaves:
        """Return every whole observation that counts."""
        slots, _ = self._chains(None)
        return self._leaves(slots)

    def sample(self, value_hashes: np.ndarray, most: int) -> tuple[Leaves, np.ndarray]:
        """Return at most so many whole observations, about, that stand for all, and the weight of each: (m,) float64.

        Those seen often are all there, of the others those whose hash is low: which ones they are depends on nothing
        but the observations themselves. value_hashes: (size,) uint64 by number.
        """
        slots, hashed = self._chains(value_hashes)
        counts = self._entries[slots, 0]
        if len(slots) <= most:
            return self._leaves(slots), counts
        often = counts >= self.total / (most // 2)
        share = min(1.0, most // 2 / max(1, len(slots) - int(often.sum())))
        picked = np.flatnonzero(often | ((hashed >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share))
        # On the grain, so that the weights add up to the same in whatever order they are held.
        weights = np.where(often[picked], counts[picked], np.round(counts[picked] / share * GRAIN) / GRAIN)
        return self._leaves(slots[picked]), weights

    @property
    def _meta(self) -> np.ndarray:
        meta: np.ndarray = self._entries.view(np.int32)
        return meta

    def _chains(self, value_hashes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the slots of whole observations, (m,) int32, and a hash of each: (m,) uint64."""
        keys = self._index.keys
        depth, hashed = np.empty(len(keys), np.uint8), np.empty(len(keys), np.uint64)
        mixed = np.zeros(0, np.uint64) if value_hashes is None else value_hashes
        with np.errstate(over="ignore"):  # the hash is modulo 2**64
            walk_down(keys, MARKERS, mixed, depth, hashed)
        slots = np.flatnonzero((depth == self.shape.length) & (self._entries[: len(keys), 0] > 0)).astype(np.int32)
        return slots, hashed[slots]

    def _leaves(self, slots: np.ndarray) -> Leaves:
        values = np.empty((len(slots), self.shape.length), np.int32)
        paths(self._index.keys, slots, values)
        return Leaves(values, self._entries[slots, 0], self._meta[slots, 3])

    def _judge(self, slots: np.ndarray, now: int, *, learn: bool) -> Judged:
        rows, shape = slots.shape[1], self.shape
        bits, share = np.empty((rows, shape.length)), np.empty((rows, shape.length))
        judged = Judged(bits, share, np.empty(rows, np.int32), np.empty((rows, 4)))
        counted = (self._entries, self._meta, self._spreads, self._used, TYPICAL)
        said = (judged.bits, judged.share, judged.most, judged.sums)
        at = np.int32(now & 0x7FFFFFFF)
        self._used = judge(slots, shape.parent, shape.judged, *counted, at, learn, *said)
        return judged

    def _place(self, values: np.ndarray) -> np.ndarray:
        slots = np.empty((self.shape.columns, len(values)), np.int32)
        for column in range(self.shape.columns):
            slots[column], _ = self._index.slots(_keys(*self._above(slots, column, values)))
        make_room(self._entries, len(self._index), 0)
        return slots

    def _find(self, values: np.ndarray, columns: int) -> np.ndarray:
        slots = np.empty((columns, len(values)), np.int32)
        for column in range(columns):
            above, own = self._above(slots, column, values)
            found = self._index.find(_keys(np.maximum(above, 0), np.maximum(own, 0)))
            slots[column] = np.where((above < 0) | (own < 0), -1, found)
        return slots

    def _above(self, slots: np.ndarray, column: int, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the parents' slots and the values of a column's nodes: (n,) int32 each."""
        shape, rows = self.shape, len(values)
        above = slots[shape.parent[column]] if shape.parent[column] >= 0 else np.zeros(rows, np.int32)
        if shape.component[column] >= 0:
            return above, values[:, shape.component[column]]
        return above, np.full(rows, shape.marker[column], np.int32)


def _keys(above: np.ndarray, values: np.ndarray) -> np.ndarray:
    keys = np.empty(len(above), np.uint64)
    place_keys(above, values, keys)
    return keys
