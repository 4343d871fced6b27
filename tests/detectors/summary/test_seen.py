from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.detectors.summary.accumulator import Values
from tocsin.detectors.summary.definition import Reducer
from tocsin.detectors.summary.seen import Seen

SLOTS = np.arange(3, dtype=np.int32)
ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2**50)), max_size=20)


def filled(rows, kinds=("first_seen", "last_seen")):
    ours = Seen(tuple(Reducer(kind, kind) for kind in kinds))
    ours.grow(3)
    times = np.array([time for _, time in rows], np.int64)
    ours.add(np.array([slot for slot, _ in rows], np.int32), Values(times, times.astype(np.uint64)))
    return ours


def results(ours):
    return {name: column.cast("int64").to_pylist() for name, column in ours.results(SLOTS).items()}


def oracle(rows):
    its = [[time for each, time in rows if each == slot] for slot in SLOTS.tolist()]
    return {"first_seen": [min(t, default=None) for t in its], "last_seen": [max(t, default=None) for t in its]}


@given(ROWS, ROWS)
def test_merged_in_either_order(one, two):
    for parts in ((one, two), (two, one)):
        ours, other = filled(parts[0]), filled(parts[1])
        ours.merge(SLOTS, other.partial(SLOTS))
        assert results(ours) == oracle(one + two)


@pytest.mark.parametrize("kind", ["first_seen", "last_seen"])
def test_only_what_is_asked_for_is_kept(kind):
    ours = filled([(0, 5), (0, 3), (0, 9), (1, 7)], (kind,))
    assert results(ours) == {kind: oracle([(0, 3), (0, 9), (1, 7)])[kind]}
    assert ours.nbytes == filled([]).nbytes / 2
    assert list(ours.partial(SLOTS)) == [kind.removesuffix("_seen")]


def test_results_are_times():
    assert filled([(0, 1_000_000)]).results(SLOTS)["first_seen"].to_pylist() == [
        datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), None, None,
    ]  # fmt: skip
