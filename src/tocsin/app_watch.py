"""Builds a watch from settings and from what is asked of it: beside app.py the only place that builds."""

import difflib
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tocsin.app import App
from tocsin.cluster.control import Control
from tocsin.cluster.engine import Engine
from tocsin.cluster.processes import ProcessEngine, summaries_digest
from tocsin.cluster.single import SingleEngine
from tocsin.detectors.novelty.definition import Definition
from tocsin.detectors.novelty.definition import build as build_novelty
from tocsin.detectors.summary.build import build, resolved
from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.presets import PRESETS
from tocsin.errors import InputError, SettingsError
from tocsin.jobs.alarm import Alarm
from tocsin.jobs.delivery import Delivery
from tocsin.jobs.discover import make_source
from tocsin.jobs.epochs import Epochs
from tocsin.jobs.inputs import Inputs, lake_inputs
from tocsin.jobs.kept import Keeper, Kept
from tocsin.jobs.novelty import Novelty, novelty_digest
from tocsin.jobs.resultfile import open_results
from tocsin.jobs.watch import Reader, Results, Wanted, Watch
from tocsin.jobs.watches import CHECKPOINT
from tocsin.ledger.ledger import Ledger
from tocsin.records.finding import Finding
from tocsin.records.kinds import KIND
from tocsin.settings_summaries import SummarySettings
from tocsin.sink import Sink
from tocsin.sinks.build import build_sink
from tocsin.verdict.severity import Cutoffs
from tocsin.verdict.verdict import Verdict

log = logging.getLogger("tocsin.watch")

WORKERS_A_MERGER = 4
"""Workers that keep one merger busy; one process alone counts and merges."""


def build_watch(
    app: App,
    wanted: Wanted,
    show: Callable[[Finding], None],
    grown: Callable[[Finding], None] = lambda _: None,
) -> Watch:
    """Build a watch on files, live logs or the lake; `show` is given each finding, `grown` what becomes of it.

    Raises SettingsError, ModelError (what was kept is of other summaries), SinkError, InputError.
    """
    detectors = chosen_novelty(app, wanted)
    entries = [] if _only_novelty(app, wanted) else chosen(app, wanted.names, wanted.presets)
    summaries = {each.name: each for each in build(entries)}
    listed, workers = list(summaries.values()), (wanted.workers or app.settings.watch.workers) if entries else 1
    verdict = app.verdict if not wanted.no_store else _verdict_apart(app)
    with ExitStack() as opened:
        if control := _control(app, wanted):
            opened.callback(control.close)
        keeper = _keeper(app, wanted, f"{summaries_digest(listed)} {workers} {novelty_digest(detectors)}".rstrip())
        kept = (keeper.load() if keeper and not wanted.fresh else None) or Kept({})
        delivery = Delivery(verdict, {} if wanted.no_store else _result_sinks(app, entries))
        opened.callback(delivery.close)
        file = open_results(wanted.results, listed, kept.results_bytes) if wanted.results else None
        watch = Watch(
            _records(app, wanted, _kinds(listed, detectors), kept.positions or None),
            lambda origin_us: _engine(app, listed, workers, origin_us),
            summaries,
            alarm=Alarm(summaries, verdict, Cutoffs.of(app.settings.verdict), show, delivery.findings, grown),
            results=Results(Epochs(summaries, _mergers(workers), kept.shares), delivery, file),
            clock=app.clock,
            keeper=keeper,
            control=control,
            novelty=Novelty(detectors),
        )
        opened.pop_all()
        opened.callback(watch.close)
        watch.resume(kept)
        opened.pop_all()
    return watch


def chosen(app: App, names: Sequence[str] = (), presets: Sequence[str] = ()) -> list[SummarySettings]:
    """Return what the settings and these presets count, presets filled in; only these names, where given.

    Where the settings have none and no preset is named: every shipped one with a threshold. Raises SettingsError.
    """
    wanted = _presets(app, presets)
    if not (app.settings.summaries or presets):
        wanted = [name for name, preset in PRESETS.items() if "threshold" in preset.settings]
    found = resolved([*app.settings.summaries, *(SummarySettings(preset=name) for name in wanted)])
    there = [each.name for each in found]
    for name in names:
        if name not in there:
            hint = f"add --preset {name}" if name in PRESETS else f"there: {', '.join(there) or 'none'}"
            raise SettingsError(f"--summary: no summary {name!r} is set up; {hint}")
    if not found:
        raise SettingsError("summaries: none is enabled; `tocsin summaries list` shows those there are")
    return [each for each in found if not names or each.name in names]


