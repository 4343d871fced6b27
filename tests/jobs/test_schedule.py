"""The daemon's day, in milliseconds."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tocsin.app import App
from tocsin.errors import StoreError
from tocsin.jobs import schedule
from tocsin.jobs.pipeline import Job
from tocsin.jobs.schedule import Daemon, plan
from tocsin.jobs.work import ELSEWHERE, Done, Work
from tocsin.settings import Settings
from tocsin.testing.clock import FakeClock


class Recorder:
    """Stands in for the pipeline's jobs and writes down when each ran."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.ran: list[tuple[str, datetime]] = []
        self.failures: dict[str, int] = {}
        self.elsewhere = 0

    def job(self, name: str) -> Job:
        def call(work: Work) -> Done:
            self.ran.append((name, self.clock.now()))
            if self.failures.get(name, 0) > 0:
                self.failures[name] -= 1
                raise StoreError("the store is away")
            done = Done(name)
            if name == "sample" and self.elsewhere:
                self.elsewhere -= 1
                done.count(ELSEWHERE, 1)
            return done

        return Job(name, call)


@pytest.fixture
def app(settings: Settings) -> Iterator[App]:
    settings.sampling.sample_minute, settings.training.train_minute = 30, 0
    app = App(settings, clock=FakeClock(datetime(2025, 1, 8, 12, tzinfo=UTC)))
    yield app
    app.close()


@pytest.fixture
def recorder(app: App, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    assert isinstance(app.clock, FakeClock)
    recorder = Recorder(app.clock)
    for name in ("PROFILE", "SAMPLE", "EXTRACT", "RANK", "TRAIN", "SCORE"):
        monkeypatch.setattr(schedule, name, recorder.job(name.lower()))
    monkeypatch.setattr(schedule, "EARLY_SCORE", schedule.SCORE)
    return recorder


def run_until(app: App, end: datetime, *, now: bool = False) -> None:
    work = app.work()

    def wait(seconds: float) -> bool:
        app.clock.sleep(seconds)
        if app.clock.now() >= end:
            work.stop.set()
        return work.stop.is_set()

    Daemon(work, rng=random.Random(0), wait=wait).run(now=now)


def test_a_missed_run_is_caught_up_at_once_then_daily(app: App, recorder: Recorder) -> None:
    run_until(app, datetime(2025, 1, 10, 12, tzinfo=UTC))
    samples = [at for name, at in recorder.ran if name == "train"]
    assert samples == [
        datetime(2025, 1, 8, 12, tzinfo=UTC), datetime(2025, 1, 9, 1, tzinfo=UTC), datetime(2025, 1, 10, 1, tzinfo=UTC)
    ]  # fmt: skip


def test_nothing_is_due_again_after_a_restart(app: App, recorder: Recorder) -> None:
    run_until(app, datetime(2025, 1, 8, 13, tzinfo=UTC))
    before = len(recorder.ran)
    run_until(app, datetime(2025, 1, 8, 14, tzinfo=UTC))
    assert len(recorder.ran) == before


def test_run_now_begins_at_once(app: App, recorder: Recorder) -> None:
    run_until(app, datetime(2025, 1, 8, 13, tzinfo=UTC))
    recorder.ran.clear()
    run_until(app, datetime(2025, 1, 8, 14, tzinfo=UTC), now=True)
    assert [name for name, _ in recorder.ran] == [
        "profile", "score", "sample", "profile", "sample", "extract", "rank", "train", "score"
    ]  # fmt: skip


def test_training_waits_for_the_sample_of_another_instance(app: App, recorder: Recorder) -> None:
    recorder.elsewhere = 3
    run_until(app, datetime(2025, 1, 8, 13, tzinfo=UTC))
    names = [name for name, _ in recorder.ran]
    assert names[:6] == ["profile", "score", "sample", "sample", "sample", "sample"]


def test_a_failing_job_is_tried_again_and_stops_its_chain(app: App, recorder: Recorder) -> None:
    recorder.failures["extract"] = 99
    run_until(app, datetime(2025, 1, 8, 13, tzinfo=UTC))
    names = [name for name, _ in recorder.ran]
    assert names.count("extract") == schedule.RETRIES
    assert "train" not in names
    outcomes = [run.outcome for run in app.ledger.jobs(name="extract")]
    assert outcomes == ["failed"] * schedule.RETRIES


def test_unset_minutes_are_drawn_once_within_the_hour(settings: Settings) -> None:
    settings.sampling.sample_minute = None
    drawn = {plan(settings, random.Random(seed))[0].minute for seed in range(200)}
    assert drawn <= set(range(60))
    assert len(drawn) > 30


def test_next_time_is_strictly_later() -> None:
    daily = schedule.Daily("sample", 0, 30, ())
    at = datetime(2025, 1, 8, 0, 30, tzinfo=UTC)
    assert daily.next_after(at) == at + timedelta(days=1)
    assert daily.last_before(at) == at
