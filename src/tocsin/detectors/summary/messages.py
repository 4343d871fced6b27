"""What passes between workers and mergers, and what comes out at the end.

A partial is known by (summary, window, worker, sequence) and holds whole states, not changes: one with a higher
sequence replaces its predecessor key by key, so that redelivery and reordering change nothing.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Partial:
    """A worker's states of some keys of one window, for one merger.

    sequence: records of the summary the worker had observed when it was made; grows with what it holds.
    final: 0 for an early one; else the number, from 1, of this final partial among those of this worker for this
        merger. A final partial replaces every early one of its window and worker.
    last: this final partial is the last one of its window and worker for this merger.
    table: a row a key: `key` uint64, `part.<name>` per key part (string), `begin`, `end` (int64, microseconds) and
        `records` (int64) where the summary has a condition, `<input>.<accumulator>.<column>` states, and in early ones
        `examples` (string, a JSON list of records behind it) and `guard.<number>` (float64, the value of a guard).
    records: records the worker counted in this window. evicted: keys of it that the worker let go for want of room.
    """

    summary: str
    window: int
    worker: int
    merger: int
    sequence: int
    final: int
    last: bool
    table: pa.Table
    records: int = 0
    evicted: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a worker is, for one merger; it holds once the `finals` final partials numbered so far are there.

    number: from 1, in the order of sending. watermark_us: windows that end (lateness included) up to it are final;
    None: it knows of no time yet.
    windows: per summary, the windows with records that became final since the Progress before.
    first: per summary, the earliest window this worker has opened.
    counts: per summary, of this worker since its start: records, late, rejected, evicted, delayed.
    ended: manual epochs that ended with this: (summary, its window, the next one's window).
    finished: the worker is at its end: every window is final.
    """

    worker: int
    merger: int
    number: int
    watermark_us: int | None
    finals: int
    windows: dict[str, tuple[int, ...]] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    ended: tuple[tuple[str, int, int], ...] = ()
    finished: bool = False


@dataclass(frozen=True)
class Hint:
    """What a merger tells all workers of hot keys: send again when your own part has grown by so much.

    slack: (m, g) nested list, per key and guard; 0: with every batch that changes it.
    """

    summary: str
    window: int
    keys: tuple[int, ...]
    slack: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Crossing:
    """A key passed one or more levels.

    levels: those newly passed; passed: all passed so far in this window. values: reducer results when it was seen.
    """

    summary: str
    window: int
    key: dict[str, Any]
    values: dict[str, Any]
    levels: tuple[float, ...]
    passed: tuple[float, ...]
    begin: datetime
    end: datetime
    records: int
    examples: list[dict[str, Any]] = field(default_factory=list)
    early: bool = True


@dataclass(frozen=True)
class EpochResult:
    """One merger's share of a window that is over.

    table: a row a key: key parts, reducer results, begin, end (timestamps), records. Empty for an empty epoch.
    epochs: how many epochs, one after the other and all empty, this stands for (1 otherwise); `end` is the last's.
    missing: workers whose part did not come; then it is not complete.
    """

    summary: str
    start: datetime
    end: datetime
    merger: int
    table: pa.Table
    records: int = 0
    late: int = 0
    evicted: int = 0
    missing: tuple[int, ...] = ()
    epochs: int = 1

    @property
    def complete(self) -> bool:
        """Whether every worker's part is in it and no key was evicted."""
        return not self.missing and not self.evicted


@dataclass
class Output:
    """What came of a step."""

    crossings: list[Crossing] = field(default_factory=list)
    results: list[EpochResult] = field(default_factory=list)
    hints: list[Hint] = field(default_factory=list)

    def extend(self, other: "Output") -> None:
        """Take over another step's output."""
        self.crossings += other.crossings
        self.results += other.results
        self.hints += other.hints
