"""A start: what the last checkpoint has, and what the journal says came after it, done again in the same order."""

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tocsin.clock import Clock
from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.errors import StoreError, TocsinError
from tocsin.jobs.columns import Gathered
from tocsin.jobs.context import Context, Rate, Table
from tocsin.jobs.operations import apply, decode
from tocsin.jobs.retries import Answer, Retries, digest_of, rows_of
from tocsin.jobs.segment import Frame, Recorded

log = logging.getLogger(__name__)

OBSERVED, OBSERVED_AT, CHANGED = 1, 2, 3
"""Kinds of frames: observations of one time, observations with a time each, an operation."""

_ROWS = 65_536
_BYTES = 64 << 20


@dataclass
class Load:
    """What a start would have to replay: observations, frames and bytes of the journal since the last checkpoint."""

    observations: int = 0
    frames: int = 0
    nbytes: int = 0

    def add(self, observations: int, nbytes: int) -> None:
        """Count a frame."""
        self.observations += observations
        self.frames += 1
        self.nbytes += nbytes

    def exceeds(self, limit: "Load") -> bool:
        """Tell whether one of the three is more than a limit's."""
        return self.observations >= limit.observations or self.frames >= limit.frames or self.nbytes >= limit.nbytes

    def plus(self, other: "Load") -> "Load":
        """Return both together."""
        return Load(self.observations + other.observations, self.frames + other.frames, self.nbytes + other.nbytes)

    def grown(self) -> "Load":
        """Return half as much again."""
        return Load(self.observations * 3 // 2, self.frames * 3 // 2, self.nbytes * 3 // 2)


class Replay:
    """Does again what segments say. Requests of a context are gathered and learned together, which is the same."""

    def __init__(self, table: Table, retries: Retries, clock: Clock) -> None:
        self.load = Load()
        self._table = table
        self._retries = retries
        self._clock = clock
        self._gathered: dict[int, Gathered] = {}

    def run(self, segments: list[Recorded]) -> None:
        """Replay segments, and mend what a kill left of the last. Raises StoreError."""
        torn: Recorded | None = None
        for segment in segments:
            for frame in segment.frames():
                if torn:
                    raise torn.damaged(torn.end, f"{segment.path.name} goes on behind what cannot be read there")
                self._take(segment, frame)
            self._settle(segment)
            if segment.cut_bytes:
                torn = segment
                log.warning(
                    "%s: %d bytes from byte %d on were never acknowledged and are cut off",
                    *(segment.path, segment.cut_bytes, segment.end),
                )
            if segment.cut_bytes or segment.salvage or segment is segments[-1]:
                segment.mend()

    def _take(self, segment: Recorded, frame: Frame) -> None:
        try:
            if frame.kind == CHANGED:
                self._change(frame)
            elif frame.kind in (OBSERVED, OBSERVED_AT):
                self._gather(frame)
            else:
                raise ValueError(f"a frame of kind {frame.kind}; a newer tocsin wrote it")
        except (ValueError, KeyError, TypeError, struct.error, TocsinError) as error:
            raise segment.damaged(frame.at, str(error)) from error

    def _settle(self, segment: Recorded) -> None:
        try:
            for number in list(self._gathered):
                self._learn(number)
        except (ValueError, KeyError, TocsinError) as error:
            raise segment.damaged(segment.end, str(error)) from error

    def _gather(self, frame: Frame) -> None:
        gathered = self._gathered.get(frame.context)
        if gathered is not None and not gathered.fits(frame.payload):
            self._learn(frame.context)
            gathered = None
        if gathered is None:
            gathered = self._gathered[frame.context] = Gathered()
        before = gathered.rows
        gathered.add(frame.payload, frame.kind == OBSERVED_AT)
        self.load.add(gathered.rows - before, len(frame.payload))
        if gathered.rows >= _ROWS or gathered.nbytes >= _BYTES:
            self._learn(frame.context)

    def _learn(self, number: int) -> None:
        gathered = self._gathered.pop(number, None)
        if gathered is None:
            return
        context, batch = self._table.numbers[number], gathered.batch()
        scores = context.model.observe(batch.columns, batch.times_us)
        context.changes += 1
        if len(batch.times_us):
            context.last_us = int(batch.times_us[-1])
        for start, rows, key, content in batch.keys:
            self._retries.keep(Answer(number, key, digest_of(content), rows_of(scores, start, start + rows)))

    def _change(self, frame: Frame) -> None:
        self._learn(frame.context)
        self.load.add(0, len(frame.payload))
        head, body = decode(frame.payload)
        do = head["do"]
        if do == "delete":
            self._table.remove(self._table.numbers[frame.context])
        else:
            if frame.context not in self._table.numbers:
                self._table.add(self._made(frame.context, head["name"], head["at_us"]))
            apply(self._table.numbers[frame.context], head, b"" if do == "create" else body)
        if do in FORGETTING:
            self._retries.drop(frame.context)
        if do == "create" and len(body):
            self._gather(Frame(head["kind"], frame.context, body, frame.at))

    def _made(self, number: int, name: str, at_us: int) -> Context:
        return Context(number, name, NoveltyModel(), Rate(self._clock.monotonic()), at_us)


FORGETTING = ("delete", "reset", "import")
"""Operations after which a context's answers to earlier requests are no longer true."""


def segments_of(folder: Path, first: int, *, begun: bool) -> list[Recorded]:
    """Return the segments from the first on, in order; one that is set aside for salvage is the last.

    begun: whether there is a checkpoint. Raises StoreError, naming the file, when one is missing.
    """
    found = {int(path.stem.removeprefix("journal-")): path for path in _journals(folder)}
    numbers = sorted(number for number in found if number >= first)
    missing = sorted(set(range(first, max([*numbers, first if begun else 0]) + 1)) - set(numbers))
    if missing:
        raise StoreError(
            f"{folder / f'journal-{missing[0]:08}.log'} is missing, which the checkpoint in {folder} needs; "
            "bring it back from a backup, or move the folder away to start afresh"
        )
    segments = [Recorded(found[number], number, salvage=found[number].suffix == ".salvage") for number in numbers]
    until = next((at for at, segment in enumerate(segments) if segment.salvage), len(segments))
    for segment in segments[until + 1 :]:
        segment.path.rename(segment.path.with_suffix(".unused"))
        log.warning("%s comes after what is salvaged and is set aside", segment.path)
    return segments[: until + 1]


def _journals(folder: Path) -> Iterator[Path]:
    """Yield journals, those to be salvaged last: they replace what has the same number."""
    for suffix in (".log", ".salvage"):
        for path in folder.glob(f"journal-*{suffix}"):
            if path.stem.removeprefix("journal-").isdecimal():
                yield path
