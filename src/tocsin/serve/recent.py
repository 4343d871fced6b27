"""The most novel observations of late, in memory, for whoever looks."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import merge
from itertools import islice, repeat
from typing import Any

import numpy as np
import orjson

from tocsin.clock import Clock
from tocsin.detectors.novelty.rows import Row, picked
from tocsin.detectors.novelty.scores import Scores

LEAST = 0.9
"""The lowest score that is kept."""

MOST = 500
"""Observations kept of one context: the newest."""

MOST_BYTES = 64 << 20
"""Bytes kept of all contexts; beyond, those of the context go that had none for longest."""

OVERHEAD_BYTES = 150
"""Of one that is kept, besides its text."""

LONGEST_BYTES = 16_384
"""An observation whose result is longer is not kept."""


@dataclass(slots=True, frozen=True)
class _Kept:
    """A result as JSON text, which takes a fifth of the memory of its values, with when it came (a counter too)."""

    number: int
    at: datetime
    score: float
    text: bytes


@dataclass
class Recent:
    """Keeps the newest observations that scored `LEAST` or more, by context."""

    clock: Clock
    _kept: dict[str, deque[_Kept]] = field(default_factory=dict)
    _count: int = 0
    _bytes: int = 0

    def add(self, context: str, scores: Scores, rows: Sequence[Row] | None = None) -> None:
        """Keep what is novel among scores. rows: the scores as rows, where they are made anyway."""
        places = np.flatnonzero(scores.score >= LEAST)[-MOST:]
        if not len(places):
            return
        novel = picked(scores, places) if rows is None else [rows[place] for place in places.tolist()]
        kept = self._kept.pop(context, None) or deque()
        self._kept[context] = kept  # last in the order
        now = self.clock.now()
        for row in novel:
            self._count += 1
            text = orjson.dumps(row)
            if len(text) <= LONGEST_BYTES:
                kept.append(_Kept(self._count, now, row["score"], text))
                self._bytes += len(text) + OVERHEAD_BYTES
            if len(kept) > MOST:
                self._bytes -= len(kept.popleft().text) + OVERHEAD_BYTES
        while self._bytes > MOST_BYTES:
            self.forget(next(iter(self._kept)))

    def forget(self, context: str | None = None) -> None:
        """Let go of a context's observations, or of all."""
        for name in [*self._kept] if context is None else [context]:
            self._bytes -= sum(len(each.text) + OVERHEAD_BYTES for each in self._kept.pop(name, ()))

    def newest(
        self, context: str | None = None, *, least: float = LEAST, most: int = 50, since: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Return the newest observations of a context, or of all, that scored so much; newest first.

        since: only those after this time. Each as {context, at, result}; the result is an orjson.Fragment.
        """
        names = self._kept if context is None else [name for name in (context,) if name in self._kept]
        novel = ((name, each) for name, each in self._newest_first(names) if each.score >= least)
        late = (found for found in novel if since is None or found[1].at > since)
        return [
            {"context": name, "at": each.at, "result": orjson.Fragment(each.text)} for name, each in islice(late, most)
        ]

    @staticmethod
    def as_json(found: list[dict[str, Any]]) -> bytes:
        """Return what `newest` gave as a JSON document."""
        return orjson.dumps({"observations": found})

    def _newest_first(self, names: Any) -> Iterator[tuple[str, _Kept]]:
        each = [zip(repeat(name), reversed(self._kept[name])) for name in names]
        return merge(*each, key=lambda found: -found[1].number)
