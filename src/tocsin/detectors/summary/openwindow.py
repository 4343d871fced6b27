"""A worker's part of one window: its keys, and when it next speaks of each of them before the window is over."""

from dataclasses import dataclass, field, replace

import numpy as np

from tocsin.detectors.summary.accumulator import Accumulator
from tocsin.detectors.summary.condition import Growing, Guard
from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.levels import next_goal
from tocsin.detectors.summary.stream import Observed
from tocsin.detectors.summary.table import KeyTable
from tocsin.kernels.room import make_room
from tocsin.kernels.windows import ADD, MOST, raise_bounds

_ONE_EACH = np.empty(0)


@dataclass
class Watch:
    """When a worker speaks next of each key, for one guard.

    With one worker: when the guard reaches its goal. With W: when its own part has grown by a slack since it last
    spoke, at first goal / 2W, later what the merger hints; the parts that all W keep to themselves add up to less than
    what is missing, so that the goal is not passed unseen. (Cormode, Muthukrishnan, Yi: "Algorithms for distributed
    functional monitoring", 2008, section 3.) A largest value is its own bound whatever the number of workers.

    rows: (slots, 3) float64: bound, at least the guard's value; send_at, the value at which to speak; sent, the value
    that was spoken of last. The slack is send_at - sent.
    """

    summary: Summary
    growing: Growing
    number: int
    kind: str
    place: tuple[int, int]
    workers: int
    rows: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))

    @property
    def bound(self) -> np.ndarray:
        """At least the guard's value: (slots,)."""
        return self.rows[:, 0]

    @property
    def send_at(self) -> np.ndarray:
        """The value at which to speak: (slots,)."""
        return self.rows[:, 1]

    @property
    def sent(self) -> np.ndarray:
        """The value that was spoken of last: (slots,)."""
        return self.rows[:, 2]

    @property
    def guard(self) -> Guard:
        """The comparison that is watched."""
        return self.growing.guards()[self.number]

    def grow(self, slots: int) -> None:
        """Make room for so many slots."""
        if slots > len(self.rows):
            goal = self.goal(-np.inf)
            slack = goal if self.alone else goal / (2 * self.workers)
            make_room(self.rows, slots, np.array([0.0, slack, 0.0]))

    @property
    def alone(self) -> bool:
        """Whether a worker's own value is all there is to know."""
        return self.workers == 1 or self.kind == "max"

    def goal(self, value: float) -> float:
        """Return the next value that matters."""
        return next_goal(self.summary, self.growing, self.number, value)

    def raise_bounds(self, slots: np.ndarray, observed: Observed, due: np.ndarray) -> int:
        """Raise bounds by what rows may add; mark the slots to look at."""
        steps = _ONE_EACH
        if self.kind in ("sum", "max"):
            given = observed.values[self.place[1]].number
            steps = given if given is not None else _ONE_EACH
        how = MOST if self.kind == "max" else ADD
        return int(raise_bounds(slots, steps, how, self.rows, due))

    def reached(self, slots: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return where a value calls for speaking, (m,) bool."""
        result: np.ndarray = values >= self.send_at[slots]
        return result

    def spoke(self, slots: np.ndarray, values: np.ndarray) -> None:
        """Note that these keys' values were sent."""
        slack = self.send_at[slots] - self.sent[slots]
        self.bound[slots] = self.sent[slots] = values
        if self.alone:
            self.send_at[slots] = [self.goal(value) for value in values]
        else:
            self.send_at[slots] = np.maximum(values + slack, np.nextafter(values, np.inf))

    def hinted(self, slots: np.ndarray, slack: np.ndarray) -> None:
        """Take over what the merger says of these keys; what was sent before stands."""
        sent = self.sent[slots]
        self.send_at[slots] = np.maximum(sent + slack, np.nextafter(sent, np.inf))

    def take(self, slots: np.ndarray) -> "Watch":
        """Return the watch of these slots, in this order."""
        return replace(self, rows=self.rows[slots])


class OpenWindow:
    """The keys of a window and their watches; records: how many were counted; evicted: keys let go for want of room."""

    def __init__(self, summary: Summary, workers: int) -> None:
        self.summary = summary
        self.table = KeyTable(summary)
        self.records = self.evicted = 0
        growing = summary.condition.growing if summary.condition else None
        kinds = {reducer.name: reducer.kind for reducer in summary.reducers}
        self.watches = [
            Watch(summary, growing, number, kinds[guard.name], self.table.place(guard.name), workers)
            for number, guard in enumerate(growing.guards() if growing else ())
            if growing
        ]

    def place(self, observed: Observed) -> np.ndarray:
        """Return each row's slot, (n,) int32; new keys get one."""
        slots, first = self.table.slots(observed.keys)
        if len(first):
            self.table.add_parts(observed.new_parts(first))
            self.grow()
        return slots

    def grow(self) -> None:
        """Make room for every key in the watches."""
        for watch in self.watches:
            watch.grow(len(self.table))

    def watches_of(self, number: int) -> list[Watch]:
        """Return the watches of guards that an input's records raise."""
        return [watch for watch in self.watches if watch.place[0] == number]

    def to_look_at(self, number: int, slots: np.ndarray, observed: Observed) -> np.ndarray:
        """Raise the bounds by rows of an input; return the slots that may be due, ascending."""
        due = np.zeros(len(self.table), bool)
        reached = sum(watch.raise_bounds(slots, observed, due) for watch in self.watches_of(number))
        return np.flatnonzero(due).astype(np.int32) if reached else np.empty(0, np.int32)

    def ahead(self, number: int, hot: np.ndarray, local: np.ndarray, observed: Observed) -> np.ndarray:
        """Return which rows bring their key to a goal, (n,) bool, without adding them.

        hot: (h,) int32 slots. local: (n,) int32, each row's place in `hot`.
        """
        due = np.zeros(len(observed), bool)
        for watch in self.watches_of(number):
            its = self.table.accumulators[number][watch.place[1]]
            trial: Accumulator = type(its)(its.reducers)
            trial.grow(len(hot))
            trial.merge(np.arange(len(hot), dtype=np.int32), its.partial(hot))
            after = trial.add(local, observed.values[watch.place[1]], trace=watch.guard.name)
            assert after is not None
            due |= watch.reached(hot[local], after)
        return due

    def settle(self, slots: np.ndarray) -> None:
        """Set the bounds of slots to their true values."""
        for watch, values in zip(self.watches, self.guard_values(slots), strict=True):
            watch.bound[slots] = values

    def due(self, slots: np.ndarray) -> np.ndarray:
        """Return those of these slots that are to be spoken of."""
        wanted = np.zeros(len(slots), bool)
        for watch, values in zip(self.watches, self.guard_values(slots), strict=True):
            wanted |= watch.reached(slots, values)
        return slots[wanted]

    def spoke(self, slots: np.ndarray, values: np.ndarray) -> None:
        """Note that these keys were sent with these guard values."""
        for watch, its in zip(self.watches, values, strict=True):
            watch.spoke(slots, its)

    def guard_values(self, slots: np.ndarray) -> np.ndarray:
        """Return each guard's value of these slots' keys, (guards, m) float64; 0 where there is none."""
        values = [self.table.values(watch.guard.name, slots) for watch in self.watches]
        found: np.ndarray = np.nan_to_num(np.array(values).reshape(len(values), len(slots)), nan=0.0)
        return found

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        held = sum(watch.rows.nbytes for watch in self.watches)
        return self.table.nbytes + held

    def is_full(self) -> bool:
        """Whether it holds more keys or bytes than the summary may."""
        return len(self.table) > self.summary.max_keys or self.nbytes > self.summary.max_bytes

    def evict(self) -> "OpenWindow":
        """Return a window with the most valuable nine tenths of what may be kept.

        The value of a key is the bound of the condition's first guard, else how often it was seen, else the first
        result that is a number; of equals the one seen longest ago goes first.
        """
        allowed = min(self.summary.max_keys, int(len(self.table) * self.summary.max_bytes / max(self.nbytes, 1)))
        kept = np.sort(self._by_value()[-max(allowed * 9 // 10, 1) :])
        smaller = OpenWindow(self.summary, 1)
        smaller.table.merge(self.table.partial(kept))
        smaller.watches = [watch.take(kept) for watch in self.watches]
        smaller.records = self.records
        smaller.evicted = self.evicted + len(self.table) - len(kept)
        return smaller

    def _by_value(self) -> np.ndarray:
        """Return slots, the least valuable first."""
        slots = self.table.all_slots()
        if self.watches:
            value = self.watches[0].bound[: len(slots)]
        elif self.table.times:
            value = self.table.times.records[: len(slots)].astype(float)
        else:
            value = self._first_number(slots)
        last = self.table.times.end[: len(slots)] if self.table.times else slots
        ordered: np.ndarray = slots[np.lexsort((last, value))]
        return ordered

    def _first_number(self, slots: np.ndarray) -> np.ndarray:
        for reducer in self.summary.reducers:
            if reducer.kind in ("sum", "count", "unique", "hll_unique", "max"):
                return self.table.values(reducer.name, slots)
        return slots.astype(float)
