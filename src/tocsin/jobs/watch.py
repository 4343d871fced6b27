"""Summaries and novelty detectors at work on records: all parts joined, over live logs as over history."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from tocsin.clock import Clock
from tocsin.cluster.control import Control, Request
from tocsin.cluster.engine import Engine
from tocsin.cluster.requests import check_key
from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.messages import EpochResult, Output
from tocsin.errors import SettingsError, TocsinError
from tocsin.jobs.alarm import Alarm
from tocsin.jobs.delivery import Delivery
from tocsin.jobs.epochs import Epochs
from tocsin.jobs.feeds import Tally as Input
from tocsin.jobs.kept import Keeper, Kept
from tocsin.jobs.merge import Records
from tocsin.jobs.novelty import Novelty
from tocsin.jobs.resultfile import ResultFile
from tocsin.records.conn import as_zeek_conn
from tocsin.records.times import earliest, to_us

log = logging.getLogger("tocsin.watch")

POLL_S = 0.05
"""How long it waits for records before it looks at everything else."""

STATUS_S = 1.0
"""How old the status given to who asks may be."""

LOOK_S = 10.0
"""How often the summaries' status is taken without being asked for: other processes must answer for it."""

ZEEK_CONN = "zeek.conn"


class Reader(Protocol):
    """Where records come from. watermark_us: records to come are not older, lateness aside; -1: nothing is known."""

    watermark_us: int

    @property
    def is_over(self) -> bool:
        """Whether no more can come."""
        ...

    @property
    def rejected(self) -> int:
        """Records that could not be read so far."""
        ...

    def read(self, timeout_s: float = 0.0) -> list[Records]:
        """Return the next records, waiting so long at most for the first."""
        ...

    def positions(self) -> dict[str, Any]:
        """Return where each input was read up to, as JSON values."""
        ...

    def report(self) -> list[Input]:
        """Return what became of each input."""
        ...

    def close(self) -> None:
        """Let go of all inputs."""
        ...


@dataclass(frozen=True)
class Wanted:
    """What is asked of a watch.

    paths: files, folders, globs, '-'; none means the lake's flows between `since` and `until`. names: only these
    summaries of the settings; novel: only these novelty detectors. presets: shipped summaries besides. kind: what JSON
    lines are that do not say it. results: a file for every key's result. state: the name under which it is kept;
    fresh: begin anew. no_store: leave ledger and sinks alone.
    """

    paths: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    novel: tuple[str, ...] = ()
    presets: tuple[str, ...] = ()
    workers: int | None = None
    results: Path | None = None
    format_name: str | None = None
    kind: str = ""
    no_store: bool = False
    follow: bool = False
    state: str | None = None
    fresh: bool = False
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_live(self) -> bool:
        """Whether records come as they happen."""
        return self.follow or "-" in self.paths

    @property
    def name(self) -> str:
        """The name of its state and of the socket by which it can be asked."""
        return self.state or "watch"

    @property
    def is_kept(self) -> bool:
        """Whether another run may go on where it ends."""
        return self.follow or self.state is not None


@dataclass
class Results:
    """Where epochs' results go: put together, into the file, to the sinks. ended: epochs so far."""

    epochs: Epochs
    delivery: Delivery
    file: ResultFile | None = None
    ended: int = 0

    def take(self, results: Sequence[EpochResult]) -> None:
        """Take in what mergers say of epochs that are over."""
        for rows in self.epochs.take(results):
            self._put(rows)

    def finish(self) -> None:
        """Write what is there of epochs that will not be whole."""
        for rows in self.epochs.finish():
            self._put(rows)

    def _put(self, rows: pa.Table) -> None:
        self.ended += rows.column("epochs")[-1].as_py()
        if self.file is not None:
            self.file.write(rows)
        self.delivery.results(rows.column("summary")[0].as_py(), rows)


