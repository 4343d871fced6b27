"""The engine of processes: the results of one process, whatever happens to those it is made of."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tocsin.cluster import child as child_module
from tocsin.cluster.engine import Engine
from tocsin.cluster.processes import ProcessEngine
from tocsin.cluster.single import SingleEngine
from tocsin.detectors.summary.definition import SECOND_US
from tocsin.detectors.summary.messages import Output
from tocsin.errors import ModelError, SettingsError, TocsinError
from tocsin.testing.summaries import TIMESTAMP, a_summary

BEGIN = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp()) * SECOND_US
HOUR = 3600 * SECOND_US
BATCHES, ROWS = 20, 150
REDUCE = {"n": "count", "s": "sum", "a": "average", "u": ("unique", {"of": "value", "max": 50})}
SUMMARIES = [
    a_summary(REDUCE, "n >= 40", name="attempts", lateness_us=0),
    a_summary({"s": "sum"}, "s", at=[500, 2000, 10_000], name="volume", window_s=120, step_s=60, lateness_us=0),
    a_summary({"n": "count"}, name="manual", window_s=0, lateness_us=0),
]
PATIENCE_S = 2.0

Disturb = Callable[[int], None]


@dataclass
class Run:
    """What came of records.

    rows: (summary, start, key) -> results. passed: (summary, window, key) -> levels, in order.
    """

    rows: dict[Any, dict[str, Any]] = field(default_factory=dict)
    passed: dict[Any, list[float]] = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)

    def take(self, output: Output) -> None:
        for crossing in output.crossings:
            key = (crossing.summary, crossing.window, crossing.key["host"])
            self.passed.setdefault(key, []).extend(crossing.levels)
        for result in output.results:
            self.missing |= set(result.missing)
            for row in result.table.to_pylist():
                key = (result.summary, result.start, row.pop("host"))
                assert key not in self.rows
                self.rows[key] = {
                    name: pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
                    for name, value in row.items()
                }


def batches(hour: int) -> Iterator[tuple[pa.Table, np.ndarray, int]]:
    """Yield records of ten minutes of an hour, in batches, with the watermark after each."""
    rng = np.random.default_rng(hour)
    for number in range(BATCHES):
        begin = BEGIN + hour * HOUR + number * 30 * SECOND_US
        times = np.sort(rng.integers(begin, begin + 30 * SECOND_US, ROWS))
        table = pa.table(
            {
                "host": [f"10.0.0.{host}" for host in rng.zipf(1.3, ROWS) % 40],
                "value": rng.integers(0, 60, ROWS).astype(float),
                "ts": pa.array(times).cast(TIMESTAMP),
            }
        )
        ordinals = np.arange(ROWS, dtype=np.uint64) + np.uint64((hour * BATCHES + number) * ROWS)
        yield table, ordinals, int(times[-1])


def feed(
    engine: Engine, run: Run, hour: int, disturb: Disturb = lambda number: None, *, part: slice = slice(None)
) -> None:
    """Give an hour's records to an engine."""
    for number, (table, ordinals, watermark) in list(enumerate(batches(hour)))[part]:
        disturb(number)
        run.take(engine.observe("event", table, ordinals))
        run.take(engine.advance(watermark))


def end_hour(engine: Engine, run: Run, hour: int) -> None:
    """Let time go on until the hour's windows are over, and take their results."""
    run.take(engine.advance(BEGIN + hour * HOUR + 20 * 60 * SECOND_US))
    run.take(engine.end_epoch("manual"))


def undisturbed(hour: int) -> Run:
    """Return what one process makes of an hour."""
    engine, run = SingleEngine(SUMMARIES), Run()
    feed(engine, run, hour)
    end_hour(engine, run, hour)
    return run


def disturbed(engine: ProcessEngine, hour: int, disturb: Disturb = lambda number: None) -> Run:
    run = Run()
    feed(engine, run, hour, disturb)
    end_hour(engine, run, hour)
    return run


