"""Columns of text as bytes, and back."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.errors import InputError
from tocsin.jobs.columns import Gathered, as_texts, encode, payload

WORDS = st.text(max_size=5)


@st.composite
def requests(draw):
    """A few requests of as many components: their columns, a time or times, a key."""
    length = draw(st.integers(1, 4))
    made = []
    for _ in range(draw(st.integers(1, 6))):
        rows = draw(st.sampled_from([0, 1, 1, 1, 2, 5]))
        columns = [pa.array(draw(st.lists(WORDS, min_size=rows, max_size=rows)), pa.string()) for _ in range(length)]
        at = draw(st.integers(0, 2**50))
        times = at + np.arange(rows) if draw(st.booleans()) else at
        made.append((columns, times, draw(st.sampled_from([b"", b"key"]))))
    return made


@given(requests())
def test_what_was_written_is_read_back_as_one_batch(made):
    gathered, keys, row = Gathered(), [], 0
    for columns, times, key in made:
        content, rows = encode(columns), len(columns[0])
        written = memoryview(payload(content, rows, len(columns), times, key))
        assert gathered.fits(written)
        gathered.add(written, isinstance(times, np.ndarray))
        keys += [(row, rows, key, content)] if key else []
        row += rows
    batch = gathered.batch()
    assert gathered.rows == row
    expected = [pa.concat_arrays(each) for each in zip(*(columns for columns, _, _ in made), strict=True)]
    assert all(each.equals(other) for each, other in zip(batch.columns, expected, strict=True))
    for column in batch.columns:
        column.validate(full=True)
    times = [np.broadcast_to(times, len(columns[0])) for columns, times, _ in made]
    assert batch.times_us.tolist() == np.concatenate(times).tolist()
    assert [(*key[:3], bytes(key[3])) for key in batch.keys] == keys


@given(st.lists(WORDS, min_size=1, max_size=20), st.data())
def test_a_slice_is_written_as_what_it_shows(words, data):
    start = data.draw(st.integers(0, len(words) - 1))
    stop = data.draw(st.integers(start, len(words)))
    whole = pa.array(words, pa.string())
    assert encode([whole.slice(start, stop - start)]) == encode([pa.array(words[start:stop], pa.string())])


def test_another_number_of_columns_does_not_fit():
    gathered = Gathered()
    gathered.add(memoryview(payload(encode([pa.array(["a"])]), 1, 1, 0)), has_times=False)
    assert not gathered.fits(memoryview(payload(encode([pa.array(["a"])] * 2), 1, 2, 0)))


@pytest.mark.parametrize(
    "column",
    [
        pa.chunked_array([["a"], [None, "c"]], pa.string()),
        pa.array(["a", None, "c"], pa.large_string()),
        pa.array(["a", None, "c"]).dictionary_encode(),
        pa.array(["a", None, "c"]).cast(pa.string_view()),
    ],
    ids=lambda column: str(column.type),
)
def test_any_text_is_taken_and_null_is_a_text(column):
    (texts,) = as_texts([column])
    assert texts.equals(pa.array(["a", "null", "c"]))


def test_plain_text_is_taken_as_it_is():
    column = pa.array(["a"])
    assert as_texts([column])[0] is column


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="1 and 2 rows"):
        as_texts([pa.array(["a"]), pa.array(["a", "b"])])


def test_no_columns_are_refused():
    with pytest.raises(InputError, match="one component at least"):
        as_texts([])
