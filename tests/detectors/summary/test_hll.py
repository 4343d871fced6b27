"""Estimated distinct values: the golden case, the stated sizes, and the same state whatever the way."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.detectors.summary.accumulator import Values, accumulators
from tocsin.detectors.summary.definition import Reducer
from tocsin.detectors.summary.hll import precision
from tocsin.kernels.strings import NULL_HASH, hash_integers, hash_strings

SLOTS = 3
EVERY = np.arange(SLOTS, dtype=np.int32)
# A slot, a first number and how many: enough numbers for dense sketches.
rows = st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(0, 300), st.integers(0, 90)), max_size=12)


def made(error=0.1, confidence=0.95):
    (accumulator,) = accumulators([Reducer("it", "hll_unique", options={"error": error, "confidence": confidence})])
    accumulator.grow(SLOTS)
    return accumulator


def add_hashes(hll, slots, hashes, trace=""):
    times = np.zeros(len(slots), np.int64)
    return hll.add(np.asarray(slots, np.int32), Values(times, times.astype(np.uint64), hash=hashes), trace)


def add(hll, rows):
    slots = [np.full(many, slot, np.int32) for slot, _, many in rows]
    numbers = [np.arange(first, first + many) for _, first, many in rows]
    if rows:
        add_hashes(hll, np.concatenate(slots), hash_integers(np.concatenate(numbers)))


def results(hll):
    return hll.results(EVERY)["it"].to_pylist()


@pytest.mark.parametrize(
    ("error", "confidence", "registers"),
    [
        (0.01, 0.95, 65_536),
        (0.02, 0.95, 16_384),
        (0.05, 0.95, 2_048),
        (0.1, 0.95, 512),
        (0.01, 0.90, 32_768),
        (0.03, 0.68, 2_048),
        (0.5, 0.5, 16),
    ],
)
def test_registers_for_an_error(error, confidence, registers):
    assert 2 ** precision(error, confidence) == registers


def test_g01():
    hll = made(0.01)
    texts = pa.array(["5", "22", "94", "50", "50", "2", "1", None])
    add_hashes(hll, [0, 0, 0, 0, 0, 1, 2, 2], hash_strings(texts))
    assert results(hll) == [4, 1, 1]
    assert hll.result_types() == {"it": pa.int64()}


@given(rows, st.sampled_from([0.1, 0.5]), st.integers(1, 5), st.randoms())
def test_any_split_and_order_of_merging(rows, error, parts, random):
    pieces = [made(error) for _ in range(parts)]
    for row in rows:
        add(random.choice(pieces), [row])
    merged = made(error)
    for piece in random.sample(pieces, parts):
        merged.merge(EVERY, piece.partial(EVERY))
    whole = made(error)
    add(whole, rows)
    assert merged.partial(EVERY) == whole.partial(EVERY)
    assert results(merged) == results(whole)


@given(rows)
def test_an_empty_partial_changes_nothing(rows):
    hll = made(0.5)
    add(hll, rows)
    before = hll.partial(EVERY)
    hll.merge(EVERY, made(0.5).partial(EVERY))
    assert hll.partial(EVERY) == before
    again = made(0.5)
    again.merge(EVERY, before)
    assert again.partial(EVERY) == before


def test_slots_are_merged_in_any_order_and_number():
    hll, other = made(0.5), made(0.5)
    add(hll, [(0, 0, 500), (1, 0, 3), (2, 0, 700)])
    other.merge(np.array([1, 0], np.int32), hll.partial(np.array([2, 1], np.int32)))
    assert results(other) == [3, results(hll)[2], 0]


@pytest.mark.parametrize("error", [0.05, 0.5])
def test_trace_tells_the_estimate_after_each_row_and_never_falls(error):
    hll, other = made(error), made(error)
    hashes = hash_integers(np.arange(1500) % 1200)
    traced = add_hashes(hll, np.zeros(1500), hashes, trace="it")
    assert (np.diff(traced) >= 0).all()
    for first in range(0, 1500, 100):
        add_hashes(other, np.zeros(100), hashes[first : first + 100])
        assert results(other)[0] == traced[first + 99]
    assert (traced[1200:] == traced[-1]).all()


def test_null_values_do_not_count():
    hll = made()
    assert add_hashes(hll, [0, 0], np.full(2, NULL_HASH, np.uint64), trace="it").tolist() == [0, 0]
    assert results(hll) == [0, 0, 0]


def test_few_values_take_little_memory():
    hll, keys = made(0.03, 0.68), 20_000
    hll.grow(keys)
    slots = np.repeat(np.arange(keys, dtype=np.int32), 10)
    add_hashes(hll, slots, hash_integers(np.arange(10 * keys)))
    assert hll.nbytes / keys < 128
    assert (hll.results(np.arange(keys))["it"].to_numpy() == 10).all()
