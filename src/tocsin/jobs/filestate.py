"""What is known of a file that was ingested: how it is known again, how far it was read, what is planned.

The state document of a file changes only by compare-and-swap. Before a piece is written into the lake its range is
planned there, afterwards it is marked done: whoever finds a plan carries out exactly that range again, so that a
process that was killed, or two at once, neither lose nor double a row.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin import __version__
from tocsin.errors import InputError, StoreError
from tocsin.jobs.lake import day_prefix
from tocsin.jobs.landing import parquet_column
from tocsin.records.keys import hash_text
from tocsin.source import Source
from tocsin.sources.blocks import Stream
from tocsin.store import Store, read_json

FORMAT = 1
_ID_BYTES = 16


@dataclass
class FileState:
    """The state document of one file."""

    fileid: str
    source: str
    position: dict[str, Any] | None = None
    pending: dict[str, Any] | None = None
    generation: int = 0
    rows: int = 0
    rejected: int = 0
    skipped: int = 0
    days: list[str] = field(default_factory=list)
    path: str = ""
    size_bytes: int = -1
    mtime_ns: int = -1
    digest: str = ""
    reading: str = ""
    format: int = FORMAT
    etag: str | None = field(default=None, compare=False)

    def piece(self, position: dict[str, Any] | None) -> str:
        """Return the name of the piece that begins at a position."""
        again = f".{self.generation}" if self.generation else ""
        return f"{self.fileid}{again}-{mark(position):014d}"


def mark(position: dict[str, Any] | None) -> int:
    """Return where a position is: an offset, a row, a flow."""
    return next((int(position[name]) for name in ("offset", "row", "flow") if name in position), 0) if position else 0


def state_path(domain: str, fileid: str) -> str:
    """Return where a file's state document is."""
    return f"{domain}/ingest/{fileid}.json"


def load_state(store: Store, domain: str, fileid: str, source: str) -> FileState:
    """Return what is known of a file; a fresh state when nothing is. Raises StoreError."""
    document, etag = read_json(store, state_path(domain, fileid))
    if document and "alias" in document:
        return load_state(store, domain, str(document["alias"]), source)
    if document is None:
        return FileState(fileid, source)
    if document.get("format") != FORMAT:
        place = store.url(state_path(domain, fileid))
        raise StoreError(f"{place}: format {document.get('format')!r}, this version reads {FORMAT}")
    known = {name: value for name, value in document.items() if name in FileState.__dataclass_fields__}
    return FileState(**{**known, "etag": etag})


def save_state(store: Store, domain: str, state: FileState, now: datetime) -> None:
    """Put the state if it is still the one that was loaded. Raises ConflictError, StoreError."""
    document = {name: value for name, value in vars(state).items() if name != "etag"}
    document["updated"] = now.isoformat()
    data = json.dumps(document, indent=1, sort_keys=True).encode()
    state.etag = store.put(state_path(domain, state.fileid), data, create=state.etag is None, if_match=state.etag)


def file_id(source: Source, path: Path, head: bytes, *, growing: bool) -> str | None:
    """Return by what a file is known again, wherever it lies and however it is packed; None where it has no row yet.

    A log is known by its beginning up to its first row, any other file by all its bytes.
    """
    if not source.appendable:
        return _digest_of(path)
    beginning = _first_row(head, titled=bool(getattr(source, "titled", False)), growing=growing)
    return hashlib.blake2b(beginning, digest_size=_ID_BYTES).hexdigest() if beginning else None


def _first_row(head: bytes, *, titled: bool, growing: bool) -> bytes:
    end, titles = 0, int(titled)
    for line in head.splitlines(keepends=True):
        end += len(line)
        if not line.strip() or line.startswith(b"#"):
            continue
        if titles:
            titles -= 1
            continue
        if growing and not line.endswith(b"\n"):
            return b""
        return head[:end].rstrip(b"\r\n")
    return b""


def _digest_of(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=_ID_BYTES)
    try:
        with path.open("rb") as file:
            while data := file.read(1 << 20):
                digest.update(data)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    return digest.hexdigest()


def reading(source: Source) -> str:
    """Return by what rules a source reads: with another column map or version, rows set aside may become flows."""
    rules = getattr(source, "columns", None) or getattr(source, "rename", {})
    return f"{__version__} {source.name} {json.dumps(rules, sort_keys=True)}"


def path_alias(path: Path) -> str:
    """Return the name under which a file that cannot grow is known by its path."""
    return "path-" + hashlib.blake2b(str(path.resolve()).encode(), digest_size=_ID_BYTES).hexdigest()


def holds(path: Path, position: dict[str, Any]) -> bool:
    """Say whether a log still has, right before a position, the bytes it had when it was read up to there."""
    check = position.get("check")
    if check is None:
        return True
    begin = position["offset"] - check["size"]
    data = b"".join(Stream(path).pieces(begin, position["offset"]))
    return len(data) == int(check["size"]) and str(check["hash"]) == hashlib.blake2b(data, digest_size=16).hexdigest()


def known_flows(store: Store, domain: str, state: FileState) -> np.ndarray:
    """Return hashes of the flow ids that earlier generations of a file brought into the lake: sorted uint64."""
    hashes = [
        flow_hashes(parquet_column(store.open(path), "flowid")) for path in _earlier_objects(store, domain, state)
    ]
    return np.unique(np.concatenate(hashes)) if hashes else np.empty(0, np.uint64)


def flow_hashes(flowids: pa.ChunkedArray) -> np.ndarray:
    """Return 64-bit hashes of flow ids: (n,) uint64."""
    return hash_text(flowids, "flowid")


def _earlier_objects(store: Store, domain: str, state: FileState) -> Iterator[str]:
    earlier = [f"part-{state.fileid}-"] + [f"part-{state.fileid}.{number}-" for number in range(1, state.generation)]
    for day in state.days:
        for info in store.list(day_prefix(domain, date.fromisoformat(day))):
            if info.path.rpartition("/")[2].startswith(tuple(earlier)):
                yield info.path
