"""Lists of entries and back, also out of slices and files."""

import numpy as np
import pyarrow as pa
import pytest

from tocsin.detectors.summary.accumulator import Values, accumulators
from tocsin.detectors.summary.definition import Reducer
from tocsin.detectors.summary.lists import fields_of, lists_of
from tocsin.kernels.strings import hash_strings

STARTS = np.array([0, 2, 2, 3])


def test_there_and_back():
    lists = lists_of(STARTS, {"number": np.array([1, 2, 3]), "text": pa.array(["a", None, "c"])})
    assert [len(each) for each in lists.to_pylist()] == [2, 0, 1]
    for part, starts, numbers in ((lists, [0, 2, 2, 3], [1, 2, 3]), (lists[1:], [0, 0, 1], [3]), (lists[:0], [0], [])):
        again, fields = fields_of(part)
        assert again.tolist() == starts
        assert fields["number"].to_pylist() == numbers
    assert fields_of(lists)[1]["text"].to_pylist() == ["a", None, "c"]


def test_rows_without_entries_are_null_where_asked():
    assert lists_of(STARTS, pa.array([1, 2, 3]), empty_is_null=True).to_pylist() == [[1, 2], None, [3]]
    assert lists_of(np.array([0]), pa.array([], pa.string()), empty_is_null=True).to_pylist() == []


KINDS = {
    "sample": {"size": 2},
    "last": {"size": 2},
    "regularity": {"size": 5, "by": "x"},
    "topk": {"size": 2, "shown": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_partials_pass_through_arrow_s_streams_and_slices(kind):
    def made():
        (accumulator,) = accumulators([Reducer("it", kind, options=KINDS[kind])])
        accumulator.grow(4)
        return accumulator

    here, there, every = made(), made(), np.arange(4, dtype=np.int32)
    texts, times = pa.array([str(number % 3) for number in range(40)]), np.arange(40) * 10**9
    values = Values(times, np.arange(40, dtype=np.uint64), text=texts, hash=hash_strings(texts), size=np.ones(40))
    here.add((np.arange(40) % 3).astype(np.int32), values)
    sink = pa.BufferOutputStream()
    table = pa.table(here.partial(every))
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    read = pa.ipc.open_stream(sink.getvalue()).read_all()
    for rows in (slice(2, 4), slice(0, 2), slice(0, 0)):
        part = read.slice(rows.start, rows.stop - rows.start)
        there.merge(every[rows], {name: part.column(name).combine_chunks() for name in part.column_names})
    assert there.results(every)["it"].equals(here.results(every)["it"])
    assert there.results(every)["it"].null_count == 1
