"""Numbers as categories: which bin a numeric component falls into."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.detectors.novelty.options import MOST_BINS, Bins, Options
from tocsin.detectors.novelty.pattern import number_of

LEARN_AT = (32, 64, 128, 256, 512, 1024)
"""Observations at which quantiles are learned, each time anew from all of them; then they stand."""


class Binning:
    """The bins of a context."""

    def __init__(self, options: Options) -> None:
        self.bins: Mapping[int, Bins] = {options.index_of(name): bins for name, bins in options.bins.items()}
        self.edges: dict[int, list[float]] = {index: list(bins.edges) for index, bins in self.bins.items()}

    @property
    def learns(self) -> list[int]:
        """The components whose edges are to be learned."""
        return [index for index, bins in self.bins.items() if bins.quantiles]

    def learn(self, columns: Sequence[pa.Array]) -> None:
        """Draw edges at quantiles of these values, where there are numbers among them."""
        for index in self.learns:
            numbers = np.array([n for text in columns[index].to_pylist() if (n := number_of(text)) is not None])
            if len(numbers):
                steps = np.linspace(0, 1, self.bins[index].quantiles + 1)[1:-1]
                self.edges[index] = np.unique(np.quantile(numbers, steps, method="nearest")).tolist()

    def state(self) -> dict[str, list[float]]:
        """Return the edges as JSON values."""
        return {str(index): edges for index, edges in self.edges.items()}

    def restore(self, state: dict[str, list[float]]) -> None:
        """Take over edges. Raises ValueError when they are not of these bins."""
        edges = {int(index): [float(edge) for edge in each] for index, each in state.items()}
        if not set(edges) <= set(self.bins) or any(not is_rising(each) for each in edges.values()):
            raise ValueError("edges of bins do not fit the options")
        self.edges = edges

    def apply(self, columns: Sequence[pa.Array]) -> list[pa.Array]:
        """Return the columns with numbers replaced by the names of their bins."""
        return [_binned(column, self.edges[at]) if at in self.edges else column for at, column in enumerate(columns)]


def is_rising(edges: Sequence[float]) -> bool:
    """Say whether these are edges: finite, rising, not too many."""
    return len(edges) <= MOST_BINS and all(map(math.isfinite, edges)) and all(a < b for a, b in pairwise(edges))


def _binned(column: pa.Array, edges: Sequence[float]) -> pa.Array:
    coded = pc.dictionary_encode(column)
    names = _names(edges)
    distinct = [(text, number_of(text)) for text in coded.dictionary.to_pylist()]
    named = [text if n is None else names[int(np.searchsorted(edges, n, side="right"))] for text, n in distinct]
    return pa.array(named, pa.string()).take(coded.indices)


def _names(edges: Sequence[float]) -> list[str]:
    bounds = [_written(edge) for edge in edges]
    if not bounds:
        return ["any number"]
    between = [f"{low} to {high}" for low, high in pairwise(bounds)]
    return [f"below {bounds[0]}", *between, f"from {bounds[-1]}"]


def _written(edge: float) -> str:
    """Write an edge so that no other reads the same."""
    short = f"{edge:.6g}"
    if float(short) == edge:
        return short
    return str(int(edge)) if edge.is_integer() and abs(edge) < 2**53 else repr(edge)
