"""Checkpoints of contexts: a file a context, and a manifest that says which files and which journal belong together.

Files are written under a temporary name, synced and renamed; the manifest last, in place of the one before. So a kill
leaves either the old checkpoint or the new one, and files that no manifest names, which the next start removes.
"""

import json
import logging
import os
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tocsin.cluster.wire import FrameError, frame, from_bytes, to_bytes
from tocsin.detector import State, dump_state, load_state
from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.errors import ModelError, StoreError
from tocsin.jobs.journal import sync_folder
from tocsin.jobs.retries import Answer, pack, unpack
from tocsin.jobs.segment import path_of

log = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = "manifest.json"
_RESTORE = "bring the folder back from a backup, or move it away to start afresh"

Document = dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint consists of.

    first_segment: of the journal that goes on from it. next_context: the number of the next new context.
    contexts: documents with number, name, created_us, last_us and file. retries: the file of answers, {} for none.
    A file is {"name", "nbytes", "crc32"}.
    """

    checkpoint: int = 0
    first_segment: int = 1
    next_context: int = 1
    contexts: list[Document] = field(default_factory=list)
    retries: Document = field(default_factory=dict)

    @property
    def files(self) -> set[str]:
        """Names of the files that belong to it."""
        every = (self.retries, *(context["file"] for context in self.contexts))
        return {each["name"] for each in every if each}


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint will consist of, as it was at one moment.

    states: by number, of the contexts whose file must be written; the others' documents name their file.
    """

    manifest: Manifest
    states: dict[int, State]
    answers: tuple[Answer, ...]


def read_manifest(folder: Path) -> Manifest | None:
    """Return the last checkpoint's manifest, None when there is none. Raises StoreError."""
    path = folder / MANIFEST
    if not path.exists():
        if any(folder.glob("context-*.model")) and not path_of(folder, 1).exists():
            raise StoreError(f"{path} is missing, and there are contexts in the folder; {_RESTORE}")
        return None
    try:
        document = json.loads(_read(path))
        found = document["manifest"]
        if document["crc32"] != _checksum(found):
            raise StoreError(f"{path} is damaged: its checksum differs; {_RESTORE}")
        if document["format"] != FORMAT:
            raise StoreError(f"{path} has format {document['format']}, this version reads {FORMAT}; use a newer tocsin")
        return Manifest(**found)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); {_RESTORE}") from error


def read_model(folder: Path, file: Document) -> NoveltyModel:
    """Return a context's model. Raises StoreError."""
    data = _checked(folder, file)
    try:
        return NoveltyModel.of(load_state(data))
    except ModelError as error:
        raise StoreError(f"{folder / file['name']} cannot be read: {error}; {_RESTORE}") from error


def read_answers(folder: Path, file: Document) -> list[Answer]:
    """Return the answers of a checkpoint. Raises StoreError."""
    if not file:
        return []
    try:
        outer = from_bytes(_checked(folder, file))
        return [answer for name in outer.parts for answer in unpack(from_bytes(outer.part(name)))]
    except FrameError as error:
        raise StoreError(f"{folder / file['name']} is damaged: {error}; {_RESTORE}") from error


def write(folder: Path, snapshot: Snapshot) -> Manifest:
    """Write a checkpoint and return its manifest, which now stands; then remove what it replaces. Raises StoreError."""
    number = snapshot.manifest.checkpoint
    try:
        documents = [_with_file(folder, number, each, snapshot) for each in snapshot.manifest.contexts]
        retries = _write_answers(folder, number, snapshot.answers) if snapshot.answers else {}
        manifest = Manifest(**{**vars(snapshot.manifest), "contexts": documents, "retries": retries})
        sync_folder(folder)
        plain = asdict(manifest)
        _put(folder / MANIFEST, json.dumps({"format": FORMAT, "crc32": _checksum(plain), "manifest": plain}).encode())
        sync_folder(folder)
    except OSError as error:
        raise StoreError(
            f"cannot write a checkpoint to {folder}: {error.strerror or error}; free some space. Nothing is lost: "
            "the journal keeps everything until a checkpoint succeeds"
        ) from error
    sweep(folder, manifest)
    return manifest


def sweep(folder: Path, manifest: Manifest) -> None:
    """Remove the files that a checkpoint no longer needs, and what a killed process left half-written."""
    needed = manifest.files
    for path in folder.iterdir():
        old = path.suffix == ".model" and path.name not in needed
        read = (
            path.suffix == ".log"
            and path.stem.removeprefix("journal-").isdecimal()
            and _number(path) < manifest.first_segment
        )
        if old or read or path.suffix == ".tmp":
            with suppress(OSError):
                path.unlink()


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("journal-"))


def _with_file(folder: Path, number: int, document: Document, snapshot: Snapshot) -> Document:
    state = snapshot.states.get(document["number"])
    if state is None:
        return document
    name = f"context-{document['number']}-{number}.model"
    return {**document, "file": _put(folder / name, dump_state(state, compressed=False))}


def _write_answers(folder: Path, number: int, answers: tuple[Answer, ...]) -> Document:
    parts = {str(index): to_bytes(each) for index, each in enumerate(pack(answers))}
    return _put(folder / f"answers-{number}.model", to_bytes(frame({}, parts)))


def _put(path: Path, data: bytes) -> Document:
    temporary = path.with_suffix(".tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return {"name": path.name, "nbytes": len(data), "crc32": zlib.crc32(data)}


def _checked(folder: Path, file: Document) -> bytes:
    path = folder / str(file["name"])
    data = _read(path)
    if len(data) != file["nbytes"] or zlib.crc32(data) != file["crc32"]:
        raise StoreError(f"{path} is damaged: its length or checksum differs; {_RESTORE}")
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}; {_RESTORE}") from error


def _checksum(manifest: Document) -> int:
    return zlib.crc32(json.dumps(manifest, sort_keys=True).encode())
