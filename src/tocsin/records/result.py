"""Results of summaries as rows: one a key, and a closing one an epoch.

Each table is of one summary and one epoch. Its columns, in order:

    record     "key" for what a key has, "epoch" for the closing row, the last
    summary, start, end, complete, missing (numbers of the workers whose part did not come)
    key parts (text), reducers' results, begin, end_seen (of the key's records, where the summary judges them), records
    keys, late, evicted, epochs   of the closing row only; `epochs` is how many epochs, all but one of them empty,
                                  it stands for
"""

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa

from tocsin.records.finding import rfc3339

HEAD = ("record", "summary", "start", "end", "complete", "missing")
CLOSING = ("keys", "late", "evicted", "epochs")
"""Columns that only the closing row fills."""

CHUNK = 10_000
"""Rows made into Python values at a time."""


def plain_results(results: pa.Table) -> Iterator[dict[str, Any]]:
    """Return rows as values that JSON knows, without the columns that are not theirs; times are RFC 3339 text."""
    for batch in results.to_batches(max_chunksize=CHUNK):
        yield from map(_plain_row, batch.to_pylist())


def _plain_row(row: dict[str, Any]) -> dict[str, Any]:
    closing = row["record"] == "epoch"
    names = (*HEAD, "records", *CLOSING) if closing else [name for name in row if name not in CLOSING]
    return {name: _plain(row[name]) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
