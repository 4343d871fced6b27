"""One process a folder: a lock that the system releases when its holder dies."""

import fcntl
import os
from pathlib import Path

from tocsin.errors import StoreError


class Ownership:
    """Holds a folder until it is released. Raises StoreError, naming the process, when another one holds it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"cannot keep contexts in {folder}: {error.strerror or error}; "
                "choose another folder, or give this user the right to write there"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise StoreError(
                f"{folder} is in use by process {holder}; stop that one (kill {holder}), ask it instead of opening "
                "its folder, or choose another folder"
            ) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    @property
    def is_held(self) -> bool:
        """Whether it was not released yet."""
        return self._fd >= 0

    def release(self) -> None:
        """Let the folder go."""
        if self.is_held:
            os.close(self._fd)
            self._fd = -1
