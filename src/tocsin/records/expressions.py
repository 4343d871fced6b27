"""SQL expressions over the rows of a table, with the rows set aside on which one fails."""

import duckdb
import numpy as np
import pyarrow as pa

from tocsin.errors import InputError
from tocsin.records.sql import connect

_ROW = "tocsin_row"


def evaluate(table: pa.Table, expressions: dict[str, str], *, where: str) -> tuple[dict[str, pa.Array], dict[int, str]]:
    """Evaluate one expression a name over each row.

    where: what the expressions belong to, for messages (`ingest.csv.netflow`).
    Returns the values by name, null on the rows that failed, and those rows with the reason.
    Raises InputError when an expression cannot be understood or names a column that is not there.
    """
    with connect(threads=1) as connection:
        for name, expression in expressions.items():
            _check(connection, table, name, expression, where)
        columns = ", ".join(f'({expression}) AS "{name}"' for name, expression in expressions.items())
        sql = f"SELECT {_ROW}, {columns} FROM rows ORDER BY {_ROW}"  # noqa: S608 - the expressions are the user's own
        numbered = table.append_column(_ROW, pa.array(np.arange(table.num_rows)))
        failed: dict[int, str] = {}
        parts = _halves(connection, numbered, sql, failed)
    result = pa.concat_tables(parts, promote_options="permissive") if parts else None
    return {name: _full(result, name, table.num_rows) for name in expressions}, failed


def syntax_error(expression: str) -> str | None:
    """Say what is wrong with an expression as SQL, without any table to run it on; None when nothing is."""
    try:
        with connect(threads=1) as connection:
            parsed = connection.extract_statements(f"SELECT ({expression}) FROM rows")  # noqa: S608 - only parsed
    except duckdb.Error as error:
        return str(error).split("\n")[0]
    return None if len(parsed) == 1 else "it is more than one expression"


def _check(connection: duckdb.DuckDBPyConnection, table: pa.Table, name: str, expression: str, where: str) -> None:
    connection.register("rows", table.slice(0, 0))
    try:
        connection.execute(f"SELECT ({expression}) FROM rows")  # noqa: S608 - as above
    except duckdb.Error as error:
        said = str(error).split("\n")[0]
        known = ", ".join(table.column_names)
        raise InputError(f"{where}.{name}: {expression!r} cannot be used: {said} (columns: {known})") from error


def _halves(connection: duckdb.DuckDBPyConnection, table: pa.Table, sql: str, failed: dict[int, str]) -> list[pa.Table]:
    """Evaluate; where that fails evaluate each half, down to the single rows that fail."""
    if not table.num_rows:
        return []
    connection.register("rows", table)
    try:
        return [connection.sql(sql).to_arrow_table()]
    except duckdb.Error as error:
        if table.num_rows == 1:
            failed[table.column(_ROW)[0].as_py()] = str(error).split("\n")[0]
            return []
    middle = table.num_rows // 2
    first = _halves(connection, table.slice(0, middle), sql, failed)
    return first + _halves(connection, table.slice(middle), sql, failed)


def _full(result: pa.Table | None, name: str, count: int) -> pa.Array:
    if result is None:
        return pa.nulls(count)
    values = result.column(name).combine_chunks()
    if len(values) == count:
        return values
    places = np.full(count, -1, np.int64)
    places[result.column(_ROW).to_numpy()] = np.arange(len(values))
    return values.take(pa.array(places, mask=places < 0))
