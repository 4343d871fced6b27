"""Which findings a command is about: the options that several commands share."""

from collections.abc import Callable
from typing import Any

import rich_click as click

from tocsin.app import App
from tocsin.records.finding import SEVERITIES, STATES
from tocsin.records.when import parse_when

_OPTIONS = (
    click.option("--since", metavar="TIME", help="From this time on: 2025-01-08, RFC 3339, or 24h, 7d ago."),
    click.option("--until", metavar="TIME", help="Before this time."),
    click.option("--entity", help="About this entity."),
    click.option("--detector", help="By this detector."),
    click.option("--kind", help="Of this kind, such as beacon."),
    click.option("--min-severity", type=click.Choice(SEVERITIES), help="Of this severity or above."),
    click.option("--state", type=click.Choice(STATES), help="In this state."),
    click.option("--all", "everything", is_flag=True, help="Hidden ones too: suppressed, or over the noise budget."),
)


def finding_filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that choose findings."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen(app: App, **options: Any) -> dict[str, Any]:
    """Return these options as the ledger's filters, within the settings' domain. Raises SettingsError."""
    now = app.clock.now()
    times = {name: parse_when(options[name], now, f"--{name}") for name in ("since", "until")}
    equal = {name: options[name] for name in ("entity", "detector", "kind", "min_severity", "state")}
    return {"domain": app.domain, "include_suppressed": options["everything"]} | times | equal
