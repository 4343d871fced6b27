"""The newest records, to show those behind a finding that only the end of its window tells."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.columns import possible_keys
from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.messages import Crossing
from tocsin.detectors.summary.rows import plain_row
from tocsin.detectors.summary.stream import Stream
from tocsin.records.times import to_us

MOST_ROWS = 100_000
"""Records that are kept, of the kinds of summaries whose condition is judged at the end."""

EXAMPLES = 20


class Recent:
    """Keeps the newest records as they came, and finds those of a key among them by the summary's own SQL."""

    def __init__(self, summaries: Mapping[str, Summary], most_rows: int = MOST_ROWS) -> None:
        late = [each for each in summaries.values() if each.condition and not each.condition.growing]
        self._streams = {each.name: [Stream(each, number) for number in range(len(each.inputs))] for each in late}
        self._kinds = {its.input.kind for streams in self._streams.values() for its in streams}
        self._tables: deque[tuple[str, pa.Table]] = deque()
        self._most, self._rows = most_rows, 0

    def add(self, kind: str, table: pa.Table) -> None:
        """Take records in; the oldest go for them."""
        if kind not in self._kinds:
            return
        self._tables.append((kind, table))
        self._rows += table.num_rows
        while self._rows - self._tables[0][1].num_rows > self._most:
            self._rows -= self._tables.popleft()[1].num_rows

    def shown(self, crossings: Sequence[Crossing]) -> list[Crossing]:
        """Return crossings with records behind them, where they had none and some are still here."""
        found: dict[int, list[dict[str, object]]] = {}
        for name, streams in self._streams.items():
            its = [at for at, each in enumerate(crossings) if each.summary == name and not each.examples]
            for stream in streams if its else ():
                self._find(stream, crossings, its, found)
        return [
            replace(each, examples=found[at][-EXAMPLES:]) if found.get(at) else each
            for at, each in enumerate(crossings)
        ]

    def _find(
        self, stream: Stream, crossings: Sequence[Crossing], its: list[int], found: dict[int, list[dict[str, object]]]
    ) -> None:
        wanted = {at: possible_keys(stream.input.key, crossings[at].key) for at in its}
        every = np.unique(np.concatenate(list(wanted.values())))
        for kind, table in self._tables:
            if kind != stream.input.kind:
                continue
            observed, _ = stream.select(table, np.arange(table.num_rows, dtype=np.uint64))
            hits = np.flatnonzero(np.isin(observed.keys, every))
            for at, keys in wanted.items() if len(hits) else ():
                rows = hits[np.isin(observed.keys[hits], keys)]
                rows = rows[_within(observed.times[rows], crossings[at])][-EXAMPLES:]
                taken = table.take(pa.array(observed.rows[rows])).to_pylist()
                found[at] = [*found.get(at, []), *map(plain_row, taken)]


def _within(times: np.ndarray, crossing: Crossing) -> np.ndarray:
    result: np.ndarray = (times >= to_us(crossing.begin)) & (times <= to_us(crossing.end))
    return result
