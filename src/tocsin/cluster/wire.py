"""What passes between processes, and what is kept of them, as bytes: frames of a JSON head and binary parts. No pickle.

frame   magic "TSN1" · CRC-32 of the head, uint32 · length of the head, uint32 · length of the body, uint64 ·
        head · body                                                                     (all little-endian)
head    a JSON object; its `parts` lists [name, kind, offset in the body, length in bytes, shape]; spaces after it
        let the body begin at a multiple of 64 bytes
body    the parts, each from a multiple of 64 bytes on: Arrow IPC streams, arrays as they lie in memory, bytes
"""

import json
import socket
import struct
import zlib
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from tocsin.cluster.plain import plain, revive
from tocsin.detectors.summary.messages import Output
from tocsin.errors import InputError

MAGIC = b"TSN1"
PREFIX = struct.Struct("<4sIIQ")
MAX_HEAD = 256 << 20
MAX_BODY = 1 << 42
ALIGNMENT = 64
CHUNK = 256 << 10

Part = Any
"""A table, an array, or bytes in any buffer."""
T = TypeVar("T")


class FrameError(InputError):
    """Bytes are no frame, or one that is damaged or cut short."""


@dataclass(frozen=True)
class Frame:
    """A head and the bytes of its parts, which are read only when asked for.

    Raises FrameError from `part` when a part is missing or damaged.
    """

    head: dict[str, Any]
    body: tuple[Any, ...] = ()
    """Buffers that make up the body, one after the other."""

    @property
    def nbytes(self) -> int:
        """Bytes of the body."""
        return sum(memoryview(each).nbytes for each in self.body)

    @property
    def parts(self) -> list[str]:
        """Names of the parts."""
        return [entry[0] for entry in self.head.get("parts", [])]

    def with_head(self, **changes: Any) -> "Frame":
        """Return a frame of the same body and a head with these changes."""
        return Frame({**self.head, **changes}, self.body)

    def part(self, name: str) -> Any:
        """Return a part: a table, an array (read-only), or bytes as a buffer."""
        try:
            entry = next(entry for entry in self.head.get("parts", []) if entry[0] == name)
            _, kind, offset, length, shape = entry
            return _read_part(kind, self._joined().slice(offset, length), length, shape)
        except StopIteration:
            raise FrameError(f"a frame lacks its part {name!r}; it has: {', '.join(self.parts) or 'none'}") from None
        except (pa.ArrowInvalid, OSError, ValueError, TypeError, IndexError) as error:
            raise FrameError(f"part {name!r} of a frame is damaged: {error}") from error

    def _joined(self) -> pa.Buffer:
        return pa.py_buffer(self.body[0] if len(self.body) == 1 else b"".join(self.body))


def frame(head: dict[str, Any], parts: dict[str, Part] | None = None) -> Frame:
    """Make a frame of JSON values, and tables, arrays and bytes by name."""
    entries: list[list[Any]] = []
    body: list[Any] = []
    offset = 0
    for name, part in (parts or {}).items():
        kind, shape, data = _write_part(part)
        entries.append([name, kind, offset, data.nbytes, shape])
        padding = -data.nbytes % ALIGNMENT
        body += [data, bytes(padding)] if padding else [data]
        offset += data.nbytes + padding
    return Frame({**head, "parts": entries}, tuple(body))


def buffers(each: Frame) -> list[memoryview]:
    """Return a frame's bytes, as buffers to be written one after the other."""
    head = json.dumps(each.head, separators=(",", ":")).encode()
    head += b" " * (-(PREFIX.size + len(head)) % ALIGNMENT)
    prefix = PREFIX.pack(MAGIC, zlib.crc32(head), len(head), each.nbytes)
    return [memoryview(prefix + head), *[memoryview(part).cast("B") for part in each.body if memoryview(part).nbytes]]


def to_bytes(each: Frame) -> bytes:
    """Return a frame as one piece."""
    return b"".join(buffers(each))


def from_bytes(data: Any) -> Frame:
    """Read one frame that makes up all of the data. Raises FrameError."""
    view = memoryview(data).cast("B")
    head_length, body_length, checksum = _prefix(view[: PREFIX.size])
    if len(view) != PREFIX.size + head_length + body_length:
        raise FrameError(f"a frame of {PREFIX.size + head_length + body_length} bytes is {len(view)} bytes long")
    begin = PREFIX.size + head_length
    return Frame(_head(bytes(view[PREFIX.size : begin]), checksum), (view[begin:],))


