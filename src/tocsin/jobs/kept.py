"""What is kept of a watch, so that one that was killed goes on as if it had not been."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tocsin.clock import Clock
from tocsin.cluster.checkpoint import Checkpoint, load, save
from tocsin.cluster.plain import revive
from tocsin.cluster.wire import FrameError, frame, from_bytes, pack_output, to_bytes, unpack_output
from tocsin.detectors.summary.messages import EpochResult, Output
from tocsin.errors import NotFoundError
from tocsin.store import Store

MOST_SHARE = 0.1
"""Share of the time that keeping may take."""

SOON_S = 1.0
"""How soon after the last time what is kept may be renewed because an epoch ended."""


@dataclass(frozen=True)
class Kept:
    """A watch at one moment.

    positions: where each input was read up to. engine: its state. novelty: that of its novelty detectors. origin_us,
    records: of the run. shares: parts of epochs that wait for others. queued: results that no sink took yet: place,
    summary, rows. results_bytes: size of the results file. tally: what was done, to be shown.
    """

    positions: dict[str, Any]
    engine: bytes = b""
    novelty: bytes = b""
    origin_us: int = 0
    records: int = 0
    shares: list[EpochResult] = field(default_factory=list)
    queued: list[tuple[str, str, pa.Table]] = field(default_factory=list)
    results_bytes: int = 0
    tally: dict[str, Any] = field(default_factory=dict)


class Keeper:
    """Keeps a watch every so often, and soon after an epoch has ended, in one object of the store."""

    def __init__(
        self, store: Store, path: str, *, settings: str, results_path: str, every_s: float, clock: Clock
    ) -> None:
        self._store, self.path, self._settings, self._results_path = store, path, settings, results_path
        self._every_s, self._clock = every_s, clock
        self._next_s = clock.monotonic() + every_s
        self._soon_s = clock.monotonic()
        self._records = self._ended = 0

    def load(self) -> Kept | None:
        """Return what was kept, if anything was. Raises ModelError, StoreError."""
        found = load(self._store, self.path, settings=self._settings)
        return None if found is None else self._unpacked(found)

    def is_due(self, records: int, ended: int) -> bool:
        """Tell whether it is time, and there is news; records, ended: records and epochs so far."""
        now = self._clock.monotonic()
        if ended > self._ended:
            return now >= self._soon_s
        return records > self._records and now >= self._next_s

    def keep(self, kept: Kept, ended: int) -> None:
        """Keep a watch in place of what was kept before. Raises StoreError."""
        begun = self._clock.monotonic()
        save(self._store, self.path, self._packed(kept))
        done = self._clock.monotonic()
        pause = (done - begun) / MOST_SHARE
        self._next_s, self._soon_s = done + max(self._every_s, pause), done + max(SOON_S, pause)
        self._records, self._ended = kept.records, ended

    def _packed(self, kept: Kept) -> Checkpoint:
        parts: dict[str, Any] = {
            "engine": kept.engine,
            "novelty": kept.novelty,
            "shares": to_bytes(pack_output(Output(results=kept.shares))),
        }
        parts |= {f"queued-{number}": rows for number, (_, _, rows) in enumerate(kept.queued)}
        queued = [[place, summary] for place, summary, _ in kept.queued]
        return Checkpoint(
            positions=kept.positions,
            state=to_bytes(frame({"queued": queued}, parts)),
            settings=self._settings,
            outputs={self._results_path: kept.results_bytes} if self._results_path else {},
            more={"origin_us": kept.origin_us, "records": kept.records, "tally": kept.tally},
        )

    def _unpacked(self, found: Checkpoint) -> Kept:
        state = from_bytes(found.state)
        queued = enumerate(state.head["queued"])
        return Kept(
            positions=found.positions,
            engine=state.part("engine").to_pybytes(),
            novelty=state.part("novelty").to_pybytes() if "novelty" in state.parts else b"",
            origin_us=found.more["origin_us"],
            records=found.more["records"],
            shares=unpack_output(from_bytes(state.part("shares"))).results,
            queued=[(place, summary, state.part(f"queued-{number}")) for number, (place, summary) in queued],
            results_bytes=found.outputs.get(self._results_path, 0),
            tally=found.more["tally"],
        )


def last_tally(store: Store, path: str) -> dict[str, Any] | None:
    """Return what a watch had done when it was last kept; None when that cannot be read."""
    try:
        about = revive(Any, from_bytes(store.get(path).data).head["about"])
        return dict(about["more"]["tally"])
    except (FrameError, NotFoundError, KeyError, TypeError, ValueError):
        return None
