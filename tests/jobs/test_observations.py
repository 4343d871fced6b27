"""What the novelty commands read: every format under its names, pipes as they come, what cannot be used told."""

import json
import os
import threading
from pathlib import Path

import pytest

from tocsin.errors import SettingsError
from tocsin.jobs.observations import Observations, Wanted, mixed
from tocsin.settings import IngestSettings
from tocsin.testing.logs import csv_log, eve_log, zeek_json, zeek_log


def read(paths, *fields, **wanted):
    """Return the observations of files, and the report."""
    its = Observations(Wanted(fields, **wanted), IngestSettings())
    rows = [
        row for columns in its.of_files([str(path) for path in paths]) for row in zip(*map(list, columns), strict=True)
    ]
    return [tuple(value.as_py() for value in row) for row in rows], its.report


@pytest.fixture
def file(tmp_path):
    def make(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return make


def test_a_connection_has_both_names(file):
    log = file("conn.log", zeek_log(20))
    both, report = read([log], "proto", "dport", "id.resp_p")
    assert len(both) == report.observations == 20
    assert all(row[1] == row[2] for row in both)
    assert read([log], "proto", "dport", "dport", kind="flow")[0] == both
    zeek = read([log], "proto", "id.resp_p", "id.resp_p", kind="zeek.conn")[0]
    assert zeek == both
    as_json, _ = read([file("json.log", zeek_json(20))], "proto", "dport", "id.resp_p")
    assert len(as_json) == 20
    assert all(row[1] == row[2] for row in as_json)


def test_of_several_kinds_one_is_chosen_or_it_is_told(file):
    log = file("eve.json", eve_log(20) + json.dumps({
        "timestamp": "2025-01-08T12:00:00.000000+0000", "event_type": "dns", "src_ip": "10.0.0.1",
        "dns": {"rrtype": "A"}}) + "\n")  # fmt: skip
    every, report = read([log], "src_ip", "dns.rrtype")
    assert "several kinds" in mixed(report, Wanted(("src_ip",)))
    chosen, report = read([log], "src_ip", "dns.rrtype", kind="eve.dns")
    assert chosen == [("10.0.0.1", "A")]
    assert mixed(report, Wanted(("src_ip",), kind="eve.dns")) == ""
    assert len(every) > 1


def test_a_csv_of_flows_is_a_table_like_any_other(file):
    text = csv_log(10)
    names = text.splitlines()[0].split(",")
    rows, _ = read([file("flows.csv", text)], *[f'"{name}"' for name in names[:2]])
    assert rows == [tuple(line.split(",")[:2]) for line in text.splitlines()[1:]]


def test_files_come_in_the_order_in_which_they_are_given(file):
    one, two = file("b.csv", "x\n1\n"), file("a.csv", "x\n2\n")
    assert read([one, two], "x", header=True)[0] == [("1",), ("2",)]
    assert read([two, one], "x")[0] == [("2",), ("1",)]


def test_a_delimiter_that_is_said_and_a_table_without_names(file):
    assert read([file("t.csv", "a:b,c\nd:e,f\n")], "c1", "c2", delimiter=":", header=False)[0] == [
        ("a", "b,c"),
        ("d", "e,f"),
    ]


def test_what_cannot_be_used_is_told_and_the_rest_is_read(file, tmp_path):
    good = file("t.csv", "x,n\na,1\nb,z\n")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\x01\x00\x02" * 100)
    array = file("array.json", '[\n{"x": 1}\n]\n')
    rows, report = read([file("empty", ""), binary, array, tmp_path / "none", good], "x", "CAST(n AS INTEGER)")
    assert rows == [("a", "1")]
    assert (report.observations, report.rejected) == (1, 1)
    assert len(report.errors) == 4
    assert any("array.json: is JSON, but not a record a line" in text for text in report.errors)
    assert "z" in report.reasons[0]


def test_a_column_that_a_table_has_not_is_refused(file):
    with pytest.raises(SettingsError, match=r"t\.csv has no column 'usr'; did you mean 'user'"):
        read([file("t.csv", "user,b\n1,2\n")], "usr")
    with pytest.raises(SettingsError, match=r"no column 'z'; it has user, b"):
        read([file("t.csv", "user,b\n1,2\n")], "user", where="z = 1")


def test_a_format_that_is_said(file):
    assert read([file("t.txt", '{"a": 1}\n')], "a", format_name="ndjson")[0] == [("1",)]
    with pytest.raises(SettingsError, match="--format: format 'nope'"):
        read([], "a", format_name="nope")


@pytest.mark.parametrize("lines", [["a,b\n", "1,2\n", "3,4\n"], ['{"a": 1, "b": 2}\n', '{"a": 3, "b": 4}\n']])
def test_a_pipe_gives_lines_as_they_come(tmp_path, lines):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    taken = threading.Event()

    def write():
        with Path(pipe).open("w") as file:
            file.write("".join(lines[:-1]))
            file.flush()
            assert taken.wait(30)  # what was written is read before there is more
            file.write(lines[-1])

    writer = threading.Thread(target=write)
    writer.start()
    its = Observations(Wanted(("a", "b")), IngestSettings())
    found = []
    for columns in its.of_files([str(pipe)]):
        found += list(zip(*(column.to_pylist() for column in columns), strict=True))
        taken.set()
    writer.join()
    assert found == [("1", "2"), ("3", "4")]
