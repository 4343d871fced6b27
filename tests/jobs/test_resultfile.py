"""The file of --results."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tocsin.detectors.summary.definition import Input, Reducer, Summary
from tocsin.detectors.summary.messages import EpochResult
from tocsin.detectors.summary.results import epoch_rows
from tocsin.errors import SinkError
from tocsin.jobs.resultfile import open_results

NOON = datetime(2025, 1, 8, 12, tzinfo=UTC)


def summary(name, kind, reducer="n"):
    return Summary(name, (Input("event", "", {"k": "k"}, "1", "ts", (Reducer(reducer, kind),)),), ("k",), 3600, 3600)


COUNTED, SAMPLED = summary("counted", "count"), summary("first", "first_seen", "begun")


def rows(of, keys):
    types = {"count": pa.int64(), "first_seen": pa.timestamp("us", "UTC")}
    (reducer,) = of.reducers
    values = {"count": [len(key) for key in keys], "first_seen": [NOON] * len(keys)}[reducer.kind]
    table = pa.table({"k": pa.array(keys, pa.string()), reducer.name: pa.array(values, types[reducer.kind])})
    return epoch_rows([EpochResult(of.name, NOON, NOON + timedelta(hours=1), 0, table, len(keys))], of.key_parts)


def lines(path):
    return [json.loads(line).get("k", "end") for line in path.read_text().splitlines()]


def test_json_lines_are_there_at_once_and_begin_anew(tmp_path):
    path = tmp_path / "new" / "results.ndjson"
    for _ in range(2):
        file = open_results(path, [COUNTED])
        file.write(rows(COUNTED, ["a", "bb"]))
        assert lines(path) == ["a", "bb", "end"]
        file.close()


def test_json_lines_go_on_from_a_position(tmp_path):
    path = tmp_path / "results.ndjson"
    file = open_results(path, [COUNTED])
    file.write(rows(COUNTED, ["a"]))
    position = file.position()
    file.write(rows(COUNTED, ["b"]))
    file.close()
    with path.open("a") as cut:
        cut.write('{"record": "ke')
    resumed = open_results(path, [COUNTED], position)
    resumed.write(rows(COUNTED, ["c"]))
    assert resumed.position() == path.stat().st_size
    resumed.close()
    assert lines(path) == ["a", "end", "c", "end"]


def test_a_file_that_is_gone_or_shorter_is_no_hindrance(tmp_path):
    path = tmp_path / "results.ndjson"
    path.write_text('{"k": "x"}\n')
    for _ in range(2):
        resumed = open_results(path, [COUNTED], 10_000)
        resumed.write(rows(COUNTED, ["c"]))
        resumed.close()
    assert lines(path) == ["x", "c", "end", "c", "end"]
    path.unlink()
    open_results(path, [COUNTED], 10_000).close()
    assert lines(path) == []


def test_parquet_holds_every_summary_with_its_types(tmp_path):
    path = tmp_path / "results.parquet"
    file = open_results(path, [COUNTED, SAMPLED])
    file.write(rows(SAMPLED, ["a"]))
    file.write(rows(COUNTED, ["b"]))
    assert not path.exists()
    file.close()
    table = pq.read_table(path)
    assert table.schema.field("n").type == pa.int64()
    assert table.schema.field("begun").type == pa.timestamp("us", "UTC")
    found = [(row["record"], row["summary"], row["k"], row["n"]) for row in table.to_pylist()]
    assert found == [
        ("key", "first", "a", None), ("epoch", "first", None, None),
        ("key", "counted", "b", 1), ("epoch", "counted", None, None),
    ]  # fmt: skip
    assert [each.name for each in tmp_path.iterdir()] == ["results.parquet"]


def test_parquet_columns_of_two_types_are_json(tmp_path):
    path = tmp_path / "results.parquet"
    other = replace(SAMPLED, inputs=summary("first", "first_seen", "n").inputs)
    file = open_results(path, [COUNTED, other])
    file.write(rows(COUNTED, ["bb"]))
    file.write(rows(other, ["a"]))
    file.close()
    assert pq.read_table(path).column("n").to_pylist() == ["2", None, '"2025-01-08 12:00:00+00:00"', None]


def test_an_abandoned_parquet_file_is_gone(tmp_path):
    file = open_results(tmp_path / "results.parquet", [COUNTED])
    file.write(rows(COUNTED, ["a"]))
    file.abandon()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["results.ndjson", "results.parquet"])
def test_a_file_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=name):
        open_results(tmp_path / "file" / name, [COUNTED])


def test_a_full_disk_is_told_once_and_the_file_let_go(tmp_path):
    file = open_results(tmp_path / "results.ndjson", [COUNTED])
    file._file.close()
    file._file = open("/dev/full", "wb")  # noqa: PTH123, SIM115
    with pytest.raises(SinkError, match="No space left"):
        file.write(rows(COUNTED, ["a"]))
    file.abandon()
    assert file._file.closed
