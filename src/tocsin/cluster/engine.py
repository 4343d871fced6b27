"""The engine contract: summaries at work, whatever runs them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.messages import Output


@dataclass(frozen=True)
class SummaryStatus:
    """What a summary holds and has done, over all workers.

    counts: records, late, rejected, evicted, delayed, since the start. keys: in open windows. nbytes: bytes held.
    """

    name: str
    keys: int
    nbytes: int
    windows: int
    counts: dict[str, int] = field(default_factory=dict)


class Engine(ABC):
    """Takes records in, gives crossings and the results of epochs out."""

    @abstractmethod
    def observe(self, kind: str, table: pa.Table, ordinals: np.ndarray) -> Output:
        """Count records.

        kind: their record kind. ordinals: (n,) uint64, each record's own number in the run, the same at every replay.
        An engine of several processes returns what has arrived so far, which may be of earlier records.
        """

    @abstractmethod
    def advance(self, watermark_us: int) -> Output:
        """Say that records to come are not older than this, lateness aside; windows that are over end."""

    @abstractmethod
    def poll(self, timeout_s: float = 0.0) -> Output:
        """Return what has arrived meanwhile, waiting so long at most; ends windows that wait for a lost worker."""

    @abstractmethod
    def end_epoch(self, summary: str) -> Output:
        """End the open epoch of a manual summary. Raises SettingsError for an unknown or a timed one."""

    @abstractmethod
    def value(self, summary: str, key: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what a key has in each open window, oldest first: start, end, key, values, records; resets nothing.

        Raises SettingsError for an unknown summary or other key parts.
        """

    @abstractmethod
    def finish(self) -> Output:
        """End every open window, manual ones too, and return the last results."""

    @abstractmethod
    def state(self) -> bytes:
        """Return everything that is needed to go on, for `restore` of an engine of the same summaries."""

    @abstractmethod
    def restore(self, state: bytes) -> None:
        """Take over a state. Raises ModelError when it is damaged or of other summaries."""

    @abstractmethod
    def status(self) -> list[SummaryStatus]:
        """Return what each summary holds."""

    @abstractmethod
    def close(self) -> None:
        """Let go of processes and memory; nothing is finished."""
