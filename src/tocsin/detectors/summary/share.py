"""One window at a merger."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tocsin.detectors.summary.early import Early
from tocsin.detectors.summary.judge import Passed
from tocsin.detectors.summary.rows import from_ipc, to_ipc
from tocsin.detectors.summary.table import KeyTable


@dataclass
class Share:
    """One window's keys: what is final of each worker, and what is known early.

    final: workers whose last final is here. records, evicted: of each worker.
    """

    table: KeyTable
    passed: Passed
    early: dict[int, Early] = field(default_factory=dict)
    final: set[int] = field(default_factory=set)
    records: dict[int, int] = field(default_factory=dict)
    evicted: dict[int, int] = field(default_factory=dict)

    def early_of(self, worker: int) -> Early:
        """Return what a worker said early; nothing yet at first."""
        return self.early.setdefault(worker, Early(self.passed.guards))

    def at_most(self, keys: np.ndarray, largest: np.ndarray) -> np.ndarray:
        """Return what each guard's value can be at most over all workers, by what they said early: (m, guards) float64.

        Of counts and sums it is the value; distinct values may be the same ones. largest: (guards,) bool, of which
        guards the workers' largest value is meant, not their sum.
        """
        parts = np.stack([each.guards(keys) for each in self.early.values()])
        most: np.ndarray = np.where(largest, parts.max(axis=0), parts.sum(axis=0))
        return most

    def state(self) -> dict[str, Any]:
        """Return everything: arrays, and plain values."""
        state: dict[str, Any] = {
            "final": sorted(self.final),
            "early": sorted(self.early),
            "records": sorted(self.records.items()),
            "evicted": sorted(self.evicted.items()),
            "table": to_ipc(self.table.partial(self.table.all_slots())),
        }
        for part, array in zip(("keys", "counts", "slack"), self.passed.state(), strict=True):
            state[f"passed.{part}"] = array
        for worker, early in self.early.items():
            rows, sequences = early.all_rows()
            state[f"early.{worker}"], state[f"sequences.{worker}"] = to_ipc(rows), sequences
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self.final = set(state["final"])
        self.records, self.evicted = dict(state["records"]), dict(state["evicted"])
        self.table.merge(from_ipc(state["table"]))
        self.passed.restore([state[f"passed.{part}"] for part in ("keys", "counts", "slack")])
        for worker in state["early"]:
            self.early_of(worker).restore(from_ipc(state[f"early.{worker}"]), state[f"sequences.{worker}"])
