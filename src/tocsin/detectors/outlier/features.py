"""Fields and what is learned of each: values of any kind become codes, bits and places.

A *code* says which bin or class a value lies in. Its *bits* say how unusual that is, above what is usual for the field;
its *place*, 0 to 1, is the share of rows that lie below it (a number) or are commoner (a category).
"""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.detector import State
from tocsin.detectors.outlier.category import Buckets, CategoryCounts, CategoryTable
from tocsin.detectors.outlier.columns import numbers
from tocsin.detectors.outlier.fields import FieldSpec, flow_fields, infer_fields
from tocsin.detectors.outlier.numeric import NumericCounts, NumericTable, find_offset
from tocsin.detectors.outlier.rowsample import SAMPLE_ROWS, RowSample
from tocsin.errors import ModelError

__all__ = ["FieldSpec", "Normaliser", "flow_fields", "infer_fields"]

HISTOGRAM_TYPES = ("quantile", "equal_width")

_META = b"tocsin"

Table = NumericTable | CategoryTable


class Normaliser:
    """Learns, in one pass over batches, how the values of each field are distributed.

    A numeric field keeps the counts of its cells (512 KiB while learning), any other one a count for each of at most
    `ip_hash_modulus` hashed values; beside them a sample of the rows, for the texts of common values. A null is a value
    of its own, and so is a column that a batch does not have. What is learned does not depend on where batches end.
    """

    format = 1

    def __init__(
        self,
        fields: list[FieldSpec] | None = None,
        *,
        num_bins: int = 10,
        histogram_type: str = "quantile",
        ipv4_prefix: int = 24,
        ipv6_prefix: int = 48,
        ip_hash_modulus: int = 65536,
        seed: int = 0,
    ) -> None:
        if histogram_type not in HISTOGRAM_TYPES:
            raise ModelError(f"histogram_type {histogram_type!r} is none of {', '.join(HISTOGRAM_TYPES)}")
        self.fields = list(fields or [])
        self.tables: dict[str, Table] = {}
        self.left_out: dict[str, str] = {}
        self.sample: pa.Table | None = None
        self._num_bins = num_bins
        self._histogram_type = histogram_type
        self._prefixes = (ipv4_prefix, ipv6_prefix)
        self._modulus = ip_hash_modulus
        self._seed = seed

    def fit(self, batches: Iterable[pa.Table]) -> "Normaliser":
        """Learn from batches, reading each once; without `fields` they are inferred from the first rows.

        Raises ModelError when there are no rows, or when no field is in them.
        """
        learning = _Learning(self, self._seed)
        for batch in batches:
            if batch.num_rows:
                learning.add(batch)
        learning.finish()
        return self

    @property
    def names(self) -> list[str]:
        """Return the names of the fields, in the order of `encode`."""
        return [spec.name for spec in self.fields]

    def select(self, fields: list[FieldSpec]) -> "Normaliser":
        """Return one with these fields only. Raises ModelError for a field that was not learned."""
        missing = [spec.name for spec in fields if spec.name not in self.tables]
        if missing:
            raise ModelError(f"no normalisation table for {', '.join(missing)}; run extract again")
        chosen = Normaliser([spec for spec in self.fields if spec.name in {one.name for one in fields}])
        chosen.tables = {name: self.tables[name] for name in chosen.names}
        chosen.sample = self.sample
        return chosen

    def read(self, batch: pa.Table) -> list[np.ndarray | None]:
        """Return each field's column as what its table encodes, None where the batch has none.

        Raises ModelError when the batch has none of the fields.
        """
        present = set(batch.column_names)
        if not present.intersection(self.names):
            raise ModelError(f"the table has none of the model's fields ({', '.join(self.names[:8])} …)")
        return [self.tables[name].read(batch.column(name)) if name in present else None for name in self.names]

    def encode(self, columns: list[np.ndarray | None], start: int, end: int) -> np.ndarray:
        """Return the codes of rows start to end: (d, end - start) uint16."""
        codes = np.zeros((len(columns), end - start), np.uint16)
        with np.errstate(over="ignore", invalid="ignore"):
            for row, name, values in zip(codes, self.tables, columns, strict=True):
                if values is not None:
                    self.tables[name].encode(values[start:end], row)
        return codes

    def lookup(self, attribute: str) -> np.ndarray:
        """Return `bits` or `place` of every field by code: (d, k) float32, filled up with zeros."""
        columns = [getattr(self.tables[name], attribute) for name in self.names]
        out = np.zeros((len(columns), max(map(len, columns), default=1)), np.float32)
        for row, column in zip(out, columns, strict=True):
            row[: len(column)] = column
        return out

    def places(self, batch: pa.Table) -> np.ndarray:
        """Return the places of a batch's values: (n, d) float32."""
        codes = self.encode(self.read(batch), 0, batch.num_rows)
        place = self.lookup("place")
        return np.ascontiguousarray(np.stack([place[j][codes[j]] for j in range(len(codes))], axis=1))

    def expected(self, name: str) -> str:
        """Say in words what is normal for a field; '' for a name that is no field."""
        table = self.tables.get(name)
        return table.expected() if table else ""

    def to_tables(self) -> dict[str, pa.Table]:
        """Return what was learned, a table a field; kind and settings are in the schema's metadata."""
        out = {}
        for position, spec in enumerate(self.fields):
            table = self.tables[spec.name]
            meta = {"format": self.format, "kind": spec.kind, "position": position, **table.meta()}
            out[spec.name] = table.to_table().replace_schema_metadata(
                {_META: json.dumps(meta, sort_keys=True).encode()}
            )
        return out

    @classmethod
    def from_tables(cls, tables: dict[str, pa.Table]) -> "Normaliser":
        """Take over what `to_tables` returned. Raises ModelError for tables of another format."""
        metas = {name: _meta(name, table) for name, table in tables.items()}
        order = sorted(tables, key=lambda name: (metas[name]["position"], name))
        made = cls([FieldSpec(name, metas[name]["kind"]) for name in order])
        for name in order:
            made.tables[name] = _from_table(tables[name], metas[name])
        return made

    def state(self) -> State:
        """Return arrays, numbers and lists that `restore` takes."""
        state: State = {"format": self.format, "fields": self.names, "kinds": [spec.kind for spec in self.fields]}
        for i, spec in enumerate(self.fields):
            table = self.tables[spec.name]
            state[f"{i}.meta"] = table.meta()
            for name, column in zip(table.to_table().column_names, table.to_table().columns, strict=True):
                text = pa.types.is_string(column.type)
                state[f"{i}.{name}"] = column.to_pylist() if text else column.to_numpy(zero_copy_only=False)
        return state

    @classmethod
    def restore(cls, state: State) -> "Normaliser":
        """Take over a state. Raises ModelError when it is of another format or incomplete."""
        if state.get("format") != cls.format:
            raise ModelError(f"fields of format {state.get('format')!r}, not {cls.format}; train again")
        try:
            made = cls([FieldSpec(*pair) for pair in zip(state["fields"], state["kinds"], strict=True)])
            for i, spec in enumerate(made.fields):
                own = {key.partition(".")[2]: value for key, value in state.items() if key.startswith(f"{i}.")}
                meta = {**own.pop("meta"), "kind": spec.kind}
                made.tables[spec.name] = _from_table(pa.table(own), meta)
        except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise ModelError(f"the model's fields are incomplete ({error}); train again") from error
        return made

    def _counts(self, spec: FieldSpec, head: pa.Table) -> NumericCounts | CategoryCounts:
        if spec.kind != "numeric":
            return CategoryCounts(Buckets(spec.kind, self._modulus, *self._prefixes))
        present = spec.name in head.column_names
        return NumericCounts(find_offset(numbers(head.column(spec.name)).astype(np.float64)) if present else 0.0)

    def _learn(self, spec: FieldSpec, counts: NumericCounts | CategoryCounts) -> Table:
        if isinstance(counts, NumericCounts):
            return counts.learn(self._num_bins, self._histogram_type)
        sample = self.sample
        return counts.learn(
            sample.column(spec.name) if sample is not None and spec.name in sample.column_names else None
        )


