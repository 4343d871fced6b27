"""Fingerprint profiles from the lake: built from days, compared with a day, kept in the store."""

from collections.abc import Iterable, Iterator
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tocsin.detectors.outlier.fingerprint import HOST_COLUMN, FingerprintProfiles, load_profiles, save_profiles
from tocsin.errors import InputError
from tocsin.jobs.lake import digest, lake_days, read_objects, window
from tocsin.jobs.work import Done, Work
from tocsin.store import ObjectInfo, read_json, update_json

STATE_FORMAT = 1


def fingerprint_days(work: Work, *, before: date | None = None) -> Done:
    """Judge the lake's newest day (before a day, where one is given) and learn it: what `auto` and the daemon do.

    Nothing is read again while the lake's days are what they were; nothing happens where fingerprints are off or the
    flows have none.
    """
    done = Done("fingerprint")
    days = wanted_days(work, before=before)
    present = lake_days(work.store, work.domain)
    if not work.settings.fingerprint.enabled or not days:
        return done
    objects = [info for day in days for info in present[day]]
    known, _ = read_json(work.store, _state_path(work.domain))
    if (known or {}).get("objects") == digest(objects) or not any(True for _ in _bearing(work, objects)):
        return done
    done.counts = detect_fingerprints(work, days[-1]).counts
    learned = build_fingerprints(work, days)
    done.counts |= learned.counts
    done.days = learned.days
    update_json(work.store, _state_path(work.domain), lambda _: {"format": STATE_FORMAT, "objects": digest(objects)})
    return done


def build_fingerprints(work: Work, days: list[date] | None = None) -> Done:
    """Learn every host's fingerprints from these days of the lake (its newest `history_days`) and keep them.

    Raises InputError when the lake has none of these days.
    """
    done = Done("fingerprint build")
    profiles = profiles_of(work, wanted_days(work) if days is None else days)
    save_profiles(work.store, work.domain, profiles)
    done.days = [date.fromisoformat(day) for day in profiles.days]
    for role, host in HOST_COLUMN.items():
        done.count(f"{role} hosts", pc.count_distinct(profiles.pairs(role).column("host")).as_py())
        done.count(f"{role} fingerprints", pc.count_distinct(profiles.pairs(role).column("fingerprint")).as_py())
        done.count(f"flows with one of {host}", pc.sum(profiles.pairs(role).column("count")).as_py() or 0)
    if profiles.empty:
        fields = ", ".join([*profiles.fields("client"), *profiles.fields("server")])
        done.notes.append(f"no flow of these days has a fingerprint; looked at: {fields}")
    return done


def detect_fingerprints(work: Work, day: date | None = None) -> Done:
    """Compare a day (the lake's newest) with each host's days before it, and hand what is new to the verdict.

    The stored profiles are used where they know earlier days only; else the days before are read again, for a day
    that is part of its own history would never be new. Raises InputError when the lake does not have the day.
    """
    done = Done("fingerprint detect")
    present = lake_days(work.store, work.domain)
    day = day or max(wanted_days(work), default=None)
    if day is None or day not in present:
        raise InputError(
            f"the lake of {work.domain!r} has no flows of {day or 'any day'}; `tocsin ingest PATH…` fills it"
        )
    profiles = _history(work, day)
    batches = read_objects(work.store, _bearing(work, present[day]), profiles.columns())
    candidates = profiles.candidates(batches)
    judged = work.verdict.judge(candidates)
    done.days = [day]
    done.count("candidates", len(candidates))
    done.count("findings", judged.new)
    if profiles.empty:
        done.notes.append(f"no fingerprints are known from before {day}: only hosts with too many could be reported")
    return done


def profile_of(work: Work, address: str, days: list[date]) -> list[dict[str, object]]:
    """Return the fingerprints a host presented in these days, the most frequent first.

    Each is {role, field, fingerprint, flows, share (of the host's flows with this field), first, last}.
    """
    profiles = FingerprintProfiles(work.settings.fingerprint)
    present = lake_days(work.store, work.domain)
    objects = _bearing(work, [info for day in days for info in present.get(day, [])])
    profiles.build(_of_host(table, address) for table in read_objects(work.store, objects, profiles.columns()))
    rows: list[dict[str, object]] = []
    for role in HOST_COLUMN:
        pairs = profiles.pairs(role)
        mine = pairs.filter(pc.equal(pairs.column("host"), address)).to_pylist()
        totals: dict[str, int] = {}
        for pair in mine:
            name = pair["fingerprint"].partition(":")[0]
            totals[name] = totals.get(name, 0) + pair["count"]
        for pair in sorted(mine, key=lambda pair: (-pair["count"], pair["fingerprint"])):
            name, _, text = pair["fingerprint"].partition(":")
            times = {
                key: pa.scalar(pair[key], pa.timestamp("us", "UTC")).as_py().isoformat() for key in ("first", "last")
            }
            share = round(pair["count"] / totals[name], 4)
            rows.append(
                {"role": role, "field": name, "fingerprint": text, "flows": pair["count"], "share": share, **times}
            )
    return rows


def profiles_of(work: Work, days: list[date]) -> FingerprintProfiles:
    """Learn these days of the lake. Raises InputError when it has none of them."""
    present = lake_days(work.store, work.domain)
    chosen = [day for day in days if day in present]
    if not chosen:
        raise InputError(f"the lake of {work.domain!r} has no flows of these days; `tocsin status` shows what it has")
    profiles = FingerprintProfiles(work.settings.fingerprint)
    for number, day in enumerate(chosen):
        work.progress("fingerprint build", number, len(chosen))
        objects = _bearing(work, present[day])
        profiles.build(read_objects(work.store, objects, profiles.columns()), days=[day.isoformat()])
    work.progress("fingerprint build", len(chosen), len(chosen))
    return profiles


def wanted_days(work: Work, count: int | None = None, *, before: date | None = None) -> list[date]:
    """Return the lake's newest so many days (`history_days`), those before a day where one is given."""
    present = [day for day in lake_days(work.store, work.domain) if before is None or day < before]
    if not present:
        return []
    return window(present, count or work.settings.fingerprint.history_days, work.clock.now())


def _history(work: Work, day: date) -> FingerprintProfiles:
    wanted = wanted_days(work, before=day)
    stored = load_profiles(work.store, work.domain)
    same_days = stored is not None and stored.days == [item.isoformat() for item in wanted]
    if (
        stored is not None
        and same_days
        and stored.columns() == FingerprintProfiles(work.settings.fingerprint).columns()
    ):
        stored.settings = work.settings.fingerprint
        return stored
    return profiles_of(work, wanted) if wanted else FingerprintProfiles(work.settings.fingerprint)


def _bearing(work: Work, objects: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
    """Yield the lake objects that have a column of fingerprints at all: the footer says so."""
    profiles = FingerprintProfiles(work.settings.fingerprint)
    wanted = {*profiles.fields("client"), *profiles.fields("server")}
    for info in objects:
        with work.store.open(info.path) as handle:
            try:
                bearing = bool(wanted & set(pq.read_schema(handle).names))
            except pa.ArrowInvalid:
                bearing = True  # reading it says what is wrong, and where
        if bearing:
            yield info


def _state_path(domain: str) -> str:
    return f"{domain}/fingerprint/.state.json"


def _of_host(table: pa.Table, address: str) -> pa.Table:
    ends = [
        pc.fill_null(pc.equal(table.column(name), address), pa.scalar(value=False)) for name in HOST_COLUMN.values()
    ]
    return table.filter(pc.or_(*ends))
