"""The daemon's day, in milliseconds."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from tocsin.app import App
from tocsin.errors import StoreError
from tocsin.jobs import schedule
from tocsin.jobs.claims import claim
from tocsin.jobs.pipeline import Job, alone, complete
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


def test_what_nobody_foresaw_does_not_end_the_daemon(
    app: App, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(work: Work) -> Done:
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(schedule, "RANK", Job("rank", fail))
    run_until(app, datetime(2025, 1, 9, 2, tzinfo=UTC))
    assert [run.outcome for run in app.ledger.jobs(name="rank")] == ["failed"] * 2 * schedule.RETRIES
    assert [name for name, _ in recorder.ran].count("extract") == 2
    assert any(record.exc_info for record in caplog.records)


def test_a_chain_that_was_cut_short_is_caught_up(app: App, recorder: Recorder) -> None:
    recorder.failures["score"] = 2 * schedule.RETRIES
    run_until(app, datetime(2025, 1, 8, 13, tzinfo=UTC))
    assert [run.outcome for run in app.ledger.jobs(name="train")] == ["ok"]
    recorder.ran.clear()
    run_until(app, datetime(2025, 1, 8, 14, tzinfo=UTC))
    assert [name for name, _ in recorder.ran][-2:] == ["train", "score"]


def test_claims_of_days_ago_are_swept(app: App, recorder: Recorder) -> None:
    with claim(app.store, "default/claims/old.json", owner="me", clock=app.clock, expiry_s=60):
        pass
    run_until(app, datetime(2025, 1, 8, 13, tzinfo=UTC))
    assert app.store.list("default/claims/")[-1].path.endswith("old.json")
    run_until(app, datetime(2025, 1, 10, 13, tzinfo=UTC))
    assert not [info for info in app.store.list("default/claims/") if info.path.endswith("old.json")]


def test_two_that_wait_for_each_other_do_not_nap_alike(app: App) -> None:
    naps: dict[str, list[float]] = {}
    for owner in ("one", "other"):
        work = app.work()
        work.owner = owner
        slept = naps.setdefault(owner, [])
        busy = iter([1, 1, 1, 0])

        def call(work: Work, busy: Iterator[int] = busy) -> Done:
            return Done("sample", {ELSEWHERE: next(busy), "flows sampled": 2}, [date(2025, 1, 8)])

        done = complete(work, Job("sample", call), wait=lambda seconds, slept=slept: bool(slept.append(seconds)))
        assert (done.counts, done.days) == ({"flows sampled": 8}, [date(2025, 1, 8)])
    assert [len(slept) for slept in naps.values()] == [3, 3]
    assert not set(naps["one"]) & set(naps["other"])


def test_a_job_that_is_done_alone_is_left_to_who_has_it(app: App) -> None:
    job = alone("profile", lambda work: Done("profile", {"hosts": 1}))
    with claim(app.store, "default/claims/profile-all.json", owner="other", clock=app.clock, expiry_s=60):
        assert job.call(app.work()).counts == {ELSEWHERE: 1}
        assert job.call(app.work(["tcp"])).counts == {"hosts": 1}
    assert job.call(app.work()).counts == {"hosts": 1}


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
