"""`tocsin findings`: list, show, label and export what was found."""

import csv
import getpass
import io
from datetime import datetime
from pathlib import Path
from typing import Any

import rich_click as click

from tocsin.app import App
from tocsin.cli.filters import chosen, finding_filters
from tocsin.cli.output import json_option, print_json, print_table, printable, show_score
from tocsin.errors import SettingsError, SinkError
from tocsin.ledger.documents import finding_document
from tocsin.records.finding import STATES, Finding, Reason

BAR = 20
"""Characters of a full bar."""

RECORD_COLUMNS = ("stime", "saddr", "sport", "daddr", "dport", "proto", "sbytes", "dbytes", "spkts", "dpkts", "score")


@click.group()
def findings() -> None:
    """List, show, label and export findings.

    \b
    tocsin findings list --since 24h --min-severity high
    tocsin findings show 3f9c
    tocsin findings label 3f9c false_positive --note "backup server"
    """


@findings.command("list")
@finding_filters
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most findings shown.")
@click.option(
    "--order", type=click.Choice(["score", "time"]), default="score", show_default=True, help="What is first."
)
@json_option
@click.pass_obj
def list_(app: App, /, limit: int, order: Any, as_json: bool, **options: Any) -> None:
    """List findings, highest score first.

    \b
    tocsin findings list
    tocsin findings list --since 7d --kind beacon --json
    """
    app.verdict.expire()
    filters = chosen(app, **options)
    found = app.ledger.findings(limit=limit, order=order, **filters)
    if as_json:
        print_json([finding.to_dict() for finding in found])
        return
    total = app.ledger.count_findings(**filters)
    if not found:
        click.echo(_nothing(app, options))
        return
    columns = ("id", "severity", "score", "when (UTC)", "kind", "finding", "seen", "state")
    rows = [
        (
            finding.id[:8],
            finding.severity,
            show_score(finding.score),
            show_time(finding.start),
            finding.kind,
            finding.title,
            finding.count,
            f"hidden by {finding.suppressed_by}" if finding.suppressed_by else finding.state,
        )
        for finding in found
    ]
    print_table(f"{len(found)} of {total:,} findings", columns, rows)
    click.echo(f"`tocsin findings show {found[0].id[:8]}` says why.")


@findings.command()
@click.argument("finding_id", metavar="ID")
@json_option
@click.pass_obj
def show(app: App, finding_id: str, as_json: bool) -> None:
    """Show a finding by its id, or the beginning of it: why, the records behind it, what was said about it.

    \b
    tocsin findings show 3f9c
    """
    finding = app.ledger.finding(finding_id)
    said = app.ledger.labels(finding.id)
    if as_json:
        print_json(finding_document(finding, said))
        return
    click.echo(f"{printable(finding.title)}\n")
    click.echo(f"  {finding.severity}, score {show_score(finding.score)}; {finding.kind} by {finding.detector}")
    click.echo(f"  {show_time(finding.start)} to {show_time(finding.end)} UTC, {finding.record_count:,} records")
    click.echo(f"  id {finding.id}, state {finding.state}, seen {finding.count}×, model {finding.model or '-'}")
    if finding.suppressed_by:
        click.echo(f"  hidden by {finding.suppressed_by}")
    click.echo("")
    print_reasons(finding.reasons)
    _print_records(finding)
    if said:
        rows = [(show_time(label.at), label.who, label.state, label.note) for label in said]
        print_table("labels", ("when (UTC)", "who", "state", "note"), rows)


@findings.command()
@click.argument("finding_id", metavar="ID")
@click.argument("state", type=click.Choice(STATES))
@click.option("--note", default="", help="Why.")
@click.option("--who", help="Who says so; the user by default.")
@json_option
@click.pass_obj
def label(app: App, finding_id: str, state: Any, note: str, who: str | None, as_json: bool) -> None:
    """Say what a finding is; it is kept, with who said it and when.

    \b
    tocsin findings label 3f9c true_positive --note "ticket 4711"
    """
    finding = app.ledger.label(finding_id, state, who=who or user(), note=note)
    if as_json:
        print_json(finding.to_dict())
        return
    click.echo(f"{finding.id} is {finding.state}: {printable(finding.title)}")


