"""A clock that goes only when told."""

from datetime import UTC, datetime, timedelta


class FakeClock:
    """A clock at a set time; `sleep` and `advance` move it at once."""

    def __init__(self, start: datetime = datetime(2025, 1, 8, tzinfo=UTC)) -> None:
        self._start = start
        self._now = start

    def now(self) -> datetime:
        """Return the clock's time."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds since the clock was made."""
        return (self._now - self._start).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Move on without waiting."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self._now += timedelta(seconds=seconds)
