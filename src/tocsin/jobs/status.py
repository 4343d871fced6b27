"""Status: what was done, what is done now, and what comes next, as plain values for command line and service."""

import random
from pathlib import Path
from typing import Any

from tocsin.jobs.claims import claims
from tocsin.jobs.lake import lake_days
from tocsin.jobs.sample import sampled
from tocsin.jobs.schedule import plan
from tocsin.jobs.score import scored_state
from tocsin.jobs.watches import watches
from tocsin.jobs.work import Work
from tocsin.ledger.rows import Job
from tocsin.lifecycle.registry import Registry
from tocsin.records.finding import rfc3339


def status(work: Work, home: Path) -> dict[str, Any]:
    """Say the lake's days, samples and scores, the models served, each job's last run and its next, the watches.

    home: the local folder in which running watches can be asked. Raises StoreError, LedgerError.
    """
    days = list(lake_days(work.store, work.domain))
    registry = Registry(work.store, work.domain)
    served = {name: registry.production(name) for name in registry.names()}
    return {
        "store": work.store.url(""),
        "domain": work.domain,
        "lake": {"days": len(days), "first": str(days[0]) if days else None, "last": str(days[-1]) if days else None},
        "sampled_days": len(sampled(work.store, work.domain)),
        "last_scored": scored_state(work).get("last_scored"),
        "models": {name: version.name for name, version in served.items() if version},
        "jobs": [_job(job) for job in work.ledger.last_jobs(work.domain)],
        "next": _next(work),
        "watches": watches(work.store, work.domain, home),
        "claims": held_claims(work),
    }


def held_claims(work: Work) -> list[dict[str, Any]]:
    """Return who works on what at this moment, and until when the claim holds. Raises StoreError."""
    return [
        {
            "piece": claim.path.rsplit("/", 1)[-1].removesuffix(".json"),
            "owner": claim.owner,
            "expires": rfc3339(claim.expires),
        }
        for claim in claims(work.store, f"{work.domain}/claims/", clock=work.clock)
        if claim.held
    ]


def _job(job: Job) -> dict[str, Any]:
    ended = rfc3339(job.finished) if job.finished else None
    return {
        "name": job.name, "piece": job.piece, "outcome": job.outcome, "started": rfc3339(job.started), "ended": ended,
        "note": job.note, "counts": job.counts,
    }  # fmt: skip


def _next(work: Work) -> list[dict[str, str]]:
    settings = work.settings
    minutes = (settings.sampling.sample_minute, settings.training.train_minute)
    rows = []
    for daily, minute in zip(plan(settings, random.Random(0)), minutes, strict=True):
        at = rfc3339(daily.next_after(work.clock.now()))
        drawn = f"{at[:14]}xx (minute drawn when the daemon starts)"
        rows.append({"name": daily.name, "next": at if minute is not None else drawn})
    return rows
