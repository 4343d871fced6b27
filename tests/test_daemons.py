"""Daemons as processes: several on one store, stopped in the middle, watched, and with a store that is away."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from tocsin.app import App
from tocsin.jobs.claims import claims
from tocsin.jobs.lake import day_prefix, write_parquet
from tocsin.jobs.pipeline import auto
from tocsin.jobs.sample import sampled
from tocsin.lifecycle.registry import Registry
from tocsin.records.traffic.days import generate_days
from tocsin.settings import load_settings

FIRST = date(2025, 1, 6)
DAYS = 3
FIELDS = ["daddr", "dport", "dur", "sbytes", "dbytes", "spkts", "dpkts", "service", "conn_state"]
PATIENCE_S = 120
S3 = {"http_retry_wait_ms": 20, "http_retry_backoff": 1.5}

Outputs = Callable[[App], dict[str, Any]]


class Site:
    """A lake of three days, and the settings file that daemons on it share."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder
        self.config = folder / "tocsin.yaml"
        values = {
            "store": str(folder / "store"),
            "ledger": f"sqlite:///{folder}/ledger.sqlite",
            "sampling": {"sample_percent": 30, "small_day_rows": 0},
            "features": {"fields": FIELDS},  # few, for each has a table of its own to be put and got
            "metrics": {"port": 0},
        }
        self.config.write_text(yaml.safe_dump(values | changes))
        self.app = App(load_settings(self.config))
        week = generate_days(FIRST, DAYS, flows_per_day=3000, hosts=40, seed=3, quiet_days=1)
        for number, (day, table) in enumerate(week):
            flows = table.drop_columns(["label", "label_detail"])
            self.app.store.put(f"{day_prefix(self.app.domain, day)}part-{number}.parquet", write_parquet(flows))

    def count(self, job: str, item: str) -> int:
        """Add up what the runs of a job counted, of all instances."""
        return sum(run.counts.get(item, 0) for run in self.app.ledger.jobs(name=job, limit=None))


class Daemon:
    """A daemon as a process of its own; its log lines are read as they come."""

    def __init__(self, site: Site, *arguments: str) -> None:
        self._log = site.folder / f"log-{len(list(site.folder.glob('log-*')))}.jsonl"
        command = [sys.executable, "-m", "tocsin", "-c", str(site.config), "run", *arguments]
        with self._log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=site.folder)

    def text(self) -> str:
        return self._log.read_text()

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.text().splitlines() if line.startswith("{")]

    def until(self, happened: Callable[[], object]) -> None:
        nap = threading.Event()
        for _ in range(PATIENCE_S * 10):
            if happened():
                return
            assert self.process.poll() is None, self.text()
            nap.wait(0.1)
        pytest.fail(f"it did not happen in {PATIENCE_S} s:\n{self.text()}")

    def until_idle(self) -> None:
        self.until(lambda: {"sample", "train"} <= {event.split(" runs again ")[0] for event in self.events()})

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def metrics(self) -> dict[str, float]:
        url = re.search(r"http://\S+/metrics", self.text())
        assert url, self.text()
        with urllib.request.urlopen(url[0]) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


@pytest.fixture
def started() -> Iterator[Callable[..., Daemon]]:
    """Start daemons that do not outlive the test."""
    daemons: list[Daemon] = []

    def start(*arguments: Any) -> Daemon:
        daemons.append(Daemon(*arguments))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.process.kill()
        daemon.process.wait()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.app.close()


