"""The sink contract: where findings and the results of summaries are delivered.

Delivery is at least once; a finding's id, or a result's summary, start and key, lets the receiver see a repeat.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from tocsin.records.finding import Finding

if TYPE_CHECKING:
    import pyarrow as pa

SINKS = {
    "jsonl": "tocsin.sinks.jsonl:JsonLinesSink",
    "parquet": "tocsin.sinks.parquet:ParquetSink",
    "webhook": "tocsin.sinks.webhook:WebhookSink",
    "syslog": "tocsin.sinks.syslog:SyslogSink",
    "notice": "tocsin.sinks.notice:NoticeSink",
}


class Sink(ABC):
    """Delivers findings and results somewhere."""

    name: ClassVar[str]

    @property
    def place(self) -> str:
        """Return where it delivers to, for messages; no secrets."""
        return self.name

    @abstractmethod
    def send(self, findings: list[Finding]) -> None:
        """Deliver these findings, all of them, or raise SinkError saying where and why it failed."""

    @abstractmethod
    def send_results(self, results: "pa.Table") -> None:
        """Deliver the results of one summary's epoch (columns: records/result.py), all, or raise SinkError."""

    @abstractmethod
    def close(self) -> None:
        """Flush and let go of what the sink holds."""
