"""The frames in a capture file, classic or next generation, up to the first that is damaged.

Specification: pcap and pcapng (IETF draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

_CLASSIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1),
    b"\xa1\xb2\xc3\xd4": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1000),
}
"""Byte order, and how many parts of a microsecond the second half of a time counts."""

_SECTION = b"\x0a\x0d\x0d\x0a"
_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_INTERFACE, _PACKET = 1, 6
_RESOLUTION = 9
_LARGEST = 1 << 24

Frame = tuple[int, int, bytes]
"""Time in microseconds since 1970, link type, bytes."""


def frames(path: Path) -> Iterator[Frame]:
    """Yield the frames of a capture in their order; none of a file that is no capture."""
    with path.open("rb") as file:
        magic = file.read(4)
        if magic in _CLASSIC:
            yield from _classic(file, *_CLASSIC[magic])
        elif magic == _SECTION:
            file.seek(0)
            yield from _next_generation(file)


def _classic(file: BinaryIO, order: str, parts: int) -> Iterator[Frame]:
    header = file.read(20)
    if len(header) < 20:
        return
    link = struct.unpack_from(order + "I", header, 16)[0] & 0xFFFF
    record = struct.Struct(order + "IIII")
    while len(header := file.read(16)) == 16:
        seconds, fraction, captured, _ = record.unpack(header)
        frame = file.read(captured) if captured <= _LARGEST else b""
        if len(frame) < captured:
            return
        yield seconds * 1_000_000 + fraction // parts, link, frame


@dataclass
class _Section:
    """A section of a pcapng file: its byte order, and link type and ticks a second of each interface."""

    order: str = "<"
    interfaces: list[tuple[int, int]] = field(default_factory=list)


def _next_generation(file: BinaryIO) -> Iterator[Frame]:
    section = _Section()
    while len(header := file.read(8)) == 8:
        if header[:4] == _SECTION:
            magic = file.read(4)
            if magic not in _ORDERS:
                return
            file.seek(-4, 1)
            section = _Section(_ORDERS[magic])
        kind, length = struct.unpack(section.order + "II", header)
        body = file.read(length - 8) if 12 <= length <= _LARGEST else b""
        if not body or len(body) < length - 8:
            return
        if kind == _INTERFACE and len(body) >= 12:
            section.interfaces.append(_interface(section.order, body))
        elif kind == _PACKET and (frame := _packet(section, body)) is not None:
            yield frame


def _interface(order: str, body: bytes) -> tuple[int, int]:
    """Return an interface's link type and its ticks a second, 10⁶ where nothing is said."""
    link: int = struct.unpack_from(order + "H", body)[0]
    at = 8
    while at + 4 <= len(body) - 4:
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == _RESOLUTION and length == 1:
            power = body[at + 4]
            return link, 2 ** (power & 127) if power & 128 else 10**power
        at += 4 + (length + 3) // 4 * 4
    return link, 1_000_000


def _packet(section: _Section, body: bytes) -> Frame | None:
    if len(body) < 24:
        return None
    number, high, low, captured = struct.unpack_from(section.order + "IIII", body)
    if number >= len(section.interfaces) or 20 + captured > len(body):
        return None
    link, ticks = section.interfaces[number]
    return (high << 32 | low) * 1_000_000 // ticks, link, body[20 : 20 + captured]
