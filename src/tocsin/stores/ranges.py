"""A file over range requests."""

import io
import os
from collections.abc import Callable
from typing import Any

BUFFER_BYTES = 1024 * 1024


class RangeFile(io.RawIOBase):
    """A read-only file whose bytes are fetched when they are read.

    read_range: returns the bytes from a start to an end (exclusive). largest: most bytes asked of it at once.
    tail: the file's last bytes, already at hand; a Parquet footer is read without another request.
    """

    def __init__(self, size: int, tail: bytes, read_range: Callable[[int, int], bytes], *, largest: int) -> None:
        super().__init__()
        self._size = size
        self._tail = tail
        self._read_range = read_range
        self._largest = largest
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position and return it."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise ValueError(f"position {origin + offset} is before the file's beginning")
        self._position = origin + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, perhaps less than it holds, and return how many bytes; 0 at the end."""
        view = memoryview(buffer).cast("B")
        start = self._position
        end = min(start + len(view), start + self._largest, self._size)
        if end <= start:
            return 0
        at_hand = self._size - len(self._tail)
        if start >= at_hand:
            data = self._tail[start - at_hand : end - at_hand]
        else:
            end = min(end, at_hand) if at_hand > start else end
            data = self._read_range(start, end)
        view[: len(data)] = data
        self._position = start + len(data)
        return len(data)
