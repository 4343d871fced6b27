"""`tocsin serve`."""

import threading

import rich_click as click

from tocsin.app import App
from tocsin.cli.stop import stop_on_signals


@click.command()
@click.option("--host", help="Address to listen on; anything but loopback needs serve.auth.  [serve.host]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 for any.  [serve.port]")
@click.option(
    "--durability",
    type=click.Choice(["full", "fast"]),
    help="full: what is acknowledged survives a power cut; fast: a kill, but a crash of the machine may lose the last "
    "half minute.  [serve.durability]",
)
@click.pass_obj
def serve(app: App, host: str | None, port: int | None, durability: str | None) -> None:
    """Serve the REST API, its documentation at /docs and a page at /.

    It listens on 127.0.0.1:8080 and is open to everybody on this machine; other addresses need `serve.auth`.
    SIGTERM or SIGINT finishes running requests and ends.

    \b
    tocsin serve
    tocsin serve --port 9000 --durability fast
    curl -s localhost:8080/api/v1/novelty/web/observe -H 'Content-Type: application/json' -d '["tcp","443","ssl"]'
    """
    from tocsin.app_serve import serving
    from tocsin.stores.probe import probe

    given = {"host": host, "port": port, "durability": durability}
    settings = app.settings.serve.model_copy(update={name: value for name, value in given.items() if value is not None})
    stop = threading.Event()
    with stop_on_signals(stop):
        probe(app.store)
        with serving(app, settings, stop) as running:
            click.echo(f"tocsin: serving at {running.url} (documentation: {running.url}/docs)", err=True)
            stop.wait()
