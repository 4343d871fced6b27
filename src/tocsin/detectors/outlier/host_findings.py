"""From the hosts' scores to what is proposed as findings, with the flows behind each, and the table of hosts."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.detector import Scored
from tocsin.detectors.outlier.behaviours import ADMIN_PORTS, BY_NAME, NAMES
from tocsin.detectors.outlier.host_words import Activity, reasons, seen, subject, title
from tocsin.detectors.outlier.population import host_score
from tocsin.records.finding import Candidate, Reason
from tocsin.records.keys import matches

if TYPE_CHECKING:
    from tocsin.detectors.outlier.hosts import HostDetector

LEAST_SCORE = 90.0
"""Behaviours that score lower are not proposed."""

MOST_RECORDS = 20

ONE_FINDING = ("address-scan", "port-scan", "lateral-movement", "mail-fan-out")
"""Behaviours that spread over many peers or ports: all a host did of one is one finding."""

HOSTS = pa.schema([
    ("day", pa.date32()), ("host", pa.string()), ("ours", pa.bool_()),
    ("raw", pa.float64()), ("score", pa.float64()),
    ("reasons", pa.list_(pa.struct([
        ("field", pa.string()), ("seen", pa.string()), ("expected", pa.string()), ("share", pa.float64()),
    ]))),
    ("flows", pa.int64()), ("first", pa.timestamp("us", tz="UTC")), ("last", pa.timestamp("us", tz="UTC")),
])  # fmt: skip
"""One row a host and day; `raw` is evidence in bits, by which hosts are ranked."""


def host_table(detector: "HostDetector", profile: pa.Table, scored: Scored) -> pa.Table:
    """Return the hosts of a profile with score and reasons, the most unusual first; see HOSTS."""
    score = host_score(scored.raw, detector.tests(profile))
    rows = []
    for i, activities in enumerate(profile.column("activities").to_pylist()):
        best: dict[str, Activity] = {}
        for activity in activities or []:
            best.setdefault(activity["behaviour"], activity)
        rows.append([vars(reason) for reason in _host_reasons(scored, i, best)])
    columns = {
        **{name: profile.column(name) for name in ("day", "host", "ours", "flows", "first", "last")},
        "raw": pa.array(scored.raw),
        "score": pa.array(score),
        "reasons": pa.array(rows, HOSTS.field("reasons").type),
    }
    table = pa.table([columns[field.name] for field in HOSTS], schema=HOSTS)
    return table.sort_by([("raw", "descending"), ("host", "ascending")])


def _host_reasons(scored: Scored, row: int, best: dict[str, Activity]) -> list[Reason]:
    found = []
    for place, share in zip(scored.reason_field[row], scored.reason_share[row], strict=True):
        name = scored.fields[place] if place >= 0 else ""
        if name in best and share > 0:
            found.append(Reason(name, seen(best[name]), BY_NAME[name].expected, round(float(share), 3)))
    return found


def candidates(detector: "HostDetector", profile: pa.Table, scored: Scored) -> list[Candidate]:
    """Return what is proposed about the hosts of a profile, without records; highest score first.

    A finding is about one behaviour of a host: one for all its targets where the behaviour spreads, else one a target.
    Its score is that of the behaviour's own evidence, among hosts of its kind (ours, or not).
    """
    strength = detector.evidence(profile)
    tests = detector.tests(profile)
    least = np.flatnonzero((host_score(strength.T, tests).T >= LEAST_SCORE).any(axis=1))
    found: list[Candidate] = []
    for i in least:
        row = profile.slice(int(i), 1).to_pylist()[0]
        for name in NAMES:
            column = NAMES.index(name)
            if row[name] <= 0 or host_score(strength[i, column], tests[i]) < LEAST_SCORE:
                continue
            others = _others(profile, row, name)
            mine = [activity for activity in row["activities"] if activity["behaviour"] == name]
            groups = _groups(name, mine, strength[i, column], tests[i])
            found += [_candidate(row, group, strength[i, column], tests[i], others) for group in groups]
    return sorted(found, key=lambda item: (-item.score, -item.raw, item.entity, item.kind, item.about))


def evidence(flows: Iterable[pa.Table], found: list[Candidate]) -> list[Candidate]:
    """Return the candidates with up to 20 of the flows behind each, reading the flows once, until all have theirs."""
    records: list[list[dict[str, Any]]] = [[] for _ in found]
    entities = pa.array(sorted({item.entity for item in found}), pa.string())
    for batch in flows if found else ():
        mine = batch.filter(pc.is_in(batch.column("saddr").cast(pa.string()), value_set=entities))
        for item, kept in zip(found, records, strict=True):
            if mine.num_rows and len(kept) < MOST_RECORDS:
                chosen = np.flatnonzero(matches(mine, item.scope))[: MOST_RECORDS - len(kept)]
                kept += [_present(row) for row in mine.take(pa.array(chosen)).to_pylist()]
        if all(len(kept) >= min(MOST_RECORDS, item.record_count) for item, kept in zip(found, records, strict=True)):
            break
    return [replace(item, records=kept) for item, kept in zip(found, records, strict=True)]


def _groups(name: str, activities: list[Activity], strength: float, tests: float) -> list[list[Activity]]:
    """Group activities into findings; weaker ones of the same behaviour have evidence in proportion to their bits."""
    top = activities[0]["bits"]
    strong = [one for one in activities if host_score(strength * one["bits"] / top, tests) >= LEAST_SCORE]
    if name in ONE_FINDING:
        return [strong]
    if name == "brute-force":
        by_port: dict[int, list[Activity]] = {}
        for one in strong:
            by_port.setdefault(one["dport"], []).append(one)
        return list(by_port.values())
    return [[one] for one in strong]


def _others(profile: pa.Table, row: dict[str, Any], name: str) -> tuple[int, int]:
    """Return how many other hosts of a host's kind there were, and how many did as much."""
    alike = pc.and_(pc.equal(profile.column("ours"), row["ours"]), pc.greater_equal(profile.column(name), row[name]))
    return max(0, row["population"] - 1), max(0, int(pc.sum(alike).as_py() or 0) - 1)


