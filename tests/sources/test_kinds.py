"""Every kind of record: Zeek's other logs, Suricata's other events, JSON lines of any make, and all of them mixed."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.records.conn import as_zeek_conn
from tocsin.records.flow import TIMESTAMP
from tocsin.source import Batch
from tocsin.sources.eve import EveSource
from tocsin.sources.kinds import Kinds, Origin, json_origin
from tocsin.sources.ndjson import NdjsonSource
from tocsin.sources.zeek import ZeekSource
from tocsin.testing.logs import START, eve_log, event_log, zeek_header, zeek_json, zeek_log, zeek_row

SSH = ["ts", "uid", "id.orig_h", "id.orig_p", "auth_success", "auth_attempts", "client", "rtt", "when", "cves", "score"]
SSH_TYPES = [
    "time",
    "string",
    "addr",
    "port",
    "bool",
    "count",
    "string",
    "interval",
    "time",
    "vector[string]",
    "double",
]


def ssh_row(*values: str) -> str:
    row = ["1545403816.5", "C1", "10.0.0.1", "22", "T", "3", "x", "0.5", "1.0", "a,b", "2.5"]
    return "\t".join([*values, *row[len(values) :]]) + "\n"


def read(source, path: Path, text: str) -> list[Batch]:
    path.write_text(text)
    return list(source.read(path))


def by_kind(batches: list[Batch]) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for batch in batches:
        found.setdefault(batch.kind, []).extend(batch.table.to_pylist())
    return {kind: rows for kind, rows in found.items() if rows}


def set_aside(batches: list[Batch]) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for batch in batches for row in batch.rejected]


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "some.log"


def test_another_log_keeps_its_names_and_has_its_types(log):
    batches = read(ZeekSource(kinds=Kinds()), log, zeek_header(SSH, SSH_TYPES, "ssh") + ssh_row())
    [batch] = batches
    assert batch.kind == "zeek.ssh"
    assert batch.table.column_names == SSH
    text, number = pa.string(), pa.float64()
    expected = [TIMESTAMP, text, text, pa.uint16(), pa.bool_(), pa.uint64(), text, number, TIMESTAMP, text, number]
    assert batch.table.schema.types == expected
    [row] = batch.table.to_pylist()
    assert row["ts"] == datetime(2018, 12, 21, 14, 50, 16, 500_000, tzinfo=UTC)
    assert (row["auth_success"], row["auth_attempts"], row["cves"], row["score"]) == (True, 3, "a,b", 2.5)


def test_unset_is_null_and_empty_is_empty(log):
    row = ssh_row("1545403816.5", "-", "-", "-", "-", "-", "(empty)", "-", "-", "(empty)", "-")
    [row] = by_kind(read(ZeekSource(kinds=Kinds()), log, zeek_header(SSH, SSH_TYPES, "ssh") + row))["zeek.ssh"]
    assert {name: value for name, value in row.items() if value is not None} == {
        "ts": datetime(2018, 12, 21, 14, 50, 16, 500_000, tzinfo=UTC),
        "client": "",
        "cves": "",
    }


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (("-",), "no ts"),
        (("soon",), "ts 'soon' is not a time between 1970 and 2100"),
        (("1.0", "C", "x", "70000"), "id.orig_p '70000' is not a port (0 to 65535)"),
        (("1.0", "C", "x", "1", "T", "-1"), "auth_attempts '-1' is not a count"),
    ],
)
def test_a_bad_value_sets_the_row_of_another_log_aside(log, values, reason):
    text = zeek_header(SSH, SSH_TYPES, "ssh") + ssh_row() + ssh_row(*values) + ssh_row()
    batches = read(ZeekSource(kinds=Kinds()), log, text)
    assert len(by_kind(batches)["zeek.ssh"]) == 2
    assert set_aside(batches) == [(10, reason)]


def test_a_certificate_that_runs_out_in_two_hundred_years_is_no_bad_value(log):
    row = ssh_row("1.0", "C", "x", "1", "T", "1", "x", "1", "9000000000")
    [row] = by_kind(read(ZeekSource(kinds=Kinds()), log, zeek_header(SSH, SSH_TYPES, "ssh") + row))["zeek.ssh"]
    assert row["when"].year == 2255


def test_logs_one_behind_the_other_and_conn_log_as_flows(log):
    text = zeek_log(2) + "#close\tx\n" + zeek_header(SSH, SSH_TYPES, "ssh") + ssh_row() + zeek_log(1, first=9)
    found = by_kind(read(ZeekSource(kinds=Kinds()), log, text))
    assert {kind: len(rows) for kind, rows in found.items()} == {"flow": 3, "zeek.ssh": 1}
    assert found["flow"] == by_kind(read(ZeekSource(), log, zeek_log(2) + zeek_log(1, first=9)))["flow"]


def test_a_log_without_times_is_set_aside(log):
    batches = read(ZeekSource(kinds=Kinds()), log, zeek_header(["name"], ["string"], "loaded_scripts") + "a\nb\n")
    assert set_aside(batches) == [(9, "no ts"), (10, "no ts")]


def test_json_logs_by_their_path_in_one_stream(log):
    lines = [
        '{"_path":"ssh","ts":1.5,"uid":"C1","auth_attempts":2,"id.orig_p":22,"version":2}',
        '{"_path":"http","ts":"2020-01-01T00:00:00Z","version":"1.1","id":{"orig_h":"10.0.0.1","orig_p":1}}',
        '{"_path":"dns"}',
        "no json",
        '{"_path":"ssh","ts":2.5,"uid":null,"auth_attempts":null,"id.orig_p":23,"version":2}',
    ]
    batches = read(ZeekSource(kinds=Kinds()), log, "\n".join(lines) + "\n")
    found = by_kind(batches)
    assert [row["auth_attempts"] for row in found["zeek.ssh"]] == [2, None]
    assert found["zeek.http"][0] == {
        "ts": datetime(2020, 1, 1, tzinfo=UTC),
        "version": "1.1",
        "id.orig_h": "10.0.0.1",
        "id.orig_p": 1,
    }
    assert [(line, reason.partition(":")[0]) for line, reason in sorted(set_aside(batches))] == [
        (3, "no ts"),
        (4, "no valid JSON"),
    ]
    lines_of = {batch.kind: batch.lines.tolist() for batch in batches}
    assert (lines_of["zeek.ssh"], lines_of["zeek.http"]) == ([1, 5], [2])


@pytest.mark.parametrize("block_bytes", [60, 1 << 20])
def test_types_of_json_fields_do_not_depend_on_the_block(log, block_bytes):
    records = [
        {"_path": "dns", "ts": 1, "uid": None, "id.orig_p": 53, "rtt": 1, "query": "a", "answers": []},
        {"_path": "dns", "ts": 1.5, "uid": "C", "id.orig_p": None, "rtt": None, "query": None, "answers": ["x", "y"]},
        {"_path": "dns", "ts": "2020-01-01 10:00:00", "query": "2020-01-01", "id.orig_p": "53", "rtt": 0.5},
    ]
    text = "".join(json.dumps(record) + "\n" for record in records)
    batches = read(ZeekSource(kinds=Kinds(), block_bytes=block_bytes), log, text)
    types = {"ts": TIMESTAMP, "uid": pa.string(), "id.orig_p": pa.uint16(), "rtt": pa.float64(), "query": pa.string()}
    for batch in batches:
        for name in set(types) & set(batch.table.column_names):
            assert batch.table.schema.field(name).type == types[name]
    rows = by_kind(batches)["zeek.dns"]
    assert [row["query"] for row in rows] == ["a", None, "2020-01-01"]
    assert [row.get("answers") for row in rows] == ["", "x,y", None]


def test_kinds_that_nobody_asked_for_are_counted_and_not_parsed(log):
    text = zeek_json(2) + '{"_path":"dns","ts":"this would be set aside"}\n' + eve_log(3)
    batches = read(ZeekSource(kinds=Kinds(only=frozenset({"eve.alert"}))), log, text)
    assert {kind: len(rows) for kind, rows in by_kind(batches).items()} == {"eve.alert": 3}
    assert set_aside(batches) == []
    assert sum(batch.skipped for batch in batches) == 6
    only = Kinds(only=frozenset({"flow"}))
    batches = read(ZeekSource(kinds=only), log, zeek_header(SSH, SSH_TYPES, "ssh") + ssh_row("x") * 4 + zeek_log(1))
    assert (len(by_kind(batches)["flow"]), sum(batch.skipped for batch in batches), set_aside(batches)) == (1, 4, [])


def test_all_of_suricatas_events(log):
    other = {"timestamp": "2020-01-01T00:00:00.5+0200", "event_type": "dns", "dest_port": 53, "dns": {"rrname": "a.b"}}
    other["dns"]["answers"] = [{"rdata": "x"}]
    stats = {**other, "event_type": "stats"}
    batches = read(EveSource(kinds=Kinds()), log, eve_log(2) + json.dumps(other) + "\n" + json.dumps(stats) + "\n")
    found = by_kind(batches)
    assert {kind: len(rows) for kind, rows in found.items()} == {"flow": 2, "eve.alert": 2, "eve.dns": 1}
    assert found["eve.alert"][0]["alert.signature"] == "x"
    assert found["eve.dns"][0] == {
        "timestamp": datetime(2019, 12, 31, 22, 0, 0, 500_000, tzinfo=UTC),
        "event_type": "dns",
        "dest_port": 53,
        "dns.rrname": "a.b",
        "dns.answers": '[{"rdata": "x"}]',
    }
    assert sum(batch.skipped for batch in batches) == 1
    assert found["flow"] == by_kind(read(EveSource(), log, eve_log(2)))["flow"]
    asked = read(EveSource(kinds=Kinds(only=frozenset({"eve.stats"}))), log, json.dumps(stats) + "\n")
    assert len(by_kind(asked)["eve.stats"]) == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ts": 1.5}, 1.5),
        ({"time": 1_545_403_816_250}, 1_545_403_816.25),
        ({"time": 1_545_403_816_250_000}, 1_545_403_816.25),
        ({"time": 1_545_403_816_250_000_000}, 1_545_403_816.25),
        ({"ts": "?", "time": None, "timestamp": "2020-01-01T00:00:00"}, 1_577_836_800),
        ({"eventTime": "2020-01-01T00:00:00Z"}, 1_577_836_800),  # CloudTrail
        ({"@timestamp": "2020-01-01T01:00:00+01:00"}, 1_577_836_800),
        ({"ts": True, "time": "1577836800.5"}, 1_577_836_800.5),
        ({"ts": -5}, None),
        ({"when": 5}, None),
    ],
)
def test_an_events_time(log, fields, expected):
    batches = read(NdjsonSource(), log, json.dumps({**fields, "a": 1}) + "\n")
    if expected is None:
        assert set_aside(batches) == [(1, "no time (ts, time, timestamp, @timestamp, eventTime)")]
    else:
        [row] = by_kind(batches)["event"]
        assert row["ts"].timestamp() == expected
        assert {name: row[name] for name in fields if name != "ts" and fields[name] is not None} == {
            name: value for name, value in fields.items() if name != "ts" and value is not None
        }


def test_an_events_values_stay_what_they_are(log):
    record = {"time": 1, "n": 3, "x": 1.5, "ok": False, "day": "2020-01-01", "user": {"id": {"no": 7}}, "list": [1, 2]}
    [row] = by_kind(read(NdjsonSource(), log, json.dumps(record) + "\n"))["event"]
    expected = {"time": 1, "n": 3, "x": 1.5, "ok": False, "day": "2020-01-01", "user.id.no": 7, "list": "1,2"}
    assert {name: row[name] for name in expected} == expected
    assert row["ok"] is False


@pytest.mark.parametrize(
    ("record", "path", "expected"),
    [
        ({"_path": "x", "event_type": "dns", "timestamp": 1}, "-", Origin("zeek", "x")),
        ({"event_type": "dns", "timestamp": 1}, "-", Origin("eve", "dns")),
        ({"ts": 1, "uid": 1000, "msg": "login"}, "app.log", Origin("event")),
        ({"ts": 1, "uid": "CHhAvVGS1DHFjwGM9", "query": "x"}, "dns.2020.log.gz", Origin("zeek", "dns")),
        ({"ts": 1, "gaps": 0}, "capture_loss.log", Origin("zeek", "capture_loss")),
        ({"ts": 1, "id.orig_h": "x", "auth_attempts": 1, "uid": "C"}, "-", Origin("zeek", "ssh")),
        ({"ts": 1, "id.orig_h": "x", "history": "S"}, "-", Origin("zeek", "conn")),
        ({"ts": 1, "id.orig_h": "x"}, "-", Origin("zeek", "unknown")),
        ({"time": 1}, "conn.log", Origin("event")),
    ],
)
def test_who_wrote_a_record(record, path, expected):
    assert json_origin(record, Path(path)) == expected


def test_a_said_kind_is_that_of_lines_that_do_not_say_theirs(log):
    [batch] = read(NdjsonSource(kinds=Kinds(bare="zeek.ssh")), log, '{"ts":1,"auth_attempts":5}\n')
    assert (batch.kind, batch.table.schema.field("auth_attempts").type) == ("zeek.ssh", pa.uint64())


MIXED = eve_log(6) + zeek_json(6) + event_log(6) + '{"_path":"ssh","ts":1}\nbad\n'


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(MIXED.splitlines()), block_bytes=st.integers(400, 9000), workers=st.integers(1, 2))
def test_however_mixed_and_cut_each_line_is_read_once_and_every_position_resumes(tmp_path, order, block_bytes, workers):
    path = tmp_path / "mixed.json"
    path.write_text("\n".join(order) + "\n")
    source = NdjsonSource(kinds=Kinds(bare="event"), block_bytes=block_bytes, workers=workers)
    batches = list(source.read(path))
    lines = [line for batch in batches for line in (*batch.lines.tolist(), *(row.line for row in batch.rejected))]
    assert sorted(lines) == list(range(1, len(order) + 1))
    for index, batch in enumerate(batches):
        position = json.loads(json.dumps(batch.position))
        rest = list(source.read(path, position))
        assert [(item.kind, item.table.to_pylist()) for item in rest] == [
            (item.kind, item.table.to_pylist()) for item in batches[index + 1 :]
        ]
        assert len(list(source.read(path, until=position))) == index + 1


def test_flows_under_zeeks_names(log):
    header = zeek_header([*zeek_fields(), "version"], [*zeek_types(), "string"])
    text = header + zeek_row(0).rstrip("\n") + "\tx\n" + zeek_row(1, duration="-").rstrip("\n") + "\ty\n"
    path = log.with_name("conn.log")
    [batch] = read(ZeekSource(), path, text)
    conn = as_zeek_conn(batch.table)
    first, second = conn.to_pylist()
    expected = {
        "uid": "C0000000000000000",
        "id.orig_h": "192.168.1.1",
        "id.resp_p": 443,
        "duration": 1.5,
        "orig_ip_bytes": 360,
        "orig_pkts": 5,
        "orig_bytes": 100,
        "service": "ssl",
        "local_orig": True,
        "version": "x",
    }
    assert {name: first[name] for name in expected} == expected
    assert first["ts"] == datetime.fromtimestamp(START, UTC)
    assert second["duration"] is None
    assert not {"stime", "saddr", "spkts"} & set(conn.column_names)
    assert as_zeek_conn(batch.table.slice(0, 0)).num_rows == 0


def zeek_fields() -> list[str]:
    return zeek_header().splitlines()[6].split("\t")[1:]


def zeek_types() -> list[str]:
    return zeek_header().splitlines()[7].split("\t")[1:]


@pytest.mark.parametrize("folder", ["zat", "zat/json", "rita-proxy", "rita-json_with_all_fields"])
def test_real_logs_of_every_kind(data, folder):
    without = {"intel_example.intel", "loaded_scripts.log", "LICENSE", "top_domains_1k.csv"}
    for path in sorted((data / "zeek" / folder).iterdir()):
        if path.name in without or path.is_dir() or path.name.endswith("corrupt.gz"):
            continue
        batches = list(ZeekSource(kinds=Kinds()).read(path))
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = [line for line in text.split(b"\n") if line.strip() and not line.startswith(b"#")]
        assert sum(batch.table.num_rows for batch in batches) == len(lines), path
        assert set_aside(batches) == []
        for batch in batches:
            assert batch.table.schema.field("stime" if batch.kind == "flow" else "ts").type == TIMESTAMP


def test_a_corrupt_archive_gives_what_can_be_read(data):
    batches = list(ZeekSource(kinds=Kinds()).read(data / "zeek" / "zat" / "http.log.corrupt.gz"))
    assert len(by_kind(batches)["zeek.http"]) == 150
    assert [warning for batch in batches for warning in batch.warnings if "breaks off" in warning]
