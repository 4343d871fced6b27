"""Claims: each piece of work is done by one instance at a time.

A claim is a JSON document in the store, {owner, host, pid, started, where, expires, renewed}, changed only by
compare-and-swap. It is free when there is none, when it was released, when it has expired, and when its process has
ended on this machine. Hosts' clocks must agree to well within the expiry.
"""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from tocsin.clock import Clock
from tocsin.errors import ConflictError, StoreError
from tocsin.jobs.process import Process
from tocsin.records.finding import rfc3339
from tocsin.store import Store, read_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClaimState:
    """What a claim's document says: who has the piece of work, and until when; owner '' when it was released."""

    path: str
    owner: str
    expires: datetime
    held: bool


class Claim:
    """A claim that is held. Renewed by itself at a third of its expiry while the block runs, and by `renew`."""

    def __init__(
        self, store: Store, path: str, etag: str, *, owner: str, process: Process, clock: Clock, expiry_s: float
    ) -> None:
        self.path = path
        self.owner = owner
        self._store = store
        self._etag = etag
        self._process = process
        self._clock = clock
        self._expiry_s = expiry_s
        self._renewed = clock.monotonic()
        self._lost = False
        self._lock = threading.Lock()
        self._done = threading.Event()

    def renew(self) -> None:
        """Make sure that the claim is still ours, and put its expiry off.

        To be called before anything is published. It costs nothing when less than a third of the expiry has passed.
        Raises ConflictError when somebody else has taken it over: the work must not be published.
        """
        with self._lock:
            if not self._lost and self._clock.monotonic() - self._renewed < self._expiry_s / 3:
                return
            self._write(self.owner, self._expiry_s)

    def release(self) -> None:
        """Let go of it; nothing happens when it has been lost."""
        with self._lock:
            if self._lost:
                return
            try:
                self._write("", 0)
            except ConflictError:
                log.warning("the claim %s was taken over before it was released", self.path)
            except StoreError as error:
                log.warning("the claim %s could not be released, it will expire: %s", self.path, error)
            self._lost = True

    def _write(self, owner: str, expiry_s: float) -> None:
        if self._lost:
            raise ConflictError(f"the claim {self.path} of {self.owner} was lost; its work is not published")
        begun = self._clock.monotonic()
        data = _document(owner, self._process, self._clock.now(), expiry_s)
        try:
            self._etag = self._store.put(self.path, data, if_match=self._etag)
        except ConflictError as error:
            self._lost = True
            raise ConflictError(
                f"the claim {self.path} of {self.owner} expired and was taken over; its work is not published"
            ) from error
        self._renewed = begun

    def _keep(self) -> None:
        """Renew until the block ends: the body of the claim's thread."""
        while not self._done.wait(self._expiry_s / 3):
            try:
                self.renew()
            except ConflictError as error:
                log.warning("%s", error)
                return
            except StoreError as error:
                log.warning("the claim %s could not be renewed yet: %s", self.path, error)


@contextmanager
def claim(
    store: Store, path: str, *, owner: str, clock: Clock, expiry_s: float, process: Process | None = None
) -> Iterator[Claim | None]:
    """Give the claim for a piece of work while the block runs, or None when another owner has it.

    Raises StoreError.
    """
    process = process or Process.here()
    held = _take(store, path, owner=owner, process=process, clock=clock, expiry_s=expiry_s)
    if held is None:
        yield None
        return
    keeper = threading.Thread(target=held._keep, name=f"claim {path}", daemon=True)
    keeper.start()
    try:
        yield held
    finally:
        held._done.set()
        keeper.join()
        held.release()


def claims(store: Store, prefix: str, *, clock: Clock) -> list[ClaimState]:
    """Return the state of every claim below a folder, for status and metrics."""
    states = []
    for info in store.list(prefix):
        document, _ = read_json(store, info.path)
        if document is not None:
            expires = _time(document, "expires", info.path)
            held = not _is_free(document, info.path, clock)
            states.append(ClaimState(info.path, str(document.get("owner", "")), expires, held))
    return states


def sweep_claims(store: Store, prefix: str, *, clock: Clock, older_than_s: float = 86_400) -> int:
    """Remove the documents of claims that have been free for so long; return how many."""
    limit = clock.now() - timedelta(seconds=older_than_s)
    old = [state for state in claims(store, prefix, clock=clock) if not state.held and state.expires < limit]
    for state in old:
        store.delete(state.path)
    return len(old)


def _take(store: Store, path: str, *, owner: str, process: Process, clock: Clock, expiry_s: float) -> Claim | None:
    begun = clock.monotonic()
    document, etag = read_json(store, path)
    if document is not None and not _is_free(document, path, clock):
        return None
    data = _document(owner, process, clock.now(), expiry_s)
    try:
        etag = store.put(path, data, create=etag is None, if_match=etag)
    except ConflictError:
        return None
    held = Claim(store, path, etag, owner=owner, process=process, clock=clock, expiry_s=expiry_s)
    held._renewed = begun
    return held


def _is_free(document: dict[str, Any], path: str, clock: Clock) -> bool:
    if not document.get("owner") or _time(document, "expires", path) <= clock.now():
        return True
    try:
        process = Process(**{name: document[name] for name in ("host", "pid", "started", "where")})
    except KeyError:
        return False
    return process.is_gone()


def _document(owner: str, process: Process, now: datetime, expiry_s: float) -> bytes:
    expires = now + timedelta(seconds=expiry_s)
    values = {"owner": owner, **asdict(process), "expires": rfc3339(expires), "renewed": rfc3339(now)}
    return json.dumps(values, indent=1, sort_keys=True).encode()


def _time(document: dict[str, Any], key: str, path: str) -> datetime:
    try:
        return datetime.fromisoformat(document[key])
    except (KeyError, TypeError, ValueError):
        raise StoreError(f"{path} is no claim: {key} is missing or no time; delete it to set the work free") from None
