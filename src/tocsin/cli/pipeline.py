"""The pipeline by hand: sample, extract, rank, train, score, and all of it at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import rich_click as click

from tocsin.app import App
from tocsin.cli.output import json_option, print_json, progress
from tocsin.cli.stop import stop_on_signals
from tocsin.errors import SettingsError
from tocsin.jobs.lake import lake_days
from tocsin.jobs.work import Done, Work

protocol_option = click.option(
    "-p", "--protocol", "protocols", multiple=True, help="Only this protocol; may be repeated."
)
sequential_option = click.option("--sequential", is_flag=True, help="One protocol after the other.")
DAY = click.DateTime(["%Y-%m-%d"])


@contextmanager
def working(
    app: App, protocols: tuple[str, ...] = (), *, sequential: bool = False, quiet: bool = False
) -> Iterator[Work]:
    """Give the jobs what they work with: a store that has shown what it can do, progress bars, a stop by signal."""
    from tocsin.stores.probe import probe

    work = app.work(protocols)
    probe(work.store)
    if sequential:
        work.settings.parallel_protocols = False
    with stop_on_signals(work.stop), progress(quiet=quiet) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        work.progress = show
        yield work


def report(done: list[Done], *, as_json: bool) -> None:
    """Print what jobs did."""
    if as_json:
        print_json([item.to_dict() for item in done])
        return
    for item in done:
        counts = ", ".join(f"{n:,} {name}" for name, n in item.counts.items()) or "nothing to do"
        days = f" ({_span(item.days)})" if item.days else ""
        click.echo(f"{item.job}{days}: {counts}")
        for note in item.notes:
            click.echo(f"  {note}")


@click.command()
@protocol_option
@sequential_option
@json_option
@click.pass_obj
def auto(app: App, protocols: tuple[str, ...], sequential: bool, as_json: bool) -> None:
    """Run the whole pipeline once: profile, sample, extract, rank, train, score.

    Days are the lake's: a capture of years ago works as well as yesterday's.

    \b
    tocsin auto
    tocsin -c site.yaml -vv auto -p tcp
    """
    from tocsin.jobs.pipeline import auto as run_all

    with working(app, protocols, sequential=sequential, quiet=as_json) as work:
        results = run_all(work)
    report(results, as_json=as_json)
    if not as_json and any(item.counts.get("flows scored") for item in results):
        click.echo("\nNext: tocsin hosts · tocsin findings list · tocsin status")


@click.command()
@protocol_option
@click.option("--date", "day", type=DAY, help="Only this day, sampled again.", metavar="YYYY-MM-DD")
@click.option("--days", type=click.IntRange(1), help="Only the newest so many days of the lake, sampled again.")
@click.option("--clear", is_flag=True, help="Forget all samples first, then sample again.")
@json_option
@click.pass_obj
def sample(
    app: App, protocols: tuple[str, ...], day: datetime | None, days: int | None, clear: bool, as_json: bool
) -> None:
    """Sample the days of the lake that are within retention and not sampled yet, or have changed since.

    \b
    tocsin sample
    tocsin sample --date 2025-01-28
    tocsin sample --clear
    """
    from tocsin.jobs.pipeline import Job, run_job
    from tocsin.jobs.sample import clear_samples, sample_days

    with working(app, protocols, quiet=as_json) as work:
        results = [clear_samples(work)] if clear else []
        dates = _dates(work, day, days)
        results.append(run_job(work, Job("sample", lambda work: sample_days(work, dates=dates))))
    report(results, as_json=as_json)


def _stage(name: str, help: str, load: Callable[[], Callable[[Work], Done]]) -> click.Command:
    """Make the command of a stage that takes no more than protocols."""

    @click.command(name, help=help)
    @protocol_option
    @sequential_option
    @json_option
    @click.pass_obj
    def command(app: App, protocols: tuple[str, ...], sequential: bool, as_json: bool) -> None:
        from tocsin.jobs.pipeline import Job, run_job

        with working(app, protocols, sequential=sequential, quiet=as_json) as work:
            done = run_job(work, Job(name, load()))
        report([done], as_json=as_json)

    return command


def _extract() -> Callable[[Work], Done]:
    from tocsin.jobs.train import extract

    return extract


def _rank() -> Callable[[Work], Done]:
    from tocsin.jobs.train import rank_fields

    return rank_fields


extract = _stage(
    "extract",
    "Build normalisation tables from the samples.\n\nOne Parquet table a protocol and field: bins of numbers, "
    "frequencies of categories and address prefixes.\n\n\b\ntocsin extract\ntocsin extract -p tcp",
    _extract,
)
rank = _stage(
    "rank",
    "Rank fields by what they tell, without labels.\n\n\b\ntocsin rank\ntocsin rank -p tcp --json",
    _rank,
)


@click.command()
@protocol_option
@sequential_option
@click.option(
    "--algorithm",
    type=click.Choice(["hbos", "iforest", "autoencoder", "hybrid"]),
    help="Instead of training.algorithm.",
)
@click.option(
    "--force", is_flag=True, help="Train even if nothing changed, and serve the result whatever the gate says."
)
@json_option
@click.pass_obj
def train(app: App, protocols: tuple[str, ...], sequential: bool, algorithm: Any, force: bool, as_json: bool) -> None:
    """Train a model for each protocol and serve it, unless it was made from too little or a poor day.

    \b
    tocsin train
    tocsin train -p tcp --algorithm iforest
    """
    from tocsin.jobs.pipeline import Job, run_job
    from tocsin.jobs.train import train as train_models

    if algorithm:
        app.settings.training.algorithm = algorithm
    with working(app, protocols, sequential=sequential, quiet=as_json) as work:
        done = run_job(work, Job("train", lambda work: train_models(work, force=force)))
    report([done], as_json=as_json)


@click.command()
@protocol_option
@click.option("--since", metavar="TIME", help="Score again from this time on (RFC 3339).")
@click.option("--date", "day", type=DAY, help="Score this day again.", metavar="YYYY-MM-DD")
@click.option("--days", type=click.IntRange(1), help="Score the newest so many days of the lake again.")
@click.option("--continuous", is_flag=True, help="Go on, looking for new flows every scoring.interval_s seconds.")
@json_option
@click.pass_obj
def score(
    app: App,
    protocols: tuple[str, ...],
    since: str | None,
    day: datetime | None,
    days: int | None,
    continuous: bool,
    as_json: bool,
) -> None:
    """Score the flows that have no score yet, and raise findings.

    \b
    tocsin score
    tocsin score --since 2025-01-01T00:00:00Z
    tocsin score --continuous
    """
    from tocsin.jobs.pipeline import PROFILE, SCORE, alone, run_job
    from tocsin.jobs.score import score_days

    moment = _moment(since)
    with working(app, protocols, quiet=as_json or continuous) as work:
        dates = _dates(work, day, days)
        results = [
            run_job(work, PROFILE),
            run_job(work, alone("score", lambda work: score_days(work, dates=dates, since=moment))),
        ]
        report(results, as_json=as_json)
        while continuous and not work.stop.wait(app.settings.scoring.interval_s):
            report([run_job(work, PROFILE), run_job(work, SCORE)], as_json=as_json)


def _dates(work: Work, day: datetime | None, days: int | None) -> list[date] | None:
    if day is not None:
        return [day.date()]
    if days is None:
        return None
    present = list(lake_days(work.store, work.domain))
    return [item for item in present if item > max(present) - timedelta(days=days)]


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(f"--since: {text!r} is no RFC 3339 time, such as 2025-01-01T00:00:00Z") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _span(days: list[date]) -> str:
    return f"{days[0]}" if len(days) == 1 else f"{min(days)} to {max(days)}"
