"""Tables of any make, as they are: CSV with any columns, JSON lines with or without times, Parquet.

No source in the sense of `source.py`: rows need no time, have no canonical names and no position to go on from. For
what works on any table; what is kept in the lake or watched comes through a source.
"""

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tocsin.errors import InputError
from tocsin.source import Rejected
from tocsin.sources.blocks import LINE_BYTES, live_blocks
from tocsin.sources.jsonlines import JsonColumn, json_object, read_json_lines
from tocsin.sources.lines import clean, first_line

DELIMITERS = ",\t;|"
BLOCK_BYTES = 4 << 20
BATCH_ROWS = 131_072
LOOKED_AT = 20
"""Lines by which the delimiter is found."""

_TEXT_KEPT = 500


@dataclass
class Piece:
    """A part of a table, and the first of its rows that were set aside, with how many these are in all."""

    table: pa.Table
    rejected: list[Rejected] = field(default_factory=list)
    rejected_count: int = 0


@dataclass(frozen=True)
class Layout:
    """How a CSV is written. header: whether its first line names the columns, `names`."""

    delimiter: str
    names: tuple[str, ...]
    header: bool


def layout(head: bytes, *, delimiter: str = "", header: bool = True) -> Layout:
    """Return how a CSV is written that begins so.

    Without a header, or where a number is in its first line, the columns are c1, c2, ….
    """
    text = head.decode("utf-8-sig", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()][: LOOKED_AT + 1]
    whole = lines[:-1] if len(lines) > LOOKED_AT else lines
    delimiter = delimiter or max(DELIMITERS, key=lambda each: _agreement(whole, each))
    first = [cell.strip() for cell in next(csv.reader(lines[:1], delimiter=delimiter), [])]
    header = header and not any(_is_number(cell) for cell in first)
    if not header:
        return Layout(delimiter, tuple(f"c{at + 1}" for at in range(len(first))), header=False)
    names = [cell or f"c{at + 1}" for at, cell in enumerate(first)]
    different = [name if name not in names[:at] else f"{name}_{at + 1}" for at, name in enumerate(names)]
    return Layout(delimiter, tuple(different), header=True)


def is_json(head: bytes) -> bool:
    """Whether the first line is a JSON object."""
    return json_object(first_line(head)) is not None


def read_csv(path: Path, pieces: Iterator[bytes], how: Layout) -> Iterator[Piece]:
    """Read the bytes of a CSV; every column is text, an empty field is none.

    A field may stand in double quotes, with line feeds in it too. A line with another number of fields is set aside.
    Raises InputError.
    """
    skip = how.header
    for line, data in _closed(path, pieces):
        whole = data.count(b'"') % 2 == 0
        yield _read_csv(path, line, data.removeprefix(codecs.BOM_UTF8), how, skip=skip, quotes=whole)
        skip = False


def _read_csv(path: Path, line: int, data: bytes, how: Layout, *, skip: bool, quotes: bool) -> Piece:
    """Read whole lines, of which the first is the one of this number. skip: leave it out. quotes: fields may have them.

    A quote that is never closed would take all that follows for its field, so then it is a sign like any other.
    """
    wrong: list[Rejected] = []
    counted = 0

    def set_aside(row: Any) -> str:
        nonlocal counted
        counted += 1
        if len(wrong) < LOOKED_AT:
            reason = f"{row.actual_columns} fields where the header names {row.expected_columns}"
            wrong.append(Rejected(line + row.number - 1, reason, str(row.text)[:_TEXT_KEPT]))
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, column_names=how.names, skip_rows=int(skip), block_size=len(data) + 1
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=how.delimiter,
                quote_char='"' if quotes else False,
                newlines_in_values=quotes,
                invalid_row_handler=set_aside,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(how.names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                check_utf8=False,
            ),
        )
    except pa.ArrowException as error:
        said = str(error).splitlines()[0]
        raise InputError(f"{path}:{line}: cannot be read as CSV separated by {how.delimiter!r}: {said}") from error
    return Piece(_valid(table), wrong, counted)


def read_json(path: Path, pieces: Iterator[bytes]) -> Iterator[Piece]:
    """Read the bytes of JSON lines; nested fields are flattened by dots, lists become text. Raises InputError."""
    for block in live_blocks(path, lambda: next(pieces, None)):
        if block is None:
            continue
        data = clean(block.data)
        columns, numbers, wrong = read_json_lines(data, None)
        lines = data.split(b"\n") if wrong else []
        rejected = [
            Rejected(block.line + number, reason, lines[number][:_TEXT_KEPT].decode(errors="backslashreplace"))
            for number, reason in wrong[:LOOKED_AT]
        ]
        table = pa.table({name: _column(each) for name, each in columns.items()}) if len(numbers) else pa.table({})
        yield Piece(table, rejected, len(wrong))


def read_parquet(path: Path) -> Iterator[Piece]:
    """Read a Parquet file. Raises InputError."""
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield Piece(pa.Table.from_batches([batch]))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join small pieces, so that what is read at once has many lines."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= BLOCK_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def _closed(path: Path, pieces: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines with the number of the first, cut where every quote is closed."""
    held, line, quotes = b"", 1, 0
    for block in live_blocks(path, lambda: next(pieces, None)):
        if block is None:
            continue
        line = line if held else block.line
        held += block.data
        quotes += block.data.count(b'"')
        if quotes % 2 == 0 or len(held) > LINE_BYTES:
            yield line, held
            held, quotes = b"", 0
    if held:
        yield line, held


def _agreement(lines: list[str], delimiter: str) -> tuple[int, int]:
    """Say how well a delimiter fits: how many lines have as many fields as the first, and how many fields these are."""
    try:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error:
        return 0, 0
    if not counts or counts[0] < 2:
        return 0, 0
    return counts.count(counts[0]), counts[0]


def _column(column: JsonColumn) -> pa.Array:
    return column.values if column.guess in ("int", "double", "bool") else column.text


def _valid(table: pa.Table) -> pa.Table:
    r"""Return text columns as valid UTF-8: bytes that are none become `\xNN`."""
    for at, column in enumerate(table.columns):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            raw = column.cast(pa.binary()).to_pylist()
            texts = [None if value is None else value.decode(errors="backslashreplace") for value in raw]
            table = table.set_column(at, table.column_names[at], pa.array(texts, pa.string()))
    return table


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.lower() not in ("nan", "inf", "infinity")
