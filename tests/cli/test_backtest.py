"""`tocsin backtest`: the golden cases on captures, and the lake, with the ids of watching."""

import json

import pytest
from click.testing import CliRunner

from tocsin.app import App
from tocsin.cli import cli
from tocsin.settings import load_settings
from tocsin.testing.logs import zeek_header, zeek_log, zeek_row

SUMMARIES = """
summaries:
  - name: responders
    input: flow
    key: {responder: daddr}
    reduce: {connections: count, originators: {unique: saddr}}
    epoch: 1h
  - name: established
    input: flow
    where: "proto = 'tcp' AND dpkts > 0"
    reduce: {connections: count}
    epoch: 1m
    origin: first
  - name: busy
    input: flow
    key: {host: saddr}
    reduce: {flows: count, peers: {unique: daddr}}
    epoch: 1h
    threshold: {of: flows, at: [1, 5, 20]}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tocsin.yaml"
    path.write_text(f"store: {tmp_path / 'store'}\nlogging: {{level: error}}\n{SUMMARIES}")
    return path


@pytest.fixture
def run(config):
    return lambda *arguments: CliRunner().invoke(cli, ["-c", str(config), *map(str, arguments)])


@pytest.fixture
def results(run, tmp_path):
    """The rows of results of a command."""

    def rows(*arguments):
        done = run(*arguments, "--results", "results.ndjson")
        assert done.exit_code == 0, done.output
        return [json.loads(line) for line in (tmp_path / "results.ndjson").read_text().splitlines()]

    return rows


@pytest.mark.parametrize("how", [["backtest"], ["watch"], ["backtest", "--workers", "3"]], ids=" ".join)
def test_g08_the_final_epoch(results, data, how):
    rows = results(*how, data / "pcap" / "wikipedia.pcap", "--summary", "responders", "--no-store")
    *keys, closing = rows
    found = {row["responder"]: (row["connections"], row["originators"]) for row in keys}
    assert found.pop("141.142.220.235", None) or found.pop("173.192.163.128")
    assert found == {
        "141.142.2.2": (14, 1), "208.80.152.3": (6, 1), "224.0.0.251": (3, 3), "141.142.220.255": (2, 2),
        "ff02::1:3": (2, 1), "224.0.0.252": (2, 1), "208.80.152.2": (2, 1), "208.80.152.118": (1, 1),
        "ff02::fb": (1, 1),
    }  # fmt: skip
    assert (closing["records"], closing["keys"], closing["complete"]) == (34, 10, True)


def test_x4_established_connections_a_minute(results, data):
    rows = results("backtest", data / "pcap" / "workshop_2011_browse.pcap", "--summary", "established", "--no-store")
    assert [row["connections"] for row in rows if row["record"] == "key"] == [6]


def test_files_are_told_with_a_table_and_kept(run, config, data):
    done = run("backtest", data / "pcap" / "wikipedia.pcap")
    assert done.exit_code == 0, done.output
    assert "summaries" in done.stdout
    assert "findings" in done.stdout
    app = App(load_settings(config))
    assert {finding.kind for finding in app.ledger.findings()} == {"busy"}
    app.close()


def ids(text):
    return [json.loads(line)["id"] for line in text.splitlines()]


def test_the_lake_gives_what_watching_the_log_gave(run, tmp_path):
    (tmp_path / "conn.log").write_text(zeek_log(40))
    watched = ids(run("watch", "conn.log", "--json", "--no-store").stdout)
    assert run("ingest", "conn.log").exit_code == 0
    tested = ids(run("backtest", "--json").stdout)
    assert sorted(set(tested)) == sorted(set(watched))
    assert watched
    assert ids(run("backtest", "--json", "--since", "2030-01-01").stdout) == []
    assert set(ids(run("backtest", "--json", "--since", "2018-12-21", "--until", "2018-12-22").stdout)) == set(watched)
    again = json.loads(run("findings", "list", "--json").stdout)
    assert len(again) == len(set(watched))


def test_flows_are_zeeks_connections_too(run, config, results, tmp_path):
    columns = '{input: zeek.conn, key: {host: "id.orig_h"}, reduce: {n: count, s: {sum: duration}}, epoch: 1d'
    config.write_text(
        config.read_text()
        + f"  - {{name: conns, {columns[1:]}}}\n"
        + f"  - {{name: rising, {columns[1:]}, threshold: 's > 0 AND n / s > 0'}}\n"
    )
    (tmp_path / "conn.log").write_text(zeek_log(40))
    rows = results("watch", "conn.log", "--summary", "conns", "--no-store")
    assert sum(row["n"] for row in rows if row["record"] == "key") == 40
    assert run("ingest", "conn.log").exit_code == 0
    assert results("backtest", "--summary", "conns", "--no-store", "--workers", "2") == rows
    shown = [json.loads(line) for line in run("backtest", "--summary", "rising", "--json").stdout.splitlines()]
    assert shown
    assert all("id.orig_h" in record for finding in shown for record in finding["records"])


def test_flows_may_be_in_the_order_of_their_beginnings_or_of_their_ends(results, tmp_path, monkeypatch):
    monkeypatch.setattr("tocsin.jobs.lookout.BLOCK_BYTES", 1400)
    rows = [(number, 36_000 if number % 50 == 9 else 2) for number in range(200)]
    told = []
    for order in (lambda row: row[0], lambda row: row[0] * 60 + row[1]):
        text = "".join(zeek_row(number, duration=str(seconds)) for number, seconds in sorted(rows, key=order))
        (tmp_path / "conn.log").write_text(zeek_header() + text)
        found = results("backtest", "conn.log", "--summary", "busy", "--no-store")
        told.append([row for row in found if row["record"] == "key"])
        assert sum(row["late"] for row in found if row["record"] == "epoch") == 0
    assert told[0] == told[1]
    assert sum(row["flows"] for row in told[0]) == len(rows)
