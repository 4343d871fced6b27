"""`tocsin generate`: labelled traffic for trying things out."""

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from tocsin.app import App
from tocsin.cli.output import json_option, print_json, print_table, progress
from tocsin.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from tocsin.store import Store

_ATTACKS_HELP = "Kinds to plant, with commas, or none: scan, portscan, bruteforce, beacon, exfiltration, lateral, ddos."


@click.command()
@click.option("--days", type=click.IntRange(1, 3650), default=7, show_default=True, help="How many days.")
@click.option(
    "--start", type=click.DateTime(["%Y-%m-%d"]), help="First day, UTC.  [default: so that the last is yesterday]"
)
@click.option(
    "--flows-per-day",
    type=click.IntRange(100, 1_000_000_000),
    default=200_000,
    show_default=True,
    help="Flows of a workday.",
)
@click.option("--hosts", type=click.IntRange(20, 15_000), default=150, show_default=True, help="Hosts in the office.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed gives the same flows."
)
@click.option("--attacks", default="", help=_ATTACKS_HELP + "  [default: all but ddos]")
@click.option("--quiet-days", type=click.IntRange(0), default=2, show_default=True, help="First days without attacks.")
@click.option(
    "--utc-offset", type=click.IntRange(-12, 14), default=0, show_default=True, help="The office's local time, hours."
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Write files here instead of into the lake."
)
@click.option(
    "--as",
    "form",
    type=click.Choice(["parquet", "zeek"]),
    default="parquet",
    show_default=True,
    help="Form of those files.",
)
@json_option
@click.pass_obj
def generate(
    app: App,
    /,
    days: int,
    start: datetime | None,
    out: Path | None,
    form: str,
    as_json: bool,
    attacks: str,
    **options: int,
) -> None:
    """Write labelled traffic of an office for trying things out: a week, with attacks from the third day on.

    It goes into the lake, or with --out into files, one or more a day. Run again, it writes the same again.

    \b
    tocsin generate
    tocsin generate --days 3 --attacks scan,beacon --quiet-days 0
    tocsin generate --days 1 --out ./logs --as zeek
    """
    from tocsin.records.traffic.attacks import ATTACKS
    from tocsin.records.traffic.days import generate_days, planted

    if form == "zeek" and out is None:
        raise click.UsageError("--as zeek needs --out FOLDER; the lake is Parquet")
    first = start.date() if start else app.clock.now().date() - timedelta(days=days)
    kinds = tuple(kind.strip() for kind in attacks.split(",") if kind.strip()) or ATTACKS
    kinds = () if kinds == ("none",) else kinds
    options["utc_offset_h"] = options.pop("utc_offset")
    arguments: dict[str, Any] = {**options, "attacks": kinds}
    plan = planted(first, days, **arguments)
    stream = generate_days(first, days, **arguments)
    counted: dict[date, int] = {}
    with progress(quiet=as_json) as bars:
        task = bars.add_task("days", total=days)
        for day, blocks in groupby(stream, key=lambda item: item[0]):
            tables = (table for _, table in blocks)
            if out is None:
                counted[day] = _into_lake(app.store, app.domain, day, options["seed"], tables)
            else:
                counted[day] = _into_folder(out, day, form, tables)
            bars.advance(task)
    _report(app, out, counted, plan, as_json=as_json)


def _into_lake(store: "Store", domain: str, day: date, seed: int, tables: "Iterable[pa.Table]") -> int:
    from tocsin.records.traffic.files import parquet_bytes

    folder = f"{domain}/v2/year={day:%Y}/month={day:%m}/day={day:%d}/"
    rows, written = 0, set()
    for index, table in enumerate(tables):
        path = f"{folder}part-generated-{seed}-{index:05d}.parquet"
        store.put(path, parquet_bytes(table))
        written.add(path)
        rows += table.num_rows
    # A run with other arguments may have left more parts; flows of two runs would be a mixture.
    for info in store.list(folder):
        if "/part-generated-" in info.path and info.path not in written:
            store.delete(info.path)
    return rows


def _into_folder(out: Path, day: date, form: str, tables: "Iterable[pa.Table]") -> int:
    from tocsin.records.traffic.files import parquet_bytes, write_zeek_header, write_zeek_rows

    rows = 0
    try:
        out.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            log = stack.enter_context((out / f"conn.{day}.log").open("wb")) if form == "zeek" else None
            if log:
                write_zeek_header(log)
            for index, table in enumerate(tables):
                if log:
                    write_zeek_rows(table, log)
                else:
                    (out / f"flows.{day}.{index:05d}.parquet").write_bytes(parquet_bytes(table))
                rows += table.num_rows
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror or error}") from error
    return rows


def _report(app: App, out: Path | None, counted: dict[date, int], plan: list[Any], *, as_json: bool) -> None:
    where = str(out) if out else app.store.url(f"{app.domain}/v2/")
    if as_json:
        days = [{"day": str(day), "flows": rows} for day, rows in counted.items()]
        print_json({"written_to": where, "days": days, "attacks": [vars(attack) for attack in plan]})
        return
    click.echo(f"{sum(counted.values()):,} flows of {len(counted)} days in {where}")
    rows = [
        (a.kind, a.attacker, a.victims[0], f"{a.start:%Y-%m-%d %H:%M}", f"{a.end:%Y-%m-%d %H:%M}", a.flows)
        for a in plan
    ]
    if rows:
        print_table("Planted attacks", ["kind", "attacker", "first victim", "start (UTC)", "end", "flows"], rows)
