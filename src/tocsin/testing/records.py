"""Records for a watch out of memory: batches, pauses, and an end or none."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.clock import Clock
from tocsin.jobs.feeds import Tally
from tocsin.jobs.merge import Records

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ListedRecords:
    """Gives out batches of events: lists of rows with a time in `ts`; an empty list is a pause.

    endless: it is not over after the last. from_batch: which comes first, as `positions` of an earlier one said.
    """

    def __init__(
        self,
        batches: Iterable[list[dict[str, Any]]],
        *,
        clock: Clock,
        kind: str = "event",
        endless: bool = False,
        from_batch: int = 0,
    ) -> None:
        self._clock = clock
        self._batches, self._kind, self._endless = list(batches), kind, endless
        self._at = 0
        self.watermark_us = -1
        self.rejected = 0
        while self._at < from_batch:
            self.read()

    def add(self, batch: list[dict[str, Any]]) -> None:
        """Give out another batch after the others, at once."""
        self._batches[self._at :] = [*self._batches[self._at :], batch]

    @property
    def is_over(self) -> bool:
        """Whether all was given out."""
        return self._at >= len(self._batches) and not self._endless

    def positions(self) -> dict[str, Any]:
        """How many batches were given out."""
        return {"batch": self._at}

    def report(self) -> list[Tally]:
        """Return nothing: there is one input, and it is in order."""
        return []

    def close(self) -> None:
        """Let go of nothing."""

    def read(self, timeout_s: float = 0.0) -> list[Records]:
        """Return the next batch."""
        rows = self._batches[self._at] if self._at < len(self._batches) else []
        first = sum(len(batch) for batch in self._batches[: self._at])
        self._at = min(self._at + 1, len(self._batches))
        if not rows:
            self._clock.sleep(timeout_s)
            return []
        table = pa.Table.from_pylist(rows)
        table = table.set_column(0, "ts", table.column("ts").cast(pa.timestamp("us", "UTC")))
        newest = max((row["ts"] - _EPOCH) // timedelta(microseconds=1) for row in rows)
        self.watermark_us = max(newest, self.watermark_us)
        ordinals = np.arange(first, first + len(rows), dtype=np.uint64)
        return [Records(self._kind, table, ordinals, self.watermark_us, "memory")]
