"""The merger: partials in, findings and results out. It knows nothing of how partials come."""

from collections.abc import Sequence
from typing import Any

from tocsin.detectors.summary.course import Course, part_of
from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.messages import Output, Partial, Progress
from tocsin.detectors.summary.peer import FOREVER, Peer

STATE_FORMAT = 1


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
        self.merger, self.workers, self.patience_s = merger, workers, patience_s
        self._courses = {
            each.name: Course(each, merger=merger, workers=workers, origin_us=origin_us) for each in summaries
        }
        self._peers = [Peer() for _ in range(workers)]
        self._waiting_since: float | None = None
        self._reached_us = 0

    @property
    def ignored(self) -> int:
        """Rows that came for windows that were over."""
        return sum(course.ignored for course in self._courses.values())

    def receive(self, message: Partial | Progress, now: float) -> Output:
        """Take in what a worker sent; now: a monotonic clock, seconds."""
        peer = self._peers[message.worker]
        if isinstance(message, Progress):
            peer.hear(message)
            return self._move_on()
        course = self._courses[message.summary]
        if not message.final:
            return course.take_early(message)
        if not peer.has_final(message.final):
            course.take_final(message)
        return self._move_on()

    def tick(self, now: float) -> Output:
        """End windows that have waited too long for a worker."""
        most = max(peer.watermark_us for peer in self._peers)
        behind = {number for number, peer in enumerate(self._peers) if peer.watermark_us < most}
        if not behind or not any(course.is_due(most) for course in self._courses.values()):
            self._waiting_since = None
            return Output()
        if self._waiting_since is None:
            self._waiting_since = now
        if now - self._waiting_since < self.patience_s:
            return Output()
        self._waiting_since = None
        return self._end(most, behind)

    def value(self, partials: Sequence[Partial]) -> list[dict[str, Any]]:
        """Return what partials of one summary's key (from `Worker.value` of every worker) come to, window by window."""
        return self._courses[partials[0].summary].value(partials) if partials else []

    def status(self) -> dict[str, dict[str, int]]:
        """Return for each summary the keys and bytes of its windows here."""
        return {name: course.status() for name, course in self._courses.items()}

    def state(self) -> dict[str, Any]:
        """Return everything needed to go on: arrays, numbers, texts, lists and maps of them."""
        state: dict[str, Any] = {
            "format": STATE_FORMAT,
            "workers": self.workers,
            "reached": self._reached_us,
            "peers": [peer.state() for peer in self._peers],
        }
        for name, course in self._courses.items():
            state |= {f"{name}/{part}": value for part, value in course.state().items()}
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state of an equally configured merger."""
        self._reached_us = state["reached"]
        self._peers = [Peer.of(each) for each in state["peers"]]
        for name, course in self._courses.items():
            course.restore(part_of(state, f"{name}/"))

    def _move_on(self) -> Output:
        """Apply what workers said of their progress, and end the windows that are over for all."""
        applied = False
        for peer in self._peers:
            while progress := peer.next_progress():
                applied = True
                self._reached_us = max(self._reached_us, progress.watermark_us or 0)
                for course in self._courses.values():
                    course.note(progress)
        if not applied:
            return Output()
        least = min(peer.watermark_us for peer in self._peers)
        output = self._end(least, set()) if least > -FOREVER else Output()
        for course in self._courses.values():
            output.extend(course.end_told())
        return output

    def _end(self, watermark_us: float, missing: set[int]) -> Output:
        output = Output()
        for course in self._courses.values():
            output.extend(course.end(watermark_us, missing, self._reached_us))
        return output
