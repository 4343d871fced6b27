"""One summary at a merger: its open windows, what is judged in them, and which of them are over."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.judge import Judge, Known, Passed
from tocsin.detectors.summary.messages import Crossing, EpochResult, Hint, Output, Partial, Progress
from tocsin.detectors.summary.peer import FOREVER
from tocsin.detectors.summary.rows import plain
from tocsin.detectors.summary.share import Share
from tocsin.detectors.summary.table import BEGIN, END, RECORDS, KeyTable
from tocsin.records.times import from_us


class Course:
    """A summary's windows, from the first partial to the results.

    ignored: rows that came for windows that were over.
    """

    def __init__(self, summary: Summary, *, merger: int, workers: int, origin_us: int) -> None:
        self.summary, self.merger, self.workers = summary, merger, workers
        self.ignored = 0
        self._origin = origin_us if summary.origin == "first" else 0
        self._judge = Judge(summary)
        self._shares: dict[int, Share] = {}
        self._full: set[int] = set()
        self._next: int | None = None
        self._first: int | None = None
        self._begin: int | None = None
        self._ends: dict[int, tuple[int, set[int]]] = {}
        self._known = Known()
        self._late: dict[int, int] = {}
        self._late_told = 0

    # What comes in

    def take_final(self, partial: Partial) -> None:
        """Merge a final partial that was not here before."""
        if self._is_over(partial.window):
            self.ignored += partial.table.num_rows
            return
        share = self._share(partial.window)
        share.early.pop(partial.worker, None)
        if partial.table.num_rows:
            share.table.merge(partial.table)
        share.records[partial.worker], share.evicted[partial.worker] = partial.records, partial.evicted
        if partial.last:
            share.final.add(partial.worker)

    def take_early(self, partial: Partial) -> Output:
        """Take in an early partial; judge its keys where the condition is growing."""
        share = None if self._is_over(partial.window) else self._share(partial.window)
        if share is None or partial.worker in share.records:
            self.ignored += partial.table.num_rows
            return Output()
        share.early_of(partial.worker).put(partial.sequence, partial.table)
        return self._judge_early(partial, share) if self._judge.growing else Output()

    def note(self, progress: Progress) -> None:
        """Take in what a worker says of this summary."""
        name = self.summary.name
        self._late[progress.worker] = progress.counts.get(name, {}).get("late", 0)
        self._full |= {at for at in progress.windows.get(name, ()) if not self._is_over(at)}
        self._first = _least(self._first, progress.first.get(name))
        for ended, at, following in progress.ended:
            if ended == name:
                self._ends.setdefault(at, (following, set()))[1].add(progress.worker)

    # What goes out

    def is_due(self, watermark_us: float) -> bool:
        """Tell whether any window with records is over at a watermark."""
        full = self._full_windows()
        return bool(full) and (watermark_us == FOREVER or full[0] <= self._last_over(watermark_us))

    def end(self, watermark_us: float, missing: set[int], reached_us: int) -> Output:
        """End the windows that are over, without the missing workers; reached_us: the newest watermark of any."""
        if self.summary.window_us:
            return self._end_timed(watermark_us, missing)
        output = Output()
        for at in self._full_windows() if watermark_us == FOREVER else ():
            output.extend(self._end_window(at, max(at, reached_us), missing))
        return output

    def end_told(self) -> Output:
        """End the manual windows that every worker has ended."""
        output = Output()
        for at, (following, workers) in sorted(self._ends.items()):
            if len(workers) == self.workers:
                del self._ends[at]
                output.extend(self._end_window(at, following, set()))
                self._next = following
        return output

    def value(self, partials: Sequence[Partial]) -> list[dict[str, Any]]:
        """Return what partials of a key come to, window by window."""
        found = []
        for at in sorted({partial.window for partial in partials}):
            view = KeyTable(self.summary)
            for partial in partials:
                if partial.window == at:
                    view.merge(partial.table)
            for row in view.results(view.all_slots()).to_pylist():
                key = {name: row.pop(name) for name in self.summary.key_parts}
                records, _, _ = row.pop(RECORDS, None), row.pop(BEGIN, None), row.pop(END, None)
                values = {name: plain(value) for name, value in row.items()}
                times = {"start": from_us(at), "end": from_us(at + self.summary.window_us)}
                found.append({**times, "key": key, "values": values, "records": records})
        return found

    def status(self) -> dict[str, int]:
        """Return the keys and bytes of the windows here."""
        tables = [share.table for share in self._shares.values()]
        nbytes = sum(table.nbytes for table in tables) + (self._known.nbytes if self.summary.new_for_us else 0)
        return {"keys": sum(map(len, tables)), "nbytes": nbytes, "windows": len(tables)}

    # Early

    def _judge_early(self, partial: Partial, share: Share) -> Output:
        judge, keys = self._judge, partial.table.column("key").to_numpy()
        values, before = share.at_most(keys, judge.largest), share.passed.counts(keys)
        output = Output()
        near = np.flatnonzero(judge.passed_early(values) > before)
        if len(near):
            view = self._view(share, keys[near])
            slots = view.index.find(keys[near])
            values[near] = np.nan_to_num(judge.guard_values(view, slots), nan=0.0)
            counts = judge.passed_early(values[near])
            news = (counts > before[near]) & self._is_judged(partial.window, keys[near])
            share.passed.set_counts(keys[near][news], counts[news])
            shown = partial.table.column("examples").take(pa.array(near[news])).to_pylist()
            examples = [json.loads(each) if each else [] for each in shown]
            chosen = view.results(slots[news])
            output.crossings = self._crossings(partial.window, chosen, before[near][news], counts[news], examples)
        if self.workers > 1:
            output.hints = self._hints(partial.window, share, keys, judge.slack(values, self.workers))
        return output

    def _view(self, share: Share, keys: np.ndarray) -> KeyTable:
        """Return what all workers said early of these keys, merged."""
        view = KeyTable(self.summary)
        for early in share.early.values():
            rows = early.rows(keys)
            if rows is not None:
                view.merge(rows)
        return view

    def _hints(self, window: int, share: Share, keys: np.ndarray, slack: np.ndarray) -> list[Hint]:
        told = share.passed.to_hint(keys, slack)
        if not told.any():
            return []
        rows = tuple(tuple(row) for row in slack[told].tolist())
        return [Hint(self.summary.name, window, tuple(keys[told].tolist()), rows)]

    # Windows that are over

    def _share(self, at: int) -> Share:
        if at not in self._shares:
            growing = self._judge.growing
            self._shares[at] = Share(KeyTable(self.summary), Passed(len(growing.guards()) if growing else 0))
        return self._shares[at]

    def _is_over(self, at: int) -> bool:
        return self._next is not None and at < self._next

    def _full_windows(self) -> list[int]:
        return sorted(self._full | self._shares.keys())

    def _last_over(self, watermark_us: float) -> int:
        return self.summary.last_over(watermark_us, self._origin)

    def _end_timed(self, watermark_us: float, missing: set[int]) -> Output:
        step, output, full = self.summary.step_us, Output(), self._full_windows()
        is_end = watermark_us == FOREVER
        if is_end and not full:
            return output
        last = full[-1] if is_end else self._last_over(watermark_us)
        at = self._beginning(full, watermark_us)
        for window in [each for each in full if each <= last]:
            self._skip_empty(at, window, output)
            output.extend(self._end_window(window, window + self.summary.window_us, missing))
            at = window + step
        if not is_end:
            self._skip_empty(at, last + step, output)
        self._next = max(last + step, last + step if self._next is None else self._next)
        return output

    def _beginning(self, full: list[int], watermark_us: float) -> int:
        """Return the first window that was not ended yet, not before the first record or the first watermark."""
        known = _least(self._first, full[0] if full else None)
        if self._begin is None or known is not None:
            passed = None if watermark_us == FOREVER else self.summary.last_begun(watermark_us, self._origin)
            self._begin = _least(_least(self._begin, known), passed)
        assert self._begin is not None
        return self._begin if self._next is None else max(self._begin, self._next)

    def _skip_empty(self, at: int, until: int, output: Output) -> None:
        """Report the empty windows from one to another as one result; of several mergers the first does."""
        step, length = self.summary.step_us, self.summary.window_us
        count = (until - at) // step
        if count > 0 and self.merger == 0:
            table = KeyTable(self.summary)
            empty = table.results(table.all_slots())
            end = from_us(until - step + length)
            output.results.append(EpochResult(self.summary.name, from_us(at), end, self.merger, empty, epochs=count))

    def _end_window(self, at: int, end_us: int, missing: set[int]) -> Output:
        """Judge a window's keys for the last time and return its results."""
        self._full.discard(at)
        share = self._shares.pop(at, None) or Share(KeyTable(self.summary), Passed(0))
        absent = {worker for worker in missing if worker not in share.final}
        for worker, early in share.early.items():
            if worker in absent:
                share.table.merge(early.all_rows()[0])
        results = share.table.results(share.table.all_slots())
        crossings = self._judge_at_end(at, share, results)
        if self.summary.new_for_us:
            self._known.add(share.table.index.keys, end_us, end_us - self.summary.new_for_us)
        late = sum(self._late.values())
        result = EpochResult(
            self.summary.name, from_us(at), from_us(end_us), self.merger, results, sum(share.records.values()),
            late - self._late_told, sum(share.evicted.values()), tuple(sorted(absent)),
        )  # fmt: skip
        self._late_told = late
        return Output(crossings, [result])

    def _judge_at_end(self, at: int, share: Share, results: pa.Table) -> list[Crossing]:
        slots, keys = share.table.all_slots(), share.table.index.keys
        if not self._judge.levels or not len(slots):
            return []
        counts, before = self._judge.passed_at_end(share.table, slots, results), np.zeros(len(slots), np.int64)
        grown = np.flatnonzero(counts)
        before[grown] = share.passed.counts(keys[grown])
        news = np.flatnonzero((counts > before) & self._is_judged(at, keys))
        chosen = results.take(pa.array(news))
        return self._crossings(at, chosen, before[news], counts[news], [[] for _ in news], early=False)

    def _is_judged(self, at: int, keys: np.ndarray) -> np.ndarray:
        """Return which keys may be judged, (m,) bool: new ones only, once enough was learned, where that is asked."""
        if not self.summary.new_for_us:
            return np.ones(len(keys), bool)
        first = min([at, *self._shares]) if self._first is None else self._first
        if at < first + self.summary.learn_us:
            return np.zeros(len(keys), bool)
        return self._known.is_new(keys, at - self.summary.new_for_us)

    def _crossings(
        self,
        at: int,
        results: pa.Table,
        before: np.ndarray,
        counts: np.ndarray,
        examples: list[list[dict[str, Any]]],
        *,
        early: bool = True,
    ) -> list[Crossing]:
        levels = self.summary.levels or (1.0,)
        found = []
        for row, old, new, shown in zip(results.to_pylist(), before.tolist(), counts.tolist(), examples, strict=True):
            key = {name: row.pop(name) for name in self.summary.key_parts}
            begin, end, records = row.pop(BEGIN), row.pop(END), row.pop(RECORDS)
            values = {name: plain(value) for name, value in row.items()}
            found.append(
                Crossing(
                    self.summary.name, at, key, values, levels[old:new], levels[:new], begin, end, records, shown,
                    early=early,
                )
            )  # fmt: skip
        return found

    # State

    def state(self) -> dict[str, Any]:
        """Return everything needed to go on: arrays, and plain values."""
        state: dict[str, Any] = {
            "next": self._next, "first": self._first, "begin": self._begin, "full": sorted(self._full),
            "ends": [[at, following, sorted(who)] for at, (following, who) in self._ends.items()],
            "late": sorted(self._late.items()), "late_told": self._late_told, "ignored": self.ignored,
            "known": self._known.state(), "shares": list(self._shares),
        }  # fmt: skip
        for at, share in self._shares.items():
            state |= {f"{at}/{part}": value for part, value in share.state().items()}
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self._next, self._first, self._begin = state["next"], state["first"], state["begin"]
        self._full = set(state["full"])
        self._ends = {at: (following, set(who)) for at, following, who in state["ends"]}
        self._late, self._late_told, self.ignored = dict(state["late"]), state["late_told"], state["ignored"]
        self._known.restore(state["known"])
        self._shares = {}
        for at in state["shares"]:
            self._share(at).restore(part_of(state, f"{at}/"))


def part_of(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return what a state holds under a prefix."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _least(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)
