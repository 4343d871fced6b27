from datetime import UTC, datetime
from pathlib import Path

import pytest

from tocsin.errors import InputError
from tocsin.sources.zeek import ZeekSource
from tocsin.testing.logs import ZEEK_FIELDS, ZEEK_TYPES, zeek_header, zeek_log, zeek_row


def read(path: Path, text: str | bytes, **options) -> tuple[list[dict], list]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    batches = list(ZeekSource(**options).read(path))
    rows = [row for batch in batches for row in batch.table.to_pylist()]
    return rows, [rejected for batch in batches for rejected in batch.rejected]


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "conn.log"


def test_maps_every_column_and_its_unit(log):
    [row], _ = read(log, zeek_header() + zeek_row(0, orig_bytes="900", resp_bytes="100", service="-"))
    assert row["stime"] == datetime(2018, 12, 21, 14, 50, 16, tzinfo=UTC)
    assert row["etime"] == datetime(2018, 12, 21, 14, 50, 17, 500_000, tzinfo=UTC)
    expected = {
        "flowid": "C0000000000000000",
        "dur": 1500,
        "pcr": 8,
        "saddr": "192.168.1.1",
        "sport": 1024,
        "daddr": "93.184.216.34",
        "dport": 443,
        "spkts": 5,
        "dpkts": 6,
        "sbytes": 360,
        "dbytes": 620,
        "orig_bytes": 900,
        "savgpayload": 180,
        "davgpayload": 17,
        "service": None,
        "local_orig": True,
        "local_resp": False,
        "missed_bytes": 0,
        "tunnel_parents": "",
    }
    assert {name: row[name] for name in expected} == expected


def test_keeps_microseconds(log):
    [row], _ = read(log, zeek_header() + zeek_row(0, ts="1545403816.962094"))
    assert row["stime"].microsecond == 962094


def test_without_ip_bytes_the_payload_stands_for_them(log):
    [row], _ = read(log, zeek_header() + zeek_row(0, orig_ip_bytes="-", orig_bytes="77"))
    assert row["sbytes"] == 77


def test_unset_durations_and_bytes_stay_unknown(log):
    [row], _ = read(log, zeek_header() + zeek_row(0, duration="-", orig_bytes="-", resp_bytes="-"))
    assert (row["dur"], row["etime"], row["pcr"], row["savgpayload"]) == (None, None, None, None)


def test_the_header_may_change_within_the_file(log):
    fewer = [name for name in ZEEK_FIELDS if name != "tunnel_parents"] + ["ja4"]
    types = [*ZEEK_TYPES[:-1], "string"]
    row = zeek_row(1).rstrip("\n").rsplit("\t", 1)[0] + "\tt13d\n"
    text = zeek_log(1) + "#close\t2018-12-21-15-00-00\n" + zeek_header(fewer, types) + row + "#close\tx\n"
    rows, rejected = read(log, text)
    assert [row["flowid"] for row in rows] == ["C0000000000000000", "C0000000000000001"]
    assert (rows[1]["ja4"], rejected) == ("t13d", [])


def test_reads_separators_and_marks_from_the_header(log):
    text = (zeek_log(1) + zeek_row(1, service="NONE")).replace("#unset_field\t-", "#unset_field\tNONE")
    header, rows = text.split("#set_separator", 1)
    text = header.replace("\\x09", "\\x7c") + "#set_separator" + rows.replace("\t", "|")
    found, rejected = read(log, text)
    assert [row["service"] for row in found] == ["ssl", None]
    assert not rejected


def test_the_joined_last_column_of_labelled_captures(log):
    fields = [*ZEEK_FIELDS[:-1], "tunnel_parents   label   detailed-label"]
    types = [*ZEEK_TYPES[:-1], "set[string]   string   string"]
    lines = [zeek_row(0, tunnel_parents="-   Malicious   C&C"), zeek_row(1, tunnel_parents="(empty)   Benign   -")]
    rows, _ = read(log, zeek_header(fields, types) + "".join(lines) + zeek_row(2, tunnel_parents="-"))
    assert [(row["tunnel_parents"], row["label"], row["label_detail"]) for row in rows] == [
        (None, "Malicious", "C&C"),
        ("", "Benign", None),
        (None, None, None),
    ]


def test_labels_in_columns_of_their_own(log):
    text = zeek_header([*ZEEK_FIELDS, "label", "detailed-label"], [*ZEEK_TYPES, "string", "string"])
    [row], _ = read(log, text + zeek_row(0).rstrip("\n") + "\tMalicious\tPartOfAHorizontalPortScan\n")
    assert (row["label"], row["label_detail"]) == ("Malicious", "PartOfAHorizontalPortScan")


