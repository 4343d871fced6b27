"""One context: learns observations, says how unusual each is and why."""

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Self

import numpy as np
import pyarrow as pa

from tocsin.detector import State, StreamDetector
from tocsin.detectors.novelty.aging import built, fitted, folded
from tocsin.detectors.novelty.bins import LEARN_AT, Binning
from tocsin.detectors.novelty.calibration import EMPTY, SAMPLE, Calibration
from tocsin.detectors.novelty.fading import Fading, leaves_state, renumbered
from tocsin.detectors.novelty.feedback import Feedback, left_over
from tocsin.detectors.novelty.kept import (
    calibrations_of,
    feedbacks_of,
    histogram_of,
    learning_of,
    leaves_of,
    panes_of,
    whole,
)
from tocsin.detectors.novelty.known import Known, nearest_rows
from tocsin.detectors.novelty.options import MOST_COMPONENTS, Options
from tocsin.detectors.novelty.pattern import Part, Range, check_pattern
from tocsin.detectors.novelty.scores import Scores
from tocsin.detectors.novelty.shape import OTHERS, shape_of
from tocsin.detectors.novelty.surprise import calibrated, scored
from tocsin.detectors.novelty.tables import Leaves, Tables
from tocsin.detectors.novelty.texts import texts
from tocsin.detectors.novelty.values import ValueNumbers
from tocsin.errors import InputError, ModelError, TocsinError

FORMAT = 1

BLOCK = 8192
"""Observations between two looks at whether entries must be folded; not a matter of how they are handed in."""

READ_AT_ONCE = 8 * BLOCK
"""Observations judged at once when reading, so that memory stays small."""

