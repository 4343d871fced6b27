"""`tocsin ingest`: logs and captures into the lake."""

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from tocsin.app import App
from tocsin.cli.output import json_option, print_json, print_json_lines, print_table, progress

if TYPE_CHECKING:
    from tocsin.jobs.ingest import FileResult, IngestResult

_SHOWN = 200


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option(
    "--format",
    "format_name",
    metavar="NAME",
    help="zeek, eve, argus, csv:NAME (a column map under ingest.csv), parquet or pcap; by content otherwise.",
)
@click.option("--follow", is_flag=True, help="Keep reading live logs, through rotation, until Ctrl-C or SIGTERM.")
@json_option
@click.pass_obj
def ingest(app: App, paths: tuple[str, ...], format_name: str | None, *, follow: bool, as_json: bool) -> None:
    """Read logs and captures into the lake, each row once.

    PATH is a file, a folder or a glob; gzip and zstd are unpacked. Reading the same file again does nothing, a grown
    one is read on, of a changed one only new rows are taken. Rows that cannot be used are set aside with file, line
    and reason.

    \b
    tocsin ingest /var/log/zeek/current/conn.log
    tocsin ingest 'logs/conn.*.log.gz' capture.binetflow
    tocsin ingest /var/log/zeek --follow
    tocsin ingest netflow.csv --format csv:netflow

    Ends with 3 when a file cannot be used; the others are read all the same.
    """
    if follow:
        _follow(app, paths, format_name, as_json=as_json)
        return
    from tocsin.jobs.ingest import ingest as run

    with progress(quiet=as_json) as bars:
        task = bars.add_task("rows", total=None)
        ahead: dict[Path, int] = {}

        def show(path: Path, _: int, rows: int) -> None:
            ahead[path] = rows
            bars.update(task, description=path.name, completed=sum(ahead.values()))

        result = run(
            app.store,
            paths,
            domain=app.domain,
            settings=app.settings.ingest,
            clock=app.clock,
            format=format_name,
            progress=show,
        )
    if as_json:
        print_json(result.as_dict())
    else:
        _summary(result)
    if result.exit_code:
        raise SystemExit(result.exit_code)


def _summary(result: "IngestResult") -> None:
    read = [file for file in result.files if file.status not in ("failed", "skipped")]
    if read:
        rows = [_row(file) for file in read[:_SHOWN]]
        print_table("Ingested", ["file", "status", "format", "rows", "set aside", "days"], rows)
    for file in result.files:
        for warning in file.warnings:
            click.echo(f"warning: {warning}", err=True)
        for place in file.rejected_at:
            click.echo(f"set aside: {place}", err=True)
    other = [file for file in result.files if file.status == "skipped"]
    if other:
        click.echo(
            f"{len(other)} files in the folders hold no flows and were left alone (--json names them).", err=True
        )
    for file in result.failed:
        click.echo(f"tocsin: {file.error}", err=True)
    total = f"{result.rows:,} flows came into the lake"
    total += f", {result.rejected:,} rows were set aside" if result.rejected else ""
    click.echo(f"{total}. Next: tocsin auto" if result.rows else f"{total}.")


def _row(file: "FileResult") -> list[Any]:
    days = f"{file.days[0]} … {file.days[-1]}" if len(file.days) > 1 else "".join(file.days)
    return [file.path, file.status, file.format, file.rows, file.rejected, days]


def _follow(app: App, paths: tuple[str, ...], format_name: str | None, *, as_json: bool) -> None:
    from tocsin.jobs.follow import Follower

    stopped = threading.Event()
    handlers = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}

    def report(result: "IngestResult") -> None:
        if as_json:
            print_json_lines(vars(file) for file in result.files)
            return
        for file in result.files:
            if file.error:
                click.echo(f"tocsin: {file.error}", err=True)
            else:
                aside = f", {file.rejected:,} set aside" if file.rejected else ""
                click.echo(f"{file.path}: {file.rows:,} flows{aside}")

    try:
        Follower(
            app.store,
            paths,
            domain=app.domain,
            settings=app.settings.ingest,
            clock=app.clock,
            format=format_name,
        ).run(stopped.is_set, report)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
