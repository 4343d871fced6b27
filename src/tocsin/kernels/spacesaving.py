"""Space-Saving counters of each slot (Metwally, Agrawal and El Abbadi, ICDT 2005, section 3).

While there is room every value has a counter of its own. Then a new value takes over the counter of the value with the
smallest count, c, that has had this count for longest, and goes on from c + 1 with c as its error.

The counts of a slot sum to the records that it has seen, so its smallest count can rise n / size times in n records:
looking through all counters each time it does, for the queue of those that have it, is a constant cost per record.
"""

import numpy as np

from tocsin.kernels.blocks import leave_block, number_of, size_of, take_block
from tocsin.kernels.compiler import kernel

_MIX = np.uint64(0x9E3779B97F4A7C15)
CELLS = 2
"""Cells of the lookup table per counter; a cell holds a counter's number in its block plus one, 0 is free."""


@kernel
def count_rows(
    start, slots, hashes, ordinals, limit, new,
    at, room, used, total, least, turn, queued, free, key, count, error, last, queue, cells,
):  # fmt: skip
    """Count rows from `start` on; stop at the row that finds no room. Return that row.

    Args:
        slots: (n,) int32. hashes: (n,) uint64, the values. ordinals: (n,) uint64.
        limit: counters of a slot.
        new: (n,) bool, set where a row's value got a counter.
        at, room, used: (slots,) int64, int32, int32: the slot's block, its length, counters in use.
        total: (slots,) int64, rows counted.
        least: (slots,) int64, the count of those in the queue of counters to take over.
        turn, queued: (slots,) int32: which of the queue is next, and how many are in it; no queue: equal.
        free: see `blocks`.
        key, count, error, last: the counters, uint64, int64, int64, uint64; `last` is the largest ordinal counted.
        queue: int32, one a counter, numbers of counters in the block. cells: int32, CELLS a counter.
    """
    for i in range(start, slots.size):
        slot = slots[i]
        total[slot] += 1
        place = _counter(hashes[i], at[slot], room[slot], key, cells)
        if place >= 0:
            count[place] += 1
            last[place] = max(last[place], ordinals[i])
            continue
        if used[slot] < limit:
            narrow = used[slot] == room[slot]
            if narrow and not _widen(slot, limit, at, room, used, free, key, count, error, last, cells):
                total[slot] -= 1
                return i
            _append(slot, hashes[i], 1, 0, ordinals[i], at, room, used, key, count, error, last, cells)
        else:
            place = _next_to_go(slot, limit, at, least, turn, queued, count, last, queue)
            _forget(key[place], at[slot], room[slot], key, cells)
            key[place], error[place], last[place] = hashes[i], count[place], ordinals[i]
            count[place] += 1
            cells[_cell(hashes[i], at[slot], room[slot], key, cells)] = place - at[slot] + 1
        new[i] = True
    return slots.size


@kernel
def join_slots(
    start, slots, starts, keys, counts, errors, lasts, limit, over,
    at, room, used, total, least, turn, queued, free, key, count, error, last, queue, cells,
):  # fmt: skip
    """Add counters to those of slots, where a slot's are then not more than `limit`; such a sum is exact.

    slots: (m,) int32; to row i come the counters starts[i]:starts[i + 1] of keys, counts, errors and lasts, `limit` at
    most. over: (m,) bool, set where there would be more; nothing is changed there. The others as in `count_rows`.
    Stops at the row that finds no room and returns that row.
    """
    for i in range(start, slots.size):
        slot = slots[i]
        needed = used[slot]
        for j in range(starts[i], starts[i + 1]):
            needed += _counter(keys[j], at[slot], room[slot], key, cells) < 0
        if needed > limit:
            over[i] = True
            continue
        while room[slot] < needed:
            if not _widen(slot, limit, at, room, used, free, key, count, error, last, cells):
                return i
        turn[slot], queued[slot] = 0, 0
        for j in range(starts[i], starts[i + 1]):
            place = _counter(keys[j], at[slot], room[slot], key, cells)
            if place >= 0:
                count[place] += counts[j]
                error[place] += errors[j]
                last[place] = max(last[place], lasts[j])
            else:
                _append(slot, keys[j], counts[j], errors[j], lasts[j], at, room, used, key, count, error, last, cells)
    return slots.size


@kernel
def refill_slots(
    start, slots, starts, keys, counts, errors, lasts, limit,
    at, room, used, total, least, turn, queued, free, key, count, error, last, queue, cells,
):  # fmt: skip
    """Replace the counters of slots from row `start` on; stop at the row that finds no room. Return that row.

    slots: (m,) int32; row i gets the counters starts[i]:starts[i + 1] of keys, counts, errors and lasts, `limit` at
    most. The others as in `count_rows`.
    """
    for i in range(start, slots.size):
        slot = slots[i]
        while room[slot] < starts[i + 1] - starts[i]:
            if not _widen(slot, limit, at, room, used, free, key, count, error, last, cells):
                return i
        used[slot], turn[slot], queued[slot] = 0, 0, 0
        cells[CELLS * at[slot] : CELLS * (at[slot] + room[slot])] = 0
        for j in range(starts[i], starts[i + 1]):
            _append(slot, keys[j], counts[j], errors[j], lasts[j], at, room, used, key, count, error, last, cells)
    return slots.size


