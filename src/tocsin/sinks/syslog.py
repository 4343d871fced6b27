"""Findings and results to a syslog server: RFC 5424 messages with structured data.

They go over UDP (RFC 5426) or TCP (RFC 6587).
"""

import json
import re
import socket
from datetime import datetime
from typing import Any, ClassVar, Literal

import pyarrow as pa

from tocsin.clock import Clock, SystemClock
from tocsin.errors import SinkError
from tocsin.records.finding import Finding, Severity, rfc3339
from tocsin.records.result import plain_results
from tocsin.sink import Sink

FACILITY = 16
"""local0."""

PRIORITY: dict[Severity, int] = {"info": 6, "low": 5, "medium": 4, "high": 3, "critical": 2}
"""Syslog severities: informational, notice, warning, error, critical."""

SD_ID = "finding@32473"
"""Name of the structured data; 32473 is the enterprise number kept for documentation (RFC 5612)."""

RESULT_ID = "result@32473"
"""Name of a result's structured data."""

REASONS = 3
"""Reasons in the structured data; a datagram should stay small."""

LONGEST_VALUE = 200
"""Characters of one parameter's value; longer ones are cut and end in …"""


class SyslogSink(Sink):
    """Sends one message a finding: severity as priority, kind as message id, the rest as structured data.

    A result is one message too: informational, message id `result`, summary, start and end as structured data, and all
    of it as JSON text.

    Delivery: UDP tells nobody of a loss; TCP with octet counting is refused or broken with an error. One connection
    a send, so that a server that went away is noticed.
    """

    name: ClassVar[str] = "syslog"

    def __init__(
        self,
        host: str,
        port: int,
        *,
        protocol: Literal["udp", "tcp"] = "udp",
        hostname: str | None = None,
        timeout_s: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._address = (host, port)
        self._protocol = protocol
        self._hostname = hostname
        self._timeout_s = timeout_s

    @property
    def place(self) -> str:
        """Return the server."""
        return f"syslog {self._protocol}://{self._address[0]}:{self._address[1]}"

    def send(self, findings: list[Finding]) -> None:
        """Send the findings in order. Raises SinkError when the server cannot be reached."""
        if not findings:
            return
        hostname = self._own_name()
        self._send([syslog_message(finding, hostname) for finding in findings])

    def send_results(self, results: pa.Table) -> None:
        """Send the results in order. Raises SinkError when the server cannot be reached."""
        if not results.num_rows:
            return
        hostname, now = self._own_name(), self._clock.now()
        self._send([result_message(row, hostname, now) for row in plain_results(results)])

    def close(self) -> None:
        """Do nothing: no connection is held between sends."""

    def _own_name(self) -> str:
        return self._hostname if self._hostname is not None else socket.gethostname()

    def _send(self, messages: list[bytes]) -> None:
        try:
            if self._protocol == "udp":
                self._send_datagrams(messages)
            else:
                self._send_stream(messages)
        except OSError as error:
            raise SinkError(f"{self.place}: {error.strerror or error}") from error

    def _send_datagrams(self, messages: list[bytes]) -> None:
        family, kind, protocol, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as datagrams:
            for message in messages:
                datagrams.sendto(message, address)

    def _send_stream(self, messages: list[bytes]) -> None:
        # RFC 6587, 3.4.1: MSG-LEN SP SYSLOG-MSG
        with socket.create_connection(self._address, timeout=self._timeout_s) as stream:
            stream.sendall(b"".join(b"%d %s" % (len(message), message) for message in messages))
            stream.shutdown(socket.SHUT_WR)


def syslog_message(finding: Finding, hostname: str) -> bytes:
    """Write a finding as one RFC 5424 message, UTF-8 with a byte order mark before the text (section 6.4)."""
    priority = FACILITY * 8 + PRIORITY[finding.severity]
    header = (
        f"<{priority}>1 {rfc3339(finding.updated)} {_printable(hostname, 255)} tocsin - {_printable(finding.kind, 32)} "
    )
    text = re.sub(r"[\x00-\x1f\x7f]", " ", finding.title)
    return (header + _structured_data(finding) + " ").encode() + b"\xef\xbb\xbf" + text.encode("utf-8", "replace")


def result_message(row: dict[str, Any], hostname: str, now: datetime) -> bytes:
    """Write a result, as `plain_results` gives it, as one RFC 5424 message; long texts in it are cut."""
    header = f"<{FACILITY * 8 + PRIORITY['info']}>1 {rfc3339(now)} {_printable(hostname, 255)} tocsin - result "
    data = _parameters(RESULT_ID, {name: str(row[name]) for name in ("record", "summary", "start", "end")})
    text = json.dumps(_cut_all(row), ensure_ascii=False, default=str)
    return (header + data + " ").encode() + b"\xef\xbb\xbf" + text.encode("utf-8", "replace")


def _structured_data(finding: Finding) -> str:
    values = {
        "id": finding.id,
        "domain": finding.domain,
        "detector": finding.detector,
        "kind": finding.kind,
        "entity": finding.entity,
        "severity": finding.severity,
        "score": f"{finding.score:.6g}",
        "start": rfc3339(finding.start),
        "end": rfc3339(finding.end),
        "records": str(finding.record_count),
        "count": str(finding.count),
    }
    for number, reason in enumerate(finding.reasons[:REASONS], 1):
        values[f"reason{number}"] = (
            f"{reason.field}: {reason.seen}, expected {reason.expected} ({100 * reason.share:.0f} %)"
        )
    return _parameters(SD_ID, values)


def _parameters(sd_id: str, values: dict[str, str]) -> str:
    parameters = " ".join(f'{name}="{escape_value(value)}"' for name, value in values.items())
    return f"[{sd_id} {parameters}]"


def escape_value(value: str) -> str:
    """Write a value: quote, backslash and bracket escaped (section 6.3.3), control characters as blanks."""
    value = _cut(re.sub(r"[\x00-\x1f\x7f]", " ", value.encode("utf-8", "replace").decode()))
    return re.sub(r'(["\\\]])', r"\\\1", value)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _cut_all(value: Any) -> Any:
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, dict):
        return {name: _cut_all(item) for name, item in value.items()}
    return [_cut_all(item) for item in value] if isinstance(value, list) else value


def _printable(text: str, longest: int) -> str:
    """Return a header field: printable ASCII without spaces, or '-' for nothing."""
    return re.sub(r"[^\x21-\x7e]", "_", text)[:longest] or "-"
