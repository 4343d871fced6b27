"""Sampling: a seeded share of each day's flows becomes the baseline that models learn from.

Bernoulli, row by row: a flow is kept when the hash of its id, keyed by date and protocol, falls below the share.
Which rows are kept depends on nothing else: not on the order of files, their batches, the machine or the time.
"""

import logging
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.errors import NotFoundError
from tocsin.jobs.claims import Claim
from tocsin.jobs.lake import digest, lake_days, read_objects, read_parquet, window, write_parquet
from tocsin.jobs.scores import high_flows
from tocsin.jobs.work import ELSEWHERE, Done, Work
from tocsin.records.finding import Finding
from tocsin.records.keys import hash_text, matches
from tocsin.store import ObjectInfo, Store, read_json, update_json

log = logging.getLogger(__name__)

STATE_FORMAT = 1


def state_path(domain: str) -> str:
    """Return where it is kept which dates were sampled."""
    return f"{domain}/sample/.state.json"


def sample_path(domain: str, proto: str, day: date) -> str:
    """Return the object with one protocol's sample of one day."""
    return f"{domain}/sample/{proto}/sample-{day.isoformat()}.parquet"


def sample_days(work: Work, *, dates: list[date] | None = None, before: date | None = None) -> Done:
    """Sample every day of the lake within retention that is not sampled yet, or whose files have changed since.

    `dates` limits it to these days (and samples them again); `before` leaves out that day and later ones.
    """
    done = Done("sample")
    days = lake_days(work.store, work.domain)
    retained = window(days, work.settings.sampling.retention_days, work.clock.now())
    for day in days:
        if day > retained[-1]:
            done.notes.append(f"{day}: lies in the future and is left out; look at the sensor's clock")
    for day in dates or []:
        if day not in days:
            done.notes.append(f"{day}: the lake has no flows of this day")
    wanted = [day for day in days if (day in dates if dates else day in retained) and (before is None or day < before)]
    for number, day in enumerate(wanted):
        if work.stop.is_set():
            break
        work.progress("sample", number, len(wanted))
        if not dates and not _stale(work, day, days[day]):
            continue
        with work.claim(f"sample-{day.isoformat()}-{work.part}") as held:
            if held is None:
                done.count(ELSEWHERE, 1)
                done.notes.append(f"{day}: another instance is sampling it")
            elif dates or _stale(work, day, days[day]):
                _sample_day(work, day, days[day], done, held)
    work.progress("sample", len(wanted), len(wanted))
    _expire(work, retained, done)
    return done


def clear_samples(work: Work) -> Done:
    """Forget every sample of the protocols worked on, and that they were made."""
    done = Done("sample")
    for info in work.store.list(f"{work.domain}/sample/"):
        parts = info.path.removeprefix(f"{work.domain}/sample/").split("/")
        if len(parts) == 2 and work.wants(parts[0]):
            work.store.delete(info.path)
            done.count("samples removed", 1)

    def forget(state: dict[str, Any]) -> dict[str, Any]:
        for protocols in state.get("dates", {}).values():
            for proto in [name for name in protocols["protocols"] if work.wants(name)]:
                del protocols["protocols"][proto]
            protocols["inputs"] = {
                key: value for key, value in protocols["inputs"].items() if work.protocols and key != "all"
            }
        return state

    update_json(work.store, state_path(work.domain), forget)
    return done


def sampled(store: Store, domain: str, proto: str | None = None) -> dict[date, dict[str, Any]]:
    """Return what was sampled, by date: {proto: {rows, sampled, excluded}}, oldest first."""
    state, _ = read_json(store, state_path(domain))
    dates = {date.fromisoformat(key): value["protocols"] for key, value in (state or {}).get("dates", {}).items()}
    return {day: protocols for day, protocols in sorted(dates.items()) if (proto in protocols if proto else protocols)}


def read_samples(store: Store, domain: str, proto: str, days: list[date]) -> Iterator[pa.Table]:
    """Yield one protocol's samples of these days, a table a day."""
    for day in days:
        try:
            yield read_parquet(store, sample_path(domain, proto, day))
        except NotFoundError:
            continue


class ProtocolSample:
    """One protocol's sample of one day, row by row.

    A row is kept where hash(date and protocol, flow id) / 2^64 is below the share. The share is `percent`, or more on a
    day with few rows: so much that about `small_day_rows` are kept. So rows are held until it is clear that there are
    many.
    """

    def __init__(self, day: date, proto: str, *, percent: float, small_day_rows: int) -> None:
        self._key = f"{day.isoformat()}/{proto}"
        self._percent = percent
        self._small = small_day_rows
        self._held: list[tuple[pa.Table, np.ndarray, np.ndarray]] = []
        self._pruned = 0
        self.rows = 0
        self.excluded = 0

    def add(self, rows: pa.Table, outside: np.ndarray) -> None:
        """Take rows of this protocol and day; those marked `outside`, (n,) bool, never become part of the sample."""
        self._held.append((rows, hash_text(rows.column("flowid"), self._key), outside))
        self.rows += rows.num_rows
        if self.rows * self._percent > self._small * 100:
            self._held[self._pruned :] = [_below(item, self._percent) for item in self._held[self._pruned :]]
            self._pruned = len(self._held)

    def result(self) -> pa.Table:
        """Return the sample, and count in `excluded` what was chosen and left out."""
        percent = self.percent()
        chosen = [_below(item, percent) for item in self._held]
        self.excluded = sum(int(outside.sum()) for _, _, outside in chosen)
        return pa.concat_tables(
            [rows.filter(pa.array(~outside)) for rows, _, outside in chosen], promote_options="permissive"
        )

    def percent(self) -> float:
        """Return the share that is kept, for so many rows as were taken."""
        return min(100.0, max(self._percent, 100 * self._small / max(self.rows, 1)))


