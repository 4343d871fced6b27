"""A watch end to end, out of memory: golden cases, live epochs, what is asked, what is kept."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.app import App
from tocsin.cluster.control import Control, ask
from tocsin.cluster.single import SingleEngine
from tocsin.detectors.summary.build import build
from tocsin.errors import ModelError, SettingsError
from tocsin.jobs.alarm import Alarm
from tocsin.jobs.delivery import Delivery
from tocsin.jobs.epochs import Epochs
from tocsin.jobs.kept import Keeper
from tocsin.jobs.resultfile import open_results
from tocsin.jobs.watch import Results, Watch
from tocsin.settings import Settings
from tocsin.settings_summaries import SummarySettings
from tocsin.stores.folder import FolderStore
from tocsin.testing.clock import FakeClock
from tocsin.testing.records import ListedRecords
from tocsin.testing.sink import RecordingSink
from tocsin.verdict.severity import Cutoffs

NOON = datetime(2025, 1, 8, 12, tzinfo=UTC)
COUNTED = {"name": "tries", "input": "event", "key": {"host": "host"}, "observe": "n", "epoch": "1h"}


def rows(*pairs, at=NOON, step_s=1.0):
    return [
        {"ts": at + timedelta(seconds=number * step_s), "host": host, "n": n} for number, (host, n) in enumerate(pairs)
    ]


class Run:
    """A watch with everything around it in memory; `found` are the findings shown, `results` the rows of results."""

    def __init__(self, app, batches, *entries, clock=None, endless=False, folder=None, **watch):
        self.clock = clock or FakeClock(NOON)
        self.summaries = {each.name: each for each in build([SummarySettings(**entry) for entry in entries])}
        self.sink, self.found = RecordingSink(), []
        delivery = Delivery(app.verdict, dict.fromkeys(self.summaries, (self.sink,)))
        self.keeper = kept = None
        file, size = None, 0
        if folder is not None:
            store = FolderStore(folder)
            self.path = folder / "results.ndjson"
            self.keeper = Keeper(
                store, "w.checkpoint", settings=str(entries), results_path=str(self.path), every_s=1.0, clock=self.clock
            )
            kept = self.keeper.load()
            size = kept.results_bytes if kept else 0
            file = open_results(self.path, list(self.summaries.values()), size)
        first = kept.positions["batch"] if kept else 0
        self.records = ListedRecords(batches, clock=self.clock, endless=endless, from_batch=first)
        self.watch = Watch(
            self.records,
            lambda origin_us: SingleEngine(list(self.summaries.values()), origin_us=origin_us),
            self.summaries,
            alarm=Alarm(self.summaries, app.verdict, Cutoffs(), self.found.append, delivery.findings),
            results=Results(Epochs(self.summaries), delivery, file),
            clock=self.clock,
            keeper=self.keeper,
            **watch,
        )
        if kept:
            self.watch.resume(kept)

    def go(self, stop=lambda: False):
        tally = self.watch.run(stop)
        self.watch.close()
        return tally

    @property
    def results(self):
        return self.sink.results

    @property
    def keys(self):
        return {row["host"]: row for row in self.results if row["record"] == "key"}


G01 = (
    ("1.2.3.4", 5),
    ("1.2.3.4", 22),
    ("1.2.3.4", 94),
    ("1.2.3.4", 50),
    ("1.2.3.4", 50),
    ("6.5.4.3", 2),
    ("7.2.1.5", 1),
)
CALCULATIONS = {
    **{name: name for name in ("sum", "variance", "average", "max", "min", "std_dev", "count")},
    "uniques": {"unique": "n"}, "hll": {"hll_unique": "n"},
}  # fmt: skip


def calculations(row):
    return [row[name] for name in ("count", "sum", "variance", "average", "max", "min", "uniques", "hll")]


def test_g01_basic_calculations(app):
    run = Run(app, [rows(*G01, step_s=0.1)], COUNTED | {"reduce": CALCULATIONS, "epoch": "3s", "origin": "first"})
    tally = run.go()
    assert calculations(run.keys["1.2.3.4"]) == pytest.approx([5, 221.0, 1144.2, 44.2, 94, 5, 4, 4])
    assert run.keys["1.2.3.4"]["std_dev"] == pytest.approx(33.826025, abs=1e-6)
    assert calculations(run.keys["6.5.4.3"]) == [1, 2, 0, 2, 2, 2, 1, 1]
    assert calculations(run.keys["7.2.1.5"]) == [1, 1, 0, 1, 1, 1, 1, 1]
    assert run.keys["1.2.3.4"]["start"] == "2025-01-08T12:00:00Z"
    assert (tally.records, tally.epochs, tally.findings) == (7, 1, 0)


def test_g03_thresholds(app):
    first = rows(("1.2.3.4", 3), ("6.5.4.3", 2), ("7.2.1.5", 1), ("1.2.3.4", 3), ("7.2.1.5", 1000))
    second = rows(("7.2.1.5", 10), ("7.2.1.5", 1000), ("7.2.1.5", 54321), at=NOON + timedelta(seconds=60))
    metric = [row | {"m": "metric"} for row in first] + [row | {"m": "metric2"} for row in second]
    one = {
        "input": "event",
        "where": "m = 'metric'",
        "key": {"host": "host"},
        "observe": "n",
        "reduce": {"total": "sum"},
    }
    two = one | {"where": "m = 'metric2'", "reduce": {"total2": "sum"}}
    run = Run(
        app,
        [[row] for row in metric],
        one | {"name": "single", "epoch": "1h", "threshold": "total >= 5", "title": "{host} {total}"},
        one | {"name": "series", "epoch": "1h", "threshold": {"of": "total", "at": [3, 6, 800]},
               "title": "{host} {total} {level}"},
        {"name": "ratio", "inputs": [one, two], "epoch": "1h", "title": "{host} {ratio:.0f}",
         "threshold": "total > 0 AND total2 / total >= 5"} | {"title": "{host} {total2} {total}"},
    )  # fmt: skip
    tally = run.go()
    by_name = lambda name: [finding.title for finding in run.found if finding.about.startswith(name)]  # noqa: E731
    assert by_name("single") == ["1.2.3.4 6", "7.2.1.5 1001"]
    assert by_name("series") == ["1.2.3.4 3 3", "1.2.3.4 6 6", "7.2.1.5 1001 800"]
    assert by_name("ratio") == ["7.2.1.5 55331 1001"]
    assert tally.findings == 5
    assert not [finding for finding in run.found if finding.entity == "6.5.4.3"]


def test_the_findings_are_in_the_ledger_and_come_once_more_with_a_further_level(app):
    entry = COUNTED | {"reduce": {"total": "sum"}, "threshold": {"of": "total", "at": [3, 6]}, "severity": "high"}
    run = Run(app, [rows(("a", 3)), rows(("a", 3), at=NOON + timedelta(seconds=5))], entry)
    run.go()
    first, second = run.found
    assert first.id == second.id
    assert (first.severity, second.severity) == ("high", "critical")
    (stored,) = app.ledger.findings()
    assert stored == second
    assert stored.reasons[0].seen == "6 seen, past 3, 6"


def test_keys_on_which_a_threshold_fails_are_told_once(app, caplog):
    entry = COUNTED | {"reduce": {"total": "sum"}, "threshold": "CAST(host AS INTEGER) > 3"}
    run = Run(app, [rows(("five", 1), ("5", 1), ("5", 2)), rows(("six", 1), at=NOON + timedelta(hours=2))], entry)
    run.go()
    assert [finding.entity for finding in run.found] == ["5"]
    (said,) = [record.message for record in caplog.records if "cannot be judged" in record.message]
    assert said.startswith("summaries.tries.threshold: 1 of 2 keys cannot be judged by it: Conversion Error")


def test_findings_below_the_least_severity_are_counted(app):
    run = Run(app, [rows(("a", 3))], COUNTED | {"reduce": {"t": "sum"}, "threshold": "t >= 3", "severity": "low"})
    tally = run.go()
    assert (tally.findings, tally.below, run.found) == (0, 1, [])


def steps(*moments):
    """Return a stop that does each of these in turn, one a round, and then stops."""
    left = list(moments)

    def stop():
        if not left:
            return True
        left.pop(0)()
        return False

    return stop


def nothing():
    """Let it go round."""


def test_an_epoch_ends_when_no_record_comes_but_the_watermark_moves_on(app):
    entry = COUNTED | {"reduce": {"total": "sum"}, "epoch": "1m", "lateness": "10s"}
    run = Run(app, [rows(("a", 3))], entry, endless=True)
    ended = []

    def move_on(seconds):
        run.records.watermark_us += seconds * 1_000_000

    look = lambda: ended.append(run.watch.tally().epochs)  # noqa: E731
    run.go(steps(nothing, lambda: move_on(69), nothing, look, lambda: move_on(1), nothing, look))
    assert ended == [0, 1]


class Yielding(FakeClock):
    """A clock whose sleep lets other threads do something."""

    def sleep(self, seconds):
        time.sleep(0.001)
        super().sleep(seconds)


def asking(run, script):
    """Run a watch while a script in another thread asks it; return what the script returned."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(script()))
    thread.start()
    tally = run.go(lambda: not thread.is_alive())
    thread.join()
    return tally, answers[0]


