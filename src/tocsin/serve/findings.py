"""Findings: list, show, label. What is said of one is what `tocsin findings … --json` prints."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from tocsin.ledger.documents import finding_document
from tocsin.ledger.ledger import Filters
from tocsin.records.finding import Finding, Severity, State
from tocsin.serve.asked import Asked, Nothing, Page, SomeTime, Text, Time, ago
from tocsin.serve.auth import ANYONE, Caller, needs, who
from tocsin.serve.parts import Parts
from tocsin.serve.problems import Problem

FindingId = Annotated[str, Path(max_length=64, description="Its whole id.")]


class ReasonDocument(BaseModel):
    """One part of why: the field, what was seen, what was expected, its share of the score."""

    field: str
    seen: str
    expected: str
    share: float | None


class FindingDocument(BaseModel):
    """A finding, with why and some of the records behind it."""

    id: str
    domain: str
    detector: str
    kind: str
    entity: str
    start: Time
    end: Time
    raw: float | None
    score: float
    severity: Severity
    title: str
    reasons: list[ReasonDocument]
    records: list[dict[str, Any]]
    record_count: int
    scope: dict[str, Any]
    about: str
    model: str
    state: State
    count: int
    suppressed_by: str
    created: Time
    updated: Time
    format: int


class LabelDocument(BaseModel):
    """What somebody said about a finding."""

    id: int
    finding_id: str
    state: State
    who: str
    note: str
    at: Time


class WholeFinding(FindingDocument):
    """A finding with what was said about it, oldest first."""

    labels: list[LabelDocument]


class FindingPage(BaseModel):
    """A page of findings; `next` is what to give as `after` for the one behind it."""

    findings: list[FindingDocument]
    total: int
    next: str | None


class FindingQuery(Page):
    """Which findings, in which order."""

    since: SomeTime | None = Field(None, description="From this time on: 2025-01-08, RFC 3339, or 24h, 7d ago.")
    until: SomeTime | None = Field(None, description="Before this time.")
    entity: Text | None = Field(None, description="About this entity.")
    detector: Text | None = Field(None, description="By this detector.")
    kind: Text | None = Field(None, description="Of this kind, such as beacon.")
    min_severity: Severity | None = Field(None, description="Of this severity or above.")
    state: State | None = Field(None, description="In this state.")
    all: Annotated[bool, Field(description="Hidden ones too: suppressed, or over the noise budget.")] = False
    order: Literal["time", "score"] = Field("time", description="What is first: the newest, or the highest score.")


class Said(Asked):
    """What somebody says about a finding."""

    state: State
    note: str = Field("", max_length=10_000, description="Why.")
    who: Text = Field("", description="Who says so, where the service asks nobody for a key; else the caller.")


class _Findings:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._ledger = parts.ledger

    def page(self, asked: Annotated[FindingQuery, Query()]) -> dict[str, Any]:
        """List findings, newest first."""
        self._parts.verdict.expire()
        filters = self._filters(asked)
        after = self._one(asked.after, field="query.after") if asked.after is not None else None
        found = self._ledger.findings(limit=asked.limit + 1, order=asked.order, after=after, **filters)
        shown, more = found[: asked.limit], len(found) > asked.limit
        return {
            "findings": [finding.to_dict() for finding in shown],
            "total": self._ledger.count_findings(**filters),
            "next": shown[-1].id if more else None,
        }

    def show(self, finding_id: FindingId, _: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Show one finding: why, the records behind it, and what was said about it."""
        finding = self._one(finding_id)
        return finding_document(finding, self._ledger.labels(finding.id))

    def label(
        self, finding_id: FindingId, said: Said, request: Request, _: Annotated[Nothing, Query()]
    ) -> dict[str, Any]:
        """Say what a finding is; who said it, and when, is kept."""
        finding, caller = self._one(finding_id), who(request)
        by = _speaker(said, caller)
        return self._ledger.label(finding.id, said.state, who=by, note=said.note).to_dict()

    def _one(self, finding_id: str, field: str = "path.finding_id") -> Finding:
        found = self._ledger.findings_by_id([finding_id]).get(finding_id)
        if found is None or found.domain != self._parts.domain:
            status = 404 if field.startswith("path.") else 422
            detail = f"there is no finding {finding_id!r}"
            raise Problem(status, detail=detail, field=field, remedy="GET /api/v1/findings lists those there are")
        return found

    def _filters(self, asked: FindingQuery) -> Filters:
        now = self._parts.clock.now()
        return Filters(
            domain=self._parts.domain,
            since=ago(asked.since, now, "query.since"),
            until=ago(asked.until, now, "query.until"),
            entity=asked.entity,
            detector=asked.detector,
            kind=asked.kind,
            min_severity=asked.min_severity,
            state=asked.state,
            include_suppressed=asked.all,
        )


def _speaker(said: Said, caller: Caller) -> str:
    """Return who says it: whoever the request names, unless the caller is known."""
    if caller is ANYONE:
        return said.who or caller.name
    if said.who not in ("", caller.name):
        raise Problem(403, detail=f"{caller.name!r} cannot speak for {said.who!r}", field="who", remedy="leave it out")
    return caller.name


def routes(parts: Parts) -> APIRouter:
    """Return the routes of findings."""
    router, here = APIRouter(prefix="/api/v1", tags=["findings"]), _Findings(parts)
    read, write = [needs("read")], [needs("write")]
    router.get("/findings", summary="List findings", response_model=FindingPage, dependencies=read)(here.page)
    one = "/findings/{finding_id}"
    router.get(one, summary="Show a finding", response_model=WholeFinding, dependencies=read)(here.show)
    label = router.post(
        f"{one}/label", summary="Say what a finding is", response_model=FindingDocument, dependencies=write
    )
    label(here.label)
    return router
