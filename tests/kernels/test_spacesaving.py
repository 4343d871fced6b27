"""Space-Saving counters against a list that is searched through."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernels.blocks import SIZES
from tocsin.kernels.spacesaving import CELLS, block_places, count_rows, join_slots, largest_places, refill_slots


@dataclass
class Slow:
    """The algorithm as the paper tells it; a counter is [key, count, error, when it had this count first]."""

    limit: int
    counters: list[list[int]] = field(default_factory=list)

    def count(self, key: int, now: int) -> None:
        for counter in self.counters:
            if counter[0] == key:
                counter[1:] = [counter[1] + 1, counter[2], now]
                return
        if len(self.counters) < self.limit:
            self.counters.append([key, 1, 0, now])
            return
        victim = min(self.counters, key=lambda counter: (counter[1], counter[3]))
        victim[:] = [key, victim[1] + 1, victim[1], now]


class Fast:
    """The kernels' arrays."""

    def __init__(self, slots: int, limit: int, room: int) -> None:
        self.limit = limit
        self.at, self.total, self.least = (np.zeros(slots, np.int64) for _ in range(3))
        self.room, self.used, self.turn, self.queued = (np.zeros(slots, np.int32) for _ in range(4))
        self.free = np.append(np.full(SIZES, -1), 0)
        self.key, self.last = (np.zeros(room, np.uint64) for _ in range(2))
        self.counts, self.error = (np.zeros(room, np.int64) for _ in range(2))
        self.queue, self.cells = np.zeros(room, np.int32), np.full(CELLS * room, 99, np.int32)

    @property
    def arrays(self):
        slots = (self.at, self.room, self.used, self.total, self.least, self.turn, self.queued)
        return (*slots, self.free, self.key, self.counts, self.error, self.last, self.queue, self.cells)

    def count(self, slots, keys, first=0):
        new = np.zeros(len(slots), bool)
        ordinals = np.arange(first, first + len(slots), dtype=np.uint64)
        with np.errstate(over="ignore"):
            end = count_rows(0, np.array(slots, np.int32), keys, ordinals, self.limit, new, *self.arrays)
        return end, new

    def counters(self, slot):
        starts = np.array([0, self.used[slot]])
        places = block_places(np.array([slot], np.int32), starts, self.at, self.used)
        columns = (self.key, self.counts, self.error, self.last)
        return sorted(zip(*(column[places].tolist() for column in columns), strict=True))


rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 14)), max_size=150)


@given(rows, st.sampled_from([1, 2, 3, 7, 12]))
def test_agrees_with_the_slow_one(rows, limit):
    fast, slow = Fast(2, limit, 100), [Slow(limit), Slow(limit)]
    for now, (slot, key) in enumerate(rows):
        slow[slot].count(key, now)
    end, new = fast.count([slot for slot, _ in rows], np.array([key for _, key in rows], np.uint64))
    assert end == len(rows)
    assert new.sum() >= sum(len(each.counters) for each in slow)
    for slot in range(2):
        assert fast.counters(slot) == sorted(tuple(counter) for counter in slow[slot].counters)
        assert fast.total[slot] == sum(s == slot for s, _ in rows)


def _columns(held):
    """The counters of several slots, as kernels take them."""
    dtypes = (np.uint64, np.int64, np.int64, np.uint64)
    columns = [np.array([each[i] for slot in held for each in slot], dtype) for i, dtype in enumerate(dtypes)]
    return np.cumsum([0, *map(len, held)]), *columns


def _count(fast, part, start=0):
    fast.count([slot for slot, _ in part], np.array([key for _, key in part], np.uint64), start)


@given(rows, rows, st.sampled_from([1, 2, 7]))
def test_goes_on_from_counters_that_were_put_in(before, after, limit):
    whole, first, second = (Fast(2, limit, 60) for _ in range(3))
    for fast, part, start in ((whole, before, 0), (whole, after, len(before)), (first, before, 0)):
        _count(fast, part, start)
    columns = _columns([first.counters(slot) for slot in range(2)])
    with np.errstate(over="ignore"):
        slots = np.arange(2, dtype=np.int32)
        assert refill_slots(0, slots, *columns, limit, *second.arrays) == 2
    _count(second, after, len(before))
    assert [second.counters(slot) for slot in range(2)] == [whole.counters(slot) for slot in range(2)]


@given(rows, rows)
def test_joining_is_exact_where_all_fit_and_changes_nothing_elsewhere(before, after):
    limit, slots, over = 6, np.arange(2, dtype=np.int32), np.zeros(2, bool)
    one, other, whole = Fast(2, limit, 60), Fast(2, limit, 60), Fast(2, 30, 200)
    for fast, part, start in ((one, before, 0), (other, after, 500), (whole, before, 0), (whole, after, 500)):
        _count(fast, part, start)
    held = [one.counters(slot) for slot in range(2)]
    with np.errstate(over="ignore"):
        columns = _columns([other.counters(slot) for slot in range(2)])
        assert join_slots(0, slots, *columns, limit, over, *one.arrays) == 2
    for slot in range(2):
        assert over[slot] == (len({each[0] for each in held[slot] + other.counters(slot)}) > limit)
        if over[slot]:
            assert one.counters(slot) == held[slot]
        elif whole.used[slot] <= limit:
            assert one.counters(slot) == whole.counters(slot)


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 99)), unique=True, max_size=9), min_size=1),
    st.integers(1, 6),
)
def test_the_largest_are_those_of_a_sorted_list(groups, size):
    counts, lasts = (np.array([each[i] for group in groups for each in group], np.int64) for i in range(2))
    first = np.cumsum([0, *map(len, groups)])
    starts, places = largest_places(first[:-1], np.diff(first), size, counts, lasts.astype(np.uint64))
    for i, group in enumerate(groups):
        its = places[starts[i] : starts[i + 1]]
        assert list(zip(-counts[its], lasts[its], strict=True)) == sorted((-c, when) for c, when in group)[:size]


def test_stops_where_there_is_no_room():
    fast = Fast(2, 8, 2)
    end, new = fast.count([0, 0, 0, 1, 0], np.array([5, 6, 5, 7, 8], np.uint64))
    assert end == 3
    assert new.tolist() == [True, True, False, False, False]
    assert fast.total.tolist() == [3, 0]


def test_a_flat_stream_over_a_full_sketch_keeps_its_bound():
    fast = Fast(1, 50, 200)
    keys = np.random.default_rng(0).integers(0, 2**63, 5_000).astype(np.uint64)
    fast.count(np.zeros(5_000), keys)
    counts = [count for _, count, _, _ in fast.counters(0)]
    assert sum(counts) == 5_000
    assert min(counts) == max(counts) == 100
