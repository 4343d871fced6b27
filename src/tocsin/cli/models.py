"""Models: which versions there are, how they were made, which is served."""

import rich_click as click

from tocsin.app import App
from tocsin.cli.output import json_option, print_json, print_table
from tocsin.lifecycle.registry import Registry


@click.group()
def models() -> None:
    """List, show, promote and roll back models.

    \b
    tocsin models list
    tocsin models show tcp
    tocsin models rollback tcp
    """


@models.command("list")
@json_option
@click.pass_obj
def list_models(app: App, as_json: bool) -> None:
    """List every version of every model, newest first."""
    registry = _registry(app)
    rows = [(name, version) for name in registry.names() for version in registry.versions(name)]
    if as_json:
        print_json([{"model": name, **vars(version)} for name, version in rows])
        return
    print_table(
        "models",
        ["model", "version", "algorithm", "created", "days", "rows", "fields", "served", "verdict"],
        [
            (
                name,
                v.name,
                v.algorithm,
                v.created,
                len(v.dates),
                v.rows,
                len(v.fields),
                "●" if "production" in v.aliases else "",
                v.why or v.verdict,
            )
            for name, v in rows
        ],
    )
    if not rows:
        click.echo("there are no models yet; `tocsin auto` or `tocsin train` makes them")


@models.command()
@click.argument("model")
@click.argument("version", default="production")
@json_option
@click.pass_obj
def show(app: App, model: str, version: str, as_json: bool) -> None:
    """Show how a version was made: when, from which days and rows, with which fields and seed."""
    found = _registry(app).find(model, version)
    if as_json:
        print_json({"model": model, **vars(found)})
        return
    for name, value in vars(found).items():
        click.echo(f"{name:>10}  {', '.join(map(str, value)) if isinstance(value, list) else value}")


@models.command()
@click.argument("model")
@click.argument("version")
@click.pass_obj
def promote(app: App, model: str, version: str) -> None:
    """Serve this version from now on."""
    registry = _registry(app)
    found = registry.find(model, version)
    registry.promote(model, found)
    click.echo(f"{model}: {found.name} is served")


@models.command()
@click.argument("model")
@click.pass_obj
def rollback(app: App, model: str) -> None:
    """Serve the good version before the one that is served."""
    click.echo(f"{model}: {_registry(app).rollback(model).name} is served")


def _registry(app: App) -> Registry:
    return Registry(app.store, app.domain, keep_versions=app.settings.training.keep_versions)
