"""The fingerprint job that `auto` and the daemon run."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tocsin.app import App
from tocsin.detectors.outlier.fingerprint import load_profiles
from tocsin.errors import StoreError
from tocsin.jobs.fingerprint import fingerprint_days
from tocsin.settings import Settings
from tocsin.testing.clock import FakeClock


@pytest.fixture
def work(tmp_path):
    settings = Settings(store=str(tmp_path / "lake"), fingerprint={"min_observations": 5}, verdict={"warm_up_rows": 0})
    app = App(settings, clock=FakeClock())
    yield app.work()
    app.close()


def put_day(work, day, fingerprint, name="flows", field="ndpi_ja4"):
    start = datetime.combine(day, datetime.min.time(), UTC)
    table = pa.table({
        "stime": pa.array([start + timedelta(minutes=i) for i in range(50)], pa.timestamp("us", "UTC")),
        "proto": ["tcp"] * 50,
        "saddr": ["10.0.0.1"] * 50,
        "daddr": ["192.0.2.1"] * 50,
        field: [fingerprint] * 50,
    })  # fmt: skip
    folder = Path(work.settings.store) / f"default/v2/year={day:%Y}/month={day:%m}/day={day:%d}"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"{name}.parquet")


def test_the_newest_day_is_judged_then_learned_and_nothing_is_done_twice(work):
    put_day(work, date(2025, 1, 1), "own")
    first = fingerprint_days(work)
    assert (first.counts["findings"], first.counts["client hosts"]) == (0, 1)
    assert fingerprint_days(work).counts == {}
    put_day(work, date(2025, 1, 2), "foreign")
    second = fingerprint_days(work)
    assert (second.counts["findings"], second.counts["client fingerprints"]) == (1, 2)
    assert fingerprint_days(work).counts == {}
    assert load_profiles(work.store, "default").days == ["2025-01-01", "2025-01-02"]


def test_late_files_are_noticed(work):
    put_day(work, date(2025, 1, 1), "own")
    fingerprint_days(work)
    put_day(work, date(2025, 1, 1), "late", name="late")
    assert fingerprint_days(work).counts["client fingerprints"] == 2


def test_a_day_that_is_not_over_can_be_left_out(work):
    for n in (1, 2):
        put_day(work, date(2025, 1, n), "own")
    assert fingerprint_days(work, before=date(2025, 1, 2)).days == [date(2025, 1, 1)]


@pytest.mark.parametrize("reason", ["off", "no fingerprints", "no flows"])
def test_nothing_is_done_where_there_is_nothing_to_do(work, reason):
    if reason != "no flows":
        put_day(work, date(2025, 1, 1), "own", field="other" if reason == "no fingerprints" else "ndpi_ja4")
    work.settings.fingerprint.enabled = reason != "off"
    assert fingerprint_days(work).counts == {}
    assert load_profiles(work.store, "default") is None


def test_a_damaged_lake_file_is_named(work):
    put_day(work, date(2025, 1, 1), "own")
    damaged = next(Path(work.settings.store).rglob("*.parquet"))
    damaged.write_bytes(b"PAR1 no more")
    with pytest.raises(StoreError, match=r"flows\.parquet"):
        fingerprint_days(work)


def test_a_day_of_a_wrong_clock_is_neither_judged_nor_learned(work):
    put_day(work, date(2025, 1, 1), "own")
    put_day(work, date(2099, 1, 1), "foreign")
    assert fingerprint_days(work).counts["findings"] == 0
    assert load_profiles(work.store, "default").days == ["2025-01-01"]
