"""Transformations by name, in the store: changed by compare-and-swap, so that several instances share them."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from tocsin.clock import Clock
from tocsin.errors import ConflictError, NotFoundError, SettingsError, StoreError
from tocsin.serve.transformation import Transformation, check_name, transformation_of
from tocsin.store import Store

FRESH_S = 5.0
"""Seconds for which what was read is believed; another instance's change is seen after them."""

MOST = 1000
"""Transformations there may be."""


@dataclass(frozen=True)
class Stored:
    """A transformation, and the tag that changes with it."""

    name: str
    transformation: Transformation
    etag: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"name": self.name, **self.transformation.to_dict()}


@dataclass
class Transformations:
    """Reads and writes transformations; its methods block, `get` only where what it knows is old."""

    store: Store
    folder: str
    clock: Clock
    _known: dict[str, tuple[float, Stored]] = field(default_factory=dict)

    async def get(self, name: str) -> Transformation:
        """Return a transformation. Raises InputError, NotFoundError, StoreError."""
        known = self._known.get(name)
        if known is None or self.clock.monotonic() - known[0] > FRESH_S:
            return (await asyncio.to_thread(self.read, name)).transformation
        return known[1].transformation

    def read(self, name: str) -> Stored:
        """Return what the store has of this name. Raises InputError, NotFoundError, StoreError."""
        self._known.pop(name, None)
        try:
            found = self.store.get(self._path(name))
        except NotFoundError as error:
            raise NotFoundError(
                f"there is no transformation {name!r}; GET /api/v1/transformations lists those there are"
            ) from error
        try:
            stored = Stored(name, transformation_of(json.loads(found.data)), found.etag)
        except (ValueError, TypeError, SettingsError) as error:
            url = self.store.url(self._path(name))
            raise StoreError(f"{url} is no transformation ({error}); put it anew, or delete it") from error
        self._keep(stored)
        return stored

    def names(self) -> list[str]:
        """Return the names there are, in order. Raises StoreError."""
        paths = (info.path.rsplit("/", 1)[-1] for info in self.store.list(self.folder))
        return [path.removesuffix(".json") for path in paths if path.endswith(".json")]

    def put(self, name: str, transformation: Transformation, if_match: str | None = None) -> tuple[Stored, bool]:
        """Write one, and say whether it is new. if_match: only where the present one has this tag.

        Raises InputError for the name, ConflictError when somebody else was faster, StoreError.
        """
        path = self._path(name)
        present = if_match or self._tag(path)
        if present is None and len(self.names()) >= MOST:
            raise ConflictError(f"there are {MOST} transformations already; delete one first")
        data = json.dumps(transformation.to_dict(), indent=1, sort_keys=True).encode()
        try:
            etag = self.store.put(path, data, create=present is None, if_match=present)
        except (ConflictError, NotFoundError) as error:
            raise ConflictError(
                f"the transformation {name!r} was changed by somebody else; GET it and send its ETag as If-Match"
            ) from error
        stored = Stored(name, transformation, etag)
        self._keep(stored)
        return stored, present is None

    def delete(self, name: str) -> None:
        """Remove one. Raises InputError, NotFoundError, StoreError."""
        self.read(name)
        self.store.delete(self._path(name))
        self._known.pop(name, None)

    def _path(self, name: str) -> str:
        return f"{self.folder}{check_name(name)}.json"

    def _tag(self, path: str) -> str | None:
        try:
            return self.store.get(path).etag
        except NotFoundError:
            return None

    def _keep(self, stored: Stored) -> None:
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[stored.name] = self.clock.monotonic(), stored
