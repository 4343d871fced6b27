"""Rows as plain values, and tables as bytes."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.records.finding import rfc3339


def plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a row has, as JSON can hold it: times as RFC 3339, durations in seconds, what is empty left out."""
    return {name: plain(value) for name, value in row.items() if value is not None}


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def to_ipc(table: pa.Table) -> np.ndarray:
    """Return a table as bytes of Arrow's IPC stream format, (n,) uint8."""
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def from_ipc(data: np.ndarray) -> pa.Table:
    """Return the table that `to_ipc` wrote."""
    with pa.ipc.open_stream(pa.py_buffer(np.ascontiguousarray(data))) as reader:
        return reader.read_all()
