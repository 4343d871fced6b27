"""Findings in the shape of Zeek's notice.log, for tools that read it.

Format: Zeek's ASCII log writer, tab-separated with `#` header lines.
"""

import ipaddress
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from tocsin.clock import Clock, SystemClock
from tocsin.errors import SinkError
from tocsin.records.finding import Finding
from tocsin.sink import Sink
from tocsin.sinks.append import append_durably

COLUMNS: dict[str, str] = {
    "ts": "time",
    "uid": "string",
    "id.orig_h": "addr",
    "id.orig_p": "port",
    "id.resp_h": "addr",
    "id.resp_p": "port",
    "fuid": "string",
    "file_mime_type": "string",
    "file_desc": "string",
    "proto": "enum",
    "note": "enum",
    "msg": "string",
    "sub": "string",
    "src": "addr",
    "dst": "addr",
    "p": "port",
    "n": "count",
    "peer_descr": "string",
    "actions": "set[enum]",
    "email_dest": "set[string]",
    "suppress_for": "interval",
}
"""Columns of notice.log and their Zeek types, in order."""

_FIELDS = "#fields\t" + "\t".join(COLUMNS)
_PROTOCOLS = frozenset({"tcp", "udp", "icmp"})


class NoticeSink(Sink):
    """Appends each finding as a line of a notice.log: note `Tocsin::<Kind>`, title as msg, reasons as sub."""

    name: ClassVar[str] = "notice"

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()

    @property
    def place(self) -> str:
        """Return the file."""
        return f"notice {self._path}"

    def send(self, findings: list[Finding]) -> None:
        """Append the findings. Raises SinkError when the file cannot be written or has other columns."""
        if not findings:
            return
        self._check()
        lines = "".join(notice_line(finding) + "\n" for finding in findings)
        append_durably(self._path, lines, header=notice_header(self._clock.now()))

    def close(self) -> None:
        """Do nothing: no file is held open between sends."""

    def _check(self) -> None:
        try:
            with self._path.open(encoding="utf-8", errors="replace") as file:
                head = [line.rstrip("\n") for line, _ in zip(file, range(10), strict=False)]
        except FileNotFoundError:
            return
        except OSError as error:
            raise SinkError(f"cannot read {self._path}: {error.strerror or error}") from error
        if head and _FIELDS not in head:
            raise SinkError(f"{self._path} has other columns than findings; name another file for this sink")


def notice_log(findings: list[Finding], opened: datetime) -> str:
    """Write findings as a whole notice.log."""
    return notice_header(opened) + "".join(notice_line(finding) + "\n" for finding in findings)


def notice_header(opened: datetime) -> str:
    """Write the header lines of a notice.log."""
    lines = (
        "#separator \\x09",
        "#set_separator\t,",
        "#empty_field\t(empty)",
        "#unset_field\t-",
        "#path\tnotice",
        f"#open\t{opened:%Y-%m-%d-%H-%M-%S}",
        _FIELDS,
        "#types\t" + "\t".join(COLUMNS.values()),
    )
    return "\n".join(lines) + "\n"


def notice_line(finding: Finding) -> str:
    """Write a finding as one line, without its line end."""
    record = finding.records[0] if finding.records else {}
    protocol = str(record.get("proto", finding.scope.get("proto", ""))).lower()
    values: dict[str, Any] = {
        "ts": f"{finding.start.timestamp():.6f}",
        "uid": record.get("flowid"),
        "id.orig_h": record.get("saddr"),
        "id.orig_p": record.get("sport"),
        "id.resp_h": record.get("daddr"),
        "id.resp_p": record.get("dport"),
        "proto": protocol if protocol in _PROTOCOLS else None,
        "note": "Tocsin::" + note_name(finding.kind),
        "msg": finding.title,
        "sub": "; ".join(f"{reason.field}: {reason.seen}, expected {reason.expected}" for reason in finding.reasons),
        "src": finding.entity if _is_address(finding.entity) else None,
        "dst": finding.scope.get("daddr"),
        "p": finding.scope.get("dport"),
        "n": finding.record_count,
        "peer_descr": finding.domain,
        "suppress_for": "0.000000",
    }
    cells = (escape_cell(values.get(name)) for name in COLUMNS)
    line = dict(zip(COLUMNS, cells, strict=True))
    return "\t".join((line | {"actions": escape_set(["Notice::ACTION_LOG"]), "email_dest": escape_set([])}).values())


def note_name(kind: str) -> str:
    """Write a kind as Zeek names notices: port-scan becomes Port_Scan."""
    return "_".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]+", kind) if part) or "Finding"


def escape_cell(value: Any) -> str:
    """Write one value: '-' for none, '(empty)' for no text, separators and control characters as \\xNN."""
    if value is None:
        return "-"
    text = str(value)
    if text == "":
        return "(empty)"
    if text in ("-", "(empty)"):
        return f"\\x{ord(text[0]):02x}{text[1:]}"
    return _escape(text)


def escape_set(values: Iterable[str]) -> str:
    """Write a set: its members with commas between, '(empty)' for none."""
    return ",".join(escape_cell(value).replace(",", "\\x2c") for value in values) or "(empty)"


def _escape(text: str) -> str:
    clean = text.encode("utf-8", "replace").decode().replace("\\", "\\\\")
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", clean)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