@kernel
def block_places(slots, starts, at, used):
    """Return where the counters of these slots lie, slot by slot: (starts[-1],) int64; starts: (m + 1,) int64."""
    places = np.empty(starts[-1], np.int64)
    for i in range(slots.size):
        for j in range(used[slots[i]]):
            places[starts[i] + j] = at[slots[i]] + j
    return places


@kernel
def largest_places(first, used, size, count, last):
    """Return where the `size` largest of each group of counters lie, largest first, of equal ones the oldest first.

    first, used: (m,) int64: group i is counters first[i] to first[i] + used[i].
    Returns starts: (m + 1,) int64, and places: (starts[-1],) int64.
    """
    starts = np.zeros(first.size + 1, np.int64)
    for i in range(first.size):
        starts[i + 1] = starts[i] + min(used[i], size)
    places = np.empty(starts[-1], np.int64)
    for i in range(first.size):
        its = slice(first[i], first[i] + used[i])
        order = np.argsort(last[its])
        order = order[np.argsort(-count[its][order], kind="mergesort")]
        places[starts[i] : starts[i + 1]] = first[i] + order[: starts[i + 1] - starts[i]]
    return starts, places


@kernel
def _home(hashed, first, room):
    """Return the cell at which the search for a value begins."""
    mixed = (hashed * _MIX) >> np.uint64(32)
    return CELLS * first + np.int64((mixed * np.uint64(CELLS * room)) >> np.uint64(32))


@kernel
def _after(cell, first, room):
    return cell + 1 if cell + 1 < CELLS * (first + room) else CELLS * first


@kernel
def _cell(hashed, first, room, key, cells):
    """Return the cell of a value, or the free one where it would be."""
    cell = _home(hashed, first, room)
    while cells[cell] > 0 and key[first + cells[cell] - 1] != hashed:
        cell = _after(cell, first, room)
    return cell


@kernel
def _counter(hashed, first, room, key, cells):
    """Return where a value's counter is, -1 where it has none."""
    number = cells[_cell(hashed, first, room, key, cells)] if room > 0 else 0
    return first + number - 1 if number > 0 else np.int64(-1)


@kernel
def _forget(hashed, first, room, key, cells):
    """Free a value's cell and close the gap (Knuth, volume 3, section 6.4, algorithm R)."""
    gap = _cell(hashed, first, room, key, cells)
    size = CELLS * room
    cell = _after(gap, first, room)
    while cells[cell] > 0:
        home = _home(key[first + cells[cell] - 1], first, room)
        if (cell - home) % size >= (cell - gap) % size:
            cells[gap] = cells[cell]
            gap = cell
        cell = _after(cell, first, room)
    cells[gap] = 0


@kernel
def _append(slot, hashed, its_count, its_error, its_last, at, room, used, key, count, error, last, cells):
    place = at[slot] + used[slot]
    cell = _cell(hashed, at[slot], room[slot], key, cells)
    key[place], count[place], error[place], last[place] = hashed, its_count, its_error, its_last
    used[slot] += 1
    cells[cell] = used[slot]


@kernel
def _widen(slot, limit, at, room, used, free, key, count, error, last, cells):
    number = number_of(room[slot] + 1, limit)
    block = take_block(number, limit, free, count)
    if block < 0:
        return False
    old, old_room, n = at[slot], room[slot], used[slot]
    at[slot], room[slot], used[slot] = block, size_of(number, limit), 0
    cells[CELLS * block : CELLS * (block + room[slot])] = 0
    for j in range(old, old + n):
        _append(slot, key[j], count[j], error[j], last[j], at, room, used, key, count, error, last, cells)
    leave_block(old, old_room, limit, free, count)
    return True


@kernel
def _next_to_go(slot, limit, at, least, turn, queued, count, last, queue):
    """Return the counter with the smallest count that has had it for longest."""
    first = at[slot]
    while True:
        if turn[slot] == queued[slot]:
            least[slot] = np.min(count[first : first + limit])
            queued[slot] = _line_up(least[slot], first, limit, count, last, queue)
            turn[slot] = 0
        place = first + queue[first + turn[slot]]
        turn[slot] += 1
        # One that was counted since it was put in the queue has left it.
        if count[place] == least[slot]:
            return place


@kernel
def _line_up(least, first, limit, count, last, queue):
    """Queue the counters with this count, the one that was counted longest ago first; return how many."""
    those = np.flatnonzero(count[first : first + limit] == least)
    order = np.argsort(last[first + those])
    for j in range(those.size):
        queue[first + j] = those[order[j]]
    return those.size