class _Learning:
    """One pass: the first rows are held back until there are enough to choose fields and offsets from."""

    def __init__(self, normaliser: Normaliser, seed: int) -> None:
        self._normaliser = normaliser
        self._sample = RowSample(seed=seed)
        self._head: list[pa.Table] = []
        self._held = 0
        self._counts: dict[str, NumericCounts | CategoryCounts] | None = None

    def add(self, batch: pa.Table) -> None:
        if self._counts is not None:
            self._count(batch)
            return
        room = SAMPLE_ROWS - self._held
        self._head.append(batch.slice(0, room))
        self._held += min(room, batch.num_rows)
        if batch.num_rows >= room:
            self._open()
            self._count(batch.slice(room))

    def finish(self) -> None:
        own = self._normaliser
        if self._counts is None:
            self._open()
        assert self._counts is not None
        own.sample = self._sample.table()
        absent = [spec for spec in own.fields if spec.name not in own.sample.column_names]
        for spec in absent:
            own.left_out[spec.name] = "not in the table"
        own.fields = [spec for spec in own.fields if spec not in absent]
        if not own.fields:
            raise ModelError("none of the fields is in the table; name some that are")
        own.tables = {spec.name: own._learn(spec, self._counts[spec.name]) for spec in own.fields}

    def _open(self) -> None:
        own = self._normaliser
        if not self._held:
            raise ModelError("there are no rows to learn from")
        head = pa.concat_tables(self._head, promote_options="permissive")
        self._head = []
        if not own.fields:
            own.fields, own.left_out = infer_fields(head)
        if not own.fields:
            raise ModelError("the table has no column that can be compared")
        self._counts = {spec.name: own._counts(spec, head) for spec in own.fields}
        self._count(head)

    def _count(self, batch: pa.Table) -> None:
        assert self._counts is not None
        names = [name for name in self._counts if name in batch.column_names]
        if batch.num_rows == 0:
            return
        for name, counts in self._counts.items():
            counts.add(
                batch.column(name) if name in names else pa.chunked_array([pa.nulls(batch.num_rows, pa.float64())])
            )
        self._sample.add(batch.select(names))


def _meta(name: str, table: pa.Table) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads((table.schema.metadata or {})[_META])
    except (KeyError, ValueError) as error:
        raise ModelError(f"table {name!r} is no normalisation table; run extract again") from error
    if meta.get("format") != Normaliser.format:
        raise ModelError(
            f"table {name!r} has format {meta.get('format')!r}, not {Normaliser.format}; run extract again"
        )
    return meta


def _from_table(table: pa.Table, meta: dict[str, Any]) -> Table:
    if meta["kind"] == "numeric":
        return NumericTable.from_table(table, meta)
    return CategoryTable.from_table(table, meta, meta["kind"])
