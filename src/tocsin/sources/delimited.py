"""Delimited lines as columns of text, and the line that names these."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from tocsin.errors import InputError
from tocsin.sources.blocks import Block


def read_table(
    data: bytes, names: list[str], *, delimiter: str, nulls: list[str], quote: bool = False
) -> tuple[pa.Table, np.ndarray, list[tuple[int, str]]]:
    """Read delimited lines as text columns.

    Returns the table; the number of each of its rows among the lines, (n,) int64, 0-based; and the lines with
    another number of fields as (number, reason).
    """
    wrong: list[tuple[int, str]] = []

    def set_aside(row: Any) -> str:
        wrong.append((row.number - 1, f"{row.actual_columns} fields where the header names {row.expected_columns}"))
        return "skip"

    table = pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, column_names=names, block_size=len(data) + 1),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if quote else False,
            double_quote=quote,
            escape_char=False,
            newlines_in_values=False,
            ignore_empty_lines=False,
            invalid_row_handler=set_aside,
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=nulls,
            strings_can_be_null=True,
            check_utf8=False,
        ),
    )
    numbers = np.delete(np.arange(table.num_rows + len(wrong)), [number for number, _ in wrong])
    return table.combine_chunks(), numbers, wrong


def column_names(line: bytes) -> list[str]:
    """Return the column names of a comma-separated header line, each different from those before it."""
    names = [name.strip().strip('"').strip() for name in line.decode("utf-8-sig", errors="backslashreplace").split(",")]
    return [name if name not in names[:index] else f"{name}_{index + 1}" for index, name in enumerate(names)]


def without_header(block: Block, header: dict[str, Any]) -> tuple[Block, dict[str, Any]]:
    """Take the column names from a file's first line, where they are not known yet; return the lines after it."""
    while "fields" not in header and block.data:
        stop = block.data.find(b"\n") + 1 or len(block.data)
        line = block.data[:stop].strip()
        block = Block(block.offset + stop, block.line + 1, block.data[stop:], block.terminated)
        if line:
            header = {"fields": column_names(line)}
    return block, header


def missing(path: Path, names: list[str], known: str) -> InputError:
    """Say that mandatory columns are missing."""
    plural = "s" if len(names) > 1 else ""
    if not known.isprintable():
        known = "bytes that are no text; is it of this format?"
    return InputError(
        f"{path}: the column{plural} {', '.join(names)} {'are' if plural else 'is'} missing; it has {known}"
    )
