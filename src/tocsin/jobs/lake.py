"""The lake: flows as Parquet under `<domain>/v2/year=YYYY/month=MM/day=DD/`, read by name."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tocsin.errors import StoreError
from tocsin.store import ObjectInfo, Store

BATCH_ROWS = 131_072
_DAY = re.compile(r"/v2/year=(\d{4})/month=(\d{1,2})/day=(\d{1,2})/[^/]+\.parquet$")


def day_prefix(domain: str, day: date) -> str:
    """Return the folder of a day's flows."""
    return f"{domain}/v2/year={day:%Y}/month={day:%m}/day={day:%d}/"


def lake_days(store: Store, domain: str) -> dict[date, list[ObjectInfo]]:
    """Return every day the lake has, oldest first, with its objects. Months and days may be unpadded."""
    days: dict[date, list[ObjectInfo]] = {}
    for info in store.list(f"{domain}/v2/"):
        match = _DAY.search(info.path)
        if match:
            days.setdefault(date(int(match[1]), int(match[2]), int(match[3])), []).append(info)
    return dict(sorted(days.items()))


def window(days: Iterable[date], length: int, now: datetime) -> list[date]:
    """Return the newest `length` days' worth of these days, oldest first: counted from the newest day, not the clock's.

    Days after tomorrow are left out where there are others: a sensor's wrong clock must not make the rest look old.
    """
    known = sorted(days)
    past = [day for day in known if day <= now.date() + timedelta(days=1)] or known
    return [day for day in past if day > past[-1] - timedelta(days=length)]


def digest(objects: Iterable[ObjectInfo]) -> str:
    """Return a short text that changes when an object comes, goes or changes its size."""
    listing = "\n".join(f"{info.path}\t{info.size_bytes}" for info in sorted(objects, key=lambda info: info.path))
    return hashlib.blake2b(listing.encode(), digest_size=12).hexdigest()


def day_range(day: date) -> tuple[datetime, datetime]:
    """Return a day's beginning and end, UTC."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return start, start + timedelta(days=1)


def read_object(
    store: Store, path: str, columns: Sequence[str] | None = None, *, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.Table]:
    """Yield one lake object's rows in batches; only these columns where given, absent ones left out.

    `proto` comes in lower case, `flowid` is made from the object's name and the row number where it is absent.
    Raises StoreError naming the object when it is no Parquet file.
    """
    try:
        with store.open(path) as handle, pq.ParquetFile(handle, pre_buffer=True) as parquet:
            present = parquet.schema_arrow.names
            wanted = [name for name in present if columns is None or name in columns]
            row = 0
            for batch in parquet.iter_batches(batch_size=batch_rows, columns=wanted):
                table = pa.Table.from_batches([batch])
                yield _canonical(table, path, row, with_id=columns is None or "flowid" in columns)
                row += table.num_rows
    except pa.ArrowInvalid as error:
        raise StoreError(
            f"{store.url(path)} is no readable Parquet file ({error}); remove it or ingest it again"
        ) from error


def read_objects(
    store: Store, objects: Iterable[ObjectInfo], columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Yield the rows of these objects, one after the other, in batches."""
    for info in objects:
        yield from read_object(store, info.path, columns)


def read_day(store: Store, domain: str, day: date, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield a day's rows in batches."""
    yield from read_objects(store, lake_days(store, domain).get(day, []), columns)


def write_parquet(table: pa.Table) -> bytes:
    """Return a table as zstd Parquet, with row groups that a reader can skip."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", compression_level=1, row_group_size=100_000)
    return bytes(buffer.getvalue())


def read_parquet(store: Store, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a whole (small) Parquet object. Raises NotFoundError, StoreError naming it when it is damaged."""
    try:
        with store.open(path) as handle:
            return pq.read_table(handle, columns=list(columns) if columns else None, partitioning=None)
    except pa.ArrowInvalid as error:
        raise StoreError(
            f"{store.url(path)} is no readable Parquet file ({error}); remove it, and have it made again: tocsin auto"
        ) from error


def _canonical(table: pa.Table, path: str, first_row: int, *, with_id: bool) -> pa.Table:
    if "proto" in table.column_names:
        index = table.column_names.index("proto")
        proto = table.column("proto")
        if pa.types.is_dictionary(proto.type):
            proto = pc.cast(proto, pa.string())
        table = table.set_column(index, "proto", pc.utf8_lower(proto))
    if with_id and "flowid" not in table.column_names:
        stem = hashlib.blake2b(path.encode(), digest_size=8).hexdigest()
        rows = pa.array(range(first_row, first_row + table.num_rows), pa.int64())
        table = table.append_column("flowid", pc.binary_join_element_wise(stem, pc.cast(rows, pa.string()), "-"))
    return table
