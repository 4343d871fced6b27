"""The store contract: objects by path, with conditional put.

A store keeps the lake, models, checkpoints and job state. State documents change only by
compare-and-swap (`create` or `if_match`), so that several instances share one store safely.
"""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, ClassVar

from tocsin.errors import ConflictError, NotFoundError, StoreError
from tocsin.levels import TRACE

log = logging.getLogger(__name__)

STORES = {
    "folder": "tocsin.stores.folder:FolderStore",
    "s3": "tocsin.stores.s3:S3Store",
}


@dataclass(frozen=True)
class ObjectInfo:
    """One row of a listing: path below the store's root, size in bytes, a token that changes with it, and when."""

    path: str
    size_bytes: int
    version: str
    modified: datetime


@dataclass(frozen=True)
class Stored:
    """An object's bytes and the e-tag to hand back in a conditional put."""

    data: bytes
    etag: str


class Store(ABC):
    """Objects by path. Paths are relative, with forward slashes. Every put is atomic: no reader sees half of one."""

    name: ClassVar[str]
    # What went wrong so far, for metrics: "errors" that were raised, "retries" of requests.
    counts: dict[str, int]

    @abstractmethod
    def get(self, path: str) -> Stored:
        """Return an object. Raises NotFoundError, StoreError."""

    @abstractmethod
    def put(self, path: str, data: bytes | memoryview, *, create: bool = False, if_match: str | None = None) -> str:
        """Write an object and return its new e-tag.

        With `create`, only if no object is there; with `if_match`, only if its e-tag is still this one.
        Raises ConflictError when the condition does not hold, StoreError on any other failure.
        """

    @abstractmethod
    def list(self, prefix: str) -> list[ObjectInfo]:
        """Return the objects whose path begins with `prefix` (a folder, with its trailing slash), sorted by path."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove an object; nothing happens when there is none."""

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """Open an object for random-access reads (what pyarrow.parquet.ParquetFile takes). Raises NotFoundError."""

    @abstractmethod
    def url(self, path: str) -> str:
        """Return how a person would write this object's place: a file path or s3://bucket/path."""


def check_path(path: str) -> str:
    """Return an object's path as it is. Raises StoreError when it is none, or would leave the store."""
    parts = path.split("/")
    if "\\" in path or "\x00" in path or any(part in ("", ".", "..") for part in parts):
        raise StoreError(
            f"{path!r} is no path of an object: names with / between them, none of them empty, '.' or '..'"
        )
    return path


def folder_prefix(prefix: str) -> str:
    """Return a prefix with its trailing slash, '' for the whole store. Raises StoreError when it leaves it."""
    return f"{check_path(prefix.rstrip('/'))}/" if prefix else ""


def read_json(store: Store, path: str) -> tuple[dict[str, Any] | None, str | None]:
    """Return a state document and its e-tag, or (None, None) when there is none.

    Raises StoreError naming the object when it is not a JSON object.
    """
    try:
        stored = store.get(path)
    except NotFoundError:
        return None, None
    try:
        document = json.loads(stored.data)
    except ValueError as error:
        raise StoreError(
            f"{store.url(path)} is not valid JSON ({error}); restore it, or delete it to start afresh"
        ) from error
    if not isinstance(document, dict):
        raise StoreError(f"{store.url(path)} is not a JSON object; restore it, or delete it to start afresh")
    return document, stored.etag


def update_json(
    store: Store, path: str, change: Callable[[dict[str, Any]], dict[str, Any] | None], *, attempts: int = 50
) -> dict[str, Any]:
    """Change a state document by compare-and-swap and return what it is now.

    `change` gets the present document ({} when there is none) and returns the new one, or None to leave it.
    It may be called several times. Raises ConflictError after so many lost attempts.
    """
    for _ in range(attempts):
        document, etag = read_json(store, path)
        changed = change(json.loads(json.dumps(document or {})))
        if changed is None or changed == document:
            return document or {}
        data = json.dumps(changed, indent=1, sort_keys=True).encode()
        try:
            store.put(path, data, create=etag is None, if_match=etag)
        except ConflictError:
            log.log(TRACE, "another was faster at %s; reading it again", path)
            continue
        log.log(TRACE, "%s state document %s", "made" if etag is None else "changed", path, extra={"bytes": len(data)})
        return changed
    raise ConflictError(f"{store.url(path)} changed {attempts} times while it was being written; try again")
