"""A store in memory, with the whole contract, and faults on demand."""

import hashlib
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import BinaryIO

from tocsin.errors import ConflictError, NotFoundError
from tocsin.store import ObjectInfo, Store, Stored


class MemoryStore(Store):
    """Objects in a dict. `before_put` sees every put's path and may raise, to break off at a chosen moment."""

    name = "memory"

    def __init__(self, before_put: Callable[[str], None] | None = None) -> None:
        self.objects: dict[str, tuple[bytes, str, datetime]] = {}
        self.before_put = before_put
        self.puts = 0

    def get(self, path: str) -> Stored:
        """Return an object. Raises NotFoundError."""
        data, etag, _ = self._object(path)
        return Stored(data, etag)

    def put(self, path: str, data: bytes | memoryview, *, create: bool = False, if_match: str | None = None) -> str:
        """Write an object and return its new e-tag. Raises ConflictError when the condition does not hold."""
        if self.before_put is not None:
            self.before_put(path)
        present = self.objects.get(path)
        if create and present is not None:
            raise ConflictError(f"{self.url(path)} exists already")
        if if_match is not None and (present is None or present[1] != if_match):
            raise ConflictError(f"{self.url(path)} has changed")
        self.puts += 1
        content = bytes(data)
        etag = f"{self.puts}-{hashlib.blake2b(content, digest_size=8).hexdigest()}"
        self.objects[path] = (content, etag, datetime.now(UTC))
        return etag

    def list(self, prefix: str) -> "list[ObjectInfo]":
        """Return the objects below a prefix, sorted by path."""
        return [
            ObjectInfo(path, len(data), etag, modified)
            for path, (data, etag, modified) in sorted(self.objects.items())
            if path.startswith(prefix)
        ]

    def delete(self, path: str) -> None:
        """Remove an object; nothing happens when there is none."""
        self.objects.pop(path, None)

    def open(self, path: str) -> BinaryIO:
        """Open an object for reads. Raises NotFoundError."""
        return io.BytesIO(self._object(path)[0])

    def url(self, path: str) -> str:
        """Return memory://path."""
        return f"memory://{path}"

    def _object(self, path: str) -> tuple[bytes, str, datetime]:
        try:
            return self.objects[path]
        except KeyError:
            raise NotFoundError(f"{self.url(path)}: there is no such object") from None