@dataclass
class Tally:
    """What a watch has done. rejected: records set aside, by the reader or by a summary's or detector's SQL.

    over_budget: findings that gave way to higher scores of their day. summaries, novelty: what each summary and each
    novelty detector holds and has counted (SummaryStatus and NoveltyStatus as dicts).
    """

    records: int = 0
    rejected: int = 0
    findings: int = 0
    below: int = 0
    suppressed: int = 0
    epochs: int = 0
    undelivered: int = 0
    over_budget: int = 0
    summaries: list[dict[str, Any]] = field(default_factory=list)
    novelty: list[dict[str, Any]] = field(default_factory=list)

    def count(self, name: str) -> int:
        """Return a count over all summaries: records, late, rejected, evicted, delayed."""
        return sum(each["counts"].get(name, 0) for each in self.summaries)


class Watch:
    """Reads, counts and rings until the inputs are over or it is told to stop; then ends every open epoch.

    What it was when it ended its epochs is not kept, but what it was just before: one that goes on from there has the
    last, partial epochs open again. Their findings have the same ids, so that those that grow are updated; their
    results replace the partial ones in the file, and come once more to the sinks.

    engines: builds the engine, given the time of the first record (microseconds). novelty: the detectors that learn
    the same records in this process.
    """

    def __init__(
        self,
        inputs: Reader,
        engines: Callable[[int], Engine],
        summaries: Mapping[str, Summary],
        *,
        alarm: Alarm,
        results: Results,
        clock: Clock,
        keeper: Keeper | None = None,
        control: Control | None = None,
        novelty: Novelty | None = None,
    ) -> None:
        self._inputs, self._engines, self._summaries = inputs, engines, summaries
        self._novelty = novelty or Novelty(())
        self._kinds = {each.kind for summary in summaries.values() for each in summary.inputs} | self._novelty.kinds
        self._alarm, self._results, self._clock = alarm, results, clock
        self._keeper, self._control = keeper, control
        self._engine: Engine | None = None
        self._origin_us = 0
        self._records = 0
        self._seen: list[dict[str, Any]] = []
        self._learned: list[dict[str, Any]] = []
        self._seen_s = -math.inf

    def resume(self, kept: Kept) -> None:
        """Go on from what was kept. Raises ModelError when it is of other summaries or of another number of workers."""
        self._records = kept.records
        for waiting in kept.queued:
            self._results.delivery.again(*waiting)
        if kept.engine:
            self._begin(kept.origin_us).restore(kept.engine)
        if kept.novelty:
            self._novelty.restore(kept.novelty)

    def run(self, stop: Callable[[], bool] = lambda: False, progress: Callable[[int], None] = lambda _: None) -> Tally:
        """Watch until there is nothing more or it is told to stop; progress: is told the records so far.

        Raises LedgerError, SinkError, InputError.
        """
        while not stop():
            got = self._inputs.read() or ([] if self._inputs.is_over else self._wait())
            for each in got:
                self._observe(each)
                progress(self._records)
            self._advance()
            if not got and self._inputs.is_over:
                break
            self._serve()
            self._look(LOOK_S)
            if self._keeper and self._keeper.is_due(self._records, self._results.ended):
                self._keep()
        return self._end()

    def tally(self) -> Tally:
        """Return what was done, with the summaries as they were a second ago at most."""
        self._look()
        alarm, results = self._alarm, self._results
        return Tally(
            self._records,
            self._inputs.rejected + sum(each["counts"].get("rejected", 0) for each in (*self._seen, *self._learned)),
            alarm.new,
            alarm.below,
            alarm.suppressed,
            results.ended,
            results.delivery.dropped,
            alarm.over_budget,
            self._seen,
            self._learned,
        )

    def inputs(self) -> list[Input]:
        """Return what became of each input."""
        return self._inputs.report()

    @property
    def last_tally(self) -> Tally:
        """Return the last tally without asking the engine: for other threads."""
        return Tally(self._records, findings=self._alarm.new, summaries=self._seen, novelty=self._learned)

    def close(self) -> None:
        """Let go of processes and socket; what waits is delivered first."""
        self._inputs.close()
        self._results.delivery.close()
        if self._results.file is not None:
            self._results.file.abandon()
        if self._engine:
            self._engine.close()
        if self._control:
            self._control.close()

    def _look(self, most_s: float = STATUS_S) -> None:
        """Ask the summaries for their status when the last one is older than this."""
        if self._engine and self._clock.monotonic() - self._seen_s >= most_s:
            self._seen = [asdict(each) for each in self._engine.status()]
            self._learned = [asdict(each) for each in self._novelty.status()]
            self._seen_s = self._clock.monotonic()

    def _begin(self, origin_us: int) -> Engine:
        self._origin_us = origin_us
        self._engine = self._engines(origin_us)
        return self._engine

    def _observe(self, read: Records) -> None:
        if not read.table.num_rows:
            return
        engine = self._engine or self._begin(earliest(read.kind, read.table))
        self._records += read.table.num_rows
        for kind, table in self._views(read):
            self._alarm.recent.add(kind, table)
            self._take(engine.observe(kind, table, read.ordinals))
            self._alarm.propose(self._novelty.observe(kind, table))

    def _views(self, read: Records) -> Iterator[tuple[str, pa.Table]]:
        """Yield records under each kind that is asked for: flows are Zeek's connections too."""
        if read.kind in self._kinds:
            yield read.kind, read.table
        if read.kind == "flow" and ZEEK_CONN in self._kinds:
            yield ZEEK_CONN, as_zeek_conn(read.table)

    def _advance(self) -> None:
        if self._engine is not None and self._inputs.watermark_us >= 0:
            self._take(self._engine.advance(self._inputs.watermark_us))

    def _wait(self) -> list[Records]:
        """Let in what other processes found, or records, whichever comes; nothing after a little while."""
        begun = self._clock.monotonic()
        output = self._engine.poll(POLL_S) if self._engine else Output()
        self._take(output)
        left = POLL_S - (self._clock.monotonic() - begun)
        return self._inputs.read(left) if left > 0 and not (output.crossings or output.results) else []

    def _take(self, output: Output) -> None:
        self._alarm.take(output.crossings)
        self._results.take(output.results)

    def _keep(self) -> None:
        assert self._keeper is not None
        if self._engine is None:
            return
        results = self._results
        self._keeper.keep(
            Kept(
                positions=self._inputs.positions(),
                engine=self._engine.state(),
                novelty=self._novelty.state() if self._novelty.kinds else b"",
                origin_us=self._origin_us,
                records=self._records,
                shares=results.epochs.pending,
                queued=results.delivery.pending,
                results_bytes=results.file.position() if results.file else 0,
                tally=asdict(self.tally()),
            ),
            results.ended,
        )

    def _end(self) -> Tally:
        if self._keeper:
            self._keep()
        if self._engine is not None:
            self._take(self._engine.finish())
        self._alarm.propose(self._novelty.finish())
        self._results.finish()
        if self._results.file is not None:
            self._results.file.close()
        self._look(0.0)
        return self.tally()

    # What others ask

    def _serve(self) -> None:
        for request in self._control.pending() if self._control else []:
            try:
                request.answer(self._answer(request))
            except TocsinError as error:
                request.refuse(error)

    def _answer(self, request: Request) -> Any:
        asked = request.asked
        if asked.get("do") == "status":
            return asdict(self.tally())
        name = str(asked.get("summary"))
        if asked.get("do") == "next-epoch":
            now_us = to_us(self._clock.now())
            ended = (self._engine or self._begin(now_us)).end_epoch(name)
            self._take(ended)
            return {"summary": name, "ended": len(ended.results)}
        if asked.get("do") == "value":
            check_key(self._summaries, name, asked.get("key", {}))
            return self._engine.value(name, asked.get("key", {})) if self._engine else []
        raise SettingsError(f"a watch can be asked for status, value and next-epoch (got {asked.get('do')!r})")