@findings.command()
@finding_filters
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "parquet", "notice"]),
    default="jsonl",
    show_default=True,
    help="What is written.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="File to write; standard output when unset.", metavar="FILE"
)
@click.option("--limit", type=click.IntRange(min=1), help="Most findings written; all by default.")
@click.pass_obj
def export(app: App, /, form: str, out: Path | None, limit: int | None, **options: Any) -> None:
    """Write findings to a file, newest first.

    \b
    tocsin findings export --format csv --out findings.csv
    tocsin findings export --since 2025-01-08 --format notice
    """
    app.verdict.expire()
    found = app.ledger.findings(limit=limit, order="time", **chosen(app, **options))
    if form == "parquet":
        _export_parquet(found, out)
        return
    text = _written(app, found, form)
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise SinkError(f"--out: cannot write {out}: {error.strerror}") from error
    click.echo(f"{len(found)} findings in {out}", err=True)


def print_reasons(reasons: list[Reason]) -> None:
    """Print why, with a bar for each reason's share of the score."""
    rows = [
        (reason.field, reason.seen, reason.expected, f"{bar(reason.share)} {100 * reason.share:.0f} %")
        for reason in reasons
    ]
    if rows:
        print_table("why", ("field", "seen", "expected", "share of the score"), rows)


def bar(share: float) -> str:
    """Draw a share, 0 to 1, as a bar."""
    return ("█" * round(BAR * min(max(share, 0.0), 1.0))).ljust(BAR)


def show_time(time: datetime) -> str:
    """Write a time without its zone, to the second."""
    return f"{time:%Y-%m-%d %H:%M:%S}"


def user() -> str:
    """Return who runs the command. Raises SettingsError when the system does not know."""
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:
        raise SettingsError("the system does not know who you are; say so with --who or --owner") from error


def _nothing(app: App, options: dict[str, Any]) -> str:
    """Say that there is nothing, and what there would be without the options."""
    stored = app.ledger.findings(domain=app.domain, limit=1, order="time", include_suppressed=True)
    if not stored:
        return "No findings yet. `tocsin auto` looks for some."
    all_of_them = app.ledger.count_findings(domain=app.domain, include_suppressed=True)
    hidden = "" if options["everything"] else " `--all` shows hidden ones too."
    return f"None of the {all_of_them:,} findings match; the newest is of {show_time(stored[0].start)} UTC.{hidden}"


def _print_records(finding: Finding) -> None:
    if not finding.records:
        return
    fields = [reason.field for reason in finding.reasons if reason.field not in RECORD_COLUMNS]
    names = [name for name in (*RECORD_COLUMNS, *fields) if any(name in record for record in finding.records)]
    names = names or sorted({name for record in finding.records for name in record})
    rows = [[_cell(record.get(name, "")) for name in names] for record in finding.records]
    title = f"{len(rows)} of {finding.record_count:,} records" if finding.record_count > len(rows) else "records"
    print_table(title, names, rows)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return show_time(value) if isinstance(value, datetime) else str(value)


def _written(app: App, found: list[Finding], form: str) -> str:
    if form == "jsonl":
        from tocsin.sinks.jsonl import json_lines

        return json_lines(found)
    if form == "notice":
        from tocsin.sinks.notice import notice_log

        return notice_log(found, app.clock.now())
    return _csv(found)


def _csv(found: list[Finding]) -> str:
    """Write findings as CSV: reasons in words, the records left out."""
    names = [name for name in Finding.__dataclass_fields__ if name not in ("records", "scope", "format")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for finding in found:
        plain = finding.to_dict()
        plain["reasons"] = "; ".join(
            f"{reason.field}: {reason.seen}, expected {reason.expected} ({100 * reason.share:.0f} %)"
            for reason in finding.reasons
        )
        writer.writerow([_harmless(plain[name]) for name in names])
    return text.getvalue()


def _harmless(value: Any) -> Any:
    """Keep a spreadsheet from taking a text out of the traffic for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _export_parquet(found: list[Finding], out: Path | None) -> None:
    if out is None:
        raise SettingsError("--format parquet needs --out FILE")
    from tocsin.sinks.parquet import write_parquet

    try:
        write_parquet(found, out)
    except OSError as error:
        raise SinkError(f"--out: cannot write {out}: {error.strerror or error}") from error
    click.echo(f"{len(found)} findings in {out}", err=True)
