"""Comma-separated flows of any make, by a column map."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.errors import InputError
from tocsin.records.flow import FLOW, MANDATORY
from tocsin.records.maps import canonical, kept
from tocsin.records.rows import Rows
from tocsin.records.typed import typed
from tocsin.sources.blocks import BLOCK_BYTES, Block
from tocsin.sources.delimited import column_names, missing, read_table, without_header
from tocsin.sources.kinds import Kinds
from tocsin.sources.lines import (
    NOTHING,
    LineSource,
    Parsed,
    Piece,
    Titled,
    first_line,
    parsed_piece,
    rejections,
    take,
)


class CsvSource(LineSource):
    """Reads CSV through a map of our columns to theirs, or to SQL over theirs (where every column is text).

    Without a map the file's own column names must be ours. Columns that the map does not name are kept.
    Delivery: each row once, in the order of the file, from any line on. The first line names the columns; a field
    may stand in double quotes, but a line feed may not stand in a field. Times without an offset are UTC.
    Specification: RFC 4180.
    """

    name = "csv"
    titled = True

    def __init__(
        self,
        columns: Mapping[str, str] | None = None,
        *,
        map_name: str = "",
        workers: int = 1,
        block_bytes: int = BLOCK_BYTES,
        kinds: Kinds | None = None,
    ) -> None:
        super().__init__(workers=workers, block_bytes=block_bytes, kinds=kinds)
        self.columns = dict(columns or {})
        self.where = f"ingest.csv.{map_name}" if map_name else "ingest.csv"
        unknown = [name for name in self.columns if name not in FLOW]
        if unknown:
            raise InputError(f"{self.where}: {unknown[0]!r} is no column of a flow{_nearest(unknown[0])}")

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        """A first line that names stime, saddr, daddr and proto."""
        return set(MANDATORY) <= set(column_names(first_line(head)))

    def cut(self, path: Path, block: Block, header: dict[str, Any]) -> tuple[list[Titled], dict[str, Any]]:
        """Take the first line as header."""
        known = "fields" in header
        lines, header = without_header(block, header)
        if not known and "fields" in header:
            absent = [name for name in MANDATORY if name not in self.columns and name not in header["fields"]]
            if absent:
                raise missing(path, absent, f"{', '.join(header['fields'])}; map them under {self.where}")
        return [(lines, header)] if lines.data else [], header

    def parse(self, path: Path, piece: Piece) -> list[Parsed]:
        """Turn lines into flows."""
        names = piece.header["fields"]
        table, numbers, wrong = read_table(piece.data, names, delimiter=",", nulls=[""], quote=True)
        if not table.num_rows:
            return [Parsed(NOTHING, rejections(piece, wrong))]
        rows = Rows(table.num_rows)
        used = self._plain(rows, table) | self._computed(rows, table)
        for name in names:
            if name not in used:
                field = canonical(name) if name in FLOW and name not in self.columns else kept(name, "string", "csv")
                rows.read(name, pc.utf8_trim_whitespace(table.column(name).combine_chunks()), field)
        theirs = {name: self.columns.get(name, name) for name in MANDATORY}
        rows.require(theirs)
        rows.check_addresses()
        return [parsed_piece(piece, take(rows, numbers, wrong))]

    def _plain(self, rows: Rows, table: pa.Table) -> set[str]:
        used = set()
        for ours, theirs in self.columns.items():
            if theirs in table.column_names:
                rows.read(theirs, pc.utf8_trim_whitespace(table.column(theirs).combine_chunks()), canonical(ours))
                used.add(theirs)
        return used

    def _computed(self, rows: Rows, table: pa.Table) -> set[str]:
        expressions = {ours: theirs for ours, theirs in self.columns.items() if theirs not in table.column_names}
        if not expressions:
            return set()
        from tocsin.records.expressions import evaluate

        values, failed = evaluate(table, expressions, where=self.where)
        for index, reason in failed.items():
            rows.reject(index, reason)
        for ours, array in values.items():
            column, bad = typed(array, ours)
            rows.columns[ours] = column
            for index in bad:
                rows.reject(index, f"{expressions[ours]} gives {array[index].as_py()!r}, not {canonical(ours).kind}")
        return set()


def _nearest(name: str) -> str:
    near = get_close_matches(name.lower(), FLOW, n=1)
    return f"; did you mean {near[0]!r}?" if near else f" (these are: {', '.join(FLOW)})"
