"""`tocsin watch`: summaries over logs as they come, findings at once."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import rich_click as click

from tocsin.app import App
from tocsin.cli.findings import show_time
from tocsin.cli.output import json_option, print_json_lines, printable, progress
from tocsin.cli.stop import stop_on_signals
from tocsin.errors import SettingsError
from tocsin.records.finding import Finding

if TYPE_CHECKING:
    from tocsin.jobs.feeds import Tally as Input
    from tocsin.jobs.watch import Tally, Watch

log = logging.getLogger("tocsin.watch")

_OPTIONS = (
    click.option("--summary", "names", multiple=True, metavar="NAME", help="Only this summary; may be repeated."),
    click.option(
        "--preset", "presets", multiple=True, metavar="NAME", help="This shipped summary too; may be repeated."
    ),
    click.option(
        "--novelty", "novel", multiple=True, metavar="NAME", help="Only this novelty detector; may be repeated."
    ),
    click.option("--workers", type=click.IntRange(1, 64), help="Processes that count; watch.workers by default."),
    click.option(
        "--results",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write every key's result at the end of each epoch: NDJSON, or Parquet when it ends in .parquet.",
    ),
    click.option(
        "--format",
        "format_name",
        metavar="NAME",
        help="zeek, eve, argus, csv:NAME (a map under ingest.csv), parquet, pcap or ndjson; by content otherwise.",
    ),
    click.option(
        "--kind",
        default="",
        metavar="NAME",
        help="What JSON lines are that do not say it themselves: event, flow, zeek.ssh, eve.alert, …",
    ),
    click.option(
        "--no-store", is_flag=True, help="Print findings only: nothing into ledger and sinks, no rules applied."
    ),
    json_option,
)


def summary_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of everything that runs summaries."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class Outcome(NamedTuple):
    """What a run came to: counts, the findings shown, and the exit code."""

    tally: "Tally"
    findings: list[Finding]
    exit_code: int


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("--follow", is_flag=True, help="Keep reading live logs, through rotation, until Ctrl-C or SIGTERM.")
@click.option(
    "--state",
    metavar="NAME",
    help="Keep positions and counts under this name and go on from them; `watch` with --follow.",
)
@click.option("--fresh", is_flag=True, help="Forget what was kept under the name, and begin anew.")
@summary_options
@click.pass_obj
def watch(app: App, /, paths: tuple[str, ...], follow: bool, as_json: bool, **options: Any) -> None:
    """Count records by key as they come, and print findings at once.

    PATH is a file, a folder, a glob, or - for the standard input: Zeek logs of every kind, EVE, JSON lines, flows,
    captures. What is counted stands under `summaries:` in the settings (`tocsin summaries list`), what is
    learned under `novelty:`; where nothing does, every shipped summary with a threshold runs. Ending it ends every
    open epoch; a watch with a state has them open again when it goes on.

    \b
    tocsin watch /var/log/zeek/current --follow
    zcat ssh.log.gz | tocsin watch - --preset ssh-guessing
    tocsin watch traffic.pcap --results results.ndjson --json

    Ends with 3 when a file cannot be used; the others are read all the same.
    """
    outcome = run(app, paths, follow=follow, as_json=as_json, **options)
    if outcome.exit_code:
        raise SystemExit(outcome.exit_code)


def run(app: App, paths: tuple[str, ...], *, as_json: bool, **options: Any) -> "Outcome":
    """Run summaries until the records end or a signal comes; print findings at once and, last, what was counted."""
    from tocsin.app_watch import build_watch
    from tocsin.jobs.watch import Wanted

    if not (app.settings.summaries or options["presets"] or any(each.enabled for each in app.settings.novelty)):
        click.echo("No summaries are set up: every shipped summary with a threshold runs.", err=True)
    found: dict[str, Finding] = {}
    stop = threading.Event()
    follow = options.get("follow", False)
    quiet = as_json or follow or not sys.stdout.isatty()
    with progress(quiet=quiet) as bars, stop_on_signals(stop):
        task = bars.add_task("records", total=None)

        def show(finding: Finding) -> None:
            if not follow:  # which may go on for months
                found[finding.id] = finding
            print_finding(finding, as_json=as_json)

        def grow(finding: Finding) -> None:
            if finding.id in found:
                found[finding.id] = finding

        watching = build_watch(app, Wanted(paths, **options), show, grow)
        with closing(watching), _metrics(app, watching) if follow else nullcontext():
            tally = watching.run(stop.is_set, lambda records: bars.update(task, completed=records))
    failed = _tell(watching.inputs())
    click.echo(counted(tally), err=True)
    return Outcome(tally, list(found.values()), 3 if failed else 0)


def _tell(inputs: "list[Input]") -> bool:
    """Say what was not or could not be read; return whether a whole file could not."""
    unasked = [each.unasked for each in inputs if each.unasked]
    if unasked:
        kinds = ", ".join(sorted(set(unasked)))
        logs = "a log" if len(unasked) == 1 else f"{len(unasked)} logs"
        click.echo(f"not read: {logs} of records that nothing asks for: {printable(kinds)}", err=True)
    for each in inputs:
        for warning in each.warnings:
            click.echo(f"warning: {printable(warning)}", err=True)
        for reason in each.reasons:
            click.echo(f"set aside: {printable(reason)}", err=True)
        if each.error:
            click.echo(f"tocsin: {printable(each.error)}", err=True)
    return any(each.error for each in inputs)


@contextmanager
def _metrics(app: App, watching: "Watch") -> Iterator[None]:
    """Serve metrics beside the watch; where the port is taken, as by a daemon, it goes without."""
    from tocsin.serve.metrics import Metrics, novelty_metrics, summary_metrics

    with ExitStack() as served:
        if app.settings.metrics.enabled:
            metrics = Metrics(app.store, app.ledger, domain=app.domain, clock=app.clock)
            metrics.registry.register(summary_metrics(lambda: watching.last_tally.summaries))
            metrics.registry.register(novelty_metrics(lambda: watching.last_tally.novelty))
            try:
                server, thread = metrics.serve(app.settings.metrics)
            except SettingsError as error:
                log.warning("this watch serves no metrics: %s", error)
            else:
                served.callback(thread.join)
                served.callback(server.server_close)
                served.callback(server.shutdown)
        yield


def print_finding(finding: Finding, *, as_json: bool = False) -> None:
    """Print a finding as a line of JSON, or as a block for people."""
    if as_json:
        print_json_lines([finding.to_dict()])
        return
    why = [reason for reason in finding.reasons if reason.share > 0]
    others = [f"{reason.field} {reason.seen}" for reason in finding.reasons if reason.share == 0]
    lines = [f"{show_time(finding.end)}  {finding.severity}  {finding.title}"]
    lines += [f"    {reason.field}: {reason.seen}; expected {reason.expected}" for reason in why]
    lines += ["    " + " · ".join(others)] if others else []
    lines.append(f"    id {finding.id[:8]}, {finding.record_count:,} records")
    click.echo("\n".join(printable(line) for line in lines))


def counted(tally: "Tally") -> str:
    """Say in a line what was read and what came of it."""
    parts = [f"{tally.records:,} records", f"{tally.count('late'):,} late", f"{tally.rejected:,} set aside"]
    parts += [f"{tally.count(name):,} {name}" for name in ("evicted", "delayed") if tally.count(name)]
    parts.append(f"{tally.epochs:,} epochs ended")
    parts.append(f"{tally.findings:,} new findings")
    parts += [f"{tally.suppressed:,} suppressed"] if tally.suppressed else []
    parts += [f"{tally.below:,} below verdict.min_severity"] if tally.below else []
    parts += [f"{tally.over_budget:,} over verdict.noise_budget"] if tally.over_budget else []
    parts += [f"{tally.undelivered:,} rows of results not delivered"] if tally.undelivered else []
    return ", ".join(parts)
