"""Uploads at work: a few at a time, each read in a thread and learned block by block through the group commit."""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from tocsin.clock import Clock
from tocsin.errors import NotFoundError, TocsinError
from tocsin.jobs.observations import Observations, Report
from tocsin.records.bounded import within
from tocsin.serve.novelty import Novelty
from tocsin.serve.problems import Problem

MOST_RUNNING = 2
"""Files that are read at once."""

MOST_WAITING = 20
"""Files that may wait on disk."""

MOST_KEPT = 200
"""Uploads that are remembered."""

BLOCK_ROWS = 8192
"""Records learned at once, a few milliseconds of the event loop."""

BLOCK_S = 60.0
"""Time for reading a block, up to 65,536 records, SQL and all."""

BUSY_S = 0.05


@dataclass
class Upload:
    """One file on its way into a context; changed by its thread alone, but for `cancelled`.

    It is remembered longer than what reads it, which holds an SQL engine.
    """

    id: str
    context: str
    started: datetime
    size_bytes: int
    report: Report
    observed: int = 0
    error: str = ""
    state: str = "running"
    finished: datetime | None = None
    cancelled: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "id": self.id,
            "context": self.context,
            "state": self.state,
            "size_bytes": self.size_bytes,
            "observed": self.observed,
            "rejected": self.report.rejected,
            "reasons": [_without_path(reason) for reason in self.report.reasons],
            "error": self.error,
            "started": self.started.isoformat(),
            "finished": self.finished.isoformat() if self.finished else None,
        }


class Uploads:
    """Begins, watches and cancels uploads; of the event loop's thread."""

    def __init__(self, novelty: Novelty, clock: Clock, folder: Path) -> None:
        self.folder = folder
        self._is_swept = False
        self._novelty = novelty
        self._clock = clock
        self._uploads: OrderedDict[str, Upload] = OrderedDict()
        self._readers = ThreadPoolExecutor(MOST_RUNNING, "upload")
        self._tasks: set[asyncio.Future[None]] = set()

    def sweep(self) -> None:
        """Remove, once, the files that a killed process left; the contexts being open, no other one is at work here."""
        if not self._is_swept:
            self._is_swept = True
            for path in self.folder.glob("*"):
                path.unlink(missing_ok=True)

    def check_room(self) -> None:
        """Raise Problem 503 when enough files wait already."""
        if len(self._tasks) >= MOST_RUNNING + MOST_WAITING:
            detail = f"{len(self._tasks)} files are read or wait already"
            raise Problem(503, detail=detail, remedy="send it again when one is done", headers={"Retry-After": "10"})

    def begin(self, context: str, path: Path, reader: Observations) -> Upload:
        """Read a file into a context in the background; it is removed at the end. Raises Problem 503."""
        self.check_room()
        upload = Upload(secrets.token_hex(8), context, self._clock.now(), path.stat().st_size, reader.report)
        self._uploads[upload.id] = upload
        while len(self._uploads) > MOST_KEPT:
            self._uploads.popitem(last=False)
        task = asyncio.ensure_future(self._run(upload, reader, path))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return upload

    def get(self, id: str) -> Upload:
        """Return an upload. Raises NotFoundError."""
        if id not in self._uploads:
            raise NotFoundError(f"there is no upload {id!r}; those before the last start are forgotten")
        return self._uploads[id]

    def newest(self) -> list[Upload]:
        """Return the uploads, newest first."""
        return list(reversed(self._uploads.values()))

    async def cancel(self, id: str) -> Upload:
        """Stop an upload and wait until it stands still. Raises NotFoundError."""
        upload = self.get(id)
        upload.cancelled = True
        await upload.ended.wait()
        return upload

    async def close(self) -> None:
        """Stop all."""
        for upload in self._uploads.values():
            upload.cancelled = True
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._readers.shutdown()

    async def _run(self, upload: Upload, reader: Observations, path: Path) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._readers, self._read, upload, reader, path, loop)
            errors = upload.report.errors
            doubts = [*errors, *upload.report.warnings]
            upload.error = _without_path(doubts[0], path) if doubts else ""
            upload.state = "cancelled" if upload.cancelled else "failed" if errors else "finished"
        except (TocsinError, Problem) as error:
            upload.error = "" if upload.cancelled else _without_path(str(error), path)
            upload.state = "cancelled" if upload.cancelled else "failed"
        except BaseException:
            upload.error = "something went wrong that should not have; see the service's log"
            upload.state = "failed"
            raise
        finally:
            path.unlink(missing_ok=True)
            upload.finished = self._clock.now()
            upload.ended.set()

    def _read(self, upload: Upload, reader: Observations, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        blocks = reader.of_files([str(path)])
        while columns := self._next(upload, blocks):
            for start in range(0, len(columns[0]), BLOCK_ROWS):
                if upload.cancelled:
                    return
                part = [column.slice(start, BLOCK_ROWS) for column in columns]
                asyncio.run_coroutine_threadsafe(self._learn(upload, part), loop).result()

    @staticmethod
    def _next(upload: Upload, blocks: Iterator[list[pa.Array]]) -> list[pa.Array] | None:
        """Return the next block, None at the end; its SQL is broken off when it takes too long or nobody wants it."""
        with within(BLOCK_S, lambda: upload.cancelled):
            return next(blocks, None)

    async def _learn(self, upload: Upload, columns: list[pa.Array]) -> None:
        while not upload.cancelled:
            try:
                await self._novelty.group.observe(upload.context, columns)
            except Problem as busy:
                if busy.status_code != 503:
                    raise
                await asyncio.sleep(BUSY_S)
            else:
                upload.observed += len(columns[0])
                return


def _without_path(text: str, path: Path | None = None) -> str:
    """Return a message that speaks of the file, and not of where it was kept."""
    if path is not None:
        return text.replace(str(path), "the file").replace("--fields", "observe").replace("--format", "format")
    head, colon, rest = text.partition(":")
    return f"row {rest.partition(':')[0]}:{rest.partition(':')[2]}" if colon and "/" in head else text
