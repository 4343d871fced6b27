"""A store in a folder."""

import errno
import fcntl
import hashlib
import logging
import os
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from tocsin.clock import Clock, SystemClock
from tocsin.errors import ConflictError, NotFoundError, StoreError
from tocsin.levels import TRACE
from tocsin.store import ObjectInfo, Store, Stored, check_path, folder_prefix

log = logging.getLogger(__name__)

# Names that the store keeps for itself; an object's own name may begin with a dot, such as .state.json.
RESERVED = ".tocsin-"
_TEMPORARY = f"{RESERVED}tmp-"
_LOCKS = f"{RESERVED}locks"
_LOCK_FILES = 16
_STALE_S = 3600
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_REMEDIES = {
    errno.ENOENT: "choose a folder that can be made",
    errno.EACCES: "give this user the right to write there",
    errno.EPERM: "give this user the right to write there",
    errno.EROFS: "its file system is mounted read-only; mount it for writing or choose another folder",
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the user's quota is used up; free some space",
    errno.ENOTDIR: "a file stands where a folder should; move it away",
    errno.EEXIST: "a file stands where a folder should; move it away",
    errno.EISDIR: "a folder stands where a file should; move it away",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


class FolderStore(Store):
    """Objects as files below a folder, safe between threads and processes of one machine.

    A put writes a temporary file beside the object, syncs it to disk and renames it; what a killed process leaves
    is not listed, and removed by a listing an hour later. Puts and deletions of an object take turns through a lock
    file, which the system releases when its holder dies. An e-tag is a hash of the content.
    """

    name = "folder"

    def __init__(self, root: Path, *, clock: Clock | None = None) -> None:
        self.root = root
        self.counts = {"errors": 0, "retries": 0}
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        return f"FolderStore({str(self.root)!r})"

    def get(self, path: str) -> Stored:
        """Return an object. Raises NotFoundError, StoreError."""
        with self._errors("read", path):
            data = self._place(path).read_bytes()
        log.log(TRACE, "read %s", path, extra={"bytes": len(data)})
        return Stored(data, _etag(data))

    def put(self, path: str, data: bytes | memoryview, *, create: bool = False, if_match: str | None = None) -> str:
        """Write an object and return its new e-tag. Raises ConflictError, StoreError."""
        place = self._place(path)
        with self._errors("write", path):
            temporary = self._write_temporary(place, data)
            try:
                with self._lock(path):
                    self._publish(temporary, place, create, if_match)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(place.parent)
        log.log(TRACE, "wrote %s", path, extra={"bytes": memoryview(data).nbytes})
        return _etag(data)

    def list(self, prefix: str) -> list[ObjectInfo]:
        """Return the objects below a folder, sorted by path."""
        prefix = folder_prefix(prefix)
        with self._errors("list", prefix):
            return sorted(self._walk(self.root / prefix, prefix), key=lambda info: info.path)

    def delete(self, path: str) -> None:
        """Remove an object, and the folders it leaves empty; nothing happens when there is none."""
        place = self._place(path)
        with self._errors("delete", path), suppress(*_ABSENT), self._lock(path):
            place.unlink()
            log.log(TRACE, "deleted %s", path)
        for folder in place.parents:
            if folder == self.root:
                break
            try:
                folder.rmdir()
            except OSError:
                break

    def open(self, path: str) -> BinaryIO:
        """Open an object for random-access reads. Raises NotFoundError, StoreError."""
        with self._errors("open", path):
            file = self._place(path).open("rb")
        log.log(TRACE, "opened %s", path, extra={"bytes": os.fstat(file.fileno()).st_size})
        return file

    def url(self, path: str) -> str:
        """Return the file's path."""
        return str(self.root / path)

    def _place(self, path: str) -> Path:
        check_path(path)
        if any(part.startswith(RESERVED) for part in path.split("/")):
            raise StoreError(f"{path!r}: names that begin with {RESERVED!r} are the store's own")
        return self.root / path

    def _write_temporary(self, place: Path, data: bytes | memoryview) -> Path:
        temporary = place.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
        for attempt in range(5):
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                file = temporary.open("xb", buffering=0)
                break
            except FileNotFoundError:
                # A deletion has just removed the folder that it left empty.
                if attempt == 4:
                    raise
        try:
            with file:
                view = memoryview(data).cast("B")
                while view:
                    view = view[file.write(view) :]
                os.fsync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def _publish(self, temporary: Path, place: Path, create: bool, if_match: str | None) -> None:
        if if_match is not None:
            try:
                present = _etag(place.read_bytes())
            except _ABSENT:
                raise ConflictError(f"{place} is gone since it was read") from None
            if present != if_match:
                raise ConflictError(f"{place} has changed since it was read")
        if create:
            _link(temporary, place)
        else:
            temporary.replace(place)

    @contextmanager
    def _lock(self, path: str) -> Iterator[None]:
        folder = self.root / _LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{zlib.crc32(path.encode()) % _LOCK_FILES:02}").open("ab") as file:
            # Closing the file releases the lock.
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _walk(self, folder: Path, prefix: str) -> Iterator[ObjectInfo]:
        waiting = [(str(folder), prefix)]
        while waiting:
            place, above = waiting.pop()
            try:
                entries = list(os.scandir(place))
            except _ABSENT:
                continue
            for entry in entries:
                if entry.name.startswith(RESERVED):
                    self._sweep(entry)
                elif entry.is_dir():
                    waiting.append((entry.path, f"{above}{entry.name}/"))
                else:
                    with suppress(*_ABSENT):  # deleted since the folder was read
                        yield _info(entry, above)

    def _sweep(self, entry: "os.DirEntry[str]") -> None:
        """Remove a temporary file that a killed process left long ago."""
        with suppress(OSError):
            age_s = self._clock.now().timestamp() - entry.stat().st_mtime
            if entry.name.startswith(_TEMPORARY) and age_s > _STALE_S:
                Path(entry.path).unlink()

    @contextmanager
    def _errors(self, action: str, path: str) -> Iterator[None]:
        try:
            yield
        except _ABSENT as error:
            if action in ("read", "open"):
                raise NotFoundError(f"there is no {self.url(path)}") from error
            raise self._failure(action, path, error) from error
        except OSError as error:
            raise self._failure(action, path, error) from error

    def _failure(self, action: str, path: str, error: OSError) -> StoreError:
        self.counts["errors"] += 1
        remedy = _REMEDIES.get(error.errno or 0)
        return StoreError(f"cannot {action} {self.url(path)}: {error.strerror}{f'; {remedy}' if remedy else ''}")


def _etag(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _info(entry: "os.DirEntry[str]", above: str) -> ObjectInfo:
    status = entry.stat()
    # Every put makes a new file, so the inode tells two puts within one tick of the file system's clock apart.
    version = f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"
    return ObjectInfo(above + entry.name, status.st_size, version, datetime.fromtimestamp(status.st_mtime, UTC))


def _link(temporary: Path, place: Path) -> None:
    """Give the file its name unless that is taken."""
    try:
        place.hardlink_to(temporary)
    except FileExistsError:
        raise ConflictError(f"{place} exists already") from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without hard links; the lock that is held keeps other writers out.
        if place.exists():
            raise ConflictError(f"{place} exists already") from None
        temporary.rename(place)


def _sync_folder(folder: Path) -> None:
    """Make a rename outlive a power cut, where the file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