def _below(held: tuple[pa.Table, np.ndarray, np.ndarray], percent: float) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    if percent >= 100:
        return held
    rows, hashes, outside = held
    chosen = hashes < np.uint64(int(percent / 100 * 2**64))
    return rows.filter(pa.array(chosen)), hashes[chosen], outside[chosen]


def _stale(work: Work, day: date, objects: list[ObjectInfo]) -> bool:
    state, _ = read_json(work.store, state_path(work.domain))
    entry = (state or {}).get("dates", {}).get(day.isoformat())
    if entry is None:
        return True
    present = digest(objects)
    return not any(entry["inputs"].get(key) == present for key in ("all", work.part))


def _sample_day(work: Work, day: date, objects: list[ObjectInfo], done: Done, held: Claim) -> None:
    settings, begun = work.settings.sampling, work.clock.monotonic()
    log.debug("sampling %s", day, extra={"objects": len(objects)})
    excluded = _Excluded(work, day)
    samples: dict[str, ProtocolSample] = {}
    for batch in read_objects(work.store, objects):
        held.renew()
        outside = excluded.mask(batch)
        for proto in pc.unique(batch.column("proto")).to_pylist():
            if proto is None or not work.wants(proto):
                continue
            if proto not in samples:
                samples[proto] = ProtocolSample(
                    day, proto, percent=settings.sample_percent, small_day_rows=settings.small_day_rows
                )
            of_proto = pc.fill_null(pc.equal(batch.column("proto"), proto), fill_value=False)
            samples[proto].add(batch.filter(of_proto), outside[np.asarray(of_proto)])
    held.renew()
    entry = {}
    for proto, sample in samples.items():
        table = sample.result()
        work.store.put(sample_path(work.domain, proto, day), write_parquet(table))
        entry[proto] = {
            "rows": sample.rows,
            "sampled": table.num_rows,
            "excluded": sample.excluded,
            "percent": round(sample.percent(), 4),
        }
        log.debug("sampled %s of %s", proto, day, extra=entry[proto])
        done.count("flows seen", sample.rows)
        done.count("flows sampled", table.num_rows)
        done.count("flows left out", sample.excluded)
    done.days.append(day)
    _record(work, day, entry, digest(objects))
    log.debug("sampled %s", day, extra={"seconds": round(work.clock.monotonic() - begun, 2)})


def _record(work: Work, day: date, entry: dict[str, Any], inputs: str) -> None:
    def add(state: dict[str, Any]) -> dict[str, Any]:
        dates = state.setdefault("dates", {})
        state["format"] = STATE_FORMAT
        known = dates.setdefault(day.isoformat(), {"inputs": {}, "protocols": {}})
        known["inputs"][work.part] = inputs
        known["protocols"].update(entry)
        known["sampled_at"] = work.clock.now().isoformat()
        return state

    update_json(work.store, state_path(work.domain), add)


def _expire(work: Work, retained: list[date], done: Done) -> None:
    """Roll the retention window on: older samples go, and with them the note that they were made."""
    if not retained:
        return
    old = [day for day in sampled(work.store, work.domain) if day < retained[0] or day > retained[-1]]
    if not old:
        return
    for info in work.store.list(f"{work.domain}/sample/"):
        stem = info.path.rsplit("/sample-", 1)[-1].removesuffix(".parquet")
        if stem in {day.isoformat() for day in old}:
            work.store.delete(info.path)
            done.count("samples expired", 1)

    def drop(state: dict[str, Any]) -> dict[str, Any]:
        for day in old:
            state.get("dates", {}).pop(day.isoformat(), None)
        return state

    update_json(work.store, state_path(work.domain), drop)


class _Excluded:
    """Finds the rows behind a day's findings of high severity, so that attacks do not become normal.

    A finding's scope and time range select them. Of a host with unusual flows only those flows are left out.
    """

    def __init__(self, work: Work, day: date) -> None:
        least = work.settings.sampling.exclude_severity
        findings = [] if least == "none" else work.ledger.findings_scopes(work.domain, day, least)
        real = [item for item in findings if item.state != "false_positive"]
        self._whole = [item for item in real if item.scope and item.detector != "outlier"]
        unusual = [item.entity for item in real if item.detector == "outlier"]
        self._flowids = high_flows(work, day, unusual) if unusual else None

    def mask(self, batch: pa.Table) -> np.ndarray:
        """Return which rows stay out, (n,) bool."""
        outside = np.zeros(batch.num_rows, bool)
        for finding in self._whole:
            outside |= matches(batch, finding.scope) & _during(batch, finding)
        if self._flowids is not None:
            unusual = pc.is_in(batch.column("flowid"), value_set=self._flowids)
            outside |= np.asarray(pc.fill_null(unusual, fill_value=False))
        return outside


def _during(batch: pa.Table, finding: Finding) -> np.ndarray:
    if "stime" not in batch.column_names:
        return np.ones(batch.num_rows, bool)
    started = batch.column("stime")
    after = pc.greater_equal(started, pa.scalar(finding.start, started.type))
    before = pc.less_equal(started, pa.scalar(finding.end, started.type))
    return np.asarray(pc.fill_null(pc.and_(after, before), fill_value=False))
