"""Parquet files of flows, by a rename map."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tocsin.errors import InputError
from tocsin.records.flow import FLOW, MANDATORY
from tocsin.records.rows import Rows
from tocsin.records.times import least_us
from tocsin.records.typed import typed
from tocsin.source import Batch, Rejected, Source

BATCH_ROWS = 131_072


class ParquetSource(Source):
    """Reads Parquet whose columns are ours, or are renamed to ours; others are kept.

    Delivery: each row once, in the order of the file, from any row on. Times without a zone are UTC.
    Specification: https://parquet.apache.org/docs/file-format.
    """

    name = "parquet"
    appendable = False

    def __init__(self, rename: Mapping[str, str] | None = None, *, batch_rows: int = BATCH_ROWS) -> None:
        self.rename = dict(rename or {})
        self.batch_rows = batch_rows

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        """The mark PAR1 at the beginning."""
        return head.startswith(b"PAR1")

    def earliest(self, path: Path, head: bytes) -> int | None:
        """Return the earliest first packet, by the file's statistics."""
        try:
            with pq.ParquetFile(path) as file:
                theirs = {ours: name for name, ours in self._names(file.schema_arrow.names).items()}.get("stime", "")
                return least_us(file, theirs)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error

    def read(
        self,
        path: Path,
        position: dict[str, Any] | None = None,
        *,
        until: dict[str, Any] | None = None,
        growing: bool = False,
    ) -> Iterator[Batch]:
        """Read from a row on. Raises InputError when the file is no Parquet or lacks a mandatory column."""
        try:
            with pq.ParquetFile(path) as file:
                self._check(path, file)
                start, stop = (position or {"row": 0})["row"], until["row"] if until else None
                for first, table in _tables(file, start, stop, self.batch_rows):
                    yield self._batch(table, first)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error

    def _names(self, columns: list[str]) -> dict[str, str]:
        """Return our name of each of their columns."""
        return {name: self.rename.get(name, name) for name in columns}

    def _check(self, path: Path, file: pq.ParquetFile) -> None:
        names = self._names(file.schema_arrow.names)
        absent = [name for name in MANDATORY if name not in names.values()]
        if absent:
            raise InputError(
                f"{path}: has no {', '.join(absent)}; it has {', '.join(names)}; say under ingest.rename which is which"
            )

    def _batch(self, table: pa.Table, first: int) -> Batch:
        rows = Rows(table.num_rows)
        theirs = {ours: name for name, ours in self._names(table.column_names).items()}
        for ours, name in theirs.items():
            column = table.column(name).combine_chunks()
            if ours not in FLOW:
                rows.columns[ours] = column
                continue
            rows.columns[ours], bad = typed(column, ours)
            for index in bad:
                rows.reject(index, f"{name} {column[index].as_py()!r} does not fit {ours} ({FLOW[ours].type})")
        rows.require(theirs)
        rows.check_addresses()
        rejected = [
            Rejected(first + index + 1, reason, str(table.slice(index, 1).to_pylist()[0])[:500])
            for index, reason in sorted(rows.reasons.items())
        ]
        position = {"row": first + table.num_rows}
        return Batch("flow", rows.table(), position, rejected=rejected, rejected_count=len(rejected))


def _tables(file: pq.ParquetFile, start: int, stop: int | None, batch_rows: int) -> Iterator[tuple[int, pa.Table]]:
    """Yield the rows from `start` to `stop` with the number of their first; row groups before are not read."""
    first = 0
    for group in range(file.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        if first + size <= start or (stop is not None and first >= stop):
            first += size
            continue
        for batch in file.iter_batches(batch_rows, row_groups=[group]):
            table, begin = pa.Table.from_batches([batch]), first
            first += table.num_rows
            low = max(start - begin, 0)
            high = min(table.num_rows, stop - begin) if stop is not None else table.num_rows
            if low < high:
                yield begin + low, table.slice(low, high - low)
