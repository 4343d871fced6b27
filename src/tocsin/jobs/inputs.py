"""What `watch` and `backtest` read: files, folders, globs, pipes and the lake, in the order of time."""

import select
from collections.abc import Iterable, Iterator, Set
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tocsin.clock import Clock
from tocsin.errors import InputError
from tocsin.jobs.feeds import Feed, GrowingFeed, Tally
from tocsin.jobs.lake import day_range, lake_days, read_object
from tocsin.jobs.lookout import Lookout, tally_of
from tocsin.jobs.merge import LOOK_S, Merge, Records
from tocsin.jobs.pipes import PipeFeed
from tocsin.records.flow import TIMESTAMP
from tocsin.records.times import least_us
from tocsin.settings import IngestSettings
from tocsin.source import Batch
from tocsin.sources.kinds import Kinds
from tocsin.store import Store

__all__ = ["Inputs", "Records", "lake_inputs"]

SEARCH_S = 1.0
"""How often, when following, folders and globs are searched for new files."""
_REST = 20
"""A search that takes long is followed by so many times its duration without one."""
_FEW = 64
_FORMATS = ("flow", "event")


class Inputs(Merge):
    """The records of files, folders, globs and `-` in the order of time, on and on where they are followed.

    kinds: which kinds of records are wanted; others are not even parsed. kind: what JSON lines are that do not say it.
    positions: what `positions` returned, to go on exactly there. A log that was renamed meanwhile is found again; of a
    pipe, what had been read is gone. apart: a folder within folders that is left alone (the store). Raises InputError
    for a kind that there cannot be, or foreign positions.
    """

    def __init__(
        self,
        paths: Iterable[str | Path],
        *,
        settings: IngestSettings,
        clock: Clock,
        format: str | None = None,
        follow: bool = False,
        kind: str = "",
        positions: dict[str, Any] | None = None,
        kinds: Set[str] | None = None,
        apart: Path | None = None,
    ) -> None:
        paths = list(paths)
        if kind and kind not in _FORMATS and not kind.startswith(("zeek.", "eve.")):
            raise InputError(f"kind {kind!r}: choose flow, event, zeek.LOG or eve.TYPE")
        if positions is not None and positions.get("format") != 1:
            raise InputError(f"positions of format {positions.get('format')!r}; this version reads 1")
        wanted = Kinds(None if kinds is None else frozenset({*kinds, *_made_of(kinds)}), kind)
        self.follow = follow
        self._lookout = Lookout(
            paths,
            settings=settings,
            clock=clock,
            kinds=wanted,
            format=format,
            follow=follow,
            positions=positions,
            apart=apart,
        )
        self._lasting = follow and any(str(path) != "-" for path in paths)
        self._asleep: list[GrowingFeed] = []
        self._search_at = clock.monotonic() + SEARCH_S
        super().__init__(self._lookout.look(), clock)
        self._done = [(entry, tally_of(entry)) for entry in self._lookout.ended.values()]
        self.watermark_us = int((positions or {}).get("watermark_us", -1))

    @property
    def is_over(self) -> bool:
        """Whether no more can come."""
        return self._stopped or not (self._lasting or self._open or self._waiting)

    def report(self) -> list[Tally]:
        """Return what became of each input, and then what was found and not read, with why."""
        return [*super().report(), *self._lookout.left_out.values(), *self._lookout.missing]

    def close(self) -> None:
        """Let go of all files."""
        super().close()
        for feed in self._asleep:
            feed.close()

    def _feeds(self) -> list[Feed]:
        return super()._feeds() + list(self._asleep)

    def _next(self) -> Records | None:
        if self.follow:
            self._wake()
            if self.clock.monotonic() >= self._search_at:
                self._search()
        return super()._next()

    def _search(self) -> None:
        begun = self.clock.monotonic()
        for feed in self._lookout.look():
            self.add(feed)
        took = self.clock.monotonic() - begun
        self._search_at = begun + max(SEARCH_S, took * _REST)

    def _wake(self) -> None:
        if len(self._asleep) > _FEW and self.clock.monotonic() < self._search_at:
            return
        for feed in [feed for feed in self._asleep if feed.has_grown()]:
            self._asleep.remove(feed)
            self._open.append(feed)

    def _rest(self, feed: Feed) -> None:
        super()._rest(feed)
        if not isinstance(feed, GrowingFeed):
            return
        if feed.cut_off:
            self._lookout.forget(feed.path)
            if (rest := self._lookout.moved(feed)) is not None:
                self._done.pop()
                self.add(rest)
            self._search()
        elif feed.asleep and not feed.ended:
            self._open.remove(feed)
            self._asleep.append(feed)
            feed.close()
        elif feed.rotated and not feed.replaced:
            feed.replaced = True
            self._search()

    def _wait(self, timeout_s: float) -> None:
        pipes = [feed.fd for feed in self._open if isinstance(feed, PipeFeed) and not feed.lasting]
        if not pipes:
            self.clock.sleep(timeout_s)
            return
        waiting = select.poll()
        for pipe in pipes:
            waiting.register(pipe, select.POLLIN)
        waiting.poll(min(timeout_s, LOOK_S) * 1000)


def _made_of(kinds: Set[str]) -> set[str]:
    """Return the kinds of which others are made: `zeek.conn` is flows under Zeek's names."""
    return {"flow"} if "zeek.conn" in kinds else set()


class _LakeFeed(Feed):
    """One object of the lake, from its position; of its flows those that began in a span of time."""

    def __init__(self, number: int, store: Store, path: str, clock: Clock, span: tuple[datetime | None, ...]) -> None:
        super().__init__(number, Path(path), "lake", clock)
        self.store, self.object, self.span = store, path, span
        with store.open(path) as handle, pq.ParquetFile(handle) as file:
            self.first_us = least_us(file, "stime")

    def _begin(self) -> Iterator[Batch | None]:
        row, start = 0, (self.position or {"row": 0})["row"]
        for table in read_object(self.store, self.object):
            row += table.num_rows
            if row > start:
                rows = np.arange(row - table.num_rows, row)
                yield self._batch(table, rows)

    def _batch(self, table: pa.Table, rows: np.ndarray) -> Batch:
        since, until = self.span
        begin = table.column("stime")
        keep = np.ones(len(rows), bool)
        if since is not None:
            keep &= np.asarray(pc.greater_equal(begin, pa.scalar(since, TIMESTAMP)))
        if until is not None:
            keep &= np.asarray(pc.less(begin, pa.scalar(until, TIMESTAMP)))
        position = {"row": int(rows[-1]) + 1}
        if keep.all():
            return Batch("flow", table, position, lines=rows)
        return Batch("flow", table.filter(pa.array(keep)), position, lines=rows[keep])


def lake_inputs(
    store: Store,
    domain: str,
    *,
    clock: Clock,
    days: Iterable[date] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Merge:
    """Return the lake's flows in the order of time: of these days (all by default), begun in [since, until).

    Raises StoreError when an object cannot be read.
    """
    wanted = None if days is None else set(days)
    objects = [
        info.path
        for day, infos in lake_days(store, domain).items()
        if (wanted is None or day in wanted) and _overlaps(day, since, until)
        for info in sorted(infos, key=lambda info: info.path)
    ]
    return Merge([_LakeFeed(number, store, path, clock, (since, until)) for number, path in enumerate(objects)], clock)


def _overlaps(day: date, since: datetime | None, until: datetime | None) -> bool:
    begin, end = day_range(day)
    return (since is None or since < end) and (until is None or until > begin)
