import io
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tocsin.records.traffic.days import generate_days
from tocsin.records.traffic.files import parquet_bytes, write_zeek_header, write_zeek_rows


@pytest.fixture(scope="module")
def table():
    stream = generate_days(date(2024, 3, 4), 1, flows_per_day=500, hosts=40, quiet_days=0)
    return pa.concat_tables([table for _, table in stream])


def test_parquet_gives_back_what_was_written(table):
    assert pq.read_table(pa.BufferReader(parquet_bytes(table))).equals(table)


def test_zeek_lines_say_what_the_records_say(table):
    out = io.BytesIO()
    write_zeek_header(out)
    write_zeek_rows(table, out)
    lines = out.getvalue().decode().splitlines()
    names = lines[5].split("\t")[1:]
    assert lines[0] == "#separator \\x09"
    assert len(names) == len(lines[6].split("\t")[1:])
    rows = [dict(zip(names, line.split("\t"), strict=True)) for line in lines[7:]]
    assert len(rows) == table.num_rows
    for row, record in zip(rows, table.to_pylist(), strict=True):
        seconds, micros = row["ts"].split(".")
        assert datetime.fromtimestamp(int(seconds), UTC).replace(microsecond=int(micros)) == record["stime"]
        span = record["etime"] - record["stime"]
        assert float(row["duration"]) == pytest.approx(span.total_seconds(), abs=1e-6)
        assert (row["id.orig_h"], int(row["id.resp_p"])) == (record["saddr"], record["dport"])
        assert row["service"] == (record["service"] or "-")
        assert row["detailed-label"] == (record["label_detail"] or "-")
