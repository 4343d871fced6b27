"""Which keys of a window are too much: levels passed, keys that are not new, words for the workers."""

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.columns import as_numbers
from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.levels import level_count, next_goal, passed
from tocsin.detectors.summary.rows import from_ipc, to_ipc
from tocsin.detectors.summary.table import KeyTable
from tocsin.kernels.index import KeyIndex
from tocsin.kernels.room import make_room
from tocsin.records.selection import Selection

log = logging.getLogger(__name__)


class Judge:
    """Tells how many levels keys have passed.

    largest: of which guards the workers' largest value is the whole, (guards,) bool; of the others it is their sum.
    """

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        self.levels = level_count(summary)
        self.growing = summary.condition.growing if summary.condition else None
        kinds = {reducer.name: reducer.kind for reducer in summary.reducers}
        guards = self.growing.guards() if self.growing else ()
        self.largest = np.array([kinds[guard.name] == "max" for guard in guards], bool)
        self._selection: Selection | None = None
        self._told = False
        if summary.condition and not self.growing:
            what = f"summaries.{summary.name}.threshold"
            if summary.levels:
                self._selection = Selection({"measure": summary.condition.sql}, what=what)
            else:
                self._selection = Selection({}, summary.condition.sql, what=what)

    def guard_values(self, table: KeyTable, slots: np.ndarray) -> np.ndarray:
        """Return each guard's value of the keys in these slots, (m, guards) float64, NaN where there is none."""
        assert self.growing is not None
        return np.stack([table.values(guard.name, slots) for guard in self.growing.guards()], axis=1)

    def passed_early(self, values: np.ndarray) -> np.ndarray:
        """Return how many levels of a growing condition keys with these guard values have passed, (m,) int64."""
        assert self.growing is not None
        names = [guard.name for guard in self.growing.guards()]
        return passed(self.summary, self.growing, dict(zip(names, values.T, strict=True)))

    def passed_at_end(self, table: KeyTable, slots: np.ndarray, results: pa.Table) -> np.ndarray:
        """Return how many levels each slot's key has passed, (m,) int64. results: the table's, in the same order."""
        if not self.levels or not len(slots):
            return np.zeros(len(slots), np.int64)
        if self.growing:
            return self.passed_early(self.guard_values(table, slots))
        assert self._selection is not None
        selected = self._selection.select(results)
        if selected.failed:
            self._tell(selected.failed, len(slots))
        counts = np.zeros(len(slots), np.int64)
        if not self.summary.levels:
            counts[selected.rows] = 1
        else:
            measure = as_numbers(selected.columns["measure"])
            with np.errstate(invalid="ignore"):
                counts[selected.rows] = np.sum([measure >= level for level in self.summary.levels], axis=0)
        return counts

    def _tell(self, failed: dict[int, str], keys: int) -> None:
        """Say once that there are keys on which the threshold fails: they would be missed in silence."""
        if not self._told:
            self._told = True
            what, reason = f"summaries.{self.summary.name}.threshold", next(iter(failed.values()))
            log.warning("%s: %d of %d keys cannot be judged by it: %s", what, len(failed), keys, reason)

    def slack(self, values: np.ndarray, workers: int) -> np.ndarray:
        """Return by how much a worker's part of each key may grow unsaid, (m, guards) float64; 0: not at all.

        What is missing to the guard's next goal, over 2W; infinite where the guard has no further goal.
        values: (m, guards) float64.
        """
        assert self.growing is not None
        goals = np.empty_like(values)
        for row, guard in np.ndindex(*values.shape):
            goals[row, guard] = next_goal(self.summary, self.growing, guard, float(values[row, guard]))
        missing = (goals - values) / (2 * workers)
        return np.where(missing < 1.0, 0.0, missing)


class Passed:
    """How many levels each key of a window has passed so far, and what its workers were hinted."""

    def __init__(self, guards: int) -> None:
        self.guards = guards
        self._index = KeyIndex(16)
        self._count = np.empty(0, np.int64)
        self._slack = np.empty((0, guards))

    def counts(self, keys: np.ndarray) -> np.ndarray:
        """Return how many levels each key has passed, (m,) int64."""
        slots = self._slots(keys)
        counts: np.ndarray = self._count[slots]
        return counts

    def set_counts(self, keys: np.ndarray, counts: np.ndarray) -> None:
        """Note how many levels each key has passed."""
        slots = self._slots(keys)
        self._count[slots] = counts

    def to_hint(self, keys: np.ndarray, slack: np.ndarray) -> np.ndarray:
        """Note the slack of these keys where it is news: grown, or at most half of before; return where, (m,) bool."""
        slots = self._slots(keys)
        before = self._slack[slots]
        news: np.ndarray = ((slack > before) | ((slack <= before / 2) & (slack < before))).any(axis=1)
        self._slack[slots[news]] = slack[news]
        return news

    def _slots(self, keys: np.ndarray) -> np.ndarray:
        slots, first = self._index.slots(keys)
        if len(first):
            make_room(self._count, len(self._index), 0)
            make_room(self._slack, len(self._index), np.inf)
        return slots

    def state(self) -> list[np.ndarray]:
        """Return keys, counts and slacks."""
        known = len(self._index)
        return [self._index.keys.copy(), self._count[:known].copy(), self._slack[:known].copy()]

    def restore(self, parts: Iterable[np.ndarray]) -> None:
        """Take over what `state` returned."""
        keys, self._count, self._slack = (part.copy() for part in parts)
        self._index.slots(keys)


class Known:
    """The keys of windows that are over, for summaries that judge new keys only, with the end of their last window."""

    def __init__(self) -> None:
        self._index = KeyIndex(16)
        self._until = np.empty(0, np.int64)

    def is_new(self, keys: np.ndarray, since_us: int) -> np.ndarray:
        """Return which keys were in no window that ended after `since_us`, (m,) bool."""
        slots = self._index.find(keys)
        known = np.append(self._until, -1)[slots]
        result: np.ndarray = (slots < 0) | (known <= since_us)
        return result

    def add(self, keys: np.ndarray, end_us: int, forget_us: int) -> None:
        """Note that a window with these keys is over; forget those whose last window ended before `forget_us`."""
        slots, first = self._index.slots(keys)
        self._until = np.concatenate([self._until, np.zeros(len(first), np.int64)])
        self._until[slots] = end_us
        stale = self._until < forget_us
        if stale.sum() * 2 > len(stale):
            keys = self._index.keys[~stale].copy()
            self._until = self._until[~stale]
            self._index = KeyIndex(len(keys) + 16)
            self._index.slots(keys)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._index.nbytes + self._until.nbytes

    def state(self) -> np.ndarray:
        """Return keys with the end of their last window as bytes, (n,) uint8."""
        return to_ipc(pa.table({"key": self._index.keys.copy(), "until": self._until}))

    def restore(self, state: Any) -> None:
        """Take over what `state` returned."""
        table = from_ipc(state)
        self._index.slots(table.column("key").to_numpy())
        self._until = table.column("until").to_numpy().copy()
