"""Distinct values up to a cap: the golden case, and the same number whatever the way."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tocsin.detectors.summary.accumulator import Values, accumulators
from tocsin.detectors.summary.definition import Reducer
from tocsin.kernels.strings import hash_strings

SLOTS = 3
EVERY = np.arange(SLOTS, dtype=np.int32)
rows = st.lists(st.tuples(st.integers(0, SLOTS - 1), st.sampled_from([*"abcdefgh", None])), max_size=60)


def made(most=10_000):
    (accumulator,) = accumulators([Reducer("it", "unique", options={"max": most})])
    accumulator.grow(SLOTS)
    return accumulator


def add(unique, rows, trace=""):
    texts = pa.array([text for _, text in rows], pa.string())
    times = np.zeros(len(rows), np.int64)
    values = Values(times, times.astype(np.uint64), hash=hash_strings(texts))
    return unique.add(np.array([slot for slot, _ in rows], np.int32), values, trace)


def results(unique):
    return unique.results(EVERY)["it"].to_pylist()


def true_numbers(rows, most):
    return [min(len({text for at, text in rows if at == slot and text}), most) for slot in range(SLOTS)]


def test_g01():
    unique = made()
    add(unique, [(0, text) for text in ("5", "22", "94", "50", "50")] + [(1, "2"), (2, "1")])
    assert results(unique) == [4, 1, 1]
    assert unique.result_types() == {"it": pa.int64()}


@given(rows, st.integers(1, 5), st.integers(1, 9), st.randoms())
def test_any_split_and_order_of_merging(rows, most, parts, random):
    pieces = [made(most) for _ in range(parts)]
    for row in rows:
        add(random.choice(pieces), [row])
    merged = made(most)
    for piece in random.sample(pieces, parts):
        merged.merge(EVERY, piece.partial(EVERY))
    whole = made(most)
    add(whole, rows)
    assert results(merged) == results(whole) == true_numbers(rows, most)


@given(rows, st.integers(1, 5))
def test_no_set_ever_holds_more_than_the_cap(rows, most):
    one, other = made(most), made(most)
    add(one, rows)
    add(other, [(slot, f"{text}{text}") for slot, text in rows])
    one.merge(EVERY, other.partial(EVERY))
    one.merge(EVERY, one.partial(EVERY))
    assert max(len(values) for values in one.partial(EVERY)["values"].to_pylist()) <= most


@given(rows, st.integers(1, 5))
def test_trace_tells_the_number_after_each_row(rows, most):
    unique, expected = made(most), [true_numbers(rows[: i + 1], most)[slot] for i, (slot, _) in enumerate(rows)]
    assert add(unique, rows, trace="it").tolist() == expected


@given(rows)
def test_an_empty_partial_changes_nothing(rows):
    unique = made(3)
    add(unique, rows)
    before = unique.partial(EVERY)
    unique.merge(EVERY, made(3).partial(EVERY))
    assert unique.partial(EVERY) == before
    again = made(3)
    again.merge(EVERY, before)
    assert again.partial(EVERY) == before


def test_memory():
    unique = made()
    before = unique.nbytes
    add(unique, [(0, str(number)) for number in range(10_000)])
    assert 20 * 10_000 < unique.nbytes - before < 40 * 10_000
