"""Categories, ports, networks and hours: how often each was seen, and how rare a value is.

The bits of a value are -log2 of the share of rows whose value was as rare as it or rarer. A field whose values are
nearly all different (an ephemeral port) therefore says nothing about a value that was never seen, while a field of a
few common values says much. That a value is new is as likely as it was that one came only once (Good and Turing; Good
1953).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.detectors.outlier import columns
from tocsin.detectors.outlier.numeric import SMOOTHING, grained

TOPS = 64
"""Values that are kept as text."""

_CLASSES = 1024
_SEED = 0


@dataclass(frozen=True)
class Buckets:
    """How the values of one field become bucket numbers; the last bucket is null."""

    kind: str
    modulus: int
    ipv4_prefix: int = 24
    ipv6_prefix: int = 48

    @property
    def size(self) -> int:
        """Number of buckets, the one of null not counted."""
        return {"port": 65536, "time_of_day": 24}.get(self.kind, self.modulus)

    def numbers(self, column: pa.ChunkedArray) -> np.ndarray:
        """Return (n,) int64 bucket numbers."""
        return self._numbers(column)[0]

    def texts(self, column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
        """Return (n,) bucket numbers and what each row's value is called. One at a time: meant for few rows."""
        buckets, values = self._numbers(column)
        if self.kind == "address":
            return buckets, columns.network_text(values, self.ipv4_prefix, self.ipv6_prefix)
        if self.kind == "category":
            return buckets, ["" if value is None else str(value) for value in values.to_pylist()]
        return buckets, [self._name(int(bucket)) for bucket in buckets]

    def _name(self, bucket: int) -> str:
        if self.kind == "time_of_day":
            return f"{bucket:02d}:00 UTC"
        return f"{bucket} or above" if bucket == columns.EPHEMERAL else str(bucket)

    def _numbers(self, column: pa.ChunkedArray) -> tuple[np.ndarray, Any]:
        if self.kind == "port":
            return columns.port_buckets(column), None
        if self.kind == "time_of_day":
            return columns.hour_buckets(column), None
        if self.kind == "address":
            return columns.address_buckets(column, self.ipv4_prefix, self.ipv6_prefix, self.modulus, _SEED)
        return columns.text_buckets(column, self.modulus, _SEED)


class CategoryCounts:
    """How often each bucket of a field was seen; parts can be merged by adding."""

    def __init__(self, buckets: Buckets) -> None:
        self.buckets = buckets
        self.counts = np.zeros(buckets.size + 1, np.int64)

    def add(self, column: pa.ChunkedArray) -> None:
        """Count a column's values."""
        self.counts += np.bincount(self.buckets.numbers(column), minlength=len(self.counts))

    def learn(self, sample: pa.ChunkedArray | None) -> "CategoryTable":
        """Return what the counts say; the texts of the commonest values are those in a sample of the rows."""
        found = np.flatnonzero(self.counts[:-1])
        tops = _tops(self.buckets, self.counts, sample)
        names = [tops.get(int(bucket), "") for bucket in found]
        return CategoryTable(self.buckets, found, self.counts[found], int(self.counts[-1]), names)


