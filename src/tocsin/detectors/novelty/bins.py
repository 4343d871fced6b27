"""Numbers as categories: which bin a numeric component falls into."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.detectors.novelty.options import Bins, Options
from tocsin.detectors.novelty.pattern import number_of

LEARN_AT = (32, 64, 128, 256, 512, 1024)
"""Observations at which quantiles are learned, each time anew from all of them; then they stand."""


class Binning:
    """The bins of a context."""

    def __init__(self, options: Options) -> None:
        self._bins: Mapping[int, Bins] = {options.index_of(name): bins for name, bins in options.bins.items()}
        self.edges: dict[int, list[float]] = {index: list(bins.edges) for index, bins in self._bins.items()}

    @property
    def learns(self) -> list[int]:
        """The components whose edges are to be learned."""
        return [index for index, bins in self._bins.items() if bins.quantiles]

    def learn(self, columns: Sequence[pa.Array]) -> None:
        """Draw edges at quantiles of these values, where there are numbers among them."""
        for index in self.learns:
            numbers = np.array([n for text in columns[index].to_pylist() if (n := number_of(text)) is not None])
            if len(numbers):
                steps = np.linspace(0, 1, self._bins[index].quantiles + 1)[1:-1]
                self.edges[index] = np.unique(np.quantile(numbers, steps, method="nearest")).tolist()

    def apply(self, columns: Sequence[pa.Array]) -> list[pa.Array]:
        """Return the columns with numbers replaced by the names of their bins."""
        return [_binned(column, self.edges[at]) if at in self.edges else column for at, column in enumerate(columns)]


def _binned(column: pa.Array, edges: Sequence[float]) -> pa.Array:
    coded = pc.dictionary_encode(column)
    names = _names(edges)
    distinct = [(text, number_of(text)) for text in coded.dictionary.to_pylist()]
    named = [text if n is None else names[int(np.searchsorted(edges, n, side="right"))] for text, n in distinct]
    return pa.array(named, pa.string()).take(coded.indices)


def _names(edges: Sequence[float]) -> list[str]:
    bounds = [f"{edge:.6g}" for edge in edges]
    if not bounds:
        return ["any number"]
    between = [f"{low} to {high}" for low, high in pairwise(bounds)]
    return [f"below {bounds[0]}", *between, f"from {bounds[-1]}"]
