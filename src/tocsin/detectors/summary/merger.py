"""The merger: partials in, findings and results out. It knows nothing of how partials come."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.judge import Judge, Known, Passed
from tocsin.detectors.summary.messages import Crossing, EpochResult, Hint, Output, Partial, Progress
from tocsin.detectors.summary.peer import FOREVER, Peer
from tocsin.detectors.summary.rows import plain
from tocsin.detectors.summary.share import Share
from tocsin.detectors.summary.table import BEGIN, END, RECORDS, KeyTable

STATE_FORMAT = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Merger:
    """Merges the partials of all workers for its part of the keys, judges keys, and ends windows.

    A window is over when every worker's Progress says so. When one stays away for `patience_s` after another was
    ready, the window ends without it: the result names it as missing and holds what was known of its part.
    """

    def __init__(
        self,
        summaries: Sequence[Summary],
        *,
        merger: int = 0,
        workers: int = 1,
        patience_s: float = 30.0,
        origin_us: int = 0,
    ) -> None:
        self.summaries = {summary.name: summary for summary in summaries}
        self.merger, self.workers, self.patience_s = merger, workers, patience_s
        self.ignored = 0
        self._origin = {each.name: origin_us if each.origin == "first" else 0 for each in summaries}
        self._judges = {summary.name: Judge(summary) for summary in summaries}
        self._peers = [Peer() for _ in range(workers)]
        self._shares: dict[str, dict[int, Share]] = {name: {} for name in self.summaries}
        self._full: dict[str, set[int]] = {name: set() for name in self.summaries}
        self._next: dict[str, int] = {}
        self._first: dict[str, int] = {}
        self._begin: dict[str, int] = {}
        self._ends: dict[str, dict[int, tuple[int, set[int]]]] = {name: {} for name in self.summaries}
        self._known = {each.name: Known() for each in summaries if each.new_for_us}
        self._late: dict[str, int] = dict.fromkeys(self.summaries, 0)
        self._waiting_since: float | None = None
        self._reached_us = 0

    def receive(self, message: Partial | Progress, now: float) -> Output:
        """Take in what a worker sent; now: a monotonic clock, seconds."""
        if isinstance(message, Progress):
            self._peers[message.worker].waiting.setdefault(message.number, message)
            if message.number <= self._peers[message.worker].number:
                del self._peers[message.worker].waiting[message.number]
            return self._move_on(now)
        if message.final:
            self._take_final(message)
            return self._move_on(now)
        return self._take_early(message)

    def tick(self, now: float) -> Output:
        """End windows that have waited too long for a worker."""
        most = max(peer.watermark_us for peer in self._peers)
        behind = {number for number, peer in enumerate(self._peers) if peer.watermark_us < most}
        if not behind or not self._are_over(most):
            self._waiting_since = None
            return Output()
        if self._waiting_since is None:
            self._waiting_since = now
        if now - self._waiting_since < self.patience_s:
            return Output()
        self._waiting_since = None
        return self._end_windows(most, behind)

    def value(self, partials: Sequence[Partial]) -> list[dict[str, Any]]:
        """Return what partials of one summary's key (from `Worker.value` of every worker) come to, window by window."""
        found = []
        for at in sorted({partial.window for partial in partials}):
            its = [partial for partial in partials if partial.window == at]
            summary = self.summaries[its[0].summary]
            view = KeyTable(summary)
            for partial in its:
                view.merge(partial.table)
            start, end = self._span(summary, at, at + summary.window_us)
            for row in view.results(view.all_slots()).to_pylist():
                key = {name: row.pop(name) for name in summary.key_parts}
                records = row.pop(RECORDS, None)
                row.pop(BEGIN, None), row.pop(END, None)
                values = {name: plain(value) for name, value in row.items()}
                found.append({"start": start, "end": end, "key": key, "values": values, "records": records})
        return found

    def status(self) -> dict[str, dict[str, int]]:
        """Return for each summary the keys and bytes of its windows here."""
        return {
            name: {
                "keys": sum(len(share.table) for share in shares.values()),
                "nbytes": sum(share.table.nbytes for share in shares.values())
                + (self._known[name].nbytes if name in self._known else 0),
                "windows": len(shares),
            }
            for name, shares in self._shares.items()
        }

    # What comes in

    def _take_final(self, partial: Partial) -> None:
        if self._peers[partial.worker].has_final(partial.final):
            return
        if self._is_over(partial.summary, partial.window):
            self.ignored += partial.table.num_rows
            return
        share = self._share(partial.summary, partial.window)
        share.early.pop(partial.worker, None)
        if partial.table.num_rows:
            share.table.merge(partial.table)
        share.records[partial.worker], share.evicted[partial.worker] = partial.records, partial.evicted
        if partial.last:
            share.final.add(partial.worker)

    def _take_early(self, partial: Partial) -> Output:
        share = None
        if not self._is_over(partial.summary, partial.window):
            share = self._share(partial.summary, partial.window)
        if share is None or partial.worker in share.records:
            self.ignored += partial.table.num_rows
            return Output()
        share.early_of(partial.worker).put(partial.sequence, partial.table)
        if not self._judges[partial.summary].growing:
            return Output()
        return self._judge_early(self.summaries[partial.summary], partial, share)

    def _judge_early(self, summary: Summary, partial: Partial, share: Share) -> Output:
        judge, keys = self._judges[summary.name], partial.table.column("key").to_numpy()
        values, before = share.at_most(keys, judge.largest), share.passed.counts(keys)
        output = Output()
        near = np.flatnonzero(judge.passed_early(values) > before)
        if len(near):
            view = self._view(summary, share, keys[near])
            slots = view.index.find(keys[near])
            values[near] = np.nan_to_num(judge.guard_values(view, slots), nan=0.0)
            counts = judge.passed_early(values[near])
            news = (counts > before[near]) & self._is_judged(summary, partial.window, keys[near])
            share.passed.set_counts(keys[near][news], counts[news])
            shown = partial.table.column("examples").take(pa.array(near[news])).to_pylist()
            output.crossings = self._crossings(
                summary,
                partial.window,
                view.results(slots[news]),
                before[near][news],
                counts[news],
                [json.loads(each) if each else [] for each in shown],
            )
        if self.workers > 1:
            output.hints = self._hints(summary, partial.window, share, keys, judge.slack(values, self.workers))
        return output

    def _view(self, summary: Summary, share: Share, keys: np.ndarray) -> KeyTable:
        """Return what all workers said early of these keys, merged."""
        view = KeyTable(summary)
        for early in share.early.values():
            rows = early.rows(keys)
            if rows is not None:
                view.merge(rows)
        return view

    def _hints(self, summary: Summary, window: int, share: Share, keys: np.ndarray, slack: np.ndarray) -> list[Hint]:
        told = share.passed.to_hint(keys, slack)
        if not told.any():
            return []
        rows = tuple(tuple(row) for row in slack[told].tolist())
        return [Hint(summary.name, window, tuple(keys[told].tolist()), rows)]

    def _move_on(self, now: float) -> Output:
        """Apply what workers said of their progress, and end the windows that are over for all."""
        applied = False
        for number, peer in enumerate(self._peers):
            while progress := peer.next_progress():
                applied = True
                self._apply(number, peer, progress)
        if not applied:
            return Output()
        least = min(peer.watermark_us for peer in self._peers)
        output = self._end_windows(least, set()) if least > -FOREVER else Output()
        output.extend(self._end_manual())
        return output

    def _apply(self, number: int, peer: Peer, progress: Progress) -> None:
        self._reached_us = max(self._reached_us, progress.watermark_us or 0)
        if progress.finished:
            peer.watermark_us = FOREVER
        elif progress.watermark_us is not None:
            peer.watermark_us = float(progress.watermark_us)
        peer.counts = progress.counts
        for name, windows in progress.windows.items():
            self._full[name] |= {at for at in windows if not self._is_over(name, at)}
        for name, at in progress.first.items():
            self._first[name] = min(at, self._first.get(name, at))
        for name, at, following in progress.ended:
            self._ends[name].setdefault(at, (following, set()))[1].add(number)

    def _share(self, name: str, at: int) -> Share:
        shares = self._shares[name]
        if at not in shares:
            growing = self._judges[name].growing
            shares[at] = Share(KeyTable(self.summaries[name]), Passed(len(growing.guards()) if growing else 0))
        return shares[at]

    # Windows that are over

    def _is_over(self, name: str, at: int) -> bool:
        return name in self._next and at < self._next[name]

    def _full_windows(self, name: str) -> set[int]:
        return self._full[name] | self._shares[name].keys()

    def _are_over(self, watermark_us: float) -> bool:
        """Whether any window with records is over at a watermark."""
        for name, summary in self.summaries.items():
            full = self._full_windows(name)
            if full and (watermark_us == FOREVER or min(full) <= summary.last_over(watermark_us, self._origin[name])):
                return True
        return False

    def _end_windows(self, watermark_us: float, missing: set[int]) -> Output:
        output = Output()
        for name, summary in self.summaries.items():
            if not summary.window_us:
                if watermark_us == FOREVER:
                    for at in sorted(self._full_windows(name)):
                        output.extend(self._end_window(summary, at, max(at, self._reached_us), missing))
                continue
            output.extend(self._end_timed(summary, watermark_us, missing))
        return output

    def _end_timed(self, summary: Summary, watermark_us: float, missing: set[int]) -> Output:
        name, step, output = summary.name, summary.step_us, Output()
        full = sorted(self._full_windows(name))
        if watermark_us == FOREVER:
            if not full:
                return output
            last = full[-1]
        else:
            last = summary.last_over(watermark_us, self._origin[name])
        at = self._beginning(summary, full, watermark_us)
        for window in [each for each in full if each <= last]:
            self._skip_empty(summary, at, window, output)
            output.extend(self._end_window(summary, window, window + summary.window_us, missing))
            at = window + step
        if watermark_us != FOREVER:
            self._skip_empty(summary, at, last + step, output)
        self._next[name] = max(self._next.get(name, last + step), last + step)
        return output

    def _beginning(self, summary: Summary, full: list[int], watermark_us: float) -> int:
        """Return the first window that was not ended yet, not before the first record or the first watermark."""
        name = summary.name
        known = [*full[:1], *([self._first[name]] if name in self._first else [])]
        if name not in self._begin or known:
            passed = [] if watermark_us == FOREVER else [summary.last_begun(watermark_us, self._origin[name])]
            self._begin[name] = min([*known, *passed, *([self._begin[name]] if name in self._begin else [])])
        return max(self._begin[name], self._next.get(name, self._begin[name]))

    def _skip_empty(self, summary: Summary, at: int, until: int, output: Output) -> None:
        """Report the empty windows from one to another as one result; of several mergers the first does."""
        count = (until - at) // summary.step_us
        if count > 0 and self.merger == 0:
            start, _ = self._span(summary, at, at + summary.window_us)
            _, end = self._span(summary, at, until - summary.step_us + summary.window_us)
            table = KeyTable(summary)
            empty = table.results(table.all_slots())
            output.results.append(EpochResult(summary.name, start, end, self.merger, empty, epochs=count))

    def _end_manual(self) -> Output:
        output = Output()
        for name, ends in self._ends.items():
            for at in sorted(ends):
                following, workers = ends[at]
                if len(workers) == self.workers:
                    del ends[at]
                    output.extend(self._end_window(self.summaries[name], at, following, set()))
                    self._next[name] = following
        return output

    def _end_window(self, summary: Summary, at: int, end_us: int, missing: set[int]) -> Output:
        """Judge a window's keys for the last time and return its results."""
        name = summary.name
        self._full[name].discard(at)
        share = self._shares[name].pop(at, None) or Share(KeyTable(summary), Passed(0))
        absent = {worker for worker in missing if worker not in share.final}
        for worker, early in share.early.items():
            if worker in absent:
                share.table.merge(early.all_rows()[0])
        slots, keys = share.table.all_slots(), share.table.index.keys
        results = share.table.results(slots)
        output = Output(crossings=self._judge_at_end(summary, at, share, results))
        if name in self._known:
            self._known[name].add(keys, end_us, end_us - summary.new_for_us)
        start, end = self._span(summary, at, end_us)
        late = sum(peer.counts.get(name, {}).get("late", 0) for peer in self._peers)
        result = EpochResult(
            name, start, end, self.merger, results, sum(share.records.values()), late - self._late[name],
            sum(share.evicted.values()), tuple(sorted(absent)),
        )  # fmt: skip
        self._late[name] = late
        output.results.append(result)
        return output

    def _judge_at_end(self, summary: Summary, at: int, share: Share, results: pa.Table) -> list[Crossing]:
        judge, slots, keys = self._judges[summary.name], share.table.all_slots(), share.table.index.keys
        if not judge.levels or not len(slots):
            return []
        counts, before = judge.passed_at_end(share.table, slots, results), np.zeros(len(slots), np.int64)
        grown = np.flatnonzero(counts)
        before[grown] = share.passed.counts(keys[grown])
        news = np.flatnonzero((counts > before) & self._is_judged(summary, at, keys))
        chosen = results.take(pa.array(news))
        return self._crossings(summary, at, chosen, before[news], counts[news], [[] for _ in news], early=False)

    def _is_judged(self, summary: Summary, at: int, keys: np.ndarray) -> np.ndarray:
        """Return which keys may be judged, (m,) bool: new ones only, once enough was learned, where that is asked."""
        if not summary.new_for_us:
            return np.ones(len(keys), bool)
        first = min([self._first.get(summary.name, at), *self._shares[summary.name], at])
        if summary.name in self._first:
            first = self._first[summary.name]
        if at < first + summary.learn_us:
            return np.zeros(len(keys), bool)
        return self._known[summary.name].is_new(keys, at - summary.new_for_us)

    def _crossings(
        self,
        summary: Summary,
        at: int,
        results: pa.Table,
        before: np.ndarray,
        counts: np.ndarray,
        examples: list[list[dict[str, Any]]],
        *,
        early: bool = True,
    ) -> list[Crossing]:
        levels = summary.levels or (1.0,)
        found = []
        for row, old, new, shown in zip(results.to_pylist(), before.tolist(), counts.tolist(), examples, strict=True):
            key = {name: row.pop(name) for name in summary.key_parts}
            begin, end, records = row.pop(BEGIN), row.pop(END), row.pop(RECORDS)
            found.append(
                Crossing(
                    summary.name, at, key, {name: plain(value) for name, value in row.items()},
                    levels[old:new], levels[:new], begin, end, records, shown, early=early,
                )
            )  # fmt: skip
        return found

    def _span(self, summary: Summary, at: int, end_us: int) -> tuple[datetime, datetime]:
        return _EPOCH + timedelta(microseconds=at), _EPOCH + timedelta(microseconds=end_us)

    # State

    def state(self) -> dict[str, Any]:
        """Return everything needed to go on: arrays, numbers, texts, lists and maps of them."""
        state: dict[str, Any] = {
            "format": STATE_FORMAT, "workers": self.workers, "next": dict(self._next), "first": dict(self._first),
            "begin": dict(self._begin),
            "late": dict(self._late), "ignored": self.ignored, "reached": self._reached_us,
            "origin": dict(self._origin),
            "full": {name: sorted(windows) for name, windows in self._full.items()},
            "ends": {name: [[at, following, sorted(who)] for at, (following, who) in ends.items()]
                     for name, ends in self._ends.items()},
            "peers": [peer.state() for peer in self._peers],
            "shares": [],
        }  # fmt: skip
        for name, known in self._known.items():
            state[f"known.{name}"] = known.state()
        for name, shares in self._shares.items():
            for at, share in shares.items():
                mark = f"share.{len(state['shares'])}."
                state["shares"].append([name, at])
                state |= {f"{mark}{part}": value for part, value in share.state().items()}
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state of an equally configured merger."""
        self._next, self._first, self._late = dict(state["next"]), dict(state["first"]), dict(state["late"])
        self._begin = dict(state["begin"])
        self._origin, self.ignored = dict(state["origin"]), state["ignored"]
        self._reached_us = state["reached"]
        self._full = {name: set(windows) for name, windows in state["full"].items()}
        self._ends = {
            name: {at: (following, set(who)) for at, following, who in ends} for name, ends in state["ends"].items()
        }
        self._peers = [Peer.of(each) for each in state["peers"]]
        for name, known in self._known.items():
            known.restore(state[f"known.{name}"])
        self._shares = {name: {} for name in self.summaries}
        for number, (name, at) in enumerate(state["shares"]):
            mark = f"share.{number}."
            its = {part.removeprefix(mark): value for part, value in state.items() if part.startswith(mark)}
            self._share(name, at).restore(its)