def test_escapes_line_ends_and_stray_bytes(log):
    text = zeek_header() + zeek_row(0, history="a\\x09b\\x5cc") + zeek_row(1, history="\\xff\\xc3\\xa9")
    text = text.replace("\n", "\r\n").encode() + zeek_row(2, history="@").encode().replace(b"@", b"\xfe")
    rows, rejected = read(log, text)
    assert [row["history"] for row in rows] == ["a\tb\\c", "\\xff\\xc3\\xa9", "\\xfe"]
    assert not rejected


def test_a_column_whose_name_means_something_else_here_is_kept_apart(log):
    text = zeek_header([*ZEEK_FIELDS, "version", "seen"], [*ZEEK_TYPES, "string", "count"])
    [row], _ = read(log, text + zeek_row(0).rstrip("\n") + "\tTLSv13\t4\n")
    assert (row["zeek_version"], row["seen"]) == ("TLSv13", 4)


def test_community_id_of_the_sensor_is_kept_and_computed_where_absent(log):
    text = zeek_header([*ZEEK_FIELDS, "community_id"], [*ZEEK_TYPES, "string"])
    rows, _ = read(log, text + zeek_row(0).rstrip("\n") + "\t1:given=\n" + zeek_row(0).rstrip("\n") + "\t-\n")
    assert rows[0]["community_id"] == "1:given="
    assert rows[1]["community_id"].startswith("1:")
    assert len(rows[1]["community_id"]) == 30


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ts": "yesterday"}, "ts 'yesterday' is not a time"),
        ({"ts": "4200000000"}, "between 1970 and 2100"),
        ({"ts": "-5"}, "between 1970 and 2100"),
        ({"ts": "-"}, "no ts"),
        ({"id__orig_h": "-"}, "no id.orig_h"),
        ({"id__orig_h": "localhost"}, "'localhost' is no IP address"),
        ({"id__resp_p": "65536"}, "is not a port"),
        ({"orig_bytes": "-3"}, "is not a count"),
        ({"orig_bytes": "18446744073709551616"}, "is not a count"),
        ({"duration": "nan"}, "is not a duration"),
        ({"local_orig": "maybe"}, "is not T or F"),
        ({"proto": "-"}, "no proto"),
    ],
)
def test_a_bad_value_sets_the_row_aside(log, change, reason):
    rows, [rejected] = read(log, zeek_header() + zeek_row(0) + zeek_row(1, **change) + zeek_row(2))
    assert [row["flowid"][-1] for row in rows] == ["0", "2"]
    assert rejected.line == 10
    assert reason in rejected.reason


def test_iso_times_in_json(log):
    record = '{"ts":"2018-12-21T14:50:16.96Z","uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":1,"id.resp_h":"10.0.0.2",'
    record += '"id.resp_p":2,"proto":"udp","conn_state":"SF","tunnel_parents":["a","b"],"odd":{"x":1}}\n'
    rows, rejected = read(log, record + record.replace('"2018-12-21T14:50:16.96Z"', "1545403816.96"))
    assert [row["stime"] for row in rows] == [datetime(2018, 12, 21, 14, 50, 16, 960_000, tzinfo=UTC)] * 2
    assert (rows[0]["tunnel_parents"], rows[0]["odd"], rejected) == ("a,b", '{"x": 1}', [])


def test_nested_json_ids(log):
    record = '{"ts":1,"uid":"C1","id":{"orig_h":"10.0.0.1","orig_p":1,"resp_h":"10.0.0.2","resp_p":2},"proto":"tcp",'
    [row], _ = read(log, record + '"conn_state":"SF"}\n')
    assert (row["saddr"], row["dport"]) == ("10.0.0.1", 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (zeek_header(path="dns"), "holds dns records; flows come from conn.log"),
        (zeek_row(0), "#fields"),
        ('{"ts":1,"uid":"C","id.orig_h":"1.1.1.1","query":"a.b","_path":"dns"}\n', "holds dns records"),
    ],
)
def test_other_logs_are_refused_in_one_line(log, text, said):
    with pytest.raises(InputError, match=said):
        read(log, text)


def test_kinds_are_told_apart():
    source = ZeekSource()
    assert source.kind(zeek_header().encode(), Path("x.log")) == "flow"
    assert source.kind(zeek_header(path="ssl").encode(), Path("conn.log")) == "zeek.ssl"
    assert source.kind(b'{"ts":1,"query":"x"}\n', Path("dns.log")) == "zeek.dns"


def test_a_labelled_capture(data):
    batches = list(ZeekSource(block_bytes=1 << 20).read(data / "flows" / "iot23-34-1.conn.log.labeled.gz"))
    labels: dict[str, int] = {}
    for batch in batches:
        for label in batch.table.column("label_detail").to_pylist():
            labels[str(label)] = labels.get(str(label), 0) + 1
    assert labels == {"DDoS": 14394, "C&C": 6706, "None": 1923, "PartOfAHorizontalPortScan": 122}
    assert sum(batch.rejected_count for batch in batches) == 0
