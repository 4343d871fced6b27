"""Jobs: what was done, what is being done, and the state of the whole as `tocsin status --json` prints it."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from tocsin.jobs.process import Process
from tocsin.jobs.status import held_claims, status
from tocsin.jobs.work import Work
from tocsin.ledger.rows import Outcome
from tocsin.serve.asked import Asked, Nothing, Text, Time
from tocsin.serve.auth import needs
from tocsin.serve.parts import Parts


class JobDocument(BaseModel):
    """One run of a job on a piece of work; `counts` are the job's own figures."""

    id: int
    name: str
    domain: str
    piece: str
    owner: str
    outcome: Outcome
    started: Time
    finished: Time | None
    note: str
    counts: dict[str, Any]


class ClaimDocument(BaseModel):
    """Who works on a piece of work at this moment, and until when the claim holds unless it is renewed."""

    piece: str
    owner: str
    expires: Time


class JobPage(BaseModel):
    """A page of jobs, newest first, and what is being worked on; `next` is what to give as `after`."""

    jobs: list[JobDocument]
    running: list[ClaimDocument]
    next: int | None


class LakeDocument(BaseModel):
    """The days of flows that there are."""

    days: int
    first: str | None
    last: str | None


class LastRun(BaseModel):
    """The last run of a job on a piece of work."""

    name: str
    piece: str
    outcome: Outcome
    started: Time
    ended: Time | None
    note: str
    counts: dict[str, Any]


class NextRun(BaseModel):
    """When a daemon runs a job next."""

    name: str
    next: str


class StatusDocument(BaseModel):
    """What the pipeline has done, and when it runs next."""

    store: str
    domain: str
    lake: LakeDocument
    sampled_days: int
    last_scored: str | None
    models: dict[str, str]
    jobs: list[LastRun]
    next: list[NextRun]
    watches: dict[str, dict[str, Any]]
    claims: list[ClaimDocument]


class JobQuery(Asked):
    """Which jobs."""

    name: Text | None = Field(None, description="Of this name, such as train.")
    outcome: Outcome | None = Field(None, description="That ended so, or run still.")
    limit: int = Field(50, ge=1, le=1000, description="Most that are given.")
    after: int | None = Field(None, ge=0, le=2**62, description="Go on behind this one: `next` of the page before.")


class _Jobs:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def page(self, asked: Annotated[JobQuery, Query()]) -> dict[str, Any]:
        """List what was done, newest first, and what is being worked on."""
        found = self._parts.ledger.jobs(
            asked.name, asked.limit + 1, domain=self._parts.domain, outcome=asked.outcome, before=asked.after
        )
        shown, more = found[: asked.limit], len(found) > asked.limit
        return {
            "jobs": [job.to_dict() for job in shown],
            "running": held_claims(self._work()),
            "next": shown[-1].id if more else None,
        }

    def status(self, _: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Show the lake's days, the models served, each job's last run and its next, and the watches."""
        return status(self._work(), self._parts.home)

    def _work(self) -> Work:
        parts = self._parts
        return Work(
            store=parts.store,
            ledger=parts.ledger,
            verdict=parts.verdict,
            settings=parts.whole_settings,
            clock=parts.clock,
            owner=str(Process.here()),
        )


def routes(parts: Parts) -> APIRouter:
    """Return the routes of jobs."""
    router, here = APIRouter(prefix="/api/v1", tags=["jobs"], dependencies=[needs("read")]), _Jobs(parts)
    router.get("/jobs", summary="List jobs", response_model=JobPage)(here.page)
    router.get("/status", summary="Show the state of everything", response_model=StatusDocument)(here.status)
    return router
