"""Ranked entries against a sorted list."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernels.blocks import SIZES
from tocsin.kernels.ranked import priority, rank_rows, ring_places


class Rings:
    """The kernels' arrays, with room enough."""

    def __init__(self, slots: int, room: int) -> None:
        self.at, self.free = np.zeros(slots, np.int64), np.append(np.full(SIZES, -1), 0)
        self.length, self.used, self.head = (np.zeros(slots, np.int32) for _ in range(3))
        self.time, self.ordinal, self.value = np.zeros(room, np.int64), *(np.zeros(room, np.uint64) for _ in range(2))

    def add(self, slots, times, ordinals, drawn=False, limit=4):
        kept = np.zeros(len(slots), bool)
        with np.errstate(over="ignore"):
            end = rank_rows(
                0, slots, times, ordinals, ordinals * np.uint64(7), drawn, limit, kept,
                self.at, self.length, self.used, self.head, self.free, self.time, self.ordinal, self.value,
            )  # fmt: skip
        return end, kept

    def entries(self, slot):
        starts = np.array([0, self.used[slot]])
        places = ring_places(np.array([slot], np.int32), starts, self.at, self.length, self.used, self.head)
        assert (self.value[places] == self.ordinal[places] * np.uint64(7)).all()
        return list(zip(self.time[places].tolist(), self.ordinal[places].tolist(), strict=True))


def _priority(ordinal: int) -> int:
    with np.errstate(over="ignore"):
        return int(priority(np.uint64(ordinal)))


rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 30)), max_size=120)


@given(rows, st.booleans(), st.integers(1, 9))
def test_agrees_with_a_sorted_list(rows, drawn, limit):
    rings = Rings(3, 200)
    slots, times, ordinals = (np.array([row[i] for row in rows], np.int64) for i in range(3))
    times = ordinals % 5 if drawn else times
    end, kept = rings.add(slots.astype(np.int32), times, ordinals.astype(np.uint64), drawn, limit)
    assert end == len(rows)
    for slot in range(3):
        pairs = {(int(t), int(o)) for s, t, o in zip(slots, times, ordinals, strict=True) if s == slot}
        ranked = sorted(pairs, key=lambda pair: _priority(pair[1]) if drawn else pair)
        assert rings.entries(slot) == ranked[-limit:]
        assert kept[slots == slot].sum() >= min(limit, len(pairs))


def test_stops_where_there_is_no_room_and_goes_on():
    rings = Rings(4, 4)
    slots = np.array([0, 0, 1, 0, 2], np.int32)
    end, kept = rings.add(slots, np.arange(5), np.arange(5, dtype=np.uint64), limit=8)
    assert end == 3
    assert kept.tolist() == [True, True, True, False, False]
    assert rings.entries(0) == [(0, 0), (1, 1)]


def test_an_outgrown_block_is_used_again():
    rings = Rings(2, 6)
    slots = np.array([0, 0, 0, 1, 1], np.int32)
    end, _ = rings.add(slots, np.arange(5), np.arange(5, dtype=np.uint64), limit=4)
    assert end == 5
    assert rings.at.tolist() == [2, 0]


def test_priorities_are_one_to_one_and_spread():
    drawn = [_priority(ordinal) for ordinal in range(5_000)]
    assert len(set(drawn)) == 5_000
    shares = np.bincount([value >> 60 for value in drawn], minlength=16) / 5_000
    assert shares == pytest.approx(1 / 16, abs=0.012)
