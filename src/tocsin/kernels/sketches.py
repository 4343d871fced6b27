"""HyperLogLog sketches of many slots in one pool: how many different hashes each slot has seen, in little memory.

A sketch is sparse while that is smaller: an open-addressing table of codes (`hll.py`), of 4 cells at first. Then it is
dense: one byte a register. Which of the two, and what is in it, depends only on the set of hashes.

The estimate never falls when hashes are added: a dense sketch stands for more hashes than a sparse one can hold, and
its estimate is kept above that.
"""

from typing import NamedTuple

import numpy as np

from tocsin.kernels.compiler import kernel
from tocsin.kernels.hll import RANK_BITS, improved_raw, linear_count, register_of, weight

PRECISIONS = range(4, 23)
"""A sketch has 2^precision registers."""

UNIT_BYTES = 16
_CELLS, _WORDS = 4, 2  # of 4 and of 8 bytes in a unit
_PLACE, _KIND, _COUNT = 0, 1, 2
_NONE, _DENSE = 0, 31  # kinds of sketches; between them sparse ones: kind k has 2 << k cells
_USED, _FREE, _WANTED, _READ = 32, 33, 34, 35
_BLOCK = 32


class Sketches(NamedTuple):
    """The sketches of all slots.

    heads: (slots, 3) int32: place, where a slot's chunk begins, in units of 16 bytes; kind, none, sparse of so many
        cells, or dense; count, the codes of a sparse sketch, the empty registers of a dense one.
    cells: (units · 4,) uint32, the pool of chunks. registers, words: the same memory as uint8 and int64. A dense chunk
        holds its registers, then in a word the sum of their weights.
    books: (36,) int64: by kind the first of the chunks given back, -1 if none; then units used, of them given back,
        wanted when there was no room; the last is there so that reading ahead is not optimised away.
    precision: of dense sketches.
    """

    heads: np.ndarray
    cells: np.ndarray
    registers: np.ndarray
    words: np.ndarray
    books: np.ndarray
    precision: int


def sketches(slots: int, precision: int) -> Sketches:
    """Return empty sketches of so many slots, in a pool without room."""
    heads, books = np.zeros((slots, 3), np.int32), np.zeros(36, np.int64)
    books[:_USED] = -1
    return _over(np.zeros(_CELLS, np.uint32), heads, books, precision)


def roomier(state: Sketches) -> Sketches:
    """Return the same sketches with room in the pool for what was wanted and more; the old ones are not to be used."""
    used, free, wanted = (int(state.books[mark]) for mark in (_USED, _FREE, _WANTED))
    if 4 * free > used:
        return _packed(state, used - free, wanted)
    # In place: the system moves pages, not bytes.
    state.cells.resize(_with_room(used, wanted) * _CELLS, refcheck=False)
    return _over(state.cells, state.heads, state.books, state.precision)


def _packed(state: Sketches, live: int, wanted: int) -> Sketches:
    """Return the same sketches with their chunks side by side in a new pool, in the order of slots."""
    books = np.zeros_like(state.books)
    books[:_USED] = -1
    new = _over(np.zeros(_with_room(live, wanted) * _CELLS, np.uint32), state.heads, books, state.precision)
    books[_USED] = _move(state.heads, state.words, new.words, state.precision)
    return new


def _with_room(units: int, wanted: int) -> int:
    return units + units // 4 + wanted


def _over(cells: np.ndarray, heads: np.ndarray, books: np.ndarray, precision: int) -> Sketches:
    return Sketches(heads, cells, cells.view(np.uint8), cells.view(np.int64), books, precision)


