"""The command that checks the store."""

from typing import TYPE_CHECKING

import rich_click as click

from tocsin.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from tocsin.app import App


@click.command("test-s3")
@json_option
@click.option("--retries", default=1, show_default=True, help="Attempts after the first, instead of s3.http_retries.")
@click.pass_obj
def test_s3(app: "App", as_json: bool, retries: int) -> None:
    """Check that the store can be used: writing, reading, listing, deleting and conditional puts, each timed.

    Works for folders as well as for S3. A scratch object is written below tocsin-probe/ and removed.

    \b
    tocsin test-s3
    tocsin -c tocsin.yaml test-s3 --json
    TOCSIN_S3__BUCKET=flows TOCSIN_S3__ENDPOINT=http://minio:9000 tocsin test-s3
    """
    from tocsin.app import App
    from tocsin.stores.probe import probe

    # Somebody waits for the answer, so the daemon's patience would be out of place.
    patience = app.settings.s3.model_copy(update={"http_retries": retries})
    store = App(app.settings.model_copy(update={"s3": patience}), app.clock).store
    capabilities = probe(store, clock=app.clock)
    if as_json:
        print_json(
            {"store": store.url(""), "kind": store.name, "capabilities": [item.to_dict() for item in capabilities]}
        )
        return
    rows = [(item.name, item.what, f"{item.took_ms:.1f} ms") for item in capabilities]
    print_table(f"{store.url('')} can", ("capability", "what", "took"), rows)
    click.echo("The store can be used.")
