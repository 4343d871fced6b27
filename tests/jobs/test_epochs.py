"""Shares of epochs put together."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from tocsin.detectors.summary.definition import Input, Reducer, Summary
from tocsin.detectors.summary.messages import EpochResult
from tocsin.jobs.epochs import Epochs
from tocsin.records.result import plain_results

NOON = datetime(2025, 1, 8, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

TIMED = Summary("timed", (Input("event", "", {"k": "k"}, "1", "ts", (Reducer("n", "count"),)),), ("k",), 3600, 3600)
MANUAL = replace(TIMED, name="manual", window_us=0, step_us=0)
SUMMARIES = {"timed": TIMED, "manual": MANUAL}


def share(keys=(), merger=0, name="timed", start=NOON, **changes):
    table = pa.table({"k": pa.array(keys, pa.string()), "n": pa.array([1] * len(keys), pa.int64())})
    return EpochResult(name, start, start + HOUR, merger, table, **{"records": 2, **changes})


def shown(tables):
    return [[row.get("k", "end") for row in plain_results(table)] for table in tables]


def test_one_merger_has_whole_epochs():
    epochs = Epochs(SUMMARIES)
    assert shown(epochs.take([share(["b", "a"]), share([], start=NOON + HOUR, records=0)])) == [
        ["a", "b", "end"],
        ["end"],
    ]


def test_an_epoch_waits_for_every_merger():
    epochs = Epochs(SUMMARIES, 3)
    assert epochs.take([share(["a"], 2), share(["x"], 1, start=NOON + HOUR), share([], 0)]) == []
    assert len(epochs.pending) == 3
    again = Epochs(SUMMARIES, 3, epochs.pending)
    for each in (epochs, again):
        assert shown(each.take([share(["b"], 1)])) == [["a", "b", "end"]]
        assert shown(each.finish()) == [["x", "end"]]
        assert each.pending == []


@pytest.mark.parametrize("several", [1, 5])
def test_empty_epochs_are_told_by_one_merger(several):
    epochs = Epochs(SUMMARIES, 3)
    assert shown(epochs.take([share([], records=0, epochs=several)])) == [["end"]]


def test_an_empty_manual_epoch_or_one_with_missing_workers_is_told_by_all():
    epochs = Epochs(SUMMARIES, 2)
    for known in ({"name": "manual", "records": 0}, {"missing": (1,), "records": 0}):
        assert epochs.take([share([], **known)]) == []
        assert shown(epochs.take([share([], 1, **known)])) == [["end"]]
