import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernels.moments import COUNT, LEAST, MOST, SUM, add_plain, add_spread, count_blanks, merge_spread, widen

SLOTS = 3
WHOLE = st.integers(-1000, 1000).map(float)
NUMBERS = st.one_of(WHOLE, st.just(math.nan), st.just(math.inf), st.just(-math.inf))
ROWS = st.lists(st.tuples(st.integers(0, SLOTS - 1), NUMBERS), max_size=30)
EMPTY = {COUNT: 0.0, SUM: 0.0, LEAST: math.inf, MOST: -math.inf}


def columns_of(rows):
    return np.array([slot for slot, _ in rows], np.int32), np.array([number for _, number in rows], float)


def finite(rows, slot):
    return [number for its, number in rows if its == slot and math.isfinite(number)]


def oracle(rows, slot, what):
    numbers = finite(rows, slot)
    if what == COUNT:
        return float(len(numbers))
    if what == SUM:
        return sum(numbers)
    return EMPTY[what] if not numbers else min(numbers) if what == LEAST else max(numbers)


def spread(rows):
    state = np.tile([0.0, math.inf, 0.0, 0.0, -math.inf], (SLOTS, 1))
    add_spread(state, *columns_of(rows), COUNT, np.empty(0))
    return state


@given(ROWS, st.sets(st.sampled_from([COUNT, SUM, LEAST, MOST]), min_size=1))
def test_plain_state(rows, kept):
    columns = np.array([sorted(kept).index(each) if each in kept else -1 for each in range(4)])
    state = np.tile([EMPTY[each] for each in sorted(kept)], (SLOTS, 1))
    skipped = add_plain(state, columns, *columns_of(rows), COUNT, np.empty(0))
    assert skipped == sum(not math.isfinite(number) for _, number in rows)
    assert state.tolist() == [[oracle(rows, slot, each) for each in sorted(kept)] for slot in range(SLOTS)]


@given(ROWS, st.sampled_from([COUNT, SUM, MOST]), st.booleans())
def test_trace_is_the_result_after_each_row(rows, traced, with_spread):
    trace = np.empty(len(rows))
    if with_spread:
        add_spread(np.tile([0.0, math.inf, 0.0, 0.0, -math.inf], (SLOTS, 1)), *columns_of(rows), traced, trace)
    else:
        state = np.tile([EMPTY[each] for each in range(4)], (SLOTS, 1))
        add_plain(state, np.arange(4), *columns_of(rows), traced, trace)
    assert trace.tolist() == [oracle(rows[: i + 1], rows[i][0], traced) for i in range(len(rows))]


@given(ROWS)
def test_spread_state(rows):
    for slot, (count, least, above, squares, most) in enumerate(spread(rows).tolist()):
        numbers = finite(rows, slot)
        assert (count, least, most) == tuple(oracle(rows, slot, each) for each in (COUNT, LEAST, MOST))
        assert above == sum(number - least for number in numbers)
        expected = statistics.variance(map(Fraction, numbers)) * (len(numbers) - 1) if len(numbers) > 1 else 0
        assert squares == pytest.approx(float(expected), rel=1e-12, abs=1e-12)


@given(ROWS, ROWS)
def test_merged_spread_is_that_of_all_rows(one, two):
    merged = spread(one)
    merge_spread(merged, np.arange(SLOTS, dtype=np.int32), spread(two))
    np.testing.assert_allclose(merged, spread(one + two), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("offset", [1e6, 1e9, -1e9])
def test_small_spread_far_from_zero(offset):
    numbers = np.random.default_rng(0).normal(offset, 1.0, 3000)
    halves = [spread([(0, number) for number in part]) for part in (numbers[:1000], numbers[1000:])]
    merge_spread(halves[0], np.arange(SLOTS, dtype=np.int32), halves[1])
    exact = float(statistics.variance(map(Fraction, numbers.tolist())))
    whole = spread([(0, number) for number in numbers])
    assert whole[0, 3] / 2999 == pytest.approx(exact, rel=1e-12)
    assert halves[0][0, 3] / 2999 == pytest.approx(exact, rel=1e-12)


@given(ROWS, st.integers(0, 2))
def test_blanks(rows, before):
    blanks, trace = np.full(SLOTS, float(before)), np.zeros(len(rows))
    count_blanks(blanks, *columns_of(rows), trace)
    seen = [float(before)] * SLOTS
    for i, (slot, number) in enumerate(rows):
        seen[slot] += not math.isfinite(number)
        assert trace[i] == seen[slot]
    assert blanks.tolist() == seen


@pytest.mark.parametrize("columns", [(0, 1), (0, -1), (-1, 0)])
@given(rows=st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(-(2**62), 2**62)), max_size=20))
def test_times(columns, rows):
    never = [2**63 - 1, -(2**63)]
    kept = [each for each in (0, 1) if columns[each] >= 0]
    state = np.tile([never[each] for each in kept], (SLOTS, 1))
    slots, times = np.array([slot for slot, _ in rows], np.int32), np.array([time for _, time in rows], np.int64)
    widen(state, np.array(columns), slots, times)
    for slot in range(SLOTS):
        its = [time for each, time in rows if each == slot]
        expected = [min([*its, never[0]]), max([*its, never[1]])]
        assert state[slot].tolist() == [expected[each] for each in kept]
