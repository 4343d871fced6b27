import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernels.windows import ADD, MOST, note_times, raise_bounds

SLOTS = 3
FAR = 2**63 - 1
TIMES = st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(-(2**60), 2**60)), max_size=20)
STEPS = st.lists(
    st.tuples(st.integers(0, SLOTS - 1), st.one_of(st.integers(-5, 9).map(float), st.just(math.nan))), max_size=20
)


@given(TIMES)
def test_times(rows):
    state = np.tile(np.array([FAR, -FAR, 0]), (SLOTS, 1))
    note_times(np.array([slot for slot, _ in rows], np.int32), np.array([time for _, time in rows], np.int64), state)
    for slot in range(SLOTS):
        its = [time for each, time in rows if each == slot]
        assert state[slot].tolist() == [min([*its, FAR]), max([*its, -FAR]), len(its)]


@pytest.mark.parametrize("how", [ADD, MOST])
@given(rows=STEPS, send_at=st.integers(1, 12))
def test_bounds(how, rows, send_at):
    state, due = np.tile([0.0, send_at, 7.0], (SLOTS, 1)), np.zeros(SLOTS, bool)
    slots, steps = np.array([slot for slot, _ in rows], np.int32), np.array([step for _, step in rows], float)
    reached = raise_bounds(slots, steps, how, state, due)
    bounds, found = [0.0] * SLOTS, []
    for slot, step in rows:
        if step > 0:
            bounds[slot] = bounds[slot] + step if how == ADD else max(bounds[slot], step)
        found += [slot] if bounds[slot] >= send_at else []
    assert state.tolist() == [[bound, send_at, 7.0] for bound in bounds]
    assert reached == len(found)
    assert np.flatnonzero(due).tolist() == sorted(set(found))


def test_without_steps_each_row_is_one():
    state, due = np.tile([0.0, 2.0], (1, 1)), np.zeros(1, bool)
    assert raise_bounds(np.zeros(3, np.int32), np.empty(0), ADD, state, due) == 2
    assert state.tolist() == [[3.0, 2.0]]
    assert due.tolist() == [True]
