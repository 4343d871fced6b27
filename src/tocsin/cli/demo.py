"""`tocsin demo`: a generated week with attacks, the whole pipeline, and what was found."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from tocsin.app import App
from tocsin.cli.output import progress
from tocsin.errors import SettingsError
from tocsin.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from tocsin.records.finding import Finding
    from tocsin.records.traffic.attacks import PlantedAttack

FIRST_DAY = date(2025, 1, 6)
MARKER = ".tocsin-demo"
SHOWN = 14


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("tocsin-demo"),
    show_default=True,
    help="Folder, made afresh.",
)
@click.option("--days", type=click.IntRange(3, 31), default=7, show_default=True, help="Days of traffic.")
@click.option("--flows-per-day", type=click.IntRange(1000, 1_000_000), default=100_000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Another seed makes another week.")
@click.pass_obj
def demo(app: App, out: Path, days: int, flows_per_day: int, seed: int) -> None:
    """Generate a week of office traffic with attacks, run everything, and show what was found.

    The labels of the generated attacks are used for nothing but the comparison at the end.

    \b
    tocsin demo
    tocsin demo --seed 7 --days 14
    """
    site = _site(app, out)
    click.echo(f"Generating {days} days of an office's traffic, {flows_per_day:,} flows a day, with attacks planted …")
    plan = _generate(site, days, flows_per_day, seed)
    click.echo("Learning what is normal, and looking for what is not (the first run compiles, the next ones do not) …")
    _run(site)
    found = site.ledger.findings(limit=None)
    _show(found)
    compare(plan, found).show()
    site.close()
    config = out / "tocsin.yaml"
    first = found[0].id[:8] if found else "ID"
    click.echo(
        f"\nEverything is in {out}/. Look further:\n"
        f"  tocsin -c {config} hosts                    who was how unusual, and why\n"
        f"  tocsin -c {config} findings show {first}    one finding with the flows behind it\n"
        f"  tocsin -c {config} findings list            all of them\n"
        f"  tocsin -c {config} status                   what the pipeline did\n"
        "Then with your own logs:\n"
        "  tocsin ingest /path/to/conn.log && tocsin auto && tocsin hosts"
    )


@dataclass(frozen=True)
class Comparison:
    """Which planted attacks are among the findings, and which findings are about none of them."""

    caught: list[tuple["PlantedAttack", "Finding"]]
    missed: list["PlantedAttack"]
    false: list["Finding"]

    def show(self) -> None:
        """Print the comparison in a few lines."""
        total = len(self.caught) + len(self.missed)
        click.echo(
            f"\nOf {total} planted attacks {len(self.caught)} were found; {len(self.false)} findings are about none."
        )
        for attack in self.missed:
            click.echo(f"  missed: {attack.kind} by {attack.attacker}, {attack.flows} flows on {attack.start:%Y-%m-%d}")
        for finding in self.false:
            click.echo(f"  not planted: {finding.title}")


def compare(plan: Iterable["PlantedAttack"], findings: list["Finding"]) -> Comparison:
    """Hold findings against the plan: an attack is found when a finding about its attacker overlaps it in time."""
    caught, missed = [], []
    about: set[str] = set()
    for attack in plan:
        mine = [item for item in findings if _is_about(item, attack)]
        about |= {item.id for item in mine}
        own = [item for item in mine if item.entity == attack.attacker]
        if own:
            caught.append((attack, max(own, key=lambda item: item.score)))
        else:
            missed.append(attack)
    return Comparison(caught, missed, [item for item in findings if item.id not in about])


def _is_about(finding: "Finding", attack: "PlantedAttack") -> bool:
    of_host = finding.entity == attack.attacker or finding.entity in attack.victims
    return of_host and finding.start <= attack.end and finding.end >= attack.start


def _site(app: App, out: Path) -> App:
    """Make the demo's folder afresh; a folder that no demo made is left alone."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).exists():
            raise SettingsError(f"--out: {out} holds something else than a demo; name another folder")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()
    store = (out / "data").resolve()
    (out / "tocsin.yaml").write_text(f"store: {store}\n")
    return App(Settings(store=str(store)), clock=app.clock)


def _generate(site: App, days: int, flows_per_day: int, seed: int) -> list["PlantedAttack"]:
    from tocsin.jobs.lake import day_prefix, write_parquet
    from tocsin.records.traffic.days import generate_days, planted

    counts: dict[date, int] = {}
    with progress() as bars:
        task = bars.add_task("generate", total=days)
        for day, table in generate_days(FIRST_DAY, days, flows_per_day=flows_per_day, seed=seed):
            number = counts.get(day, 0)
            counts[day] = number + 1
            site.store.put(
                f"{day_prefix(site.domain, day)}part-generated-{number:05d}.parquet", write_parquet(_unlabelled(table))
            )
            bars.update(task, completed=len(counts) - 1)
    return planted(FIRST_DAY, days, flows_per_day=flows_per_day, seed=seed)


def _unlabelled(table: "pa.Table") -> "pa.Table":
    return table.drop_columns([name for name in ("label", "label_detail") if name in table.column_names])


def _run(site: App) -> None:
    from tocsin.cli.pipeline import working
    from tocsin.jobs.pipeline import auto

    with working(site) as work:
        auto(work)


def _show(findings: list["Finding"]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(f"\n[bold]{len(findings)} findings[/bold]")
    for finding in findings[:SHOWN]:
        console.print(
            f"\n[bold]{finding.severity:8}[/bold] {finding.score:8.4f}  {finding.start:%a %d %b %H:%M}  {finding.title}"
        )
        for reason in finding.reasons[:3]:
            console.print(
                f"    {reason.share:4.0%}  {reason.field}: {reason.seen} — expected {reason.expected}", soft_wrap=True
            )
    if len(findings) > SHOWN:
        console.print(f"\n… and {len(findings) - SHOWN} more")
