"""How old observations lose weight: by a half-life, or by leaving a window; in steps of an eighth."""

from collections.abc import Callable, Sequence

import numpy as np

from tocsin.detector import State
from tocsin.detectors.novelty.aging import built
from tocsin.detectors.novelty.options import Options
from tocsin.detectors.novelty.shape import shape_of
from tocsin.detectors.novelty.tables import Leaves, Tables
from tocsin.errors import InputError

STEPS = 8
"""Steps in a half-life or a window."""

LEAST = 0.5 - 1e-4
"""An observation that weighs less is dropped: what was seen once is there for a half-life."""


class Fading:
    """Counts the steps that pass, in observations or in time, and lets old observations go at each.

    A window keeps what it holds in panes of an eighth; it is full when the eighth begins, so that the newest seven to
    eight eighths count. A half-life multiplies every count by 2^(-1/8) at each step.
    """

    def __init__(self, options: Options) -> None:
        self._halves = options.half_life or options.half_life_s
        self._windowed = options.window or options.window_s
        self.by_time = bool(options.half_life_s or options.window_s)
        length = self._halves or self._windowed or 0
        self._step = max(1, round(length * 1_000_000 / STEPS if self.by_time else length / STEPS)) if length else 0
        self.tick: int | None = None
        self._panes: list[Tables] = []

    @property
    def keeps_panes(self) -> bool:
        """Whether it is a window."""
        return bool(self._windowed)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(pane.nbytes for pane in self._panes)

    def check(self, time_us: int | np.ndarray | None, rows: int) -> np.ndarray | None:
        """Return the rows' times where they matter. Raises InputError when there are none, or not one for each row."""
        if not self.by_time:
            return None
        if time_us is None:
            raise InputError("half_life_s and window_s need the observations' times")
        times = np.asarray(time_us)
        if times.dtype.kind not in "iu" or times.shape not in ((), (rows,)):
            raise InputError(f"time_us: one whole number, or one for each of {rows} observations, is needed")
        return np.broadcast_to(times.astype(np.int64), (rows,))

    def rows_left(self, observed: int, times: np.ndarray | None) -> int | None:
        """Return how many of the next rows belong to the step that goes on, None for all of them."""
        if not self._step or self.tick is None:
            return None
        bound = (self.tick + 1) * self._step
        if times is None:
            return bound - observed
        late = np.flatnonzero(times >= bound)
        return int(late[0]) if len(late) else None

    def advance(self, tables: Tables, observed: int, time_us: int | None) -> bool:
        """Let the steps pass that lie before the next observation; say whether any did."""
        return bool(self._step) and self.pass_to(tables, (observed if time_us is None else time_us) // self._step)

    def pass_to(self, tables: Tables, tick: int) -> bool:
        """Let the steps up to a tick pass; say whether any did. Does nothing where that has passed already."""
        passed = 0 if self.tick is None else max(0, tick - self.tick)
        self.tick = tick if self.tick is None else max(tick, self.tick)
        if self._windowed and (passed or not self._panes):
            self._leave(tables, passed)
        elif self._halves and passed:
            tables.fade(2.0 ** (-passed / STEPS), LEAST)
        return passed > 0

    def take(self, values: np.ndarray, last: np.ndarray) -> None:
        """Remember what a window will have to forget. values: (n, L) int32; last: (n,) int32 sequence."""
        if self._windowed:
            self._panes[-1].put(Leaves(values, np.ones(len(values)), last))

    def state(self) -> State:
        """Return where it is."""
        state: State = {"tick": self.tick, "panes": len(self._panes)}
        for number, pane in enumerate(self._panes):
            state |= leaves_state(pane.leaves(), f"pane{number}.")
        return state

    def restore(self, tick: int | None, panes: Sequence[Leaves], length: int) -> None:
        """Take over a state."""
        self.tick = tick
        self._panes = [built(shape_of("given", length), leaves) for leaves in panes]

    def merge(self, other: "Fading", here: np.ndarray, observed: int) -> None:
        """Take over the other's panes, newest beside newest; by time, both must be at one tick.

        here: (size,) int32, its values' numbers here. observed: by both together.
        """
        for back in range(1, len(other._panes) + 1):
            shape, theirs = other._panes[-back].shape, renumbered(other._panes[-back].leaves(), here)
            if back <= len(self._panes):
                self._panes[-back].put(theirs)
            else:
                self._panes.insert(0, built(shape, theirs))
        if self._step:
            self.tick = other.tick if self.by_time else observed // self._step

    def change(self, made: Callable[[Leaves], Leaves]) -> None:
        """Put into each pane what is made of what it holds."""
        self._panes = [built(pane.shape, made(pane.leaves())) for pane in self._panes]

    @property
    def panes(self) -> list[Leaves]:
        """What each pane of a window holds."""
        return [pane.leaves() for pane in self._panes]

    def _leave(self, tables: Tables, passed: int) -> None:
        for _ in range(min(passed, STEPS) if self._panes else 1):
            self._panes.append(Tables(shape_of("given", tables.shape.length)))
            if len(self._panes) > STEPS:
                gone = self._panes.pop(0).leaves()
                tables.add(Leaves(gone.values, -gone.counts, gone.last))
        tables.compact()


def renumbered(leaves: Leaves, numbers: np.ndarray) -> Leaves:
    """Return leaves whose values have other numbers. numbers: (size,) int32, by old number."""
    return Leaves(numbers[leaves.values], leaves.counts, leaves.last)


def leaves_state(leaves: Leaves, mark: str = "") -> State:
    """Return leaves as members of a state."""
    return {f"{mark}values": leaves.values, f"{mark}counts": leaves.counts, f"{mark}last": leaves.last}
