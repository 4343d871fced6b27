"""One input of a summary at work: records of its kind become keys, times and values."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.accumulator import NUMERIC, Accumulator, Values, accumulators
from tocsin.detectors.summary.columns import as_numbers, key_hashes, times_us, value_hashes
from tocsin.detectors.summary.definition import Input, Summary
from tocsin.records.selection import Selection
from tocsin.records.texts import as_text


@dataclass(frozen=True)
class Observed:
    """What a batch brings to a summary, a row a record: keys (n,) uint64, times (n,) int64 microseconds, key parts,
    one `Values` for each accumulator, and each record's row in the batch, (n,) int64."""

    keys: np.ndarray
    times: np.ndarray
    parts: dict[str, pa.Array]
    values: list[Values]
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: np.ndarray) -> "Observed":
        """Return these rows."""
        picked = pa.array(rows)
        return Observed(
            self.keys[rows],
            self.times[rows],
            {name: part.take(picked) for name, part in self.parts.items()},
            [each.take(rows) for each in self.values],
            self.rows[rows],
        )

    def new_parts(self, first: np.ndarray) -> pa.Table:
        """Return the parts of these rows: whole numbers as they are, all else as text."""
        picked = pa.array(first)
        taken = {name: part.take(picked) for name, part in self.parts.items()}
        return pa.table(
            {name: each if pa.types.is_integer(each.type) else as_text(each) for name, each in taken.items()}
        )


class Stream:
    """Selects from batches what one input of a summary counts."""

    def __init__(self, summary: Summary, number: int) -> None:
        self.number = number
        self.input: Input = summary.inputs[number]
        self._accumulators = accumulators(self.input.reduce)
        columns = {"time": self.input.time, **{f"key.{name}": sql for name, sql in self.input.key.items()}}
        for place, each in enumerate(self._accumulators):
            columns[f"of.{place}"] = each.reducers[0].of or self.input.observe
            if by := each.reducers[0].options.get("by"):
                columns[f"by.{place}"] = by
        where = f"summaries.{summary.name}"
        self._selection = Selection(_once(columns), self.input.where, what=where, kind=self.input.kind)
        self._names = _names(columns)

    def select(self, table: pa.Table, ordinals: np.ndarray) -> tuple[Observed, int]:
        """Return what is counted, and how many rows were set aside: an expression failed, or there is no time."""
        selected = self._selection.select(table)
        times, timed = times_us(self._column(selected.columns, "time"))
        rows = np.asarray(selected.rows)
        parts = {name: self._column(selected.columns, f"key.{name}") for name in self.input.key}
        keys = key_hashes(parts.values(), len(rows))
        drawn = ordinals if len(rows) == len(ordinals) else ordinals[rows]
        values = [
            self._values(place, each, selected.columns, times, drawn) for place, each in enumerate(self._accumulators)
        ]
        observed = Observed(keys, times, parts, values, rows)
        untimed = len(timed) - int(np.count_nonzero(timed))
        if untimed:
            observed = observed.take(np.flatnonzero(timed))
        return observed, len(selected.failed) + untimed

    def _column(self, columns: dict[str, pa.Array], name: str) -> pa.Array:
        return columns[self._names[name]]

    def _values(
        self, place: int, each: Accumulator, columns: dict[str, pa.Array], times: np.ndarray, ordinals: np.ndarray
    ) -> Values:
        column = self._column(columns, f"of.{place}")
        wants_number = "number" in each.needs and any(
            reducer.kind in NUMERIC or reducer.of for reducer in each.reducers
        )
        return Values(
            times,
            ordinals,
            number=as_numbers(column) if wants_number else None,
            text=as_text(column) if "text" in each.needs else None,
            hash=value_hashes(column) if "hash" in each.needs else None,
            size=as_numbers(self._column(columns, f"by.{place}")) if f"by.{place}" in self._names else None,
        )


def _once(columns: dict[str, str]) -> dict[str, str]:
    """Return each different expression once, under the first name it has."""
    return {name: sql for sql, name in _first_names(columns).items()}


def _names(columns: dict[str, str]) -> dict[str, str]:
    first = _first_names(columns)
    return {name: first[sql] for name, sql in columns.items()}


def _first_names(columns: dict[str, str]) -> dict[str, str]:
    first: dict[str, str] = {}
    for name, sql in columns.items():
        first.setdefault(sql, name)
    return first
