"""`tocsin backtest`: the same summaries over what is there already."""

from typing import Any

import rich_click as click

from tocsin.app import App
from tocsin.cli.findings import show_time
from tocsin.cli.output import print_table
from tocsin.cli.watch import Outcome, run, summary_options
from tocsin.records.when import parse_when


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]…")
@click.option("--since", metavar="TIME", help="Records from this time on: 2025-01-08, RFC 3339, or 24h, 7d ago.")
@click.option("--until", metavar="TIME", help="Records before this time.")
@summary_options
@click.pass_obj
def backtest(
    app: App, /, paths: tuple[str, ...], since: str | None, until: str | None, as_json: bool, **options: Any
) -> None:
    """Count what files, or without them the lake's flows, hold, as `tocsin watch` would have.

    The findings are those that watching would have given, with the same ids, and are kept like any other.

    \b
    tocsin backtest --since 7d
    tocsin backtest 'logs/ssh.*.log.gz' --preset ssh-guessing
    tocsin backtest capture.pcap --results results.parquet --no-store
    """
    now = app.clock.now()
    options |= {"since": parse_when(since, now, "--since"), "until": parse_when(until, now, "--until")}
    outcome = run(app, paths, as_json=as_json, **options)
    if not as_json:
        _tables(outcome)
    if outcome.exit_code:
        raise SystemExit(outcome.exit_code)


def _tables(outcome: Outcome) -> None:
    tally, found, _ = outcome
    rows = [
        (
            each["name"],
            each["counts"].get("records", 0),
            each["counts"].get("late", 0),
            sum(each["name"] == finding.about.partition(" ")[0] for finding in found if finding.detector != "novelty"),
        )
        for each in tally.summaries
    ]
    if rows:
        print_table("summaries", ("summary", "records", "late", "findings"), rows)
    learned = [
        (
            each["name"],
            each["counts"].get("records", 0),
            each["counts"].get("novel", 0),
            each["counts"].get("warming_up", 0),
            sum(each["name"] == finding.about.partition(" ")[0] for finding in found if finding.detector == "novelty"),
        )
        for each in tally.novelty
    ]
    if learned:
        print_table("novelty", ("detector", "records", "novel", "before it was warm", "findings"), learned)
    shown = sorted(found, key=lambda finding: finding.start)
    if shown:
        columns = ("id", "severity", "when (UTC)", "finding")
        rows = [(each.id[:8], each.severity, show_time(each.end), each.title) for each in shown]
        print_table(f"{len(shown)} finding{'s' * (len(shown) != 1)}", columns, rows)
