"""Columns of any type as text: the same as of each value by itself."""

from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tocsin.detectors.novelty.components import MOST_BYTES, text_of
from tocsin.detectors.novelty.texts import texts

VALUES = st.one_of(
    st.lists(st.none() | st.integers(-(2**62), 2**62)).map(lambda each: pa.array(each, pa.int64())),
    st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False)).map(
        lambda each: pa.array(each, pa.float64())
    ),
    st.lists(st.none() | st.booleans()).map(lambda each: pa.array(each, pa.bool_())),
    st.lists(st.none() | st.text(max_size=20)).map(lambda each: pa.array(each, pa.string())),
)


@given(VALUES)
def test_a_column_is_the_text_of_each_value(column):
    assert texts(column).to_pylist() == [text_of(value, "") for value in column.to_pylist()]
    assert texts(column).null_count == 0
    assert texts(column).type == pa.string()


def test_a_number_is_the_same_whatever_type_a_batch_gave_it():
    whole, broken, text = pa.array([443, 80]), pa.array([443.0, 80.0]), pa.array(["443", "80"])
    assert texts(whole).equals(texts(broken))
    assert texts(whole).equals(texts(text))


def test_others():
    assert texts(pa.nulls(2)).to_pylist() == ["null", "null"]
    assert texts(pa.array(["a", "b", None]).dictionary_encode()).to_pylist() == ["a", "b", "null"]
    time = pa.array([datetime(2025, 1, 8, 12, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    assert texts(time)[0].as_py().startswith("2025-01-08T12:00:00")
    assert texts(pa.array([["a", "b"], None])).to_pylist() == ["['a', 'b']", "null"]


def test_a_text_that_is_too_long_is_cut_off():
    (cut,) = texts(pa.array(["ä" * MOST_BYTES])).to_pylist()
    assert 0 < len(cut.encode()) <= MOST_BYTES
