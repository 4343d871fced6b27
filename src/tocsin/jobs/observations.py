"""What the novelty commands read: records of any files, the standard input or the lake, as columns of text."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

import pyarrow as pa

from tocsin.clock import Clock
from tocsin.detectors.novelty.texts import texts
from tocsin.errors import InputError, SettingsError
from tocsin.jobs.discover import HEAD_BYTES, find_files, make_source
from tocsin.jobs.inputs import lake_inputs
from tocsin.jobs.pipes import is_pipe
from tocsin.records.conn import as_zeek_conn
from tocsin.records.kinds import KIND
from tocsin.records.selection import Selection, columns_of
from tocsin.settings import IngestSettings
from tocsin.source import Rejected, load_source
from tocsin.sources.blocks import Stream, live_blocks, unpacker_for
from tocsin.sources.kinds import Kinds
from tocsin.sources.lines import LineSource
from tocsin.sources.tables import Piece, gathered, is_json, layout, read_csv, read_json, read_parquet
from tocsin.store import Store

REASONS_SHOWN = 5
READ_BYTES = 1 << 20
ROWS = 65_536
"""Most observations that are handed on at once."""

_LOGS = ("zeek", "eve", "argus", "pcap")
_TABLES = ("csv", "ndjson", "parquet")
_MIXED = 2
_LONG = 40
"""Characters of a column's name that are shown."""


@dataclass(frozen=True)
class Wanted:
    """What is to be read, and which values of it.

    fields: SQL of each component. where: condition, '' for all. kind: of the records; '' for all there are.
    format_name: of the files, '' to tell by content. delimiter: of CSV, '' to tell by content. header: whether a CSV
    may have a line of names.
    """

    fields: tuple[str, ...]
    where: str = ""
    kind: str = ""
    format_name: str = ""
    delimiter: str = ""
    header: bool = True


@dataclass
class Report:
    """What became of what was read. reasons, warnings: the first of them; errors: files that cannot be used."""

    observations: int = 0
    rejected: int = 0
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)

    def set_aside(self, path: Path, rows: Sequence[Rejected], count: int) -> None:
        """Count rows that were set aside."""
        self.rejected += count
        room = max(REASONS_SHOWN - len(self.reasons), 0)
        self.reasons += [f"{path}:{row.line}: {row.reason}" for row in rows[:room]]

    def fail(self, path: Path, number: int, reason: str, count: int) -> None:
        """Count records on which an expression fails; number: the first of them, from 1 among the file's records."""
        self.rejected += count
        if len(self.reasons) < REASONS_SHOWN:
            self.reasons.append(f"{path}: record {number:,}: {reason}")


