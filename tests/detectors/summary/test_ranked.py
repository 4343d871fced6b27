"""Samples and lasts: any split, order, merging and batch size; and that a sample is fair."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.detectors.summary.accumulator import Values, accumulators
from tocsin.detectors.summary.definition import Reducer
from tocsin.kernels.strings import hash_strings


def _made(kind, size, slots):
    (accumulator,) = accumulators([Reducer("it", kind, options={"size": size})])
    accumulator.grow(slots)
    return accumulator


def _values(texts, times, ordinals):
    text = pa.array(texts, pa.string())
    return Values(np.array(times, np.int64), np.array(ordinals, np.uint64), text=text, hash=hash_strings(text))


def _add(accumulator, rows):
    slots, times, texts, ordinals = ([row[i] for row in rows] for i in range(4))
    accumulator.add(np.array(slots, np.int32), _values(texts, times, ordinals))


def _results(accumulator, slots):
    return accumulator.results(np.arange(slots, dtype=np.int32))["it"].to_pylist()


records = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 5), st.sampled_from(["a", "bb", "", "ü", None])), max_size=60
)


@pytest.mark.parametrize("kind", ["sample", "last"])
@given(records=records, size=st.integers(1, 6), batch=st.integers(1, 20), random=st.randoms(use_true_random=False))
def test_any_split_order_and_merging_gives_the_same(kind, records, size, batch, random):
    rows = [(*record, ordinal) for ordinal, record in enumerate(records)]
    whole = _made(kind, size, 3)
    _add(whole, rows)
    random.shuffle(rows)
    workers = [_made(kind, size, 3) for _ in range(3)]
    share = [[row for row in rows if row[3] % 3 == worker] for worker in range(3)]
    for worker, its in zip(workers, share, strict=True):
        for start in range(0, len(its), batch):
            _add(worker, its[start : start + batch])
    merged = _made(kind, size, 3)
    # One partial comes twice: a record counts once.
    for worker in random.sample(workers, 3) + workers[:1]:
        merged.merge(np.array([2, 0, 1], np.int32), worker.partial(np.array([2, 0, 1], np.int32)))
    assert _results(merged, 3) == _results(whole, 3)


@given(records=records, size=st.integers(1, 6))
def test_the_newest_are_those_of_a_sorted_list(records, size):
    last = _made("last", size, 3)
    rows = [(*record, ordinal) for ordinal, record in enumerate(records)]
    _add(last, rows)
    for slot, result in enumerate(_results(last, 3)):
        there = sorted((time, ordinal, text) for s, time, text, ordinal in rows if s == slot and text is not None)
        assert (result or []) == [text for _, _, text in there[-size:]]


def test_d10_last():
    last = _made("last", 2, 1)
    _add(last, [(0, at, text, at) for at, text in enumerate("1234")])
    assert _results(last, 1) == [["3", "4"]]


def test_last_of_one_is_a_list_and_of_none_is_null():
    last = _made("last", 1, 2)
    _add(last, [(0, 5, "new", 0), (0, 4, "old", 1), (1, 0, None, 2)])
    assert _results(last, 2) == [["new"], None]
    assert last.result_types() == {"it": pa.list_(pa.string())}


def test_a_sample_is_in_order_of_time_and_holds_all_while_there_is_room():
    sample = _made("sample", 5, 1)
    _add(sample, [(0, 9, "c", 0), (0, 1, "a", 1), (0, 5, "b", 2), (0, 5, "b", 3)])
    assert _results(sample, 1) == [["a", "b", "b", "c"]]


def test_every_record_is_sampled_as_often_as_any_other():
    """Chi-square with 99 degrees of freedom: in 999 of 1,000 fair samples between 55 and 149."""
    keys, records, size = 2_000, 100, 5
    sample = _made("sample", size, keys)
    slots = np.repeat(np.arange(keys, dtype=np.int32), records)
    texts = pa.array([str(number) for number in range(records)] * keys)
    ordinals = np.arange(keys * records, dtype=np.uint64)
    sample.add(slots, Values(ordinals.astype(np.int64), ordinals, text=texts, hash=hash_strings(texts)))
    drawn = sample.results(np.arange(keys, dtype=np.int32))["it"].flatten().to_pylist()
    counts = np.bincount(np.array(drawn, int), minlength=records)
    expected = keys * size / records
    assert counts.sum() == keys * size
    assert 55 < ((counts - expected) ** 2 / expected).sum() < 149


def test_texts_of_what_was_thrown_out_go():
    sample = _made("sample", 2, 1)
    for start in range(0, 20_000, 1_000):
        _add(sample, [(0, at, f"a long value, number {at}", at) for at in range(start, start + 1_000)])
    assert sample.nbytes < 100_000
    last = _made("last", 2, 1)
    for start in range(0, 20_000, 1_000):
        _add(last, [(0, at, f"a long value, number {at}", at) for at in range(start, start + 1_000)])
    assert last.nbytes < 300_000


def test_few_records_cost_little():
    last = _made("last", 512, 10_000)
    _add(last, [(slot, 0, "x", slot) for slot in range(10_000)])
    assert last.nbytes / 10_000 < 130
    assert sum(len(each) for each in _results(last, 10_000)) == 10_000
