"""Tables from files of any columns: CSV and Parquet."""

import csv
import gzip
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from tocsin.errors import InputError
from tocsin.records.sql import rows_where

BLOCK_BYTES = 1 << 24
_NULLS = ["", "-", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]


def read_table(path: Path, *, header: bool = True) -> pa.Table:
    """Read a CSV (also .gz) or Parquet file.

    Without a header, or where a number is in the first line, the columns are c1, c2, …. Raises InputError when the
    file cannot be read or holds no row.
    """
    try:
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        table = pq.read_table(path, partitioning=None) if parquet else _read_csv(path, header=header)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (pa.ArrowException, UnicodeDecodeError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as a table: {str(error).splitlines()[0]}") from error
    if table.num_rows == 0:
        raise InputError(f"{path}: there are no rows in this table")
    return table


def keep_rows(table: pa.Table, where: str) -> pa.Table:
    """Return the rows for which an SQL condition holds. Raises SettingsError, and InputError when none is left."""
    kept = rows_where(table, where)
    if kept.num_rows == 0:
        raise InputError(f"--where: none of {table.num_rows:,} rows is left")
    return kept


def _read_csv(path: Path, *, header: bool) -> pa.Table:
    first = _first_line(path)
    header = header and not any(_is_number(cell) for cell in first)
    names = first if header else [f"c{i + 1}" for i in range(len(first))]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"{path}: column {sorted(twice)[0]!r} is there twice")
    types: dict[str, Any] = {}
    while True:
        try:
            return pc.read_csv(
                path,
                read_options=pc.ReadOptions(column_names=names, skip_rows=int(header), block_size=BLOCK_BYTES),
                convert_options=pc.ConvertOptions(
                    column_types=types, null_values=_NULLS, strings_can_be_null=True, quoted_strings_can_be_null=True
                ),
            )
        except pa.ArrowInvalid as error:
            # Types are guessed from the first block: a later value that does not fit makes the column wider.
            found = re.search(r"In CSV column #(\d+)", str(error))
            name = names[int(found[1])] if found else ""
            if not found or types.get(name) == pa.string():
                raise
            types[name] = pa.string() if name in types else pa.float64()


def _first_line(path: Path) -> list[str]:
    zipped = path.suffix == ".gz"
    with gzip.open(path, "rt", newline="") if zipped else path.open(newline="") as file:
        line = next(csv.reader(file), None)
    if not line:
        raise InputError(f"{path}: the file is empty")
    return [cell.strip() for cell in line]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.lower() not in ("nan", "inf", "infinity")
