"""Where a run was: positions of its inputs, the state of its summaries and the sizes of its outputs, in one object.

The object is put at once or not at all, so a killed run resumes from inputs, counts and outputs of one moment.
"""

import zlib
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tocsin.cluster.plain import plain, revive
from tocsin.cluster.wire import FrameError, frame, from_bytes, to_bytes
from tocsin.errors import ModelError, NotFoundError
from tocsin.store import Store

FORMAT = 1
CODEC = "lz4"
"""Fast enough not to be felt; sketches and sparse states shrink by half and more."""


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a run.

    positions: input -> where to read on. state: of the engine. outputs: output -> where it ended (a file's size).
    settings: digest of what the state depends on, see `processes.summaries_digest`.
    more: what else the run needs to go on: the number of the next record, the watermark.
    """

    positions: dict[str, Any]
    state: bytes
    settings: str
    outputs: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)


def save(store: Store, path: str, checkpoint: Checkpoint) -> None:
    """Put a checkpoint in place of the one before. Raises StoreError."""
    squeezed = pa.compress(checkpoint.state, codec=CODEC, asbytes=True)
    about = plain({**vars(checkpoint), "state": None})
    head = {"checkpoint": FORMAT, "about": about, "nbytes": len(checkpoint.state), "crc32": zlib.crc32(squeezed)}
    store.put(path, to_bytes(frame(head, {"state": squeezed})))


def load(store: Store, path: str, *, settings: str) -> Checkpoint | None:
    """Return the checkpoint, or None when there is none.

    Raises ModelError when it is damaged, of another format, or of other settings.
    """
    try:
        data = store.get(path).data
    except NotFoundError:
        return None
    try:
        kept = from_bytes(data)
        if kept.head.get("checkpoint") != FORMAT:
            raise ModelError(f"{store.url(path)} has format {kept.head.get('checkpoint')}; this version reads {FORMAT}")
        squeezed = kept.part("state")
    except FrameError as error:
        raise ModelError(f"{store.url(path)} is damaged: {error}; delete it to start afresh") from error
    if zlib.crc32(squeezed) != kept.head["crc32"]:
        raise ModelError(f"{store.url(path)} is damaged: its checksum differs; delete it to start afresh")
    about = revive(Any, kept.head["about"])
    if about["settings"] != settings:
        other = "is of other summaries, or of another number of workers"
        raise ModelError(f"{store.url(path)} {other}; put the settings back, or begin anew with --fresh")
    state = pa.decompress(squeezed, decompressed_size=kept.head["nbytes"], codec=CODEC, asbytes=True)
    return Checkpoint(**{**about, "state": state})