def same(found: Run, wanted: Run) -> None:
    # A manual window has no time of its own but the watermark at which the one before ended.
    def keyed(rows: dict[Any, Any]) -> dict[Any, Any]:
        return {(name, None if name == "manual" else start, host): row for (name, start, host), row in rows.items()}

    assert keyed(found.rows) == keyed(wanted.rows)
    assert found.passed == wanted.passed
    assert found.missing == set()


@pytest.fixture(scope="module")
def hours() -> Iterator[int]:
    """Hours that no test has used."""
    return iter(range(1, 1000))


@pytest.fixture(scope="module")
def engine() -> Iterator[ProcessEngine]:
    """Two workers and two mergers, with so little room that they wait and make checkpoints."""
    engine = ProcessEngine(SUMMARIES, workers=2, patience_s=PATIENCE_S, flight_bytes=20_000, kept_bytes=30_000)
    yield engine
    engine.close()


def send(engine: ProcessEngine, name: str, number: int) -> None:
    os.kill(engine.processes[name], number)


def test_several_processes_find_what_one_does(engine: ProcessEngine, hours: Iterator[int]) -> None:
    hour = next(hours)
    wanted = undisturbed(hour)
    assert sum(len(levels) for levels in wanted.passed.values()) > 30
    before = {each.name: each for each in engine.status()}
    same(disturbed(engine, hour), wanted)
    after = {each.name: each for each in engine.status()}
    counted = Counter(after["attempts"].counts)
    counted.subtract(before["attempts"].counts)
    assert counted["records"] == BATCHES * ROWS
    assert counted["late"] == counted["rejected"] == counted["evicted"] == 0
    assert counted["delayed"] > 0  # there was too little room for a time, and nothing was dropped
    begun = [worker.story[0].head["do"] for worker in engine._crew.workers]
    assert "restore" in begun  # what is kept for a restart begins with a checkpoint


def test_killed_processes_change_nothing(engine: ProcessEngine, hours: Iterator[int]) -> None:
    rng, hour = random.Random(7), next(hours)
    moments = dict(zip(rng.sample(range(BATCHES), 4), ["worker 0", "worker 1", "merger 0", "worker 0"], strict=True))

    def disturb(number: int) -> None:
        if number in moments:
            send(engine, moments[number], signal.SIGKILL)

    before = engine.processes
    same(disturbed(engine, hour, disturb), undisturbed(hour))
    assert [name for name, pid in engine.processes.items() if before[name] == pid] == ["merger 1"]


def test_a_process_that_stands_still_is_started_again(engine: ProcessEngine, hours: Iterator[int]) -> None:
    hour, before = next(hours), engine.processes
    same(
        disturbed(engine, hour, lambda number: send(engine, "worker 1", signal.SIGSTOP) if number == 5 else None),
        undisturbed(hour),
    )
    assert {name for name, pid in engine.processes.items() if before[name] != pid} == {"worker 1"}


def test_a_keys_value_is_told_while_it_grows(engine: ProcessEngine, hours: Iterator[int]) -> None:
    hour, single = next(hours), SingleEngine(SUMMARIES)
    run, wanted = Run(), Run()
    feed(engine, run, hour, part=slice(0, 7))
    feed(single, wanted, hour, part=slice(0, 7))
    for name in ("attempts", "volume"):
        found = engine.value(name, {"host": "10.0.0.1"})
        assert found
        assert [plainly(each) for each in found] == [plainly(each) for each in single.value(name, {"host": "10.0.0.1"})]
    assert engine.value("attempts", {"host": "nobody"}) == []
    feed(engine, run, hour, part=slice(7, None))
    feed(single, wanted, hour, part=slice(7, None))
    end_hour(engine, run, hour)
    end_hour(single, wanted, hour)
    same(run, wanted)


