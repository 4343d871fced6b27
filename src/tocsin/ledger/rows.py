"""Rows of the ledger as plain values: labels, jobs, budgets; and findings to rows and back."""

from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Literal

import sqlalchemy as sa

from tocsin.ledger.database import clean
from tocsin.records.finding import Finding, Reason, rfc3339
from tocsin.records.suppression import Suppression

Outcome = Literal["running", "ok", "failed", "skipped", "stopped", "abandoned"]


@dataclass(frozen=True)
class Label:
    """What somebody said about a finding."""

    id: int
    finding_id: str
    state: str
    who: str
    note: str
    at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, times as RFC 3339 text."""
        return _plain(self)


@dataclass(frozen=True)
class Job:
    """One run of a job on a piece of work (a date, a protocol); counts are the job's own figures."""

    id: int
    name: str
    domain: str
    piece: str
    owner: str
    outcome: Outcome
    started: datetime
    finished: datetime | None
    note: str
    counts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, times as RFC 3339 text."""
        return _plain(self)


@dataclass(frozen=True)
class Budget:
    """How many findings of a detector the noise budget kept out on a day."""

    domain: str
    detector: str
    day: date
    dropped: int


def finding_row(finding: Finding) -> dict[str, Any]:
    """Return a finding as values of its table's columns."""
    row = {item.name: getattr(finding, item.name) for item in fields(Finding)}
    row["reasons"] = [clean(vars(reason)) for reason in finding.reasons]
    row["records"] = [_texts(record) for record in finding.records]
    row["scope"] = _texts(finding.scope)
    row["raw"], row["score"] = float(finding.raw), float(finding.score)
    return {key: clean(value) if isinstance(value, str) else value for key, value in row.items()}


def to_finding(row: sa.RowMapping) -> Finding:
    """Return a row as a finding."""
    values: dict[str, Any] = dict(row)
    values["reasons"] = [Reason(**reason) for reason in values["reasons"]]
    return Finding(**values)


def to_suppression(row: sa.RowMapping) -> Suppression:
    """Return a row as a suppression rule."""
    return Suppression(**row)


def _texts(record: dict[str, Any]) -> dict[str, Any]:
    return {key: rfc3339(value) if isinstance(value, datetime) else value for key, value in record.items()}


def _plain(item: Any) -> dict[str, Any]:
    return {key: rfc3339(value) if isinstance(value, datetime) else value for key, value in vars(item).items()}