PRUNE_FROM = 65_536
"""Values that may be there, used or not, before it is looked at which are used."""

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
        self._tables: Tables | None = None
        self._values = ValueNumbers()
        self._binning = Binning(self.options)
        self._learning: list[tuple[int, list[pa.Array]]] = []
        self._pruned = 0
        self._has_let_go = False
        self._fading = Fading(self.options)
        self._calibrations = (EMPTY, EMPTY)
        self._calibrate_at = 1
        self._fresh: tuple[Calibration, Calibration] | None = None
        self._leaves: Leaves | None = None
        self._asked: list[tuple[np.ndarray, float]] | None = None
        self._has_learned = False
        if self.options.fields:
            self._begin(len(self.options.fields))

    @classmethod
    def of(cls, state: State) -> "NoveltyModel":
        """Return the model that a state is of. Raises ModelError."""
        return cls().restore(state)

    @property
    def length(self) -> int:
        """How many components an observation has, 0 while that is not known."""
        return self._tables.shape.length if self._tables is not None else 0

    @property
    def fields(self) -> tuple[str, ...]:
        """The components' names, none where they only have numbers."""
        return self.options.fields

    @property
    def entries(self) -> int:
        """Entries of the counting tables."""
        return len(self._tables) if self._tables is not None else 0

    @property
    def weight(self) -> float:
        """Observations that count: fewer than were observed where old ones fade, leave or were forgotten."""
        return self._tables.total if self._tables is not None else 0.0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._values.nbytes + (self._tables.nbytes if self._tables is not None else 0) + self._fading.nbytes

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
        given = self.check(columns)
        rows = len(given[0])
        times = self._fading.check(time_us, rows)
        if not rows:
            return self.score(given)
        self._fresh = self._leaves = None
        self._prune()
        tables = self._begin(len(given))
        known = self._numbers(given) if not self._is_learning else None
        parts, start = [], 0
        while start < rows:
            part_times = None if times is None else times[start : start + BLOCK]
            first_us = None if part_times is None else int(part_times[0])
            self._has_let_go |= self._fading.advance(tables, self.observed, first_us)
            stop = min(rows, start + self._rows_left(part_times))
            part = [column.slice(start, stop - start) for column in given]
            parts.append(self._learn(part, self._numbers(part) if known is None else known[start:stop]))
            start, tables = stop, self._begin(len(given))
        return Scores.joined(parts)

    def score(self, columns: Sequence[pa.Array]) -> Scores:
        """Judge observations as the context is now, without learning; what it does not know as if it came now."""
        given = self.check(columns)
        tables = self._tables if self._tables is not None else Tables(shape_of(self.options.order, len(given)))
        starts = range(0, max(len(given[0]), 1), READ_AT_ONCE)
        return Scores.joined([self._read(tables, [each.slice(at, READ_AT_ONCE) for each in given]) for at in starts])

    def _read(self, tables: Tables, part: list[pa.Array]) -> Scores:
        patterns = self._patterns()  # before the values are looked up: it may be about one that was never seen
        values = self._values.find(self._binning.apply(part))
        sequence = np.full(len(values), self.observed, np.int64)
        left = left_over(patterns, values)
        return scored(part, tables.judge(values), left, self._reading(), sequence, self.options.warm_up)

    def _learn(self, part: list[pa.Array], values: np.ndarray) -> Scores:
        assert self._tables is not None
        rows = len(values)
        sequence = np.arange(self.observed + 1, self.observed + rows + 1)
        last = (sequence & 0x7FFFFFFF).astype(np.int32)
        judged = self._tables.learn(values, int(last[0]))
        self._fading.take(values, last)
        left = left_over(self._patterns(), values)
        scores = scored(part, judged, left, self._calibrations, sequence, self.options.warm_up)
        bins = np.minimum((scores.score * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
        self.scores_seen += np.bincount(bins, minlength=SCORE_BINS)
        if self._is_learning:
            self._learning.append((self._fading.tick or 0, part))
        self.observed += rows
        self._settle()
        return scores

    def _rows_left(self, times: np.ndarray | None) -> int:
        """Return how many observations may be learned before something has to be looked at."""
        bounds = [self._calibrate_at - self.observed, BLOCK - self.observed % BLOCK]
        if (fading := self._fading.rows_left(self.observed, times)) is not None:
            bounds.append(fading)
        if self._is_learning:
            bounds.append(next(at for at in LEARN_AT if at > self.observed) - self.observed)
        return max(1, min(bounds))

    def _settle(self) -> None:
        """Do what is due now: learn bins, fold what is least seen, calibrate."""
        assert self._tables is not None
        if self._is_learning and self.observed in LEARN_AT:
            self._draw_bins()
        if self.observed % BLOCK == 0 and len(self._tables) > self.options.max_entries:
            self._fold()
        if self.observed >= self._calibrate_at:
            self.calibrate()

    def _fold(self) -> None:
        """Fold what is least seen where too much is known; what no longer counts is no matter of scores."""
        assert self._tables is not None
        if self._tables.live <= self.options.max_entries:
            self._tables.compact(spare=0.25)
            return
        tables, depth = folded(self._tables, self.options.max_entries, self.observed)
        self._fading.change(lambda pane: fitted(pane, tables, depth))
        self._rebuild(tables)
        self._has_let_go = True

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
        if self._tables is None or not self._tables.total:
            return EMPTY, EMPTY
        leaves, weights = self._tables.sample(self._values.hashes, SAMPLE)
        # What was folded was each seen about once, and is judged as what comes for the first time.
        values = np.where(leaves.values == OTHERS, np.int32(-1), leaves.values)
        # Feedback is left out: it lowers its own kind and no other, and is undone without a trace.
        return calibrated(self._tables.judge(values), None, weights)

    # What people do with it

    def merge(self, other: Self) -> None:
        """Learn all that another context knows; the counts are those of one that had seen both.

        Raises InputError, and learns nothing, when the two do not fit; the other stays as it is.
        """
        self._check_merge(other)
        if other._tables is None:
            return
        tables = self._begin(other.length)
        if not self.observed:
            self._binning.edges, self._has_learned = dict(other._binning.edges), other._has_learned
            self._learning = list(other._learning)
        ticks = [each._fading.tick for each in (self, other) if each._fading.tick is not None]
        if ticks and self._fading.by_time:
            # Both are brought to the later time, a copy of the other.
            other = type(self)().restore(other.state())
            self._fading.pass_to(tables, max(ticks))
            other._fading.pass_to(other._begin(self.length), max(ticks))
        theirs = other._begin(self.length).leaves()
        here = self._values.absorb(other._values, np.concatenate([theirs.values, *_values_of(other._fading.panes)]))
        tables.add(renumbered(theirs, here))
        self.observed += other.observed
        self._fading.merge(other._fading, here, self.observed)
        self.scores_seen += other.scores_seen
        self.feedbacks |= other.feedbacks
        self._changed()

    def _check_merge(self, other: Self) -> None:
        if (other.length and self.length not in (0, other.length)) or self.options.order != other.options.order:
            mine, theirs = (f"{each.length} components, order {each.options.order}" for each in (self, other))
            raise InputError(f"contexts that differ cannot be merged: this has {mine}, the other {theirs}")
        for name in ("half_life", "half_life_s", "window", "window_s"):
            ours, its = getattr(self.options, name), getattr(other.options, name)
            if ours != its:
                raise InputError(f"contexts that fade differently cannot be merged: {name} is {ours} here, {its} there")
        if self._binning.bins != other._binning.bins or (
            self.observed and other.observed and self._binning.edges != other._binning.edges
        ):
            raise InputError("contexts that bin numbers differently cannot be merged; declare the edges of both")
        if self.observed and other.observed and (self._is_learning or other._is_learning):
            raise InputError(
                f"contexts still learning their bins cannot be merged; observe {LEARN_AT[-1]}, or declare the edges"
            )
        for id in self.feedbacks.keys() & other.feedbacks.keys():
            if self.feedbacks[id] != other.feedbacks[id]:
                raise InputError(f"feedback {id!r} says one thing here and another there; undo one of them")

    def forget(self, pattern: Sequence[Part]) -> int:
        """Unlearn observations of a kind; returns how many. Raises InputError when the pattern does not fit."""
        check_pattern(pattern, self.length)
        if self._tables is None:
            return 0
        leaves = self._tables.leaves()
        matching = self._matching(leaves, pattern)
        self._fading.change(lambda pane: pane.only(~self._matching(pane, pattern)))
        self._learning = [(tick, self._without(columns, pattern)) for tick, columns in self._learning]
        self._rebuild(built(self._tables.shape, leaves.only(~matching)))
        self._has_let_go = True
        self._prune(least=0)
        self._changed()
        return round(float(leaves.counts[matching].sum()))

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

    # What it knows

    def nearest(self, columns: Sequence[pa.Array], most: int = 3) -> list[list[Known]]:
        """Return for each observation the known ones with most in common, the most frequent first.

        Costs a look at every distinct observation known for each row: for explaining a few.
        """
        given = self.check(columns)
        if not self.length:
            return [[] for _ in given[0]]
        values = self._values.find(self._binning.apply(given))
        leaves = self._known_leaves()
        return [self._nearest(leaves, row, most) for row in values]

    def top(self, index: int, most: int = 10) -> list[tuple[str, float]]:
        """Return the most frequent values of a component with their counts."""
        leaves = self._known_leaves()
        if not len(leaves):
            return []
        counts = np.bincount(leaves.values[:, index], weights=leaves.counts)
        found = np.argsort(-counts, kind="stable")[:most]
        found = found[counts[found] > 0]
        texts = self._values.texts(found.astype(np.int32)).to_pylist()
        return [(text, float(counts[number])) for text, number in zip(texts, found, strict=True)]

    def histogram(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how the scores of all that was observed lie: edges (51,) float64 and counts (50,) int64."""
        return np.linspace(0, 1, SCORE_BINS + 1), self.scores_seen.copy()

    def export_rows(self) -> pa.Table:
        """Return every distinct observation with its count, the most frequent first: columns by field, and `count`."""
        leaves = self._known_leaves()
        order = np.argsort(-leaves.counts, kind="stable")
        names = self.fields or tuple(str(index) for index in range(self.length))
        columns = {name: self._values.texts(leaves.values[order, index]) for index, name in enumerate(names)}
        return pa.table({**columns, "count": leaves.counts[order]})

    # State

    def state(self) -> State:
        """Return what was learned; `restore` takes it over, and every score is the same."""
        return {
            "format": FORMAT,
            "options": self.options.as_dict(),
            "length": self.length,
            "observed": self.observed,
            "calibrate_at": self._calibrate_at,
            "edges": self._binning.state(),
            "has_learned": self._has_learned,
            "learning": [[tick, [column.to_pylist() for column in part]] for tick, part in self._learning],
            "feedbacks": [each.as_dict() for each in self.feedbacks.values()],
            "scores_seen": self.scores_seen.copy(),
            "weights": [each.weight for each in self._calibrations],
            "below": np.stack([each.below for each in self._calibrations]),
            **self._values.state(),
            **self._fading.state(),
            **leaves_state(self._known_leaves()),
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
        self._values = ValueNumbers.of(state)
        length = whole(state, "length", 0, MOST_COMPONENTS)
        if length:
            if self._begin(length).shape.length != length:
                raise ValueError(f"length: {length} is not the number of fields")
            self._begin(length).add(leaves_of(state, "", length, len(self._values.hashes)))
        self.observed = whole(state, "observed", 0, 2**62)
        self._calibrate_at = whole(state, "calibrate_at", 1, 2**62)
        self._binning.restore(state["edges"])
        self._has_learned, self._has_let_go = bool(state["has_learned"]), True
        self._learning = learning_of(state, length)
        if self._is_learning and self.observed >= LEARN_AT[-1]:
            raise ValueError("bins should have been learned")
        self.feedbacks = feedbacks_of(state["feedbacks"], length)
        self.scores_seen = histogram_of(state, SCORE_BINS)
        self._calibrations = calibrations_of(state)
        tick = None if state["tick"] is None else whole(state, "tick", -(2**63), 2**63)
        panes = panes_of(state, length, len(self._values.hashes), windowed=self._fading.keeps_panes)
        self._fading.restore(tick, panes, length)

    # Inside

    @property
    def _is_learning(self) -> bool:
        """Whether edges of bins are still to be learned."""
        return bool(self._binning.learns) and not self._has_learned

    def _begin(self, length: int) -> Tables:
        if self._tables is None:
            self._tables = Tables(shape_of(self.options.order, length))
        return self._tables

    def _numbers(self, columns: list[pa.Array]) -> np.ndarray:
        return self._values.numbers(self._binning.apply(columns))

    def _changed(self) -> None:
        """Note that what is known changed otherwise than by observing."""
        self._fresh = self._leaves = self._asked = None
        self.calibrate()

    def _prune(self, least: int = PRUNE_FROM) -> None:
        """Let go of values that nothing uses any more: all numbers change, no score does."""
        held = len(self._values)
        if not self._has_let_go or self._is_learning or self._tables is None or held <= max(least, 2 * self._pruned):
            return
        leaves = self._tables.leaves()
        used = np.unique(np.concatenate([each.ravel() for each in (leaves.values, *_values_of(self._fading.panes))]))
        if len(used) < held:
            values = ValueNumbers()
            here = values.absorb(self._values, used)
            self._fading.change(lambda pane: renumbered(pane, here))
            self._rebuild(built(self._tables.shape, renumbered(leaves, here)))
            self._values, self._asked = values, None
        self._pruned, self._has_let_go = len(self._values), False

    def _rebuild(self, tables: Tables) -> None:
        self._tables, self._leaves = tables, None

    def _draw_bins(self) -> None:
        """Learn the edges from what came so far, and count that anew."""
        assert self._tables is not None
        if self._learning:
            self._binning.learn([pa.concat_arrays(list(each)) for each in zip(*self._seen(), strict=True)])
        fading, tables = Fading(self.options), Tables(self._tables.shape)
        last = 0
        for tick, parts in groupby(self._learning, key=itemgetter(0)):
            fading.pass_to(tables, tick)
            columns = [pa.concat_arrays(list(each)) for each in zip(*(part for _, part in parts), strict=True)]
            values = self._numbers(columns)
            leaves = Leaves(values, np.ones(len(values)), np.arange(last + 1, last + len(values) + 1, dtype=np.int32))
            tables.add(leaves)
            fading.take(values, leaves.last)
            last += len(values)
        if self._fading.tick is not None:
            fading.pass_to(tables, self._fading.tick)
        self._fading = fading
        self._rebuild(tables)
        self._has_let_go = True
        if self.observed >= LEARN_AT[-1]:
            self._learning, self._has_learned = [], True
        self._changed()

    def _seen(self) -> list[list[pa.Array]]:
        return [part for _, part in self._learning]

    def _without(self, columns: list[pa.Array], pattern: Sequence[Part]) -> list[pa.Array]:
        """Return observations that bins are learned from without those of a kind."""
        values = self._values.find(self._binning.apply(columns))
        leaves = Leaves(values, np.ones(len(values)), np.zeros(len(values), np.int32))
        kept = pa.array(~self._matching(leaves, pattern))
        return [column.filter(kept) for column in columns]

    def _patterns(self) -> list[tuple[np.ndarray, float]]:
        """Return what feedback asks for, by values' numbers."""
        if self._asked is None:
            self._asked = [(self._pattern(each.pattern), each.strength) for each in self.feedbacks.values()]
        return self._asked

    def _pattern(self, pattern: Sequence[str | None]) -> np.ndarray:
        columns = [pa.array([part or ""], pa.string()) for part in pattern]
        numbers = self._numbers(columns)[0]
        return np.where([part is None for part in pattern], -1, numbers).astype(np.int32)

    def _known_leaves(self) -> Leaves:
        if self._leaves is None:
            nothing = Leaves(np.empty((0, self.length), np.int32), np.empty(0), np.empty(0, np.int32))
            self._leaves = self._tables.leaves() if self._tables is not None else nothing
        return self._leaves

    def _nearest(self, leaves: Leaves, values: np.ndarray, most: int) -> list[Known]:
        rows, same = nearest_rows(leaves, values, most)
        columns = [self._values.texts(leaves.values[rows, index]).to_pylist() for index in range(self.length)]
        return [
            Known(observation, float(count), tuple(np.flatnonzero(~shared).tolist()))
            for observation, count, shared in zip(zip(*columns, strict=True), leaves.counts[rows], same, strict=True)
        ]

    def _matching(self, leaves: Leaves, pattern: Sequence[Part]) -> np.ndarray:
        matching = np.ones(len(leaves), bool)
        for index, part in enumerate(pattern):
            if part is None:
                continue
            if isinstance(part, Range) and index in self._binning.edges:
                raise InputError(f"[{index}]: this component is kept in bins; name a bin, as the results of `show` do")
            used, place = np.unique(leaves.values[:, index], return_inverse=True)
            texts = self._values.texts(used.astype(np.int32))
            wanted = self._binned(index, part) if isinstance(part, str) else ""
            is_in = part.holds if isinstance(part, Range) else partial(_is_one_of, wanted={part, wanted})
            matching &= is_in(texts)[place] if len(used) else False
        return matching

    def _binned(self, index: int, text: str) -> str:
        columns = [pa.array([text], pa.string())] * (index + 1)
        return str(self._binning.apply(columns)[index][0].as_py())


def _is_one_of(texts: pa.Array, wanted: set[str]) -> np.ndarray:
    return np.array([text in wanted for text in texts.to_pylist()], bool)


def _plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as text without nulls."""
    return texts(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)


def _values_of(panes: Sequence[Leaves]) -> list[np.ndarray]:
    return [pane.values for pane in panes]
