"""Delivery beside the work: a thread serves the sinks, so that a slow one holds nobody up."""

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from tocsin.errors import SinkError, TocsinError
from tocsin.sink import Sink

log = logging.getLogger("tocsin.delivery")

RETRY_S = 5.0
"""Pause after a failure."""

MOST_ROWS = 1_000_000
"""Rows of results that may wait; past it the oldest go, told and counted."""


class Deliverer(Protocol):
    """Who delivers findings: the verdict."""

    def deliver(self) -> int:
        """Give every sink what waits for it."""
        ...


class Delivery:
    """Delivers findings and results, each sink's in order.

    A sink that fails is tried again. `dropped` counts rows of results that went for want of room.
    """

    def __init__(self, findings: Deliverer, sinks: Mapping[str, Sequence[Sink]], *, retry_s: float = RETRY_S) -> None:
        self._findings, self._retry_s = findings, retry_s
        self._sinks = sinks
        self._waiting: dict[str, deque[tuple[str, pa.Table]]] = {}
        self._lock, self._asked, self._ends = threading.Lock(), threading.Event(), threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._serve, name="delivery", daemon=True)
        self._thread.start()

    def findings(self) -> None:
        """Say that findings wait."""
        self._asked.set()

    def results(self, summary: str, rows: pa.Table) -> None:
        """Have an epoch's rows delivered to the summary's sinks."""
        for sink in self._sinks.get(summary, ()):
            self.again(sink.place, summary, rows)

    def again(self, place: str, summary: str, rows: pa.Table) -> None:
        """Have rows delivered to one sink of a summary's."""
        with self._lock:
            self._waiting.setdefault(place, deque()).append((summary, rows))
            self._make_room()
        self._asked.set()

    @property
    def pending(self) -> list[tuple[str, str, pa.Table]]:
        """Return the results that no sink has taken yet: place, summary, rows."""
        with self._lock:
            return [(place, summary, rows) for place, queue in self._waiting.items() for summary, rows in queue]

    def close(self) -> None:
        """Deliver what waits, as far as the sinks take it, and end."""
        self._ends.set()
        self._asked.set()
        self._thread.join()
        if self.pending:
            rows = sum(each.num_rows for _, _, each in self.pending)
            log.error("%s rows of results were not delivered", rows)

    def _serve(self) -> None:
        while not self._ends.is_set():
            self._asked.wait()
            self._asked.clear()
            if not self._deliver_all():
                self._ends.wait(self._retry_s)
                self._asked.set()
        self._deliver_all()

    def _deliver_all(self) -> bool:
        """Try each sink until it fails or has everything; tell whether none failed."""
        try:
            self._findings.deliver()
        except TocsinError as error:
            log.warning("findings wait: %s", error)
            return False
        failed = [place for place, sink in self._places().items() if not self._deliver(place, sink)]
        return not failed

    def _deliver(self, place: str, sink: Sink) -> bool:
        while queue := self._waiting.get(place):
            summary, rows = queue[0]
            try:
                sink.send_results(rows)
            except SinkError as error:
                log.warning("results of %s wait for %s: %s", summary, place, error)
                return False
            with self._lock:
                if queue and queue[0][1] is rows:
                    queue.popleft()
        return True

    def _places(self) -> dict[str, Sink]:
        return {sink.place: sink for sinks in self._sinks.values() for sink in sinks}

    def _make_room(self) -> None:
        for place, queue in self._waiting.items():
            while len(queue) > 1 and sum(rows.num_rows for _, rows in queue) > MOST_ROWS:
                _, rows = queue.popleft()
                self.dropped += rows.num_rows
                log.error("%s rows of results for %s were dropped: it takes none", rows.num_rows, place)
