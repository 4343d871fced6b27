"""The daemon."""

import logging
import random
from contextlib import ExitStack

import rich_click as click

from tocsin.app import App
from tocsin.cli.pipeline import protocol_option
from tocsin.cli.stop import stop_on_signals

log = logging.getLogger("tocsin.run")


@click.command()
@click.option("--run-now", is_flag=True, help="Run the jobs at once, then stay.")
@protocol_option
@click.pass_obj
def run(app: App, run_now: bool, protocols: tuple[str, ...]) -> None:
    """Run as a daemon: sample and train daily, score what is new, serve metrics, and the API where serve.enabled is.

    SIGTERM or SIGINT finishes what was begun and ends; a second one ends at once. Runs missed while it was down are
    caught up at start. Any number of daemons may share a store: each piece of work is done once.

    \b
    tocsin -c /etc/tocsin/tocsin.yaml run
    tocsin run --run-now -p tcp
    """
    from tocsin.jobs.schedule import Daemon
    from tocsin.serve.metrics import Metrics
    from tocsin.stores.probe import probe

    work = app.work(protocols)
    with stop_on_signals(work.stop), ExitStack() as opened:
        probe(work.store)
        metrics = Metrics(work.store, work.ledger, domain=work.domain, clock=work.clock)
        if app.settings.metrics.enabled:
            server, _ = metrics.serve(app.settings.metrics)
            log.info("metrics are at http://%s:%d/metrics", app.settings.metrics.host, server.server_port)
        if app.settings.serve.enabled:
            from tocsin.app_serve import serving

            opened.enter_context(serving(app, app.settings.serve, work.stop, metrics))
        Daemon(work, rng=random.Random(), observer=metrics.observe).run(now=run_now)
