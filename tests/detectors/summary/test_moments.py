import math
import statistics

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.detectors.summary.accumulator import Values, accumulators
from tocsin.detectors.summary.definition import Reducer
from tocsin.detectors.summary.moments import Moments
from tocsin.kernels.strings import NULL_HASH

ALL = ("sum", "count", "min", "max", "average", "variance", "std_dev")
SLOTS = 3
NUMBERS = st.one_of(
    st.floats(-1e6, 1e6),
    st.integers(-5, 5).map(float),
    st.floats(0, 1).map(lambda part: 1e9 + part),
    st.sampled_from([math.nan, math.inf, -math.inf]),
)
ROWS = st.lists(st.tuples(st.integers(0, SLOTS - 1), NUMBERS), max_size=40)


def moments(kinds=ALL, of=""):
    return Moments(tuple(Reducer(kind, kind, of) for kind in kinds))


def values(numbers, **fields):
    times = np.arange(len(numbers))
    return Values(times, times.astype(np.uint64), number=np.array(numbers, float), **fields)


def filled(rows, kinds=ALL, of=""):
    ours = moments(kinds, of)
    ours.grow(SLOTS)
    ours.add(np.array([slot for slot, _ in rows], np.int32), values([number for _, number in rows]))
    return ours


def results(ours, slots=range(SLOTS)):
    columns = ours.results(np.array(slots, np.int32))
    return [
        dict(zip(columns, row, strict=True)) for row in zip(*(c.to_pylist() for c in columns.values()), strict=True)
    ]


def merge(into, other):
    slots = np.arange(SLOTS, dtype=np.int32)
    into.merge(slots, other.partial(slots))
    return into


def oracle(rows, slot, of=""):
    given = [number for its, number in rows if its == slot]
    numbers = [number for number in given if math.isfinite(number)]
    if not numbers:
        return dict.fromkeys(ALL) | {"sum": 0.0, "count": 0 if of else len(given)}
    return {
        "sum": math.fsum(numbers),
        "count": len(numbers if of else given),
        "min": min(numbers),
        "max": max(numbers),
        "average": statistics.fmean(numbers),
        "variance": float(statistics.variance(numbers)) if len(numbers) > 1 else 0.0,
        "std_dev": statistics.stdev(numbers) if len(numbers) > 1 else 0.0,
    }


def assert_close(found, expected, size=1.0):
    """Within 1e-9 of the result, or of the largest number behind it where numbers cancelled."""
    for row, wanted in zip(found, expected, strict=True):
        for name, value in row.items():
            # Squares of numbers below 1e-154 are none.
            small = {"variance": 1e-9 * size, "std_dev": max(1e-9 * size, 1e-154)}.get(name, 1e-12 * size)
            assert value == (value if wanted[name] is None else pytest.approx(wanted[name], rel=1e-9, abs=small)), name
            assert (value is None) == (wanted[name] is None), name


def largest(rows):
    return max([abs(number) for _, number in rows if math.isfinite(number)], default=0.0) * max(len(rows), 1)


@given(ROWS, st.sampled_from(["", "orig_bytes"]))
def test_results(rows, of):
    assert_close(results(filled(rows, of=of)), [oracle(rows, slot, of) for slot in range(SLOTS)], largest(rows))


@given(ROWS, st.sets(st.sampled_from(ALL), min_size=1))
def test_any_choice_of_reducers_tells_the_same(rows, kinds):
    found = results(filled(rows, sorted(kinds)))
    expected = [{kind: oracle(rows, slot)[kind] for kind in kinds} for slot in range(SLOTS)]
    assert_close(found, expected, largest(rows))


@given(
    st.lists(ROWS, min_size=1, max_size=5),
    st.sampled_from([ALL, ("sum", "count", "max"), ("min", "average")]),
    st.data(),
)
def test_any_split_in_any_order_is_the_single_pass(parts, kinds, data):
    rows = [row for part in parts for row in part]
    partials = data.draw(st.permutations([filled(part, kinds) for part in parts]))
    while len(partials) > 1:
        at = data.draw(st.integers(0, len(partials) - 2))
        partials[at : at + 2] = [merge(partials[at], partials[at + 1])]
    single = results(filled(rows, kinds))
    assert_close(results(partials[0]), single, largest(rows))
    exact = ("count", "min", "max")
    assert [[row.get(name) for name in exact] for row in results(partials[0])] == [
        [row.get(name) for name in exact] for row in single
    ]


@given(ROWS, st.sampled_from([ALL, ("sum", "count", "max", "min")]))
def test_an_empty_partial_changes_nothing_on_either_side(rows, kinds):
    expected = results(filled(rows, kinds))
    assert results(merge(filled(rows, kinds), filled([], kinds))) == expected
    assert results(merge(filled([], kinds), filled(rows, kinds))) == expected