def chosen_novelty(app: App, wanted: Wanted) -> tuple[Definition, ...]:
    """Return the novelty detectors of the settings; only those named, where any are, or none where summaries are.

    Raises SettingsError.
    """
    there = build_novelty(app.settings.novelty)
    known = [each.name for each in there]
    for name in wanted.novel:
        if name not in known:
            hint = f"there: {', '.join(known) or 'none'}"
            raise SettingsError(f"--novelty: no novelty detector {name!r} is set up; {hint}")
    if wanted.names and not wanted.novel:
        return ()
    return tuple(each for each in there if not wanted.novel or each.name in wanted.novel)


def _only_novelty(app: App, wanted: Wanted) -> bool:
    """Whether no summary is asked for: novelty detectors are named, or nothing but them is set up."""
    asked = bool(wanted.names or wanted.presets)
    return not asked and (bool(wanted.novel) or (not app.settings.summaries and bool(chosen_novelty(app, wanted))))


def _presets(app: App, names: Sequence[str]) -> list[str]:
    """Return the presets that are asked for and that the settings do not have. Raises SettingsError."""
    for name in names:
        if name not in PRESETS:
            near = difflib.get_close_matches(name, PRESETS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there: {', '.join(PRESETS)}"
            raise SettingsError(f"--preset: there is no preset {name!r}; {hint}")
    there = {entry.preset for entry in app.settings.summaries if entry.enabled}
    return [name for name in dict.fromkeys(names) if name not in there]


def control_path(app: App, name: str) -> Path:
    """Return where the watch of a name can be asked. Raises SettingsError for what is no name."""
    return app.home / "watch" / f"{app.domain}.{_checked(name)}.sock"


def _checkpoint(app: App, name: str) -> str:
    return f"{app.domain}/watch/{_checked(name)}{CHECKPOINT}"


def _checked(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
        raise SettingsError(f"--state: must be of letters, digits, _ and - (got {name!r})")
    return name


def _control(app: App, wanted: Wanted) -> Control | None:
    """Let a watch be asked; one that is not kept goes without where another listens."""
    if not (wanted.is_kept or wanted.is_live):
        return None
    try:
        return Control(control_path(app, wanted.name))
    except SettingsError as error:
        if wanted.is_kept:
            raise
        log.warning("this watch cannot be asked: %s", error)
        return None


def _keeper(app: App, wanted: Wanted, settings: str) -> Keeper | None:
    if not wanted.is_kept:
        return None
    return Keeper(
        app.store,
        _checkpoint(app, wanted.name),
        settings=settings,
        results_path=str(wanted.results.resolve()) if wanted.results else "",
        every_s=app.settings.watch.checkpoint_s,
        clock=app.clock,
    )


def _verdict_apart(app: App) -> Verdict:
    """Build a verdict that knows no rule and delivers nothing."""
    ledger = Ledger("sqlite://", clock=app.clock)
    return Verdict(ledger, app.settings.verdict, domain=app.domain, clock=app.clock)


def _result_sinks(app: App, entries: Sequence[SummarySettings]) -> dict[str, list[Sink]]:
    return {
        entry.name: [
            build_sink(each, f"summaries.{entry.name}.results.{number}", clock=app.clock)
            for number, each in enumerate(entry.results)
        ]
        for entry in entries
    }


def _engine(app: App, summaries: list[Summary], workers: int, origin_us: int) -> Engine:
    if workers == 1:
        return SingleEngine(summaries, origin_us=origin_us, now=app.clock.monotonic)
    patience_s = app.settings.watch.patience_s
    return ProcessEngine(
        summaries, workers=workers, mergers=_mergers(workers), patience_s=patience_s, origin_us=origin_us
    )


def _check_words(app: App, wanted: Wanted) -> None:
    """Refuse a format or a kind that is none before any file is looked at. Raises SettingsError."""
    if wanted.kind and not KIND.fullmatch(wanted.kind):
        raise SettingsError(f"--kind: {wanted.kind!r} is no record kind; such as flow, zeek.ssh, eve.alert, event")
    try:
        if wanted.format_name:
            make_source(wanted.format_name, app.settings.ingest)
    except InputError as error:
        raise SettingsError(f"--format: {error}") from error


def _mergers(workers: int) -> int:
    return -(-workers // WORKERS_A_MERGER)


def _kinds(summaries: Iterable[Summary], detectors: Iterable[Definition]) -> set[str]:
    """Return the kinds of records that are counted or learned."""
    return {each.kind for summary in summaries for each in summary.inputs} | {each.kind for each in detectors}


def _records(app: App, wanted: Wanted, kinds: set[str], positions: dict[str, Any] | None) -> Reader:
    _check_words(app, wanted)
    if not wanted.paths:
        return lake_inputs(app.store, app.domain, clock=app.clock, since=wanted.since, until=wanted.until)
    return Inputs(
        wanted.paths,
        settings=app.settings.ingest,
        clock=app.clock,
        format=wanted.format_name,
        follow=wanted.follow,
        kind=wanted.kind,
        positions=positions,
        kinds=kinds,
    )
