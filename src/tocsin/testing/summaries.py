"""Workers and mergers of summaries, with a transport that delays, reorders and repeats what they say."""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.accumulator import REDUCERS
from tocsin.detectors.summary.condition import Condition, growing
from tocsin.detectors.summary.definition import SECOND_US, Input, Reducer, Summary
from tocsin.detectors.summary.merger import Merger
from tocsin.detectors.summary.messages import Output
from tocsin.detectors.summary.worker import Worker

TIMESTAMP = pa.timestamp("us", "UTC")


def a_summary(
    reduce: dict[str, str | tuple[str, dict[str, Any]]],
    threshold: str = "",
    *,
    at: Sequence[float] = (),
    key: Sequence[str] = ("host",),
    window_s: int = 60,
    step_s: int = 0,
    name: str = "test",
    **more: Any,
) -> Summary:
    """Build a summary of `event` records with columns host, value and ts. reduce: name -> kind or (kind, options)."""
    reducers = []
    for each, kind in reduce.items():
        kind, options = kind if isinstance(kind, tuple) else (kind, {})
        reducers.append(Reducer(each, kind, options.pop("of", ""), {**REDUCERS[kind][1], **options}))
    kinds = {reducer.name: reducer.kind for reducer in reducers}
    condition = None
    if threshold:
        condition = Condition(threshold, growing(f"{threshold} >= {at[0]}" if at else threshold, kinds))
    its = Input("event", "", {part: part for part in key}, "value", "ts", tuple(reducers))
    return Summary(
        name, (its,), tuple(key), window_s * SECOND_US, (step_s or window_s) * SECOND_US, condition=condition,
        levels=tuple(float(level) for level in at), **more,
    )  # fmt: skip


def a_table(rows: Sequence[tuple[str | None, float | None, float]]) -> pa.Table:
    """Return records from (host, value, seconds)."""
    return pa.table(
        {
            "host": pa.array([row[0] for row in rows], pa.string()),
            "value": pa.array([row[1] for row in rows], pa.float64()),
            "ts": pa.array([round(row[2] * SECOND_US) for row in rows], pa.int64()).cast(TIMESTAMP),
        }
    )


class Simulation:
    """Records dealt to workers, whose messages reach mergers late, twice and in any order."""

    def __init__(
        self, summaries: Sequence[Summary], *, workers: int = 1, mergers: int = 1, seed: int = 0, orderly: bool = True
    ) -> None:
        self.summaries = summaries
        self.random = random.Random(seed)
        self.orderly = orderly
        self.workers = [Worker(summaries, worker=n, workers=workers, mergers=mergers) for n in range(workers)]
        self.mergers = [Merger(summaries, merger=n, workers=workers) for n in range(mergers)]
        self.output = Output()
        self.sent: list[Any] = []
        self._under_way: list[Any] = []

    def run(
        self, table: pa.Table, *, batch: int = 1000, restart: bool = False, watermarks: bool = True
    ) -> "Simulation":
        """Give all records to workers at random in batches, with watermarks, then finish."""
        ordinals = np.arange(table.num_rows, dtype=np.uint64)
        newest = 0
        for start in range(0, table.num_rows, batch):
            piece = table.slice(start, batch)
            chosen = self.random.randrange(len(self.workers))
            if restart and self.random.random() < 0.3:
                self._restart(chosen)
            self.pass_on(self.workers[chosen].observe("event", piece, ordinals[start : start + batch]))
            newest = max(newest, *piece.column("ts").cast(pa.int64()).to_pylist())
            if watermarks:
                for worker in self.workers:
                    self.pass_on(worker.advance(newest))
        for worker in self.workers:
            self.pass_on(worker.finish())
        self.deliver(everything=True)
        return self

    def pass_on(self, messages: Sequence[Any]) -> None:
        """Put messages on their way, and let some arrive."""
        self.sent += messages
        self._under_way += messages
        self.deliver(everything=self.orderly)

    def deliver(self, *, everything: bool) -> None:
        """Let messages arrive: all in order, or some of them in any order, some twice."""
        while self._under_way and (everything or self.random.random() < 0.6):
            place = 0 if self.orderly else self.random.randrange(len(self._under_way))
            message = self._under_way.pop(place)
            for _ in range(1 if self.orderly or self.random.random() < 0.8 else 2):
                output = self.mergers[message.merger].receive(message, 0.0)
                self.output.extend(output)
                for hint in output.hints:
                    for worker in self.workers:
                        self.sent += (more := worker.hint(hint))
                        self._under_way += more

    def _restart(self, number: int) -> None:
        """Put a worker and a merger in the place of others, with their states, cut where nothing is on its way."""
        self.deliver(everything=True)
        old = self.workers[number]
        new = Worker(self.summaries, worker=number, workers=len(self.workers), mergers=len(self.mergers))
        new.restore(old.state())
        self.workers[number] = new
        merger = self.random.randrange(len(self.mergers))
        fresh = Merger(self.summaries, merger=merger, workers=len(self.workers))
        fresh.restore(self.mergers[merger].state())
        self.mergers[merger] = fresh

    def results(self) -> dict[tuple[Any, ...], dict[str, Any]]:
        """Return (summary, window start, key parts…) -> results and records."""
        found = {}
        parts = {summary.name: summary.key_parts for summary in self.summaries}
        for result in self.output.results:
            for row in result.table.to_pylist():
                key = (result.summary, result.start, *(row.pop(part) for part in parts[result.summary]))
                assert key not in found
                found[key] = row
        return found

    def passed(self) -> dict[tuple[Any, ...], list[float]]:
        """Return (summary, window, key) -> levels passed; fails where a level is told twice."""
        found: dict[tuple[Any, ...], list[float]] = defaultdict(list)
        for crossing in self.output.crossings:
            key = (crossing.summary, crossing.window, tuple(crossing.key.values()))
            assert not set(found[key]) & set(crossing.levels), "told twice"
            found[key] += crossing.levels
        return {key: sorted(levels) for key, levels in found.items()}
