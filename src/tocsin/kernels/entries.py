"""A growing set of (slot, id) entries, each with a count: the ids of a slot, and how often each came.

Entries lie one after the other in dense arrays, in the order in which they first came; an open-addressing table of
their numbers finds one, and a chain through each slot's entries lists them.
"""

import numpy as np

from tocsin.kernels.buffers import frozen
from tocsin.kernels.compiler import kernel

NO_ID = 2**64 - 1
"""Stands for nothing where no other id is named for that."""

_LEAST_BITS = 4
_BLOCK = 64
_SHORT = 32
_MIX_1 = np.uint64(0x9E3779B97F4A7C15)
_MIX_2 = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)
_SIZE, _READ = 0, 1
_FIRST, _LENGTH = 0, 1
_NO_ENTRY = -1


class Entries:
    """Entries of slots: each slot's different ids, at most `most` of them, and the count of each where `counted`.

    The table holds 4 bytes a place and is filled to three quarters at most; an entry takes 16 bytes, 24 with its count.

    Args:
        most: how many ids a slot holds; further ones are not taken.
        counted: whether ids have counts.
        nothing: the id that is not an entry and changes nothing.
    """

    def __init__(self, most: int = 2**31 - 1, *, counted: bool = False, nothing: int = NO_ID) -> None:
        self._most, self._counted, self._nothing = most, counted, np.uint64(nothing)
        self._slots = np.empty((0, 2), np.int32)
        self._table = np.full(1 << _LEAST_BITS, _NO_ENTRY, np.int32)
        self._owners = np.empty((0, 2), np.int32)  # an entry's slot, and the next entry of that slot
        self._ids = np.empty(0, np.uint64)
        self._counts = np.empty(0, np.int64)
        self._books = np.zeros(2, np.int64)

    def __len__(self) -> int:
        return int(self._books[_SIZE])

    @property
    def nbytes(self) -> int:
        """Bytes held, spare room included."""
        arrays = (self._slots, self._table, self._owners, self._ids, self._counts)
        return sum(array.nbytes for array in arrays)

    def grow(self, slots: int) -> None:
        """Make room for so many slots."""
        held = len(self._slots)
        if slots > held:
            _lengthen(self._slots, slots - held + slots // 16 + 16)
            self._slots[held:] = _NO_ENTRY, 0

    def add(self, slots: np.ndarray, ids: np.ndarray, counts: np.ndarray | None = None) -> None:
        """Add ids to slots, `counts` times each (once without).

        slots: (n,) int32. ids: (n,) uint64. counts: (n,) int64.
        """
        self._add(slots, ids, np.empty(0, np.int64) if counts is None else counts, np.empty(0))

    def trace(self, slots: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Add ids to slots and return how many ids each row's slot has after the row: (n,) float64."""
        lengths = np.empty(len(slots))
        self._add(slots, ids, np.empty(0, np.int64), lengths)
        return lengths

    def lengths(self, slots: np.ndarray) -> np.ndarray:
        """Return how many ids slots have: (n,) int32."""
        lengths: np.ndarray = self._slots[slots, _LENGTH]
        return lengths

    def of(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the entries of slots, by id in each.

        Returns offsets: (n + 1,) int64, slot i's entries are offsets[i]:offsets[i + 1]; ids: uint64; counts: int64,
        empty where not counted.
        """
        offsets = np.zeros(len(slots) + 1, np.int64)
        np.cumsum(self.lengths(slots), out=offsets[1:])
        ids = np.empty(offsets[-1], np.uint64)
        counts = np.empty(offsets[-1] if self._counted else 0, np.int64)
        _copy(self._slots, self._owners, self._ids, self._counts, slots, offsets, ids, counts)
        return offsets, ids, counts

    def _add(self, slots: np.ndarray, ids: np.ndarray, counts: np.ndarray, lengths: np.ndarray) -> None:
        row, slots, ids, counts = 0, frozen(slots), frozen(ids), frozen(counts)
        with np.errstate(over="ignore"):  # the hash is modulo 2**64
            while True:
                state = self._slots, self._table, self._owners, self._ids, self._counts, self._books
                row = _add(*state, self._most, self._nothing, slots, ids, counts, row, lengths)
                if row == len(slots):
                    return
                self._enlarge()

    def _enlarge(self) -> None:
        size = len(self)
        if size == len(self._ids):
            for array in (self._owners, self._ids, self._counts)[: 2 + self._counted]:
                _lengthen(array, size // 4 + 64)
        if size == _fill(self._table):
            self._table = np.full(2 * len(self._table), _NO_ENTRY, np.int32)
            _refill(self._table, self._owners, self._ids, size)


def _lengthen(array: np.ndarray, more: int) -> None:
    # In place: the system moves pages, not bytes.
    array.resize((len(array) + more, *array.shape[1:]), refcheck=False)


@kernel
def _add(heads, table, owners, entry_ids, entry_counts, books, most, nothing, slots, ids, counts, start, lengths):
    """Add rows from `start` on; return the first row that found no room, or how many rows there are."""
    for first in range(start, slots.size, _BLOCK):
        last = min(first + _BLOCK, slots.size)
        books[_READ] = _read_ahead(table, entry_ids, slots[first:last], ids[first:last])
        for i in range(first, last):
            slot = np.int64(slots[i])
            if ids[i] != nothing:
                place = _find(table, owners, entry_ids, slot, ids[i])
                entry = np.int64(table[place])
                if entry < 0 and heads[slot, _LENGTH] < most:
                    entry = books[_SIZE]
                    if entry == entry_ids.size or entry == _fill(table):
                        return i
                    _append(heads, table, owners, entry_ids, entry_counts, place, entry, slot, ids[i])
                    books[_SIZE] += 1
                if entry >= 0 and entry_counts.size:
                    entry_counts[entry] += counts[i] if counts.size else 1
            if lengths.size:
                lengths[i] = heads[slot, _LENGTH]
    return slots.size


@kernel
def _read_ahead(table, entry_ids, slots, ids):
    # Loads that wait for nothing, so that the cache misses of a block's rows overlap.
    read = np.uint64(0)
    for i in range(slots.size):
        entry = table[_home(table, np.int64(slots[i]), ids[i])]
        if entry >= 0:
            read += entry_ids[entry]
    return np.int64(read >> np.uint64(1))


@kernel
def _home(table, slot, id):
    mixed = (id ^ (np.uint64(slot) * _MIX_1)) * _MIX_2
    mixed = (mixed ^ (mixed >> _SHIFT)) * _MIX_2
    return np.int64(mixed >> _SHIFT) & (table.size - 1)


@kernel
def _find(table, owners, entry_ids, slot, id):
    """Return where in the table an entry is, or the free place where it would be."""
    place = _home(table, slot, id)
    while True:
        entry = np.int64(table[place])
        if entry < 0 or (entry_ids[entry] == id and owners[entry, 0] == slot):
            return place
        place = (place + 1) & (table.size - 1)


@kernel
def _append(heads, table, owners, entry_ids, entry_counts, place, entry, slot, id):
    table[place] = entry
    entry_ids[entry] = id
    owners[entry, 0], owners[entry, 1] = slot, heads[slot, _FIRST]
    if entry_counts.size:
        entry_counts[entry] = 0
    heads[slot, _FIRST] = entry
    heads[slot, _LENGTH] += 1


@kernel
def _fill(table):
    return table.size // 4 * 3


@kernel
def _refill(table, owners, entry_ids, size):
    for entry in range(size):
        place = _home(table, np.int64(owners[entry, 0]), entry_ids[entry])
        while table[place] >= 0:
            place = (place + 1) & (table.size - 1)
        table[place] = entry


@kernel
def _copy(heads, owners, entry_ids, entry_counts, slots, offsets, ids, counts):
    entries = np.empty(_BLOCK, np.int64)
    for first in range(0, slots.size, _BLOCK):
        last = min(first + _BLOCK, slots.size)
        longest = np.int64(0)
        for i in range(first, last):
            entries[i - first] = heads[slots[i], _FIRST]
            longest = max(longest, offsets[i + 1] - offsets[i])
        # A step of every chain in turn, so that the waits for memory overlap.
        for step in range(longest):
            for i in range(first, last):
                entry, at = entries[i - first], offsets[i] + step
                if entry >= 0:
                    ids[at] = entry_ids[entry]
                    if counts.size:
                        counts[at] = entry_counts[entry]
                    entries[i - first] = owners[entry, 1]
        for i in range(first, last):
            _sort(ids, counts, offsets[i], offsets[i + 1])


@kernel
def _sort(ids, counts, first, last):
    """Sort ids[first:last], and counts, if there are any, with them."""
    if last - first > _SHORT:
        order = np.argsort(ids[first:last])
        ids[first:last] = ids[first:last][order]
        if counts.size:
            counts[first:last] = counts[first:last][order]
        return
    for at in range(first + 1, last):
        while at > first and ids[at - 1] > ids[at]:
            ids[at - 1], ids[at] = ids[at], ids[at - 1]
            if counts.size:
                counts[at - 1], counts[at] = counts[at], counts[at - 1]
            at -= 1
