"""`tocsin hosts`: who was how anomalous over a time range, and why."""

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta

import rich_click as click

from tocsin.app import App
from tocsin.cli.output import json_option, print_json, print_table, show_score
from tocsin.cli.when import parse_when
from tocsin.records.finding import Reason


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
    from tocsin.jobs.hosts import choose_days, host_days, rank_hosts
    from tocsin.verdict.severity import Cutoffs

    now = app.clock.now()
    first, last = (parse_when(text, now, option) for text, option in ((since, "--since"), (until, "--until")))
    paths = host_days(app.store, app.domain)
    newest = days or (None if first or last else 7)
    chosen = choose_days(paths, since=_date(first), until=_date(last), newest=newest)
    ranked = rank_hosts(app.store, {day: paths[day] for day in chosen})
    found = _findings(app, chosen)
    cutoffs = Cutoffs.of(app.settings.verdict)
    if as_json:
        extra = [{"severity": cutoffs.severity(rank.score), "findings": found[rank.host]} for rank in ranked[:limit]]
        print_json(
            [{"rank": n} | rank.to_dict() | more for n, (rank, more) in enumerate(zip(ranked, extra, strict=False), 1)]
        )
        return
    if not ranked:
        click.echo(_nothing(list(paths)))
        return
    rows = [
        (n, rank.host, show_score(rank.score), cutoffs.severity(rank.score), why(rank.reasons), found[rank.host])
        for n, rank in enumerate(ranked[:limit], 1)
    ]
    span = f"{chosen[0]} to {chosen[-1]}" if len(chosen) > 1 else f"{chosen[0]}"
    columns = ("rank", "host", "score", "severity", "why", "findings")
    print_table(f"{len(rows)} of {len(ranked):,} hosts, {span}", columns, rows)


def why(reasons: list[Reason]) -> str:
    """Say reasons in words, most important first."""
    return "; ".join(
        f"{reason.field} {reason.seen}" + (f" (expected {reason.expected})" if reason.expected else "")
        for reason in reasons[:3]
    )


def _date(moment: datetime | None) -> date | None:
    return moment.date() if moment else None


def _findings(app: App, days: list[date]) -> Counter[str]:
    """Count the findings in sight about each entity on these days."""
    if not days:
        return Counter()
    start = datetime.combine(days[0], time(), UTC)
    end = datetime.combine(days[-1], time(), UTC) + timedelta(days=1)
    found = app.ledger.findings(domain=app.domain, since=start, until=end, limit=None)
    return Counter(finding.entity for finding in found)


def _nothing(days: list[date]) -> str:
    if not days:
        return "No host scores yet. `tocsin ingest` and `tocsin auto` make them."
    return f"No host scores in this range; there are some from {days[0]} to {days[-1]}."
