"""Novelty detectors at work on records of a watch: records in, candidates out."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.cluster.wire import FrameError, frame, from_bytes, to_bytes
from tocsin.detectors.novelty.definition import Definition
from tocsin.detectors.novelty.findings import Episodes, Novel
from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.portable import dump, load
from tocsin.detectors.novelty.scores import Scores
from tocsin.detectors.novelty.texts import texts
from tocsin.detectors.novelty.usual import usual_beside
from tocsin.detectors.summary.columns import times_us
from tocsin.detectors.summary.rows import plain_row
from tocsin.errors import ModelError
from tocsin.records.finding import Candidate
from tocsin.records.selection import Selection

STATE_FORMAT = 1
_COUNTS = ("records", "rejected", "novel", "warming_up")


@dataclass(frozen=True)
class NoveltyStatus:
    """What a detector holds and has counted.

    observed: records it learned from. counts: records, rejected (its SQL fails on them, or they have no time), novel
    (at or above the threshold), warming_up (the same, before it had learned enough to tell them).
    """

    name: str
    observed: int
    entries: int
    nbytes: int
    counts: dict[str, int]


class Watcher:
    """One detector: selects its records, learns them in their order, and tells those above its threshold."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.model = NoveltyModel(definition.options)
        self.episodes = Episodes(definition)
        self.counts = dict.fromkeys(_COUNTS, 0)
        columns = {"time": definition.time} | ({"entity": definition.entity} if definition.entity else {})
        columns |= {f"observe.{at}": sql for at, sql in enumerate(definition.observe)}
        what = definition.place or f"novelty.{definition.name}"
        self._selection = Selection(columns, definition.where, what=what, kind=definition.kind)

    def observe(self, table: pa.Table) -> list[Candidate]:
        """Learn records of its kind, in order; return what is to be told."""
        selected = self._selection.select(table)
        times, timed = times_us(selected.columns["time"])
        rows = np.asarray(selected.rows)
        self.counts["rejected"] += len(selected.failed) + int(np.count_nonzero(~timed))
        columns = [texts(selected.columns[f"observe.{at}"]) for at in range(len(self.definition.observe))]
        entities = texts(selected.columns["entity"]) if self.definition.entity else None
        if not timed.all():
            kept = np.flatnonzero(timed)
            times, rows, columns = times[kept], rows[kept], [column.take(kept) for column in columns]
            entities = entities.take(kept) if entities is not None else None
        if not len(rows):
            return []
        scores = self.model.observe(columns, times)
        return self._tell(scores, times, entities, table, rows)

    def status(self) -> NoveltyStatus:
        """Return what it holds."""
        model = self.model
        return NoveltyStatus(self.definition.name, model.observed, model.entries, model.nbytes, dict(self.counts))

    def _tell(
        self, scores: Scores, times: np.ndarray, entities: pa.Array | None, table: pa.Table, rows: np.ndarray
    ) -> list[Candidate]:
        above = scores.score >= self.definition.threshold
        told = np.flatnonzero(above & scores.warm)
        self.counts["records"] += len(scores)
        self.counts["novel"] += len(told)
        self.counts["warming_up"] += int(np.count_nonzero(above)) - len(told)
        if not len(told):
            return []
        columns = [column.take(told) for column in scores.columns]
        observations = list(zip(*(column.to_pylist() for column in columns), strict=True))
        whom = entities.take(told).to_pylist() if entities is not None else [self.definition.name] * len(told)
        records = table.take(rows[told]).to_pylist()
        found: list[Candidate] = []
        for number, at in enumerate(told.tolist()):
            novel = Novel(
                entity=whom[number],
                time_us=int(times[at]),
                component=int(scores.most_novel[at]),
                score=float(scores.score[at]),
                raw=float(scores.raw[at]),
                observation=observations[number],
                bits=tuple(scores.bits[at].tolist()),
                shares=tuple(scores.share[at].tolist()),
                usual=partial(usual_beside, self.model, observations[number]),
                record=plain_row(records[number]),
            )
            found += self.episodes.add(novel)
        return found


@dataclass
class Novelty:
    """The novelty detectors of a watch; several may read one kind of records, and each has its own model."""

    definitions: Sequence[Definition]
    _watchers: dict[str, list[Watcher]] = field(init=False)

    def __post_init__(self) -> None:
        self._watchers = defaultdict(list)
        for each in self.definitions:
            self._watchers[each.kind].append(Watcher(each))

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of records that are observed."""
        return frozenset(self._watchers)

    def observe(self, kind: str, table: pa.Table) -> list[Candidate]:
        """Learn records of a kind, in order; return what is to be told."""
        return [told for each in self._watchers.get(kind, ()) for told in each.observe(table)]

    def finish(self) -> list[Candidate]:
        """Return what is new of what was told; nothing is forgotten."""
        return [told for each in self._all() for told in each.episodes.rest()]

    def status(self) -> list[NoveltyStatus]:
        """Return what each detector holds."""
        return [each.status() for each in self._all()]

    def state(self) -> bytes:
        """Return everything that is needed to go on."""
        head: dict[str, Any] = {"format": STATE_FORMAT, "detectors": []}
        models: dict[str, Any] = {}
        for number, each in enumerate(self._all()):
            kept = {"name": each.definition.name, "counts": each.counts, "episodes": each.episodes.state()}
            head["detectors"].append(kept)
            models[f"model.{number}"] = dump(each.model, compressed=False)
        return to_bytes(frame(head, models))

    def restore(self, state: bytes) -> None:
        """Take over a state. Raises ModelError when it is of other detectors, or damaged."""
        try:
            kept = from_bytes(state)
            if kept.head.get("format") != STATE_FORMAT:
                found = kept.head.get("format")
                raise ModelError(f"novelty has state format {found}; this version reads {STATE_FORMAT}")
            for number, (each, its) in enumerate(zip(self._all(), kept.head["detectors"], strict=True)):
                each.model = load(bytes(kept.part(f"model.{number}")))
                each.counts |= its["counts"]
                each.episodes.restore(its["episodes"])
        except (FrameError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"this state is of other novelty detectors or incomplete ({error!r})") from error

    def _all(self) -> list[Watcher]:
        by_name = {each.definition.name: each for its in self._watchers.values() for each in its}
        return [by_name[each.name] for each in self.definitions]


def novelty_digest(definitions: Sequence[Definition]) -> str:
    """Return a digest that is the same for equal detectors, '' for none."""
    if not definitions:
        return ""
    plain = [{**asdict(each), "options": each.options.as_dict(), "place": ""} for each in definitions]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:32]
