"""Why an entity's flows are unusual: which fields made their scores, with which values."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.records.finding import Reason
from tocsin.verdict.tally import COMPACT_ROWS, Heads, Tally, spread_hash

REASONS = 4
"""Most reasons of a candidate."""

LEAST_SHARE = 0.05
"""A field with less of the score is no reason worth telling."""

VALUES = 64
"""Values kept of a field and entity: those whose hash is smallest, with exact counts (Beyer et al. 2007, KMV)."""

TOLD = 3
"""Values told in a reason."""

NAMES = frozenset({"sport", "dport", "svlan", "dvlan", "sasn", "dasn", "version"})
"""Columns of numbers that are names: no range or median is told of them."""

_REASON = re.compile(r"^reason_(\d+)$")
_SHARE_UNIT = 1 << 24


class FlowReasons:
    """Adds up the reasons of unusual flows by entity; shares in whole units, so that order does not matter."""

    def __init__(self, expected: Callable[[str], str] | Mapping[str, Callable[[str], str]]) -> None:
        self._expected = expected
        self._fields = Tally(
            ("entity", "proto", "field"), {"share": "sum", "rows": "sum", "least": "min", "most": "max"}
        )
        # A value is counted only while it is among the kept ones; once it is not, it never is again.
        self._values = _Values()
        self._by_entity: dict[str, list[dict[str, Any]]] | None = None

    def add(self, high: pa.Table) -> None:
        """Take unusual flows in: entity, proto, reason_1, reason_1_share, …, and the columns that reasons name."""
        self._by_entity = None
        for name in sorted(filter(_REASON.match, high.column_names)):
            share_name = f"{name}_share"
            share = high.column(share_name) if share_name in high.column_names else pa.array(np.ones(high.num_rows))
            for field in sorted(filter(None, pc.unique(high.column(name)).to_pylist())):
                chosen = pc.fill_null(pc.equal(high.column(name), field), fill_value=False)
                self._add_field(high.filter(chosen), pa.chunked_array(_chunks(share)).filter(chosen), field)

    def of(self, entity: str) -> list[Reason]:
        """Return an entity's reasons, most important first."""
        if self._by_entity is None:
            self._by_entity = {}
            for row in self._fields.result().to_pylist():
                self._by_entity.setdefault(row["entity"], []).append(row)
        by_field: dict[str, list[dict[str, Any]]] = {}
        for row in self._by_entity.get(entity, []):
            by_field.setdefault(row["field"], []).append(row)
        total = sum(row["share"] for rows in by_field.values() for row in rows) or 1
        weights = {field: sum(row["share"] for row in rows) / total for field, rows in by_field.items()}
        ranked = sorted(weights, key=lambda field: (-weights[field], field))[:REASONS]
        told = [field for field in ranked if weights[field] >= LEAST_SHARE] or ranked[:1]
        return [self._reason(entity, field, by_field[field], weights[field]) for field in told]

    def _add_field(self, rows: pa.Table, share: pa.ChunkedArray, field: str) -> None:
        nothing = pa.nulls(rows.num_rows, pa.string())
        column = rows.column(field) if field in rows.column_names else pa.chunked_array([nothing])
        is_number = _is_number(column.type) and field not in NAMES
        number = column.cast(pa.float64()) if is_number else pa.nulls(rows.num_rows, pa.float64())
        units = np.rint(np.nan_to_num(share.to_numpy().astype(np.float64)) * _SHARE_UNIT).astype(np.int64)
        ones = pa.array(np.ones(rows.num_rows, np.int64))
        who = {"entity": rows.column("entity"), "proto": rows.column("proto").cast(pa.string())}
        names = pa.array(np.zeros(rows.num_rows, np.int8)).cast(pa.int8())
        field_name = pa.DictionaryArray.from_arrays(names, pa.array([field])).cast(pa.string())
        self._fields.add(
            pa.table(who | {"field": field_name, "share": units, "rows": ones, "least": number, "most": number})
        )
        values = pa.table({"entity": who["entity"], "field": field_name, "value": _texts(column), "rows": ones})
        self._values.add(values.filter(pc.is_valid(values.column("value"))))

    def _reason(self, entity: str, field: str, rows: list[dict[str, Any]], share: float) -> Reason:
        main = min(rows, key=lambda row: (-row["share"], row["proto"] or ""))
        expected = self._expected if callable(self._expected) else self._expected.get(main["proto"] or "")
        least = min((row["least"] for row in rows if row["least"] is not None), default=None)
        most = max((row["most"] for row in rows if row["most"] is not None), default=None)
        seen = describe(self._values.of(entity, field), least, most)
        return Reason(field, seen, expected(field) if expected else "", round(share, 4))


