"""The engine of one process: a worker and a merger, hand to hand."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.cluster.engine import Engine, SummaryStatus
from tocsin.cluster.requests import check_key, check_manual
from tocsin.detector import dump_state, load_state
from tocsin.detectors.summary.course import part_of
from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.merger import Merger
from tocsin.detectors.summary.messages import Output, Partial
from tocsin.detectors.summary.worker import Message, Worker
from tocsin.errors import ModelError


class SingleEngine(Engine):
    """Counts and judges in this process, each call done when it returns."""

    def __init__(
        self, summaries: Sequence[Summary], *, origin_us: int = 0, now: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.summaries = {summary.name: summary for summary in summaries}
        self._worker = Worker(summaries, origin_us=origin_us)
        self._merger = Merger(summaries, origin_us=origin_us)
        self._now = now

    def observe(self, kind: str, table: pa.Table, ordinals: np.ndarray) -> Output:
        """Count records; crossings come at the record that makes them."""
        return self._merge(self._worker.observe(kind, table, ordinals))

    def advance(self, watermark_us: int) -> Output:
        """End the windows that are over."""
        return self._merge(self._worker.advance(watermark_us))

    def poll(self, timeout_s: float = 0.0) -> Output:
        """Return nothing: everything was returned before."""
        return Output()

    def end_epoch(self, summary: str) -> Output:
        """End the open epoch of a manual summary."""
        check_manual(self.summaries, summary)
        return self._merge(self._worker.end_epoch(summary))

    def value(self, summary: str, key: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what a key has in each open window."""
        check_key(self.summaries, summary, key)
        return self._merger.value([each for each in self._worker.value(summary, key) if isinstance(each, Partial)])

    def finish(self) -> Output:
        """End every open window."""
        return self._merge(self._worker.finish())

    def state(self) -> bytes:
        """Return the worker's and the merger's state in one."""
        parts = {f"worker/{name}": value for name, value in self._worker.state().items()}
        parts |= {f"merger/{name}": value for name, value in self._merger.state().items()}
        return dump_state(parts, compressed=False)

    def restore(self, state: bytes) -> None:
        """Take over a state."""
        parts = load_state(state)
        try:
            self._worker.restore(part_of(parts, "worker/"))
            self._merger.restore(part_of(parts, "merger/"))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"this state is of other summaries or incomplete ({error!r})") from error

    def status(self) -> list[SummaryStatus]:
        """Return what each summary holds."""
        merged = self._merger.status()
        return [
            SummaryStatus(
                name,
                held.pop("keys"),
                held.pop("nbytes") + merged[name]["nbytes"],
                held.pop("windows"),
                held,
            )
            for name, held in self._worker.status().items()
        ]

    def close(self) -> None:
        """Hold nothing outside this process: nothing to let go of."""

    def _merge(self, messages: Iterable[Message]) -> Output:
        output = Output()
        for message in messages:
            output.extend(self._merger.receive(message, self._now()))
        return output
