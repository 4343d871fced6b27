"""Extract, rank, train: from the samples of each protocol to a model that may be served.

Each stage leaves its artefact in the store for the next: normalisation tables, a ranking, a version in the registry.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import numpy as np
import pyarrow as pa

from tocsin import __version__
from tocsin.detectors.outlier.detector import MIN_ROWS, OutlierDetector
from tocsin.detectors.outlier.features import FieldSpec, Normaliser, flow_fields
from tocsin.detectors.outlier.rank import rank
from tocsin.errors import ModelError, NotFoundError, SettingsError
from tocsin.jobs.lake import read_parquet, window, write_parquet
from tocsin.jobs.sample import read_samples, sample_path, sampled
from tocsin.jobs.served import attach_context, load_production
from tocsin.jobs.work import ELSEWHERE, Done, Work
from tocsin.lifecycle.model import Model
from tocsin.lifecycle.registry import Fitted, Registry
from tocsin.store import read_json, update_json
from tocsin.verdict.calibration import Calibration

log = logging.getLogger(__name__)


def extract(work: Work) -> Done:
    """Build each protocol's normalisation tables from the newest sampled days."""
    return _each_protocol(work, "extract", _once("extract", _extract))


def rank_fields(work: Work) -> Done:
    """Rank each protocol's fields by what they tell."""
    return _each_protocol(work, "rank", _once("rank", _rank))


def train(work: Work, *, force: bool = False) -> Done:
    """Train each protocol's model from samples or settings that changed since its newest version.

    With `force` every one is trained, and served whatever the gate says.
    """
    return _each_protocol(work, "train", lambda work, proto, done: _train(work, proto, done, force=force))


def sampled_protocols(work: Work) -> dict[str, list[date]]:
    """Return the protocols to work on, each with the sampled days that count, oldest first."""
    dates = sampled(work.store, work.domain)
    days: dict[str, list[date]] = {}
    for day in window(dates, work.settings.features.sample_days, work.clock.now()):
        for proto in filter(work.wants, dates[day]):
            days.setdefault(proto, []).append(day)
    return days


def extract_path(domain: str, proto: str, field: str) -> str:
    """Return the object with a field's normalisation table."""
    return f"{domain}/extract/{proto}/{field}.parquet"


def rank_path(domain: str, proto: str) -> str:
    """Return the object with a protocol's ranking; the dot keeps it apart from a field of that name."""
    return f"{domain}/extract/{proto}/.rank.parquet"


def chosen_fields(work: Work, names: set[str] | None = None) -> list[FieldSpec]:
    """Return the fields that models may use. Raises SettingsError for an unknown name in `features.fields`."""
    settings = work.settings.features
    known = {spec.name: spec for spec in flow_fields()}
    for name in settings.fields:
        if name not in known:
            raise SettingsError(f"features.fields: {name!r} is no field of a flow; known are {', '.join(known)}")
    return [
        spec
        for name, spec in known.items()
        if (not settings.fields or name in settings.fields)
        and name not in settings.exclude
        and (names is None or name in names)
    ]


def _each_protocol(work: Work, job: str, piece: Callable[[Work, str, Done], None]) -> Done:
    done = Done(job)
    protocols = sampled_protocols(work)
    if not protocols:
        done.notes.append("there are no samples yet; `tocsin sample` makes them")

    def one(proto: str) -> Done:
        part = Done(job)
        with work.claim(f"{job}-{proto}") as held:
            if held is None:
                part.count(ELSEWHERE, 1)
                part.notes.append(f"{proto}: another instance does this")
            elif not work.stop.is_set():
                begun = work.clock.monotonic()
                log.debug("%s of %s begins", job, proto, extra={"days": len(protocols[proto])})
                piece(work, proto, part)
                told = part.counts | {"seconds": round(work.clock.monotonic() - begun, 2)}
                log.debug("%s of %s done", job, proto, extra=told)
        return part

    workers = work.settings.limits.threads if work.settings.parallel_protocols else 1
    with ThreadPoolExecutor(workers) as pool:
        for number, part in enumerate(pool.map(one, protocols), 1):
            work.progress(job, number, len(protocols))
            for name, n in part.counts.items():
                done.count(name, n)
            done.notes += part.notes
    done.days = sorted({day for days in protocols.values() for day in days})
    return done


