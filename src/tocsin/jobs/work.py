"""What every job works with."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from tocsin.clock import Clock
from tocsin.jobs.claims import Claim, claim
from tocsin.ledger.ledger import Ledger
from tocsin.settings import Settings
from tocsin.store import Store
from tocsin.verdict.verdict import Verdict

ELSEWHERE = "pieces done elsewhere"
"""Count of the pieces that another instance holds at this moment."""

Progress = Callable[[str, int, int], None]
"""Called with what is worked on, how much is done and how much there is."""


def no_progress(what: str, done: int, total: int) -> None:
    """Show nothing."""


@dataclass
class Work:
    """The parts that jobs share. `stop` is set when no further piece may be begun."""

    store: Store
    ledger: Ledger
    verdict: Verdict
    settings: Settings
    clock: Clock
    owner: str
    protocols: list[str] = field(default_factory=list)
    progress: Progress = no_progress
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def domain(self) -> str:
        """The group of sensors that is worked on."""
        return self.settings.domain

    @property
    def part(self) -> str:
        """The name of this instance's share of the work: 'all', or its protocols."""
        return "-".join(sorted(self.protocols)) or "all"

    def claim(self, piece: str) -> AbstractContextManager[Claim | None]:
        """Hold the claim for a piece of the domain's work while a block runs; None when another instance has it."""
        path = f"{self.domain}/claims/{piece}.json"
        expiry_s = self.settings.limits.claim_expiry_s
        return claim(self.store, path, owner=self.owner, clock=self.clock, expiry_s=expiry_s)

    def wants(self, proto: str) -> bool:
        """Say whether this instance works on a protocol."""
        return not self.protocols or proto in self.protocols


@dataclass
class Done:
    """What a job did: rows and other counts, the days it touched, and lines that a person should read."""

    job: str
    counts: dict[str, int] = field(default_factory=dict)
    days: list[date] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, name: str, n: int) -> None:
        """Add to a count."""
        self.counts[name] = self.counts.get(name, 0) + n

    def take(self, other: "Done") -> None:
        """Take over what a later run of the same job did; pieces done elsewhere are done by then."""
        for name, n in other.counts.items():
            if name != ELSEWHERE:
                self.count(name, n)
        self.days = sorted({*self.days, *other.days})
        self.notes = other.notes

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "job": self.job,
            "counts": self.counts,
            "days": [day.isoformat() for day in self.days],
            "notes": self.notes,
        }
