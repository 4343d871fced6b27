"""What a context says of observations, as columns."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Scores:
    """The scores of n observations of L components each.

    columns: L arrays of n strings, the observations as they were given (as text).
    sequence: (n,) int64, the observation's number within its context, from 1.
    score: (n,) float64 in [0, 1], 0 for the certain; total_score: the same over all components together.
    probability: (n,) float64, how often this very observation was seen so far, this one included.
    uniqueness: (n,) float64 in [0, 1], 1 for what was seen once, 0 from ten thousand times on.
    info_content: (n,) float64, bits: -log2(probability).
    raw: (n,) float64, bits: the surprise that `score` is calibrated from.
    bits: (n, L) float64, each component's novelty in bits given those before it.
    share: (n, L) float64, each component's part of the surprise, adding to 1, or all 0 where nothing surprises.
    most_novel: (n,) int32, the component that makes the score.
    warm: (n,) bool, whether the context had seen enough; confidence: (n,) float64 in [0, 1], how much.
    """

    columns: list[pa.Array]
    sequence: np.ndarray
    score: np.ndarray
    total_score: np.ndarray
    probability: np.ndarray
    uniqueness: np.ndarray
    info_content: np.ndarray
    raw: np.ndarray
    bits: np.ndarray
    share: np.ndarray
    most_novel: np.ndarray
    warm: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        return len(self.score)

    def slice(self, start: int, stop: int) -> "Scores":
        """Return rows start to stop, without copying."""
        parts = {each.name: getattr(self, each.name)[start:stop] for each in fields(self) if each.name != "columns"}
        return Scores([column.slice(start, stop - start) for column in self.columns], **parts)

    @classmethod
    def joined(cls, parts: Sequence["Scores"]) -> "Scores":
        """Return several parts as one, in order; there must be one at least."""
        if len(parts) == 1:
            return parts[0]
        columns = [pa.concat_arrays(each) for each in zip(*(part.columns for part in parts), strict=True)]
        names = [each.name for each in fields(cls) if each.name != "columns"]
        return cls(columns, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
