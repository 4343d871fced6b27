"""`tocsin watch` and `tocsin summaries value|next-epoch`, as a person or a program calls them."""

import json
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tocsin.app import App
from tocsin.cli import cli
from tocsin.settings import load_settings

START = 1_736_337_600  # 2025-01-08T12:00:00Z

SUMMARIES = """
summaries:
  - name: tries
    input: event
    key: {host: host}
    observe: n
    reduce: {total: sum, seen: count, ports: {unique: port}}
    epoch: 1m
    lateness: 10s
    threshold: {of: total, at: [20, 60]}
    title: "{host} tried {total} in {duration}"
  - name: shifts
    input: event
    key: {host: host}
    observe: n
    reduce: {total: sum}
    epoch: manual
"""


def events(pairs, step_s=1.0):
    lines = [
        {"ts": START + number * step_s, "host": host, "n": n, "port": n % 3} for number, (host, n) in enumerate(pairs)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tocsin.yaml"
    path.write_text(
        f"store: {tmp_path / 'store'}\nlogging: {{level: error}}\nmetrics: {{enabled: false}}\n"
        f"watch: {{checkpoint_s: 0.05}}\n{SUMMARIES}"
    )
    return path


@pytest.fixture
def run(config, tmp_path):
    def call(*arguments, records=None):
        if records is not None:
            (tmp_path / "records.ndjson").write_text(records)
        return CliRunner().invoke(cli, ["-c", str(config), *map(str, arguments)])

    return call


def stored(config):
    app = App(load_settings(config))
    found = app.ledger.findings(limit=None, order="time", include_suppressed=True)
    app.close()
    return [(each.id, each.severity, each.score, each.title, each.record_count) for each in found]


SOME = [("a", 15), ("b", 1), ("a", 15), ("b", 2), ("a", 40)]


def test_findings_come_as_blocks_and_end_with_counts(run):
    result = run("watch", "records.ndjson", "--summary", "tries", records=events(SOME))
    assert result.exit_code == 0, result.output
    assert result.stdout.count("a tried") == 2
    assert "medium  a tried 30 in 2 s" in result.stdout
    assert "total: 30 seen, past 20; expected under 20 in 1 min" in result.stdout
    assert "high  a tried 70 in 4 s" in result.stdout
    assert "5 records, 0 late, 0 set aside, 1 epochs ended, 1 new findings" in result.stderr


def test_as_json_lines_and_in_the_ledger(run, config):
    result = run("watch", "records.ndjson", "--json", records=events(SOME))
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["id"] == second["id"]
    assert (first["kind"], first["entity"], first["severity"]) == ("tries", "a", "medium")
    ((identity, severity, *_),) = stored(config)
    assert (identity, severity) == (first["id"], "high")


def test_no_store_leaves_the_ledger_alone(run, config):
    result = run("watch", "records.ndjson", "--no-store", "--json", records=events(SOME))
    assert len(result.stdout.splitlines()) == 2
    assert stored(config) == []


def test_results_of_every_key(run, tmp_path):
    (tmp_path / "log.ndjson").write_text(events(SOME))
    run("watch", "log.ndjson", "--results", "results.ndjson", "--summary", "tries")
    rows = [json.loads(line) for line in (tmp_path / "results.ndjson").read_text().splitlines()]
    assert [(row["record"], row.get("host"), row.get("total")) for row in rows] == [
        ("key", "a", 70.0), ("key", "b", 3.0), ("epoch", None, None),
    ]  # fmt: skip
    run("watch", "log.ndjson", "--results", "results.parquet")
    table = pq.read_table(tmp_path / "results.parquet")
    assert sorted(set(table.column("summary").to_pylist())) == ["shifts", "tries"]


def test_results_go_to_the_summarys_sinks(run, config, tmp_path):
    config.write_text(config.read_text() + f"    results: [{{type: jsonl, path: {tmp_path / 'shifts.jsonl'}}}]\n")
    run("watch", "records.ndjson", records=events(SOME))
    rows = [json.loads(line) for line in (tmp_path / "shifts.jsonl").read_text().splitlines()]
    assert {row["summary"] for row in rows} == {"shifts"}
    assert [row["total"] for row in rows if row["record"] == "key"] == [70.0, 3.0]


def test_control_characters_do_not_reach_the_terminal(run):
    result = run("watch", "records.ndjson", records=events([("\x1b[31mred", 50)]))
    assert "\x1b" not in result.stdout
    assert "red tried 50" in result.stdout


def test_what_cannot_be_read_is_told_and_ends_with_3(run, tmp_path):
    (tmp_path / "log.ndjson").write_text(events(SOME) + "broken\n")
    result = run("watch", "log.ndjson", "missing.log")
    assert result.exit_code == 3
    assert "missing.log" in result.stderr
    assert "1 set aside" in result.stderr
    assert "1 new findings" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--summary", "nothing"], "no summary 'nothing' is set up; there: tries, shifts"),
        (["--summary", "port-scan"], "add --preset port-scan"),
        (["--preset", "prot-scan"], "did you mean 'port-scan'"),
        (["--state", "../x"], "must be of letters"),
    ],
)
def test_what_is_wrong_is_told(run, arguments, says):
    result = run("watch", "records.ndjson", *arguments, records="")
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_preset_that_is_on_already_may_be_asked_for(config, run, data):
    config.write_text(config.read_text() + "  - preset: ftp-guessing\n    severity: critical\n")
    result = run(
        "watch", data / "pcap" / "bruteforce.pcap", "--json", *["--preset", "ftp-guessing", "--preset", "port-scan"] * 2
    )
    assert result.exit_code == 0, result.stderr
    assert [json.loads(line)["severity"] for line in result.stdout.splitlines()] == ["critical"]


