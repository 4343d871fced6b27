"""Entries of slots against dictionaries."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernels.entries import NO_ID, Entries

SLOTS = 4
EVERY = np.arange(SLOTS, dtype=np.int32)
ids = st.integers(0, 2**64 - 2) | st.integers(0, 5) | st.just(NO_ID)
rows = st.lists(st.tuples(st.integers(0, SLOTS - 1), ids, st.integers(1, 9)), max_size=300)


def columns(rows):
    slots, its_ids, counts = zip(*rows, strict=True) if rows else ((), (), ())
    return np.array(slots, np.int32), np.array(its_ids, np.uint64), np.array(counts, np.int64)


def held(entries):
    offsets, its_ids, counts = entries.of(EVERY)
    parts = [slice(offsets[slot], offsets[slot + 1]) for slot in range(SLOTS)]
    return [list(zip(its_ids[part].tolist(), counts[part].tolist(), strict=True)) for part in parts]


@given(rows, st.booleans())
def test_counts_of_ids(rows, weighted):
    slots, its_ids, counts = columns(rows)
    entries = Entries(counted=True)
    entries.grow(SLOTS)
    entries.add(slots, its_ids, counts if weighted else None)
    expected = Counter()
    for slot, id, count in rows:
        expected[slot, id] += (count if weighted else 1) if id != NO_ID else 0
    assert held(entries) == [
        sorted((id, count) for (at, id), count in expected.items() if at == slot and id != NO_ID)
        for slot in range(SLOTS)
    ]


@given(rows, st.integers(1, 4))
def test_a_slot_holds_no_more_than_it_may(rows, most):
    slots, its_ids, _ = columns(rows)
    entries = Entries(most, nothing=5)
    entries.grow(SLOTS)
    seen = [set() for _ in range(SLOTS)]
    expected = []
    for slot, id, _ in rows:
        seen[slot] |= {id} - {5}
        expected.append(min(len(seen[slot]), most))
    assert entries.trace(slots, its_ids).tolist() == expected
    assert entries.lengths(EVERY).tolist() == [min(len(some), most) for some in seen]
    offsets, kept, _ = entries.of(EVERY)
    assert all(set(kept[offsets[slot] : offsets[slot + 1]].tolist()) <= seen[slot] for slot in range(SLOTS))


def test_growing_keeps_what_was_there():
    entries = Entries(counted=True)
    for slots in range(1, 2000, 37):
        entries.grow(slots)
        at = np.arange(slots, dtype=np.int32)
        entries.add(at, at.astype(np.uint64) % np.uint64(7))
    last = np.array([0, 5, 1998], np.int32)
    offsets, its_ids, counts = entries.of(last)
    assert offsets.tolist() == [0, 1, 2, 3]
    assert its_ids.tolist() == [0, 5, 1998 % 7]
    assert counts.tolist() == [55, 54, 1]
    assert len(entries) == 1999
    assert entries.nbytes > 24 * len(entries)


def test_ids_that_differ_only_in_their_slot():
    entries = Entries()
    entries.grow(10_000)
    slots = np.repeat(np.arange(10_000, dtype=np.int32), 3)
    entries.add(slots, np.tile(np.arange(3, dtype=np.uint64), 10_000))
    assert len(entries) == 30_000
    assert (entries.lengths(np.arange(10_000)) == 3).all()


def test_many_ids_of_a_slot_come_sorted_with_their_counts():
    entries = Entries(counted=True)
    entries.grow(SLOTS)
    shuffled = np.random.default_rng(1).permutation(500).astype(np.uint64)
    entries.add(np.full(500, 2, np.int32), shuffled, shuffled.astype(np.int64) + 1)
    assert held(entries) == [[], [], [(id, id + 1) for id in range(500)], []]
