"""A run of `tocsin novelty observe` or `score`: what is read, scored and printed."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from tocsin.app import App
from tocsin.cli.novelty_shown import Top, show
from tocsin.cli.output import printable, progress
from tocsin.cli.stop import stop_on_signals
from tocsin.errors import SettingsError
from tocsin.records.when import parse_when

if TYPE_CHECKING:
    import pyarrow as pa

    from tocsin.detectors.novelty.model import NoveltyModel
    from tocsin.detectors.novelty.scores import Scores

SHOWN = 20
LINES = 8192
"""Rows that are written at once."""


class Reader:
    """What a command reads, and what it says of it at the end."""

    def __init__(self, app: App, paths: tuple[str, ...], fields: Sequence[str], given: dict[str, Any]) -> None:
        from tocsin.jobs.observations import Observations, Wanted

        self.app, self.paths, self.given = app, paths, given
        now = app.clock.now()
        self._span = [parse_when(given[name], now, f"--{name}") for name in ("since", "until")]
        if paths and any(self._span):
            raise SettingsError("--since and --until are for the lake; leave FILE out, or say it by --where")
        self.wanted = Wanted(
            tuple(fields),
            given["where"],
            given["kind"],
            given["format_name"],
            given["delimiter"],
            header=not given["no_header"],
        )
        self.observations: Observations = Observations(self.wanted, app.settings.ingest)

    def __iter__(self) -> "Iterator[list[pa.Array]]":
        if self.paths:
            return self.observations.of_files(self.paths)
        app, (since, until) = self.app, self._span
        return self.observations.of_lake(app.store, app.domain, clock=app.clock, since=since, until=until)

    def end(self) -> None:
        """Say what was set aside and what could not be read; end with 3 where a file could not."""
        from tocsin.jobs.observations import mixed

        report = self.observations.report
        for text in [*report.warnings, *filter(None, [mixed(report, self.wanted)])]:
            click.echo(f"warning: {printable(text)}", err=True)
        for text in report.reasons:
            click.echo(f"set aside: {printable(text)}", err=True)
        if report.rejected > len(report.reasons):
            click.echo(f"set aside: {report.rejected:,} in all", err=True)
        for text in report.errors:
            click.echo(f"tocsin: {printable(text)}", err=True)
        if report.errors:
            raise SystemExit(3)


def run(
    reader: Reader,
    answer: "Callable[[list[pa.Array]], Scores]",
    model: "Callable[[], NoveltyModel]",
    *,
    as_json: bool,
) -> None:
    """Score all that is read; print lines at once, or at the end the most novel beside what the model knows."""
    from tocsin.cli.json_lines import write_json_lines

    given = reader.given
    lines = as_json and given["most"] is None
    top = Top(given["most"] or SHOWN, given["least"], once=not as_json)
    above = 0
    stop = threading.Event()
    with progress(quiet=as_json) as bars, stop_on_signals(stop):
        task = bars.add_task("observations", total=None)
        for columns in reader:
            scores = answer(columns)
            above += int((scores.score >= given["least"]).sum())
            if lines:
                _print_lines(scores, given["least"])
            else:
                top.add(scores)
            bars.update(task, completed=reader.observations.report.observations)
            if stop.is_set():
                click.echo("stopped: what was read so far counts", err=True)
                break
    if as_json:
        write_json_lines([each.row for each in top.rows])
    elif reader.observations.report.observations:
        _tell(reader, top, above, model())
    if not reader.observations.report.observations:
        click.echo(f"no observations, {reader.observations.report.rejected:,} set aside", err=True)


def _print_lines(scores: "Scores", least: float) -> None:
    import numpy as np

    from tocsin.cli.json_lines import write_json_lines
    from tocsin.detectors.novelty.rows import as_rows, picked

    for start in range(0, len(scores), LINES):
        part = scores.slice(start, min(start + LINES, len(scores)))
        write_json_lines(picked(part, np.flatnonzero(part.score >= least)) if least else as_rows(part))


def _tell(reader: Reader, top: Top, above: int, model: "NoveltyModel") -> None:
    report, least = reader.observations.report, reader.given["least"]
    what = "the most novel" if len(top.rows) == 1 else f"the {len(top.rows)} most novel"
    show(top.rows, model, f"{what} of {report.observations:,} observations, equal ones once")
    parts = [f"{report.observations:,} observations", f"{report.rejected:,} set aside"]
    parts += [f"{above:,} score {least:g} or more"] if least else []
    parts += [f"{model.observed:,} learned in all", f"{model.entries:,} entries", f"{model.nbytes / 2**20:,.1f} MiB"]
    parts += [] if model.is_warm else [f"not warm before {model.options.warm_up:,}: scores mean little yet"]
    click.echo(", ".join(parts), err=True)
