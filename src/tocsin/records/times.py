"""When a record happened, whatever its kind; times as microseconds."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tocsin.records.typed import typed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(time: datetime) -> int:
    """Return a time (with its zone) as microseconds since 1970 UTC."""
    return (time - _EPOCH) // _MICROSECOND


def from_us(time_us: int) -> datetime:
    """Return microseconds since 1970 UTC as a time."""
    return _EPOCH + time_us * _MICROSECOND


def record_times(kind: str, table: pa.Table) -> pa.ChunkedArray:
    """Return each record's time: a flow's end where it is known, else its beginning; of others the log's own time."""
    if kind == "flow":
        begin = table.column("stime")
        return pc.coalesce(table.column("etime"), begin) if "etime" in table.column_names else begin
    return table.column("timestamp" if kind.startswith("eve.") else "ts")


def clock_times(kind: str, table: pa.Table) -> pa.ChunkedArray:
    """Return the times that tell how far a log is: of a flow its beginning, of others the record's own time.

    Flows are written in the order of their ends by some, of their beginnings by others. The newest beginning is behind
    the ends of those to come in both cases; by the newest end, one long flow would make the rest of its day late.
    """
    return table.column("stime") if kind == "flow" else record_times(kind, table)


def earliest(kind: str, table: pa.Table) -> int:
    """Return where a table's clock begins, microseconds since 1970; it is not empty. No record of it is older."""
    return int(pc.min(clock_times(kind, table)).cast(pa.int64()).as_py())


def newest(kind: str, table: pa.Table) -> int:
    """Return how far a table's clock goes, microseconds since 1970; it is not empty."""
    return int(pc.max(clock_times(kind, table)).cast(pa.int64()).as_py())


def least_us(file: pq.ParquetFile, name: str) -> int | None:
    """Return the least time in a column by a Parquet file's statistics, microseconds since 1970; None: they lack it."""
    if name not in file.schema_arrow.names or not file.metadata.num_row_groups:
        return None
    index = [file.metadata.schema.column(number).path for number in range(file.metadata.num_columns)].index(name)
    parts = [file.metadata.row_group(group).column(index).statistics for group in range(file.metadata.num_row_groups)]
    if not all(part is not None and part.has_min_max for part in parts):
        return None
    times, bad = typed(pa.array([part.min for part in parts]), "stime")
    return None if bad else int(pc.min(times).cast(pa.int64()).as_py())
