"""The pipeline as a whole: each job with its history, and all of them in their order."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tocsin.errors import TocsinError
from tocsin.jobs.fingerprint import fingerprint_days
from tocsin.jobs.lake import lake_days
from tocsin.jobs.process import owner_is_gone
from tocsin.jobs.profile import profile_days
from tocsin.jobs.sample import sample_days
from tocsin.jobs.score import everything_served, score_days
from tocsin.jobs.train import extract, rank_fields, train
from tocsin.jobs.work import Done, Work

log = logging.getLogger("tocsin.jobs")

Observer = Callable[[str, str, float, Done | None], None]
"""Told of every job that ended: its name, its outcome (ok, failed, stopped), its seconds, and what it did."""


def unobserved(job: str, outcome: str, seconds: float, done: Done | None) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Job:
    """A named piece of the pipeline."""

    name: str
    call: Callable[[Work], Done]


PROFILE = Job("profile", profile_days)
SAMPLE = Job("sample", sample_days)
FINGERPRINT = Job("fingerprint", fingerprint_days)
EXTRACT = Job("extract", extract)
RANK = Job("rank", rank_fields)
TRAIN = Job("train", train)
SCORE = Job("score", score_days)

EARLY_SCORE = Job("score", lambda work: score_days(work) if everything_served(work) else Done("score"))
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
    for note in done.notes:
        log.warning("%s: %s", job.name, note)
    return done


def auto(work: Work, observer: Observer = unobserved) -> list[Done]:
    """Run the whole pipeline once over the days of the lake."""
    days = lake_days(work.store, work.domain)
    results = []
    for job in AUTO:
        if work.stop.is_set():
            break
        if job is EARLY_SCORE and not everything_served(work):
            continue
        results.append(run_job(work, job, observer))
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
