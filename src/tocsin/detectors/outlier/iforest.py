"""Isolation forest (Liu, Ting, Zhou 2008) over the places of a record's values.

Trees split at random; a record that random splits set apart early is unusual:

    score = 2^(-E[h] / c(m))

with the mean depth E[h] over the trees and c(m) the expected depth in a tree of m rows: 0.5 for a usual record, towards
1 for an unusual one. A split's gain over what was expected of it is credited to its field; these gains sum to c(m) - h,
so they share out the score.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tocsin.detector import Scored, State
from tocsin.detectors.outlier.features import Normaliser
from tocsin.detectors.outlier.reasons import top_parts
from tocsin.detectors.outlier.spans import over_spans
from tocsin.errors import ModelError
from tocsin.kernels.trees import isolate_rows

TREES = 100
TREE_ROWS = 256


@dataclass
class IsolationForest:
    """A fitted forest, its trees one after another in arrays.

    roots: (t,) int64. field, left, right: (nodes,) int32. threshold: (nodes,) float64. worth: (nodes,) float32.
    """

    normaliser: Normaliser
    roots: np.ndarray
    field: np.ndarray
    left: np.ndarray
    right: np.ndarray
    threshold: np.ndarray
    worth: np.ndarray

    members = ("roots", "field", "left", "right", "threshold", "worth")

    @classmethod
    def fit(cls, normaliser: Normaliser, sample: pa.Table, seed: int) -> "IsolationForest":
        """Grow the trees on a sample of the rows."""
        from sklearn.ensemble import IsolationForest as Grower

        places = normaliser.places(sample)
        grower = Grower(n_estimators=TREES, max_samples=min(TREE_ROWS, len(places)), random_state=seed % 2**32).fit(
            places
        )
        trees = [tree.tree_ for tree in grower.estimators_]
        roots = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])

        def joined(name: str) -> np.ndarray:
            return np.concatenate([getattr(tree, name) for tree in trees])

        base = np.repeat(roots, [tree.node_count for tree in trees])
        leaf = joined("children_left") < 0
        field = np.where(leaf, -1, joined("feature")).astype(np.int32)
        left, right = (
            np.where(leaf, -1, joined(f"children_{side}") + base).astype(np.int32) for side in ("left", "right")
        )
        worth = _expected_depth(joined("n_node_samples")).astype(np.float32)
        return cls(
            normaliser, roots.astype(np.int64), field, left, right, joined("threshold").astype(np.float64), worth
        )

    def score(self, batch: pa.Table, top: int, threads: int) -> Scored:
        """Score each row and name the fields that made its score."""
        places = self.normaliser.places(batch)
        depth = np.zeros(len(places))
        parts = np.zeros(places.shape, np.float32)
        trees = (self.roots, self.field, self.threshold, self.left, self.right, self.worth)

        def span(start: int, end: int) -> None:
            isolate_rows(places[start:end], *trees, depth[start:end], parts[start:end])

        over_spans(span, len(places), threads)
        usual = max(float(self.worth[self.roots[0]]), 1e-9)
        raw = np.exp2(-depth / len(self.roots) / usual)
        return Scored(raw, self.normaliser.names, *top_parts(parts, top))

    def state(self) -> State:
        """Return the arrays."""
        return {name: getattr(self, name) for name in self.members}

    @classmethod
    def restore(cls, state: State, normaliser: Normaliser) -> "IsolationForest":
        """Take over the arrays. Raises ModelError when one is missing."""
        try:
            return cls(normaliser, *(np.asarray(state[name]) for name in cls.members))
        except KeyError as error:
            raise ModelError(f"the model lacks {error}; train again") from error


def _expected_depth(rows: np.ndarray) -> np.ndarray:
    """Return c(m) = 2·H(m - 1) - 2·(m - 1)/m, the mean depth of an unsuccessful search (Liu et al., equation 1)."""
    m = np.asarray(rows, np.float64)
    more = np.maximum(m, 3)
    harmonic = np.log(more - 1) + np.euler_gamma
    return np.where(m > 2, 2 * harmonic - 2 * (more - 1) / more, np.where(m > 1, 1.0, 0.0))