@pytest.fixture
def control(tmp_path):
    return Control(tmp_path / "watch.sock")


def test_g04_a_value_on_demand_resets_nothing(app, control):
    run = Run(app, [[]], COUNTED | {"reduce": {"total": "sum"}}, endless=True, control=control, clock=Yielding(NOON))
    value = {"do": "value", "summary": "tries"}

    def script():
        before = ask(control.path, value | {"key": {"host": "1.2.3.4"}})
        run.records.add(rows(("1.2.3.4", 42), ("4.3.2.1", 7)))
        while not (answer := ask(control.path, value | {"key": {"host": "1.2.3.4"}})):
            pass
        with pytest.raises(SettingsError, match="host="):
            ask(control.path, value | {"key": {"port": "22"}})
        with pytest.raises(SettingsError, match="can be asked for"):
            ask(control.path, {"do": "dance"})
        return before, answer, ask(control.path, value | {"key": {"host": "9.9.9.9"}})

    _, (before, (answer,), other) = asking(run, script)
    assert (before, other) == ([], [])
    assert answer["values"]["total"] == 42.0
    assert answer["start"] == NOON
    assert {host: row["total"] for host, row in run.keys.items()} == {"1.2.3.4": 42.0, "4.3.2.1": 7.0}


def test_g06_manual_epochs(app, control):
    entry = COUNTED | {"reduce": CALCULATIONS, "epoch": "manual"}
    timed = COUNTED | {"name": "timed", "reduce": {"x": "sum"}}
    run = Run(app, [[]], entry, timed, endless=True, control=control, clock=Yielding(NOON))

    def script():
        ask(control.path, {"do": "next-epoch", "summary": "tries"})
        run.records.add(rows(*G01))
        while not ask(control.path, {"do": "status"})["records"]:
            pass
        ask(control.path, {"do": "next-epoch", "summary": "tries"})
        with pytest.raises(SettingsError, match="manual"):
            ask(control.path, {"do": "next-epoch", "summary": "timed"})

    asking(run, script)
    first, *keys, second = [row for row in run.results if row["summary"] == "tries"]
    assert (first["record"], first["keys"]) == ("epoch", 0)
    assert (second["record"], second["keys"]) == ("epoch", 3)
    assert calculations(keys[0]) == pytest.approx([5, 221.0, 1144.2, 44.2, 94, 5, 4, 4])
    assert [row["host"] for row in keys] == ["1.2.3.4", "6.5.4.3", "7.2.1.5"]
    others = [row for row in run.results if row["summary"] == "timed" and row["record"] == "epoch"]
    assert [row["epochs"] for row in others] == [1], "an epoch ended before any record says nothing of time"


