"""Scoring: every flow of a day through its protocol's model, and what stands out to the verdict.

The score file of a lake object is named after it, so that a run after a kill writes the same objects again. The state
is put last; it says which objects were scored, so that late files are noticed, and up to when there are scores.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tocsin.detectors.outlier.detector import MIN_ROWS
from tocsin.errors import NotFoundError
from tocsin.jobs.claims import Claim
from tocsin.jobs.lake import lake_days, read_object, read_parquet, window, write_parquet
from tocsin.jobs.sample import sampled
from tocsin.jobs.scores import score_batch, score_path, score_prefix, state_path
from tocsin.jobs.served import load_production
from tocsin.jobs.work import ELSEWHERE, Done, Work
from tocsin.lifecycle.model import Model
from tocsin.lifecycle.registry import Registry
from tocsin.records.finding import rfc3339
from tocsin.store import ObjectInfo, read_json, update_json
from tocsin.verdict.entities import FlowEntities
from tocsin.verdict.severity import Cutoffs

log = logging.getLogger(__name__)

STATE_FORMAT = 1


def score_days(work: Work, *, dates: list[date] | None = None, since: datetime | None = None) -> Done:
    """Score every day of the lake that has objects without scores; days without a model are left for later.

    `dates` scores these days again, whole; `since` does so with every day from this time on.
    """
    done = Done("score")
    days = lake_days(work.store, work.domain)
    models = _models(work)
    if not models:
        done.notes.append("there is no model yet; `tocsin train` makes one, `tocsin auto` does everything")
        return done
    forced = {day for day in days if (dates and day in dates) or (since and day >= since.date())}
    retained = window(days, work.settings.scoring.retention_days, work.clock.now())
    unscored = _unscored(work, models)
    wanted = sorted(forced) if dates or since else [day for day in retained if unscored(day, days[day])]
    for number, day in enumerate(wanted):
        if work.stop.is_set():
            break
        work.progress("score", number, len(wanted))
        with work.claim(f"score-{day.isoformat()}-{work.part}") as held:
            if held is None:
                done.count(ELSEWHERE, 1)
                done.notes.append(f"{day}: another instance is scoring it")
            elif missing := days[day] if day in forced else _unscored(work, models)(day, days[day]):
                _Day(work, day, models, done, held).score(days[day], missing)
    work.progress("score", len(wanted), len(wanted))
    _expire(work, retained, done)
    return done


def everything_served(work: Work) -> bool:
    """Say whether each sampled protocol with rows enough has a model; scoring earlier would score a day in halves."""
    rows: Counter[str] = Counter()
    for protocols in sampled(work.store, work.domain).values():
        rows.update({proto: entry["sampled"] for proto, entry in protocols.items() if work.wants(proto)})
    names = {proto for proto, n in rows.items() if n >= MIN_ROWS}
    registry = Registry(work.store, work.domain)
    return bool(names) and all(registry.production(name) is not None for name in names)


def scored_state(work: Work) -> dict[str, Any]:
    """Return what was scored: {last_scored, days: {date: {part: {objects, rows, models, scored_at}}}}."""
    return read_json(work.store, state_path(work.domain))[0] or {"days": {}}


def entities_path(work: Work, day: date) -> str:
    """Return the object with how many flows, and unusual ones, each host had in a day."""
    return f"{work.domain}/score/entities/{work.part}/entities-{day.isoformat()}.parquet"


def _tallies_before(work: Work, day: date) -> list[pa.Table]:
    tables = []
    for back in range(work.settings.sampling.retention_days, 0, -1):
        with suppress(NotFoundError):
            tables.append(read_parquet(work.store, entities_path(work, day - timedelta(days=back))))
    return tables


def _models(work: Work) -> dict[str, Model]:
    registry = Registry(work.store, work.domain)
    names = [name for name in registry.names() if work.wants(name)]
    loaded = {name: load_production(work, registry, name) for name in names}
    return {name: model for name, model in loaded.items() if model is not None}


def _unscored(work: Work, models: dict[str, Model]) -> Callable[[date, list[ObjectInfo]], list[ObjectInfo]]:
    """Read what was scored, and return what tells which of a day's objects lack scores.

    All of them, where the day has a protocol with a model now that had none when the day was scored.
    """
    state, samples = scored_state(work)["days"], sampled(work.store, work.domain)

    def missing(day: date, objects: list[ObjectInfo]) -> list[ObjectInfo]:
        parts = [state.get(day.isoformat(), {}).get(part, {}) for part in ("all", work.part)]
        served = {name for part in parts for name in part.get("models", {})}
        if any(name in models and name not in served for name in samples.get(day, {})):
            return objects
        known: dict[str, int] = {path: size for part in parts for path, size in part.get("objects", {}).items()}
        return [info for info in objects if known.get(info.path) != info.size_bytes]

    return missing


class _Day:
    """Scores one day: writes the score files that are missing, and judges the day as a whole."""

    def __init__(self, work: Work, day: date, models: dict[str, Model], done: Done, held: Claim) -> None:
        self._work = work
        self._day = day
        self._models = models
        self._done = done
        self._held = held
        self._cutoffs = Cutoffs.of(work.settings.verdict)
        self._lock = threading.Lock()
        self._entities = FlowEntities(
            self._cutoffs,
            work.settings.verdict.home_networks,
            {name: model.detector.expected for name, model in models.items()},
            usual=_tallies_before(work, day),
        )
        least = work.settings.verdict.warm_up_rows
        self._warm = {name for name, model in models.items() if model.calibration.rows >= least}
        for name in sorted(models.keys() - self._warm):
            rows = models[name].calibration.rows
            note = f"{name}: learned from {rows} rows, verdict.warm_up_rows is {least}: it raises no findings yet"
            if note not in done.notes:
                done.notes.append(note)
        self._last: datetime | None = None

    def score(self, objects: list[ObjectInfo], missing: list[ObjectInfo]) -> None:
        """Score the day's objects, write the score files that are missing, raise findings, and note that it is done."""
        new = {info.path for info in missing}
        begun = self._work.clock.monotonic()
        log.debug("scoring %s", self._day, extra={"objects": len(objects), "to_write": len(new)})
        with ThreadPoolExecutor(self._work.settings.limits.threads) as pool:
            counts = list(pool.map(lambda info: self._object(info, write=info.path in new), objects))
        self._held.renew()
        candidates = self._entities.candidates()
        judged = self._work.verdict.judge(candidates)
        self._work.store.put(entities_path(self._work, self._day), write_parquet(self._entities.tally()))
        self._done.count("flows scored", sum(counts))
        self._done.count("findings", judged.new)
        self._done.days.append(self._day)
        self._record(objects, sum(counts))
        told = {"rows": sum(counts), "proposed": len(candidates), "new": judged.new}
        log.debug("scored %s", self._day, extra=told | {"seconds": round(self._work.clock.monotonic() - begun, 2)})

    def _object(self, info: ObjectInfo, *, write: bool) -> int:
        rows = 0
        tables = []
        for batch in read_object(self._work.store, info.path):
            self._held.renew()
            for proto, model in self._models.items():
                flows = batch.filter(pc.fill_null(pc.equal(batch.column("proto"), proto), fill_value=False))
                if flows.num_rows == 0:
                    continue
                scores = score_batch(model, flows, self._cutoffs)
                rows += flows.num_rows
                self._reach(flows)
                if proto in self._warm:
                    self._take(flows, scores)
                if write:
                    tables.append(
                        scores.filter(pc.greater_equal(scores.column("score"), self._work.settings.scoring.min_score))
                    )
        if tables:
            path = score_path(self._work.domain, self._day, info.path, self._work.part)
            self._work.store.put(path, _write(tables))
        log.debug("scored %s", info.path, extra={"rows": rows, "written": bool(tables)})
        return rows

    def _reach(self, flows: pa.Table) -> None:
        latest = pc.max(flows.column("stime")).as_py() if "stime" in flows.column_names else None
        with self._lock:
            self._last = max(filter(None, (self._last, latest)), default=None)

    def _take(self, flows: pa.Table, scores: pa.Table) -> None:
        own = [name for name in flows.column_names if name not in scores.column_names]
        both = scores
        for name in own:
            both = both.append_column(name, flows.column(name))
        with self._lock:
            self._entities.add(both)

    def _record(self, objects: list[ObjectInfo], rows: int) -> None:
        entry = {
            "objects": {info.path: info.size_bytes for info in objects},
            "rows": rows,
            "models": {name: model.version for name, model in self._models.items()},
            "scored_at": rfc3339(self._work.clock.now()),
        }

        def add(state: dict[str, Any]) -> dict[str, Any]:
            state["format"] = STATE_FORMAT
            state.setdefault("days", {}).setdefault(self._day.isoformat(), {})[self._work.part] = entry
            if self._last is not None:
                state["last_scored"] = max(state.get("last_scored", ""), rfc3339(self._last))
            return state

        update_json(self._work.store, state_path(self._work.domain), add)


