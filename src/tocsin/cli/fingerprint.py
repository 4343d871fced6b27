"""`tocsin fingerprint`: learn and judge hosts' TLS and TCP fingerprints."""

from datetime import date, datetime, timedelta

import rich_click as click

from tocsin.app import App
from tocsin.cli.output import json_option, print_json, print_table
from tocsin.cli.pipeline import DAY, report, working
from tocsin.errors import SettingsError


@click.group()
def fingerprint() -> None:
    """Learn which TLS and TCP fingerprints each host presents, and report hosts that change them.

    \b
    tocsin fingerprint build --days 7
    tocsin fingerprint detect
    tocsin fingerprint profile --ip 192.168.1.20
    """


@fingerprint.command()
@click.option(
    "--days", type=click.IntRange(1), help="The newest so many days of the lake [default: fingerprint.history_days]."
)
@click.option("--start", type=DAY, metavar="YYYY-MM-DD", help="First day, with --end.")
@click.option("--end", type=DAY, metavar="YYYY-MM-DD", help="Last day, included.")
@json_option
@click.pass_obj
def build(app: App, days: int | None, start: datetime | None, end: datetime | None, as_json: bool) -> None:
    """Learn every host's fingerprints from days of the lake.

    \b
    tocsin fingerprint build --days 7
    tocsin fingerprint build --start 2025-01-01 --end 2025-01-07
    """
    if (start is None) != (end is None):
        raise SettingsError("--start and --end go together")
    if start is not None and days is not None:
        raise SettingsError("--days or --start with --end, not both")
    if start is not None and end is not None and start > end:
        raise SettingsError(f"--start {start:%Y-%m-%d} is after --end {end:%Y-%m-%d}")
    from tocsin.jobs.fingerprint import build_fingerprints, wanted_days
    from tocsin.jobs.pipeline import Job, run_job

    with working(app, quiet=as_json) as work:
        chosen = _between(start, end) if start and end else wanted_days(work, days)
        done = run_job(work, Job("fingerprint build", lambda work: build_fingerprints(work, chosen)))
    report([done], as_json=as_json)


@fingerprint.command()
@click.option(
    "--date", "day", type=DAY, metavar="YYYY-MM-DD", help="The day that is judged [default: the lake's newest]."
)
@json_option
@click.pass_obj
def detect(app: App, day: datetime | None, as_json: bool) -> None:
    """Compare a day with each host's days before it and raise findings.

    \b
    tocsin fingerprint detect --date 2025-01-28
    tocsin findings list
    """
    from tocsin.jobs.fingerprint import detect_fingerprints
    from tocsin.jobs.pipeline import Job, run_job

    chosen = day.date() if day else None
    with working(app, quiet=as_json) as work:
        done = run_job(work, Job("fingerprint detect", lambda work: detect_fingerprints(work, chosen)))
    report([done], as_json=as_json)


@fingerprint.command()
@click.option("--ip", "address", required=True, help="The host.")
@click.option(
    "--days", type=click.IntRange(1), help="The newest so many days of the lake [default: fingerprint.history_days]."
)
@json_option
@click.pass_obj
def profile(app: App, address: str, days: int | None, as_json: bool) -> None:
    """Show the fingerprints a host has presented, how often, and since when.

    \b
    tocsin fingerprint profile --ip 192.168.1.20 --days 30 --json
    """
    from tocsin.jobs.fingerprint import profile_of, wanted_days

    with working(app, quiet=as_json) as work:
        chosen = wanted_days(work, days)
        rows = profile_of(work, address, chosen)
    if as_json:
        print_json({"host": address, "days": [str(day) for day in chosen], "fingerprints": rows})
    elif rows:
        columns = list(rows[0])
        print_table(f"{address}, {_span(chosen)}", columns, [[row[name] for name in columns] for row in rows])
    else:
        click.echo(f"{address} presented no fingerprint in {_span(chosen)}")


def _between(start: datetime, end: datetime) -> list[date]:
    return [start.date() + timedelta(days=n) for n in range((end - start).days + 1)]


def _span(days: list[date]) -> str:
    return f"{days[0]} to {days[-1]}" if days else "an empty lake"
