"""An epoch's results as rows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from tocsin.detectors.summary.messages import EpochResult
from tocsin.detectors.summary.results import epoch_rows
from tocsin.detectors.summary.table import BEGIN, END, RECORDS
from tocsin.records.result import plain_results

NOON = datetime(2025, 1, 8, 12, tzinfo=UTC)
TIME = pa.timestamp("us", "UTC")


def share(hosts, merger=0, **changes):
    table = pa.table(
        {
            "host": pa.array(hosts, pa.string()),
            "attempts": pa.array([float(len(host or "")) for host in hosts], pa.float64()),
            BEGIN: pa.array([NOON] * len(hosts), TIME),
            END: pa.array([NOON + timedelta(seconds=9)] * len(hosts), TIME),
            RECORDS: pa.array([3] * len(hosts), pa.int64()),
        }
    )
    values = {"records": 9, "late": 1, **changes}
    return EpochResult("guessing", NOON, NOON + timedelta(minutes=30), merger, table, **values)


def test_a_row_a_key_and_a_closing_one():
    first, second, closing = plain_results(epoch_rows([share(["10.0.0.2", "10.0.0.10"])], ["host"]))
    assert first == {
        "record": "key", "summary": "guessing", "start": "2025-01-08T12:00:00Z", "end": "2025-01-08T12:30:00Z",
        "complete": True, "missing": [], "host": "10.0.0.10", "attempts": 9.0,
        "begin": "2025-01-08T12:00:00Z", "end_seen": "2025-01-08T12:00:09Z", "records": 3,
    }  # fmt: skip
    assert second["host"] == "10.0.0.2"
    assert closing == {
        "record": "epoch", "summary": "guessing", "start": "2025-01-08T12:00:00Z", "end": "2025-01-08T12:30:00Z",
        "complete": True, "missing": [], "records": 9, "keys": 2, "late": 1, "evicted": 0, "epochs": 1,
    }  # fmt: skip


def test_shares_of_several_mergers_are_one_epoch():
    whole = epoch_rows([share(["a", "bb", None])], ["host"])
    parts = [share(["bb"], 2), share([], 0), share(["a", None], 1)]
    assert epoch_rows(parts, ["host"]).equals(whole)


def test_an_empty_epoch_closes_too():
    (closing,) = plain_results(epoch_rows([share([], records=0, late=0, epochs=4)], ["host"]))
    assert (closing["keys"], closing["records"], closing["epochs"]) == (0, 0, 4)


def test_who_is_missing_is_named_in_every_row():
    rows = list(plain_results(epoch_rows([share(["a"], missing=(2,)), share([], 1, missing=(1, 2))], ["host"])))
    assert [(row["complete"], row["missing"]) for row in rows] == [(False, [1, 2])] * 2
    (*_, closing) = plain_results(epoch_rows([share(["a"], evicted=5)], ["host"]))
    assert (closing["complete"], closing["evicted"]) == (False, 5)


def test_names_that_are_taken_and_results_without_times():
    bare = share(["a"])
    table = bare.table.drop_columns([BEGIN, END, RECORDS]).rename_columns(["summary", "keys"])
    row, closing = plain_results(epoch_rows([replace(bare, table=table)], ["summary"]))
    assert (row["summary"], row["summary_"], row["keys_"]) == ("guessing", "a", 1.0)
    assert row["records"] is None
    assert (closing["summary"], closing["keys"]) == ("guessing", 1)


def test_reducers_that_are_called_like_what_is_told_of_a_key():
    table = share(["a"]).table.rename_columns({"attempts": "records"})
    row, _ = plain_results(epoch_rows([replace(share([]), table=table)], ["host"]))
    assert (row["records"], row["records_"]) == (3, 1.0)