def test_without_summaries_every_shipped_one_with_a_threshold_runs(config, run, data):
    config.write_text(config.read_text().partition("summaries:")[0])
    result = run("watch", data / "pcap" / "bruteforce.pcap", "--json")
    (finding,) = map(json.loads, result.stdout.splitlines())
    assert finding["title"] == "192.168.56.1 had 20 failed FTP logins on 1 server(s) in 37 s"
    assert "every shipped summary" in result.stderr


def test_three_workers_find_the_same(run, config):
    rng = random.Random(3)
    text = events([(f"h{rng.randrange(9)}", rng.randrange(9)) for _ in range(2000)])
    alone = {
        json.loads(line)["id"]
        for line in run("watch", "records.ndjson", "--json", "--no-store", records=text).stdout.splitlines()
    }
    several = run("watch", "records.ndjson", "--json", "--workers", "3", records=text)
    assert {json.loads(line)["id"] for line in several.stdout.splitlines()} == alone
    assert len(alone) > 100


def test_a_state_goes_on_and_reports_the_last_epoch_each_time(run, config, tmp_path):
    log = tmp_path / "log.ndjson"
    log.write_text(events(SOME[:3]))
    arguments = ("watch", log, "--state", "mine", "--results", "results.ndjson", "--summary", "tries")
    run(*arguments)
    assert [row[3] for row in stored(config)] == ["a tried 30 in 2 s"]
    log.write_text(events(SOME))
    result = run(*arguments)
    assert "5 records" in result.stderr
    assert [row[3] for row in stored(config)] == ["a tried 70 in 4 s"]
    rows = [json.loads(line) for line in (tmp_path / "results.ndjson").read_text().splitlines()]
    assert [(row["host"], row["seen"]) for row in rows if row["record"] == "key"] == [("a", 3), ("b", 2)]
    other = run("watch", log, "--state", "mine")
    assert other.exit_code == 6
    assert "other summaries" in other.stderr
    assert run("watch", log, "--state", "mine", "--fresh").exit_code == 0
    status = json.loads(run("status", "--json").stdout)["watches"]["mine"]
    assert (status["running"], status["records"]) == (False, 5)


def test_the_standard_input_is_read(config):
    command = [sys.executable, "-m", "tocsin", "-c", str(config), "watch", "-", "--json"]
    done = subprocess.run(command, input=events(SOME), capture_output=True, text=True, check=True, timeout=60)
    assert [json.loads(line)["score"] for line in done.stdout.splitlines()] == [99.0, 99.9]


