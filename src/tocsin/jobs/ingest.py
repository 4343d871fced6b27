"""Files into the lake: each row once, however often, however interrupted, by however many at once."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from tocsin.clock import Clock
from tocsin.errors import ConflictError, InputError
from tocsin.jobs.ahead import read_ahead
from tocsin.jobs.discover import Found, UnknownFormatError, choose_source, find_files
from tocsin.jobs.filestate import (
    FileState,
    file_id,
    flow_hashes,
    holds,
    known_flows,
    load_state,
    mark,
    path_alias,
    reading,
    save_state,
    state_path,
)
from tocsin.jobs.landing import days_of, join_tables, land
from tocsin.settings import IngestSettings
from tocsin.source import Batch, Rejected, Source
from tocsin.store import Store

log = logging.getLogger(__name__)

ATTEMPTS = 1000
MIB = 1 << 20
READ_AHEAD = 3
"""Parsed blocks that may wait while a piece is written."""
Progress = Callable[[Path, int, int], None]
"""Called with the file, how far it is read (bytes of a log, rows of a table), and the rows so far."""


@dataclass
class FileResult:
    """What became of one file.

    status: new, grown or changed: rows were read; unchanged: nothing was left to read; waiting: it has no row yet;
    skipped: a log of another kind in a folder; failed: it cannot be used, `error` says why.
    """

    path: str
    status: Literal["new", "grown", "changed", "unchanged", "waiting", "skipped", "failed"]
    format: str = ""
    rows: int = 0
    rejected: int = 0
    skipped: int = 0
    days: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    rejected_at: list[str] = field(default_factory=list)


@dataclass
class IngestResult:
    """What became of all files."""

    files: list[FileResult]

    @property
    def rows(self) -> int:
        """Flows that came into the lake."""
        return sum(file.rows for file in self.files)

    @property
    def rejected(self) -> int:
        """Rows set aside."""
        return sum(file.rejected for file in self.files)

    @property
    def days(self) -> list[str]:
        """The days that changed."""
        return sorted({day for file in self.files for day in file.days})

    @property
    def failed(self) -> list[FileResult]:
        """The files that cannot be used."""
        return [file for file in self.files if file.status == "failed"]

    @property
    def exit_code(self) -> int:
        """0, or the code of InputError when a file cannot be used."""
        return InputError.exit_code if self.failed else 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        totals = {"rows": self.rows, "rejected": self.rejected, "days": self.days, "failed": len(self.failed)}
        return {**totals, "files": [asdict(file) for file in self.files]}


def ingest(
    store: Store,
    paths: Iterable[str | Path],
    *,
    domain: str,
    settings: IngestSettings,
    clock: Clock,
    format: str | None = None,
    progress: Progress | None = None,
    growing: bool = False,
) -> IngestResult:
    """Bring files, folders and globs into the lake, each row once.

    format: a source's name, or `csv:NAME` for a map in the settings; otherwise each file is recognised by its content.
    growing: the files are still being written: an unfinished last line waits.
    A file that cannot be used is reported and the others go on. Raises StoreError.
    """
    found, failures = find_files(paths)
    results = [FileResult(name, "failed", error=text) for name, text in failures]
    own = Path(store.url(domain)).resolve().parent  # a folder may hold the store itself
    for item in found:
        if not item.named and item.path.resolve().is_relative_to(own):
            continue
        work = _FileWork(store, domain, settings, clock, progress, growing)
        results.append(work.run(item, format))
    return IngestResult(results)


def ingest_file(
    store: Store, path: Path, *, domain: str, settings: IngestSettings, clock: Clock, growing: bool = False
) -> FileResult:
    """Bring one file into the lake."""
    return _FileWork(store, domain, settings, clock, None, growing).run(Found(path, named=True), None)


@dataclass
class _FileWork:
    """The work on one file."""

    store: Store
    domain: str
    settings: IngestSettings
    clock: Clock
    progress: Progress | None
    growing: bool

    def run(self, found: Found, format_name: str | None) -> FileResult:
        """Read what is new in a file; its failure is a result."""
        path = found.path
        self.result = FileResult(str(path), "unchanged")
        try:
            source, head = choose_source(path, self.settings, format_name)
            self.result.format = source.name
            kind = source.kind(head, path)
            if kind == "event":
                raise UnknownFormatError(f"{path}: holds events, no flows; watch them: tocsin watch {path}")
            if kind != "flow" and not found.named:
                self.result.status, self.result.error = "skipped", f"holds {kind.partition('.')[2]} records"
                return self.result
            self._read(source, path, head)
        except UnknownFormatError as error:
            self.result.status, self.result.error = "failed" if self._is_meant(found) else "skipped", str(error)
        except InputError as error:
            waits = self.growing and not _has_bytes(path)
            self.result.status = "waiting" if waits else "failed"
            self.result.error = "" if waits else str(error)
        self.result.days = sorted(set(self.result.days))
        return self.result

    def _is_meant(self, found: Found) -> bool:
        """Say whether a file that nothing recognises was meant to hold flows: it was named, or it is called so."""
        return found.named or any(word in found.path.name.lower() for word in ("conn", "flow", "eve."))

    def _read(self, source: Source, path: Path, head: bytes) -> None:
        status = path.stat()
        fileid = file_id(source, path, head, growing=self.growing)
        if fileid is None:
            if not self.growing:
                for batch in source.read(path):  # says what is wrong with it, if anything
                    self.result.warnings += batch.warnings
            self.result.status = "waiting" if self.growing else "unchanged"
            return
        for _ in range(ATTEMPTS):
            state = self._known(source, path, fileid)
            try:
                self._continue(source, path, state, (status.st_size, status.st_mtime_ns), fileid)
            except ConflictError:
                log.debug("%s: somebody else reads it too; looking again", path)
                continue
            return
        raise InputError(f"{path}: others keep ingesting it at the same time; try again when they are done")

    def _known(self, source: Source, path: Path, fileid: str) -> FileState:
        state = load_state(self.store, self.domain, fileid, source.name)
        if state.etag is None and not source.appendable:
            return load_state(self.store, self.domain, path_alias(path), source.name)
        return state

    def _continue(self, source: Source, path: Path, state: FileState, seen: tuple[int, int], fileid: str) -> None:
        """Carry out what is planned, then read what is new, piece by piece. Raises ConflictError when overtaken."""
        if state.etag is None:
            state.fileid = fileid
        if state.pending is not None:
            self._redo(source, path, state)
        elif state.etag is not None and self._is_read(source, path, state, seen, fileid):
            return
        before, state.reading = state.etag, reading(source)
        begun = self.clock.monotonic()
        log.debug("reading %s", path, extra={"format": source.name, "from": mark(state.position)})
        fresh = self._earlier(state)
        start = mark(state.position)
        for batches in self._pieces(source, path, state.position):
            self._piece(state, batches, source, fresh)
            batches.clear()  # before the next piece is gathered
        self._conclude(again=bool(start or state.generation))
        state.path, (state.size_bytes, state.mtime_ns) = str(path), seen
        if not source.appendable:
            state.digest = fileid
        if state.position is not None or before is not None:
            save_state(self.store, self.domain, state, self.clock.now())
            self._alias(source, path, state, fileid)
        counts = {"rows": self.result.rows, "rejected": self.result.rejected, "skipped": self.result.skipped}
        seconds = round(self.clock.monotonic() - begun, 2)
        log.debug("read %s: %s", path, self.result.status, extra=counts | {"seconds": seconds})

    def _conclude(self, *, again: bool) -> None:
        found = bool(self.result.rows or self.result.rejected)
        if self.result.status == "changed" and not found:
            self.result.status = "unchanged"  # every row was in the lake already
        elif self.result.status == "unchanged" and found:
            self.result.status = "grown" if again else "new"

    def _is_read(self, source: Source, path: Path, state: FileState, seen: tuple[int, int], fileid: str) -> bool:
        """Say whether nothing can be new; where the file became another, begin a new generation."""
        if state.rejected and not state.rows and state.reading != reading(source):
            state.rejected = 0
        elif not source.appendable:
            if state.digest == fileid:
                return True
        else:
            if (state.size_bytes, state.mtime_ns) == seen and state.path == str(path):
                return True
            if state.position is None or holds(path, state.position):
                return False
        self._begin_generation(state)
        return False

    def _begin_generation(self, state: FileState) -> None:
        state.generation += 1
        state.position = state.pending = None
        self.result.status = "changed"

    def _redo(self, source: Source, path: Path, state: FileState) -> None:
        """Carry out the range that somebody planned and did not finish."""
        plan = state.pending or {}
        if source.appendable and not holds(path, plan["until"]):
            self._begin_generation(state)
            return
        batches = list(source.read(path, plan["start"], until=plan["until"]))
        self._write(state, batches, source, self._earlier(state))

    def _earlier(self, state: FileState) -> np.ndarray | None:
        return known_flows(self.store, self.domain, state) if state.generation else None

    def _pieces(self, source: Source, path: Path, position: dict[str, Any] | None) -> Iterator[list[Batch]]:
        """Gather batches to about `chunk_mb` of input."""
        limit = self.settings.chunk_mb * MIB
        held: list[Batch] = []
        begin, size = mark(position), 0
        for batch in read_ahead(source.read(path, position, growing=self.growing), READ_AHEAD):
            held.append(batch)
            self.result.warnings += batch.warnings
            reached = mark(batch.position)
            if self.progress is not None:
                self.progress(path, reached, self.result.rows + sum(item.table.num_rows for item in held))
            size = reached - begin if source.appendable else size + batch.table.nbytes
            if size >= limit:
                yield held
                held, begin, size = [], reached, 0
        if held:
            yield held

    def _piece(self, state: FileState, batches: list[Batch], source: Source, known: np.ndarray | None) -> None:
        """Plan a piece, write it, mark it done."""
        until = batches[-1].position
        if until == state.position or (state.position is None and not mark(until)):
            return
        tables = [batch.table for batch in batches if batch.table.num_rows]
        days = {day for table in tables for day in days_of(table)}
        state.pending = {"start": state.position, "until": until}
        state.days = sorted({*state.days, *days})
        save_state(self.store, self.domain, state, self.clock.now())
        self._write(state, batches, source, known)

    def _write(self, state: FileState, batches: list[Batch], source: Source, known: np.ndarray | None) -> None:
        plan = state.pending or {}
        piece = state.piece(plan["start"])
        table = join_tables([batch.table for batch in batches])
        if known is not None and table.num_rows:
            table = table.filter(pa.array(~_is_known(table, known)))
        land(self.store, self.domain, table, piece=piece, source=source.name)
        rejected = [row for batch in batches for row in batch.rejected]
        self._set_aside(piece, rejected)
        rejects, skipped = sum(batch.rejected_count for batch in batches), sum(batch.skipped for batch in batches)
        state.rows += table.num_rows
        state.rejected += rejects
        state.skipped += skipped
        state.position, state.pending = plan["until"], None
        save_state(self.store, self.domain, state, self.clock.now())
        self._count(table, rejects, skipped)
        log.debug("wrote piece %s", piece, extra={"rows": table.num_rows, "rejected": rejects})

    def _count(self, table: pa.Table, rejected: int, skipped: int) -> None:
        self.result.rows += table.num_rows
        self.result.rejected += rejected
        self.result.skipped += skipped
        self.result.days += days_of(table) if table.num_rows else []

    def _set_aside(self, piece: str, rejected: list[Rejected]) -> None:
        if not rejected:
            return
        path = f"{self.domain}/rejected/{piece}.jsonl"
        lines = [json.dumps({"file": self.result.path, **asdict(row)}, ensure_ascii=False) for row in rejected]
        self.store.put(path, ("\n".join(lines) + "\n").encode())
        self.result.rejected_at.append(self.store.url(path))

    def _alias(self, source: Source, path: Path, state: FileState, fileid: str) -> None:
        """Let a file that cannot grow be known by its path and its newest content too."""
        if source.appendable:
            return
        for name in {path_alias(path), fileid} - {state.fileid}:
            self.store.put(state_path(self.domain, name), json.dumps({"alias": state.fileid}).encode())


def _is_known(table: pa.Table, known: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.isin(flow_hashes(table.column("flowid")), known)
    return found


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return True
