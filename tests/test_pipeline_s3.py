"""From a log to findings on S3 behind a server that fails: finished all the same, with the folder's outputs."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tocsin.app import App
from tocsin.jobs.ingest import ingest
from tocsin.jobs.pipeline import auto
from tocsin.records.traffic.days import generate_days
from tocsin.records.traffic.files import write_zeek_header, write_zeek_rows
from tocsin.settings import Settings

FAULTS = ("503", "reset", "lost", "503", "hang", "503", "trickle")
ROUNDS = 2
"""One of these at every ninth request, twice round."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "conn.log"
    with path.open("wb") as out:
        write_zeek_header(out)
        for _, table in generate_days(date(2025, 1, 6), 2, flows_per_day=1500, hosts=40, seed=5, quiet_days=0):
            write_zeek_rows(table, out)
    return path


def run(log: Path, **changes: Any) -> App:
    values = {"ingest": {"chunk_mb": 1}, "sampling": {"small_day_rows": 0, "sample_percent": 40}}
    app = App(Settings(**values, **changes))
    done = ingest(app.store, [str(log)], domain=app.domain, settings=app.settings.ingest, clock=app.clock)
    assert done.exit_code == 0
    assert done.rows > 2000
    auto(app.work())
    return app


@pytest.mark.slow
def test_a_failing_server_changes_nothing(
    log: Path,
    tmp_path: Path,
    faulty_server: Any,
    outputs: Callable[[App], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    calm = run(log, store=str(tmp_path / "calm"))
    faulty_server.faults[:] = [fault for _ in range(ROUNDS) for each in FAULTS for fault in [*[""] * 8, each]]
    s3 = {"endpoint": faulty_server.url, "http_retry_wait_ms": 5, "http_retries": 12, "timeout_s": 1.5}
    disturbed = run(log, store=f"s3://flows/{tmp_path.name}", ledger=f"sqlite:///{tmp_path}/ledger.sqlite", s3=s3)
    assert not faulty_server.faults
    assert disturbed.store.counts["retries"] >= ROUNDS * (len(FAULTS) - 1)  # a short answer that trickles is in time
    assert disturbed.store.counts["errors"] == 0
    made = outputs(disturbed)
    assert made["findings"]
    assert made == outputs(calm)
    for app in (calm, disturbed):
        app.close()
