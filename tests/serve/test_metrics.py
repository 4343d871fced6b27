"""The daemon's metrics: what it counted, and what ledger and store say when asked."""

import socket
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tocsin.app import App
from tocsin.errors import LedgerError, SettingsError
from tocsin.jobs.claims import claim
from tocsin.jobs.work import Done
from tocsin.records.finding import Candidate
from tocsin.serve.metrics import Metrics
from tocsin.settings import MetricsSettings, Settings
from tocsin.testing.clock import FakeClock

NOW = datetime(2025, 1, 8, tzinfo=UTC)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    app = App(Settings(store=str(tmp_path)), clock=FakeClock(NOW))
    yield app
    app.close()


@pytest.fixture
def metrics(app: App) -> Metrics:
    return Metrics(app.store, app.ledger, domain=app.domain, clock=app.clock)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_jobs_are_counted_with_duration_outcome_and_items(metrics: Metrics) -> None:
    metrics.observe("sample", "ok", 2.5, Done("sample", {"flows sampled": 7}))
    metrics.observe("sample", "failed", 1.0, None)
    assert value(metrics, "tocsin_jobs_total", job="sample", outcome="failed") == 1
    assert value(metrics, "tocsin_job_items_total", job="sample", item="flows_sampled") == 7
    assert value(metrics, "tocsin_job_duration_seconds_sum", job="sample") == 3.5


def test_findings_and_claims_are_read_at_the_scrape(app: App, metrics: Metrics) -> None:
    app.verdict.judge([Candidate("hosts", "beacon", "10.0.0.1", NOW, NOW, 9.0, 99.95, "it beacons")])
    assert value(metrics, "tocsin_findings", detector="hosts", severity="high") == 1
    path = f"{app.domain}/claims/sample-2025-01-07-all.json"
    with claim(app.store, path, owner="me", clock=app.clock, expiry_s=60):
        assert value(metrics, "tocsin_claim_held", piece="sample-2025-01-07-all", owner="me") == 1


def test_a_ledger_that_is_away_does_not_break_the_scrape(
    app: App, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(domain: str) -> None:
        raise LedgerError("away")

    monkeypatch.setattr(app.ledger, "tally_findings", away)
    assert value(metrics, "tocsin_state_readable") == 0
    assert value(metrics, "tocsin_store_operations_total", what="retries") == 0


def test_metrics_are_served_on_loopback(metrics: Metrics) -> None:
    server, thread = metrics.serve(MetricsSettings(port=0))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
            assert b"process_resident_memory_bytes" in answer.read()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_taken_port_is_one_clear_line(metrics: Metrics) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingsError, match=r"metrics.port: cannot listen on 127.0.0.1"):
            metrics.serve(MetricsSettings(port=taken.getsockname()[1]))
