"""`tocsin summaries value` and `next-epoch`: what a running watch is asked."""

from typing import Any

import rich_click as click

from tocsin.app import App
from tocsin.cli.findings import show_time
from tocsin.cli.output import json_option, print_json, print_table
from tocsin.errors import SettingsError

state_option = click.option(
    "--state", default="watch", show_default=True, metavar="NAME", help="The name that the watch was given."
)


@click.command()
@click.argument("name")
@click.argument("key", nargs=-1, metavar="[PART=VALUE]…")
@state_option
@json_option
@click.pass_obj
def value(app: App, name: str, key: tuple[str, ...], state: str, as_json: bool) -> None:
    """Show what a key has at this moment in each open epoch; nothing is reset.

    A part without a value, `host=`, is one that records lack.

    \b
    tocsin summaries value ssh-guessing host=10.0.0.7
    """
    found = ask_watch(app, state, {"do": "value", "summary": name, "key": dict(map(_part, key))})
    if as_json:
        print_json([each | {"start": _time(each["start"]), "end": _time(each["end"])} for each in found])
        return
    if not found:
        click.echo("Nothing was counted for it in an open epoch.")
    for each in found:
        rows = [(reducer, _shown(result)) for reducer, result in each["values"].items()]
        title = f"{' '.join(key) or name} from {show_time(each['start'])} to {show_time(each['end'])} UTC"
        print_table(title, ("result", "value"), rows)


@click.command("next-epoch")
@click.argument("name")
@state_option
@json_option
@click.pass_obj
def next_epoch(app: App, name: str, state: str, as_json: bool) -> None:
    """End the open epoch of a summary with `epoch: manual`, and begin the next.

    \b
    tocsin summaries next-epoch shift-totals
    """
    answer = ask_watch(app, state, {"do": "next-epoch", "summary": name})
    if as_json:
        print_json(answer)
        return
    click.echo(f"The epoch of {name} has ended.")


def ask_watch(app: App, state: str, request: dict[str, Any]) -> Any:
    """Ask the watch of this name. Raises TocsinError when none runs, and what it refuses with."""
    from tocsin.app_watch import control_path
    from tocsin.cluster.control import ask

    return ask(control_path(app, state), request)


def _part(text: str) -> tuple[str, str | None]:
    name, separator, given = text.partition("=")
    if not separator:
        raise SettingsError(f"a key is given as PART=VALUE, such as host=10.0.0.7 (got {text!r})")
    return name, given or None


def _time(time: Any) -> str:
    from tocsin.records.finding import rfc3339

    return rfc3339(time)


def _shown(result: Any) -> Any:
    from tocsin.detectors.summary.findings import plain

    return plain(result)
