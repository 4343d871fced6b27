"""Findings to a syslog server: RFC 5424 messages with structured data, over UDP (RFC 5426) or TCP (RFC 6587)."""

import re
import socket
from typing import ClassVar, Literal

from tocsin.errors import SinkError
from tocsin.records.finding import Finding, Severity, rfc3339
from tocsin.sink import Sink

FACILITY = 16
"""local0."""

PRIORITY: dict[Severity, int] = {"info": 6, "low": 5, "medium": 4, "high": 3, "critical": 2}
"""Syslog severities: informational, notice, warning, error, critical."""

SD_ID = "finding@32473"
"""Name of the structured data; 32473 is the enterprise number kept for documentation (RFC 5612)."""

REASONS = 3
"""Reasons in the structured data; a datagram should stay small."""

LONGEST_VALUE = 200
"""Characters of one parameter's value; longer ones are cut and end in …"""


class SyslogSink(Sink):
    """Sends one message a finding: severity as priority, kind as message id, the rest as structured data.

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
    ) -> None:
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
        hostname = self._hostname if self._hostname is not None else socket.gethostname()
        messages = [syslog_message(finding, hostname) for finding in findings]
        try:
            if self._protocol == "udp":
                self._send_datagrams(messages)
            else:
                self._send_stream(messages)
        except OSError as error:
            raise SinkError(f"{self.place}: {error.strerror or error}") from error

    def close(self) -> None:
        """Do nothing: no connection is held between sends."""

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
    parameters = " ".join(f'{name}="{escape_value(value)}"' for name, value in values.items())
    return f"[{SD_ID} {parameters}]"


def escape_value(value: str) -> str:
    """Write a value: quote, backslash and bracket escaped (section 6.3.3), control characters as blanks."""
    value = re.sub(r"[\x00-\x1f\x7f]", " ", value.encode("utf-8", "replace").decode())
    if len(value) > LONGEST_VALUE:
        value = value[: LONGEST_VALUE - 1] + "…"
    return re.sub(r'(["\\\]])', r"\\\1", value)


def _printable(text: str, longest: int) -> str:
    """Return a header field: printable ASCII without spaces, or '-' for nothing."""
    return re.sub(r"[^\x21-\x7e]", "_", text)[:longest] or "-"
