"""What a store can do, found out by doing it."""

import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tocsin.clock import Clock, SystemClock
from tocsin.errors import ConflictError, NotFoundError, StoreError
from tocsin.store import Store

SCRATCH = "tocsin-probe"


@dataclass(frozen=True)
class Capability:
    """Something that a store has shown it can do, and how long it took."""

    name: str
    what: str
    took_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def probe(store: Store, *, clock: Clock | None = None) -> list[Capability]:
    """Try everything that tocsin asks of a store on a scratch object, and return what it took.

    Raises StoreError naming what the store cannot do. The scratch object is removed, also then.
    """
    clock = clock or SystemClock()
    path = f"{SCRATCH}/{uuid.uuid4().hex}"
    steps: list[tuple[str, str, Callable[[Store, str], None]]] = [
        ("put", "write an object", _put),
        ("get", "read what was written", _get),
        ("open", "read a part of it", _open),
        ("list", "list what was written at once", _list),
        ("create-only", "refuse to create what is there", _create_only),
        ("if-match", "refuse to replace what has changed", _if_match),
        ("delete", "remove an object", _delete),
    ]
    done = []
    try:
        for name, what, step in steps:
            begun = clock.monotonic()
            step(store, path)
            done.append(Capability(name, what, round((clock.monotonic() - begun) * 1000, 3)))
    except StoreError:
        if done:
            _tidy(store, path)
        raise
    return done


def _put(store: Store, path: str) -> None:
    store.put(path, b"one")


def _get(store: Store, path: str) -> None:
    if store.get(path).data != b"one":
        raise _refusal(store, "gives back other bytes than were written")


def _open(store: Store, path: str) -> None:
    with store.open(path) as file:
        file.seek(1)
        if file.read(1) != b"n":
            raise _refusal(store, "cannot read a part of an object")


def _list(store: Store, path: str) -> None:
    if path not in [info.path for info in store.list(f"{SCRATCH}/")]:
        raise _refusal(store, "does not list an object that has just been written")


def _create_only(store: Store, path: str) -> None:
    try:
        store.put(path, b"two", create=True)
    except ConflictError:
        return
    raise _refusal(
        store, "ignores create-only puts (If-None-Match), so two instances would overwrite each other's state"
    )


def _if_match(store: Store, path: str) -> None:
    before = store.get(path).etag
    after = store.put(path, b"three", if_match=before)
    if after == before or store.get(path).etag != after:
        raise _refusal(store, "does not give a new e-tag for new content")
    try:
        store.put(path, b"four", if_match=before)
    except ConflictError:
        return
    raise _refusal(store, "ignores conditional puts (If-Match), so two instances would overwrite each other's state")


def _delete(store: Store, path: str) -> None:
    store.delete(path)
    try:
        store.get(path)
    except NotFoundError:
        return
    raise _refusal(store, "still has an object that was deleted")


def _tidy(store: Store, path: str) -> None:
    try:
        store.delete(path)
    except StoreError:
        # What is wrong with the store is already on its way.
        return


def _refusal(store: Store, what: str) -> StoreError:
    return StoreError(
        f"{store.url('')} cannot be used: it {what}; use a folder, AWS, or a server that supports conditional puts"
    )
