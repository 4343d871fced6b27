"""What a merger knows of a worker's progress."""

from dataclasses import dataclass, field
from typing import Any

from tocsin.detectors.summary.messages import Progress

FOREVER = float("inf")


@dataclass
class Peer:
    """What a worker has said so far. done: numbers of its finals that are here, from 1 without a gap."""

    watermark_us: float = -FOREVER
    number: int = 0
    waiting: dict[int, Progress] = field(default_factory=dict)
    finals: set[int] = field(default_factory=set)
    done: int = 0

    def hear(self, progress: Progress) -> None:
        """Keep a Progress until all that it speaks of is here; one that was here before is nothing new."""
        if progress.number > self.number:
            self.waiting.setdefault(progress.number, progress)

    def has_final(self, number: int) -> bool:
        """Note that a final came; say whether it was here before."""
        if number <= self.done or number in self.finals:
            return True
        self.finals.add(number)
        while self.done + 1 in self.finals:
            self.done += 1
            self.finals.remove(self.done)
        return False

    def next_progress(self) -> Progress | None:
        """Return the next Progress of which all finals are here; from now on it holds."""
        progress = self.waiting.get(self.number + 1)
        if progress is None or progress.finals > self.done:
            return None
        self.number += 1
        if progress.finished:
            self.watermark_us = FOREVER
        elif progress.watermark_us is not None:
            self.watermark_us = float(progress.watermark_us)
        return self.waiting.pop(self.number)

    def state(self) -> dict[str, Any]:
        """Return what is kept: plain values. A Progress that waits is sent again when its worker goes on."""
        return {
            "watermark": None if abs(self.watermark_us) == FOREVER else self.watermark_us,
            "finished": self.watermark_us == FOREVER,
            "number": self.number,
            "finals": sorted(self.finals),
            "done": self.done,
        }

    @classmethod
    def of(cls, state: dict[str, Any]) -> "Peer":
        """Return what `state` kept."""
        watermark = state["watermark"]
        if watermark is None:
            watermark = FOREVER if state["finished"] else -FOREVER
        return cls(watermark, state["number"], {}, set(state["finals"]), state["done"])
