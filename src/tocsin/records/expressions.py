"""SQL expressions over the rows of a table, with the rows set aside on which one fails."""

from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa

from tocsin.errors import InputError
from tocsin.records.sql import connect, own_connection

_ROW = "tocsin_row"
EXPLAINED = 100
"""Failed rows that are run once more, one by one, for the reason of each."""

MISUSES = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
"""What DuckDB raises when an expression, not a row, is wrong."""

OVER = (duckdb.InterruptException,)
"""What DuckDB raises when it is told to stop (bounded.py): then there is nothing to find out about rows."""


@dataclass(frozen=True)
class Evaluated:
    """What expressions gave.

    rows: (m,) int64, positions in the table, ascending. columns: m values a name.
    failed: position -> reason, of the rows on which an expression failed.
    """

    rows: np.ndarray
    columns: dict[str, pa.Array]
    failed: dict[int, str] = field(default_factory=dict)


def evaluate(table: pa.Table, expressions: dict[str, str], *, where: str) -> tuple[dict[str, pa.Array], dict[int, str]]:
    """Evaluate one expression a name over each row.

    where: what the expressions belong to, for messages (`ingest.csv.netflow`).
    Returns the values by name, null on the rows that failed, and those rows with the reason.
    Raises InputError when an expression cannot be understood or names a column that is not there.
    """
    connection = own_connection()
    for name, expression in expressions.items():
        _check(connection, table, name, expression, where)
    found = run(connection, table, expressions)
    return {name: _full(column, found.rows, table.num_rows) for name, column in found.columns.items()}, found.failed


def run(
    connection: duckdb.DuckDBPyConnection, table: pa.Table, expressions: dict[str, str], where: str = ""
) -> Evaluated:
    """Evaluate expressions over the rows for which a condition holds; rows on which one fails are set aside.

    Raises duckdb.Error, one of MISUSES, when an expression cannot be used on such a table at all.
    """
    numbered = table.append_column(_ROW, pa.array(np.arange(table.num_rows)))
    condition = f"CAST(({where}) AS BOOLEAN)" if where else "true"
    columns = "".join(f', ({sql}) AS "{name}"' for name, sql in expressions.items())
    sql = f"SELECT {_ROW}{columns} FROM rows WHERE {condition}"  # noqa: S608 - the expressions are the user's own
    try:
        return _ordered(_query(connection, numbered, sql), {})
    except (*MISUSES, *OVER):
        raise
    except duckdb.Error as error:
        reason = _first_line(error)
    try:
        bad = _failing(connection, numbered, [*expressions.values()], condition)
        failed = _reasons(connection, numbered, sql, bad, reason)
        good = numbered.filter(pa.array(~np.isin(np.arange(table.num_rows), bad)))
        return _ordered(_query(connection, good, sql), failed)
    except OVER:
        raise
    except duckdb.Error as error:  # it fails whatever the row
        everything = dict.fromkeys(range(table.num_rows), _first_line(error))
        return Evaluated(np.empty(0, np.int64), {name: pa.nulls(0) for name in expressions}, everything)


def syntax_error(expression: str) -> str | None:
    """Say what is wrong with an expression as SQL, without any table to run it on; None when nothing is."""
    try:
        with connect(threads=1) as connection:
            parsed = connection.extract_statements(f"SELECT ({expression}) FROM rows")  # noqa: S608 - only parsed
    except duckdb.Error as error:
        return _first_line(error)
    return None if len(parsed) == 1 else "it is more than one expression"


def _check(connection: duckdb.DuckDBPyConnection, table: pa.Table, name: str, expression: str, where: str) -> None:
    try:
        _query(connection, table.slice(0, 0), f"SELECT ({expression}) FROM rows")  # noqa: S608 - as above
    except duckdb.Error as error:
        known = ", ".join(table.column_names)
        said = f"{expression!r} cannot be used: {_first_line(error)} (columns: {known})"
        raise InputError(f"{where}.{name}: {said}") from error


def _query(connection: duckdb.DuckDBPyConnection, table: pa.Table, sql: str) -> pa.Table:
    connection.register("rows", table)
    try:
        return connection.sql(sql).to_arrow_table()
    finally:
        connection.unregister("rows")


def _failing(
    connection: duckdb.DuckDBPyConnection, table: pa.Table, expressions: list[str], condition: str
) -> np.ndarray:
    """Return the positions of the rows on which the condition fails, or, where it holds, an expression."""
    fails = [f"TRY(({sql}) IS NULL) IS NULL" for sql in expressions]
    either = " OR ".join(fails) or "false"
    sql = f"SELECT {_ROW} FROM rows WHERE TRY({condition} IS NULL) IS NULL OR (TRY({condition}) AND ({either}))"  # noqa: S608
    rows: np.ndarray = _query(connection, table, sql).column(_ROW).to_numpy()
    return rows


def _reasons(
    connection: duckdb.DuckDBPyConnection, table: pa.Table, sql: str, bad: np.ndarray, reason: str
) -> dict[int, str]:
    """Say why each row failed: the first ones exactly, the rest with the reason of the first that was met."""
    reasons = dict.fromkeys(sorted(bad.tolist()), reason)
    for row in [*reasons][:EXPLAINED]:
        try:
            _query(connection, table.slice(row, 1), sql)
        except OVER:
            raise
        except duckdb.Error as error:
            reasons[row] = _first_line(error)
    return reasons


def _ordered(result: pa.Table, failed: dict[int, str]) -> Evaluated:
    rows = result.column(_ROW).to_numpy()
    if len(rows) > 1 and not (rows[1:] > rows[:-1]).all():
        result = result.sort_by(_ROW)
        rows = result.column(_ROW).to_numpy()
    columns = {name: result.column(name).combine_chunks() for name in result.column_names if name != _ROW}
    return Evaluated(rows, columns, failed)


def _first_line(error: duckdb.Error) -> str:
    return str(error).split("\n")[0]


def _full(values: pa.Array, rows: np.ndarray, count: int) -> pa.Array:
    if len(values) == count:
        return values
    places = np.full(count, -1, np.int64)
    places[rows] = np.arange(len(values))
    return values.take(pa.array(places, mask=places < 0))
