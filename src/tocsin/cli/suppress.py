"""`tocsin suppress`: rules that hide what is known."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import rich_click as click

from tocsin.app import App
from tocsin.cli.findings import show_time, user
from tocsin.cli.output import json_option, print_json, print_table, show_score
from tocsin.errors import LedgerError
from tocsin.ledger.documents import added_document, removed_document, rule_document
from tocsin.records.finding import Finding
from tocsin.records.suppression import Suppression, in_words, new_rule
from tocsin.records.when import parse_until, parse_when

_CONDITIONS = (
    click.option("--entity", default="", help="This entity, exactly."),
    click.option("--network", default="", help="Entities in this CIDR block.", metavar="CIDR"),
    click.option("--field", "shown", default="", help="Findings about this field, or this value.", metavar="F[=V]"),
    click.option("--kind", default="", help="This kind, such as beacon."),
    click.option("--detector", default="", help="This detector."),
    click.option("--weekdays", default="", help="Records of these days: mon-fri, or sat,sun (UTC).", metavar="DAYS"),
    click.option("--hours", default="", help="Records of these hours: 22-06, or 08:30-17:00 (UTC).", metavar="HOURS"),
    click.option("--from", "valid_from", help="Records from this time on.", metavar="TIME"),
    click.option("--until", "valid_until", help="Records before this time.", metavar="TIME"),
)


def _conditions(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_CONDITIONS):
        command = option(command)
    return command


@click.group()
def suppress() -> None:
    """Hide what is known, with owner, reason and expiry.

    Every condition that is given must hold. Stored findings are hidden too, and shown again when the rule ends.

    \b
    tocsin suppress test --network 10.9.0.0/16 --kind port-scan
    tocsin suppress add --network 10.9.0.0/16 --kind port-scan --reason "our scanner" --expires 90d
    """


@suppress.command()
@_conditions
@click.option("--owner", help="Who answers for it; the user by default.")
@click.option("--reason", required=True, help="Why this need not ring.")
@click.option("--expires", help="When it ends by itself: 30d from now, or a time; never when unset.", metavar="TIME")
@json_option
@click.pass_obj
def add(app: App, /, owner: str | None, reason: str, expires: str | None, as_json: bool, **conditions: Any) -> None:
    """Add a rule, and hide the stored findings that it matches.

    \b
    tocsin suppress add --entity 10.0.0.9 --reason "vulnerability scanner" --expires 30d
    tocsin suppress add --field dport=5353 --weekdays sat,sun --reason "multicast DNS"
    """
    rule = _rule(app, owner=owner or user(), reason=reason, **conditions)
    rule = replace(rule, expires=parse_until(expires, app.clock.now(), "--expires"))
    hidden = app.verdict.add_rule(rule)
    if as_json:
        print_json(added_document(rule, hidden))
        return
    click.echo(f"Rule {rule.id} hides {in_words(rule)}, {len(hidden)} stored findings among it.")


@suppress.command()
@_conditions
@json_option
@click.pass_obj
def test(app: App, /, as_json: bool, **conditions: Any) -> None:
    """Show which stored findings a rule would hide, without adding it.

    \b
    tocsin suppress test --network 10.9.0.0/16 --hours 22-06
    """
    rule = _rule(app, owner="test", reason="test", **conditions)
    hidden = app.verdict.would_hide(rule)
    if as_json:
        print_json([finding.to_dict() for finding in hidden])
        return
    in_sight = app.ledger.count_findings(domain=app.domain)
    click.echo(f"A rule for {in_words(rule)} would hide {len(hidden)} of {in_sight:,} findings.")
    if hidden:
        print_table("would be hidden", ("id", "severity", "score", "when (UTC)", "kind", "finding"), map(_row, hidden))


@suppress.command("list")
@click.option("--active", is_flag=True, help="Only those that have not expired.")
@json_option
@click.pass_obj
def list_(app: App, active: bool, as_json: bool) -> None:
    """List the rules, with how many findings each has hidden.

    \b
    tocsin suppress list
    """
    app.verdict.expire()
    now = app.clock.now()
    rules = app.ledger.suppressions(active_at=now if active else None)
    if as_json:
        print_json([rule_document(rule, now) for rule in rules])
        return
    if not rules:
        click.echo("No rules. `tocsin suppress add --help` says how to make one.")
        return
    columns = ("id", "hides", "owner", "reason", "expires (UTC)", "hits", "last hit (UTC)")
    rows = [
        (
            rule.id,
            in_words(rule),
            rule.owner,
            rule.reason,
            f"{show_time(rule.expires)}{'' if rule.active_at(now) else ', over'}" if rule.expires else "never",
            rule.hits,
            show_time(rule.last_hit) if rule.last_hit else "-",
        )
        for rule in rules
    ]
    print_table(f"{len(rules)} rules", columns, rows)


@suppress.command()
@click.argument("rule_id", metavar="ID")
@json_option
@click.pass_obj
def remove(app: App, rule_id: str, as_json: bool) -> None:
    """Drop a rule by its id, or the beginning of it, and show again what it hid.

    \b
    tocsin suppress remove 3f9c
    """
    ids = [rule.id for rule in app.ledger.suppressions() if rule_id and rule.id.startswith(rule_id)]
    if len(ids) > 1 and rule_id not in ids:
        raise LedgerError(f"{rule_id!r} is the beginning of several rules: {', '.join(ids)}; give more of it")
    found = ids[0] if len(ids) == 1 else rule_id
    shown = app.verdict.remove_rule(found)
    if as_json:
        print_json(removed_document(found, shown))
        return
    click.echo(f"Rule {found} is gone; {shown} findings are in sight again.")


def _rule(app: App, *, owner: str, reason: str, shown: str, **conditions: Any) -> Suppression:
    """Return the rule that these options say. Raises SettingsError."""
    now = app.clock.now()
    field, _, value = shown.partition("=")
    conditions["valid_from"] = parse_when(conditions["valid_from"], now, "--from")
    conditions["valid_until"] = parse_when(conditions["valid_until"], now, "--until")
    about: dict[str, Any] = conditions | {"domain": app.domain, "field": field, "value": value}
    return new_rule(Suppression(id="", owner=owner, reason=reason, created=now, **about))


def _row(finding: Finding) -> tuple[str, ...]:
    when = show_time(finding.start)
    return finding.id[:8], finding.severity, show_score(finding.score), when, finding.kind, finding.title
