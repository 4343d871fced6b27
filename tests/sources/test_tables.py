"""Tables of any make: CSV by what stands in it, JSON lines without times, bad rows set aside, in bounded memory."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tocsin.detectors.novelty.texts import texts
from tocsin.errors import InputError
from tocsin.sources.tables import is_json, layout, read_csv, read_json, read_parquet

HERE = Path("table")


def rows(pieces):
    return [row for piece in pieces for row in piece.table.to_pylist()]


def csv(data, *, split=7, **how):
    pieces = iter([data[at : at + split] for at in range(0, len(data), split)])
    return list(read_csv(HERE, pieces, layout(data, **how)))


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_the_delimiter_is_found(delimiter):
    data = "user,host,n\na,x,1\nb,y,2\n".replace(",", delimiter).encode()
    assert rows(csv(data)) == [{"user": "a", "host": "x", "n": "1"}, {"user": "b", "host": "y", "n": "2"}]


def test_a_delimiter_that_is_given_goes_before():
    assert layout(b"a;b,c\n1;2,3\n", delimiter=",").names == ("a;b", "c")


def test_a_table_without_names():
    assert layout(b"a,1\nb,2\n").names == ("c1", "c2")
    assert rows(csv(b"a,b\nc,d\n", header=False)) == [{"c1": "a", "c2": "b"}, {"c1": "c", "c2": "d"}]


def test_names_are_different_and_none_is_empty():
    assert layout(b"\xef\xbb\xbfa,a,,b\n").names == ("a", "a_2", "c3", "b")


def test_quotes_line_feeds_empty_fields_and_bytes_that_are_no_text():
    data = b'a,b\n"x, ""y""\nz",\n\xff,2\n'
    assert rows(csv(data)) == [{"a": 'x, "y"\nz', "b": None}, {"a": "\\xff", "b": "2"}]


def test_a_row_of_another_length_is_set_aside():
    (piece,) = csv(b"a,b\n1,2\n1,2,3\n\n4,5\n", split=1000)
    assert piece.table.num_rows == 2
    assert piece.rejected_count == 1
    assert (piece.rejected[0].line, piece.rejected[0].reason) == (3, "3 fields where the header names 2")
    assert piece.rejected[0].text == "1,2,3"


def test_a_long_table_comes_in_pieces():
    data = b"a,b\n" + b"".join(b"%d,%d\n" % (n, n % 7) for n in range(1_200_000))
    found = csv(data, split=1 << 16)
    assert len(found) > 1
    assert sum(piece.table.num_rows for piece in found) == 1_200_000


def test_wherever_it_is_cut_it_is_the_same():
    data = b'a,b\n1,"x\n\ny"\n' * 5 + b'2,"""\n"\n'
    assert all(rows(csv(data, split=split)) == rows(csv(data, split=1000)) for split in range(1, 30))


def test_a_quote_that_is_never_closed_takes_neither_memory_nor_rows():
    lines = 3 << 20
    found = csv(b'a,b\n1,"x\n' + b"2,yyyyyyyy\n" * lines, split=1 << 20)
    assert sum(piece.table.num_rows for piece in found) == lines + 1
    assert found[0].table.slice(0, 2).to_pylist() == [{"a": "1", "b": '"x'}, {"a": "2", "b": "yyyyyyyy"}]
    assert max(piece.table.nbytes for piece in found) < 64 << 20


def test_json_lines_need_no_time():
    lines = [{"user": "a", "more": {"n": 1, "tags": ["x", "y"]}}, {"user": None, "other": True}]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    assert is_json(data)
    assert rows(read_json(HERE, iter([data[:10], data[10:]]))) == [
        {"user": "a", "more.n": 1, "more.tags": "x,y", "other": None},
        {"user": None, "more.n": None, "more.tags": None, "other": True},
    ]


def test_a_line_that_is_no_json_is_set_aside():
    first, last = read_json(HERE, iter([b'{"a": 1}\nnothing\n[1]\n{"a": 2}']))
    assert (first.table.num_rows, first.rejected_count, last.table.num_rows) == (1, 2, 1)
    assert [row.line for row in first.rejected] == [2, 3]


def test_parquet(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", None]}), path)
    assert rows(read_parquet(path)) == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    path.write_bytes(b"PAR1 broken")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        list(read_parquet(path))


@pytest.mark.parametrize("beside", ["", '{"x": "none"}\n', '{"x": [1, {"y": 2}]}\n', "no json\n", '{"x": true}\n'])
def test_a_number_reads_the_same_whatever_lines_are_beside_it(tmp_path, beside):
    numbers = '{"x": 443.0}\n{"x": 443}\n{"x": 0.1}\n{"x": -2.0}\n'
    (piece,) = read_json(tmp_path / "t.ndjson", iter([(numbers + beside).encode()]))
    assert texts(piece.table.column("x").combine_chunks()).to_pylist()[:4] == ["443", "443", "0.1", "-2"]
