"""What an epoch came to, as rows for sinks: one a key, in the order of the keys, and a closing one."""

from collections.abc import Sequence

import pyarrow as pa

from tocsin.detectors.summary.messages import EpochResult
from tocsin.detectors.summary.table import BEGIN, END, RECORDS
from tocsin.records.result import CLOSING, HEAD

_TIME = pa.timestamp("us", "UTC")
_TIMES = {BEGIN: "begin", END: "end_seen", RECORDS: "records"}


def epoch_rows(shares: Sequence[EpochResult], key_parts: Sequence[str]) -> pa.Table:
    """Join every merger's share of one epoch as rows (columns: records/result.py).

    What the shares say of the whole epoch (records, late, evicted) they say alike. The order of rows does not depend
    on how many mergers there were.
    """
    keys = pa.concat_tables([share.table for share in shares])
    if key_parts and keys.num_rows > 1:
        keys = keys.sort_by([(part, "ascending") for part in key_parts])
    columns = _head(shares, "key", keys.num_rows)
    for name in keys.column_names:
        columns[_free(name)] = keys.column(name)
    if "records" not in columns:
        columns["records"] = pa.nulls(keys.num_rows, pa.int64())
    columns |= {name: pa.nulls(keys.num_rows, pa.int64()) for name in CLOSING}
    rows = pa.table(columns)
    return pa.concat_tables([rows, _closing(shares, keys.num_rows, rows.schema)])


def _head(shares: Sequence[EpochResult], record: str, rows: int) -> dict[str, pa.Array]:
    missing = sorted({worker for share in shares for worker in share.missing})
    complete = all(share.complete for share in shares)
    values = (record, shares[0].summary, shares[0].start, shares[0].end, complete, missing)
    types = (pa.string(), pa.string(), _TIME, _TIME, pa.bool_(), pa.list_(pa.int64()))
    return {
        name: pa.array([value] * rows, kind) if name == "missing" else pa.repeat(pa.scalar(value, kind), rows)
        for name, value, kind in zip(HEAD, values, types, strict=True)
    }


def _closing(shares: Sequence[EpochResult], keys: int, schema: pa.Schema) -> pa.Table:
    numbers = {
        "records": max(share.records for share in shares),
        "keys": keys,
        "late": max(share.late for share in shares),
        "evicted": max(share.evicted for share in shares),
        "epochs": max(share.epochs for share in shares),
    }
    filled = _head(shares, "epoch", 1) | {name: pa.array([value], pa.int64()) for name, value in numbers.items()}
    return pa.table({field.name: filled.get(field.name, pa.nulls(1, field.type)) for field in schema}, schema)


def _free(name: str) -> str:
    """Return a column's name among the others; a key part or reducer of a taken name gets a line behind it."""
    return _TIMES.get(name) or (f"{name}_" if name in (*HEAD, *CLOSING, *_TIMES.values()) else name)
