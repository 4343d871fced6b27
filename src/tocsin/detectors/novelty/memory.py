"""What a context remembers: its values, how often they came together, and what of that is to fade."""

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter

import numpy as np
import pyarrow as pa

from tocsin.detector import State
from tocsin.detectors.novelty.aging import built, fitted, folded
from tocsin.detectors.novelty.bins import LEARN_AT, Binning
from tocsin.detectors.novelty.fading import Fading, leaves_state, renumbered
from tocsin.detectors.novelty.kept import learning_of, leaves_of, panes_of, whole
from tocsin.detectors.novelty.options import MOST_COMPONENTS, Options
from tocsin.detectors.novelty.pattern import Part, Range
from tocsin.detectors.novelty.shape import shape_of
from tocsin.detectors.novelty.tables import Judged, Leaves, Tables
from tocsin.detectors.novelty.values import ValueNumbers
from tocsin.errors import InputError

BLOCK = 8192
"""Observations between two looks at whether entries must be folded, with `order: given`; with `auto`, where each makes
more entries, fewer. Not a matter of how they are handed in."""

PRUNE_FROM = 65_536
"""Values that may be there, used or not, before it is looked at which are used."""


class Memory:
    """Counts observations, bins their numbers, lets old ones fade and folds the least seen. Judges, but does not score.

    options: of the context. tables: the counts, None before the length of an observation is known.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.tables: Tables | None = None
        self.values = ValueNumbers()
        self._binning = Binning(options)
        self._fading = Fading(options)
        self._learning: list[tuple[int, list[pa.Array]]] = []
        self._has_learned = False
        self._has_let_go = False
        self._pruned = 0
        self._leaves: Leaves | None = None
        if options.fields:
            self.begin(len(options.fields))

    @property
    def length(self) -> int:
        """How many components an observation has, 0 while that is not known."""
        return self.tables.shape.length if self.tables is not None else 0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.values.nbytes + (self.tables.nbytes if self.tables is not None else 0) + self._fading.nbytes

    @property
    def is_learning_bins(self) -> bool:
        """Whether edges of bins are still to be learned."""
        return bool(self._binning.learns) and not self._has_learned

    def begin(self, length: int) -> Tables:
        """Return the tables, made for observations of this length where there are none."""
        if self.tables is None:
            self.tables = Tables(shape_of(self.options.order, length))
        return self.tables

    def numbers(self, columns: list[pa.Array]) -> np.ndarray:
        """Return the numbers of observations' values, giving new ones: (n, L) int32."""
        return self.values.numbers(self._binning.apply(columns))

    def find(self, columns: list[pa.Array]) -> np.ndarray:
        """Return the numbers of observations' values, -1 for those that are not known: (n, L) int32."""
        return self.values.find(self._binning.apply(columns))

    def times(self, time_us: int | np.ndarray | None, rows: int) -> np.ndarray | None:
        """Return the rows' times where they matter. Raises InputError when there are none, or not one for each row."""
        return self._fading.check(time_us, rows)

    def leaves(self) -> Leaves:
        """Return every distinct observation that counts."""
        if self._leaves is None:
            nothing = Leaves(np.empty((0, self.length), np.int32), np.empty(0), np.empty(0, np.int32))
            self._leaves = self.tables.leaves() if self.tables is not None else nothing
        return self._leaves

    @property
    def _block(self) -> int:
        shape = self.begin(self.length).shape
        return max(1, BLOCK * shape.length // shape.columns)

    # Learning

    def advance(self, length: int, observed: int, times: np.ndarray | None) -> int:
        """Let fade what is to fade before the next observation; return how many may be learned before the next look.

        times: (n,) int64 microseconds of the next rows, None where they do not matter.
        """
        time_us = None if times is None else int(times[0])
        self._has_let_go |= self._fading.advance(self.begin(length), observed, time_us)
        bounds = [self._block - observed % self._block]
        if (left := self._fading.rows_left(observed, times)) is not None:
            bounds.append(left)
        if self.is_learning_bins:
            bounds.append(next(at for at in LEARN_AT if at > observed) - observed)
        return max(1, min(bounds))

    def learn(self, columns: list[pa.Array], values: np.ndarray, first: int) -> Judged:
        """Count observations and judge each. values: (n, L) int32, their numbers; first: the first one's sequence."""
        last = (np.arange(first, first + len(values)) & 0x7FFFFFFF).astype(np.int32)
        judged = self.begin(values.shape[1]).learn(values, int(last[0]))
        self._fading.take(values, last)
        if self.is_learning_bins:
            self._learning.append((self._fading.tick or 0, columns))
        self._leaves = None
        return judged

    def settle(self, observed: int) -> bool:
        """Do what is due now: draw bins, fold what is least seen; say whether the bins are others now."""
        drawn = self.is_learning_bins and observed in LEARN_AT
        if drawn:
            self._draw_bins(is_last=observed >= LEARN_AT[-1])
        if observed % self._block == 0 and len(self.begin(self.length)) > self.options.max_entries:
            self._fold(observed)
        return drawn

    def prune(self, least: int = PRUNE_FROM) -> bool:
        """Let go of values that nothing uses any more; say whether all numbers have changed. No score does."""
        held = len(self.values)
        if not self._has_let_go or self.is_learning_bins or self.tables is None or held <= max(least, 2 * self._pruned):
            return False
        leaves = self.tables.leaves()
        used = np.unique(np.concatenate([each.ravel() for each in (leaves.values, *_values_of(self._fading.panes))]))
        is_less = len(used) < held
        if is_less:
            values = ValueNumbers()
            here = values.absorb(self.values, used)
            self._fading.change(lambda pane: renumbered(pane, here))
            self._rebuild(built(self.tables.shape, renumbered(leaves, here)))
            self.values = values
        self._pruned, self._has_let_go = len(self.values), False
        return is_less

    def _fold(self, observed: int) -> None:
        """Fold what is least seen where too much is known; what no longer counts is no matter of scores."""
        tables = self.begin(self.length)
        if tables.live <= self.options.max_entries:
            tables.compact(spare=0.25)
            return
        smaller, depth = folded(tables, self.options.max_entries, observed)
        self._fading.change(lambda pane: fitted(pane, smaller, depth))
        self._rebuild(smaller)
        self._has_let_go = True

    def _draw_bins(self, *, is_last: bool) -> None:
        """Learn the edges from what came so far, and count that anew."""
        if self._learning:
            seen = zip(*(part for _, part in self._learning), strict=True)
            self._binning.learn([pa.concat_arrays(list(each)) for each in seen])
        fading, tables = Fading(self.options), Tables(self.begin(self.length).shape)
        last = 0
        for tick, parts in groupby(self._learning, key=itemgetter(0)):
            fading.pass_to(tables, tick)
            columns = [pa.concat_arrays(list(each)) for each in zip(*(part for _, part in parts), strict=True)]
            values = self.numbers(columns)
            leaves = Leaves(values, np.ones(len(values)), np.arange(last + 1, last + len(values) + 1, dtype=np.int32))
            tables.add(leaves)
            fading.take(values, leaves.last)
            last += len(values)
        if self._fading.tick is not None:
            fading.pass_to(tables, self._fading.tick)
        self._fading = fading
        self._rebuild(tables)
        self._has_let_go = True
        if is_last:
            self._learning, self._has_learned = [], True

    def _rebuild(self, tables: Tables) -> None:
        self.tables, self._leaves = tables, None

    # Forgetting and merging

    def forget(self, pattern: Sequence[Part]) -> int:
        """Unlearn observations of a kind; returns how many."""
        if self.tables is None:
            return 0
        leaves = self.tables.leaves()
        matching = self._matching(leaves, pattern)
        self._fading.change(lambda pane: pane.only(~self._matching(pane, pattern)))
        self._learning = [(tick, self._without(columns, pattern)) for tick, columns in self._learning]
        self._rebuild(built(self.tables.shape, leaves.only(~matching)))
        self._has_let_go = True
        self.prune(least=0)
        return round(float(leaves.counts[matching].sum()))

    def check_merge(self, other: "Memory", observed: int, other_observed: int) -> None:
        """Raise InputError when the two do not fit. observed, other_observed: by each so far."""
        if (other.length and self.length not in (0, other.length)) or self.options.order != other.options.order:
            mine, theirs = (f"{each.length} components, order {each.options.order}" for each in (self, other))
            raise InputError(f"contexts that differ cannot be merged: this has {mine}, the other {theirs}")
        for name in ("half_life", "half_life_s", "window", "window_s"):
            ours, its = getattr(self.options, name), getattr(other.options, name)
            if ours != its:
                raise InputError(f"contexts that fade differently cannot be merged: {name} is {ours} here, {its} there")
        have_both = bool(observed and other_observed)
        if self._binning.bins != other._binning.bins or (have_both and self._binning.edges != other._binning.edges):
            raise InputError("contexts that bin numbers differently cannot be merged; declare the edges of both")
        if have_both and (self.is_learning_bins or other.is_learning_bins):
            raise InputError(
                f"contexts still learning their bins cannot be merged; observe {LEARN_AT[-1]}, or declare the edges"
            )

    def merge(self, other: "Memory", observed: int, other_observed: int) -> None:
        """Learn all that another remembers; it stays as it is. `check_merge` must have let it pass."""
        tables = self.begin(other.length)
        if not observed:
            self._binning.edges, self._has_learned = dict(other._binning.edges), other._has_learned
            self._learning = list(other._learning)
        ticks = [each._fading.tick for each in (self, other) if each._fading.tick is not None]
        if ticks and self._fading.by_time:
            # Both are brought to the later time, a copy of the other.
            other = Memory.of(other.options, other.state(), other_observed)
            self._fading.pass_to(tables, max(ticks))
            other._fading.pass_to(other.begin(self.length), max(ticks))
        theirs = other.begin(self.length).leaves()
        here = self.values.absorb(other.values, np.concatenate([theirs.values, *_values_of(other._fading.panes)]))
        tables.add(renumbered(theirs, here))
        self._fading.merge(other._fading, here, observed + other_observed)
        self._leaves = None

    def _matching(self, leaves: Leaves, pattern: Sequence[Part]) -> np.ndarray:
        matching = np.ones(len(leaves), bool)
        for index, part in enumerate(pattern):
            if part is None:
                continue
            if isinstance(part, Range) and index in self._binning.edges:
                raise InputError(f"[{index}]: this component is kept in bins; name a bin, as the results of `show` do")
            used, place = np.unique(leaves.values[:, index], return_inverse=True)
            texts = self.values.texts(used.astype(np.int32))
            wanted = self._binned(index, part) if isinstance(part, str) else ""
            is_in = part.holds if isinstance(part, Range) else partial(_is_one_of, wanted={part, wanted})
            matching &= is_in(texts)[place] if len(used) else False
        return matching

    def _without(self, columns: list[pa.Array], pattern: Sequence[Part]) -> list[pa.Array]:
        """Return observations that bins are learned from without those of a kind."""
        values = self.find(columns)
        leaves = Leaves(values, np.ones(len(values)), np.zeros(len(values), np.int32))
        kept = pa.array(~self._matching(leaves, pattern))
        return [column.filter(kept) for column in columns]

    def _binned(self, index: int, text: str) -> str:
        columns = [pa.array([text], pa.string())] * (index + 1)
        return str(self._binning.apply(columns)[index][0].as_py())

    # State

    def state(self) -> State:
        """Return what is remembered, as members of a state."""
        return {
            "length": self.length,
            "edges": self._binning.state(),
            "has_learned": self._has_learned,
            "learning": [[tick, [column.to_pylist() for column in part]] for tick, part in self._learning],
            **self.values.state(),
            **self._fading.state(),
            **leaves_state(self.leaves()),
        }

    @classmethod
    def of(cls, options: Options, state: State, observed: int) -> "Memory":
        """Return what a state remembers. Raises ValueError, KeyError, TypeError or others when its parts do not fit."""
        memory = cls(options)
        memory.values = ValueNumbers.of(state)
        length, size = whole(state, "length", 0, MOST_COMPONENTS), len(memory.values.hashes)
        if length:
            if memory.begin(length).shape.length != length:
                raise ValueError(f"length: {length} is not the number of fields")
            memory.begin(length).add(leaves_of(state, "", length, size))
        memory._binning.restore(state["edges"])
        memory._has_learned, memory._has_let_go = bool(state["has_learned"]), True
        memory._learning = learning_of(state, length)
        if memory.is_learning_bins and observed >= LEARN_AT[-1]:
            raise ValueError("bins should have been learned")
        tick = None if state["tick"] is None else whole(state, "tick", -(2**63), 2**63)
        panes = panes_of(state, length, size, windowed=memory._fading.keeps_panes)
        memory._fading.restore(tick, panes, length)
        return memory


def _is_one_of(texts: pa.Array, wanted: set[str]) -> np.ndarray:
    return np.array([text in wanted for text in texts.to_pylist()], bool)


def _values_of(panes: Sequence[Leaves]) -> list[np.ndarray]:
    return [pane.values for pane in panes]
