"""One named context as it is held: its model, since when, how busy it is."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.options import Options
from tocsin.errors import InputError, StoreError, TocsinError
from tocsin.records.times import from_us

RATE_S = 60
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str) -> None:
    """Raise InputError when a context cannot be called so."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no name of a context: 1 to 64 letters, digits, dots, underscores and hyphens, "
            "a letter or a digit first"
        )


@dataclass(frozen=True)
class ContextStatus:
    """What is known of a context.

    observed: observations so far, also those that no longer count. entries, nbytes: combinations kept, memory.
    rate_per_s: over the last minute. length: components an observation, 0 before the first. order: as in the options.
    """

    name: str
    observed: int
    entries: int
    nbytes: int
    warm: bool
    rate_per_s: float
    length: int
    fields: tuple[str, ...]
    order: str
    created: datetime
    last_observed: datetime | None
    feedbacks: int
    options: Options


class Rate:
    """Counts events by the second, a minute back; the time is an argument, in monotonic seconds."""

    def __init__(self, now_s: float) -> None:
        self._counts = [0] * RATE_S
        self._begun = self._second = int(now_s)

    def add(self, count: int, now_s: float) -> None:
        """Count so many more."""
        second = int(now_s)
        if second != self._second:
            self._move(second)
        self._counts[second % RATE_S] += count

    def per_s(self, now_s: float) -> float:
        """Return events a second over the last minute, or since the beginning when that is less ago."""
        self._move(int(now_s))
        return sum(self._counts) / min(max(now_s - self._begun, 1.0), RATE_S)

    def _move(self, second: int) -> None:
        for passed in range(max(self._second + 1, second - RATE_S + 1), second + 1):
            self._counts[passed % RATE_S] = 0
        self._second = second


@dataclass
class Context:
    """A context in memory.

    number: its own for ever, in the journal and in the names of files; the name may be used again after a deletion.
    changes: goes up with everything learned or changed, so that a checkpoint knows whether its file is still right.
    file: of the last checkpoint, made when `changes` was `saved_changes`.
    is_learning: true while the model changes; found true later, the change was broken off in its middle.
    """

    number: int
    name: str
    model: NoveltyModel
    rate: Rate
    created_us: int
    last_us: int = 0
    changes: int = 1
    saved_changes: int = 0
    file: dict[str, object] = field(default_factory=dict)
    is_learning: bool = False

    def check(self) -> None:
        """Raise StoreError when a change of the model was broken off in its middle."""
        if self.is_learning:
            raise StoreError(
                f"the context {self.name!r} was interrupted while it learned and cannot be trusted; restart: "
                "its journal and checkpoint have everything that was acknowledged"
            )

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Stand around a change of the model, so that one broken off in its middle is known. Raises StoreError."""
        self.check()
        self.is_learning = True
        try:
            yield
        except TocsinError:
            self.is_learning = False  # it was refused: nothing was learned
            raise
        self.is_learning = False

    def learned(self, rows: int, time_us: int | np.ndarray, now_s: float) -> None:
        """Note that so many observations were learned. time_us: when, one time or each one's; now_s: monotonic."""
        self.changes += 1
        if rows:
            self.last_us = int(time_us[-1]) if isinstance(time_us, np.ndarray) else time_us
            self.rate.add(rows, now_s)

    def document(self) -> dict[str, object]:
        """Return what a checkpoint says of it besides its model."""
        return {name: getattr(self, name) for name in ("number", "name", "created_us", "last_us", "file")}

    def status(self, now_s: float) -> ContextStatus:
        """Return what is known of it."""
        model = self.model
        return ContextStatus(
            name=self.name,
            observed=model.observed,
            entries=model.entries,
            nbytes=model.nbytes,
            warm=model.is_warm,
            rate_per_s=self.rate.per_s(now_s),
            length=model.length,
            fields=tuple(model.fields),
            order=model.options.order,
            created=from_us(self.created_us),
            last_observed=from_us(self.last_us) if self.last_us else None,
            feedbacks=len(model.feedbacks),
            options=model.options,
        )


class Table:
    """The contexts that are held, by name and by number."""

    def __init__(self, next_number: int = 1) -> None:
        self.names: dict[str, Context] = {}
        self.numbers: dict[int, Context] = {}
        self.next_number = next_number

    def add(self, context: Context) -> None:
        """Take a context in."""
        self.names[context.name] = self.numbers[context.number] = context
        self.next_number = max(self.next_number, context.number + 1)

    def remove(self, context: Context) -> None:
        """Let a context go."""
        del self.names[context.name], self.numbers[context.number]
