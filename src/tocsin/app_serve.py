"""Builds the service from settings: beside app.py and app_watch.py the only place that builds."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from tocsin.app import App
from tocsin.serve.heap import one_arena
from tocsin.serve.metrics import Metrics
from tocsin.serve.parts import Parts
from tocsin.serve.server import Serving, listen
from tocsin.serve.service import make_service
from tocsin.settings_serve import ServeSettings, check_safe, is_loopback

if TYPE_CHECKING:
    from tocsin.jobs.contexts import Contexts

log = logging.getLogger("tocsin.serve")


def service_parts(app: App, settings: ServeSettings, metrics: Metrics | None = None) -> Parts:
    """Return what the routes work with. metrics: those of the daemon it runs in."""
    return Parts(
        ledger=app.ledger,
        store=app.store,
        verdict=app.verdict,
        domain=app.domain,
        clock=app.clock,
        settings=settings,
        whole_settings=app.settings,
        metrics=metrics or Metrics(app.store, app.ledger, domain=app.domain, clock=app.clock),
        home=app.home,
        open_contexts=lambda: _contexts(app, settings),
    )


@contextmanager
def serving(
    app: App, settings: ServeSettings, stop: threading.Event, metrics: Metrics | None = None
) -> Iterator[Serving]:
    """Serve while the block runs, or until `stop` is set; the service sets it where it ends by itself.

    At the end of the block every request is answered and everything is on disk.

    Raises SettingsError when the address cannot be had or is not safe, and what kept the contexts from being read.
    """
    check_safe(settings)
    one_arena()
    parts = service_parts(app, settings, metrics)
    parts.stop = stop.set
    service = make_service(parts)
    running = Serving(service, listen(settings.host, settings.port), settings, ended=stop.set)
    running.start()
    threading.Thread(target=_end_on, args=(stop, running), name="service-stop", daemon=True).start()
    _tell(app, settings, running.url)
    try:
        yield running
    finally:
        stop.set()
        running.join()
        if parts.failed is not None:
            raise parts.failed


def _end_on(stop: threading.Event, running: Serving) -> None:
    """Take no more requests from the moment on that a stop is asked for, whatever else has yet to be finished."""
    stop.wait()
    running.stop()


def _contexts(app: App, settings: ServeSettings) -> "Contexts":
    from tocsin.detectors.novelty.options import Options
    from tocsin.jobs.contexts import Contexts

    _compile()
    return Contexts.open(app.home / "novelty", clock=app.clock, durability=settings.durability, defaults=Options())


def _compile() -> None:
    """Learn something with a model of each kind, so that no first request waits for the kernels to be compiled."""
    from tocsin.detectors.novelty.model import NoveltyModel
    from tocsin.detectors.novelty.options import ORDERS, Options

    columns = [pa.array(["a", "b", "a"]), pa.array(["1", "2", "3"])]
    for order in ORDERS:
        model = NoveltyModel(Options(order=order))
        model.observe(columns)
        model.score(columns)
        model.nearest(columns)


def _tell(app: App, settings: ServeSettings, url: str) -> None:
    log.info("the service is at %s, its documentation at %s/docs", url, url)
    if settings.durability == "fast":
        log.warning("durability is fast: a crash of the machine may lose what was acknowledged in the last half minute")
    if "keys" in settings.auth and not any(key.state_at(app.clock.now()) == "active" for key in app.ledger.keys.all()):
        log.warning("there is no API key yet; `tocsin keys create NAME --scope read,score` makes one")
    if not is_loopback(settings.host):
        log.warning("keys and tokens travel in the clear: put a reverse proxy with TLS before it (docs/service.md)")
