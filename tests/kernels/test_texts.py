"""The pool of texts."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernels.strings import NULL_HASH, hash_strings
from tocsin.kernels.texts import TextPool


@given(st.lists(st.lists(st.text(max_size=5), max_size=20), max_size=8))
def test_gives_back_what_it_took(batches):
    pool = TextPool()
    for batch in batches:
        texts = pa.array(batch, pa.string())
        pool.add(hash_strings(texts), texts)
    every = pa.array([text for batch in batches for text in batch], pa.string())
    assert pool.get(hash_strings(every)).equals(every)
    assert len(pool) == len(set(every.to_pylist()))


def test_takes_slices_and_wide_text():
    pool = TextPool()
    texts = pa.array(["a", "bb", "ccc", "dddd"], pa.large_string())[1:3]
    pool.add(hash_strings(texts), texts)
    assert pool.get(hash_strings(pa.array(["ccc", "bb"]))).to_pylist() == ["ccc", "bb"]


def test_what_is_unknown_is_null():
    pool = TextPool()
    assert pool.get(np.array([NULL_HASH, 5], np.uint64)).to_pylist() == [None, None]
    assert pool.get(np.empty(0, np.uint64)).type == pa.string()


def test_forgets_all_but_the_live_ones():
    pool = TextPool()
    texts = pa.array([f"value {number}" for number in range(3_000)])
    hashes = hash_strings(texts)
    pool.add(hashes, texts)
    assert pool.crowded
    lean = pool.only(np.repeat(hashes[:10], 2))
    assert (len(lean), lean.crowded) == (10, False)
    assert lean.nbytes < pool.nbytes / 50
    assert lean.get(hashes[8:12]).to_pylist() == ["value 8", "value 9", None, None]
