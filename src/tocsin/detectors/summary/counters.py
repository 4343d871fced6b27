"""Counters of many Space-Saving sketches as columns: joined, and cut to the largest."""

from typing import NamedTuple

import numpy as np

from tocsin.kernels.spacesaving import largest_places


class Counters(NamedTuple):
    """Counters of m sketches, sketch by sketch.

    starts: (m + 1,) int64, where each sketch's begin. keys: (n,) uint64, hashes of values, all different in a sketch.
    counts, errors: (n,) int64. lasts: (n,) uint64, the largest ordinal counted.
    """

    starts: np.ndarray
    keys: np.ndarray
    counts: np.ndarray
    errors: np.ndarray
    lasts: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """Each counter's sketch, (n,) int64."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def take(self, sketches: np.ndarray) -> "Counters":
        """Return these sketches. sketches: (m,) bool."""
        lengths = np.diff(self.starts)
        there = np.repeat(sketches, lengths)
        return Counters(_running(lengths[sketches]), *(column[there] for column in self[1:]))

    def floors(self, size: int) -> np.ndarray:
        """Return how often a value that a sketch lacks may have occurred: its smallest count if it is full, else 0."""
        floors = np.zeros(len(self.starts) - 1, np.int64)
        held = np.diff(self.starts)
        some = np.flatnonzero(held)
        floors[some] = np.minimum.reduceat(self.counts, self.starts[some])
        floors[held < size] = 0
        return floors


def largest(counters: Counters, size: int) -> Counters:
    """Return each sketch's `size` largest, the largest first; of equal ones that first which had its count first."""
    starts = counters.starts
    ends, places = largest_places(starts[:-1], np.diff(starts), size, counters.counts, counters.lasts)
    return Counters(ends, *(column[places] for column in counters[1:]))


def joined(one: Counters, other: Counters, size: int) -> Counters:
    """Return sketch i of both as one: equal values' counts and errors add, a value that one lacks takes its floor.

    size: of the sketches; what is returned may have twice as many counters.
    """
    floors = np.stack([other.floors(size), one.floors(size)])
    side = np.repeat([0, 1], [len(one.keys), len(other.keys)])
    rows = np.concatenate([one.rows, other.rows])
    key, count, error, last = (np.concatenate(pair) for pair in zip(one[1:], other[1:], strict=True))
    order = np.lexsort((key, rows))
    side, rows, key, count, error, last = (column[order] for column in (side, rows, key, count, error, last))
    first = np.flatnonzero(np.append(True, (rows[1:] != rows[:-1]) | (key[1:] != key[:-1]))[: len(rows)])
    alone = np.diff(np.append(first, len(rows))) == 1
    lacked = np.where(alone, floors[side[first], rows[first]], 0)
    return Counters(
        _running(np.bincount(rows[first], minlength=len(one.starts) - 1)),
        key[first],
        np.add.reduceat(count, first) + lacked,
        np.add.reduceat(error, first) + lacked,
        np.maximum.reduceat(last, first),
    )


def _running(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
