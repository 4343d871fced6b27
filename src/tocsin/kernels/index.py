"""A map from 64-bit keys to dense slots 0, 1, 2, … in the order in which keys first appeared.

An open-addressing table with linear probing (Knuth, "The Art of Computer Programming", volume 3, section 6.4,
algorithm L) beside a dense array of keys. An entry of 32 bits holds slot + 1 in its low bits (as many as the table's
size needs) and bits of the key's hash in the others, so that almost no other key is looked at; 0 is a free entry.
"""

import numpy as np

from tocsin.kernels.compiler import kernel

_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_BLOCK = 256
_LEAST_BITS = 4
_MOST_BITS = 31


class KeyIndex:
    """Gives each key a slot. Any 64-bit value is a key.

    About 14 to 20 bytes a key: the key itself, and a table of 4-byte entries that is at most three quarters full.
    """

    def __init__(self, capacity: int = 1024) -> None:
        self._size = 0
        self._keys = np.empty(max(capacity, 1), np.uint64)
        self._table = np.zeros(1 << _bits(capacity), np.uint32)

    def __len__(self) -> int:
        return self._size

    @property
    def keys(self) -> np.ndarray:
        """Every key, in slot order: (size,) uint64; a view."""
        return self._keys[: self._size]

    @property
    def nbytes(self) -> int:
        """Bytes held, spare room included."""
        return self._keys.nbytes + self._table.nbytes

    def slots(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each key's slot, giving new ones to unknown keys.

        keys: (n,) uint64. Returns slots: (n,) int32, and first: (m,) int64, the row in which each of the m new keys
        appeared first, in slot order. Raises OverflowError past 3 · 2**29 keys.
        """
        slots, before, row = np.empty(len(keys), np.int32), self._size, 0
        first = np.empty(len(keys), np.int64)
        with np.errstate(over="ignore"):  # the hash is modulo 2**64
            while row < len(keys):
                row, self._size = _place(self._table, self._keys, self._size, keys, row, slots, first, before)
                if row < len(keys):
                    self._grow()
        return slots, first[: self._size - before].copy()

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return each key's slot, -1 for an unknown one. keys: (n,) uint64. Returns (n,) int32."""
        slots = np.empty(len(keys), np.int32)
        with np.errstate(over="ignore"):
            _find(self._table, self._keys, keys, slots)
        return slots

    def _grow(self) -> None:
        if self._size == len(self._keys):
            self._keys = np.concatenate([self._keys, np.empty(self._size // 8 + 64, np.uint64)])
        bits = _bits(self._size + 1)
        if 1 << bits > len(self._table):
            self._table = np.zeros(1 << bits, np.uint32)
            _refill(self._table, self.keys)


def _bits(keys: int) -> int:
    """Return the logarithm of the size of a table that so many keys fill to three quarters at most."""
    bits = max(_LEAST_BITS, (4 * max(keys, 1) // 3).bit_length())
    if bits > _MOST_BITS:
        raise OverflowError(f"an index holds {3 << (_MOST_BITS - 2)} keys at most")
    return bits


@kernel
def _mix(key):
    """Return a well-mixed hash of a key: uint64 -> uint64, one to one."""
    key = (key ^ (key >> np.uint64(32))) * _MIX_1
    key = (key ^ (key >> np.uint64(29))) * _MIX_2
    return key ^ (key >> np.uint64(32))


@kernel
def _shift(table):
    """Return by how much a hash is shifted to give a place in the table."""
    bits = 0
    while 1 << bits < table.size:
        bits += 1
    return np.uint64(64 - bits)


@kernel
def _walk(table, keys, key, hashed, place):
    """Return where a key is, from a place of the table on, or the free entry where it would be."""
    mask = np.uint32(table.size - 1)
    tag = np.uint32(hashed & np.uint64(0xFFFFFFFF)) & ~mask
    while True:
        entry = table[place]
        if entry == 0:
            return place
        if (entry & ~mask) == tag and keys[np.int64(entry & mask) - 1] == key:
            return place
        place = (place + 1) & np.int64(mask)


@kernel
def _peek(table, shift, keys, begin, end, entries):
    # A loop of its own, whose loads wait for nothing, so that their cache misses overlap.
    for i in range(begin, end):
        entries[i] = table[np.int64(_mix(keys[i]) >> shift)]


@kernel
def _place(table, dense, size, keys, start, slots, first, before):
    """Place keys from row `start` on; stop at the row whose key finds no room. Returns that row and the new size."""
    mask, shift = np.uint32(table.size - 1), _shift(table)
    entries = slots.view(np.uint32)
    room = min(dense.size, table.size // 4 * 3)
    for begin in range(start, keys.size, _BLOCK):
        end = min(begin + _BLOCK, keys.size)
        _peek(table, shift, keys, begin, end, entries)
        for i in range(begin, end):
            slot = np.int64(entries[i] & mask) - 1
            if slot < 0 or dense[slot] != keys[i]:
                hashed = _mix(keys[i])
                place = _walk(table, dense, keys[i], hashed, np.int64(hashed >> shift))
                slot = np.int64(table[place] & mask) - 1
                if slot < 0:
                    if size == room:
                        return i, size
                    slot = size
                    dense[slot] = keys[i]
                    table[place] = (np.uint32(hashed & np.uint64(0xFFFFFFFF)) & ~mask) | np.uint32(slot + 1)
                    first[size - before] = i
                    size += 1
            slots[i] = slot
    return keys.size, size


@kernel
def _find(table, dense, keys, slots):
    mask, shift = np.uint32(table.size - 1), _shift(table)
    entries = slots.view(np.uint32)
    for begin in range(0, keys.size, _BLOCK):
        end = min(begin + _BLOCK, keys.size)
        _peek(table, shift, keys, begin, end, entries)
        for i in range(begin, end):
            slot = np.int64(entries[i] & mask) - 1
            if slot < 0 or dense[slot] != keys[i]:
                hashed = _mix(keys[i])
                slot = np.int64(table[_walk(table, dense, keys[i], hashed, np.int64(hashed >> shift))] & mask) - 1
            slots[i] = slot


@kernel
def _refill(table, dense):
    mask, shift = np.uint32(table.size - 1), _shift(table)
    for slot in range(dense.size):
        hashed = _mix(dense[slot])
        place = np.int64(hashed >> shift)
        while table[place] != 0:
            place = (place + 1) & np.int64(mask)
        table[place] = (np.uint32(hashed & np.uint64(0xFFFFFFFF)) & ~mask) | np.uint32(slot + 1)
