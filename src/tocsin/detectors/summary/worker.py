"""The worker: records in, partials out. It knows nothing of how records come or where partials go."""

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.columns import possible_keys
from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.examples import newest_rows
from tocsin.detectors.summary.messages import Hint, Partial, Progress
from tocsin.detectors.summary.openwindow import OpenWindow
from tocsin.detectors.summary.rows import from_ipc, to_ipc
from tocsin.detectors.summary.stream import Observed, Stream

STATE_FORMAT = 1
FINAL_ROWS = 100_000
"""Most keys of one final partial."""

_COUNTS = ("records", "late", "rejected", "evicted", "delayed")
Message = Partial | Progress


class Worker:
    """Counts its share of the records.

    Early partials: with one worker a key is sent at the very record that brings it to a goal. With W workers it is
    sent at the end of a batch in which its own part has grown by a slack since it was last sent, and the slacks of all
    add up to less than what is missing (`openwindow.Watch`). A key and level cost at most 2 W (log2(goal / 2W) + 2)
    early partials when counting whole numbers that only grow.
    """

    def __init__(
        self, summaries: Sequence[Summary], *, worker: int = 0, workers: int = 1, mergers: int = 1, origin_us: int = 0
    ) -> None:
        self.summaries = {summary.name: summary for summary in summaries}
        self.worker, self.workers, self.mergers = worker, workers, mergers
        self.watermark_us: int | None = None
        self._origin = {each.name: origin_us if each.origin == "first" else 0 for each in summaries}
        self._streams: dict[str, list[tuple[Summary, Stream]]] = defaultdict(list)
        for summary in summaries:
            for number, its in enumerate(summary.inputs):
                self._streams[its.kind].append((summary, Stream(summary, number)))
        self._windows: dict[str, dict[int, OpenWindow]] = {name: {} for name in self.summaries}
        self._manual = {each.name: origin_us for each in summaries if not each.window_us}
        self._first: dict[str, int] = {}
        self._counts = {name: dict.fromkeys(_COUNTS, 0) for name in self.summaries}
        self._finals, self._numbers = [0] * mergers, [0] * mergers
        self._over: dict[str, int] = {}

    @property
    def kinds(self) -> frozenset[str]:
        """The record kinds that anything is counted of."""
        return frozenset(self._streams)

    def observe(self, kind: str, table: pa.Table, ordinals: np.ndarray) -> list[Message]:
        """Count records of a kind, in order; return early partials. ordinals: (n,) uint64, see Values."""
        sent: list[Message] = []
        for summary, stream in self._streams.get(kind, ()):
            observed, failed = stream.select(table, ordinals)
            counts = self._counts[summary.name]
            counts["rejected"] += failed
            counts["records"] += len(observed)
            if len(observed):
                sent += self._count(summary, stream.number, observed, table)
        return sent

    def advance(self, watermark_us: int) -> list[Message]:
        """Take in how far time is; return the finals of windows that are over, and Progress where any may be."""
        if self.watermark_us is not None and watermark_us <= self.watermark_us:
            return []
        self.watermark_us = watermark_us
        over = {
            name: each.last_over(watermark_us, self._origin[name])
            for name, each in self.summaries.items()
            if each.window_us
        }
        if over == self._over:
            return []
        self._over = over
        ended = {name: [at for at in self._windows[name] if at <= last] for name, last in over.items()}
        return self._end(ended)

    def hint(self, hint: Hint) -> list[Message]:
        """Take over when to speak of hot keys, and speak of those that are due by it."""
        window = self._windows[hint.summary].get(hint.window)
        if window is None:
            return []
        slots = window.table.index.find(np.array(hint.keys, np.uint64))
        known = np.flatnonzero(slots >= 0)
        slots = slots[known]
        for watch in window.watches:
            if not watch.alone:
                watch.hinted(slots, np.array([hint.slack[row][watch.number] for row in known]))
        due = window.due(slots)
        return self._speak(hint.summary, hint.window, window, due) if len(due) else []

    def end_epoch(self, summary: str) -> list[Message]:
        """End the open window of a manual summary and open the next."""
        window = self._manual[summary]
        following = max(window + 1, self.watermark_us or 0)
        self._manual[summary] = following
        present = [window] if window in self._windows[summary] else []
        return self._end({summary: present}, ended=((summary, window, following),))

    def finish(self) -> list[Message]:
        """End every window; nothing is counted afterwards."""
        ended = {name: list(windows) for name, windows in self._windows.items()}
        return self._end(ended, finished=True)

    def value(self, summary: str, key: dict[str, Any]) -> list[Partial]:
        """Return what is here of a key, for each open window; nothing changes."""
        found = []
        for at, window in sorted(self._windows[summary].items()):
            slots = np.unique(window.table.index.find(possible_keys(self.summaries[summary].key_parts, key)))
            slots = slots[slots >= 0]
            if len(slots):
                found.append(self._partial(summary, at, 0, window.table.partial(slots)))
        return found

    def status(self) -> dict[str, dict[str, int]]:
        """Return for each summary: keys, nbytes, windows, and the counts since the start."""
        return {
            name: {
                "keys": sum(len(window.table) for window in windows.values()),
                "nbytes": sum(window.nbytes for window in windows.values()),
                "windows": len(windows),
                **self._counts[name],
            }
            for name, windows in self._windows.items()
        }

    def state(self) -> dict[str, Any]:
        """Return everything needed to go on: arrays, numbers, texts, lists and maps of them."""
        plain = {
            "format": STATE_FORMAT, "workers": self.workers, "mergers": self.mergers, "watermark": self.watermark_us,
            "counts": self._counts, "first": self._first, "manual": self._manual, "over": self._over,
            "finals": self._finals, "numbers": self._numbers, "origin": self._origin,
        }  # fmt: skip
        state: dict[str, Any] = {**copy.deepcopy(plain), "windows": []}
        for name, windows in self._windows.items():
            for at, window in windows.items():
                mark = f"window.{len(state['windows'])}"
                state["windows"].append([name, at, window.records, window.evicted])
                state[mark] = to_ipc(window.table.partial(window.table.all_slots()))
                for watch in window.watches:
                    state[f"{mark}.{watch.number}"] = watch.rows[: len(window.table)].copy()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state of an equally configured worker."""
        self.watermark_us, self._counts, self._first = state["watermark"], state["counts"], state["first"]
        self._manual, self._over, self._origin = state["manual"], state["over"], state["origin"]
        self._finals, self._numbers = list(state["finals"]), list(state["numbers"])
        self._windows = {name: {} for name in self.summaries}
        for number, (name, at, records, evicted) in enumerate(state["windows"]):
            window = OpenWindow(self.summaries[name], self.workers)
            window.table.merge(from_ipc(state[f"window.{number}"]))
            window.records, window.evicted = records, evicted
            for watch in window.watches:
                watch.rows = state[f"window.{number}.{watch.number}"].copy()
            self._windows[name][at] = window

    def _count(self, summary: Summary, number: int, observed: Observed, table: pa.Table) -> list[Message]:
        sent: list[Message] = []
        late = np.zeros(len(observed), bool)
        for at, rows in self._by_window(summary, observed.times):
            if self._is_over(summary, at):
                late[rows] = True
                continue
            part = observed if rows is None else observed.take(rows)
            sent += self._add(summary, at, number, part, table)
        self._counts[summary.name]["late"] += int(np.count_nonzero(late))
        return sent

    def _by_window(self, summary: Summary, times: np.ndarray) -> Iterator[tuple[int, np.ndarray | None]]:
        """Yield each window with its rows, (m,) int64; None for all."""
        if not summary.window_us:
            yield self._manual[summary.name], None
            return
        origin, step = self._origin[summary.name], summary.step_us
        last = (times - origin) // step
        low, high = int(last.min()), int(last.max())
        back = summary.window_us // step
        present = [low] if low == high else np.unique(last).tolist()  # one wrong clock may be many windows away
        for place in sorted({each - before for each in present for before in range(back)}):
            is_in = (last >= place) & (last < place + back) if low < high else None
            yield place * step + origin, None if is_in is None else np.flatnonzero(is_in)

    def _add(self, summary: Summary, at: int, number: int, observed: Observed, table: pa.Table) -> list[Message]:
        window = self._open(summary, at)
        window.records += len(observed)
        slots = window.place(observed)
        hot = window.to_look_at(number, slots, observed)
        if not len(hot):
            window.table.add(number, slots, observed.values, observed.times)
            sent: list[Message] = []
        elif self.workers == 1:
            sent = self._add_exactly(summary.name, at, window, number, slots, hot, observed, table)
        else:
            window.table.add(number, slots, observed.values, observed.times)
            window.settle(hot)
            due = window.due(hot)
            shown = newest_rows(due, np.full(len(due), len(slots)), slots, observed, table)
            sent = self._speak(summary.name, at, window, due, shown) if len(due) else []
        if window.is_full():
            smaller = window.evict()
            self._counts[summary.name]["evicted"] += smaller.evicted - window.evicted
            self._windows[summary.name][at] = smaller
        return sent

    def _add_exactly(
        self,
        name: str,
        at: int,
        window: OpenWindow,
        number: int,
        slots: np.ndarray,
        hot: np.ndarray,
        observed: Observed,
        table: pa.Table,
    ) -> list[Message]:
        """Add rows, and speak of each key at the very row that brings it to a goal."""
        sent: list[Message] = []
        place = np.full(len(window.table), -1, np.int32)
        place[hot] = np.arange(len(hot), dtype=np.int32)
        local = place[slots]
        calm = np.flatnonzero(local < 0)
        if len(calm):
            part = observed.take(calm)
            window.table.add(number, slots[calm], part.values, part.times)
        rest = np.flatnonzero(local >= 0)
        while len(rest):
            part, its = observed.take(rest), local[rest]
            reached = np.flatnonzero(window.ahead(number, hot, its, part))
            cut = np.full(len(hot), len(rest))
            due, where = np.unique(its[reached], return_index=True)
            cut[due] = reached[where]
            before = np.arange(len(rest)) <= cut[its]
            chosen = part.take(np.flatnonzero(before))
            window.table.add(number, slots[rest[before]], chosen.values, chosen.times)
            if len(due):
                shown = newest_rows(hot[due], rest[cut[due]], slots, observed, table)
                sent += self._speak(name, at, window, hot[due], shown)
            rest = rest[~before]
        window.settle(hot)
        return sent

    def _open(self, summary: Summary, at: int) -> OpenWindow:
        windows = self._windows[summary.name]
        if at not in windows:
            windows[at] = OpenWindow(summary, self.workers)
            self._first[summary.name] = min(at, self._first.get(summary.name, at))
        return windows[at]

    def _is_over(self, summary: Summary, at: int) -> bool:
        last = self._over.get(summary.name)
        return last is not None and at <= last

    def _speak(
        self, name: str, at: int, window: OpenWindow, slots: np.ndarray, examples: pa.Array | None = None
    ) -> list[Message]:
        """Send the states of these keys as they are now."""
        table, values = window.table.partial(slots), window.guard_values(slots)
        given = examples if examples is not None else pa.array([""] * len(slots), pa.string())
        table = table.append_column("examples", given)
        for number, its in enumerate(values):
            table = table.append_column(f"guard.{number}", pa.array(its))
        window.spoke(slots, values)
        mergers = self._merger_of(window.table.index.keys[slots])
        return [
            self._partial(name, at, merger, table.filter(pa.array(mergers == merger)))
            for merger in np.unique(mergers).tolist()
        ]

    def _partial(self, name: str, at: int, merger: int, table: pa.Table) -> Partial:
        sequence = self._counts[name]["records"]
        return Partial(name, at, self.worker, merger, sequence, 0, last=False, table=table)

    def _end(self, windows: dict[str, list[int]], **progress: Any) -> list[Message]:
        """Return the finals of windows that are over, which are dropped, and word of it to every merger."""
        messages: list[Message] = []
        for name, its in windows.items():
            for at in sorted(its):
                messages += self._finals_of(name, at, self._windows[name].pop(at))
        over = {name: tuple(sorted(its)) for name, its in windows.items() if its}
        for merger in range(self.mergers):
            self._numbers[merger] += 1
            messages.append(
                Progress(
                    self.worker,
                    merger,
                    self._numbers[merger],
                    self.watermark_us,
                    self._finals[merger],
                    over,
                    dict(self._first),
                    {each: dict(counts) for each, counts in self._counts.items()},
                    **progress,
                )
            )
        return messages

    def _finals_of(self, name: str, at: int, window: OpenWindow) -> Iterator[Partial]:
        mergers = self._merger_of(window.table.index.keys)
        sequence = self._counts[name]["records"]
        shares = [np.flatnonzero(mergers == merger).astype(np.int32) for merger in range(self.mergers)]
        for start in range(0, max(*map(len, shares), 1), FINAL_ROWS):
            for merger, slots in enumerate(shares):  # in turns, so that all mergers have something to do
                if start and start >= len(slots):
                    continue
                self._finals[merger] += 1
                yield Partial(
                    name, at, self.worker, merger, sequence, self._finals[merger],
                    last=start + FINAL_ROWS >= len(slots),
                    table=window.table.partial(slots[start : start + FINAL_ROWS]),
                    records=window.records, evicted=window.evicted,
                )  # fmt: skip

    def _merger_of(self, keys: np.ndarray) -> np.ndarray:
        result: np.ndarray = (keys >> np.uint64(40)) % np.uint64(self.mergers)
        return result
