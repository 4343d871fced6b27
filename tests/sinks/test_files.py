"""The sinks that write files: what is in them, and what they do with a file cut off or of something else."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tocsin.errors import SinkError
from tocsin.sinks.jsonl import JsonLinesSink
from tocsin.sinks.notice import COLUMNS, NoticeSink, escape_cell, escape_set, note_name, notice_log
from tocsin.sinks.parquet import SCHEMA, ParquetSink
from tocsin.testing.clock import FakeClock

HOSTILE = "tab\there\nline\\ back \x00 nul \x7f – dash, comma"


def cells(line):
    return dict(zip(COLUMNS, line.split("\t"), strict=True))


def test_a_json_line_is_the_finding(tmp_path, finding):
    path = tmp_path / "findings.jsonl"
    hostile = replace(finding, title=HOSTILE + "\udc80")
    JsonLinesSink(path).send([finding, hostile])
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == json.loads(json.dumps(finding.to_dict()))
    assert first["start"] == "2025-01-08T10:00:00.250000Z"
    assert second["title"] == HOSTILE + "?"


def test_a_line_that_was_cut_off_spoils_only_itself(tmp_path, finding):
    path = tmp_path / "findings.jsonl"
    path.write_text('{"id": "ha')
    JsonLinesSink(path).send([finding])
    broken, whole = path.read_text().splitlines()
    assert broken == '{"id": "ha'
    assert json.loads(whole)["id"] == "a1b2"


def test_parquet_holds_everything_and_replaces_the_same(tmp_path, finding):
    sink = ParquetSink(tmp_path)
    sink.send([finding])
    sink.send([finding])
    (path,) = tmp_path.iterdir()
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    (row,) = table.to_pylist()
    assert row["start"] == finding.start
    assert row["reasons"] == [vars(finding.reasons[0])]
    assert json.loads(row["records"])[0]["dport"] == 22
    assert json.loads(row["scope"]) == finding.scope


def test_notice_shape(tmp_path, finding):
    path = tmp_path / "notice.log"
    sink = NoticeSink(path, clock=FakeClock(datetime(2025, 1, 8, 11, tzinfo=UTC)))
    sink.send([finding])
    sink.send([finding])
    lines = path.read_text().splitlines()
    assert lines[0] == "#separator \\x09"
    assert lines[5] == "#open\t2025-01-08-11-00-00"
    assert len(lines) == 10
    assert lines[8] == lines[9]
    row = cells(lines[8])
    assert row["ts"] == "1736330400.250000"
    assert (row["uid"], row["id.orig_h"], row["id.orig_p"]) == ("C1", "10.0.0.7", "5000")
    assert (row["id.resp_h"], row["id.resp_p"], row["proto"]) == ("9.9.9.9", "22", "tcp")
    assert row["note"] == "Tocsin::Port_Scan"
    assert row["sub"] == "dport: 1, 2 and 40 more, expected 443, 53"
    assert (row["src"], row["dst"], row["n"], row["fuid"]) == ("10.0.0.7", "-", "42", "-")
    assert (row["actions"], row["email_dest"]) == ("Notice::ACTION_LOG", "(empty)")


def test_notice_of_hostile_text_is_one_line(finding):
    hostile = replace(finding, title=HOSTILE, entity="-", records=[], kind="äö/-x y")
    text = notice_log([hostile], datetime(2025, 1, 8, tzinfo=UTC))
    row = cells(text.splitlines()[-1])
    assert row["msg"] == "tab\\x09here\\x0aline\\\\ back \\x00 nul \\x7f – dash, comma"
    assert row["id.orig_h"] == row["uid"] == row["src"] == "-"
    assert row["note"] == "Tocsin::X_Y"


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "-"), ("", "(empty)"), ("-", "\\x2d"), ("(empty)", "\\x28empty)"), ("a,b", "a,b"), (5, "5")],
)
def test_notice_cells(value, written):
    assert escape_cell(value) == written


def test_notice_sets_and_names():
    assert escape_set(["a,b", "c"]) == "a\\x2cb,c"
    assert note_name("--") == "Finding"


def test_a_log_of_something_else_is_left_alone(tmp_path, finding):
    path = tmp_path / "conn.log"
    path.write_text("#separator \\x09\n#fields\tts\tuid\n1\t2\n")
    with pytest.raises(SinkError, match="other columns"):
        NoticeSink(path).send([finding])
    assert path.read_text().endswith("1\t2\n")


def test_results_go_to_a_log_of_their_own_with_zeek_types(tmp_path):
    sink = NoticeSink(tmp_path / "notice.log", clock=FakeClock(datetime(2025, 1, 8, 11, tzinfo=UTC)))
    start = pa.array([datetime(2025, 1, 8, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    row = {"record": ["key"], "summary": ["a/b"], "start": start, "complete": [False], "missing": [[1, 3]],
           "top": [[{"value": "x,y", "count": 3}]], "n": [0.1]}  # fmt: skip
    sink.send_results(pa.table(row))
    sink.send_results(pa.table(row))
    lines = (tmp_path / "results-a_b.log").read_text().splitlines()
    assert lines[4] == "#path\tresults_a_b"
    assert lines[6] == "#fields\trecord\tsummary\tstart\tcomplete\tmissing\ttop\tn"
    assert lines[7] == "#types\tstring\tstring\ttime\tbool\tvector[int]\tvector[string]\tdouble"
    written = 'key\ta/b\t1736294400.000000\tF\t1,3\t{"value": "x\\x2cy"\\x2c "count": 3}\t0.1'
    assert lines[8:] == [written, written]
    with pytest.raises(SinkError, match=r"results-a_b\.log has other columns"):
        sink.send_results(pa.table({"record": ["key"], "summary": ["a/b"]}))


def test_an_epochs_results_replace_those_of_the_same_epoch(tmp_path):
    sink = ParquetSink(tmp_path)
    start = pa.array([datetime(2025, 1, 8, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    for n in (1, 2):
        sink.send_results(pa.table({"record": ["key"], "summary": ["a"], "start": start, "n": [n]}))
    (path,) = tmp_path.iterdir()
    assert path.name == "results-a-20250108T000000.000000Z.parquet"
    assert pq.read_table(path).column("n").to_pylist() == [2]
