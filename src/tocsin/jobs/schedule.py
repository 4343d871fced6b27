"""The daemon: two daily jobs by the clock, each followed by what depends on it, until a signal says stop.

APScheduler's cron trigger computes the times; the claims in the store make each piece of work once over any number of
instances. Times are UTC. A minute that is not set is chosen at random once, at start.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.cron import CronTrigger

from tocsin.errors import TocsinError
from tocsin.jobs.claims import sweep_claims
from tocsin.jobs.fingerprint import fingerprint_days
from tocsin.jobs.pipeline import EARLY_SCORE, EXTRACT, RANK, SCORE, TRAIN, Job, Observer, alone, complete, unobserved
from tocsin.jobs.profile import profile_days
from tocsin.jobs.sample import sample_days
from tocsin.jobs.work import Done, Work
from tocsin.settings import Settings

log = logging.getLogger("tocsin.schedule")

LOOK_S = 60.0
"""Longest nap between looks at the clock, so that a clock that jumps is noticed."""

RETRIES = 3
RETRY_WAIT_S = 60.0


@dataclass(frozen=True)
class Daily:
    """A daily time, UTC, and the jobs that run then, in their order."""

    name: str
    hour: int
    minute: int
    jobs: tuple[Job, ...]

    def next_after(self, moment: datetime) -> datetime:
        """Return the first time of this schedule after a moment."""
        trigger = CronTrigger(hour=self.hour, minute=self.minute, timezone=UTC)
        fires = trigger.get_next_fire_time(None, moment + timedelta(microseconds=1))
        assert isinstance(fires, datetime), "a daily trigger always fires again"
        return fires.astimezone(UTC)

    def last_before(self, moment: datetime) -> datetime:
        """Return the last time of this schedule up to a moment."""
        return self.next_after(moment - timedelta(days=1))


def _until_today(call: Callable[..., Done]) -> Callable[[Work], Done]:
    """Leave out the day that is not over yet."""
    return lambda work: call(work, before=work.clock.now().date())


PROFILE = alone("profile", _until_today(profile_days))
SAMPLE = Job("sample", _until_today(sample_days))
FINGERPRINT = alone("fingerprint", _until_today(fingerprint_days))


def plan(settings: Settings, rng: random.Random) -> list[Daily]:
    """Return the daily jobs; unset minutes are drawn now, once.

    The training chain begins with profile and sample too: both do only what is missing, so training always has the
    day's sample, however the hours are set, and waits for an instance that is still at it.
    """
    sampling, training = settings.sampling, settings.training
    sample_minute = rng.randrange(60) if sampling.sample_minute is None else sampling.sample_minute
    train_minute = rng.randrange(60) if training.train_minute is None else training.train_minute
    early, late = ((EARLY_SCORE,), (SCORE,)) if settings.scoring.in_run else ((), ())
    return [
        Daily("sample", sampling.sample_hour, sample_minute, (PROFILE, *early, SAMPLE)),
        Daily("train", training.train_hour, train_minute, (PROFILE, SAMPLE, FINGERPRINT, EXTRACT, RANK, TRAIN, *late)),
    ]


class Daemon:
    """Runs the daily jobs. `wait(seconds)` naps and returns True when a stop was asked for."""

    def __init__(
        self,
        work: Work,
        *,
        rng: random.Random,
        wait: Callable[[float], bool] | None = None,
        observer: Observer = unobserved,
    ) -> None:
        self._work = work
        self._wait = wait or work.stop.wait
        self._observer = observer
        self.daily = plan(work.settings, rng)

    def run(self, *, now: bool = False) -> None:
        """Work until a stop is asked for; with `now`, or where a run was missed, begin at once."""
        for daily in self.daily:
            log.info("%s runs daily at %02d:%02d UTC", daily.name, daily.hour, daily.minute)
        due = {
            daily.name: self._work.clock.now() if now or self._missed(daily) else self._next(daily)
            for daily in self.daily
        }
        while not self._work.stop.is_set():
            daily = min(self.daily, key=lambda item: due[item.name])
            pause = (due[daily.name] - self._work.clock.now()).total_seconds()
            if pause > 0:
                self._deliver()
                if self._wait(min(pause, LOOK_S)):
                    break
                continue
            self._run(daily)
            due[daily.name] = self._next(daily)
            log.info("%s runs again at %s", daily.name, due[daily.name].isoformat())
        log.info("stopped; what was begun is finished")

    def _next(self, daily: Daily) -> datetime:
        return daily.next_after(self._work.clock.now())

    def _missed(self, daily: Daily) -> bool:
        """Say whether the last scheduled time passed without a good run of each of this chain's jobs."""
        last_time = daily.last_before(self._work.clock.now())
        runs = [run for run in self._work.ledger.last_jobs(self._work.domain) if run.piece == self._work.part]
        good = {run.name for run in runs if run.outcome == "ok" and run.started >= last_time}
        if good >= {job.name for job in daily.jobs}:
            return False
        log.info("the %s run of %s was missed; catching up", daily.name, last_time.isoformat())
        return True

    def _run(self, daily: Daily) -> None:
        for job in daily.jobs:
            if not self._attempt(job):
                return
        self._sweep()

    def _deliver(self) -> None:
        """Give sinks what waits for them, so that one that was away need not wait for the next day's findings."""
        try:
            self._work.verdict.deliver()
        except TocsinError as error:
            log.warning("findings were not delivered yet: %s", error)

    def _sweep(self) -> None:
        """Remove the claims of days ago, which nobody will ask for again."""
        try:
            sweep_claims(self._work.store, f"{self._work.domain}/claims/", clock=self._work.clock)
        except TocsinError as error:
            log.warning("old claims were not removed: %s", error)

    def _attempt(self, job: Job) -> bool:
        """Run a job, several times if it fails for a reason that may pass; what fails still is left to the next day."""
        for attempt in range(1, RETRIES + 1):
            if self._work.stop.is_set():
                return False
            try:
                complete(self._work, job, self._observer, wait=self._wait)
            except Exception as error:  # what nobody foresaw must not end the daemon either
                unforeseen = None if isinstance(error, TocsinError) else error
                text = "%s: attempt %d of %d failed: %s"
                log.error(text, job.name, attempt, RETRIES, error, exc_info=unforeseen)
                if attempt < RETRIES and self._wait(RETRY_WAIT_S * attempt):
                    return False
            else:
                return True
        return False
