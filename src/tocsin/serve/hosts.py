"""Hosts: who was how anomalous, and why. What is said of one is what `tocsin hosts --json` prints."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from tocsin.jobs.hosts import Ranking, ranking
from tocsin.records.finding import Severity
from tocsin.serve.asked import Asked, SomeTime, Time, ago
from tocsin.serve.auth import needs
from tocsin.serve.findings import ReasonDocument
from tocsin.serve.parts import Parts
from tocsin.serve.problems import Problem
from tocsin.verdict.severity import Cutoffs


class HostDocument(BaseModel):
    """How anomalous a host was over some days; `day` is its strongest, `findings` how many there are about it."""

    rank: int
    host: str
    raw: float | None
    score: float
    severity: Severity
    day: date
    days: int
    flows: int
    first: Time | None
    last: Time | None
    reasons: list[ReasonDocument]
    findings: int


class DayDocument(BaseModel):
    """How anomalous a host was on one day."""

    day: date
    raw: float | None
    score: float
    flows: int
    reasons: list[ReasonDocument]


class WholeHost(HostDocument):
    """A host with each day that it was seen on, oldest first."""

    by_day: list[DayDocument]


class HostList(BaseModel):
    """Hosts over some days, most anomalous first."""

    hosts: list[HostDocument]
    total: int
    days: list[date]


class DaysQuery(Asked):
    """Over which days."""

    since: SomeTime | None = Field(None, description="Days from this time on: 2025-01-08, RFC 3339, or 24h, 7d ago.")
    until: SomeTime | None = Field(None, description="Days up to this time.")
    days: int | None = Field(
        None, ge=1, le=36_500, description="The newest days that there are scores of; 7 when no range is given."
    )


class HostsQuery(DaysQuery):
    """Which hosts."""

    limit: int = Field(50, ge=1, le=1000, description="Most hosts that are given.")


class _Hosts:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def rank(self, asked: Annotated[HostsQuery, Query()]) -> dict[str, Any]:
        """Rank hosts by how anomalous they were, with why.

        A host's strongest day counts whole, its other days a fifth each. Days are those of the traffic.
        """
        ranked = self._ranking(asked)
        return {"hosts": ranked.documents(asked.limit), "total": len(ranked.hosts), "days": ranked.days}

    def show(self, host: Annotated[str, Path(max_length=255)], asked: Annotated[DaysQuery, Query()]) -> dict[str, Any]:
        """Show one host: its rank, why, and each day that it was seen on."""
        found = self._ranking(asked).whole_document(host)
        if found is None:
            remedy = "GET /api/v1/hosts lists those there are; `since`, `until` and `days` choose other days"
            raise Problem(
                404, detail=f"there are no scores of {host!r} on these days", field="path.host", remedy=remedy
            )
        return found

    def _ranking(self, asked: DaysQuery) -> Ranking:
        parts, now = self._parts, self._parts.clock.now()
        since, until = ago(asked.since, now, "query.since"), ago(asked.until, now, "query.until")
        cutoffs = Cutoffs.of(parts.whole_settings.verdict)
        return ranking(parts.store, parts.ledger, cutoffs, parts.domain, since=since, until=until, newest=asked.days)


def routes(parts: Parts) -> APIRouter:
    """Return the routes of hosts."""
    router, here = APIRouter(prefix="/api/v1", tags=["hosts"], dependencies=[needs("read")]), _Hosts(parts)
    router.get("/hosts", summary="Rank hosts", response_model=HostList)(here.rank)
    router.get("/hosts/{host}", summary="Show a host", response_model=WholeHost)(here.show)
    return router
