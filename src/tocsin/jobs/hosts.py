"""Hosts over a time range: the host score tables of several days made into one ranking."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from tocsin.jobs.lake import read_parquet
from tocsin.records.finding import Reason, rfc3339
from tocsin.store import Store
from tocsin.verdict.severity import Cutoffs

if TYPE_CHECKING:
    from tocsin.ledger.ledger import Ledger

OTHER_DAYS = 0.2
"""What a host's other days count beside its strongest: every host has a little evidence every day."""

USUAL_DAYS = 7
"""How many of the newest days are ranked where none are asked for."""

REASONS = 4

_NAME = re.compile(r"hosts-(\d{4}-\d{2}-\d{2})\.parquet$")


@dataclass(frozen=True)
class HostRank:
    """How anomalous a host was over some days.

    raw: its strongest day's raw score plus a fifth of the others'. score: its strongest day's, 0 to 100.
    day: the strongest day. days: on how many it was seen. flows: how many it had, where the tables say.
    """

    host: str
    raw: float
    score: float
    day: date
    days: int
    flows: int
    first: datetime | None
    last: datetime | None
    reasons: list[Reason] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, times as RFC 3339 text."""
        times = {key: rfc3339(time) if time else None for key, time in (("first", self.first), ("last", self.last))}
        return vars(self) | times | {"day": self.day.isoformat(), "reasons": [vars(each) for each in self.reasons]}


@dataclass(frozen=True)
class Ranking:
    """Hosts over some days, most anomalous first.

    days: those that were chosen. stored: all that there are scores of. rows: what the tables say of each host and day.
    findings: in sight about each host on the days.
    """

    days: list[date]
    stored: list[date]
    hosts: list[HostRank]
    rows: dict[str, dict[date, dict[str, Any]]]
    findings: Counter[str]
    cutoffs: Cutoffs

    def documents(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the first hosts as plain values, with rank, severity and how many findings there are about each."""
        return [self.document(number) for number in range(1, len(self.hosts[:limit]) + 1)]

    def document(self, number: int) -> dict[str, Any]:
        """Return the host of a rank, from 1, as plain values."""
        rank = self.hosts[number - 1]
        more = {"severity": self.cutoffs.severity(rank.score), "findings": self.findings[rank.host]}
        return {"rank": number} | rank.to_dict() | more

    def whole_document(self, host: str) -> dict[str, Any] | None:
        """Return one host as plain values, with the days that it was seen on, oldest first; None when it was not."""
        number = next((number for number, rank in enumerate(self.hosts, 1) if rank.host == host), None)
        if number is None:
            return None
        return self.document(number) | {"by_day": [_day(day, row) for day, row in self.rows[host].items()]}


def ranking(
    store: Store,
    ledger: "Ledger",
    cutoffs: Cutoffs,
    domain: str,
    *,
    since: datetime | None,
    until: datetime | None,
    newest: int | None,
) -> Ranking:
    """Rank a domain's hosts over the days within a range; the newest seven where neither range nor number is given.

    Raises StoreError, LedgerError.
    """
    paths = host_days(store, domain)
    first, last = (moment.date() if moment else None for moment in (since, until))
    wanted = newest or (None if since or until else USUAL_DAYS)
    days = choose_days(paths, since=first, until=last, newest=wanted)
    rows = read_hosts(store, {day: paths[day] for day in days})
    return Ranking(days, list(paths), rank_hosts(rows), rows, _findings(ledger, domain, days), cutoffs)


def _findings(ledger: "Ledger", domain: str, days: list[date]) -> Counter[str]:
    """Count the findings in sight about each entity on these days."""
    if not days:
        return Counter()
    start = datetime.combine(days[0], time(), UTC)
    end = datetime.combine(days[-1], time(), UTC) + timedelta(days=1)
    found = ledger.findings(domain=domain, since=start, until=end, limit=None)
    return Counter(finding.entity for finding in found)


def host_days(store: Store, domain: str) -> dict[date, list[str]]:
    """Return the days that have host scores, oldest first, and their objects."""
    found: dict[date, list[str]] = {}
    for info in store.list(f"{domain}/score/hosts/"):
        name = _NAME.search(info.path)
        if name is not None:
            found.setdefault(date.fromisoformat(name[1]), []).append(info.path)
    return dict(sorted(found.items()))


def choose_days(days: Iterable[date], *, since: date | None, until: date | None, newest: int | None) -> list[date]:
    """Return the days within a range, both ends included; of these those less than `newest` days before the last."""
    chosen = sorted(day for day in days if (since is None or day >= since) and (until is None or day <= until))
    if newest is None or not chosen:
        return chosen
    return [day for day in chosen if day > chosen[-1] - timedelta(days=newest)]


def read_hosts(store: Store, paths: dict[date, list[str]]) -> dict[str, dict[date, dict[str, Any]]]:
    """Return each host's row of each of these days, oldest first.

    A table holds host, raw, score, and where it has them reasons, flows, first and last.
    """
    by_host: dict[str, dict[date, dict[str, Any]]] = {}
    for day, objects in sorted(paths.items()):
        for path in objects:
            for row in read_parquet(store, path).to_pylist():
                known = by_host.setdefault(row["host"], {})
                # Instances limited to protocols write a table each; of a day the stronger one counts.
                if day not in known or row["raw"] > known[day]["raw"]:
                    known[day] = row
    return by_host


def rank_hosts(by_host: dict[str, dict[date, dict[str, Any]]]) -> list[HostRank]:
    """Return hosts by their rows of each day, most anomalous first."""
    ranked = [combine(host, list(rows.items())) for host, rows in by_host.items()]
    return sorted(ranked, key=lambda rank: (-rank.raw, rank.host))


def combine(host: str, rows: list[tuple[date, dict[str, Any]]]) -> HostRank:
    """Return one host's days as one: the strongest counts whole, the others a fifth, so that no quiet week adds up."""
    ordered = sorted(rows, key=lambda item: (-item[1]["raw"], item[0]))
    day, strongest = ordered[0]
    firsts = [row["first"] for _, row in rows if row.get("first") is not None]
    lasts = [row["last"] for _, row in rows if row.get("last") is not None]
    return HostRank(
        host=host,
        raw=strongest["raw"] + OTHER_DAYS * sum(max(row["raw"], 0.0) for _, row in ordered[1:]),
        score=max(row["score"] for _, row in rows),
        day=day,
        days=len({day for day, _ in rows}),
        flows=sum(row.get("flows") or 0 for _, row in rows),
        first=min(firsts, default=None),
        last=max(lasts, default=None),
        reasons=_reasons(strongest),
    )


def _day(day: date, row: dict[str, Any]) -> dict[str, Any]:
    """Return what a table says of a host on a day, as plain values."""
    reasons = [vars(each) for each in _reasons(row)]
    flows = row.get("flows") or 0
    return {"day": day.isoformat(), "raw": row["raw"], "score": row["score"], "flows": flows, "reasons": reasons}


def _reasons(row: dict[str, Any]) -> list[Reason]:
    names = ("field", "seen", "expected", "share")
    reasons = [Reason(**{name: reason[name] for name in names}) for reason in row.get("reasons") or []]
    return sorted(reasons, key=lambda reason: -reason.share)[:REASONS]
