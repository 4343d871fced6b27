"""`tocsin keys`: who may use the service."""

import re

import rich_click as click

from tocsin.app import App
from tocsin.cli.findings import show_time
from tocsin.cli.output import json_option, print_json, print_table
from tocsin.errors import SettingsError
from tocsin.records.when import parse_until
from tocsin.settings_serve import SCOPES, Scope

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")


@click.group()
def keys() -> None:
    """Make, list and revoke API keys for `tocsin serve` with serve.auth: keys.

    Scopes: read looks; score observes and scores; write changes and deletes; admin stops and resets. Each one holds
    those before it.

    \b
    tocsin keys create sensor-7 --scope score --expires 90d
    curl -H "Authorization: Bearer $KEY" http://127.0.0.1:8080/api/v1/novelty
    """


@keys.command()
@click.argument("name")
@click.option("--scope", default="read", show_default=True, help="What it may do: read, score, write, admin.")
@click.option("--expires", help="When it ends by itself: 90d from now, or a time; never when unset.", metavar="TIME")
@json_option
@click.pass_obj
def create(app: App, name: str, scope: str, expires: str | None, as_json: bool) -> None:
    """Make a key and print it, this once: what is kept is only its hash.

    \b
    tocsin keys create dashboard --expires 90d
    tocsin keys create sensor-7 --scope read,score
    """
    if not NAME.fullmatch(name):
        raise SettingsError(f"NAME: must be 1 to 63 of letters, digits and . _ @ - (got {name!r})")
    until = parse_until(expires, app.clock.now(), "--expires")
    if until and until <= app.clock.now():
        raise SettingsError(f"--expires: {expires} is past; give a time to come, or 90d for so long from now")
    key, token = app.ledger.keys.create(name, _highest(scope), until)
    if as_json:
        print_json(key.to_dict() | {"key": token})
        return
    click.echo(token)
    when = f"until {show_time(until)} UTC" if until else "until it is revoked"
    click.echo(f"Key {key.id} of {name} has the scope {key.scope}, {when}. It is not shown again.", err=True)


@keys.command("list")
@json_option
@click.pass_obj
def list_(app: App, as_json: bool) -> None:
    """List the keys, with when each was last used; those that were revoked or have expired too.

    \b
    tocsin keys list
    """
    now = app.clock.now()
    found = app.ledger.keys.all()
    if as_json:
        print_json([key.to_dict() | {"state": key.state_at(now)} for key in found])
        return
    if not found:
        click.echo("No keys. `tocsin keys create NAME` makes one.")
        return
    rows = [
        (
            key.id,
            key.name,
            key.scope,
            key.state_at(now),
            show_time(key.created),
            show_time(key.expires) if key.expires else "never",
            show_time(key.last_used) if key.last_used else "-",
        )
        for key in found
    ]
    columns = ("id", "name", "scope", "state", "created (UTC)", "expires (UTC)", "last used (UTC)")
    print_table(f"{len(found)} keys", columns, rows)


@keys.command()
@click.argument("name_or_id", metavar="NAME|ID")
@json_option
@click.pass_obj
def revoke(app: App, name_or_id: str, as_json: bool) -> None:
    """Let a key count no more; a running service knows within two seconds.

    \b
    tocsin keys revoke sensor-7
    """
    key = app.ledger.keys.revoke(name_or_id)
    if as_json:
        print_json(key.to_dict())
        return
    click.echo(f"Key {key.id} of {key.name} counts no more.")


def _highest(text: str) -> Scope:
    """Return the highest of the scopes that are named, which holds the others. Raises SettingsError."""
    named = [part.strip() for part in text.split(",") if part.strip()]
    for part in named or [text]:
        if part not in SCOPES:
            raise SettingsError(f"--scope: {part!r} is none of {', '.join(SCOPES)}")
    return max((scope for scope in SCOPES if scope in named), key=SCOPES.index)
