"""Feeds in the order of time: what is read on is always what lags behind."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.clock import Clock
from tocsin.jobs.feeds import Feed, Tally
from tocsin.source import Batch

LOOK_S = 0.02
"""How often quiet files are looked at."""
PAUSE_S = 0.1
"""How long an iteration waits for records at most."""
_INSTANT_S = 1e-4
_RECORD_BITS = 40
FORMAT = 1


@dataclass(frozen=True)
class Records:
    """Records of one kind from one input; of no kind where there are none now.

    ordinals: (n,) uint64, each record's own number in the run, the same at every replay: the number of its input in
    the upper 24 bits, its line (or row) in the others. watermark_us: records to come are not older, disorder within
    an input aside; microseconds since 1970, -1 while nothing is known.
    """

    kind: str
    table: pa.Table
    ordinals: np.ndarray
    watermark_us: int
    input: str


class Merge:
    """Iterates over feeds' records: on and on from the one whose newest record is oldest.

    A feed is begun when the time of its first records is reached, so that few are open at once. The watermark is the
    least of the newest times of those that are open and of the first times of those that are not; what has ended does
    not count, and it never passes the wall clock: one record of tomorrow must not make the rest late.
    """

    def __init__(self, feeds: Iterable[Feed], clock: Clock) -> None:
        self.clock = clock
        self.watermark_us = -1
        self._open: list[Feed] = []
        self._waiting: list[tuple[int, int, Feed]] = []
        self._done: list[tuple[dict[str, Any], Tally]] = []
        self._stopped = False
        for feed in feeds:
            self.add(feed)

    def __iter__(self) -> Iterator[Records]:
        """Yield records until the end, or until told to stop; every PAUSE_S at least, be it nothing."""
        while not self.is_over:
            yield from self.read(PAUSE_S) or ([] if self.is_over else [self._nothing()])

    def read(self, timeout_s: float = 0.0) -> list[Records]:
        """Return the next records, waiting so long at most for the first; an empty list where none came."""
        end = self.clock.monotonic() + timeout_s
        while not self.is_over:
            records = self._next()
            if records is not None:
                return [records]
            left = end - self.clock.monotonic()
            if left < _INSTANT_S or self.is_over:
                break
            self._wait(min(left, LOOK_S))
        return []

    @property
    def is_over(self) -> bool:
        """Whether no more can come."""
        return self._stopped or not (self._open or self._waiting)

    def stop(self) -> None:
        """Read no further."""
        self._stopped = True

    def close(self) -> None:
        """Let go of all files."""
        self._stopped = True
        for feed in self._open:
            feed.close()

    def add(self, feed: Feed) -> None:
        """Add a feed that is read from its time on."""
        heappush(self._waiting, (feed.next_us, feed.number, feed))

    def report(self) -> list[Tally]:
        """Return what became of each input, in their order."""
        tallies = {entry["number"]: tally for entry, tally in self._done}
        tallies |= {feed.number: feed.tally for feed in self._feeds()}
        return [tallies[number] for number in sorted(tallies)]

    @property
    def rejected(self) -> int:
        """Rows set aside so far."""
        return sum(tally.rejected for tally in self.report())

    def positions(self) -> dict[str, Any]:
        """Return where every input is, after what was returned so far, as plain values."""
        entries = [entry for entry, _ in self._done] + [entry_of(feed) for feed in self._feeds()]
        entries.sort(key=lambda entry: int(entry["number"]))
        return {"format": FORMAT, "watermark_us": self.watermark_us, "inputs": entries}

    def _feeds(self) -> list[Feed]:
        return [*self._open, *(feed for _, _, feed in self._waiting)]

    def _next(self) -> Records | None:
        """Return what the feed gives that lags most; None where all of them have nothing now."""
        dry: set[int] = set()
        while True:
            feed = min((feed for feed in self._open if feed.number not in dry), key=_lag, default=None)
            if self._waiting and (feed is None or self._waiting[0][0] <= feed.next_us):
                self._open.append(heappop(self._waiting)[2])
                continue
            if feed is None:
                self._advance()
                return None
            batch = feed.take()
            if batch is None:
                dry.add(feed.number)
                self._rest(feed)
            elif batch.table.num_rows:
                self._advance()
                return self._records(feed, batch)

    def _rest(self, feed: Feed) -> None:
        """See to a feed that has nothing now."""
        if feed.ended:
            self._open.remove(feed)
            feed.close()
            self._done.append((entry_of(feed), feed.tally))

    def _records(self, feed: Feed, batch: Batch) -> Records:
        lines = batch.lines
        if lines is None:
            lines = np.arange(batch.table.num_rows) + feed.tally.records - batch.table.num_rows
        ordinals = lines.astype(np.uint64) | np.uint64(feed.number << _RECORD_BITS)
        return Records(batch.kind, batch.table, ordinals, self.watermark_us, str(feed.path))

    def _nothing(self) -> Records:
        return Records("", pa.table({}), np.empty(0, np.uint64), self.watermark_us, "")

    def _advance(self) -> None:
        marks = [mark for feed in self._open if (mark := feed.clock_us) is not None]
        marks += [self._waiting[0][0]] if self._waiting else []
        now = int(self.clock.now().timestamp() * 1e6)
        self.watermark_us = max(self.watermark_us, min([*marks, now]) if marks else -1)

    def _wait(self, timeout_s: float) -> None:
        self.clock.sleep(timeout_s)


def _lag(feed: Feed) -> tuple[int, int]:
    return feed.next_us, feed.number


def entry_of(feed: Feed) -> dict[str, Any]:
    """Return where a feed is, as plain values."""
    return {
        "number": feed.number,
        "path": str(feed.path),
        "known_by": feed.known_by,
        "format": feed.format,
        "position": feed.position,
        "newest_us": feed.newest_us,
        "ended": feed.ended,
        "records": feed.tally.records,
        "rejected": feed.tally.rejected,
        "skipped": feed.tally.skipped,
    }
