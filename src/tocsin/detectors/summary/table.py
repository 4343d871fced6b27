"""The keys of one window and what is kept of each: what workers fill and mergers join."""

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.accumulator import Accumulator, Values, accumulators
from tocsin.detectors.summary.definition import Summary
from tocsin.kernels.index import KeyIndex
from tocsin.kernels.room import make_room
from tocsin.kernels.windows import note_times
from tocsin.records.texts import as_text

_UNSEEN = np.array([np.iinfo(np.int64).max, -np.iinfo(np.int64).max, 0])

BEGIN, END, RECORDS = ".begin", ".end", ".records"
"""Columns of results beside key parts and reducers, which cannot be called so."""


class Times:
    """When each key was first and last seen, and how often: a row of three a slot, which a record finds together."""

    def __init__(self) -> None:
        self.rows = np.empty((0, 3), np.int64)

    @property
    def begin(self) -> np.ndarray:
        """When first: (slots,) int64, microseconds."""
        return self.rows[:, 0]

    @property
    def end(self) -> np.ndarray:
        """When last: (slots,) int64, microseconds."""
        return self.rows[:, 1]

    @property
    def records(self) -> np.ndarray:
        """How often: (slots,) int64."""
        return self.rows[:, 2]

    def grow(self, slots: int) -> None:
        """Make room for so many slots."""
        make_room(self.rows, slots, _UNSEEN)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.rows.nbytes


class KeyTable:
    """Keys with their parts as text, times (where the summary judges its keys), and states of every accumulator."""

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        self.index = KeyIndex()
        self.times = Times() if summary.condition else None
        self.accumulators: list[list[Accumulator]] = [accumulators(each.reduce) for each in summary.inputs]
        self._parts: list[pa.Table] = []
        self._parts_bytes = 0

    def __len__(self) -> int:
        return len(self.index)

    def slots(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each key's slot, (n,) int32, and the first row of each new key; for those give `add_parts`."""
        slots, first = self.index.slots(keys)
        if len(first):
            for each in self.all_accumulators():
                each.grow(len(self.index))
            if self.times:
                self.times.grow(len(self.index))
        return slots, first

    def add_parts(self, parts: pa.Table) -> None:
        """Take the parts of new keys, in the order of their slots: columns of text or of whole numbers by part name."""
        if parts.num_columns:
            self._parts.append(parts)
            self._parts_bytes += parts.nbytes

    def add(self, number: int, slots: np.ndarray, values: list[Values], times: np.ndarray) -> None:
        """Add rows of an input to their slots; values: one for each accumulator of the input."""
        for each, its in zip(self.accumulators[number], values, strict=True):
            each.add(slots, its)
        if self.times:
            note_times(slots, times, self.times.rows)

    def partial(self, slots: np.ndarray) -> pa.Table:
        """Return the keys in these slots with their parts, times and states, a row a key."""
        columns: dict[str, pa.Array] = {"key": pa.array(self.index.keys[slots])}
        parts = self.parts(slots)
        columns |= {f"part.{name}": parts.column(name).combine_chunks() for name in self.summary.key_parts}
        if self.times:
            columns["begin"] = pa.array(self.times.begin[slots])
            columns["end"] = pa.array(self.times.end[slots])
            columns["records"] = pa.array(self.times.records[slots])
        for number, group in enumerate(self.accumulators):
            for place, each in enumerate(group):
                state = each.partial(slots)
                columns |= {f"{number}.{place}.{name}": column for name, column in state.items()}
        return pa.table(columns)

    def merge(self, partial: pa.Table) -> np.ndarray:
        """Merge what `partial` returned of a table of the same summary; return each row's slot, (m,) int32.

        The keys of a partial are all different.
        """
        slots, first = self.slots(_numpy(partial, "key"))
        new = partial.take(pa.array(first)) if len(first) < partial.num_rows else partial
        if len(first):
            names = list(self.summary.key_parts)
            self.add_parts(pa.table({name: new.column(f"part.{name}") for name in names}))
        if self.times:
            self.times.begin[slots] = np.minimum(self.times.begin[slots], _numpy(partial, "begin"))
            self.times.end[slots] = np.maximum(self.times.end[slots], _numpy(partial, "end"))
            self.times.records[slots] += _numpy(partial, "records")
        for number, group in enumerate(self.accumulators):
            for place, each in enumerate(group):
                mark = f"{number}.{place}."
                names = [name for name in partial.column_names if name.startswith(mark)]
                state = {name.removeprefix(mark): partial.column(name).combine_chunks() for name in names}
                each.merge(slots, state)
        return slots

    def parts(self, slots: np.ndarray) -> pa.Table:
        """Return the parts of the keys in these slots, columns of text by part name."""
        if not self.summary.key_parts:
            return pa.table({})
        if len(self._parts) > 1:
            self._parts = [pa.concat_tables(map(_as_text, self._parts)).combine_chunks()]
            self._parts_bytes = self._parts[0].nbytes
        if not self._parts:
            return pa.table({name: pa.array([], pa.string()) for name in self.summary.key_parts})
        return _as_text(self._parts[0].take(pa.array(slots)))

    def results(self, slots: np.ndarray) -> pa.Table:
        """Return parts, results of every reducer by name, and BEGIN, END (timestamps) and RECORDS, a row a key."""
        parts = self.parts(slots)
        columns: dict[str, pa.Array] = {name: parts.column(name).combine_chunks() for name in self.summary.key_parts}
        for group in self.accumulators:
            for each in group:
                columns |= each.results(slots)
        ordered = {name: columns[name] for name in (*self.summary.key_parts, *self._reducer_names())}
        if self.times:
            ordered[BEGIN] = pa.array(self.times.begin[slots], pa.timestamp("us", "UTC"))
            ordered[END] = pa.array(self.times.end[slots], pa.timestamp("us", "UTC"))
            ordered[RECORDS] = pa.array(self.times.records[slots])
        return pa.table(ordered)

    def values(self, name: str, slots: np.ndarray) -> np.ndarray:
        """Return one reducer's results as (m,) float64, NaN where there is none."""
        number, place = self.place(name)
        column = self.accumulators[number][place].results(slots)[name]
        array: np.ndarray = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return array

    def place(self, name: str) -> tuple[int, int]:
        """Return the input and the accumulator that serve a reducer."""
        for number, group in enumerate(self.accumulators):
            for place, each in enumerate(group):
                if any(reducer.name == name for reducer in each.reducers):
                    return number, place
        raise KeyError(name)

    def all_slots(self) -> np.ndarray:
        """Return every slot, (n,) int32."""
        return np.arange(len(self.index), dtype=np.int32)

    def all_accumulators(self) -> list[Accumulator]:
        """Return the accumulators of every input."""
        return [each for group in self.accumulators for each in group]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        held = self.index.nbytes + sum(each.nbytes for each in self.all_accumulators())
        return int(held) + self._parts_bytes + (self.times.nbytes if self.times else 0)

    def _reducer_names(self) -> list[str]:
        return [reducer.name for reducer in self.summary.reducers]


def _as_text(parts: pa.Table) -> pa.Table:
    return pa.table({name: as_text(parts.column(name)) for name in parts.column_names})


def _numpy(table: pa.Table, name: str) -> np.ndarray:
    array: np.ndarray = table.column(name).to_numpy()
    return array
