"""The pipeline as a whole: each job with its history, and all of them in their order."""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Literal

from tocsin.errors import TocsinError
from tocsin.jobs.fingerprint import fingerprint_days
from tocsin.jobs.lake import lake_days
from tocsin.jobs.process import owner_is_gone
from tocsin.jobs.profile import profile_days
from tocsin.jobs.sample import sample_days
from tocsin.jobs.score import everything_served, score_days
from tocsin.jobs.train import extract, rank_fields, train
from tocsin.jobs.work import ELSEWHERE, Done, Work

log = logging.getLogger("tocsin.jobs")

NAPS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Naps between looks at what another instance is doing, half of each random; the last one is repeated."""

Observer = Callable[[str, str, float, Done | None], None]
"""Told of every job that ended: its name, its outcome (ok, failed, stopped), its seconds, and what it did."""


def unobserved(job: str, outcome: str, seconds: float, done: Done | None) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Job:
    """A named piece of the pipeline."""

    name: str
    call: Callable[[Work], Done]


def alone(name: str, call: Callable[[Work], Done]) -> Job:
    """Make a job that one instance does at a time: each of its days is judged by the days before it."""

    def only(work: Work) -> Done:
        with work.claim(f"{name}-{work.part}") as held:
            if held is not None:
                return call(work)
        return Done(name, {ELSEWHERE: 1}, notes=["another instance does this"])

    return Job(name, only)


PROFILE = alone("profile", profile_days)
SAMPLE = Job("sample", sample_days)
FINGERPRINT = alone("fingerprint", fingerprint_days)
EXTRACT = Job("extract", extract)
RANK = Job("rank", rank_fields)
TRAIN = Job("train", train)
SCORE = alone("score", score_days)

EARLY_SCORE = alone("score", lambda work: score_days(work) if everything_served(work) else Done("score"))
"""Scoring with the models of the days before, so that unusual flows stay out of the sample; once all are served."""

AUTO = (PROFILE, EARLY_SCORE, SAMPLE, FINGERPRINT, EXTRACT, RANK, TRAIN, SCORE)
"""In this order, so that what is found at once (hosts; flows, where a model is served) stays out of the samples."""


def run_job(work: Work, job: Job, observer: Observer = unobserved) -> Done:
    """Run one job and keep in the ledger that it ran, how it ended and what it did. Raises what the job raises."""
    started = work.clock.monotonic()
    work.ledger.mark_abandoned(owner_is_gone)
    entry = work.ledger.start_job(job.name, domain=work.domain, piece=work.part, owner=work.owner)
    try:
        done = job.call(work)
    except BaseException as error:
        seconds = work.clock.monotonic() - started
        note = str(error) if isinstance(error, TocsinError) else f"{type(error).__name__}: {error}"
        work.ledger.finish_job(entry, "failed", note, {})
        observer(job.name, "failed", seconds, None)
        log.error("%s failed: %s", job.name, note)
        raise
    outcome: Literal["ok", "stopped"] = "stopped" if work.stop.is_set() else "ok"
    seconds = work.clock.monotonic() - started
    work.ledger.finish_job(entry, outcome, "; ".join(done.notes), done.counts)
    observer(job.name, outcome, seconds, done)
    log.info("%s %s", job.name, outcome, extra={"seconds": round(seconds, 2), **done.counts})
    level = logging.INFO if done.counts.get(ELSEWHERE) else logging.WARNING  # to share the work is nothing to warn of
    for note in done.notes:
        log.log(level, "%s: %s", job.name, note)
    return done


def complete(work: Work, job: Job, observer: Observer = unobserved, *, wait: Callable[[float], bool]) -> Done:
    """Run a job until no piece of it is in another instance's hands, so that the next job builds on all of it.

    `wait(seconds)` naps and returns True when a stop was asked for. Returns what this instance did; raises what the
    job raises.
    """
    total = Done(job.name)
    rng = random.Random(work.owner)  # two instances that nap alike would meet at the same claims again and again
    for nap_s in chain(NAPS_S, repeat(NAPS_S[-1])):
        done = run_job(work, job, observer)
        total.take(done)
        if not done.counts.get(ELSEWHERE) or wait(nap_s * rng.uniform(0.5, 1)):
            break
    return total


def auto(work: Work, observer: Observer = unobserved) -> list[Done]:
    """Run the whole pipeline once over the days of the lake."""
    days = lake_days(work.store, work.domain)
    results = []
    for job in AUTO:
        if work.stop.is_set():
            break
        if job is EARLY_SCORE and not everything_served(work):
            continue
        results.append(complete(work, job, observer, wait=work.stop.wait))
    if not results:
        return results
    if not days:
        results[0].notes.append(
            f"the lake at {work.store.url(work.domain + '/v2/')} is empty; `tocsin ingest PATH…` fills it"
        )
    elif len(days) == 1:
        results[-1].notes.append(
            f"the lake has one day only, {next(iter(days))}: models were fitted on it and scored it, "
            "hosts were compared with each other; more days make both better"
        )
    return results