def plainly(value: dict[str, Any]) -> dict[str, Any]:
    values = {name: round(each, 6) if isinstance(each, float) else each for name, each in value["values"].items()}
    return {**value, "values": values}


def test_what_cannot_be_asked_is_refused(engine: ProcessEngine) -> None:
    with pytest.raises(SettingsError, match="none of this name"):
        engine.value("nothing", {})
    with pytest.raises(SettingsError, match="host=…"):
        engine.value("attempts", {"port": 1})
    with pytest.raises(SettingsError, match="end by time"):
        engine.end_epoch("attempts")
    with pytest.raises(ModelError, match="no state of summaries, or it is damaged"):
        engine.restore(b"something else")


def test_a_state_goes_on_in_other_processes(
    engine: ProcessEngine, hours: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    hour, run = next(hours), Run()
    wanted = undisturbed(hour)
    feed(engine, run, hour, part=slice(0, 9))
    state = engine.state()
    end_hour(engine, Run(), hour)  # what comes after the state is forgotten

    heir = ProcessEngine(SUMMARIES, workers=2)
    try:
        heir.restore(state)
        feed(heir, run, hour, part=slice(9, 14))

        # A worker that cannot be started any more: the others go on, and its part lies in the state.
        with monkeypatch.context() as patch:
            patch.setattr(child_module.sys, "executable", "/bin/false")
            send(heir, "worker 0", signal.SIGKILL)
            feed(heir, run, hour, part=slice(14, 17))
            wait_until(lambda: run.take(heir.poll(0.01)) or "worker 0" not in heir.processes)
        state = heir.state()
        lost = Run()
        lost.take(heir.finish())
        assert lost.missing == {0}
    finally:
        heir.close()

    last = ProcessEngine(SUMMARIES, workers=2)
    try:
        last.restore(state)
        feed(last, run, hour, part=slice(17, None))
        run.take(last.finish())
    finally:
        last.close()
    same(run, wanted)


def test_a_state_of_others_is_refused() -> None:
    one = ProcessEngine(SUMMARIES[:1], workers=1)
    try:
        state = one.state()
    finally:
        one.close()
    for other, complaint in [
        (ProcessEngine(SUMMARIES[1:], workers=1), "of other summaries"),
        (ProcessEngine(SUMMARIES[:1], workers=2), "of 1 workers; run with as many"),
    ]:
        try:
            with pytest.raises(ModelError, match=complaint):
                other.restore(state)
        finally:
            other.close()


def test_without_workers_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module.sys, "executable", "/bin/false")
    engine = ProcessEngine(SUMMARIES, workers=1)
    with pytest.raises(TocsinError, match="cannot be kept running: it has ended"):
        wait_until(lambda: not engine.poll(0.01))
    engine.close()


PARENT = """
import sys, time
from tocsin.cluster.processes import ProcessEngine
from tocsin.testing.summaries import a_summary
engine = ProcessEngine([a_summary({"n": "count"})], workers=2)
if sys.argv[1] == "busy":
    engine.status()
print(*engine.processes.values(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("number", "state"), [(signal.SIGKILL, "starting"), (signal.SIGTERM, "busy")])
def test_nobody_is_left_when_the_parent_is_gone(number: int, state: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, state], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 4
    assert all(is_running(pid) for pid in children)
    parent.send_signal(number)
    parent.wait()
    wait_until(lambda: not any(is_running(pid) for pid in children))


def test_closing_leaves_nobody(engine: ProcessEngine) -> None:
    other = ProcessEngine(SUMMARIES, workers=1)
    (pid, *_) = other.processes.values()
    os.kill(pid, signal.SIGSTOP)
    other.close()
    assert not is_running(pid)
    assert all(is_running(pid) for pid in engine.processes.values())


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(done: Callable[[], Any], patience_s: float = 30.0) -> None:
    until = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < until, "it does not come to pass"
        time.sleep(0.01)
