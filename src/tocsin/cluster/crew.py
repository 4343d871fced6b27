"""Worker and merger processes, and their parent's part: one thread that waits for nobody.

It writes what the others take and reads what they send, so that no two can wait for each other. Of what workers send to
mergers it reads the heads only.
"""

import logging
import selectors
from collections.abc import Callable, Iterable
from typing import Any

from tocsin import errors
from tocsin.cluster.child import Child, why_gone
from tocsin.cluster.wire import Frame, FrameError, frame, pack, unpack_output
from tocsin.detectors.summary.messages import Hint, Output
from tocsin.errors import TocsinError

STEP_S = 0.05
TICK_S = 1.0
"""How often mergers look whether they have waited long enough for a worker that was given up."""

BOTH = selectors.EVENT_READ | selectors.EVENT_WRITE


class Crew:
    """Runs processes, carries partials from workers to mergers and hints back, and gathers what comes out.

    start: makes a process of a role ("worker", "merger") and number. flight_bytes: how much one may hold unanswered.
    `output` is what came out and nobody has taken. Raises TocsinError from any method when a merger or the last worker
    is given up, and what a process raised.
    """

    def __init__(
        self,
        start: Callable[[str, int], Child],
        *,
        workers: int,
        mergers: int,
        patience_s: float,
        flight_bytes: int,
        now: Callable[[], float],
    ) -> None:
        self.output = Output()
        self._patience_s, self._flight_bytes, self._now = patience_s, flight_bytes, now
        self._ticked_s = now()
        self._dealt = 0
        self._hears_workers = True
        self._awaited: dict[tuple[Child, int], Frame | None] = {}
        self._error: TocsinError | None = None
        self._selector = selectors.DefaultSelector()
        self.workers = [start("worker", number) for number in range(workers)]
        self.mergers = [start("merger", number) for number in range(mergers)]
        for child in self.all:
            self._selector.register(child.link.socket, BOTH, child)

    @property
    def all(self) -> list[Child]:
        """Every process."""
        return self.workers + self.mergers

    @property
    def has_room(self) -> bool:
        """Whether any worker may be given more."""
        return any(not each.is_lost and each.in_flight < self._flight_bytes for each in self.workers)

    def next_worker(self) -> Child:
        """Return the worker with the least to do; they take turns where that is the same."""
        self._dealt += 1
        count = len(self.workers)
        turns = [self.workers[(self._dealt + number) % count] for number in range(count)]
        return min((each for each in turns if not each.is_lost), key=lambda each: each.in_flight)

    def post(self, child: Child, given: Frame) -> int:
        """Give a frame to a process; return its number, 0 when the process is lost."""
        number = child.post(given)
        if child.is_due_for_checkpoint:
            child.post(frame({"do": "state"}))
        return number

    def ask(self, children: Iterable[Child], given: Frame) -> dict[Child, Frame]:
        """Give a frame to some and wait for the answers of all that are not lost."""
        wanted = [(child, number) for child in children if (number := self.post(child, given))]
        self._awaited |= dict.fromkeys(wanted)
        try:
            while any(self._awaited[each] is None and not each[0].is_lost for each in wanted):
                self.turn(STEP_S)
        finally:
            answers = {each[0]: self._awaited.pop(each) for each in wanted}
        return {child: answer for child, answer in answers.items() if answer is not None}

    def states(self) -> dict[Child, Frame]:
        """Return the states of all that are not lost, such that nothing is on its way from a worker to a merger.

        Workers answer first, and are not heard until the mergers, which have then got all from before, have answered
        too. `output` is what came out of just these states, with the hints that the workers' states do not know of.
        """
        self.output.hints.clear()
        found = self.ask(self.workers, frame({"do": "state"}))
        self._hears_workers = False
        try:
            return found | self.ask(self.mergers, frame({"do": "state"}))
        finally:
            self._hears_workers = True

    def settle(self) -> None:
        """Wait until everything that follows from what was given is here; go without those that are lost."""
        while any(worker.owes for worker in self.workers):
            self.turn(STEP_S)
        if any(worker.is_lost for worker in self.workers):
            self._tick(0.0)
            self._tick(self._patience_s)
        while any(child.owes for child in self.all):
            self.turn(STEP_S)

    def turn(self, timeout_s: float = 0.0) -> None:
        """Write, read and look after everybody once; wait so long at most for something to do."""
        is_due = self._hears_workers and self._now() - self._ticked_s >= TICK_S
        if is_due and any(worker.is_lost for worker in self.workers):
            self._tick(0.0)
        self._choose()
        for key, events in self._selector.select(timeout_s):
            self._serve(key.data, events)
        for child in self.all:
            if not child.is_lost and child.is_overdue:
                self._restart(child, f"it has been silent for {self._patience_s:g} s")
        if self._error:
            error, self._error = self._error, None
            raise error

    def take(self, output: Output) -> None:
        """Pass hints on to the workers, and keep the rest until it is asked for."""
        for hint in output.hints:
            self._spread(hint)
        self.output.crossings += output.crossings
        self.output.results += output.results

    def close(self) -> None:
        """End all processes."""
        for child in self.all:
            child.end()
        self._selector.close()

    def _choose(self) -> None:
        """Choose whom to hear: of workers nobody while a merger has enough to do."""
        hears = self._hears_workers and all(merger.in_flight < self._flight_bytes for merger in self.mergers)
        for child in self.all:
            if child.is_lost:
                continue
            is_heard = hears or child in self.mergers
            if not is_heard:
                child.heard()
            events = (selectors.EVENT_READ if is_heard else 0) | (selectors.EVENT_WRITE if child.link.is_waiting else 0)
            self._selector.modify(child.link.socket, events, child)

    def _serve(self, child: Child, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                child.link.write()
            fresh = child.read() if events & selectors.EVENT_READ else []
        except (OSError, EOFError, FrameError) as error:
            self._restart(child, why_gone(error, child))
            return
        for each in fresh:
            self._receive(child, each)

    def _restart(self, child: Child, why: str) -> None:
        self._selector.unregister(child.link.socket)
        child.restart(why)
        if not child.is_lost:
            self._selector.register(child.link.socket, BOTH, child)
        elif child in self.mergers or all(each.is_lost for each in self.workers):
            raise TocsinError(f"{child} cannot be kept running: {why}; the log says more")

    def _receive(self, child: Child, given: Frame) -> None:
        head = given.head
        if "log" in head:
            name, level, text = head["log"]
            logging.getLogger(name).log(level, "%s: %s", child, text)
        elif "to" in head:
            self.post(self.mergers[head["to"]], given.with_head(now=self._now()))
        elif "error" in head:
            name, text = head["error"]
            self._error = self._error or _error(name, text)
        elif "output" in head:
            self.take(unpack_output(given))
        if (child, head.get("answer", 0)) in self._awaited:
            self._awaited[child, head["answer"]] = given

    def _spread(self, hint: Hint) -> None:
        given = pack(hint, do="hint")
        for worker in self.workers:
            self.post(worker, given)
        self.output.hints.append(hint)

    def _tick(self, later_s: float) -> None:
        self._ticked_s = self._now()
        for merger in self.mergers:
            self.post(merger, frame({"do": "tick", "now": self._ticked_s + later_s}))


def _error(name: str, text: str) -> TocsinError:
    kind: Any = getattr(errors, name, TocsinError)
    return TocsinError(text) if not issubclass(kind, TocsinError) else kind(text)
