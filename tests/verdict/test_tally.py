import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.verdict import tally
from tocsin.verdict.tally import Heads, Tally, spread_hash

ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=60)


def table(rows):
    who, n, m = zip(*rows, strict=True)
    return pa.table({"who": list(who), "n": list(n), "m": list(m)})


@pytest.fixture(autouse=True, scope="module")
def _compact_often():
    before = tally.COMPACT_ROWS
    tally.COMPACT_ROWS = 5
    yield
    tally.COMPACT_ROWS = before


@given(ROWS, st.integers(1, 20))
def test_totals_are_those_of_a_plain_loop(rows, size):
    counted = Tally(("who",), {"n": "sum", "m": "max"})
    for at in range(0, len(rows), size):
        counted.add(table(rows[at : at + size]))
    expected = {}
    for who, n, m in rows:
        total, most = expected.get(who, (0, 0))
        expected[who] = (total + n, max(most, m))
    assert {row["who"]: (row["n"], row["m"]) for row in counted.result().to_pylist()} == expected


@given(ROWS, st.integers(1, 20), st.integers(1, 4))
def test_heads_are_those_of_a_plain_sort(rows, split, size):
    kept = Heads(("who",), [("n", "descending"), ("m", "ascending")], size)
    for at in range(0, len(rows), split):
        kept.add(table(rows[at : at + split]))
    expected = []
    for who in "abc":
        of_one = sorted((row for row in rows if row[0] == who), key=lambda row: (-row[1], row[2]))
        expected += of_one[:size]
    assert [tuple(row.values()) for row in kept.result().to_pylist()] == expected


def test_nothing_in_nothing_out():
    assert Tally(("who",), {"n": "sum"}).result().num_rows == 0
    assert Heads(("who",), [("n", "ascending")], 3).result() is None


def test_hashes_are_fixed_and_spread_evenly():
    texts = pa.chunked_array([pa.array([str(number) for number in range(20_000)])])
    hashes = spread_hash(texts).to_numpy()
    assert np.array_equal(hashes, spread_hash(texts).to_numpy())
    counts, _ = np.histogram(hashes, 16, (0, 2**32))
    assert counts.min() > 0.9 * 20_000 / 16
    assert counts.max() < 1.1 * 20_000 / 16
