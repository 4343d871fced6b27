"""When a key was first and last seen, in record time."""

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.accumulator import Accumulator, Values
from tocsin.detectors.summary.definition import Reducer
from tocsin.kernels.moments import widen
from tocsin.kernels.room import make_room

_EMPTY = {"first": np.iinfo(np.int64).max, "last": np.iinfo(np.int64).min}


class Seen(Accumulator):
    """Keeps the earliest and the latest time of each slot's rows, 8 bytes each; rows without a value count as well."""

    name = "seen"
    needs = frozenset()

    def __init__(self, reducers: tuple[Reducer, ...]) -> None:
        super().__init__(reducers)
        kinds = {reducer.kind for reducer in reducers}
        self._columns = tuple(name for name in _EMPTY if f"{name}_seen" in kinds)
        self._places = np.array([self._columns.index(name) if name in self._columns else -1 for name in _EMPTY])
        self._empty = np.array([_EMPTY[name] for name in self._columns])
        self._state = np.empty((0, len(self._columns)), np.int64)

    def grow(self, slots: int) -> None:
        """Make room for so many slots."""
        make_room(self._state, slots, self._empty)

    def add(self, slots: np.ndarray, values: Values, trace: str = "") -> None:
        """Add rows."""
        widen(self._state, self._places, slots, values.time_us)

    def partial(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return `first` and `last`, microseconds; what is kept of them."""
        return {name: pa.array(self._state[slots, place]) for place, name in enumerate(self._columns)}

    def merge(self, slots: np.ndarray, partial: dict[str, pa.Array]) -> None:
        """Merge a partial."""
        joins = {"first": np.minimum, "last": np.maximum}
        for place, name in enumerate(self._columns):
            self._state[slots, place] = joins[name](self._state[slots, place], partial[name].to_numpy())

    def results(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return times, null where nothing was seen."""
        return {reducer.name: self._times(reducer.kind.removesuffix("_seen"), slots) for reducer in self.reducers}

    def _times(self, name: str, slots: np.ndarray) -> pa.Array:
        times = self._state[slots, self._columns.index(name)]
        return pa.array(times, pa.timestamp("us", "UTC"), mask=times == _EMPTY[name])

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._state.nbytes
