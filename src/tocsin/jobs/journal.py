"""The journal: what was observed and changed, in order, on disk before it is acknowledged.

Frames are appended in memory, in the order in which contexts learn them, and written and synced together by whoever
commits first (group commit): a hundred requests at once cost one sync. A full disk shows when room is set aside,
before anything is learned. After a failed write or sync nobody knows what the disk has, so that nothing is
acknowledged any more until a restart has read it (Rebello et al., Can Applications Recover from fsync Failures?,
USENIX ATC 2020).
"""

import logging
import os
import threading
from contextlib import suppress
from pathlib import Path

from tocsin.errors import InputError, StoreError
from tocsin.jobs.segment import FRAME_BYTES, OpenSegment, frame_head

log = logging.getLogger(__name__)

MOST_FRAME_BYTES = 1 << 30
MOST_WAITING_BYTES = 64 << 20
"""Appended and never committed: the next to append then commits."""


class Journal:
    """Takes frames and makes them safe. `append`, `reserve` and `rotate` are of one thread, `commit` of any.

    durable: whether a commit waits for the disk. Otherwise it hands over to the operating system only: a killed
    process loses nothing acknowledged, a power cut what the system had not written yet.
    """

    def __init__(self, folder: Path, number: int, *, durable: bool = True) -> None:
        self._folder = folder
        self._durable = durable
        self._appended = self._committed = 0
        self._failure = ""
        self._lists = threading.Lock()
        self._disk = threading.Lock()
        self._older: list[OpenSegment] = []
        self._segment = self._begin(number)

    @property
    def number(self) -> int:
        """Number of the segment that is appended to."""
        return self._segment.number

    def check(self) -> None:
        """Raise StoreError when the journal failed before."""
        if self._failure:
            raise StoreError(self._failure)

    def reserve(self, payload_bytes: int, frames: int = 1) -> None:
        """Make sure that so much can be appended. Raises StoreError when the disk is full, InputError when too big."""
        self.check()
        if payload_bytes > MOST_FRAME_BYTES:
            raise InputError(f"one request holds {payload_bytes} bytes, {MOST_FRAME_BYTES} at most; send it in parts")
        if self._appended - self._committed > MOST_WAITING_BYTES:
            self.commit()
        try:
            self._segment.reserve(payload_bytes + frames * FRAME_BYTES)
        except OSError as error:
            raise StoreError(
                f"nothing was learned: {self._segment.path} cannot grow by {payload_bytes} bytes "
                f"({error.strerror or error}); free some space in {self._folder} and send it again"
            ) from error

    def append(self, kind: int, context: int, payload: bytes) -> None:
        """Append a frame for which room was reserved; it is safe after the next commit."""
        head = frame_head(kind, context, payload)
        with self._lists:
            self._segment.waiting += (head, payload)
            self._segment.end += len(head) + len(payload)
            self._appended += len(head) + len(payload)

    def commit(self) -> None:
        """Return when all that was appended before the call is safe. Raises StoreError."""
        target = self._appended
        self.check()
        if self._committed < target:
            with self._disk:
                self.check()
                if self._committed < target:
                    self._drain()

    def rotate(self) -> int:
        """Begin a new segment and return its number; the next commit finishes the one before. Raises StoreError."""
        self.check()
        fresh = self._begin(self.number + 1)
        with self._lists:
            self._older.append(self._segment)
            self._segment = fresh
            # The next commit has something to do, be nothing appended.
            self._appended += 1
        return fresh.number

    def close(self) -> None:
        """Make all safe and close. Raises StoreError."""
        try:
            self.commit()
            with self._disk:
                self._segment.finish()
        except OSError as error:
            raise self._failed(error) from error
        finally:
            for segment in (*self._older, self._segment):
                segment.abandon()

    def _begin(self, number: int) -> OpenSegment:
        try:
            return OpenSegment(self._folder, number)
        except OSError as error:
            raise StoreError(
                f"cannot begin segment {number} of the journal in {self._folder}: {error.strerror or error}; "
                "free some space, or give this user the right to write there"
            ) from error

    def _drain(self) -> None:
        """Write and sync what waits; the disk's lock is held."""
        with self._lists:
            older, self._older = self._older, []
            segment, waiting, self._segment.waiting = self._segment, self._segment.waiting, []
            target = self._appended
        try:
            for each in older:
                each.write(each.waiting)
                each.finish()
            if not segment.is_named:
                sync_folder(self._folder)
                segment.is_named = True
            segment.write(waiting)
            if self._durable:
                segment.sync()
        except OSError as error:
            raise self._failed(error) from error
        self._committed = target

    def _failed(self, error: OSError) -> StoreError:
        self._failure = (
            f"the journal in {self._folder} could not be written ({error.strerror or error}). Nothing is acknowledged "
            "any more, since nobody knows what the disk has; see to the disk and restart, which reads it again"
        )
        log.error("%s", self._failure)
        return StoreError(self._failure)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has a folder's names. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        with suppress(OSError):
            os.close(fd)
