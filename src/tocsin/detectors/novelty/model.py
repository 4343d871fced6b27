"""One context: learns observations, says how unusual each is and why."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import pyarrow as pa

from tocsin.detector import State, StreamDetector
from tocsin.detectors.novelty.calibration import EMPTY, SAMPLE, Calibration
from tocsin.detectors.novelty.feedback import Feedback, left_over
from tocsin.detectors.novelty.kept import calibrations_of, feedbacks_of, histogram_of, whole
from tocsin.detectors.novelty.known import Known, nearest_rows
from tocsin.detectors.novelty.memory import BLOCK, Memory
from tocsin.detectors.novelty.options import MOST_COMPONENTS, Options
from tocsin.detectors.novelty.pattern import Part, check_pattern
from tocsin.detectors.novelty.scores import Scores
from tocsin.detectors.novelty.shape import OTHERS, shape_of
from tocsin.detectors.novelty.surprise import calibrated, scored
from tocsin.detectors.novelty.tables import Leaves, Tables
from tocsin.detectors.novelty.texts import texts
from tocsin.errors import InputError, ModelError, TocsinError

FORMAT = 1

READ_AT_ONCE = 8 * BLOCK
"""Observations judged at once when reading, so that memory stays small."""

SMALL = 10_000
"""Observations up to which a reading calibrates anew."""

SCORE_BINS = 50


class NoveltyModel(StreamDetector):
    """Finds combinations of categories that were never or rarely seen together, in a stream, without training.

    The score is in [0, 1]: 0 for the certain, 0.99 about once in a hundred of the context's own observations; its
    equation is in `surprise.py`. Cold start: until `warm_up` observations `warm` is false; a prior of 32 observations
    speaks at first. A missing value is the text "null", an unseen one is judged as if it were seen now for the first
    time. An observation of five components takes about half a microsecond and, where it is new, about 40 bytes for each
    of its beginnings that is new; `max_entries` bounds them.

    References: Shannon (1948) for bits; Good (1953), "The population frequencies of species", for what is unseen.

        >>> model = NoveltyModel()
        >>> seen = [["my", "sample", "observation"], ["my", "sample", "other"], ["my", "sample", "observation"]]
        >>> columns = columns_of(seen)
        >>> round(float(model.observe(columns).info_content[2]), 3)
        0.585
    """

    name = "novelty"
    format = FORMAT
    mergeable = True

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.observed = 0
        self.feedbacks: dict[str, Feedback] = {}
        self.scores_seen = np.zeros(SCORE_BINS, np.int64)
        self._memory = Memory(self.options)
        self._calibrations = (EMPTY, EMPTY)
        self._calibrate_at = 1
        self._fresh: tuple[Calibration, Calibration] | None = None
        self._asked: list[tuple[np.ndarray, float]] | None = None

    @classmethod
    def of(cls, state: State) -> "NoveltyModel":
        """Return the model that a state is of. Raises ModelError."""
        return cls().restore(state)

    @property
    def length(self) -> int:
        """How many components an observation has, 0 while that is not known."""
        return self._memory.length

    @property
    def fields(self) -> tuple[str, ...]:
        """The components' names, none where they only have numbers."""
        return self.options.fields

    @property
    def entries(self) -> int:
        """Entries of the counting tables."""
        return len(self._memory.tables) if self._memory.tables is not None else 0

    @property
    def weight(self) -> float:
        """Observations that count: fewer than were observed where old ones fade, leave or were forgotten."""
        return self._memory.tables.total if self._memory.tables is not None else 0.0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._memory.nbytes

    @property
    def is_warm(self) -> bool:
        """Whether it has seen enough for its scores to be trusted."""
        return self.observed >= self.options.warm_up

    # Learning and judging

    def check(self, columns: Sequence[pa.Array]) -> list[pa.Array]:
        """Return an observation's columns as `observe` takes them. Raises InputError when they do not fit."""
        if self.length not in (0, len(columns)):
            raise InputError(f"an observation of this context has {self.length} components, not {len(columns)}")
        if not 0 < len(columns) <= MOST_COMPONENTS:
            raise InputError(f"an observation has 1 to {MOST_COMPONENTS} components, not {len(columns)}")
        if len({len(column) for column in columns}) > 1:
            raise InputError(f"the columns have different lengths: {[len(column) for column in columns]}")
        return [_plain(column) for column in columns]

    def observe(self, columns: Sequence[pa.Array], time_us: int | np.ndarray | None = None) -> Scores:
        """Learn observations in order and judge each, counted before it is judged.

        columns: L arrays of n strings. time_us: when, microseconds since 1970; needed where something fades by time.
        Raises InputError, and learns nothing, when they are not as many or not as long as they must be.
        """
        given, memory = self.check(columns), self._memory
        length, rows = len(given), len(given[0])
        times = memory.times(time_us, rows)
        if not rows:
            return self.score(given)
        self._fresh = None
        if memory.prune():
            self._asked = None
        known = None if memory.is_learning_bins else memory.numbers(given)
        parts, start = [], 0
        while start < rows:
            left = memory.advance(length, self.observed, None if times is None else times[start : start + BLOCK])
            stop = min(rows, start + max(1, min(left, self._calibrate_at - self.observed)))
            part = [column.slice(start, stop - start) for column in given]
            parts.append(self._learn(part, memory.numbers(part) if known is None else known[start:stop]))
            start = stop
        return Scores.joined(parts)

    def score(self, columns: Sequence[pa.Array]) -> Scores:
        """Judge observations as the context is now, without learning; what it does not know as if it came now."""
        given = self.check(columns)
        tables = self._memory.tables
        if tables is None:
            tables = Tables(shape_of(self.options.order, len(given)))
        starts = range(0, max(len(given[0]), 1), READ_AT_ONCE)
        return Scores.joined([self._read(tables, [each.slice(at, READ_AT_ONCE) for each in given]) for at in starts])

    def _read(self, tables: Tables, part: list[pa.Array]) -> Scores:
        patterns = self._patterns()  # before the values are looked up: it may be about one that was never seen
        values = self._memory.find(part)
        sequence = np.full(len(values), self.observed, np.int64)
        left = left_over(patterns, values)
        return scored(part, tables.judge(values), left, self._reading(), sequence, self.options.warm_up)

    def _learn(self, part: list[pa.Array], values: np.ndarray) -> Scores:
        rows = len(values)
        sequence = np.arange(self.observed + 1, self.observed + rows + 1)
        judged = self._memory.learn(part, values, self.observed + 1)
        left = left_over(self._patterns(), values)
        scores = scored(part, judged, left, self._calibrations, sequence, self.options.warm_up)
        bins = np.minimum((scores.score * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
        self.scores_seen += np.bincount(bins, minlength=SCORE_BINS)
        self.observed += rows
        if self._memory.settle(self.observed):
            self._changed()
        elif self.observed >= self._calibrate_at:
            self.calibrate()
        return scores

    # Calibration

    def calibrate(self) -> None:
        """Calibrate on what the context knows now; done by itself each time it has grown by an eighth."""
        self._calibrations = self._calibrated()
        self._calibrate_at = self.observed + max(1, int(min(self.weight, self.observed)) // 8)

    def _reading(self) -> tuple[Calibration, Calibration]:
        if self.weight > SMALL:
            return self._calibrations
        if self._fresh is None:
            self._fresh = self._calibrated()
        return self._fresh

    def _calibrated(self) -> tuple[Calibration, Calibration]:
        tables = self._memory.tables
        if tables is None or not tables.total:
            return EMPTY, EMPTY
        leaves, weights = tables.sample(self._memory.values.hashes, SAMPLE)
        # What was folded was each seen about once, and is judged as what comes for the first time.
        values = np.where(leaves.values == OTHERS, np.int32(-1), leaves.values)
        # Feedback is left out: it lowers its own kind and no other, and is undone without a trace.
        return calibrated(tables.judge(values), None, weights)

    def _changed(self) -> None:
        """Note that what is known changed otherwise than by observing."""
        self._fresh = self._asked = None
        self.calibrate()

    # What people do with it

    def merge(self, other: Self) -> None:
        """Learn all that another context knows; the counts are those of one that had seen both.

        Raises InputError, and learns nothing, when the two do not fit; the other stays as it is.
        """
        self._memory.check_merge(other._memory, self.observed, other.observed)
        for id in self.feedbacks.keys() & other.feedbacks.keys():
            if self.feedbacks[id] != other.feedbacks[id]:
                raise InputError(f"feedback {id!r} says one thing here and another there; undo one of them")
        if not other.length:
            return
        self._memory.merge(other._memory, self.observed, other.observed)
        self.observed += other.observed
        self.scores_seen += other.scores_seen
        self.feedbacks |= other.feedbacks
        self._changed()

    def forget(self, pattern: Sequence[Part]) -> int:
        """Unlearn observations of a kind; returns how many. Raises InputError when the pattern does not fit."""
        check_pattern(pattern, self.length)
        forgotten = self._memory.forget(pattern)
        self._changed()
        return forgotten

    def feedback(
        self,
        pattern: Sequence[str | None],
        strength: float = 0.9,
        *,
        id: str,
        at_us: int,
        by: str = "",
        note: str = "",
    ) -> Feedback:
        """Call a kind of observation normal: its surprise is lowered by `strength` until that is undone.

        Raises InputError when the pattern does not fit, or the id is taken.
        """
        if not self.length:
            raise InputError("nothing was observed here yet, so that nothing can be called normal")
        check_pattern(pattern, self.length)
        if id in self.feedbacks:
            raise InputError(f"feedback {id!r} is there already; undo it first, or take another id")
        given = Feedback(id, tuple(pattern), strength, at_us, by, note)
        self.feedbacks[id], self._asked = given, None
        return given

    def undo(self, id: str) -> Feedback:
        """Take a feedback back: scores are as if it had never been given. Raises InputError when there is none."""
        if id not in self.feedbacks:
            raise InputError(f"there is no feedback {id!r}; there are {', '.join(self.feedbacks) or 'none'}")
        taken, self._asked = self.feedbacks.pop(id), None
        return taken

    def _patterns(self) -> list[tuple[np.ndarray, float]]:
        """Return what feedback asks for, by values' numbers."""
        if self._asked is None:
            self._asked = [(self._pattern(each.pattern), each.strength) for each in self.feedbacks.values()]
        return self._asked

    def _pattern(self, pattern: Sequence[str | None]) -> np.ndarray:
        numbers = self._memory.numbers([pa.array([part or ""], pa.string()) for part in pattern])[0]
        return np.where([part is None for part in pattern], -1, numbers).astype(np.int32)

    # What it knows

    def nearest(self, columns: Sequence[pa.Array], most: int = 3) -> list[list[Known]]:
        """Return for each observation the known ones with most in common, the most frequent first.

        Costs a look at every distinct observation known for each row: for explaining a few.
        """
        given = self.check(columns)
        if not self.length:
            return [[] for _ in given[0]]
        values = self._memory.find(given)
        leaves = self._memory.leaves()
        return [self._nearest(leaves, row, most) for row in values]

    def top(self, index: int, most: int = 10) -> list[tuple[str, float]]:
        """Return the most frequent values of a component with their counts."""
        leaves = self._memory.leaves()
        if not len(leaves):
            return []
        counts = np.bincount(leaves.values[:, index], weights=leaves.counts)
        found = np.argsort(-counts, kind="stable")[:most]
        found = found[counts[found] > 0]
        texts = self._memory.values.texts(found.astype(np.int32)).to_pylist()
        return [(text, float(counts[number])) for text, number in zip(texts, found, strict=True)]

    def histogram(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how the scores of all that was observed lie: edges (51,) float64 and counts (50,) int64."""
        return np.linspace(0, 1, SCORE_BINS + 1), self.scores_seen.copy()

    def export_rows(self) -> pa.Table:
        """Return every distinct observation with its count, the most frequent first: columns by field, and `count`."""
        leaves = self._memory.leaves()
        order = np.argsort(-leaves.counts, kind="stable")
        names = self.fields or tuple(str(index) for index in range(self.length))
        columns = {name: self._memory.values.texts(leaves.values[order, index]) for index, name in enumerate(names)}
        return pa.table({**columns, "count": leaves.counts[order]})

    def _nearest(self, leaves: Leaves, values: np.ndarray, most: int) -> list[Known]:
        rows, same = nearest_rows(leaves, values, most)
        columns = [self._memory.values.texts(leaves.values[rows, index]).to_pylist() for index in range(self.length)]
        return [
            Known(observation, float(count), tuple(np.flatnonzero(~shared).tolist()))
            for observation, count, shared in zip(zip(*columns, strict=True), leaves.counts[rows], same, strict=True)
        ]

    # State

    def state(self) -> State:
        """Return what was learned; `restore` takes it over, and every score is the same."""
        return {
            "format": FORMAT,
            "options": self.options.as_dict(),
            "observed": self.observed,
            "calibrate_at": self._calibrate_at,
            "feedbacks": [each.as_dict() for each in self.feedbacks.values()],
            "scores_seen": self.scores_seen.copy(),
            "weights": [each.weight for each in self._calibrations],
            "below": np.stack([each.below for each in self._calibrations]),
            **self._memory.state(),
        }

    def restore(self, state: State) -> Self:
        """Take over a state. Raises ModelError when it is of another format, incomplete or does not fit itself."""
        if state.get("format") != FORMAT:
            raise ModelError(
                f"this is no state of a novelty context of format {FORMAT}, but of {state.get('format')!r}"
            )
        try:
            restored = type(self)(Options.of(state["options"]))
            restored._restore(state)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, pa.ArrowException) as error:
            raise ModelError(f"this state of a novelty context is incomplete or damaged: {error!r}") from error
        except TocsinError as error:
            raise ModelError(f"this state of a novelty context is damaged: {error}") from error
        self.__dict__.update(restored.__dict__)
        return self

    def _restore(self, state: State) -> None:
        self.observed = whole(state, "observed", 0, 2**62)
        self._calibrate_at = whole(state, "calibrate_at", 1, 2**62)
        self._memory = Memory.of(self.options, state, self.observed)
        self.feedbacks = feedbacks_of(state["feedbacks"], self.length)
        self.scores_seen = histogram_of(state, SCORE_BINS)
        self._calibrations = calibrations_of(state)


def _plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as text without nulls."""
    return texts(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)
