"""A sink that remembers what it was given, and fails when told to."""

from typing import Any, ClassVar

import pyarrow as pa

from tocsin.errors import SinkError
from tocsin.records.finding import Finding
from tocsin.records.result import plain_results
from tocsin.sink import Sink


class RecordingSink(Sink):
    """Keeps every delivery in `sent` and `results`; the next `failures` ones raise SinkError and keep nothing."""

    name: ClassVar[str] = "recording"

    def __init__(self, failures: int = 0, place: str = "recording") -> None:
        self.sent: list[list[Finding]] = []
        self.results: list[dict[str, Any]] = []
        self.failures = failures
        self.closed = False
        self._place = place

    @property
    def place(self) -> str:
        """Return the name it was given."""
        return self._place

    @property
    def findings(self) -> list[Finding]:
        """Return everything that was delivered, in order."""
        return [finding for delivery in self.sent for finding in delivery]

    def send(self, findings: list[Finding]) -> None:
        """Keep the findings, or fail as told. Raises SinkError."""
        self._fail_when_told()
        self.sent.append(list(findings))

    def send_results(self, results: pa.Table) -> None:
        """Keep the results as plain rows, or fail as told. Raises SinkError."""
        self._fail_when_told()
        self.results += plain_results(results)

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _fail_when_told(self) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise SinkError(f"{self._place}: told to fail")