class Reader:
    """Puts frames together from what a socket brings, piece by piece."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._head: dict[str, Any] = {}
        self._body: pa.Buffer | None = None
        self._filled = 0

    def receive(self, source: socket.socket) -> list[Frame]:
        """Read once and return the frames that are complete now.

        Raises EOFError when the other end is closed, FrameError when what comes is no frame, and the socket's own
        errors (BlockingIOError when nothing is there).
        """
        if self._body is not None:
            got = source.recv_into(memoryview(self._body).cast("B")[self._filled :])
            self._filled += got
        else:
            self._pending += (chunk := source.recv(CHUNK))
            got = len(chunk)
        if not got:
            raise FrameError("the other end closed in the middle of a frame") if self._begun else EOFError
        done = []
        while (complete := self._next()) is not None:
            done.append(complete)
        return done

    @property
    def _begun(self) -> bool:
        return self._body is not None or bool(self._pending)

    def _next(self) -> Frame | None:
        if self._body is None and not self._begin():
            return None
        assert self._body is not None
        if self._filled < self._body.size:
            return None
        done = Frame(self._head, (self._body,))
        self._body = None
        return done

    def _begin(self) -> bool:
        """Take the head of the next frame, and as much of its body as is there."""
        if len(self._pending) < PREFIX.size:
            return False
        head_length, body_length, checksum = _prefix(self._pending[: PREFIX.size])
        begin = PREFIX.size + head_length
        if len(self._pending) < begin:
            return False
        self._head = _head(bytes(self._pending[PREFIX.size : begin]), checksum)
        self._body = pa.allocate_buffer(body_length)
        there = self._pending[begin : begin + body_length]
        memoryview(self._body).cast("B")[: len(there)] = there
        self._filled = len(there)
        del self._pending[: begin + len(there)]
        return True


def pack(message: Any, **head: Any) -> Frame:
    """Make a frame of a dataclass: tables among its fields become parts."""
    values = {each.name: getattr(message, each.name) for each in fields(message)}
    parts: dict[str, Part] = {name: value for name, value in values.items() if isinstance(value, pa.Table)}
    rest = {name: plain(value) for name, value in values.items() if name not in parts}
    return frame({**head, "message": rest}, parts)


def unpack(kind: type[T], each: Frame) -> T:
    """Read what `pack` made of a dataclass of this kind. Raises FrameError."""
    tables = [name for name in each.parts if name in {field.name for field in fields(kind)}]  # type: ignore[arg-type]
    try:
        values = revive(kind, {**each.head["message"], **dict.fromkeys(tables)})
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"a frame holds no {kind.__name__}: {error}") from error
    for name in tables:
        object.__setattr__(values, name, each.part(name))
    return values  # type: ignore[no-any-return]


def pack_output(output: Output, **head: Any) -> Frame:
    """Make a frame of all that came of a step."""
    shares = {f"result-{number}": result.table for number, result in enumerate(output.results)}
    rest = {
        "crossings": plain(output.crossings),
        "hints": plain(output.hints),
        "results": [plain({**vars(result), "table": None}) for result in output.results],
    }
    return frame({**head, "output": rest}, shares)


def unpack_output(each: Frame) -> Output:
    """Read what `pack_output` made. Raises FrameError."""
    try:
        output: Output = revive(Output, each.head["output"])
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"a frame holds no output: {error}") from error
    for number, result in enumerate(output.results):
        object.__setattr__(result, "table", each.part(f"result-{number}"))
    return output


def _prefix(data: Any) -> tuple[int, int, int]:
    if len(data) < PREFIX.size:
        raise FrameError(f"{len(data)} bytes are no frame; even the shortest has {PREFIX.size}")
    magic, checksum, head_length, body_length = PREFIX.unpack(data)
    if magic != MAGIC or head_length > MAX_HEAD or body_length > MAX_BODY:
        raise FrameError(f"a frame should begin with {MAGIC!r} and its lengths, not with {bytes(data)!r}")
    return head_length, body_length, checksum


def _head(data: bytes, checksum: int) -> dict[str, Any]:
    if zlib.crc32(data) != checksum:
        raise FrameError("a frame's head is damaged: its checksum differs")
    try:
        head = json.loads(data)
    except ValueError as error:
        raise FrameError(f"a frame's head is no JSON: {error}") from error
    if not isinstance(head, dict):
        raise FrameError("a frame's head is no JSON object")
    return head


def _write_part(part: Part) -> tuple[str, Any, memoryview]:
    if isinstance(part, pa.Table):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, part.schema) as writer:
            writer.write_table(part)
        return "table", None, memoryview(sink.getvalue()).cast("B")
    if isinstance(part, np.ndarray):
        if part.dtype.hasobject:
            raise TypeError("an array of objects cannot pass between processes; use an Arrow table")
        flat: Any = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
        return "array", [part.dtype.str, *part.shape], memoryview(flat)
    return "bytes", None, memoryview(part).cast("B")


def _read_part(kind: str, data: pa.Buffer, length: int, shape: Any) -> Any:
    if data.size != length:
        raise ValueError(f"it should have {length} bytes, not {data.size}")
    if kind == "table":
        with pa.ipc.open_stream(data) as reader:
            return reader.read_all()
    if kind == "array":
        dtype, *sizes = shape
        return np.frombuffer(data, np.dtype(dtype)).reshape(sizes)
    return data