@kernel
def add_codes(state: Sketches, slots: np.ndarray, codes: np.ndarray, start: int, out: np.ndarray) -> int:
    """Add codes[i] to slots[i] from row `start` on.

    Args:
        state: changed.
        slots: (n,) int32.
        codes: (n,) uint32, of `hll.encode`; 0 changes nothing.
        start: the first row.
        out: (n,) float64, takes the estimate of each row's slot after the row; or (0,).

    Returns:
        The first row not added: n, or where the pool is full. Then go on from there with a `roomier` one.
    """
    heads, cells, registers, words, books, precision = state
    for first in range(start, slots.size, _BLOCK):
        last = min(first + _BLOCK, slots.size)
        books[_READ] = _read_ahead(heads, cells, slots[first:last])
        for i in range(first, last):
            slot, code = np.int64(slots[i]), np.int64(codes[i])
            done = code == 0 or _put(heads, cells, slot, code)
            if not done and heads[slot, _KIND] != _DENSE:
                if not _enlarge(heads, cells, registers, words, books, precision, slot):
                    return i
                done = _put(heads, cells, slot, code)
            if not done:
                _register(heads, registers, words, precision, slot, code)
            if out.size:
                out[i] = _estimate(heads, words, precision, slot)
    return slots.size


@kernel
def add_registers(state: Sketches, slots: np.ndarray, registers: np.ndarray, start: int) -> int:
    """Merge dense sketches, (n, 2^precision) uint8, as `add_codes` does codes."""
    heads, cells, own, words, books, precision = state
    for i in range(start, slots.size):
        slot = np.int64(slots[i])
        while heads[slot, _KIND] != _DENSE:
            if not _enlarge(heads, cells, own, words, books, precision, slot):
                return i
        for j in range(registers.shape[1]):
            if registers[i, j] > own[np.int64(heads[slot, _PLACE]) * UNIT_BYTES + j]:
                _raise(heads, own, words, precision, slot, j, np.int64(registers[i, j]))
    return slots.size


@kernel
def estimates(state: Sketches, slots: np.ndarray) -> np.ndarray:
    """Return how many different hashes slots have seen: (n,) float64, whole numbers."""
    out = np.empty(slots.size)
    for i in range(slots.size):
        out[i] = _estimate(state.heads, state.words, state.precision, slots[i])
    return out


