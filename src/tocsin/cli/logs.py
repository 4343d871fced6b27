"""Structured logs: lines for people on a terminal, JSON elsewhere; the seed's five levels."""

import logging
import sys
from logging.handlers import WatchedFileHandler
from typing import IO, Any

import structlog

from tocsin.errors import SettingsError
from tocsin.levels import TRACE
from tocsin.settings import LoggingSettings

LEVELS = {"error": logging.ERROR, "warn": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG, "trace": TRACE}
ORDER = ("error", "warn", "info", "debug", "trace")
OURS = "tocsin"
NOISY = ("numba", "sqlalchemy", "apscheduler", "httpx2", "httpcore", "urllib3", "uvicorn")


class _StandardError(logging.StreamHandler[IO[str]]):
    """Writes to what standard error is at that moment: progress bars put themselves in its place, below the lines."""

    @property
    def stream(self) -> IO[str]:
        return sys.stderr

    @stream.setter
    def stream(self, stream: IO[str]) -> None:
        """Ignore what it was when the handler was made."""


def set_up_logs(settings: LoggingSettings, verbose: int = 0) -> None:
    """Send the logs where the settings say; each `verbose` lowers the level by one. Raises SettingsError."""
    logging.addLevelName(TRACE, "TRACE")
    level_name = ORDER[min(ORDER.index(settings.level) + verbose, len(ORDER) - 1)]
    handler: logging.Handler
    if settings.file is not None:
        try:
            handler = WatchedFileHandler(settings.file)  # what rotates the file may move it away
        except OSError as error:
            raise SettingsError(f"logging.file: cannot write {settings.file}: {error.strerror}") from error
    else:
        handler = _StandardError()
    terminal = settings.file is None and sys.stderr.isatty()
    people = settings.format == "console" or (settings.format == "auto" and terminal)
    renderer: Any = structlog.dev.ConsoleRenderer(colors=terminal) if people else structlog.processors.JSONRenderer()
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        if old.get_name() == OURS:
            root.removeHandler(old)
            old.close()
    handler.set_name(OURS)
    root.addHandler(handler)
    root.setLevel(LEVELS[level_name])
    for name in NOISY:
        logging.getLogger(name).setLevel(max(LEVELS[level_name], logging.WARNING))
