"""Novelty detectors in `tocsin watch` and `tocsin backtest`: the same findings live, over history, and after kills."""

import json
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from click.testing import CliRunner

from tocsin.app import App
from tocsin.cli import cli
from tocsin.cli.findings import show_time
from tocsin.settings import load_settings

START = 1_736_337_600  # 2025-01-08T12:00:00Z
DETECTORS = """
novelty:
  - name: logins
    input: event
    observe: [user, host, action]
    entity: user
    threshold: 0.99
    warm_up: 300
  - name: actions
    input: event
    observe: [action, "hour(ts)"]
    order: auto
    half_life: 1h
    threshold: 0.995
    warm_up: 300
"""


def events(count, seed=1):
    rng = random.Random(seed)
    lines = []
    for number in range(count):
        user = rng.choice("abcdefgh")
        host = f"h{user}" if rng.random() < 0.99 else f"h{rng.choice('abcdefgh')}"
        action = rng.choices(["in", "out", "sudo", f"x{number}"], [70, 28, 1.8, 0.2])[0]
        lines.append(json.dumps({"ts": START + number * 0.5, "user": user, "host": host, "action": action}) + "\n")
    return lines


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tocsin.yaml"
    path.write_text(
        "store: ./store\nlogging: {level: error}\nmetrics: {enabled: false}\nwatch: {checkpoint_s: 0.05}\n"
        f"verdict: {{noise_budget: 100000}}\n{DETECTORS}"
    )
    return path


def run(config, *arguments, code=0):
    done = CliRunner().invoke(cli, ["-c", str(config), *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


def stored(config):
    app = App(load_settings(config))
    found = app.ledger.findings(limit=None, include_suppressed=True)
    app.close()
    return {
        each.id: (each.score, each.raw, each.severity, each.entity, each.record_count, each.start, each.end)
        for each in found
    }


def start(config, *arguments):
    command = [sys.executable, "-m", "tocsin", "-c", str(config), "watch", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_until(condition, seconds=60):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def test_a_watch_prints_what_is_novel_and_why(config, tmp_path):
    (tmp_path / "log.ndjson").write_text("".join(events(3000)))
    done = run(config, "watch", "log.ndjson")
    assert "unusual action: x" in done.stdout
    assert "; usually: " in done.stdout
    assert "expected usually " in done.stdout
    assert "3,000 records" in done.stderr
    assert "No summaries are set up" not in done.stderr
    rows = [json.loads(line) for line in run(config, "watch", "log.ndjson", "--json", "--no-store").stdout.splitlines()]
    assert {row["kind"] for row in rows} == {"logins", "actions"}
    assert {row["detector"] for row in rows} == {"novelty"}
    only = run(config, "watch", "log.ndjson", "--json", "--no-store", "--novelty", "actions").stdout.splitlines()
    assert {json.loads(row)["kind"] for row in only} == {"actions"}
    assert "there: logins, actions" in run(config, "watch", "log.ndjson", "--novelty", "x", code=2).stderr


@pytest.mark.parametrize("more", [[], ["--no-store"]], ids=["stored", "apart"])
def test_a_backtest_tells_at_the_end_how_each_finding_ended(config, tmp_path, more):
    (tmp_path / "log.ndjson").write_text("".join(events(3000)))
    told = run(config, "backtest", "log.ndjson", *more).stdout
    assert "summaries" not in told
    table = told.rpartition("novelty")[2]
    assert re.search(r"logins +│ +3,000 +│ +\d+ +│ +\d+ +│ +\d", table)
    if not more:
        app = App(load_settings(config))
        kept = app.ledger.findings(limit=None)
        app.close()
        for each in kept:
            (line,) = [line for line in table.splitlines() if each.id[:8] in line]
            assert show_time(each.end) in line
            assert each.severity in line


def test_killed_live_it_finds_what_it_finds_over_history(config, tmp_path):
    rng = random.Random(5)
    lines = events(12_000)
    log, kept = tmp_path / "log.ndjson", tmp_path / "store" / "default" / "watch" / "watch.checkpoint"
    log.write_text("")
    for life in range(2):
        before = kept.stat().st_mtime_ns if kept.exists() else 0
        watch = start(config, log, "--follow")
        try:
            for at in range(life * 4000, (life + 1) * 4000, 400):
                with log.open("a") as more:
                    more.writelines(lines[at : at + 400])
                time.sleep(0.05)
            wait_until(lambda before=before: kept.exists() and kept.stat().st_mtime_ns != before)
            time.sleep(rng.random() * 0.3)
        finally:
            watch.send_signal(signal.SIGKILL)
            watch.communicate(timeout=60)
    with log.open("a") as more:
        more.writelines(lines[8000:])
    run(config, "watch", log, "--state", "watch")
    live = stored(config)
    (tmp_path / "store").rename(tmp_path / "killed")
    done = run(config, "backtest", log)
    assert stored(config) == live
    assert len(live) > 10
    assert "12,000 records" in done.stderr


def test_the_lake_gives_the_same_findings_as_the_log(config, tmp_path):
    conns = "{name: conns, input: zeek.conn, observe: [proto, id.resp_p, conn_state], threshold: 0.99, warm_up: 200}"
    config.write_text(f"{config.read_text().partition('novelty:')[0]}novelty:\n  - {conns}\n")
    run(
        config,
        "generate",
        "--days",
        "1",
        "--flows-per-day",
        "3000",
        "--out",
        "logs",
        "--as",
        "zeek",
        "--attacks",
        "none",
    )
    run(config, "watch", "logs")
    live = stored(config)
    (tmp_path / "store").rename(tmp_path / "before")
    run(config, "ingest", "logs")
    run(config, "backtest")
    assert stored(config) == live
    assert live


def test_status_and_metrics_tell_what_is_learned(config, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config.write_text(config.read_text().replace("{enabled: false}", f"{{port: {port}}}"))
    log = tmp_path / "log.ndjson"
    log.write_text("".join(events(2000)))
    watch = start(config, log, "--follow")

    def learned():
        told = json.loads(run(config, "status", "--json").stdout)["watches"].get("watch", {})
        return told.get("running") and [each["observed"] for each in told["novelty"]] == [2000, 2000]

    try:
        wait_until(learned)
        served = wait_until(lambda: 'observed{detector="logins"} 2000' in _served(port) and _served(port))
        assert 'tocsin_novelty_entries{detector="actions"}' in served
        assert 'tocsin_novelty_bytes{detector="logins"}' in served
        assert 'tocsin_novelty_records_total{detector="logins",what="records"} 2000.0' in served
    finally:
        watch.send_signal(signal.SIGTERM)
        _, err = watch.communicate(timeout=60)
    assert watch.returncode == 0, err
    shown = run(config, "status").stdout
    assert "novelty" in shown
    assert "2,000" in shown


def _served(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return answer.read().decode()


def test_validate_tells_what_is_wrong_and_what_is_doubtful(config):
    assert run(config, "validate").exit_code == 0
    config.write_text(config.read_text().replace("threshold: 0.99\n", "threshold: 0.9\n"))
    assert "novelty logins: findings from threshold 0.9 on can be of severity info" in run(config, "validate").output
    config.write_text(config.read_text().replace("[user, host, action]", "[user, sum(host)]"))
    done = run(config, "validate", code=2)
    assert "novelty.0.observe.1: 'sum(host)'" in done.output