def _write(tables: list[pa.Table]) -> memoryview:
    buffer = pa.BufferOutputStream()
    plain = ["flowid", "raw", "score", "stime", "etime"]
    names = tables[0].column_names
    shares = [name for name in names if name.endswith("_share")]
    dictionary = [name for name in names if name not in plain and name not in shares]
    with pq.ParquetWriter(
        buffer, tables[0].schema, compression="zstd", compression_level=1, use_dictionary=dictionary
    ) as writer:
        for table in tables:
            writer.write_table(table.cast(tables[0].schema))
    return memoryview(buffer.getvalue())


def _expire(work: Work, retained: list[date], done: Done) -> None:
    """Remove what is older than the days that are retained: scores, and the profiles and tallies beside them."""
    if not retained:
        return
    old = [day for day in map(date.fromisoformat, scored_state(work)["days"]) if day < retained[0]]
    for day in old:
        beside = [f"{work.domain}/{folder}/" for folder in ("profile", "score/hosts", "score/entities")]
        dated = [info for prefix in beside for info in work.store.list(prefix) if f"-{day.isoformat()}." in info.path]
        for info in (*work.store.list(score_prefix(work.domain, day)), *dated):
            work.store.delete(info.path)
            done.count("score files expired", 1)

    def drop(state: dict[str, Any]) -> dict[str, Any] | None:
        for day in old:
            state["days"].pop(day.isoformat(), None)
        return state

    if old:
        update_json(work.store, state_path(work.domain), drop)