class _Values:
    """The values of each entity and field with their counts, at most VALUES of them, chosen by hash."""

    def __init__(self) -> None:
        self._waiting: list[pa.Table] = []
        self._rows = 0
        self._by_key: dict[tuple[str, str], list[dict[str, Any]]] | None = None

    def add(self, rows: pa.Table) -> None:
        if rows.num_rows == 0:
            return
        self._by_key = None
        self._waiting.append(self._kept([rows]))
        self._rows += self._waiting[-1].num_rows
        if self._rows > COMPACT_ROWS:
            self._waiting, self._rows = [self._kept(self._waiting)], 0

    def of(self, entity: str, field: str) -> list[dict[str, Any]]:
        """Return value, rows and hash of the kept values, most frequent first."""
        if self._by_key is None:
            self._by_key = {}
            for row in self._kept(self._waiting).to_pylist() if self._waiting else []:
                self._by_key.setdefault((row["entity"], row["field"]), []).append(row)
        found = self._by_key.get((entity, field), [])
        return sorted(found, key=lambda row: (-row["rows"], row["value"]))

    @staticmethod
    def _kept(tables: list[pa.Table]) -> pa.Table:
        tally = Tally(("entity", "field", "value"), {"rows": "sum"})
        for table in tables:
            tally.add(table.select(["entity", "field", "value", "rows"]))
        rows = tally.result()
        rows = rows.append_column("hash", spread_hash(rows.column("value")))
        kept = Heads(("entity", "field"), [("hash", "ascending"), ("value", "ascending")], VALUES)
        kept.add(rows)
        result = kept.result()
        assert result is not None
        return result


def describe(values: list[dict[str, Any]], least: float | None = None, most: float | None = None) -> str:
    """Say which values were seen: up to three of them, or of many numbers the range and the median.

    Args:
        values: value, rows and hash of each kept value, most frequent first.
        least, most: the range, where the values are numbers.
    """
    if len(values) <= TOLD:
        return ", ".join(row["value"] for row in values)
    if least is not None and most is not None:
        return f"{_number(least)} to {_number(most)}, median {_number(_median(values))}"
    told = ", ".join(row["value"] for row in values[:TOLD])
    if len(values) < VALUES:
        return f"{told} and {len(values) - TOLD} more"
    # D = (k - 1)/U(k): k - 1 over the largest kept hash as a share of all hashes (Beyer et al. 2007, section 4).
    distinct = (VALUES - 1) * 2**32 / max(row["hash"] for row in values)
    return f"{told} and about {float(f'{max(distinct, VALUES):.2g}'):,.0f} in all"


def _median(values: list[dict[str, Any]]) -> float:
    numbers = np.array([float(row["value"]) for row in values])
    order = np.argsort(numbers)
    weight = np.cumsum([values[at]["rows"] for at in order])
    return float(numbers[order][np.searchsorted(weight, weight[-1] / 2)])


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.4g}"


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if column.type == pa.string() else column.cast(pa.string())


def _chunks(column: Any) -> list[pa.Array]:
    return list(column.chunks) if isinstance(column, pa.ChunkedArray) else [column]
