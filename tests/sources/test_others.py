"""What is particular to EVE, Argus, CSV, Parquet and captures."""

import builtins
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tocsin.errors import InputError
from tocsin.sources.argus import ArgusSource
from tocsin.sources.csv import CsvSource
from tocsin.sources.eve import EveSource
from tocsin.sources.parquet import ParquetSource
from tocsin.sources.pcap import PcapSource
from tocsin.testing.logs import argus_log, eve_log


def rows(source, path):
    batches = list(source.read(path))
    return [row for batch in batches for row in batch.table.to_pylist()], batches


def test_eve_counts_other_events_and_reads_offsets_as_utc(tmp_path):
    path = tmp_path / "eve.json"
    path.write_text(eve_log(3).replace("+0000", "+0200"))
    found, batches = rows(EveSource(), path)
    assert (len(found), sum(batch.skipped for batch in batches)) == (3, 3)
    assert found[0]["stime"] == datetime(2018, 12, 21, 12, 50, 16, 250_000, tzinfo=UTC)
    assert (found[0]["dur"], found[0]["uflags"], found[0]["proto"], found[0]["flowid"]) == (
        500,
        "FSPA",
        "tcp",
        "7000000",
    )


def test_eve_icmp_type_and_code_stand_as_ports(tmp_path):
    path = tmp_path / "eve.json"
    line = '{"timestamp":"2021-01-01T00:00:00+0000","flow_id":1,"event_type":"flow","src_ip":"10.0.0.1",'
    line += (
        '"dest_ip":"10.0.0.2","proto":"ICMP","icmp_type":8,"icmp_code":0,"flow":{"start":"2021-01-01T00:00:00+0000"}}\n'
    )
    path.write_text(line)
    [row], _ = rows(EveSource(), path)
    assert (row["proto"], row["sport"], row["dport"]) == ("icmp", 8, 0)
    assert row["community_id"]


def test_argus_with_and_without_packets_of_each_side(tmp_path):
    path = tmp_path / "a.binetflow"
    path.write_text(argus_log(1))
    [row], _ = rows(ArgusSource(), path)
    assert row["stime"] == datetime(2011, 8, 10, 9, 0, 0, 607_825, tzinfo=UTC)
    expected = {"dur": 1027, "sbytes": 156, "dbytes": 120, "spkts": 2, "dpkts": 2, "conn_state": "S_RA", "Dir": "->"}
    assert {name: row[name] for name in expected} == expected
    assert (row["label"], row["TotPkts"]) == ("flow=Background", 4)
    path.write_text(argus_log(1, packets=False))
    [row], _ = rows(ArgusSource(), path)
    assert "spkts" not in row
    assert (row["sbytes"], row["dbytes"], row["TotPkts"]) == (156, 120, 4)


def test_argus_icmp_and_missing_ports(tmp_path):
    path = tmp_path / "a.binetflow"
    header = argus_log(0, packets=False)
    unreachable = "2011/08/10 09:00:00.1,0.0,icmp,10.0.0.1,0x0303,->,10.0.0.2,0x5a8b,URP,0,,1,70,70,x\n"
    arp = "2011/08/10 09:00:00.1,0.0,arp,10.0.0.1,,who,10.0.0.2,,CON,,,2,120,60,x\n"
    named = "2011/08/10 09:00:00.1,0.0,tcp,10.0.0.1,1,->,10.0.0.2,http,CON,,,2,120,60,x\n"
    path.write_text(header + unreachable + arp + named)
    found, batches = rows(ArgusSource(), path)
    assert [(row["sport"], row["dport"]) for row in found] == [(3, 3), (None, None)]
    [rejected] = batches[0].rejected
    assert (rejected.line, "ra -n" in rejected.reason) == (4, True)


def test_flow_ids_follow_from_the_content(tmp_path):
    path = tmp_path / "a.binetflow"
    path.write_text(argus_log(50))
    first, _ = rows(ArgusSource(), path)
    second, _ = rows(ArgusSource(block_bytes=300), path)
    assert [row["flowid"] for row in first] == [row["flowid"] for row in second]
    assert len({row["flowid"] for row in first}) == 50


CSV = """when,kind,from,to,secs
2020-01-01 00:00:00,"TCP",10.0.0.1,10.0.0.2,1.5
2020-01-01 00:00:01,UDP,10.0.0.1,10.0.0.2,x
"""
COLUMNS = {"stime": "when", "proto": "kind", "saddr": "from", "daddr": "to"}


