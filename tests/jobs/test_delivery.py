"""Delivery in a thread of its own."""

import threading

import pyarrow as pa
import pytest

from tocsin.errors import LedgerError
from tocsin.jobs import delivery
from tocsin.jobs.delivery import Delivery
from tocsin.records.result import CLOSING, HEAD
from tocsin.testing.sink import RecordingSink


class Findings:
    def __init__(self, failures=0):
        self.calls, self.failures = 0, failures
        self.called = threading.Event()

    def deliver(self):
        self.calls += 1
        self.called.set()
        if self.calls <= self.failures:
            raise LedgerError("busy")
        return 0


def rows(*names):
    columns = {name: [None] * len(names) for name in (*HEAD, "records", *CLOSING)}
    return pa.table(columns | {"record": ["key"] * len(names), "k": list(names)})


def test_what_waits_is_delivered_in_order_by_the_end():
    sinks = RecordingSink(place="one"), RecordingSink(place="two")
    made = Delivery(Findings(), {"a": sinks, "b": sinks[:1]})
    for number in range(20):
        made.results("a" if number % 2 else "b", rows(str(number)))
    made.results("other", rows("x"))
    made.close()
    assert [row["k"] for row in sinks[0].results] == [str(number) for number in range(20)]
    assert [row["k"] for row in sinks[1].results] == [str(number) for number in range(1, 20, 2)]
    assert made.pending == []


def test_a_sink_that_fails_is_tried_again_and_holds_up_no_other():
    broken, sound = RecordingSink(failures=3, place="broken"), RecordingSink(place="sound")
    made = Delivery(Findings(failures=1), {"a": (broken, sound)}, retry_s=0.001)
    made.results("a", rows("1"))
    made.results("a", rows("2"))
    while made.pending:
        threading.Event().wait(0.001)
    made.close()
    assert [row["k"] for row in broken.results] == [row["k"] for row in sound.results] == ["1", "2"]


def test_what_no_sink_took_can_be_kept_and_given_again(caplog):
    made = Delivery(Findings(), {"a": (RecordingSink(failures=10**9, place="down"),)}, retry_s=60)
    made.results("a", rows("1"))
    ((place, summary, kept),) = made.pending
    made.close()
    assert "1 rows of results were not delivered" in caplog.text
    sink = RecordingSink(place="down")
    resumed = Delivery(Findings(), {"a": (sink,)})
    resumed.again(place, summary, kept)
    resumed.close()
    assert [row["k"] for row in sink.results] == ["1"]


def test_findings_are_delivered_when_told():
    findings = Findings()
    made = Delivery(findings, {})
    made.findings()
    assert findings.called.wait(5)
    made.close()


def test_no_more_waits_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setattr(delivery, "MOST_ROWS", 3)
    made = Delivery(Findings(), {"a": (RecordingSink(failures=10**9, place="down"),)}, retry_s=60)
    for number in range(4):
        made.results("a", rows(f"{number}a", f"{number}b"))
    assert made.dropped == 6
    assert "rows of results for down were dropped" in caplog.text
    made.close()
