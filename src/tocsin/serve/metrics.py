"""Prometheus metrics of daemon and service: what they counted themselves, what store and ledger say at each scrape."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from tocsin.clock import Clock
from tocsin.errors import SettingsError, StoreError, TocsinError
from tocsin.jobs.claims import claims
from tocsin.jobs.work import Done
from tocsin.ledger.ledger import Ledger
from tocsin.settings import MetricsSettings
from tocsin.store import ObjectInfo, Store, read_json

ANSWER_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
SECONDS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)


class Metrics:
    """The daemon's metrics. `observe` takes every job that ended."""

    def __init__(self, store: Store, ledger: Ledger, *, domain: str, clock: Clock) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU seconds, open files
        PlatformCollector(registry=self.registry)
        self._seconds = Histogram(
            "tocsin_job_duration_seconds", "Duration of jobs.", ["job"], buckets=SECONDS, registry=self.registry
        )
        self._outcomes = Counter(
            "tocsin_jobs", "Jobs that ended, by outcome.", ["job", "outcome"], registry=self.registry
        )
        self._work = Counter(
            "tocsin_job_items", "What jobs counted: flows, samples, models.", ["job", "item"], registry=self.registry
        )
        self.requests = RequestMetrics()
        self.registry.register(self.requests)
        self.contexts = ContextMetrics()
        self.registry.register(self.contexts)
        self.registry.register(_State(store, ledger, domain, clock))

    def observe(self, job: str, outcome: str, seconds: float, done: Done | None) -> None:
        """Count a job that ended."""
        self._seconds.labels(job).observe(seconds)
        self._outcomes.labels(job, outcome).inc()
        for item, n in (done.counts if done else {}).items():
            self._work.labels(job, item.replace(" ", "_")).inc(n)

    def text(self) -> bytes:
        """Return what a scrape gets; it asks ledger and store, and so blocks."""
        return generate_latest(self.registry)

    def serve(self, settings: MetricsSettings) -> tuple[WSGIServer, Thread]:
        """Serve /metrics on the settings' address. Raises SettingsError when it is taken."""
        try:
            return start_http_server(settings.port, settings.host, self.registry)
        except OSError as error:
            raise SettingsError(
                f"metrics.port: cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
                "choose another, or set metrics.enabled: false"
            ) from error


class RequestMetrics:
    """What the service answered, and how fast. `count` is cheap: it runs with every request."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], int] = {}
        self._seconds: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def count(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count an answer. route: the path as it was declared, so that there are only so many of them."""
        key = (method, route, status)
        self._counts[key] = self._counts.get(key, 0) + 1
        if route not in self._seconds:
            self._seconds[route] = [0] * (len(ANSWER_SECONDS) + 1)
        self._seconds[route][bisect_left(ANSWER_SECONDS, took_s)] += 1
        self._sums[route] = self._sums.get(route, 0.0) + took_s

    def collect(self) -> Iterator[Metric]:
        """Yield the counts by method, path and status, and the times by path."""
        counts = CounterMetricFamily("tocsin_requests", "Answers.", labels=["method", "path", "status"])
        for (method, route, status), n in sorted(self._counts.copy().items()):
            counts.add_metric([method, route, str(status)], n)
        yield counts
        times = HistogramMetricFamily("tocsin_request_seconds", "Time to answer.", labels=["path"])
        for route, within in sorted(self._seconds.copy().items()):
            bounds = [*map(str, ANSWER_SECONDS), "+Inf"]
            times.add_metric([route], list(zip(bounds, accumulate(within), strict=True)), self._sums[route])
        yield times