def _samples(work: Work, proto: str) -> Iterator[pa.Table]:
    """Yield a protocol's samples day by day, so that memory does not grow with the days."""
    return read_samples(work.store, work.domain, proto, sampled_protocols(work)[proto])


def _once(stage: str, piece: Callable[[Work, str, Done], None]) -> Callable[[Work, str, Done], None]:
    """Do a stage of a protocol only where its samples or settings changed since; the note goes with its folder."""

    def once(work: Work, proto: str, done: Done) -> None:
        path = f"{work.domain}/extract/{proto}/.state.json"
        inputs = f"{__version__} {_inputs(work, proto, sampled_protocols(work)[proto])}"
        known, _ = read_json(work.store, path)
        if (known or {}).get(stage) == inputs:
            done.count("protocols unchanged", 1)
            return
        piece(work, proto, done)
        update_json(work.store, path, lambda state: {**state, stage: inputs})

    return once


def _extract(work: Work, proto: str, done: Done) -> None:
    settings = work.settings.features
    normaliser = Normaliser(
        chosen_fields(work),
        num_bins=settings.num_bins,
        histogram_type=settings.histogram_type,
        ipv4_prefix=settings.ipv4_prefix,
        ipv6_prefix=settings.ipv6_prefix,
        ip_hash_modulus=settings.ip_hash_modulus,
    ).fit(_samples(work, proto))
    tables = normaliser.to_tables()
    for field, table in tables.items():
        work.store.put(extract_path(work.domain, proto, field), write_parquet(table))
    done.count("tables", len(tables))


def load_normaliser(work: Work, proto: str) -> Normaliser:
    """Return a protocol's normalisation tables. Raises ModelError when `extract` has not run."""
    folder = f"{work.domain}/extract/{proto}/"
    tables = {}
    for info in work.store.list(folder):
        name = info.path.removeprefix(folder)
        if name.endswith(".parquet") and not name.startswith("."):
            tables[name.removesuffix(".parquet")] = read_parquet(work.store, info.path)
    if not tables:
        raise ModelError(f"{proto}: there are no normalisation tables; run `tocsin extract` first")
    return Normaliser.from_tables(tables)


def _rank(work: Work, proto: str, done: Done) -> None:
    settings = work.settings.ranking
    ranking = rank(
        load_normaliser(work, proto),
        _samples(work, proto),
        top_n=settings.top_n,
        min_importance=settings.min_importance,
    )
    work.store.put(rank_path(work.domain, proto), write_parquet(ranking))
    done.count("fields", ranking.num_rows)
    done.count("fields selected", int(np.asarray(ranking.column("selected")).sum()))


def _selected(work: Work, proto: str) -> set[str] | None:
    if not work.settings.ranking.enabled:
        return None
    try:
        ranking = read_parquet(work.store, rank_path(work.domain, proto))
    except NotFoundError as error:
        raise ModelError(f"{proto}: there is no ranking; run `tocsin rank` first") from error
    return set(ranking.filter(ranking.column("selected")).column("field").to_pylist())


