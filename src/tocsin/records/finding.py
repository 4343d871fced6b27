"""The finding: something worth a person's look, with why.

A detector's proposal is a `Candidate`; the verdict makes it a `Finding`, or not.
"""

import hashlib
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

FINDING_FORMAT = 1

Severity = Literal["info", "low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "low", "medium", "high", "critical")

State = Literal["new", "acknowledged", "in_progress", "true_positive", "false_positive", "closed"]
NOISE_BUDGET = "noise-budget"
"""What stands in `suppressed_by` of a finding that had to give way to higher scores of its day."""

STATES: tuple[State, ...] = ("new", "acknowledged", "in_progress", "true_positive", "false_positive", "closed")


@dataclass(frozen=True)
class Reason:
    """One part of why: which field, what was seen, what was expected, and its share of the score, 0 to 1."""

    field: str
    seen: str
    expected: str
    share: float


@dataclass(frozen=True)
class Candidate:
    """What a detector proposes about an entity, for the verdict to judge.

    kind: short term of what was seen: unusual-flows, address-scan, port-scan, brute-force, beacon, exfiltration, …
    entity: whom it is about, an address or a name.
    start, end: the time range of the records behind it, UTC.
    raw: the detector's own scale. score: 0 to 100, calibrated.
    reasons: most important first. records: up to 20 of the records behind it, as plain values.
    record_count: how many records are behind it in all.
    scope: which records those are, as column -> value (equality), to find them again and keep them out of samples.
    about: what else makes it a finding of its own (a peer, a port); part of its id.
    explicit: it passed a threshold that the user set. Such a candidate needs no warm-up, has no noise budget, and is
        delivered again when its score rises; `about` says its time, so that the day is no part of its id. All of a
        detector's candidates are explicit, or none. Findings do not keep it.
    """

    detector: str
    kind: str
    entity: str
    start: datetime
    end: datetime
    raw: float
    score: float
    title: str
    reasons: list[Reason] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    record_count: int = 0
    scope: dict[str, Any] = field(default_factory=dict)
    about: str = ""
    model: str = ""
    explicit: bool = False


@dataclass(frozen=True)
class Finding:
    """A judged candidate, as the ledger keeps it and sinks deliver it.

    count: how many times it was seen (de-duplicated into this one). suppressed_by: the rule that hides it, or ''.
    """

    id: str
    domain: str
    detector: str
    kind: str
    entity: str
    start: datetime
    end: datetime
    raw: float
    score: float
    severity: Severity
    title: str
    reasons: list[Reason]
    records: list[dict[str, Any]]
    record_count: int
    scope: dict[str, Any]
    about: str
    model: str
    state: State
    count: int
    suppressed_by: str
    created: datetime
    updated: datetime
    format: int = FINDING_FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, times as RFC 3339 text: what `--json`, sinks and the API give."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def finding_id(domain: str, candidate: Candidate) -> str:
    """Return the id of what a candidate is about: domain, detector, kind, entity, day and subject, and nothing else.

    An explicit candidate's day is left out: its subject says the window, whatever part of it its records fill.
    """
    day = "" if candidate.explicit else candidate.start.date().isoformat()
    subject = "\x1f".join((domain, candidate.detector, candidate.kind, candidate.entity, day, candidate.about))
    return hashlib.blake2b(subject.encode(), digest_size=10).hexdigest()


def rfc3339(time: datetime) -> str:
    """Write a time as RFC 3339 in UTC with a Z."""
    return time.isoformat().replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