def test_csv_maps_columns_and_expressions(tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text(CSV)
    found, batches = rows(CsvSource({**COLUMNS, "dur": "secs::DOUBLE * 1000"}), path)
    assert [(row["proto"], row["dur"], row["secs"]) for row in found] == [("tcp", 1500, "1.5")]
    assert [rejected.line for batch in batches for rejected in batch.rejected] == [3]
    assert "'x'" in batches[0].rejected[0].reason


def test_csv_says_what_is_wrong_with_a_map(tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text(CSV)
    with pytest.raises(InputError, match="nope"):
        CsvSource({"nope": "when"})
    with pytest.raises(InputError, match=r"ingest\.csv\.mine\.dur: 'sekunden \* 2'"):
        rows(CsvSource({**COLUMNS, "dur": "sekunden * 2"}, map_name="mine"), path)
    with pytest.raises(InputError, match="columns stime, proto, saddr, daddr are missing"):
        rows(CsvSource(), path)


def test_csv_expressions_reach_no_files(tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text(CSV)
    secret = tmp_path / "secret"
    secret.write_text("x")
    with pytest.raises(InputError):
        rows(CsvSource({**COLUMNS, "service": f"(SELECT content FROM read_text('{secret}'))"}), path)


def test_parquet_renames_and_sets_aside_what_does_not_fit(tmp_path):
    path = tmp_path / "flows.parquet"
    table = pa.table(
        {
            "t": pa.array(["2020-01-01", None, "2020-01-02", "2020-01-03"]).cast(pa.timestamp("ns")),
            "proto": ["TCP"] * 4,
            "src": ["10.0.0.1"] * 4,
            "daddr": ["10.0.0.2"] * 4,
            "dport": pa.array([80, 80, 70_000, 443], pa.int64()),
            "more": [1, 2, 3, 4],
        }
    )
    pq.write_table(table, path)
    found, batches = rows(ParquetSource({"t": "stime", "src": "saddr"}), path)
    assert [(row["stime"].day, row["proto"], row["dport"], row["more"]) for row in found] == [
        (1, "tcp", 80, 1),
        (3, "tcp", 443, 4),
    ]
    assert [(row.line, row.reason) for row in batches[0].rejected] == [
        (2, "no t"),
        (3, "dport 70000 does not fit dport (uint16)"),
    ]
    with pytest.raises(InputError, match=r"has no stime, saddr; .*ingest\.rename"):
        rows(ParquetSource(), path)


def test_a_capture_without_nfstream_names_the_remedy(tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name, *arguments, **options):
        if name == "nfstream":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    path = tmp_path / "x.pcap"
    path.write_bytes(b"\xd4\xc3\xb2\xa1" + bytes(40))
    with pytest.raises(InputError, match=r"pip install 'tocsin\[pcap\]'"):
        rows(PcapSource(), path)


def test_real_captures(data):
    pytest.importorskip("nfstream")
    found, _ = rows(PcapSource(), data / "pcap" / "bruteforce.pcap")
    assert len(found) == 30
    assert {row["dport"] for row in found} == {21}
    assert {row["proto"] for row in found} == {"tcp"}


def test_argus_ipsec_index_is_no_port(tmp_path):
    path = tmp_path / "esp.binetflow"
    title = "StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,TotPkts,TotBytes,SrcBytes,Label\n"
    path.write_text(title + "2011/08/17 12:01:01.1,0,esp,10.0.0.1,,   ->,1.1.1.1,0x1ff2d8a1,INT,1,145,145,\n")
    found, batches = rows(ArgusSource(), path)
    assert [(row["proto"], row.get("dport")) for row in found] == [("esp", None)]
    assert not sum(batch.rejected_count for batch in batches)


def test_csv_map_names_the_column_that_was_meant():
    with pytest.raises(InputError, match=r"ingest\.csv\.x: 'sadr' is no column of a flow; did you mean 'saddr'"):
        CsvSource({"sadr": "a"}, map_name="x")
    with pytest.raises(InputError, match=r"'foo bar' is no column of a flow \(these are: .*stime"):
        CsvSource({"foo bar": "a"}, map_name="x")


def test_a_binary_file_read_as_text_is_not_shown(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1\x15\x04\x00 nothing")
    with pytest.raises(InputError, match="bytes that are no text"):
        rows(ArgusSource(), path)


def test_csv_duration_says_its_unit(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("stime,saddr,daddr,proto,dur\n2024-01-01 00:00:00,10.0.0.1,1.1.1.1,tcp,1.5\n")
    _, batches = rows(CsvSource(), path)
    assert batches[0].rejected[0].reason == "dur '1.5' is not a whole number of milliseconds"


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("2001:0DB8:0000:0000:0000:0000:0000:000A", "2001:db8::a"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("10.1.2.3", "10.1.2.3"),
    ],
)
def test_a_host_has_one_name_however_its_address_is_written(tmp_path, written, spelled):
    path = tmp_path / "six.csv"
    lines = [f"2024-01-01 00:00:0{i},{address},1.1.1.1,tcp" for i, address in enumerate((written, spelled))]
    path.write_text("\n".join(["stime,saddr,daddr,proto", *lines, ""]))
    found, _ = rows(CsvSource(), path)
    assert [row["saddr"] for row in found] == [spelled, spelled]
    assert found[0]["community_id"] == found[1]["community_id"]