def _candidate(
    row: dict[str, Any], activities: list[Activity], strength: float, tests: float, others: tuple[int, int]
) -> Candidate:
    first = activities[0]
    raw = float(strength * first["bits"] / row[first["behaviour"]])
    spread = first["behaviour"] in ONE_FINDING
    return Candidate(
        detector="hosts",
        kind=first["behaviour"],
        entity=row["host"],
        start=min(one["first"] for one in activities),
        end=max(one["last"] for one in activities),
        raw=raw,
        score=float(host_score(np.float64(raw), tests)),
        title=title(row["host"], activities),
        reasons=reasons(first, itself=min(1.0, first["bits"] / max(raw, 1e-9)), others=others[0], as_much=others[1]),
        record_count=sum(one["flows"] for one in activities),
        scope=_scope(row["host"], activities),
        about="" if spread else _about(activities),
        model=f"profile-{row['day'].isoformat()}",
    )


def _about(activities: list[Activity]) -> str:
    first = activities[0]
    return subject(first) if len(activities) == 1 else f"{first['proto']}/{first['dport']}"


def _scope(host: str, activities: list[Activity]) -> dict[str, Any]:
    scope: dict[str, Any] = {"saddr": host}
    for name in ("daddr", "dport", "proto"):
        values = sorted({one[name] for one in activities}, key=str)
        # The port of ICMP is its code, which the profile does not keep.
        if None in values or (name == "dport" and any("icmp" in one["proto"] for one in activities)):
            continue
        scope[name] = values[0] if len(values) == 1 else values
    if activities[0]["behaviour"] == "lateral-movement":
        scope["dport"] = list(ADMIN_PORTS)
    return scope


def _present(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None}
