from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tocsin.records.conn import as_zeek_conn
from tocsin.records.flow import TIMESTAMP
from tocsin.records.times import earliest, least_us, newest, record_times
from tocsin.sources.parquet import ParquetSource
from tocsin.sources.pcap import PcapSource

SECOND = 1_000_000


def stamps(*seconds: int | None) -> pa.Array:
    return pa.array([None if value is None else value * SECOND for value in seconds], TIMESTAMP)


def test_a_flows_time_is_its_end_where_that_is_known_and_its_clock_its_beginning():
    flows = pa.table({"stime": stamps(1, 5, 3), "etime": stamps(9, None, 4)})
    assert record_times("flow", flows).to_pylist() == stamps(9, 5, 4).to_pylist()
    assert (earliest("flow", flows), newest("flow", flows)) == (SECOND, 5 * SECOND)


@pytest.mark.parametrize(("kind", "column"), [("zeek.ssh", "ts"), ("event", "ts"), ("eve.alert", "timestamp")])
def test_a_logs_time_is_its_own(kind, column):
    assert newest(kind, pa.table({column: stamps(1, 5, 3)})) == 5 * SECOND


def test_a_files_first_time_by_its_statistics(tmp_path):
    path = tmp_path / "flows.parquet"
    flows = pa.table({"begin": stamps(7, 8, 5, 9), "id": ["a"] * 4})
    pq.write_table(flows, path, row_group_size=2)
    assert ParquetSource({"begin": "stime"}).earliest(path, b"") == 5 * SECOND
    assert ParquetSource().earliest(path, b"") is None
    pq.write_table(flows, path, write_statistics=False)
    with pq.ParquetFile(path) as file:
        assert least_us(file, "begin") is None


def test_a_captures_first_time(data):
    path = sorted((data / "pcap").glob("*.pcap"))[0]
    found = PcapSource().earliest(path, path.read_bytes()[:64])
    assert found is not None
    assert 2000 < datetime.fromtimestamp(found / SECOND, UTC).year < 2030
    assert PcapSource().earliest(path, b"\x0a\x0d\x0d\x0a" + bytes(60)) is None


def test_durations_under_zeeks_name():
    flows = pa.table({"stime": stamps(1, 1), "etime": stamps(3, None), "dur": pa.array([2000, None], pa.uint32())})
    assert as_zeek_conn(flows).column("duration").to_pylist() == [2.0, None]
    assert as_zeek_conn(flows.drop_columns("etime")).column("duration").to_pylist() == [2.0, None]
    assert "duration" not in as_zeek_conn(flows.drop_columns(["etime", "dur"])).column_names
