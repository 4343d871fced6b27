"""The TCP segments in a capture, and their payload put in order.

Specification: RFC 791, 8200, 9293; link types 0, 1, 12, 14, 101, 108, 113, 228, 229 and 276 of
https://www.tcpdump.org/linktypes.html. Fragments are left out.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tocsin.sources.frames import frames

_ETHERNET = 1
_OFFSETS = {0: 4, 12: 0, 14: 0, 101: 0, 108: 4, 113: 16, 228: 0, 229: 0, 276: 20}
"""Where IP begins, by link type."""

_VLANS = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")
_IP_ETHERTYPES = (b"\x08\x00", b"\x86\xdd")
_EXTENSIONS = (0, 43, 60)
"""IPv6 extension headers that are passed over: hop-by-hop, routing, destination options."""

_TCP = 6
_MODULUS = 1 << 32
_HELD_BYTES = 1 << 16

FIN, SYN, RST, ACK = 1, 2, 4, 16


class Segment(NamedTuple):
    """A TCP segment; addresses as 4 or 16 bytes, time in microseconds since 1970."""

    time_us: int
    saddr: bytes
    sport: int
    daddr: bytes
    dport: int
    seq: int
    flags: int
    payload: bytes


def tcp_segments(path: Path) -> Iterator[Segment]:
    """Yield the TCP segments of a capture in their order; none of a file that is no capture."""
    for time_us, link, frame in frames(path):
        start = _ip_start(frame, link)
        if start is not None and (segment := _segment(time_us, frame, start)) is not None:
            yield segment


def _ip_start(frame: bytes, link: int) -> int | None:
    if link != _ETHERNET:
        return _OFFSETS.get(link)
    at = 12
    while frame[at : at + 2] in _VLANS:
        at += 4
    return at + 2 if frame[at : at + 2] in _IP_ETHERTYPES else None


def _segment(time_us: int, frame: bytes, start: int) -> Segment | None:
    version = frame[start] >> 4 if start < len(frame) else 0
    found = _in_ipv4(frame, start) if version == 4 else _in_ipv6(frame, start) if version == 6 else None
    if found is None:
        return None
    saddr, daddr, at, end = found
    if len(frame) < at + 20:
        return None
    sport, dport, seq = struct.unpack_from(">HHI", frame, at)
    length = (frame[at + 12] >> 4) * 4
    if length < 20:
        return None
    return Segment(time_us, saddr, sport, daddr, dport, seq, frame[at + 13], frame[at + length : end])


def _in_ipv4(frame: bytes, start: int) -> tuple[bytes, bytes, int, int] | None:
    """Return addresses and where TCP begins and ends; None when it is none, or a fragment."""
    if len(frame) < start + 20 or frame[start + 9] != _TCP:
        return None
    total, fragment = struct.unpack_from(">H2xH", frame, start + 2)
    length = (frame[start] & 15) * 4
    if fragment & 0x3FFF or length < 20:
        return None
    end = start + total if total else len(frame)  # 0 where the network card cuts packets up
    return frame[start + 12 : start + 16], frame[start + 16 : start + 20], start + length, end


def _in_ipv6(frame: bytes, start: int) -> tuple[bytes, bytes, int, int] | None:
    if len(frame) < start + 40:
        return None
    total, following = struct.unpack_from(">HB", frame, start + 4)
    at = start + 40
    while following in _EXTENSIONS and at + 2 <= len(frame):
        following, at = frame[at], at + (frame[at + 1] + 1) * 8
    if following != _TCP:
        return None
    end = start + 40 + total if total else len(frame)
    return frame[start + 8 : start + 24], frame[start + 24 : start + 40], at, end


class Ordered:
    """One direction of a connection: takes payload as it comes, gives it in order and once.

    What comes early waits, 64 KiB of it at most; then what is missing is given up, and `gaps` counts it.
    """

    def __init__(self) -> None:
        self.gaps = 0
        self._next: int | None = None
        self._early: dict[int, bytes] = {}

    def begin(self, seq: int) -> None:
        """Note the sequence number of a SYN."""
        self._next = (seq + 1) % _MODULUS

    def add(self, seq: int, payload: bytes) -> bytes:
        """Take a segment's payload; return what can be read on with, maybe nothing."""
        if self._next is None:
            self._next = seq
        if payload and len(payload) > len(self._early.get(seq, b"")):
            self._early[seq] = payload
        ready = self._ready()
        while sum(map(len, self._early.values())) > _HELD_BYTES:
            ready += self._skip()
        return ready

    def rest(self) -> bytes:
        """Return what waits, at the end of the connection."""
        ready = b""
        while self._early:
            ready += self._skip()
        return ready

    def _ready(self) -> bytes:
        ready = b""
        for seq in sorted(self._early, key=self._ahead):
            ahead = self._ahead(seq)
            if ahead > 0:
                break
            fresh = self._early.pop(seq)[-ahead:] if ahead else self._early.pop(seq)
            assert self._next is not None
            self._next = (self._next + len(fresh)) % _MODULUS
            ready += fresh
        return ready

    def _skip(self) -> bytes:
        """Give up what is missing before the next segment that waits."""
        self._next = min(self._early, key=self._ahead)
        self.gaps += 1
        return self._ready()

    def _ahead(self, seq: int) -> int:
        """Return how far a sequence number is ahead of the next one, negative when behind; numbers wrap at 2³²."""
        assert self._next is not None
        return (seq - self._next + _MODULUS // 2) % _MODULUS - _MODULUS // 2
