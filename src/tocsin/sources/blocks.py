"""Files as blocks of whole lines, whether plain, gzip or zstd, from any position, in bounded memory."""

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import zstandard

from tocsin.errors import InputError

BLOCK_BYTES = 8 << 20
LINE_BYTES = 16 << 20
"""A file with a longer line is no log."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PLAIN_PIECE, _PACKED_PIECE = 1 << 20, 1 << 18
_STEP = 256

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Block:
    """Lines of a file: where they begin (offset in the unpacked file, 0-based; line, 1-based) and their bytes.

    terminated: whether the last line ends with a line feed.
    """

    offset: int
    line: int
    data: bytes
    terminated: bool = True


class Stream:
    """The unpacked bytes of a file.

    warning: says, once all is read, that a packed file breaks off. begun: whether there was anything.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warning = ""
        self.begun = False

    def pieces(self, offset: int = 0, until: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from an offset (to another, where one is given). Raises InputError when it cannot be read."""
        try:
            with self.path.open("rb") as file:
                for piece in _limited(self._unpacked(file, offset), until - offset if until is not None else None):
                    self.begun = True
                    yield piece
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}") from error

    def head(self, size: int) -> bytes:
        """Return the first bytes, fewer where the file is shorter."""
        return b"".join(self.pieces(0, size))

    def _unpacked(self, file: BinaryIO, offset: int) -> Iterator[bytes]:
        magic = file.read(4)
        file.seek(0)
        unpacker = unpacker_for(magic)
        if unpacker is not None:
            return _from(offset, self._inflate(file, unpacker))
        file.seek(offset)
        return _read(file, _PLAIN_PIECE)

    def _inflate(self, file: BinaryIO, unpacker: "Unpacker") -> Iterator[bytes]:
        for packed in _read(file, _PACKED_PIECE):
            yield from unpacker.unpack(packed)
            if unpacker.warning:
                break
        self.warning = unpacker.warning or unpacker.breaks_off


class Unpacker:
    """Unpacks what comes piece by piece, one gzip member or zstd frame after the other.

    warning: says that the data are damaged; nothing comes after that.
    """

    def __init__(self, name: str, fresh: Callable[[], Any]) -> None:
        self.name = name
        self.warning = ""
        self._fresh = fresh
        self._unpacker, self._begun = fresh(), False

    @property
    def breaks_off(self) -> str:
        """A warning where the end of the data is missing, else ''."""
        return f"{self.name} data breaks off" if self._begun else ""

    def unpack(self, packed: bytes) -> Iterator[bytes]:
        """Yield what these bytes hold, up to a break."""
        while packed and not self.warning:
            before = self._unpacker.copy() if self.name == "gzip" else None
            try:
                data = self._unpacker.decompress(packed)
            except (zlib.error, zstandard.ZstdError) as error:
                self.warning = f"{self.name} data is corrupt ({error})"
                yield from _up_to_the_break(before, packed)
                return
            self._begun = True
            if data:
                yield data
            packed = self._unpacker.unused_data if self._unpacker.eof else b""
            if self._unpacker.eof:
                self._unpacker, self._begun = self._fresh(), False
                packed = packed.lstrip(b"\0")  # tape padding


def unpacker_for(magic: bytes) -> Unpacker | None:
    """Return what unpacks data beginning so, None where they are not packed."""
    if magic[:2] == _GZIP:
        return Unpacker("gzip", lambda: zlib.decompressobj(wbits=31))
    if magic[:4] == _ZSTD:
        return Unpacker("zstd", lambda: zstandard.ZstdDecompressor().decompressobj())
    return None


def _up_to_the_break(unpacker: Any, packed: bytes) -> Iterator[bytes]:
    """Yield what comes before the damage: a failing call gives nothing, so go on in small steps."""
    for start in range(0, len(packed) if unpacker else 0, _STEP):
        try:
            yield unpacker.decompress(packed[start : start + _STEP])
        except zlib.error:
            return


def _read(file: BinaryIO, size: int) -> Iterator[bytes]:
    while data := file.read(size):
        yield data


def _from(offset: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if offset >= len(piece):
            offset -= len(piece)
            continue
        yield piece[offset:] if offset else piece
        offset = 0


def _limited(pieces: Iterator[bytes], size: int | None) -> Iterator[bytes]:
    for piece in pieces:
        if size is None:
            yield piece
            continue
        if size <= 0:
            return
        yield piece[:size]
        size -= len(piece)


def read_blocks(
    stream: Stream, offset: int = 0, line: int = 1, *, until: int | None = None, size: int = BLOCK_BYTES
) -> Iterator[Block]:
    """Yield blocks: the next `size` bytes up to their last line feed; what is left at the end comes as it is.

    Where a block ends depends on where it begins and on nothing else, so that reading on from a block's end gives
    the same blocks as reading through. Raises InputError when a line is longer than LINE_BYTES.
    """
    parts: list[bytes] = []
    held, wanted = 0, size
    for piece in stream.pieces(offset, until):
        parts.append(piece)
        held += len(piece)
        if held < wanted:
            continue
        data, start = b"".join(parts), 0
        while len(data) - start >= wanted:
            cut = data.rfind(b"\n", start, start + wanted) + 1
            if cut:
                yield Block(offset, line, data[start:cut])
                offset, line, wanted = offset + cut - start, line + data.count(b"\n", start, cut), size
                start = cut
            elif wanted > LINE_BYTES:
                raise InputError(f"{stream.path}: line {line} is longer than {LINE_BYTES >> 20} MiB; this is no log")
            else:
                wanted += size
        parts, held = [data[start:]], len(data) - start
    yield from _rest(b"".join(parts), offset, line)


def live_blocks(path: Path, read: Callable[[], bytes | None], offset: int = 0, line: int = 1) -> Iterator[Block | None]:
    """Yield what keeps coming as blocks of whole lines, at once.

    read: returns the next bytes, b"" while there are none, None at the end. None is yielded when no line is whole yet.
    Raises InputError when a line is longer than LINE_BYTES.
    """
    held: list[bytes] = []
    while (data := read()) is not None:
        cut = data.rfind(b"\n") + 1
        if cut:
            whole = b"".join([*held, data[:cut]])
            yield Block(offset, line, whole)
            offset, line, held = offset + len(whole), line + whole.count(b"\n"), []
        if data[cut:]:
            held.append(data[cut:])
        if sum(map(len, held)) > LINE_BYTES:
            raise InputError(f"{path}: line {line} is longer than {LINE_BYTES >> 20} MiB; this is no log")
        if not cut:
            yield None
    if held:
        yield Block(offset, line, b"".join(held), terminated=False)


def _rest(data: bytes, offset: int, line: int) -> Iterator[Block]:
    cut = data.rfind(b"\n") + 1
    if cut:
        yield Block(offset, line, data[:cut])
    if cut < len(data):
        yield Block(offset + cut, line + data.count(b"\n"), data[cut:], terminated=False)


def parse_in_order(items: Iterable[T], parse: Callable[[T], R], workers: int) -> Iterator[R]:
    """Apply `parse` to items on threads, a few ahead, and yield the results in order.

    When taking an item raises InputError, the results of those before it come first.
    """
    failure: InputError | None = None
    with ThreadPoolExecutor(workers, thread_name_prefix="parse") as pool:
        waiting: deque[Future[R]] = deque()
        try:
            try:
                for item in items:
                    waiting.append(pool.submit(parse, item))
                    if len(waiting) > workers + 1:
                        yield waiting.popleft().result()
            except InputError as error:
                failure = error
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
    if failure is not None:
        raise failure
