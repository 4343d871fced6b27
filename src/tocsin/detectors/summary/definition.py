"""What a summary is: which records, whose key, what is reduced, in which windows, and when it is too much."""

from dataclasses import dataclass, field
from typing import Any

from tocsin.detectors.summary.condition import Condition
from tocsin.records.finding import Severity

SECOND_US = 1_000_000
"""Times inside are microseconds since 1970 UTC, as int."""


@dataclass(frozen=True)
class Reducer:
    """One named result of a key.

    name: how thresholds, titles and results call it. kind: one of `accumulator.REDUCERS`.
    of: SQL over the record whose values are reduced; '' means the input's `observe`.
    options: what the kind knows (max, error, confidence, size, q, by), with defaults filled in.
    """

    name: str
    kind: str
    of: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """One stream of records that a summary counts.

    kind: record kind: flow, zeek.ssh, eve.alert, event, … where: SQL, '' for all.
    key: part name -> SQL; every input of a summary has the same parts, in the same order; none means one global key.
    observe: SQL of the value of numeric reducers. time: SQL of the record's time (a timestamp).
    """

    kind: str
    where: str
    key: dict[str, str]
    observe: str
    time: str
    reduce: tuple[Reducer, ...]


@dataclass(frozen=True)
class Summary:
    """A summary as workers and mergers use it; `build.py` makes it from the settings and checks it.

    window_us: length of a window; 0: manual. step_us: distance of the windows' beginnings; equal to window_us unless
        sliding, a divisor of it. origin: "clock" (windows begin at multiples of the step since 1970) or "first" (at
        the time of the first record that the run sees).
    lateness_us: how much later than the watermark a record may come and still be counted.
    condition: what must hold for level i, given the results of a key; None: results only.
    levels: what `condition` compares with, ascending; empty: the condition stands alone and is one level.
    severities: one a level (or one). title: format string over key parts, reducer names, `duration`, `level`.
    max_keys, max_bytes: bounds for one window of one worker; past them the least valuable keys go.
    new_for_us: only keys that were in no window that ended less than so long ago are judged; 0: all.
    learn_us: nothing is judged before the run has seen so much record time (for `new_for_us`).
    """

    name: str
    inputs: tuple[Input, ...]
    key_parts: tuple[str, ...]
    window_us: int
    step_us: int
    origin: str = "clock"
    lateness_us: int = 300 * SECOND_US
    condition: Condition | None = None
    levels: tuple[float, ...] = ()
    severities: tuple[Severity, ...] = ("medium",)
    kind: str = ""
    title: str = ""
    entity: str = ""
    max_keys: int = 1_000_000
    max_bytes: int = 512 << 20
    new_for_us: int = 0
    learn_us: int = 0

    @property
    def reducers(self) -> tuple[Reducer, ...]:
        """Every input's reducers, in order; their names differ."""
        return tuple(reducer for each in self.inputs for reducer in each.reduce)

    def last_over(self, watermark_us: float, origin_us: int = 0) -> int:
        """Return the beginning of the latest window that is over at a watermark, lateness included."""
        latest = int(watermark_us) - self.lateness_us - self.window_us - origin_us
        return latest // self.step_us * self.step_us + origin_us

    def last_begun(self, time_us: float, origin_us: int = 0) -> int:
        """Return the beginning of the latest window that holds a time."""
        return (int(time_us) - origin_us) // self.step_us * self.step_us + origin_us
