"""Group commit: requests that wait together are learned together, written to disk once, and answered together.

A turn takes all that waits, applies it in the order it came, and lets one commit run in a thread. What comes meanwhile
gathers for the next turn. Single observations of one context that follow each other are applied in one call, so that
what a call costs is shared. DeWitt et al., Implementation techniques for main memory database systems, 1984, section 5.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tocsin.detectors.novelty.components import columns_of
from tocsin.detectors.novelty.rows import Row, as_rows
from tocsin.serve.problems import Problem

if TYPE_CHECKING:
    from tocsin.detectors.novelty.scores import Scores
    from tocsin.jobs.contexts import Contexts

MOST_WAITING = 4096
"""Requests that may wait for their turn; more are refused."""

QUICK_S = 0.002
"""A commit that takes less may be waited for by all: on a fast disk a sync takes a tenth, a thread as long."""

QUICK_IN_A_ROW = 20
"""Quick commits after which the next is made without a thread; one that is not quick ends that."""

MOST_PASSES = 4
"""Times that a turn looks for more requests before it takes those that wait."""

Observed = Callable[[str, "Scores", Sequence[Row] | None], None]


@dataclass(slots=True)
class _Work:
    """A change of any kind that waits for its turn."""

    call: Callable[[], Any]
    done: asyncio.Future[Any]


@dataclass(slots=True)
class _Single:
    """One observation that waits for its turn."""

    context: str
    observation: Sequence[Any]
    done: asyncio.Future[Any]


@dataclass
class GroupCommit:
    """Changes contexts for requests, and answers when what was changed is on disk.

    contexts: gives the contexts, or raises. observed: told of each context's scores as they are learned, with the
    rows where these are made anyway. A commit that fails fails every request of its turn.
    """

    contexts: "Callable[[], Contexts]"
    observed: Observed = lambda context, scores, rows: None
    most_waiting: int = MOST_WAITING
    now: Callable[[], float] = time.perf_counter
    _quick: int = 0
    _waiting: list[_Work | _Single] = field(default_factory=list)
    _turns: asyncio.Task[None] | None = None
    _committer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "commit"))

    def observe_one(self, context: str, observation: Sequence[Any]) -> asyncio.Future[Row]:
        """Learn one observation; the answer is its row. Raises Problem 503 when too much waits."""
        done: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._wait(_Single(context, observation, done))
        return done

    def change(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """Call what changes contexts; the answer is what it returns. Raises Problem 503 when too much waits."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._wait(_Work(call, done))
        return done

    def observe(
        self, context: str, columns: Sequence[Any], key: str | None = None, before: Callable[[], None] | None = None
    ) -> "asyncio.Future[Scores]":
        """Learn observations given as columns; the answer is their scores. before: called just before they are learned.

        Raises Problem 503 when too much waits.
        """

        def call() -> "Scores":
            if before is not None:
                before()
            scores = self.contexts().observe(context, columns, key)
            self.observed(context, scores, None)
            return scores

        return self.change(call)

    async def close(self) -> None:
        """Wait until everything that waits is done, and refuse what comes after."""
        self.most_waiting = 0
        if self._turns is not None:
            await asyncio.wait([self._turns])
        self._committer.shutdown()

    def _wait(self, item: _Work | _Single) -> None:
        if len(self._waiting) >= self.most_waiting:
            why = "the service is stopping" if not self.most_waiting else f"{len(self._waiting)} requests wait already"
            raise Problem(503, detail=why, remedy="try again in a second", headers={"Retry-After": "1"})
        self._waiting.append(item)
        if self._turns is None:
            # It runs once everything that the event loop has in hand now has had its say.
            self._turns = asyncio.get_running_loop().create_task(self._work_off())

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                group, self._waiting = self._waiting, []
                answers = list(self._applied(group))
                try:
                    await self._commit()
                except Exception as error:  # noqa: BLE001 - whatever it is, those that wait are told
                    answers = [(item, was if isinstance(was, Exception) else error) for item, was in answers]
                for item, answer in answers:
                    _give(item.done, answer)
        finally:
            self._turns = None

    async def _gather(self) -> None:
        """Let in what has come to the sockets, while it is more each time: a larger group costs little more."""
        for _ in range(MOST_PASSES):
            before = len(self._waiting)
            await asyncio.sleep(0)  # what has come is read
            await asyncio.sleep(0)  # and gets as far as waiting
            if len(self._waiting) == before:
                break

    async def _commit(self) -> None:
        """Write to disk: in a thread, unless the last commits were so fast that the way there takes longer."""
        commit, began = self.contexts().commit, self.now()
        if self._quick >= QUICK_IN_A_ROW:
            commit()
        else:
            await asyncio.get_running_loop().run_in_executor(self._committer, commit)
        self._quick = self._quick + 1 if self.now() - began < QUICK_S else 0

    def _applied(self, group: list[_Work | _Single]) -> Iterator[tuple[_Work | _Single, Any]]:
        """Yield each item with its answer, or with the error that it raised, in some order."""
        singles: list[_Single] = []
        for item in group:
            if item.done.cancelled():
                continue
            if isinstance(item, _Single):
                singles.append(item)
                continue
            yield from self._learned(singles)
            singles = []
            yield item, _outcome(item.call)
        yield from self._learned(singles)

    def _learned(self, singles: list[_Single]) -> Iterator[tuple[_Single, Any]]:
        by_context: dict[str, list[_Single]] = {}
        for single in singles:
            by_context.setdefault(single.context, []).append(single)
        for context, together in by_context.items():
            yield from self._learned_together(context, together)

    def _learned_together(self, context: str, singles: list[_Single]) -> Iterator[tuple[_Single, Any]]:
        rows = _outcome(lambda: self._rows(context, [single.observation for single in singles]))
        if isinstance(rows, list):
            yield from zip(singles, rows, strict=True)
        elif len(singles) == 1:
            yield singles[0], rows
        else:  # one of them cannot be learned, so that none was: each for itself
            for single in singles:
                yield from self._learned_together(context, [single])

    def _rows(self, context: str, observations: Sequence[Sequence[Any]]) -> list[Row]:
        scores = self.contexts().observe(context, columns_of(observations))
        rows = as_rows(scores)
        self.observed(context, scores, rows)
        return rows


def _outcome(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or the error that it raises: it is its request's alone."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - the request's handler raises it again and says what it is
        return error


def _give(done: asyncio.Future[Any], answer: Any) -> None:
    if done.done():  # its request went away meanwhile
        return
    if isinstance(answer, Exception):
        done.set_exception(answer)
    else:
        done.set_result(answer)
