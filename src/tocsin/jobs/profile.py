"""Profiles: what each host did in a day, how unlike the others and itself that is, and the findings about it.

Needs no model and goes first, so that what it finds stays out of the samples that models learn from. A day is compared
with the profiles of the days before it (as it would have been live) and with the other hosts of the same day.
"""

import logging
import tempfile
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.detectors.outlier.host_findings import candidates, evidence, host_table
from tocsin.detectors.outlier.hosts import HostDetector
from tocsin.detectors.outlier.profiles import COLUMNS, profile_day
from tocsin.errors import ModelError, NotFoundError
from tocsin.jobs.lake import digest, lake_days, read_objects, read_parquet, window, write_parquet
from tocsin.jobs.work import ELSEWHERE, Done, Work
from tocsin.records.sql import connect
from tocsin.store import ObjectInfo, read_json, update_json

log = logging.getLogger(__name__)

STATE_FORMAT = 1


def state_path(domain: str) -> str:
    """Return where it is kept which days were profiled."""
    return f"{domain}/profile/.state.json"


def profile_path(work: Work, day: date) -> str:
    """Return the object with what each host did in a day."""
    return f"{work.domain}/profile/{work.part}/profile-{day.isoformat()}.parquet"


def hosts_path(work: Work, day: date) -> str:
    """Return the object with each host's score of a day."""
    return f"{work.domain}/score/hosts/{work.part}/hosts-{day.isoformat()}.parquet"


def profile_days(work: Work, *, before: date | None = None) -> Done:
    """Profile every day of the lake within retention that is new or whose files have changed, oldest first."""
    done = Done("profile")
    days = lake_days(work.store, work.domain)
    retained = window(days, work.settings.scoring.retention_days, work.clock.now())
    wanted = [day for day in retained if (before is None or day < before) and _stale(work, day, days[day])]
    for number, day in enumerate(wanted):
        if work.stop.is_set():
            break
        work.progress("profile", number, len(wanted))
        with work.claim(f"profile-{day.isoformat()}-{work.part}") as held:
            if held is None:
                done.count(ELSEWHERE, 1)
                done.notes.append(f"{day}: another instance is profiling it")
            elif _stale(work, day, days[day]):
                _profile(work, day, days[day], done)
    work.progress("profile", len(wanted), len(wanted))
    return done


def _stale(work: Work, day: date, objects: list[ObjectInfo]) -> bool:
    state, _ = read_json(work.store, state_path(work.domain))
    known = (state or {}).get("days", {}).get(day.isoformat(), {})
    return bool(known.get(work.part) != digest(objects))


def _profile(work: Work, day: date, objects: list[ObjectInfo], done: Done) -> None:
    limits, begun = work.settings.limits, work.clock.monotonic()
    log.debug("profiling %s", day, extra={"objects": len(objects)})
    home = work.settings.verdict.home_networks
    try:
        with tempfile.TemporaryDirectory(prefix="tocsin-", dir=limits.temp_dir) as spill:
            sql = partial(connect, memory_mb=limits.memory_mb, threads=limits.threads, temp_dir=Path(spill))
            profile = profile_day(_flows(work, objects), day=day, home=home, connect=sql)
    except ModelError as error:
        done.notes.append(f"{day}: {error}")
        _record(work, day, objects)
        return
    detector, before = HostDetector(), _baseline(work, day)
    detector.fit(before)
    scored = detector.score(profile)
    found = evidence(_flows(work, objects, ("flowid",)), candidates(detector, profile, scored))
    work.store.put(profile_path(work, day), write_parquet(profile))
    work.store.put(hosts_path(work, day), write_parquet(host_table(detector, profile, scored)))
    judged = work.verdict.judge(found)
    done.count("hosts", profile.num_rows)
    done.count("findings", judged.new)
    done.days.append(day)
    _record(work, day, objects)
    counts = {"hosts": profile.num_rows, "days_before": len(before), "proposed": len(found), "new": judged.new}
    log.debug("profiled %s", day, extra=counts | {"seconds": round(work.clock.monotonic() - begun, 2)})


def _flows(work: Work, objects: list[ObjectInfo], more: tuple[str, ...] = ()) -> Any:
    for table in read_objects(work.store, objects, (*COLUMNS, *more)):
        if work.protocols:
            yield table.filter(pc.is_in(table.column("proto"), value_set=pa.array(work.protocols)))
        else:
            yield table


def _baseline(work: Work, day: date) -> list[pa.Table]:
    """Return the profiles of the days before, within the retention of samples, oldest first."""
    tables = []
    for back in range(work.settings.sampling.retention_days, 0, -1):
        earlier = day - timedelta(days=back)
        try:
            tables.append(read_parquet(work.store, profile_path(work, earlier)))
        except NotFoundError:
            continue
    return tables


def _record(work: Work, day: date, objects: list[ObjectInfo]) -> None:
    def add(state: dict[str, Any]) -> dict[str, Any]:
        state["format"] = STATE_FORMAT
        state.setdefault("days", {}).setdefault(day.isoformat(), {})[work.part] = digest(objects)
        return state

    update_json(work.store, state_path(work.domain), add)