@kernel
def forms(state: Sketches, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many codes slots have, (n,) int64, none where dense; and which are dense, (n,) bool."""
    codes, dense = np.zeros(slots.size, np.int64), np.zeros(slots.size, np.bool_)
    for i in range(slots.size):
        dense[i] = state.heads[slots[i], _KIND] == _DENSE
        codes[i] = 0 if dense[i] else state.heads[slots[i], _COUNT]
    return codes, dense


@kernel
def copy_codes(state: Sketches, slots: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the codes of slots, sorted in each: uint32; slot i's go to offsets[i]:offsets[i + 1] (see `forms`)."""
    heads, cells = state.heads, state.cells
    out = np.empty(offsets[-1], np.uint32)
    for i in range(slots.size):
        at, cell = offsets[i], np.int64(heads[slots[i], _PLACE]) * _CELLS
        while at < offsets[i + 1]:
            if cells[cell]:
                out[at] = cells[cell]
                at += 1
            cell += 1
        out[offsets[i] : offsets[i + 1]].sort()
    return out


@kernel
def copy_registers(state: Sketches, slots: np.ndarray) -> np.ndarray:
    """Return the registers of dense slots, (n, 2^precision) uint8."""
    size = 1 << state.precision
    out = np.empty((slots.size, size), np.uint8)
    for i in range(slots.size):
        first = np.int64(state.heads[slots[i], _PLACE]) * UNIT_BYTES
        out[i] = state.registers[first : first + size]
    return out


@kernel
def _estimate(heads, words, precision, slot):
    if heads[slot, _KIND] != _DENSE:
        return linear_count(heads[slot, _COUNT])
    size = 1 << precision
    least = linear_count(_room(size >> 2) + 1)
    return max(least, improved_raw(size, heads[slot, _COUNT], words[_weights_at(heads, precision, slot)]))


@kernel
def _read_ahead(heads, cells, slots):
    # Loads that wait for nothing, so that the cache misses of a block's rows overlap.
    read = np.int64(0)
    for slot in slots:
        read += np.int64(cells[np.int64(heads[slot, _PLACE]) * _CELLS])
    return read


@kernel
def _put(heads, cells, slot, code):
    """Put a code into a sparse sketch; False where it is none or has no room."""
    kind = np.int64(heads[slot, _KIND])
    if kind in (_NONE, _DENSE):
        return False
    first, size = np.int64(heads[slot, _PLACE]) * _CELLS, 2 << kind
    at = code >> RANK_BITS
    for _ in range(size):
        at &= size - 1
        old = np.int64(cells[first + at])
        if old == 0:
            if heads[slot, _COUNT] >= _room(size):
                return False
            heads[slot, _COUNT] += 1
            cells[first + at] = np.uint32(code)
            return True
        if old >> RANK_BITS == code >> RANK_BITS:
            if code > old:
                cells[first + at] = np.uint32(code)
            return True
        at += 1
    return False


@kernel
def _room(size):
    return size if size <= 16 else size // 4 * 3


@kernel
def _register(heads, registers, words, precision, slot, code):
    register, rank = register_of(code, precision)
    # Most often nothing is raised; then no call.
    if rank > registers[np.int64(heads[slot, _PLACE]) * UNIT_BYTES + register]:
        _raise(heads, registers, words, precision, slot, register, rank)


@kernel
def _raise(heads, registers, words, precision, slot, register, rank):
    at = np.int64(heads[slot, _PLACE]) * UNIT_BYTES + register
    old = np.int64(registers[at])
    registers[at] = rank
    words[_weights_at(heads, precision, slot)] += weight(rank) - weight(old)
    heads[slot, _COUNT] -= old == 0


@kernel
def _weights_at(heads, precision, slot):
    return np.int64(heads[slot, _PLACE]) * _WORDS + (1 << precision) // 8


@kernel
def _enlarge(heads, cells, registers, words, books, precision, slot):
    """Give a slot a chunk of the next kind; False where the pool has no room for it."""
    old, old_kind = np.int64(heads[slot, _PLACE]), np.int64(heads[slot, _KIND])
    kind = _DENSE if 2 << old_kind == 1 << (precision - 2) else old_kind + 1
    new = _take(words, books, kind, _units(kind, precision))
    if new < 0:
        return False
    heads[slot, _PLACE], heads[slot, _KIND] = new, kind
    heads[slot, _COUNT] = 1 << precision if kind == _DENSE else 0
    if old_kind == _NONE:
        return True
    for cell in range(old * _CELLS, old * _CELLS + (2 << old_kind)):
        code = np.int64(cells[cell])
        if code and kind == _DENSE:
            _register(heads, registers, words, precision, slot, code)
        elif code:
            _put(heads, cells, slot, code)
    _give(words, books, old_kind, old)
    return True


@kernel
def _units(kind, precision):
    if kind == _DENSE:
        return (1 << precision) // UNIT_BYTES + 1
    return (2 << kind) // _CELLS


@kernel
def _take(words, books, kind, size):
    place = books[kind]
    if place >= 0:
        books[kind] = words[place * _WORDS]
        books[_FREE] -= size
    elif (books[_USED] + size) * _WORDS <= words.size:
        place = books[_USED]
        books[_USED] += size
    else:
        books[_WANTED] = size
        return np.int64(-1)
    for word in range(place * _WORDS, (place + size) * _WORDS):
        words[word] = 0
    return place


@kernel
def _give(words, books, kind, place):
    words[place * _WORDS] = books[kind]
    books[kind] = place
    books[_FREE] += _units(kind, 0)


@kernel
def _move(heads, words, new, precision):
    used = np.int64(0)
    for slot in range(heads.shape[0]):
        kind = np.int64(heads[slot, _KIND])
        if kind != _NONE:
            old, at = np.int64(heads[slot, _PLACE]) * _WORDS, used * _WORDS
            for word in range(_units(kind, precision) * _WORDS):
                new[at + word] = words[old + word]
            heads[slot, _PLACE] = used
            used += _units(kind, precision)
    return used
