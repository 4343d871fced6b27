"""The highest-ranked entries of each slot: a sample that no split or order changes, or the newest.

A sample of k records is the k with the largest priorities, each record's priority being a mix of its own number
(bottom-k sampling: Cohen and Kelner, "Summarizing data using bottom-k sketches", PODC 2007): the best k of two samples
are the sample of both. The newest are ranked by time, and by number where times are equal.

A slot's entries are a ring in its block, lowest rank first; an entry that comes in order costs no shifting.
"""

import numpy as np

from tocsin.kernels.blocks import leave_block, number_of, size_of, take_block
from tocsin.kernels.compiler import kernel

_SEED = np.uint64(0xA0761D6478BD642F)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@kernel
def priority(ordinal):
    """Return a record's priority in samples: uint64 -> uint64, one to one (SplitMix64's output function)."""
    x = (ordinal ^ _SEED) + _STEP
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


@kernel
def _below(drawn, time, ordinal, other_time, other_ordinal):
    """Tell whether an entry ranks below another."""
    if drawn:
        return priority(ordinal) < priority(other_ordinal)
    return time < other_time or (time == other_time and ordinal < other_ordinal)


@kernel
def rank_rows(
    start, slots, times, ordinals, values, drawn, limit, kept, at, room, used, head, free, time, ordinal, value
):
    """Add rows from `start` on to their slots; stop at the row that finds no room. Return that row.

    Args:
        slots: (n,) int32. times: (n,) int64. ordinals, values: (n,) uint64.
        drawn: rank by priority (a sample), else by time (the newest).
        limit: entries kept of a slot.
        kept: (n,) bool, set where a row became an entry.
        at, room, used, head: (slots,) int64, int32, int32, int32: the slot's block, its length, how many entries it
            holds, and where in it the lowest is.
        free: see `blocks`.
        time, ordinal, value: the entries, int64, uint64, uint64.
    """
    for i in range(start, slots.size):
        slot = slots[i]
        narrow = used[slot] == room[slot] and used[slot] < limit
        if narrow and not _widen(slot, limit, at, room, used, head, free, time, ordinal, value):
            return i
        first, size, n = at[slot], room[slot], used[slot]
        rank = _rank(drawn, times[i], ordinals[i], first, size, n, head[slot], time, ordinal)
        if rank < 0 or (rank == 0 and n == limit):
            continue
        if n == limit:
            head[slot] = (head[slot] + 1) % size
            rank -= 1
            n -= 1
        place = _open(rank, n, slot, first, size, head, time, ordinal, value)
        time[place], ordinal[place], value[place] = times[i], ordinals[i], values[i]
        used[slot] = n + 1
        kept[i] = True
    return slots.size


@kernel
def _rank(drawn, its_time, its_ordinal, first, size, n, head, time, ordinal):
    """Return how many entries rank below, or -1 where this very record is one of them."""
    low, high = 0, n
    if n > 0:
        place = first + (head + n - 1) % size
        if _below(drawn, time[place], ordinal[place], its_time, its_ordinal):
            return n
    while low < high:
        middle = (low + high) // 2
        place = first + (head + middle) % size
        if _below(drawn, time[place], ordinal[place], its_time, its_ordinal):
            low = middle + 1
        else:
            high = middle
    if low < n:
        place = first + (head + low) % size
        if ordinal[place] == its_ordinal and (drawn or time[place] == its_time):
            return -1
    return low


@kernel
def _open(rank, n, slot, first, size, head, time, ordinal, value):
    """Make place for an entry of this rank among n, shifting the fewer of those below and above; return the place."""
    if rank < n - rank:
        head[slot] = (head[slot] + size - 1) % size
        for j in range(rank):
            _move(first + (head[slot] + j + 1) % size, first + (head[slot] + j) % size, time, ordinal, value)
    else:
        for j in range(n, rank, -1):
            _move(first + (head[slot] + j - 1) % size, first + (head[slot] + j) % size, time, ordinal, value)
    return first + (head[slot] + rank) % size


@kernel
def _move(source, target, time, ordinal, value):
    time[target], ordinal[target], value[target] = time[source], ordinal[source], value[source]


@kernel
def _widen(slot, limit, at, room, used, head, free, time, ordinal, value):
    number = number_of(room[slot] + 1, limit)
    block = take_block(number, limit, free, time)
    if block < 0:
        return False
    for j in range(used[slot]):
        _move(at[slot] + (head[slot] + j) % room[slot], block + j, time, ordinal, value)
    leave_block(at[slot], room[slot], limit, free, time)
    at[slot], room[slot], head[slot] = block, size_of(number, limit), 0
    return True


@kernel
def ring_places(slots, starts, at, room, used, head):
    """Return where the entries of these slots lie, slot by slot, lowest rank first: (starts[-1],) int64.

    starts: (m + 1,) int64, the running sum of the slots' entries.
    """
    places = np.empty(starts[-1], np.int64)
    for i in range(slots.size):
        slot = slots[i]
        for j in range(used[slot]):
            places[starts[i] + j] = at[slot] + (head[slot] + j) % room[slot]
    return places
