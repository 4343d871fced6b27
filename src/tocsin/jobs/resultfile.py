"""The file of `--results`: every key's result of every epoch, as JSON lines or, by its suffix, as Parquet."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.messages import EpochResult
from tocsin.detectors.summary.results import epoch_rows
from tocsin.detectors.summary.table import KeyTable
from tocsin.errors import SinkError
from tocsin.records.result import plain_results

GROUP_ROWS = 100_000
"""Rows of a Parquet file's row group, or more where an epoch has more."""


class ResultFile(ABC):
    """Takes results. What it holds up to a position can be gone back to, where it is `resumable`."""

    resumable: bool

    @abstractmethod
    def write(self, results: pa.Table) -> None:
        """Append an epoch's results. Raises SinkError."""

    @abstractmethod
    def position(self) -> int:
        """Make what was written safe and return its size in bytes. Raises SinkError."""

    @abstractmethod
    def close(self) -> None:
        """End the file. Raises SinkError."""

    @abstractmethod
    def abandon(self) -> None:
        """Let go of a file that was not closed."""


class JsonLines(ResultFile):
    """JSON lines; opened anew, or cut back to a position and continued there."""

    resumable = True

    def __init__(self, path: Path, position: int = 0) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("r+b" if position and path.exists() else "wb")
            self._file.truncate(min(position, self._file.seek(0, os.SEEK_END)))
            self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise _failed(path, error) from error

    def write(self, results: pa.Table) -> None:
        """Append a line a row, for readers to see at once."""
        try:
            for row in plain_results(results):
                self._file.write(json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n")
            self._file.flush()
        except OSError as error:
            raise _failed(self._path, error) from error

    def position(self) -> int:
        """Wait until the disk has what was written."""
        try:
            os.fsync(self._file.fileno())
            return self._file.tell()
        except OSError as error:
            raise _failed(self._path, error) from error

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError as error:
            raise _failed(self._path, error) from error

    def abandon(self) -> None:
        """Close the file; what is in it stays."""
        with suppress(OSError):  # of a full disk, which was told when it was written to
            self._file.close()


class Parquet(ResultFile):
    """One Parquet file with the columns of all summaries, there when it is closed.

    Columns that two summaries have with different types are JSON text.
    """

    resumable = False

    def __init__(self, path: Path, summaries: Iterable[Summary]) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._schema = _joint([_schema(summary) for summary in summaries])
        self._waiting: list[pa.Table] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._temporary, self._schema, compression="zstd")
        except OSError as error:
            raise _failed(path, error) from error

    def write(self, results: pa.Table) -> None:
        """Keep the rows until they fill a row group."""
        self._waiting.append(_fitted(results, self._schema))
        if sum(each.num_rows for each in self._waiting) >= GROUP_ROWS:
            self._flush()

    def position(self) -> int:
        """Return 0: it cannot be gone back to."""
        return 0

    def close(self) -> None:
        """Write the rest and give the file its name."""
        self._flush()
        try:
            self._writer.close()
            self._temporary.replace(self._path)
        except OSError as error:
            raise _failed(self._path, error) from error

    def abandon(self) -> None:
        """Remove what has no name yet."""
        if self._writer.is_open:
            with suppress(OSError):
                self._writer.close()
            self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            if waiting:
                self._writer.write_table(pa.concat_tables(waiting).combine_chunks())
        except OSError as error:
            raise _failed(self._path, error) from error


def open_results(path: Path, summaries: Sequence[Summary], position: int = 0) -> ResultFile:
    """Open a results file by its suffix, JSON lines at a position. Raises SinkError."""
    return Parquet(path, summaries) if path.suffix == ".parquet" else JsonLines(path, position)


def _schema(summary: Summary) -> pa.Schema:
    """Return the columns of a summary's results."""
    table = KeyTable(summary)
    empty = table.results(table.all_slots())
    never = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch_rows([EpochResult(summary.name, never, never, 0, empty)], summary.key_parts).schema


def _joint(schemas: list[pa.Schema]) -> pa.Schema:
    types: dict[str, pa.DataType] = {}
    for field in (field for schema in schemas for field in schema):
        if types.setdefault(field.name, field.type) != field.type:
            types[field.name] = pa.string()
    return pa.schema(list(types.items()))


def _fitted(results: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = {}
    for field in schema:
        if field.name not in results.column_names:
            columns[field.name] = pa.nulls(results.num_rows, field.type)
            continue
        column = results.column(field.name)
        columns[field.name] = column if column.type == field.type else _as_json(column)
    return pa.table(columns, schema)


def _as_json(column: pa.ChunkedArray) -> pa.Array:
    values = (value if value is None else json.dumps(value, default=str) for value in column.to_pylist())
    return pa.array(values, pa.string())


def _failed(path: Path, error: OSError) -> SinkError:
    return SinkError(f"cannot write results to {path}: {error.strerror or error}")
