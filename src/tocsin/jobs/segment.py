"""One file of a journal: frames one after the other, whole up to where a kill or a power cut ended it.

segment  head · frames · zeros that were set aside, or nothing
head     64 bytes: magic "TOCSINJ1" · number, uint64 · CRC-32 of both, uint32; from byte 32 on: safe, uint64 ·
         CRC-32 of it, uint32
frame    CRC-32 of all that follows, uint32 · length of the payload, uint32 · kind, uint16 · 0, uint16 ·
         context, uint32 · payload                                                      (all little-endian)

`safe` says up to which byte the disk has confirmed to have the segment; it is written after it has. What cannot be
read from there on was never acknowledged and is cut off; what cannot be read before is damage, and said.
"""

import errno
import os
import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tocsin.errors import StoreError

HEAD_BYTES = 64
FRAME_BYTES = 16
ROOM_BYTES = 16 << 20
"""Set aside at a time, so that a full disk is known before anything is promised."""

_MAGIC = b"TOCSINJ1"
_NAME = struct.Struct("<8sQI")
_SAFE = struct.Struct("<QI")
_SAFE_AT = 32
_FRAME = struct.Struct("<IIHHI")
_REST = struct.Struct("<IHHI")
_NO_RESERVATIONS = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class Frame(NamedTuple):
    """A frame as it was read: what kind, of which context, its payload, and at which byte it begins."""

    kind: int
    context: int
    payload: memoryview
    at: int


def path_of(folder: Path, number: int) -> Path:
    """Return where a segment lies."""
    return folder / f"journal-{number:08}.log"


def frame_head(kind: int, context: int, payload: bytes) -> bytes:
    """Return what stands before a payload."""
    rest = _REST.pack(len(payload), kind, 0, context)
    return zlib.crc32(payload, zlib.crc32(rest)).to_bytes(4, "little") + rest


class OpenSegment:
    """A segment that is appended to: room is set aside first, then frames wait, are written, and made safe.

    Raises OSError from everything that touches the disk.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.path = path_of(folder, number)
        self.number = number
        self.end = HEAD_BYTES
        """Where the next frame goes, whatever of it is written."""
        self.waiting: list[bytes] = []
        self.is_named = False
        """Whether the disk is known to have its name."""
        self._written = HEAD_BYTES
        self._room = 0
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(self._fd).st_size:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.path))
            self.reserve(0)
            os.pwrite(self._fd, _head(number, HEAD_BYTES), 0)
        except OSError:
            self.abandon()
            raise

    def reserve(self, size_bytes: int) -> None:
        """Set aside room for so many bytes more than were appended."""
        needed = self.end + size_bytes
        if needed <= self._room:
            return
        try:
            os.posix_fallocate(self._fd, 0, needed + ROOM_BYTES)
            self._room = needed + ROOM_BYTES
        except OSError as error:
            if error.errno in _NO_RESERVATIONS:
                return
            os.posix_fallocate(self._fd, 0, needed)
            self._room = needed

    def write(self, pieces: Iterable[bytes]) -> None:
        """Hand frames to the operating system."""
        data = memoryview(b"".join(pieces))
        while data:
            count = os.pwrite(self._fd, data, self._written)
            self._written += count
            data = data[count:]

    def sync(self) -> None:
        """Wait until the disk has what was written, and note that it has."""
        os.fdatasync(self._fd)
        os.pwrite(self._fd, _safe(self._written), _SAFE_AT)

    def finish(self) -> None:
        """Give back what was set aside, make the rest safe and close."""
        os.ftruncate(self._fd, self._written)
        self.sync()
        os.fsync(self._fd)
        self.abandon()

    def abandon(self) -> None:
        """Close; what is in the file stays as it is."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)


class Recorded:
    """A segment that an earlier process left: its frames, then where they end."""

    def __init__(self, path: Path, number: int, *, salvage: bool = False) -> None:
        self.path = path
        self.number = number
        self.salvage = salvage
        self.end = HEAD_BYTES
        """Where the last whole frame ends, once all were read."""
        try:
            self._data = path.read_bytes()
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror or error}; see that it can be read") from error

    @property
    def cut_bytes(self) -> int:
        """Bytes behind the last whole frame that are no zeros, once all were read."""
        return len(self._data[self.end :].rstrip(b"\0"))

    def frames(self) -> Iterator[Frame]:
        """Yield the frames, up to the end or what was never acknowledged. Raises StoreError on damage."""
        if not self._data.rstrip(b"\0"):
            return  # the process was killed between making the file and writing its head
        safe = self._safe()
        view, size, at = memoryview(self._data), len(self._data), HEAD_BYTES
        while at + FRAME_BYTES <= size:
            checksum, length, kind, _, context = _FRAME.unpack_from(view, at)
            end = at + FRAME_BYTES + length
            if end > size or zlib.crc32(view[at + 4 : end]) != checksum:
                break
            yield Frame(kind, context, view[at + FRAME_BYTES : end], at)
            self.end = at = end
        if at < safe and not self.salvage:
            raise self.damaged(at, "the frame there does not have its checksum")

    def damaged(self, at: int, why: str) -> StoreError:
        """Return the error of what cannot be read at a byte."""
        aside = self.path.with_suffix(".salvage")
        return StoreError(
            f"{self.path} is damaged at byte {at}: {why}. Bring the folder back from a backup; or keep what is before "
            f"that byte and lose what was observed after it: mv '{self.path}' '{aside}', and start again"
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is no frame in it, once all were read."""
        return self.end == HEAD_BYTES

    def mend(self) -> None:
        """Cut off what is no whole frame, and make the rest safe; of none, leave an empty file. Raises StoreError."""
        place = path_of(self.path.parent, self.number)
        try:
            if self.salvage:
                shutil.copyfile(self.path, place)
            fd = os.open(place, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.ftruncate(fd, 0 if self.is_empty else self.end)
                os.fsync(fd)
                if not self.is_empty:
                    os.pwrite(fd, _head(self.number, self.end), 0)
                    os.fsync(fd)
            finally:
                os.close(fd)
            if self.salvage:
                self.path.rename(self.path.with_suffix(".damaged"))
        except OSError as error:
            raise StoreError(
                f"cannot write to {place}: {error.strerror or error}; give this user the right to, and some space"
            ) from error

    def _safe(self) -> int:
        head = self._data[:HEAD_BYTES]
        if len(head) < HEAD_BYTES or head[: _NAME.size] != _named(self.number):
            if self.salvage:
                return HEAD_BYTES
            raise self.damaged(0, "it does not begin as a journal of its number does")
        safe: int = _SAFE.unpack_from(head, _SAFE_AT)[0]
        # A power cut may leave half of it; then what the frames say themselves must do.
        return safe if head[_SAFE_AT : _SAFE_AT + _SAFE.size] == _safe(safe) else HEAD_BYTES


def _head(number: int, safe: int) -> bytes:
    return (_named(number).ljust(_SAFE_AT, b"\0") + _safe(safe)).ljust(HEAD_BYTES, b"\0")


def _named(number: int) -> bytes:
    start = _MAGIC + number.to_bytes(8, "little")
    return start + zlib.crc32(start).to_bytes(4, "little")


def _safe(safe: int) -> bytes:
    return _SAFE.pack(safe, zlib.crc32(safe.to_bytes(8, "little")))