def _train(work: Work, proto: str, done: Done, *, force: bool) -> None:
    settings = work.settings
    days = sampled_protocols(work)[proto]
    state = sampled(work.store, work.domain, proto)
    rows = sum(state[day][proto]["sampled"] for day in days)
    registry = Registry(work.store, work.domain, keep_versions=settings.training.keep_versions)
    inputs = _inputs(work, proto, days)
    if not force and any(version.inputs == inputs for version in registry.versions(proto)[:1]):
        done.count("models unchanged", 1)
        return
    served = load_production(work, registry, proto)
    if rows < MIN_ROWS:
        done.notes.append(f"{proto}: {rows} sampled rows are too few to learn from")
        return
    fields = chosen_fields(work, _selected(work, proto))
    detector = _new_detector(work, proto, fields).fit(_samples(work, proto))
    model, unusual = _calibrated(detector, _samples(work, proto), served, settings.verdict.high)
    why = "" if force else _objection(work, len(days), rows, unusual)
    verdict = "rejected" if why and served is not None else "good"
    fitted = Fitted(
        state=model.state(),
        algorithm=settings.training.algorithm,
        dates=[day.isoformat() for day in days],
        rows=rows,
        fields=[spec.name for spec in fields],
        seed=settings.training.seed,
        inputs=inputs,
        metrics={"unusual_percent": unusual, "raw_p99": float(np.quantile(model.calibration.scores, 0.99))},
    )
    version = registry.add(proto, fitted, created=work.clock.now(), verdict=verdict, why=why)
    done.count("rows", rows)
    done.count("models", 1)
    if verdict == "rejected":
        done.count("models rejected", 1)
        done.notes.append(f"{proto}: {version.name} is kept but not served: {why}")
    elif why:
        done.notes.append(f"{proto}: {version.name} is served for want of a better one, although {why}")


def _inputs(work: Work, proto: str, days: list[date]) -> str:
    """Return a digest of what a model is made from: its samples, and the settings that shape it."""
    infos = {info.path: info.size_bytes for info in work.store.list(f"{work.domain}/sample/{proto}/")}
    samples = {path: infos.get(path) for path in (sample_path(work.domain, proto, day) for day in days)}
    settings = work.settings
    shape = [section.model_dump(mode="json") for section in (settings.features, settings.ranking, settings.training)]
    return hashlib.blake2b(json.dumps([samples, shape], sort_keys=True).encode(), digest_size=12).hexdigest()


def _new_detector(work: Work, proto: str, fields: list[FieldSpec]) -> OutlierDetector:
    """Return an unfitted detector as the settings want it."""
    features, training = work.settings.features, work.settings.training
    detector = OutlierDetector(
        training.algorithm,
        fields=fields,
        num_bins=features.num_bins,
        histogram_type=features.histogram_type,
        ipv4_prefix=features.ipv4_prefix,
        ipv6_prefix=features.ipv6_prefix,
        ip_hash_modulus=features.ip_hash_modulus,
        seed=training.seed,
        normaliser=load_normaliser(work, proto),
    )
    return attach_context(work, detector)


def _calibrated(
    detector: OutlierDetector, samples: Iterable[pa.Table], served: Model | None, cutoff: float
) -> tuple[Model, float]:
    """Calibrate a detector on its own sample.

    Returns the model, and how much of the sample, in percent, the served model scores at `cutoff` or above (0 without
    one).
    """
    raw, unusual = [], 0
    for table in samples:
        raw.append(detector.score(table).raw)
        if served is not None:
            unusual += int((served.calibration.score(served.detector.score(table).raw) >= cutoff).sum())
    scores = np.concatenate(raw)
    return Model(detector, Calibration.fit(scores)), 100.0 * unusual / len(scores)


def _objection(work: Work, days: int, rows: int, unusual: float) -> str:
    """Say why a model should not replace a good one, or ''."""
    settings = work.settings.training
    if rows < settings.min_rows:
        return f"it was trained on {rows} rows, fewer than training.min_rows = {settings.min_rows}"
    if days < settings.min_days:
        return f"it was trained on {days} days, fewer than training.min_days = {settings.min_days}"
    if unusual > settings.max_unusual_percent:
        return (
            f"the served model finds {unusual:.0f} % of its sample unusual, more than "
            f"training.max_unusual_percent = {settings.max_unusual_percent:g}: a poor day, or the network has changed"
        )
    return ""
