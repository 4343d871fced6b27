"""The engine of several processes: workers that count, mergers that put together, and a parent between them.

batches ─▶ parent ─▶ workers ─▶ parent ─▶ mergers ─▶ parent ─▶ crossings, results
                        ▲                    │
                        └────── hints ◀──────┘
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.cluster.child import Child
from tocsin.cluster.crew import STEP_S, Crew
from tocsin.cluster.engine import Engine, SummaryStatus
from tocsin.cluster.plain import plain, revive
from tocsin.cluster.requests import check_key, check_manual
from tocsin.cluster.wire import Frame, FrameError, frame, from_bytes, pack_output, to_bytes, unpack_output
from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.messages import Output
from tocsin.errors import ModelError

STATE_FORMAT = 1
FLIGHT_BYTES = 8 << 20
"""How much one process is given before it answers."""

KEPT_BYTES = 32 << 20
"""How much is kept for a process that may have to be started again, before it is asked for a checkpoint."""

WATERMARK_S = 0.05
"""How long a watermark may wait for a worker's next batch before it is sent alone."""

Held = list[dict[str, dict[str, int]]]


class ProcessEngine(Engine):
    """Summaries over N worker and M merger processes.

    Each batch goes to one worker, the one with the least to do. A watermark reaches every worker before its next batch.
    When all have as much as they may have, `observe` waits; those records are counted as delayed, none is dropped.

    A process that dies, or owes an answer and is silent and idle for `patience_s`, is started again from its last
    checkpoint and given what it was given since. After three failures in a row a worker is given up: the mergers name
    it in the results that lack its part. Raises TocsinError when a merger or the last worker is given up.
    """

    def __init__(
        self,
        summaries: Sequence[Summary],
        *,
        workers: int,
        mergers: int = 0,
        patience_s: float = 30.0,
        origin_us: int = 0,
        flight_bytes: int = FLIGHT_BYTES,
        kept_bytes: int = KEPT_BYTES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        mergers = mergers or min(workers, 2)
        self.summaries = {summary.name: summary for summary in summaries}
        self._now = now
        self._watermark_us: int | None = None
        self._told_us: dict[Child, int] = {}
        self._told_s = now()
        self._delayed: Counter[str] = Counter()
        shared = {"workers": workers, "origin_us": origin_us}
        own: dict[str, dict[str, Any]] = {"worker": {"mergers": mergers}, "merger": {"patience_s": patience_s}}

        def start(role: str, number: int) -> Child:
            told = {"role": role, "options": {role: number, **shared, **own[role]}, "summaries": plain(summaries)}
            return Child(role, number, frame(told), patience_s=patience_s, kept_bytes=kept_bytes, now=now)

        self._crew = Crew(
            start, workers=workers, mergers=mergers, patience_s=patience_s, flight_bytes=flight_bytes, now=now
        )

    @property
    def processes(self) -> dict[str, int]:
        """Process ids by name, of those that run."""
        return {str(child): child.process.pid for child in self._crew.all if not child.is_lost}

    def observe(self, kind: str, table: pa.Table, ordinals: np.ndarray) -> Output:
        """Hand records to a worker; wait only when all have enough to do."""
        if not self._crew.has_room:
            self._delayed[kind] += len(table)
        while not self._crew.has_room:
            self._crew.turn(STEP_S)
        worker = self._crew.next_worker()
        self._tell(worker)
        self._crew.post(worker, frame({"do": "observe", "kind": kind}, {"records": table, "ordinals": ordinals}))
        return self.poll()

    def advance(self, watermark_us: int) -> Output:
        """Let every worker know a watermark, with its next batch or soon."""
        self._watermark_us = max(watermark_us, self._watermark_us or watermark_us)
        return self.poll()

    def poll(self, timeout_s: float = 0.0) -> Output:
        """Return what has arrived, as soon as anything has."""
        until = self._now() + timeout_s
        self._turn(0.0)
        while not (self._crew.output.crossings or self._crew.output.results) and (left := until - self._now()) > 0:
            self._turn(min(left, WATERMARK_S))
        return self._take_output()

    def end_epoch(self, summary: str) -> Output:
        """End the open epoch of a manual summary and return, among others, its results."""
        check_manual(self.summaries, summary)
        return self._to_the_end(frame({"do": "end_epoch", "summary": summary}))

    def value(self, summary: str, key: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what a key has in each open window."""
        check_key(self.summaries, summary, key)
        self._tell_all()
        answers = self._crew.ask(self._crew.workers, frame({"do": "value", "summary": summary, "key": plain(key)}))
        found = [answer.part(name) for answer in answers.values() for name in answer.parts]
        question = frame({"do": "value"}, {str(number): each for number, each in enumerate(found)})
        (answer,) = self._crew.ask(self._crew.mergers[:1], question).values()
        return list(revive(Any, answer.head["value"]))

    def finish(self) -> Output:
        """End every window and return the last results."""
        return self._to_the_end(frame({"do": "finish"}))

    def state(self) -> bytes:
        """Return the states of all processes, which fit together, and what came out and was not returned yet.

        Of a worker that was given up there is its last checkpoint and what it was given since.
        """
        self._tell_all()
        stories = {child: [answer.with_head(do="restore")] for child, answer in self._crew.states().items()}
        stories |= {child: child.story for child in self._crew.workers if child.is_lost}
        parts = {
            f"{child}/{number}": to_bytes(each) for child, story in stories.items() for number, each in enumerate(story)
        }
        parts["output"] = to_bytes(pack_output(self._crew.output))
        told = {"watermark_us": self._watermark_us, "delayed": self._delayed}
        return to_bytes(frame({"format": STATE_FORMAT, **self._shape, **told}, parts))

    def restore(self, state: bytes) -> None:
        """Take over a state of an engine of the same summaries and as many processes. Raises ModelError."""
        children = self._crew.mergers + self._crew.workers
        try:
            kept = from_bytes(state)
            self._check_shape(kept.head)
            stories = {child: _story(kept, f"{child}/") for child in children}
            pending = unpack_output(from_bytes(kept.part("output")))
        except FrameError as error:
            raise ModelError(f"this is no state of summaries, or it is damaged: {error}") from error
        self._watermark_us, self._delayed = kept.head["watermark_us"], Counter(kept.head["delayed"])
        self._crew.take(Output(pending.crossings, pending.results))
        for child, story in stories.items():
            for each in story:
                self._crew.ask([child], each)
        self._crew.take(Output(hints=pending.hints))

    def status(self) -> list[SummaryStatus]:
        """Return what all workers together hold of each summary; a key that two workers hold counts twice."""
        workers, mergers = (
            [answer.head["status"] for answer in self._crew.ask(children, frame({"do": "status"})).values()]
            for children in (self._crew.workers, self._crew.mergers)
        )
        return [self._status_of(name, workers, mergers) for name in self.summaries]

    def close(self) -> None:
        """End all processes."""
        self._crew.close()

    def _turn(self, timeout_s: float) -> None:
        if self._now() - self._told_s >= WATERMARK_S:
            self._tell_all()
        self._crew.turn(timeout_s)

    def _tell(self, worker: Child) -> None:
        """Let a worker know the watermark, if it does not."""
        if self._watermark_us is not None and self._told_us.get(worker) != self._watermark_us:
            self._told_us[worker] = self._watermark_us
            self._crew.post(worker, frame({"do": "advance", "watermark_us": self._watermark_us}))

    def _tell_all(self) -> None:
        self._told_s = self._now()
        for worker in self._crew.workers:
            self._tell(worker)

    def _to_the_end(self, given: Frame) -> Output:
        """Give a frame to all workers and wait until everything that follows from it is here."""
        self._tell_all()
        self._crew.ask(self._crew.workers, given)
        self._crew.settle()
        return self._take_output()

    def _take_output(self) -> Output:
        taken, self._crew.output = self._crew.output, Output()
        return Output(taken.crossings, taken.results)

    @property
    def _shape(self) -> dict[str, Any]:
        digest = summaries_digest(list(self.summaries.values()))
        return {"summaries": digest, "workers": len(self._crew.workers), "mergers": len(self._crew.mergers)}

    def _check_shape(self, head: dict[str, Any]) -> None:
        if head.get("format") != STATE_FORMAT:
            raise ModelError(f"the summaries' state has format {head.get('format')}; this version reads {STATE_FORMAT}")
        if head["summaries"] != self._shape["summaries"]:
            raise ModelError("the state is of other summaries; put the settings back, or start without it")
        if head["workers"] != self._shape["workers"] or head["mergers"] != self._shape["mergers"]:
            raise ModelError(f"the state is of {head['workers']} workers; run with as many, or start without it")

    def _status_of(self, name: str, workers: Held, mergers: Held) -> SummaryStatus:
        total: Counter[str] = Counter()
        for each in workers:
            total.update(each[name])
        nbytes = total.pop("nbytes", 0) + sum(each[name]["nbytes"] for each in mergers)
        total["delayed"] = sum(self._delayed[kind] for kind in {each.kind for each in self.summaries[name].inputs})
        return SummaryStatus(name, total.pop("keys", 0), nbytes, total.pop("windows", 0), dict(total))


def summaries_digest(summaries: Sequence[Summary]) -> str:
    """Return a digest that is the same for equal summaries."""
    return hashlib.sha256(json.dumps(plain(summaries), sort_keys=True).encode()).hexdigest()[:32]


def _story(kept: Frame, prefix: str) -> list[Frame]:
    """Return the frames that a process is restored from, in order."""
    names = sorted((name for name in kept.parts if name.startswith(prefix)), key=lambda name: int(name[len(prefix) :]))
    return [from_bytes(kept.part(name)) for name in names]
