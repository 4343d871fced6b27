"""FTP control channels in a capture: a record for each command that was answered, as Zeek's ftp.log has them."""

import hashlib
import ipaddress
import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tocsin.records.flow import TIMESTAMP
from tocsin.sources.packets import ACK, FIN, RST, SYN, Ordered, Segment

KIND = "zeek.ftp"
SCHEMA = pa.schema(
    [
        ("ts", TIMESTAMP),
        ("uid", pa.string()),
        ("id.orig_h", pa.string()),
        ("id.orig_p", pa.uint16()),
        ("id.resp_h", pa.string()),
        ("id.resp_p", pa.uint16()),
        ("user", pa.string()),
        ("command", pa.string()),
        ("arg", pa.string()),
        ("reply_code", pa.uint64()),
        ("reply_msg", pa.string()),
    ]
)
"""`ts` is when the command was answered, for before that nobody knows how."""

_PORT = 21
_GREETING = (b"220 ", b"220-")
_REPLY = re.compile(r"(\d{3})([ -])(.*)")
_COMMAND = re.compile(r"([A-Za-z]{3,4})(?: (.*))?")
_OF_MAIL = frozenset({"EHLO", "HELO", "LHLO"})
_HIDDEN = frozenset({"PASS", "ACCT"})
_SECURED = 234
_LONGEST_LINE = 4096
_MOST_PENDING = 100
_MOST_SESSIONS = 10_000

End = tuple[bytes, int]


@dataclass
class _Lines:
    """One direction as lines; a line with a gap in it is left out."""

    order: Ordered = field(default_factory=Ordered)
    text: bytes = b""
    gaps: int = 0

    def add(self, payload: bytes) -> list[str]:
        """Take what comes next; return the lines that are whole."""
        if self.order.gaps > self.gaps:
            self.gaps = self.order.gaps
            self.text, payload = b"", payload.partition(b"\n")[2]
        *lines, self.text = (self.text + payload).split(b"\n")
        return [line.rstrip(b"\r").decode(errors="replace") for line in lines]


@dataclass
class _Session:
    """A control channel: what was asked and not answered yet; over: nothing more is read of it."""

    client: End
    server: End
    begun_us: int
    asked: _Lines = field(default_factory=_Lines)
    answered: _Lines = field(default_factory=_Lines)
    pending: deque[tuple[str, str]] = field(default_factory=deque)
    user: str | None = None
    within: str = ""
    """The code of a reply of several lines that has not ended yet."""
    over: bool = False


class FtpReader:
    """Finds FTP control channels, on port 21 or by their greeting, and reads commands and replies.

    Passwords are not kept. Memory is bounded: 10,000 channels, the longest unused go; 4 KiB a line; what is no FTP, or
    goes on encrypted, is left alone.
    """

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[End, End], _Session] = OrderedDict()

    def read(self, segments: Iterable[Segment]) -> Iterator[dict[str, Any]]:
        """Yield a record, with the columns of SCHEMA, for each command when it is answered."""
        for segment in segments:
            session = self._session(segment)
            if session is not None:
                yield from self._take(session, segment)

    def _session(self, segment: Segment) -> _Session | None:
        """Return the channel that a segment belongs to; a new one when it may begin one."""
        source, target = (segment.saddr, segment.sport), (segment.daddr, segment.dport)
        begins = segment.flags & (SYN | ACK) == SYN
        for key in ((source, target), (target, source)):
            if key in self._sessions and not begins:
                self._sessions.move_to_end(key)
                return self._sessions[key]
        if segment.dport == _PORT:
            return self._open(source, target, segment)
        if segment.sport == _PORT or segment.payload.startswith(_GREETING):
            return self._open(target, source, segment)
        return None

    def _open(self, client: End, server: End, segment: Segment) -> _Session:
        session = self._sessions[client, server] = _Session(client, server, segment.time_us)
        if len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def _take(self, session: _Session, segment: Segment) -> Iterator[dict[str, Any]]:
        asks = (segment.saddr, segment.sport) == session.client
        lines = session.asked if asks else session.answered
        if segment.flags & SYN:
            lines.order.begin(segment.seq)
        if session.over:
            return
        ready = lines.order.add(segment.seq, segment.payload) if segment.payload else b""
        if segment.flags & (FIN | RST):
            ready += lines.order.rest()
        for line in lines.add(ready) if ready else ():
            if asks:
                _ask(session, line)
            elif (record := _answer(session, line, segment.time_us)) is not None:
                yield record
        if len(lines.text) > _LONGEST_LINE or len(session.pending) > _MOST_PENDING:
            session.over = True
        if session.over:
            session.asked, session.answered = _Lines(), _Lines()
            session.pending.clear()


def _ask(session: _Session, line: str) -> None:
    """Note a command. One of mail shows that this is no FTP: both greet alike."""
    found = _COMMAND.fullmatch(line)
    if found is None:
        return
    command, argument = found[1].upper(), found[2] or ""
    session.over |= command in _OF_MAIL
    if command == "USER":
        session.user = argument
    session.pending.append((command, "<hidden>" if command in _HIDDEN else argument))


def _answer(session: _Session, line: str, time_us: int) -> dict[str, Any] | None:
    """Return the record of the oldest command when this line ends the reply to it."""
    found = _REPLY.match(line)
    if found is None or (session.within and found[1] != session.within):
        return None
    code, more, message = found.groups()
    session.within = code if more == "-" else ""
    if more == "-" or code.startswith("1") or not session.pending:
        return None
    command, argument = session.pending.popleft()
    session.over |= int(code) == _SECURED
    return {
        "ts": time_us,
        "uid": _uid(session),
        "id.orig_h": str(ipaddress.ip_address(session.client[0])),
        "id.orig_p": session.client[1],
        "id.resp_h": str(ipaddress.ip_address(session.server[0])),
        "id.resp_p": session.server[1],
        "user": session.user,
        "command": command,
        "arg": argument,
        "reply_code": int(code),
        "reply_msg": message,
    }


def _uid(session: _Session) -> str:
    known = repr((session.client, session.server, session.begun_us)).encode()
    return "C" + hashlib.blake2b(known, digest_size=8).hexdigest()


def ftp_table(records: list[dict[str, Any]]) -> pa.Table:
    """Return records as a table."""
    return pa.Table.from_pylist(records, SCHEMA)
