"""Feeds: inputs that are read side by side, a batch at a time, each with what was read of it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO

from tocsin.clock import Clock
from tocsin.errors import InputError
from tocsin.records.times import newest
from tocsin.source import Batch, Source
from tocsin.sources.blocks import live_blocks
from tocsin.sources.lines import CHECKED_BYTES, LineSource, fingerprint

GRACE_S = 5.0
"""How long a renamed log is read on: its writer may hold it open for a moment."""
ASLEEP_S = 3600.0
"""A followed log that nobody has written to for so long is closed until it grows."""
REASONS_SHOWN = 5
_SECOND_US = 1_000_000


@dataclass
class Tally:
    """What became of one input.

    records: those yielded; rejected: rows set aside, `reasons` the first of them; skipped: records that nobody asked
    for; unasked: the kind of a whole log of them. warnings, error: what a person should know.
    """

    path: str
    format: str = ""
    records: int = 0
    rejected: int = 0
    skipped: int = 0
    unasked: str = ""
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str = ""

    def count(self, batch: Batch) -> None:
        """Count a batch."""
        self.records += batch.table.num_rows
        self.rejected += batch.rejected_count
        self.skipped += batch.skipped
        self.warnings += batch.warnings
        room = REASONS_SHOWN - len(self.reasons)
        self.reasons += [f"{self.path}:{row.line}: {row.reason}" for row in batch.rejected[: max(room, 0)]]


class Feed:
    """One input.

    number: its place in the run. known_by: by what its file is known again. first_us: the time of its first records,
    where that is known before it is read. newest_us: of the newest record that was taken.
    """

    live = False
    """Whether more may come when there is nothing now."""

    def __init__(self, number: int, path: Path, format_: str, clock: Clock) -> None:
        self.number, self.path, self.format, self.clock = number, path, format_, clock
        self.known_by = ""
        self.position: dict[str, Any] | None = None
        self.first_us: int | None = None
        self.newest_us: int | None = None
        self.came = clock.monotonic()
        self.tally = Tally(str(path), format_)
        self.dry = self.ended = False
        self._batches: Iterator[Batch | None] | None = None
        self._held_us: int | None = None

    @property
    def next_us(self) -> int:
        """From what time on its next records are, as far as is known."""
        found = self.newest_us if self.newest_us is not None else self.first_us
        return found if found is not None else -1

    @property
    def clock_us(self) -> int | None:
        """How far it is, in record time: of a quiet input the clock goes on from its newest record."""
        if not (self.live and self.dry):
            return self.next_us
        if self.newest_us is None:
            return None
        return self.newest_us + int((self.clock.monotonic() - self.came) * _SECOND_US)

    def take(self) -> Batch | None:
        """Return the next batch; None where there is none (now, or ever: then it has ended)."""
        if self._batches is None:
            self._batches = self._begin()
        try:
            batch = next(self._batches)
        except StopIteration:
            batch = None
            self.ended = True
        except InputError as error:
            batch = None
            self.ended, self.tally.error = True, str(error)
        except OSError as error:
            batch = None
            self.ended, self.tally.error = True, f"{self.path}: {error.strerror or error}"
        self.dry = batch is None
        if batch is not None:
            self._note(batch)
        return batch

    def _begin(self) -> Iterator[Batch | None]:
        raise NotImplementedError

    def _note(self, batch: Batch) -> None:
        self.position = batch.position
        self.tally.count(batch)
        if batch.table.num_rows:
            self.came = self.clock.monotonic()
            found = newest(batch.kind, batch.table)
            self._held_us = found if self._held_us is None else max(found, self._held_us)
        if self._held_us is not None and "within" not in batch.position:
            self.newest_us = self._held_us  # only now all kinds of records of this piece were taken

    def close(self) -> None:
        """Let go of the file; taking goes on at the position."""
        self._batches = None


class FileFeed(Feed):
    """A file that is read once, from its position to its end."""

    def __init__(self, number: int, path: Path, source: Source, clock: Clock) -> None:
        super().__init__(number, path, source.name, clock)
        self.source = source

    def _begin(self) -> Iterator[Batch | None]:
        return self.source.read(self.path, self.position)


class GrowingFeed(Feed):
    """A log that is still written: read on as it grows, to its end when it is renamed.

    rotated: its name is another file's now. cut_off: it was truncated; what was written since the last look is in its
    copy, if anywhere. asleep: nobody has written to it for long; it is closed and may be taken from again.
    """

    live = True

    def __init__(self, number: int, path: Path, source: LineSource, clock: Clock) -> None:
        super().__init__(number, path, source.name, clock)
        self.source = source
        self.cut_off = self.asleep = False
        self.replaced = False
        """Whether somebody looked for the log that has its name now."""
        self._file: BinaryIO | None = None
        self._offset = 0
        self._rotated_at: float | None = None
        self._seen: tuple[int, ...] = ()

    @property
    def rotated(self) -> bool:
        """Whether its name is another file's now, or nobody's."""
        return self._rotated_at is not None

    def hold(self) -> None:
        """Open the file, so that it stays within reach whatever it is called. Raises InputError."""
        if self._file is None:
            try:
                self._file = self.path.open("rb")
            except OSError as error:
                raise InputError(f"{self.path}: {error.strerror or error}") from error

    def is_file(self, status: os.stat_result) -> bool:
        """Whether it holds this very file open."""
        return self._file is not None and bool(os.path.samestat(os.fstat(self._file.fileno()), status))

    def _begin(self) -> Iterator[Batch | None]:
        position = self.position or {}
        self._offset, self.asleep = position.get("offset", 0), False
        blocks = live_blocks(self.path, self._read, self._offset, position.get("line", 1))
        # Of a log that was cut off, the unfinished last line is in its copy.
        kept = takewhile(lambda block: block is None or block.terminated or not self.cut_off, blocks)
        return self.source.follow(self.path, kept, self.position)

    def _read(self) -> bytes | None:
        self.hold()
        assert self._file is not None
        size = os.fstat(self._file.fileno()).st_size
        if size < self._offset or (size > self._offset and not self._holds()):
            self.cut_off = True
            return None
        data = os.pread(self._file.fileno(), self.source.block_bytes, self._offset)
        self._offset += len(data)
        if not data:
            return self._look()
        if self.rotated:
            self._rotated_at = self.clock.monotonic()
        return data

    def _holds(self) -> bool:
        """Whether the file still has, before the position, what was read there."""
        check = (self.position or {}).get("check")
        if check is None or self._file is None:
            return True
        begin = (self.position or {})["offset"] - check["size"]
        return bool(fingerprint(os.pread(self._file.fileno(), min(check["size"], CHECKED_BYTES), begin)) == check)

    def _look(self) -> bytes | None:
        """See, at its end, whether it is still under its name; None when it has ended."""
        now = self.clock.monotonic()
        try:
            status = self.path.stat()
        except OSError:
            status = None
        if status is None or not self.is_file(status):
            self._rotated_at = now if self._rotated_at is None else self._rotated_at
            return None if now - self._rotated_at >= GRACE_S else b""
        self._rotated_at = None
        if self.clock.now().timestamp() - status.st_mtime > ASLEEP_S:
            self.asleep, self._seen = True, _looks(status)
        return b""

    def has_grown(self) -> bool:
        """Whether there is something new under its name, while it is asleep."""
        try:
            return _looks(self.path.stat()) != self._seen
        except OSError:
            return False

    def close(self) -> None:
        """Let go of the file; taking goes on at the position."""
        super().close()
        if self._file is not None:
            self._file.close()
            self._file = None


def _looks(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns
