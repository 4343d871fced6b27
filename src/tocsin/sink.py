"""The sink contract: where findings are delivered.

Delivery is at least once; a finding's id lets the receiver see a repeat.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from tocsin.records.finding import Finding

SINKS = {
    "jsonl": "tocsin.sinks.jsonl:JsonLinesSink",
    "parquet": "tocsin.sinks.parquet:ParquetSink",
    "webhook": "tocsin.sinks.webhook:WebhookSink",
    "syslog": "tocsin.sinks.syslog:SyslogSink",
    "notice": "tocsin.sinks.notice:NoticeSink",
}


class Sink(ABC):
    """Delivers findings somewhere."""

    name: ClassVar[str]

    @property
    def place(self) -> str:
        """Return where it delivers to, for messages; no secrets."""
        return self.name

    @abstractmethod
    def send(self, findings: list[Finding]) -> None:
        """Deliver these findings, all of them, or raise SinkError saying where and why it failed."""

    @abstractmethod
    def close(self) -> None:
        """Flush and let go of what the sink holds."""
