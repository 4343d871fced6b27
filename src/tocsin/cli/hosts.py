"""`tocsin hosts`: who was how anomalous over a time range, and why."""

from datetime import date

import rich_click as click

from tocsin.app import App
from tocsin.cli.output import json_option, print_json, print_table, show_score
from tocsin.records.finding import Reason
from tocsin.records.when import parse_when


@click.command()
@click.option("--since", metavar="TIME", help="Days from this time on: 2025-01-08, RFC 3339, or 24h, 7d ago.")
@click.option("--until", metavar="TIME", help="Days up to this time.")
@click.option("--days", type=click.IntRange(min=1), help="The newest days that there are scores of; 7 by default.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Most hosts shown.")
@json_option
@click.pass_obj
def hosts(app: App, since: str | None, until: str | None, days: int | None, limit: int, as_json: bool) -> None:
    """Rank hosts by how anomalous they were, with why.

    A host's strongest day counts whole, its other days a fifth each. Days are those of the traffic.

    \b
    tocsin hosts
    tocsin hosts --days 1 --limit 5
    tocsin hosts --since 2025-01-06 --until 2025-01-08 --json
    """
    from tocsin.jobs.hosts import ranking
    from tocsin.verdict.severity import Cutoffs

    now = app.clock.now()
    first, last = (parse_when(text, now, option) for text, option in ((since, "--since"), (until, "--until")))
    cutoffs = Cutoffs.of(app.settings.verdict)
    ranked = ranking(app.store, app.ledger, cutoffs, app.domain, since=first, until=last, newest=days)
    if as_json:
        print_json(ranked.documents(limit))
        return
    if not ranked.hosts:
        click.echo(_nothing(ranked.stored))
        return
    rows = [
        (
            n,
            rank.host,
            show_score(rank.score),
            cutoffs.severity(rank.score),
            why(rank.reasons),
            ranked.findings[rank.host],
        )
        for n, rank in enumerate(ranked.hosts[:limit], 1)
    ]
    chosen = ranked.days
    span = f"{chosen[0]} to {chosen[-1]}" if len(chosen) > 1 else f"{chosen[0]}"
    columns = ("rank", "host", "score", "severity", "why", "findings")
    print_table(f"{len(rows)} of {len(ranked.hosts):,} hosts, {span}", columns, rows)


def why(reasons: list[Reason]) -> str:
    """Say reasons in words, most important first."""
    return "; ".join(
        f"{reason.field} {reason.seen}" + (f" (expected {reason.expected})" if reason.expected else "")
        for reason in reasons[:3]
    )


def _nothing(days: list[date]) -> str:
    if not days:
        return "No host scores yet. `tocsin ingest` and `tocsin auto` make them."
    return f"No host scores in this range; there are some from {days[0]} to {days[-1]}."
