"""Threads for the SQL that requests bring: few, their own, and never waited for longer than SQL may take.

What a function of SQL does with one value cannot be broken off before its end. Such a thread is left to itself, another
one takes its place, and nothing else of the service ever waits for it, not even its end: they are daemons.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

from tocsin.records.bounded import within
from tocsin.serve.problems import Problem

LIMIT_S = 5.0
"""For the SQL of a request, and more for one with many records:"""
PER_RECORD_S = 0.001

GRACE_S = 1.0
"""For what is broken off to end."""

THREADS = 2
MOST_LOST = 4
"""Threads that may be lost in SQL at a time; beyond, requests with SQL are refused until one is found again."""

T = TypeVar("T")


@dataclass
class _Job:
    """A call on its way. left: whether nobody waits for it any more."""

    call: Callable[[], Any]
    done: "Future[Any]" = field(default_factory=Future)
    begun: bool = False
    ended: bool = False
    left: bool = False


class SqlThreads:
    """Runs calls that evaluate SQL."""

    def __init__(self, threads: int = THREADS, *, limit_s: float = LIMIT_S, grace_s: float = GRACE_S) -> None:
        self._wanted = threads
        self._limit_s = limit_s
        self._grace_s = grace_s
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._working = self._lost = 0
        self._threads: set[threading.Thread] = set()

    async def run(self, call: Callable[..., T], *given: Any, records: int = 1) -> T:
        """Return what a call returns. Raises InputError when it takes too long, Problem 503 when others do."""
        limit_s = self._limit_s + records * PER_RECORD_S

        def bounded() -> T:
            with within(limit_s, lambda: job.left):
                return call(*given)

        job = _Job(bounded)
        self._begin()
        self._jobs.put(job)
        try:
            async with asyncio.timeout(limit_s + self._grace_s):
                found: T = await asyncio.wrap_future(job.done)
                return found
        except TimeoutError:
            raise _too_slow(limit_s) from None
        finally:
            self._leave(job)

    async def close(self) -> None:
        """Let the threads end, those that are lost excepted."""
        for _ in self._threads:
            self._jobs.put(None)
        ends = monotonic() + self._grace_s
        for thread in [*self._threads]:
            await asyncio.to_thread(thread.join, max(0.0, ends - monotonic()))

    def _begin(self) -> None:
        with self._lock:
            if self._lost >= MOST_LOST:
                raise _too_slow(self._limit_s)
            while self._working < self._wanted:
                self._working += 1
                thread = threading.Thread(target=self._work, name="sql", daemon=True)
                self._threads.add(thread)
                thread.start()

    def _leave(self, job: _Job) -> None:
        """Wait no more for a job; its thread, if it is still at it, is lost until it comes back."""
        with self._lock:
            if job.begun and not job.ended:
                job.left = True
                self._working -= 1
                self._lost += 1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.done.set_running_or_notify_cancel():
                continue
            with self._lock:
                job.begun = True
            try:
                found, error = job.call(), None
            except BaseException as raised:  # noqa: BLE001 - it is the caller's
                found, error = None, raised
            with self._lock:
                job.ended = True
                self._lost -= job.left
                self._working += job.left
                is_one_too_many = self._working > self._wanted
                self._working -= is_one_too_many
            if error is None:
                job.done.set_result(found)
            else:
                job.done.set_exception(error)
            if is_one_too_many:
                break
            del job, found, error  # which may be large, while it waits for the next
        self._threads.discard(threading.current_thread())


def _too_slow(limit_s: float) -> Problem:
    return Problem(
        503,
        "Too slow",
        f"SQL of this or of other requests took longer than {limit_s:g} seconds",
        remedy="make the SQL simpler, send less at once, or try again",
        headers={"Retry-After": "5"},
    )
