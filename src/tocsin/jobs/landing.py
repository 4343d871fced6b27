"""Batches land in the lake: one Parquet object a day and piece of a file, named by where the piece begins."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tocsin.jobs.lake import day_prefix
from tocsin.store import Store

LAKE_FORMAT = "1"
_DAY_US = 86_400_000_000
_UNIQUE = ("flowid", "community_id", "uid")
"""Text that hardly comes twice."""
_CODES = ("dport", "pcr", "svlan", "dvlan", "missed_bytes")
_SOUGHT = ("stime", "etime", "proto", "saddr", "daddr", "sport", "dport")
"""Columns whose least and greatest value let a reader skip rows."""


def days_of(table: pa.Table) -> list[str]:
    """Return the UTC days in a table of flows, in order, as YYYY-MM-DD."""
    return [_day_name(day) for day in np.unique(_day_numbers(table)).tolist()]


def land(store: Store, domain: str, table: pa.Table, *, piece: str, source: str) -> None:
    """Write flows into the lake, an object a UTC day of their first packet.

    piece: name of the piece of input that they are all from; the same piece overwrites the same objects.
    """
    if not table.num_rows:
        return
    table, days = _by_day(table)
    metadata = {"tocsin.source": source, "tocsin.domain": domain, "tocsin.format": LAKE_FORMAT}
    table = table.replace_schema_metadata(metadata)
    starts = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(days)], strict=True):
        folder = day_prefix(domain, date.fromisoformat(_day_name(int(days[start]))))
        store.put(f"{folder}part-{piece}.parquet", _parquet(table.slice(start, stop - start)))


def join_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables one behind the other; a column that one lacks is null there, types widen where they differ."""
    some = [table for table in tables if table.num_rows]
    if not some:
        return pa.table({})
    try:
        return pa.concat_tables(some, promote_options="permissive")
    except pa.ArrowTypeError:
        return pa.concat_tables([_as_text(table, _clashes(some)) for table in some], promote_options="permissive")


def _clashes(tables: Sequence[pa.Table]) -> set[str]:
    """Return the columns that are text in one table and something else in another."""
    kinds: dict[str, set[bool]] = {}
    for table in tables:
        for name, type_ in zip(table.schema.names, table.schema.types, strict=True):
            if not pa.types.is_null(type_):
                kinds.setdefault(name, set()).add(pa.types.is_string(type_))
    return {name for name, found in kinds.items() if len(found) > 1}


def _as_text(table: pa.Table, names: set[str]) -> pa.Table:
    for index, name in enumerate(table.column_names):
        if name in names:
            table = table.set_column(index, name, pc.cast(table.column(name), pa.string()))
    return table


def _day_numbers(table: pa.Table) -> np.ndarray:
    numbers: np.ndarray = pc.cast(table.column("stime"), pa.int64()).to_numpy() // _DAY_US
    return numbers


def _day_name(number: int) -> str:
    return datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()


def _by_day(table: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """Return the rows day by day, otherwise as they came, and their days; sorting by time too would double the cost."""
    days = _day_numbers(table)
    if np.all(days[1:] >= days[:-1]):
        return table, days
    order = np.argsort(days, kind="stable")
    return table.take(pa.array(order)), days[order]


def _parquet(table: pa.Table) -> memoryview:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=1,
        use_dictionary=[name for name in table.column_names if _repeats(table.schema.field(name))],
        write_statistics=[name for name in table.column_names if name in _SOUGHT],
        column_encoding={name: "DELTA_BINARY_PACKED" for name in ("stime", "etime") if name in table.column_names},
        row_group_size=1 << 18,
    )
    return memoryview(sink.getvalue())


def _repeats(column: pa.Field) -> bool:
    """Say whether a dictionary of a column's values is worth its time: text and small codes, not ids and amounts."""
    return column.name in _CODES or (pa.types.is_string(column.type) and column.name not in _UNIQUE)


def parquet_column(data: BinaryIO, name: str) -> pa.ChunkedArray:
    """Return one column of a Parquet object."""
    with data:
        return pq.ParquetFile(data).read(columns=[name]).column(name)