THRESHOLD = COUNTED | {
    "reduce": {"total": "sum"}, "epoch": "1m", "lateness": "10s", "threshold": {"of": "total", "at": [20, 60]},
}  # fmt: skip


def batches(count=12):
    """Some minutes of records; a minute's numbers add up past both levels for some hosts."""
    return [
        rows(*[(f"10.0.0.{(number * 7 + row) % 5}", row % 4) for row in range(40)],
             at=NOON + timedelta(seconds=20 * number), step_s=0.5)
        for number in range(count)
    ]  # fmt: skip


def findings(app):
    return [
        (each.id, each.title, each.score, each.record_count) for each in app.ledger.findings(limit=None, order="time")
    ]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.booleans())
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_watch_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path_factory, lives, graceful):
    whole = tmp_path_factory.mktemp("whole")
    app = App(Settings(store=str(whole / "store")), clock=FakeClock(NOON))
    Run(app, batches(), THRESHOLD, folder=whole).go()
    folder = tmp_path_factory.mktemp("parts")
    other = App(Settings(store=str(folder / "store")), clock=FakeClock(NOON))
    for rounds in lives:
        run = Run(other, batches(), THRESHOLD, folder=folder)
        moments = [lambda run=run: run.clock.advance(0.7)] * rounds
        if graceful:
            run.go(steps(*moments))
        else:
            with pytest.raises(Killed):
                run.go(steps(*moments, kill))
            run.watch.close()
    Run(other, batches(), THRESHOLD, folder=folder).go()
    assert (folder / "results.ndjson").read_text() == (whole / "results.ndjson").read_text()
    assert findings(other) == findings(app)
    assert findings(app)
    app.close()
    other.close()


class Killed(Exception):
    """Stands for a signal that nobody can handle."""


def kill():
    raise Killed


def test_results_that_no_sink_took_are_kept(app, tmp_path):
    run = Run(app, batches(), THRESHOLD, folder=tmp_path, endless=True)
    run.sink.failures = 10**9
    run.go(steps(*[lambda: run.clock.advance(0.7)] * 12))
    assert run.sink.results == []
    again = Run(app, batches(), THRESHOLD, folder=tmp_path)
    again.go()
    starts = [row["start"] for row in again.results if row["record"] == "epoch"]
    assert sorted(set(starts)) == [f"2025-01-08T12:0{minute}:00Z" for minute in range(4)]


def test_what_was_kept_of_other_summaries_is_refused(app, tmp_path):
    Run(app, batches(2), THRESHOLD, folder=tmp_path).go()
    with pytest.raises(ModelError, match="other summaries"):
        Run(app, batches(2), THRESHOLD | {"epoch": "2m"}, folder=tmp_path)