@given(ROWS, st.integers(1, 7))
def test_batches_make_no_difference(rows, size):
    whole, parts = filled(rows), moments()
    parts.grow(SLOTS)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        parts.add(np.array([slot for slot, _ in part], np.int32), values([number for _, number in part]))
    assert results(parts) == results(whole)


@given(ROWS, st.sampled_from(["sum", "count", "max"]), st.sampled_from([ALL, ("sum", "count", "max")]))
def test_trace(rows, traced, kinds):
    ours = moments(kinds)
    ours.grow(SLOTS)
    slots = np.array([slot for slot, _ in rows], np.int32)
    found = []
    for half in (slice(0, len(rows) // 2), slice(len(rows) // 2, None)):
        found += ours.add(slots[half], values([number for _, number in rows[half]]), trace=traced).tolist()
    for i, (slot, _) in enumerate(rows):
        expected = results(filled(rows[: i + 1], kinds), [slot])[0][traced]
        assert found[i] == expected or (math.isnan(found[i]) and expected is None)


def test_numbers_of_the_golden_case():
    rows = [(0, 5.0), (0, 22.0), (0, 94.0), (0, 50.0), (0, 50.0), (1, 2.0), (2, 1.0)]
    first, second, third = results(filled(rows))
    assert first["std_dev"] == pytest.approx(33.826025, abs=5e-7)
    assert [first[name] for name in ("count", "sum", "average", "max", "min")] == [5, 221.0, 44.2, 94.0, 5.0]
    assert first["variance"] == pytest.approx(1144.2)
    assert second == {"sum": 2, "count": 1, "min": 2, "max": 2, "average": 2, "variance": 0, "std_dev": 0}
    assert third == {"sum": 1, "count": 1, "min": 1, "max": 1, "average": 1, "variance": 0, "std_dev": 0}


def test_large_numbers_close_together():
    """The original's merge, which started a worker's spread at nothing, and a plain sum of squares both fail here."""
    rng = np.random.default_rng(1)
    rows = [(0, 1e9 + float(part)) for part in rng.random(1000)]
    merged = merge(merge(filled(rows[:1]), filled(rows[1:400])), filled(rows[400:]))
    exact = statistics.variance([number for _, number in rows])
    assert results(merged)[0]["variance"] == pytest.approx(exact, rel=1e-9)
    assert results(filled(rows))[0]["variance"] == pytest.approx(exact, rel=1e-9)


def test_tenths_add_up_where_the_spread_is_kept():
    assert results(filled([(0, 0.1)] * 10))[0]["sum"] == 1.0


def test_count_of_an_expression_counts_its_values():
    ours = moments(("count",), of="id.resp_h")
    assert ours.needs == {"hash"}
    ours.grow(1)
    slots = np.zeros(3, np.int32)
    hashes = np.array([7, NULL_HASH, 0], np.uint64)
    times = np.arange(3)
    trace = ours.add(slots, Values(times, times.astype(np.uint64), hash=hashes), trace="count")
    assert trace.tolist() == [1.0, 1.0, 2.0]
    assert results(ours, [0]) == [{"count": 2}]


def test_counting_rows_needs_nothing():
    ours = moments(("count",))
    assert ours.needs == frozenset()
    ours.grow(1)
    ours.add(np.zeros(3, np.int32), Values(np.arange(3), np.arange(3, dtype=np.uint64)))
    assert results(ours, [0]) == [{"count": 3}]


@pytest.mark.parametrize(("kinds", "size"), [(("sum",), 8), (("count",), 8), (("average",), 16), (ALL, 40)])
def test_memory_a_key(kinds, size):
    ours = moments(kinds)
    for slots in range(0, 200_001, 10_000):
        ours.grow(slots)
    assert size <= ours.nbytes / 200_000 <= size * 17 / 16 + 0.01


def test_room_is_empty_after_growth():
    ours = filled([(0, 1.0), (1, math.nan)])
    ours.grow(1000)
    assert results(ours, [999]) == [dict.fromkeys(ALL) | {"sum": 0.0, "count": 0}]
    assert results(ours, [0, 1])[0]["count"] == 1


def test_result_types():
    types = moments().result_types()
    assert types == {kind: pa.int64() if kind == "count" else pa.float64() for kind in ALL}


def test_moments_of_one_expression_share_an_accumulator():
    shared = accumulators(Reducer(f"{kind}{of}", kind, of) for kind in ALL for of in ("", "bytes"))
    assert [len(each.reducers) for each in shared] == [7, 7]