class Observations:
    """Iterates over observations, as one column of text a component, in the order of the files and their rows.

    A connection has the names of flows and those of Zeek. A file that cannot be used is told in `report`, and the
    others are read all the same. Raises SettingsError for what is no SQL, no kind, or no column of a table.
    """

    def __init__(self, wanted: Wanted, settings: IngestSettings) -> None:
        if wanted.kind and not KIND.fullmatch(wanted.kind):
            raise SettingsError(f"--kind: {wanted.kind!r} is no record kind; such as flow, zeek.ssh, eve.alert, event")
        self.wanted, self.settings, self.report = wanted, settings, Report()
        self._read = 0  # records of the file that is being read
        self._selection = Selection(
            {str(at): sql for at, sql in enumerate(wanted.fields)}, wanted.where, what="--fields", kind=wanted.kind
        )
        kinds = frozenset({wanted.kind, *(["flow"] if wanted.kind == "zeek.conn" else [])})
        self._kinds = Kinds(kinds if wanted.kind else None, wanted.kind)
        if wanted.format_name and wanted.format_name not in _TABLES:
            try:
                make_source(wanted.format_name, settings)
            except InputError as error:
                raise SettingsError(f"--format: {error}") from error

    def of_files(self, paths: Sequence[str]) -> Iterator[list[pa.Array]]:
        """Yield the observations of files, folders, globs and `-`."""
        found, failures = find_files(paths, pipes=True)
        self.report.errors += [text for _, text in failures]
        for path in [each.path for each in found]:
            self._read = 0
            try:
                for kind, table in self._of(path):
                    yield from self._observed(path, kind, table)
            except InputError as error:
                self.report.errors.append(str(error))
            except SettingsError as error:
                if len(found) == 1:
                    raise
                self.report.errors.append(str(error))  # among many files one may be of another make

    def of_lake(
        self, store: Store, domain: str, *, clock: Clock, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[list[pa.Array]]:
        """Yield those of the lake's flows begun in [since, until), in the order of time."""
        records = lake_inputs(store, domain, clock=clock, since=since, until=until)
        try:
            while got := records.read():
                for each in got:
                    yield from self._observed(Path(each.input), "flow", each.table)
        finally:
            records.close()

    def _observed(self, path: Path, kind: str, table: pa.Table) -> Iterator[list[pa.Array]]:
        if not table.num_rows:
            return
        self.report.kinds.add(kind)
        selected = self._selection.select(table)
        first = next(iter(selected.failed.items()), None)
        if first is not None:
            self.report.fail(path, self._read + first[0] + 1, first[1], len(selected.failed))
        self._read += table.num_rows
        columns = [texts(selected.columns[str(at)]) for at in range(len(self.wanted.fields))]
        for start in range(0, len(columns[0]), ROWS):
            part = [column.slice(start, ROWS) for column in columns]
            self.report.observations += len(part[0])
            yield part

    def _of(self, path: Path) -> Iterator[tuple[str, pa.Table]]:
        pieces, head = _opened(path, self.report.warnings)
        name = self.wanted.format_name or _recognised(head, path)
        if name not in _TABLES:
            yield from self._log(path, name, pieces)
            return
        for piece in self._table(path, name, pieces if is_pipe(path) else gathered(pieces), head):
            self.report.set_aside(path, piece.rejected, piece.rejected_count)
            yield "event", piece.table

    def _table(self, path: Path, name: str, pieces: Iterator[bytes], head: bytes) -> Iterator[Piece]:
        if name == "ndjson":
            return read_json(path, pieces)
        if name == "parquet":
            return self._named(path, read_parquet(_a_file(path)))
        how = layout(head, delimiter=self.wanted.delimiter, header=self.wanted.header)
        return self._named(path, read_csv(path, pieces, how))

    def _named(self, path: Path, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Check that a table has the columns that are asked for: these will not come later. Raises SettingsError."""
        for number, piece in enumerate(pieces):
            if not number:
                _check_names(path, [*self.wanted.fields, self.wanted.where], piece.table.column_names)
            yield piece

    def _log(self, path: Path, name: str, pieces: Iterator[bytes]) -> Iterator[tuple[str, pa.Table]]:
        source = make_source(name, self.settings, kinds=self._kinds)
        if is_pipe(path):
            if not isinstance(source, LineSource):
                raise InputError(f"{path}: {name} cannot be read from a pipe; write it to a file first")
            batches = source.follow(path, live_blocks(path, lambda: next(pieces, None)))
        else:
            batches = source.read(path)
        for batch in batches:
            if batch is None:
                continue
            self.report.warnings += batch.warnings
            self.report.set_aside(path, batch.rejected, batch.rejected_count)
            if self._kinds.wants(batch.kind):
                yield batch.kind, self._view(batch.kind, batch.table)

    def _view(self, kind: str, table: pa.Table) -> pa.Table:
        """Return records under the names that may be asked for."""
        if kind != "flow" or self.wanted.kind == "flow" or not table.num_rows:
            return table
        zeek = as_zeek_conn(table)
        if self.wanted.kind == "zeek.conn":
            return zeek
        for name in zeek.column_names:
            if name not in table.column_names:
                table = table.append_column(name, zeek.column(name))
        return table


def mixed(report: Report, wanted: Wanted) -> str:
    """Return a warning where records of several kinds were observed alike, '' otherwise."""
    if wanted.kind or len(report.kinds) < _MIXED:
        return ""
    return f"records of several kinds were observed alike ({', '.join(sorted(report.kinds))}); --kind chooses one"


def _opened(path: Path, warnings: list[str]) -> tuple[Iterator[bytes], bytes]:
    """Return a file's or pipe's unpacked bytes, and the first of them: of a pipe a line at least. Raises InputError.

    warnings: told at the end that a packed file breaks off, where it does.
    """
    piped = is_pipe(path)
    pieces = _piped(path) if piped else _whole(path, warnings)
    begun: list[bytes] = []
    for piece in pieces:
        begun.append(piece)
        if sum(map(len, begun)) >= HEAD_BYTES or (piped and b"\n" in piece and b"".join(begun).strip()):
            break
    head = b"".join(begun)
    if not head.strip():
        raise InputError(f"{path}: is empty")
    return chain([head], pieces), head[:HEAD_BYTES]


def _whole(path: Path, warnings: list[str]) -> Iterator[bytes]:
    stream = Stream(path)
    yield from stream.pieces()
    if stream.warning:
        warnings.append(f"{path}: {stream.warning}")


def _piped(path: Path) -> Iterator[bytes]:
    descriptor = os.dup(0) if str(path) == "-" else os.open(path, os.O_RDONLY)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        begin = file.read(READ_BYTES)
        unpacker = unpacker_for(begin)
        for data in chain([begin], iter(lambda: file.read(READ_BYTES), b"")):
            yield from unpacker.unpack(data) if unpacker else [data]


def _recognised(head: bytes, path: Path) -> str:
    """Return the format of a file that begins so: a log's, or that of a table. Raises InputError."""
    if head.startswith(b"PAR1"):
        return "parquet"
    for name in _LOGS:
        if load_source(name).recognises(head, path):
            return name
    if is_json(head):
        return "ndjson"
    if head.lstrip().startswith((b"[", b"{")):
        raise InputError(f"{path}: is JSON, but not a record a line; `jq -c '.[]' FILE` makes it so")
    if b"\0" in head:
        raise InputError(f"{path}: is neither a log, a capture nor a table; --format says what it is")
    return "csv"


def _a_file(path: Path) -> Path:
    if is_pipe(path):
        raise InputError(f"{path}: Parquet cannot be read from a pipe; write it to a file first")
    return path


def _check_names(path: Path, expressions: Sequence[str], known: Sequence[str]) -> None:
    lower = {name.lower() for name in known}
    for name in [name for sql in expressions if sql.strip() for name in columns_of(sql)]:
        if name.lower() not in lower:
            near = get_close_matches(name, known, n=1)
            some = ", ".join(column if len(column) <= _LONG else f"{column[:_LONG]}…" for column in known[:20])
            hint = f"did you mean {near[0]!r}?" if near else f"it has {some}"
            raise SettingsError(f'--fields: {path} has no column {name!r}; {hint} (odd names stand in "quotes")')
