"""SQL over batches: DuckDB with external access off and its configuration locked."""

import os
import threading
from pathlib import Path

import duckdb
import pyarrow as pa

from tocsin.errors import SettingsError

_own = threading.local()


def connect(*, memory_mb: int = 1024, threads: int = 2, temp_dir: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB that reaches nothing but the Arrow tables it is given.

    memory_mb bounds its memory; what does not fit spills to `temp_dir` where one is given.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory_mb}MB",
        "threads": threads,
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    if temp_dir is not None:
        config["temp_directory"] = str(temp_dir)
    connection = duckdb.connect(":memory:", config=config)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET lock_configuration = true")
    return connection


def own_connection() -> duckdb.DuckDBPyConnection:
    """Return this thread's own connection, opened at its first use; a forked process opens its own."""
    if getattr(_own, "pid", None) != os.getpid():
        _own.connection, _own.pid = connect(threads=1), os.getpid()
    connection: duckdb.DuckDBPyConnection = _own.connection
    return connection


def rows_where(table: pa.Table, condition: str) -> pa.Table:
    """Return the rows for which an SQL condition over the columns holds, in order. Raises SettingsError."""
    connection = connect(threads=1)  # one thread keeps the order
    try:
        connection.register("rows", table)
        kept: pa.Table = connection.sql(f"SELECT * FROM rows WHERE ({condition})").to_arrow_table()  # noqa: S608
    except duckdb.Error as error:
        raise SettingsError(f"SQL condition {condition!r}: {str(error).splitlines()[0]}") from error
    finally:
        connection.close()
    return kept
