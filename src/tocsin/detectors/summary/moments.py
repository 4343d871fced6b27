"""Sum, count, min, max, average, variance and standard deviation of one expression."""

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.accumulator import Accumulator, Values
from tocsin.detectors.summary.definition import Reducer
from tocsin.kernels.moments import COUNT, MOST, SUM, add_plain, add_spread, count_blanks, merge_spread
from tocsin.kernels.room import make_room
from tocsin.kernels.strings import NULL_HASH

_PLAIN = ("count", "sum", "least", "most")
_SPREAD = ("count", "least", "above", "squares")
_EMPTY = {"count": 0.0, "sum": 0.0, "least": np.inf, "most": -np.inf, "above": 0.0, "squares": 0.0}
_PARTS_OF = {
    "sum": {"sum"},
    "count": {"count"},
    "min": {"least"},
    "max": {"most"},
    "average": {"count", "sum"},
}
_TRACED = {"count": COUNT, "sum": SUM, "max": MOST}
_NOTHING = np.empty(0)


class Moments(Accumulator):
    """Keeps a row of float64 a slot, only the columns that its reducers need: 8 bytes for one sum, 40 for everything.

    Numbers are those that are finite; NaN and infinity change nothing. `count` of the input's own `observe` counts
    every row; with an expression of its own it counts rows with a value (a number, where another reducer of the
    expression needs numbers). Without a number sum and count are 0 and the others null. The variance is that of a
    sample, 0 for one number. Counts, and sums of whole numbers, are exact up to 2**53; beyond 1e308 a sum is infinite.

    Updating and merging follow Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances" (1979), shifted by the smallest number: see `tocsin.kernels.moments`.
    """

    name = "moments"

    def __init__(self, reducers: tuple[Reducer, ...]) -> None:
        super().__init__(reducers)
        kinds = {reducer.kind for reducer in reducers}
        self._kind_of = {reducer.name: reducer.kind for reducer in reducers}
        self._counts_rows = "count" in kinds and not reducers[0].of
        self._needs_numbers = kinds != {"count"}
        self._has_spread = bool(kinds & {"variance", "std_dev"})
        self._columns = _columns(kinds, has_spread=self._has_spread)
        self._places = np.array([self._columns.index(each) if each in self._columns else -1 for each in _PLAIN])
        self._empty = np.array([_EMPTY[each] for each in self._columns])
        self._state = np.empty((0, len(self._columns)))
        # Rows without a number are rare; nothing is kept of them before the first one.
        self._blanks: np.ndarray | None = None

    @property
    def needs(self) -> frozenset[str]:
        """Numbers; of rows that are only counted, whether there is a value."""
        if self._needs_numbers:
            return frozenset({"number"})
        return frozenset() if self._counts_rows else frozenset({"hash"})

    def grow(self, slots: int) -> None:
        """Make room for so many slots."""
        make_room(self._state, slots, self._empty)
        if self._blanks is not None:
            make_room(self._blanks, slots, 0.0)

    def add(self, slots: np.ndarray, values: Values, trace: str = "") -> np.ndarray | None:
        """Add rows; trace one of sum, count and max."""
        numbers = self._numbers(values, len(slots))
        traced = np.empty(len(slots)) if trace else _NOTHING
        code = _TRACED[self._kind_of[trace]] if trace else COUNT
        if self._has_spread:
            skipped = add_spread(self._state, slots, numbers, code, traced)
        else:
            skipped = add_plain(self._state, self._places, slots, numbers, code, traced)
        if self._counts_rows and (skipped or self._blanks is not None):
            self._count_blanks(slots, numbers, traced if code == COUNT else _NOTHING)
        if code == MOST:
            traced[np.isinf(traced)] = np.nan
        return traced if trace else None

    def _numbers(self, values: Values, rows: int) -> np.ndarray:
        if self._needs_numbers:
            assert values.number is not None
            return values.number
        if self._counts_rows:
            return np.ones(rows)
        return np.where(values.hash == np.uint64(NULL_HASH), np.nan, 1.0)

    def _count_blanks(self, slots: np.ndarray, numbers: np.ndarray, traced: np.ndarray) -> None:
        if self._blanks is None:
            self._blanks = np.zeros(len(self._state))
        count_blanks(self._blanks, slots, numbers, traced)

    def partial(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return the columns, and `blanks`, the rows without a number, where every row is counted."""
        rows = self._state[slots]
        columns = {name: pa.array(rows[:, place]) for place, name in enumerate(self._columns)}
        return columns | ({"blanks": pa.array(self._blanks_of(slots))} if self._counts_rows else {})

    def merge(self, slots: np.ndarray, partial: dict[str, pa.Array]) -> None:
        """Merge a partial."""
        other = np.column_stack([partial[name].to_numpy() for name in self._columns])
        if self._has_spread:
            merge_spread(self._state, slots, other)
        else:
            self._merge_plain(slots, other)
        if self._counts_rows and (blanks := partial["blanks"].to_numpy()).any():
            if self._blanks is None:
                self._blanks = np.zeros(len(self._state))
            self._blanks[slots] += blanks

    def _merge_plain(self, slots: np.ndarray, other: np.ndarray) -> None:
        joins = {"count": np.add, "sum": np.add, "least": np.minimum, "most": np.maximum}
        for place, name in enumerate(self._columns):
            self._state[slots, place] = joins[name](self._state[slots, place], other[:, place])

    def results(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return each reducer's result: counts as int64, the others as float64."""
        rows = self._state[slots]
        kept = {name: rows[:, place] for place, name in enumerate(self._columns)}
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return {reducer.name: self._result(reducer.kind, kept, slots) for reducer in self.reducers}

    def _result(self, kind: str, kept: dict[str, np.ndarray], slots: np.ndarray) -> pa.Array:
        if kind == "count":
            counted = kept["count"] + self._blanks_of(slots)
            return pa.array(counted.astype(np.int64))
        if kind in ("min", "max"):
            found = kept["least" if kind == "min" else "most"]
            return _numbers_or_null(np.where(np.isinf(found), np.nan, found))
        if kind in ("sum", "average"):
            return _numbers_or_null(_total(kept) if kind == "sum" else _average(kept))
        variance = kept["squares"] / np.maximum(kept["count"] - 1.0, 1.0)
        variance[kept["count"] == 0.0] = np.nan
        return _numbers_or_null(variance if kind == "variance" else np.sqrt(variance))

    def _blanks_of(self, slots: np.ndarray) -> np.ndarray:
        return np.zeros(len(slots)) if self._blanks is None else self._blanks[slots]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._state.nbytes + (0 if self._blanks is None else self._blanks.nbytes)


def _columns(kinds: set[str], *, has_spread: bool) -> tuple[str, ...]:
    if has_spread:
        return (*_SPREAD, "most") if "max" in kinds else _SPREAD
    wanted = set[str]().union(*(_PARTS_OF[kind] for kind in kinds))
    return tuple(name for name in _PLAIN if name in wanted)


def _total(kept: dict[str, np.ndarray]) -> np.ndarray:
    if "sum" in kept:
        return kept["sum"]
    total: np.ndarray = np.where(kept["count"] > 0.0, kept["count"] * kept["least"] + kept["above"], 0.0)
    return total


def _average(kept: dict[str, np.ndarray]) -> np.ndarray:
    if "sum" in kept:
        average: np.ndarray = kept["sum"] / kept["count"]
    else:
        average = kept["least"] + kept["above"] / kept["count"]
        average[kept["count"] == 0.0] = np.nan
    return average


def _numbers_or_null(found: np.ndarray) -> pa.Array:
    return pa.array(found, from_pandas=True)
