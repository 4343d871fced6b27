"""The accumulator contract: what is kept of each key, one row a slot, mergeable in any order.

A window gives each of its keys a slot (0, 1, 2, …). An accumulator keeps columns of state over slots and serves one
or several reducers of one input that reduce the same expression.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.definition import Reducer

ACCUMULATORS = {
    "moments": "tocsin.detectors.summary.moments:Moments",
    "seen": "tocsin.detectors.summary.seen:Seen",
    "unique": "tocsin.detectors.summary.unique:Unique",
    "quantile": "tocsin.detectors.summary.quantile:Quantile",
    "hll": "tocsin.detectors.summary.hll:Hll",
    "sample": "tocsin.detectors.summary.ranked:Sample",
    "last": "tocsin.detectors.summary.ranked:Last",
    "regularity": "tocsin.detectors.summary.regularity:Regularity",
    "topk": "tocsin.detectors.summary.topk:TopK",
}

REDUCERS: dict[str, tuple[str, dict[str, Any]]] = {
    # reducer kind: (accumulator, its options with their defaults)
    "sum": ("moments", {}),
    "count": ("moments", {}),
    "min": ("moments", {}),
    "max": ("moments", {}),
    "average": ("moments", {}),
    "variance": ("moments", {}),
    "std_dev": ("moments", {}),
    "first_seen": ("seen", {}),
    "last_seen": ("seen", {}),
    "unique": ("unique", {"max": 10_000}),
    "hll_unique": ("hll", {"error": 0.01, "confidence": 0.95}),
    "quantile": ("quantile", {"q": 0.5, "error": 0.01}),
    "topk": ("topk", {"size": 100, "shown": 5}),
    "sample": ("sample", {"size": 5}),
    "last": ("last", {"size": 1}),
    "regularity": ("regularity", {"size": 512, "by": ""}),
}

NUMERIC = frozenset({"sum", "min", "max", "average", "variance", "std_dev", "quantile"})
"""Reducers that need numbers; the others take any value."""


@dataclass(frozen=True)
class Values:
    """What records bring to an accumulator, one row a record.

    time_us: (n,) int64. ordinal: (n,) uint64, the record's own number in the run, by which ties are broken and samples
    drawn; the same whatever the split over workers and batches. number: (n,) float64, NaN where there is none; None
    when no reducer needs numbers. text: the value as Arrow string array where a reducer keeps values.
    hash: (n,) uint64, a stable hash of the value; null has tocsin.kernels.strings.NULL_HASH.
    size: (n,) float64, the `by` expression of `regularity`, NaN where there is none.
    """

    time_us: np.ndarray
    ordinal: np.ndarray
    number: np.ndarray | None = None
    text: pa.Array | None = None
    hash: np.ndarray | None = None
    size: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> "Values":
        """Return these rows."""
        arrays = {name: value for name, value in vars(self).items() if name != "text"}
        picked: dict[str, Any] = {name: value if value is None else value[rows] for name, value in arrays.items()}
        return Values(**picked, text=None if self.text is None else self.text.take(pa.array(rows)))


class Accumulator(ABC):
    """State over slots. A row without a value (NaN, null) changes nothing but `count`.

    Adding rows one by one, in batches, or in parts that are merged gives the same results: exactly for counts, sets,
    samples and sketches, to 1e-9 relatively for moments, within the stated error for topk.
    """

    name: ClassVar[str]

    def __init__(self, reducers: tuple[Reducer, ...]) -> None:
        self.reducers = reducers

    @property
    @abstractmethod
    def needs(self) -> frozenset[str]:
        """Fields of Values it reads besides time_us and ordinal: number, text, hash, size. May be a class attribute."""

    @abstractmethod
    def grow(self, slots: int) -> None:
        """Make room for so many slots (only ever more); new ones are empty."""

    @abstractmethod
    def add(self, slots: np.ndarray, values: Values, trace: str = "") -> np.ndarray | None:
        """Add row i of the values to slots[i]: (n,) int32, in order; `grow` has made room.

        With `trace`, the name of one of its growing reducers: return (n,) float64, that reducer's result of the row's
        slot just after the row.
        """

    @abstractmethod
    def partial(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return the state of these slots as Arrow arrays, a row a slot, column names of its own choosing."""

    @abstractmethod
    def merge(self, slots: np.ndarray, partial: dict[str, pa.Array]) -> None:
        """Merge row i of a partial (of an equally configured accumulator) into slots[i]: (m,) int32, all different."""

    @abstractmethod
    def results(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return each reducer's result, by its name, a row a slot: numbers as float64 or int64, times as timestamp,
        samples and lasts as list<string>, topk as list<struct<value, count, error>>. Null where there is none."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes held."""

    def result_types(self) -> dict[str, pa.DataType]:
        """Return each reducer's result type."""
        return {name: column.type for name, column in self.results(np.empty(0, np.int32)).items()}


def accumulators(reducers: Iterable[Reducer]) -> list[Accumulator]:
    """Build what serves these reducers of one input: moments of one expression share one accumulator."""
    groups: dict[tuple[str, str, str], list[Reducer]] = {}
    for reducer in reducers:
        kind, _ = REDUCERS[reducer.kind]
        own = "" if kind in ("moments", "seen") else reducer.name
        groups.setdefault((kind, "" if kind == "seen" else reducer.of, own), []).append(reducer)
    built = []
    for (kind, _, _), members in groups.items():
        module, _, attribute = ACCUMULATORS[kind].partition(":")
        built.append(getattr(import_module(module), attribute)(tuple(members)))
    return built
