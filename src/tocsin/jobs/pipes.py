"""The standard input and named pipes as feeds: lines as they come."""

import os
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from tocsin.clock import Clock
from tocsin.jobs.feeds import Feed
from tocsin.source import Batch
from tocsin.sources.blocks import Unpacker, live_blocks, unpacker_for
from tocsin.sources.lines import BEGINNING, LineSource, first_line

_MAGIC_BYTES = 4
_HEAD_BYTES = 64 << 10
_READ_BYTES = 1 << 20
_ONCE_BYTES = 4 << 20

Recognise = Callable[[bytes, Path, str], LineSource]
"""Returns the source of a stream by its first bytes, its name, and the format it had before ('': none)."""


class PipeFeed(Feed):
    """The standard input (`-`) or a named pipe, packed or not.

    What was read of a pipe cannot be read again: a position says only how its lines go on, under which header.
    lasting: a named pipe that stays open when its writer leaves, for the next one.
    """

    live = True

    def __init__(self, number: int, path: Path, clock: Clock, recognise: Recognise, *, lasting: bool = False) -> None:
        super().__init__(number, path, "", clock)
        self.lasting = lasting
        self.fd = -1
        self._recognise = recognise
        self._over = False
        self._unpacker: Unpacker | None = None

    def _begin(self) -> Iterator[Batch | None]:
        self._open()
        packed = b""
        while len(packed) < _MAGIC_BYTES and not self._over:
            packed += (more := self._packed())
            if not more:
                yield None
        self._unpacker = unpacker_for(packed)
        head = self._unpacked(packed)
        while not (self._over or b"\n" in head.lstrip() or len(head) >= _HEAD_BYTES):
            head += (more := self._unpacked(self._packed()))
            if not more:
                yield None
        if first_line(head):
            yield from self._follow(head)
        if self._unpacker is not None and (note := self._unpacker.warning or self._unpacker.breaks_off):
            self.tally.warnings.append(f"{self.path}: {note}; the rows before that were read")

    def _follow(self, head: bytes) -> Iterator[Batch | None]:
        source = self._recognise(head, self.path, self.format)
        position = {**BEGINNING, **(self.position or {})}
        position = {name: position[name] for name in BEGINNING}
        if source.name != self.format or head.startswith((b"{", b"#")):
            position["header"] = {}
        self.format = self.tally.format = source.name
        begun = [head]
        blocks = live_blocks(
            self.path, lambda: begun.pop() if begun else self._read(), position["offset"], position["line"]
        )
        yield from source.follow(self.path, blocks, position)

    def _open(self) -> None:
        if str(self.path) == "-":
            self.fd = os.dup(0)
        else:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        with suppress(ImportError, AttributeError, OSError):  # a wider pipe, where the system has them
            import fcntl

            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, _READ_BYTES)

    def _read(self) -> bytes | None:
        packed = b"" if self._over else self._packed()
        return self._unpacked(packed) if packed or not self._over else None

    def _unpacked(self, packed: bytes) -> bytes:
        return packed if self._unpacker is None else b"".join(self._unpacker.unpack(packed))

    def _packed(self) -> bytes:
        """Return what is there now."""
        parts: list[bytes] = []
        waiting = select.poll()
        waiting.register(self.fd, select.POLLIN)
        while sum(map(len, parts)) < _ONCE_BYTES and (events := waiting.poll(0)):
            data = os.read(self.fd, _READ_BYTES) if events[0][1] & select.POLLIN else b""
            if not data:
                self._over = not self.lasting
                break
            parts.append(data)
        return b"".join(parts)

    def close(self) -> None:
        """Let go of the pipe."""
        super().close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def is_pipe(path: Path) -> bool:
    """Whether this is the standard input or a named pipe."""
    if str(path) == "-":
        return True
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False
