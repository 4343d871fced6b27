"""Appending lines to a file so that they are there when the call returns."""

import os
from pathlib import Path

from tocsin.errors import SinkError


def append_durably(path: Path, lines: str, *, header: str = "") -> None:
    """Append whole lines and wait until the disk has them.

    A new or empty file gets the header first. Where the last writer was cut off in a line, that line is ended, so
    that only it is lost. Missing folders are made.

    Raises:
        SinkError: naming the file and what is wrong.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            begin = header if size == 0 else _mend(path)
            file.write((begin + lines).encode("utf-8", "replace"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SinkError(f"cannot append to {path}: {error.strerror or error}") from error


def _mend(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return "" if file.read(1) == b"\n" else "\n"