class ContextMetrics:
    """What the contexts of the service hold, all together: there may be thousands of them."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        """How many contexts, and the sums of what they observed and hold; as of the last scrape."""

    def collect(self) -> Iterator[Metric]:
        """Yield the totals, where there are contexts to tell of."""
        for name, help in (
            ("tocsin_contexts", "Contexts of the service."),
            ("tocsin_context_observed", "Observations that they learned."),
            ("tocsin_context_entries", "Table entries that they hold."),
            ("tocsin_context_bytes", "Bytes that they hold."),
        ):
            if name in self.totals:
                yield GaugeMetricFamily(name, help, value=self.totals[name])


class WatchMetrics:
    """What the summaries or the novelty detectors of a watch hold and have counted; `state` gives them as dicts.

    label: what one of them is called. sizes: name of a gauge, its help, and where its value is in the dict. records:
    name of the counter of records.
    """

    def __init__(
        self,
        state: Callable[[], list[dict[str, Any]]],
        *,
        label: str,
        sizes: tuple[tuple[str, str, str], ...],
        records: str,
    ) -> None:
        self._state, self._label, self._sizes, self._records = state, label, sizes, records

    def collect(self) -> Iterator[Metric]:
        """Yield sizes and counts, at each scrape."""
        held = self._state()
        for name, help, size in self._sizes:
            family = GaugeMetricFamily(name, help, labels=[self._label])
            for each in held:
                family.add_metric([each["name"]], each[size])
            yield family
        counts = CounterMetricFamily(self._records, "Records by what became of them.", labels=[self._label, "what"])
        for each in held:
            for what, n in sorted(each["counts"].items()):
                counts.add_metric([each["name"], what], n)
        yield counts


def summary_metrics(state: Callable[[], list[dict[str, Any]]]) -> WatchMetrics:
    """Return the metrics of a watch's summaries."""
    sizes = (
        ("tocsin_summary_keys", "Keys in open epochs.", "keys"),
        ("tocsin_summary_bytes", "Bytes held.", "nbytes"),
        ("tocsin_summary_epochs_open", "Open epochs.", "windows"),
    )
    return WatchMetrics(state, label="summary", sizes=sizes, records="tocsin_summary_records")


def novelty_metrics(state: Callable[[], list[dict[str, Any]]]) -> WatchMetrics:
    """Return the metrics of a watch's novelty detectors."""
    sizes = (
        ("tocsin_novelty_observed", "Records learned.", "observed"),
        ("tocsin_novelty_entries", "Combinations of values known.", "entries"),
        ("tocsin_novelty_bytes", "Bytes held.", "nbytes"),
    )
    return WatchMetrics(state, label="detector", sizes=sizes, records="tocsin_novelty_records")


class _State:
    """Reads ledger and store when asked, so that several instances show the same."""

    def __init__(self, store: Store, ledger: Ledger, domain: str, clock: Clock) -> None:
        self._store = store
        self._ledger = ledger
        self._domain = domain
        self._clock = clock
        self._read: dict[str, tuple[str, int, int]] = {}

    def collect(self) -> Iterator[Metric]:
        try:
            yield from self._findings()
            yield from self._claims()
            yield from self._ingested()
        except TocsinError:
            yield GaugeMetricFamily("tocsin_state_readable", "Whether ledger and store answered this scrape.", value=0)
        else:
            yield GaugeMetricFamily("tocsin_state_readable", "Whether ledger and store answered this scrape.", value=1)
        yield from self._store_counts()

    def _findings(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("tocsin_findings", "Findings in the ledger.", labels=["detector", "severity"])
        for (detector, severity), n in sorted(self._ledger.tally_findings(self._domain).items()):
            family.add_metric([detector, severity], n)
        yield family
        dropped = sum(budget.dropped for budget in self._ledger.budgets(self._domain))
        yield GaugeMetricFamily("tocsin_findings_over_budget", "Findings not kept for the noise budget.", value=dropped)

    def _claims(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "tocsin_claim_held", "1 for a claim that is held, 0 for one that is free again.", labels=["piece", "owner"]
        )
        for claim in claims(self._store, f"{self._domain}/claims/", clock=self._clock):
            family.add_metric([claim.path.rsplit("/", 1)[-1].removesuffix(".json"), claim.owner], float(claim.held))
        yield family

    def _ingested(self) -> Iterator[Metric]:
        infos = self._store.list(f"{self._domain}/ingest/")
        self._read = {info.path: self._file(info) for info in infos}
        rows = sum(rows for _, rows, _ in self._read.values())
        rejected = sum(rejected for _, _, rejected in self._read.values())
        yield GaugeMetricFamily("tocsin_flows_ingested", "Flows read into the lake.", value=rows)
        yield GaugeMetricFamily("tocsin_records_rejected", "Records set aside while reading.", value=rejected)

    def _file(self, info: ObjectInfo) -> tuple[str, int, int]:
        """Return an input file's version, rows and rejected rows; its document is read again only when it changed."""
        known = self._read.get(info.path)
        if known and known[0] == info.version:
            return known
        try:
            state, _ = read_json(self._store, info.path)
        except StoreError:
            return "", 0, 0
        return info.version, int((state or {}).get("rows", 0)), int((state or {}).get("rejected", 0))

    def _store_counts(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "tocsin_store_operations", "Errors and retries of the object store.", labels=["what"]
        )
        for what, n in sorted(getattr(self._store, "counts", {}).items()):
            family.add_metric([what], n)
        yield family
