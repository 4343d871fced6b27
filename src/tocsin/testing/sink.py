"""A sink that remembers what it was given, and fails when told to."""

from typing import ClassVar

from tocsin.errors import SinkError
from tocsin.records.finding import Finding
from tocsin.sink import Sink


class RecordingSink(Sink):
    """Keeps every delivery in `sent`; the next `failures` deliveries raise SinkError and keep nothing."""

    name: ClassVar[str] = "recording"

    def __init__(self, failures: int = 0, place: str = "recording") -> None:
        self.sent: list[list[Finding]] = []
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
        if self.failures > 0:
            self.failures -= 1
            raise SinkError(f"{self._place}: told to fail")
        self.sent.append(list(findings))

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True
