"""A sink that lets only grave findings through to another."""

from typing import ClassVar

import pyarrow as pa

from tocsin.records.finding import SEVERITIES, Finding, Severity
from tocsin.sink import Sink


class ThresholdSink(Sink):
    """Hands on the findings of a severity or above, and every result."""

    name: ClassVar[str] = "threshold"

    def __init__(self, inner: Sink, least: Severity) -> None:
        self._inner = inner
        self._least = SEVERITIES.index(least)

    @property
    def place(self) -> str:
        """Return where the inner sink delivers to."""
        return self._inner.place

    def send(self, findings: list[Finding]) -> None:
        """Deliver those that are grave enough. Raises SinkError as the inner sink does."""
        grave = [finding for finding in findings if SEVERITIES.index(finding.severity) >= self._least]
        if grave:
            self._inner.send(grave)

    def send_results(self, results: pa.Table) -> None:
        """Deliver the results. Raises SinkError as the inner sink does."""
        self._inner.send_results(results)

    def close(self) -> None:
        """Close the inner sink."""
        self._inner.close()
