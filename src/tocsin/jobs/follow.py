"""Follow live logs through rotation: what is added comes into the lake every few seconds."""

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from tocsin.clock import Clock
from tocsin.jobs.discover import find_files
from tocsin.jobs.ingest import FileResult, IngestResult, ingest
from tocsin.settings import IngestSettings
from tocsin.store import Store

log = logging.getLogger(__name__)

_STEP_S = 0.5
_HANDLES = Path("/dev/fd")


class Follower:
    """Follows paths, folders and globs.

    A log that is renamed and begun anew is read to its end first: it is kept open, so that the rows written between
    the last look and the renaming are not lost. Where a log is copied and cut off instead (copytruncate), rows
    written between the last look and the copy are only in the copy: give a glob that finds it too.
    """

    def __init__(
        self,
        store: Store,
        paths: Iterable[str | Path],
        *,
        domain: str,
        settings: IngestSettings,
        clock: Clock,
        format: str | None = None,
    ) -> None:
        self.store = store
        self.paths = list(paths)
        self.domain = domain
        self.settings = settings
        self.clock = clock
        self.format = format
        self._open: dict[Path, BinaryIO] = {}
        self._reported: set[str] = set()

    def run(self, stop: Callable[[], bool], report: Callable[[IngestResult], None]) -> None:
        """Look at the files every `follow_flush_s` until told to stop, then a last time."""
        try:
            while not stop():
                report(self.look())
                self._wait(stop)
            report(self.look())
        finally:
            self.close()

    def look(self) -> IngestResult:
        """Take in what is new, rotated logs to their end; a complaint about a file comes once."""
        results = [result for path in list(self._open) for result in self._finish_rotated(path)]
        self._keep_open()
        results += self._ingest(self.paths, growing=True).files
        return IngestResult([result for result in results if self._is_news(result)])

    def close(self) -> None:
        """Let go of the open logs."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def _ingest(self, paths: Iterable[str | Path], *, growing: bool) -> IngestResult:
        return ingest(
            self.store,
            paths,
            domain=self.domain,
            settings=self.settings,
            clock=self.clock,
            format=self.format,
            growing=growing,
        )

    def _keep_open(self) -> None:
        for found in find_files(self.paths)[0]:
            if found.path not in self._open:
                try:
                    self._open[found.path] = found.path.open("rb")
                except OSError as error:
                    log.debug("%s: %s", found.path, error)

    def _finish_rotated(self, path: Path) -> list[FileResult]:
        """Read a log to its end that is no longer under its name."""
        file = self._open[path]
        if _is_same(path, file):
            return []
        del self._open[path]
        with file:
            handle = _HANDLES / str(file.fileno())
            if not handle.exists():
                return []
            results = self._ingest([handle], growing=False).files
        return [replace(result, path=f"{path} (rotated)") for result in results if result.status != "failed"]

    def _is_news(self, result: FileResult) -> bool:
        if result.rows or result.rejected:
            return True
        key = f"{result.path}\0{result.error}"
        if result.status != "failed" or key in self._reported:
            return False
        self._reported.add(key)
        return True

    def _wait(self, stop: Callable[[], bool]) -> None:
        end = self.clock.monotonic() + self.settings.follow_flush_s
        while not stop() and (left := end - self.clock.monotonic()) > 0:
            self.clock.sleep(min(_STEP_S, left))


def _is_same(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False