@dataclass
class CategoryTable:
    """What was learned of a categorical field, by code: 0 is null, 1 unseen, then classes of equal count, rare first.

    found: (m,) int64, buckets seen; seen: (m,) int64, their rows; nulls: rows without a value; names: their texts, ''
    where it was not kept.
    """

    buckets: Buckets
    found: np.ndarray
    seen: np.ndarray
    nulls: int
    names: list[str]

    def __post_init__(self) -> None:
        classes = _classes(self.seen)
        self.rows = np.concatenate(([self.nulls, 0], np.bincount(classes, self.seen))).astype(np.int64)
        self._lookup = np.ones(self.buckets.size + 1, np.uint16)
        self._lookup[self.found] = classes + 2
        self._lookup[-1] = 0
        total = int(self.rows.sum())
        bits = self._rarity_bits(total)
        bits -= (bits * self.rows).sum() / max(total, 1)
        self.bits = bits.astype(np.float32)
        # Common values first: a rare one has a high place, an unseen one the highest.
        order = np.concatenate((self.rows[2:][::-1], self.rows[:2]))
        place = (np.cumsum(order) - order / 2) / max(total, 1)
        self.place = grained(np.concatenate((place[-2:], place[:-2][::-1])))

    def _rarity_bits(self, total: int) -> np.ndarray:
        """Return -log2 of the share of rows as rare or rarer: (k,) float64.

        P(v) = (sum of n_u over values u with n_u ≤ n_v, + s) / (N + s); for an unseen value n_v = 1.
        """
        upto = np.cumsum(self.rows[2:])
        singles = int((self.seen == 1).sum())
        null = int(self.rows[2:][self._class_rows <= self.nulls].sum()) + self.nulls if self.nulls else singles
        held = np.concatenate(([null, singles], upto))
        return -np.log2((held + SMOOTHING) / (total + SMOOTHING))

    @property
    def _class_rows(self) -> np.ndarray:
        """Return how often a value of each class was seen: (classes,)."""
        size = np.maximum(np.bincount(_classes(self.seen)), 1)
        return self.rows[2:] / size

    def read(self, column: pa.ChunkedArray) -> np.ndarray:
        """Return a column as what `encode` takes."""
        return self.buckets.numbers(column)

    def encode(self, values: np.ndarray, codes: np.ndarray) -> None:
        """Write the code of each bucket: (n,) int64, (n,) uint16."""
        np.take(self._lookup, values, out=codes)

    @property
    def tops(self) -> list[str]:
        """Return the commonest values, commonest first."""
        order = np.lexsort((self.found, -self.seen))
        return [self.names[i] for i in order if self.names[i]]

    def expected(self) -> str:
        """Say which values are normal."""
        total = int(self.rows.sum())
        named = [i for i in np.lexsort((self.found, -self.seen))[:3] if self.names[i]]
        if total == 0 or not named:
            return "no value" if self.nulls or not len(self.found) else f"{len(self.found):,} different values"
        texts = ", ".join(self.names[i] for i in named)
        share = self.seen[named].sum() / total
        more = f", of {len(self.found):,} seen" if len(self.found) > len(named) else ""
        return f"{texts} in {100 * share:.0f} % of rows{more}"

    def to_table(self) -> pa.Table:
        """Return one row a bucket, null last."""
        value = pa.array([*(name or None for name in self.names), None], pa.string())
        codes = np.append(self._lookup[self.found], 0)
        return pa.table(
            {
                "bucket": np.append(self.found, self.buckets.size),
                "value": value,
                "rows": np.append(self.seen, self.nulls),
                "bits": self.bits[codes],
                "place": self.place[codes],
            }
        )

    def meta(self) -> dict[str, Any]:
        """Return what `to_table` has no column for."""
        return {
            "modulus": self.buckets.modulus,
            "ipv4_prefix": self.buckets.ipv4_prefix,
            "ipv6_prefix": self.buckets.ipv6_prefix,
        }

    @classmethod
    def from_table(cls, table: pa.Table, meta: dict[str, Any], kind: str) -> "CategoryTable":
        """Take over what `to_table` and `meta` returned."""
        buckets = Buckets(kind, int(meta["modulus"]), int(meta["ipv4_prefix"]), int(meta["ipv6_prefix"]))
        found, rows = (table.column(name).to_numpy().astype(np.int64) for name in ("bucket", "rows"))
        names = [value or "" for value in table.column("value").to_pylist()[:-1]]
        return cls(buckets, found[:-1], rows[:-1], int(rows[-1]), names)


def _classes(seen: np.ndarray) -> np.ndarray:
    """Return the class of each count, ascending from 0: (m,) int64; so many that a code has room for them."""
    values, classes = np.unique(seen, return_inverse=True)
    if len(values) > _CLASSES:
        _, steps = np.unique(np.rint(np.log2(values) * _CLASSES / 64), return_inverse=True)
        classes = steps[classes]
    return np.asarray(classes, np.int64).reshape(-1)


def _tops(buckets: Buckets, counts: np.ndarray, sample: pa.ChunkedArray | None) -> dict[int, str]:
    """Return bucket -> text of the commonest buckets that occur in the sample; of texts that share one, the first."""
    if sample is None or len(sample) == 0:
        return {}
    numbers = buckets.numbers(sample)
    present = np.unique(numbers[numbers < buckets.size])
    common = present[np.lexsort((present, -counts[present]))[:TOPS]]
    first = np.flatnonzero(np.isin(numbers, common))
    _, unique = np.unique(numbers[first], return_index=True)
    few, texts = buckets.texts(sample.take(pa.array(first[unique])))
    return dict(zip(few.tolist(), texts, strict=True))
