"""Numeric fields: what is counted of them in one pass, and what is learned from the counts.

Bins of several kinds and widths are laid over a field, and a value's bits are the mean over them of -log2 of its bin's
share of the rows: bins of equal count see where the mass lies, bins of equal width see gaps and tails, and a mean over
widths does not hang on one choice of width. Values that hold much mass alone, such as zero, get bins of their own.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.detectors.outlier.columns import numbers
from tocsin.kernels.histograms import CELLS, count_cells, encode_cells

SMOOTHING = 0.5
"""Rows that every bin is thought to hold beyond those counted (Jeffreys' prior)."""

GRAIN = 4096
"""Places are whole numbers of 1/4096, so that sums over them are exact in any order."""

_HALF = CELLS // 2
_DOUBLINGS = range(-3, 11)
_NULL = -1


class NumericCounts:
    """How often each cell of a numeric column was seen; parts can be merged by adding."""

    def __init__(self, offset: float) -> None:
        self.offset = offset
        self.counts = np.zeros(CELLS, np.int64)

    def add(self, column: pa.ChunkedArray) -> None:
        """Count a column's values."""
        with np.errstate(over="ignore", invalid="ignore"):
            count_cells(_floats(numbers(column)), self.offset, self.counts)

    def learn(self, num_bins: int, histogram_type: str) -> "NumericTable":
        """Return what the counts say."""
        nulls, ordered = _in_order(self.counts)
        return _Learner(self.offset, nulls, ordered).table(num_bins, histogram_type)


def find_offset(values: np.ndarray) -> float:
    """Return the value that cells are counted from: 0, or the middle of values that lie far from 0 in a narrow range.

    values: (n,) float. Times and other large numbers with small differences would share one cell otherwise.
    """
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return 0.0
    low, middle, high = np.quantile(finite, [0.01, 0.5, 0.99], method="nearest")
    return float(middle) if high > low and abs(middle) > 8 * (high - low) else 0.0


@dataclass
class NumericTable:
    """What was learned of a numeric field, by code: 0 is null, then bins in the order of their values.

    starts: (k,) int32, first ordered cell of a bin, -1 for null. lower, upper: (k,) float64, least and largest value
    seen in a bin, to one part in 128; not-a-number where none was. rows: (k,) int64. bits: (k,) float32, above the
    field's mean over its own rows. place: (k,) float32, share of the rows that are lower, in steps of 1/4096.
    """

    offset: float
    starts: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    rows: np.ndarray
    bits: np.ndarray
    place: np.ndarray

    def __post_init__(self) -> None:
        self._lookup = _lookup(self.starts)

    def read(self, column: pa.ChunkedArray) -> np.ndarray:
        """Return a column as what `encode` takes."""
        return numbers(column)

    def encode(self, values: np.ndarray, codes: np.ndarray) -> None:
        """Write the code of each value: (n,) numbers, (n,) uint16. What overflows float32 counts as infinite."""
        encode_cells(_floats(values), self.offset, self._lookup, codes)

    @property
    def tops(self) -> list[str]:
        """Numeric fields name no values."""
        return []

    def expected(self) -> str:
        """Say which values are normal."""
        total = int(self.rows.sum())
        if total == 0:
            return "nothing was seen"
        seen = np.flatnonzero(self.rows[1:]) + 1
        if len(seen) == 0:
            return "no value"
        most = int(seen[np.argmax(self.rows[seen])])
        high = self.upper[_quantile_code(self.rows, seen, 0.99)]
        text = f"{_short(self.lower[seen[0]])} to {_short(high)} in 99 %"
        share = self.rows[most] / total
        if share < 0.5:
            return text
        common = _short(self.lower[most])
        if self.upper[most] > self.lower[most]:
            common += f" to {_short(self.upper[most])}"
        return f"{common} in {_percent(share)} of rows" + ("" if share > 0.99 else f", {text}")

    def to_table(self) -> pa.Table:
        """Return one row a code."""
        return pa.table(
            {
                "start": self.starts,
                "lower": self.lower,
                "upper": self.upper,
                "rows": self.rows,
                "bits": self.bits,
                "place": self.place,
            }
        )

    def meta(self) -> dict[str, Any]:
        """Return what `to_table` has no column for."""
        return {"offset": self.offset}

    @classmethod
    def from_table(cls, table: pa.Table, meta: dict[str, Any]) -> "NumericTable":
        """Take over what `to_table` and `meta` returned."""
        names = {
            "start": np.int32,
            "lower": np.float64,
            "upper": np.float64,
            "rows": np.int64,
            "bits": np.float32,
            "place": np.float32,
        }
        arrays = [table.column(name).to_numpy().astype(kind) for name, kind in names.items()]
        return cls(float(meta["offset"]), *arrays)


class _Learner:
    def __init__(self, offset: float, nulls: int, ordered: np.ndarray) -> None:
        self.offset = offset
        self.nulls = nulls
        self.seen = np.flatnonzero(ordered)
        self.counts = ordered[self.seen]
        self.cumulated = np.concatenate(([0], np.cumsum(ordered)))
        self.total = int(ordered.sum()) + nulls

    def table(self, num_bins: int, histogram_type: str) -> NumericTable:
        if len(self.seen) == 0:
            return self._finish(np.array([_NULL, 0], np.int32), [[np.array([0])]])
        families = [[self._equal_width(k, linear=True) for k in _widths(num_bins)]]
        if histogram_type == "quantile":
            families = [
                [self._quantile(k) for k in _widths(num_bins)],
                [self._equal_width(k, linear=False) for k in _log_widths(num_bins)],
            ]
        inner = [starts for family in families for starts in family]
        outside = [self._outside(), np.array([0, self.seen[-1] + 1])]
        starts = np.unique(np.concatenate([*inner, *outside]))
        return self._finish(np.concatenate(([_NULL], starts)).astype(np.int32), families)

    def _quantile(self, bins: int) -> np.ndarray:
        """Return where bins of about equal count begin; a cell with a bin's worth of rows is a bin of its own."""
        seen, counts = self.seen, self.counts
        if len(seen) <= bins:
            return np.concatenate(([seen[0]], self._between(np.arange(1, len(seen)))))
        worth = counts.sum() / bins
        starts, held = [int(seen[0])], 0
        for i in range(len(seen)):
            if counts[i] >= worth:
                starts += [int(seen[i]), int(seen[i]) + 1]
                held = 0
                continue
            held += counts[i]
            if held >= worth and i + 1 < len(seen):
                starts.append(int(self._between(np.array([i + 1]))[0]))
                held = 0
        return np.unique([start for start in starts if start <= seen[-1]])

    def _between(self, right: np.ndarray) -> np.ndarray:
        """Return the cells in the middle between the seen cells `right` - 1 and `right`."""
        values = _value_of(self.seen)
        middle = _cell_of((values[right - 1] + values[right]) / 2)
        return np.asarray(np.clip(middle, self.seen[right - 1] + 1, self.seen[right]))

    def _equal_width(self, bins: int, *, linear: bool) -> np.ndarray:
        """Return where bins of equal width begin, of the value or of sign(x)·log(1 + |x|)."""
        low, high = _value_of(self.seen[[0, -1]])
        cuts = np.linspace(low, high, bins + 1) if linear else _unlog(np.linspace(_log(low), _log(high), bins + 1))
        return np.unique(np.clip(np.concatenate(([self.seen[0]], _cell_of(cuts[1:-1]))), self.seen[0], self.seen[-1]))

    def _outside(self) -> np.ndarray:
        low, high = _value_of(self.seen[[0, -1]])
        span = (high - low) or abs(high) or 1.0
        steps = span * np.exp2(np.array(_DOUBLINGS))
        above = _cell_of(high + steps)
        below = _cell_of(low - steps)
        return np.concatenate((above[above > self.seen[-1]], below[below < self.seen[0]]))

    def _finish(self, starts: np.ndarray, families: list[list[np.ndarray]]) -> NumericTable:
        rows = np.empty(len(starts), np.int64)
        rows[0] = self.nulls
        rows[1:] = np.diff(np.append(self.cumulated[starts[1:]], self.total - self.nulls))
        bits = np.mean([np.mean([self._bits(starts, one) for one in family], axis=0) for family in families], axis=0)
        bits += self._far(starts)
        bits -= (bits * rows).sum() / max(self.total, 1)
        place = (np.cumsum(rows) - rows / 2) / max(self.total, 1)
        lower, upper = self._seen_in(starts)
        return NumericTable(self.offset, starts, lower, upper, rows, bits.astype(np.float32), grained(place))

    def _seen_in(self, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the largest value seen in each bin: (k,) float64, not-a-number where none was."""
        values = np.append(_value_of(self.seen) + self.offset, np.nan)
        first = np.searchsorted(self.seen, starts)
        last = np.searchsorted(self.seen, np.append(starts[1:], CELLS)) - 1
        empty = (last < first) | (starts == _NULL)
        return values[np.where(empty, -1, first)], values[np.where(empty, -1, last)]

    def _bits(self, starts: np.ndarray, bins: np.ndarray) -> np.ndarray:
        """Return -log2 of the share of each code's bin: (k,) float64.

        p = (n + s) / (N + s·K), with n rows in the bin, N rows in all, K bins (null, below and above among them).
        """
        ends = np.append(bins[1:], self.seen[-1] + 1 if len(self.seen) else CELLS)
        held = self.cumulated[ends] - self.cumulated[bins]
        at = np.searchsorted(bins, starts, side="right") - 1
        inside = (at >= 0) & (starts < ends[-1])
        rows = np.where(inside, held[at], 0)
        rows[0] = self.nulls
        result: np.ndarray = -np.log2((rows + SMOOTHING) / (self.total + SMOOTHING * (len(bins) + 3)))
        return result

    def _far(self, starts: np.ndarray) -> np.ndarray:
        """Return one bit more for each doubling of the distance to what was seen: (k,) float64."""
        far = np.zeros(len(starts))
        if len(self.seen) == 0:
            return far
        above = np.flatnonzero(starts > self.seen[-1])
        below = np.flatnonzero((starts < self.seen[0]) & (starts >= 0))
        far[above] = np.arange(len(above))
        far[below] = np.arange(len(below))[::-1]
        return far


def grained(place: np.ndarray) -> np.ndarray:
    """Round places to steps of 1/4096: (k,) float32."""
    steps: np.ndarray = np.rint(place * GRAIN)
    return (steps / GRAIN).astype(np.float32)


def _widths(num_bins: int) -> list[int]:
    return sorted({max(2, num_bins // 2), num_bins, 2 * num_bins})


def _log_widths(num_bins: int) -> list[int]:
    return sorted({max(2, round(num_bins * share)) for share in (0.4, 0.8, 1.6, 3.2)})


def _floats(values: np.ndarray) -> np.ndarray:
    if values.dtype in (np.float32, np.float64):
        return values if values.flags.c_contiguous else np.ascontiguousarray(values)
    return values.astype(np.float64)


def _in_order(counts: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the number of nulls, and the counts in the order of the values: (65536,) int64."""
    ordered = np.concatenate((counts[_HALF:][::-1], counts[:_HALF]))
    nulls = int(ordered[:0x7F].sum() + ordered[-0x7F:].sum())
    ordered[:0x7F] = 0
    ordered[-0x7F:] = 0
    return nulls, ordered


def _lookup(starts: np.ndarray) -> np.ndarray:
    """Return the code of every cell: (65536,) uint16."""
    codes = np.searchsorted(starts[1:], np.arange(CELLS), side="right").astype(np.uint16)
    codes[:0x7F] = 0
    codes[-0x7F:] = 0
    return np.concatenate((codes[_HALF:], codes[:_HALF][::-1]))


def _value_of(cells: np.ndarray) -> np.ndarray:
    """Return the value nearest zero of ordered cells: float64; the infinities as the largest numbers."""
    cells = np.asarray(cells, np.int64)
    bits = np.where(cells >= _HALF, cells - _HALF, CELLS - 1 - cells).astype(np.uint32) << np.uint32(16)
    values = bits.view(np.float32).astype(np.float64)
    largest = float(np.finfo(np.float32).max)
    return np.asarray(np.nan_to_num(values, nan=0.0, posinf=largest, neginf=-largest))


def _cell_of(values: np.ndarray) -> np.ndarray:
    """Return the ordered cells of values: int64."""
    largest = float(np.finfo(np.float32).max)
    near = np.clip(values, -largest, largest).astype(np.float32) + np.float32(0)
    cells = (near.view(np.uint32) >> np.uint32(16)).astype(np.int64)
    return np.asarray(np.where(cells < _HALF, cells + _HALF, CELLS - 1 - cells))


def _log(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.sign(x) * np.log1p(np.abs(x)))


def _unlog(y: np.ndarray) -> np.ndarray:
    return np.asarray(np.sign(y) * np.expm1(np.abs(y)))


def _quantile_code(rows: np.ndarray, seen: np.ndarray, share: float) -> int:
    upto = np.cumsum(rows[seen]) / rows[seen].sum()
    return int(seen[np.searchsorted(upto, share)])


def _percent(share: float) -> str:
    return f"{share:.1%}".replace(".0%", "%").replace("%", " %")


def _short(value: float) -> str:
    """Write a number with three digits and a unit of thousands."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g} {unit}"
    return f"{value:.3g}" if value != int(value) else str(int(value))