@pytest.fixture
def bucket(tmp_path: Path, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site on S3."""
    yield from _on_s3(s3_server, tmp_path, monkeypatch)


@pytest.fixture
def faulty_bucket(tmp_path: Path, faulty_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site on S3, behind a server that fails as it is told."""
    yield from _on_s3(faulty_server.url, tmp_path, monkeypatch)


def _on_s3(endpoint: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    site = Site(folder, store=f"s3://flows/{folder.name}", s3={**S3, "endpoint": endpoint})
    yield site
    site.app.close()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, outputs: Outputs) -> dict[str, Any]:
    """What an undisturbed run makes of the same lake."""
    site = Site(tmp_path_factory.mktemp("calm"))
    auto(site.app.work())
    made = outputs(site.app)
    made["sampled"] = site.count("sample", "flows sampled")
    site.app.close()
    assert made["sampled"] > 1000
    assert len(made["findings"]) >= 3
    return made


def same_as(calm: dict[str, Any], site: Site, outputs: Outputs) -> None:
    made = outputs(site.app)
    assert made.pop("findings") == calm["findings"]
    assert made == {name: value for name, value in calm.items() if name not in ("findings", "sampled")}


def each_piece_once(calm: dict[str, Any], site: Site) -> None:
    assert site.count("sample", "flows sampled") == calm["sampled"]
    registry = Registry(site.app.store, site.app.domain)
    assert site.count("train", "models") == len(registry.names())
    assert {len(registry.versions(name)) for name in registry.names()} == {1}
    assert not [claim for claim in claims(site.app.store, "default/claims/", clock=site.app.clock) if claim.held]


@pytest.mark.slow
def test_two_daemons_share_a_folder_and_tell_what_they_did(
    site: Site, calm: dict[str, Any], outputs: Outputs, started: Callable[..., Daemon]
) -> None:
    pair = [started(site, "--run-now"), started(site, "--run-now")]
    for daemon in pair:
        daemon.until_idle()
    told = [daemon.metrics() for daemon in pair]
    assert [daemon.stop() for daemon in pair] == [0, 0]
    each_piece_once(calm, site)
    same_as(calm, site, outputs)

    sampled_by = [counts.get('tocsin_job_items_total{item="flows_sampled",job="sample"}', 0) for counts in told]
    assert sum(sampled_by) == calm["sampled"]
    for counts in told:
        assert counts['tocsin_jobs_total{job="train",outcome="ok"}'] >= 1
        assert counts['tocsin_job_duration_seconds_count{job="score"}'] >= 1
        assert sum(value for name, value in counts.items() if name.startswith("tocsin_findings{")) == len(
            calm["findings"]
        )
        assert counts['tocsin_store_operations_total{what="retries"}'] == 0
        assert counts["tocsin_state_readable"] == 1
        assert counts["process_resident_memory_bytes"] > 0
        assert {"tocsin_flows_ingested", "tocsin_records_rejected"} <= counts.keys()
        held = [value for name, value in counts.items() if name.startswith("tocsin_claim_held{")]
        assert held
        assert set(held) == {0}


@pytest.mark.slow
def test_two_daemons_share_a_bucket(
    bucket: Site, calm: dict[str, Any], outputs: Outputs, started: Callable[..., Daemon]
) -> None:
    pair = [started(bucket, "--run-now"), started(bucket, "--run-now")]
    for daemon in pair:
        daemon.until_idle()
    assert [daemon.stop() for daemon in pair] == [0, 0]
    each_piece_once(calm, bucket)
    same_as(calm, bucket, outputs)


@pytest.mark.slow
def test_a_signal_lets_finish_what_was_begun_and_a_start_catches_up(
    site: Site, calm: dict[str, Any], outputs: Outputs, started: Callable[..., Daemon]
) -> None:
    daemon = started(site, "--run-now")
    daemon.until(lambda: site.app.ledger.jobs(name="profile"))
    assert daemon.stop() == 0
    assert "tocsin: finishing what was begun; once more stops at once" in daemon.text()
    runs = site.app.ledger.jobs(limit=None)
    assert [run.outcome for run in runs] == ["stopped"] + ["ok"] * (len(runs) - 1)
    begun = [
        claim.path for claim in claims(site.app.store, "default/claims/", clock=site.app.clock) if "20" in claim.path
    ]
    profiled = site.app.store.list("default/profile/all/")
    assert len(profiled) == len([path for path in begun if "profile-" in path])
    assert not outputs(site.app)["models"]

    again = started(site)
    again.until_idle()
    assert again.stop() == 0
    assert "caught up" in again.text() or "catching up" in again.text()
    each_piece_once(calm, site)
    same_as(calm, site, outputs)

    rested = started(site)
    rested.until(lambda: "train runs daily" in rested.text())
    rested.until(lambda: "metrics are at" in rested.text())
    assert rested.stop() == 0
    assert "catching up" not in rested.text()


@pytest.mark.slow
def test_a_second_signal_stops_at_once_and_loses_nothing(
    faulty_bucket: Site, faulty_server: Any, calm: dict[str, Any], outputs: Outputs, started: Callable[..., Daemon]
) -> None:
    daemon = started(faulty_bucket, "--run-now")
    daemon.until(lambda: sampled(faulty_bucket.app.store, "default"))
    faulty_server.faults[:] = ["hang"] * 500
    daemon.process.terminate()
    daemon.until(lambda: "once more stops at once" in daemon.text())
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(PATIENCE_S) == 128 + signal.SIGTERM
    faulty_server.faults.clear()

    again = started(faulty_bucket)
    again.until_idle()
    assert again.stop() == 0
    same_as(calm, faulty_bucket, outputs)


def test_wrong_credentials_are_one_line(
    faulty_bucket: Site, faulty_server: Any, started: Callable[..., Daemon]
) -> None:
    faulty_server.faults[:] = [(403, b"<Error><Code>InvalidAccessKeyId</Code></Error>")] * 10
    daemon = started(faulty_bucket)
    assert daemon.process.wait(PATIENCE_S) == 4
    assert len(daemon.text().splitlines()) == 1
    assert daemon.text().startswith(f"tocsin: S3 bucket 'flows' at {faulty_server.url}: cannot ")
    assert "check the credentials" in daemon.text()


def test_a_store_that_is_away_is_one_line(tmp_path: Path, started: Callable[..., Daemon]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    config = {"store": "s3://flows/x", "ledger": "sqlite:///x.sqlite", "logging": {"file": str(tmp_path / "log")}}
    config["s3"] = {"endpoint": endpoint, "http_retries": 1, "http_retry_wait_ms": 1}
    (tmp_path / "tocsin.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "tocsin", "run"]
    environment = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"tocsin: S3 bucket 'flows' at {endpoint}: cannot ")
    assert "check s3.endpoint" in done.stderr
    assert "trying again" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_daemons_share_the_work_by_protocol(site: Site, outputs: Outputs, started: Callable[..., Daemon]) -> None:
    pair = [started(site, "--run-now", "-p", "tcp"), started(site, "--run-now", "-p", "udp")]
    for daemon in pair:
        daemon.until_idle()
    assert [daemon.stop() for daemon in pair] == [0, 0]
    registry = Registry(site.app.store, site.app.domain)
    assert registry.names() == ["tcp", "udp"]
    assert site.count("train", "models") == 2
    states = sampled(site.app.store, site.app.domain)
    assert [sorted(protocols) for protocols in states.values()] == [["tcp", "udp"]] * DAYS
    rows = sum(entry["rows"] for protocols in states.values() for entry in protocols.values())
    assert site.count("score", "flows scored") == rows
    trained = {run.piece: run.counts["models"] for run in site.app.ledger.jobs(name="train") if "models" in run.counts}
    assert trained == {"tcp": 1, "udp": 1}
