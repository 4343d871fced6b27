"""Quantiles against sorted numbers, and the same whatever the way."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.detectors.summary.accumulator import Values, accumulators
from tocsin.detectors.summary.definition import Reducer

SLOTS = 3
EVERY = np.arange(SLOTS, dtype=np.int32)
numbers = st.floats(-1e18, 1e18) | st.integers(-20, 20).map(float) | st.just(math.nan)
rows = st.lists(st.tuples(st.integers(0, SLOTS - 1), numbers), max_size=80)
levels = st.sampled_from([0.0, 0.25, 0.5, 0.9, 0.99, 1.0])


def made(q=0.5, error=0.01):
    (accumulator,) = accumulators([Reducer("it", "quantile", options={"q": q, "error": error})])
    accumulator.grow(SLOTS)
    return accumulator


def add(quantile, rows):
    times = np.zeros(len(rows), np.int64)
    values = Values(times, times.astype(np.uint64), number=np.array([number for _, number in rows]))
    quantile.add(np.array([slot for slot, _ in rows], np.int32), values)


def results(quantile):
    return quantile.results(EVERY)["it"].to_pylist()


def oracle(rows, q):
    made = []
    for slot in range(SLOTS):
        ordered = sorted(number for at, number in rows if at == slot and not math.isnan(number))
        made.append(ordered[math.floor(q * (len(ordered) - 1))] if ordered else None)
    return made


@given(rows, levels, st.sampled_from([0.001, 0.01, 0.2]))
def test_the_relative_error_is_as_stated(rows, q, error):
    quantile = made(q, error)
    add(quantile, rows)
    for found, true in zip(results(quantile), oracle(rows, q), strict=True):
        assert found == (None if true is None else pytest.approx(true, rel=error * (1 + 1e-9), abs=1e-9))


@given(rows, levels, st.integers(1, 6), st.randoms())
def test_any_split_and_order_of_merging(rows, q, parts, random):
    pieces = [made(q) for _ in range(parts)]
    for row in rows:
        add(random.choice(pieces), [row])
    merged = made(q)
    for piece in random.sample(pieces, parts):
        merged.merge(EVERY, piece.partial(EVERY))
    whole = made(q)
    add(whole, rows)
    assert merged.partial(EVERY) == whole.partial(EVERY)
    assert results(merged) == results(whole)


@given(rows)
def test_an_empty_partial_changes_nothing(rows):
    quantile = made()
    add(quantile, rows)
    before = quantile.partial(EVERY)
    quantile.merge(EVERY, made().partial(EVERY))
    assert quantile.partial(EVERY) == before


def test_known_numbers():
    quantile = made(0.9)
    add(quantile, [(0, float(number)) for number in range(1, 101)] + [(1, -5.0), (1, 0.0), (1, math.inf)])
    assert results(quantile) == [pytest.approx(90, rel=0.01), pytest.approx(-5, rel=0.01), None]
    assert quantile.result_types() == {"it": pa.float64()}


def test_memory_is_bounded_whatever_comes():
    quantile = made()
    rng = np.random.default_rng(1)
    extremes = rng.choice([-1.0, 1.0], 100_000) * 10.0 ** rng.uniform(-300, 300, 100_000)
    add(quantile, [(0, number) for number in extremes.tolist()])
    (buckets,) = quantile.partial(EVERY[:1])["buckets"].to_pylist()
    assert len(buckets) <= 6222
    assert quantile.nbytes < 64 * 6222 + 1000