class Process:
    """A watch in a process of its own."""

    def __init__(self, config, *arguments, out=subprocess.PIPE):
        command = [sys.executable, "-m", "tocsin", "-c", str(config), "watch", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True)

    def end(self, number):
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def wait_until(condition, seconds=60):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def test_a_followed_log_is_watched_asked_and_ended(run, config, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config.write_text(config.read_text().replace("{enabled: false}", f"{{port: {port}}}"))
    log = tmp_path / "log.ndjson"
    log.write_text(events(SOME[:3]))
    watch = Process(config, log, "--follow", "--json")
    try:
        values = wait_until(lambda: run("summaries", "value", "tries", "host=a", "--json").stdout.strip("[]\n"))
        assert json.loads(values)["values"] == {"total": 30.0, "seen": 2, "ports": 1}
        with log.open("a") as more:
            more.write(events(SOME).partition("\n")[2].partition("\n")[2].partition("\n")[2])
        assert json.loads(watch.process.stdout.readline())["title"] == "a tried 30 in 2 s"
        assert json.loads(watch.process.stdout.readline())["title"] == "a tried 70 in 4 s"
        assert run("summaries", "next-epoch", "shifts").exit_code == 0
        assert json.loads(run("summaries", "value", "shifts", "host=a", "--json").stdout) == []
        assert run("summaries", "next-epoch", "tries").exit_code == 2
        status = json.loads(run("status", "--json").stdout)["watches"]["watch"]
        assert (status["running"], status["records"]) == (True, 5)
        served = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
        assert 'tocsin_summary_keys{summary="tries"}' in served
        second = run("watch", log, "--follow")
        assert second.exit_code == 2
        assert "runs here already" in second.stderr
    finally:
        code, _, err = watch.end(signal.SIGTERM)
    assert code == 0
    assert "5 records" in err
    nobody = run("summaries", "value", "tries", "host=a")
    assert nobody.exit_code == 1
    assert "no watch runs here" in nobody.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_moment_it_goes_on_as_if_it_had_not_been(config, tmp_path, workers):
    rng = random.Random(workers)
    log = tmp_path / "log.ndjson"
    lines = events([(f"h{rng.randrange(40)}", rng.randrange(4)) for _ in range(20_000)], step_s=0.05).splitlines(
        keepends=True
    )
    arguments = (log, "--results", "results.ndjson", "--workers", workers)
    kept = tmp_path / "store" / "default" / "watch" / "watch.checkpoint"
    for life in range(3 - workers):
        with log.open("a") as more:
            more.writelines(lines[life * 8000 : (life + 1) * 8000])
        before = kept.stat().st_mtime_ns if kept.exists() else 0
        watch = Process(config, *arguments, "--follow", out=subprocess.DEVNULL)
        try:
            wait_until(lambda before=before: kept.exists() and kept.stat().st_mtime_ns != before)
            time.sleep(rng.random() * 0.3)
        finally:
            watch.end(signal.SIGKILL)
    log.write_text("".join(lines))
    whole(config, *arguments)
    results = (tmp_path / "results.ndjson").read_text()
    found = stored(config)
    (tmp_path / "store").rename(tmp_path / "killed")
    whole(config, *arguments)
    assert sorted(results.splitlines()) == sorted((tmp_path / "results.ndjson").read_text().splitlines())
    assert [row[0] for row in found] == [row[0] for row in stored(config)]
    if workers == 1:
        assert found == stored(config)
    assert len(found) > 100


def whole(config, *arguments):
    """Watch to the end, from where the one before was killed."""
    watch = Process(config, *arguments, "--state", "watch", out=subprocess.DEVNULL)
    _, err = watch.process.communicate(timeout=100)
    assert watch.process.returncode == 0, err


@pytest.mark.parametrize(("option", "word"), [("--format", "nope"), ("--format", "csv:none"), ("--kind", "ssh")])
def test_a_word_that_is_none_is_refused_before_anything_is_read(run, tmp_path, option, word):
    result = run("watch", tmp_path / "absent.log", option, word)
    assert result.exit_code == 2
    assert f"{option}: " in result.output
