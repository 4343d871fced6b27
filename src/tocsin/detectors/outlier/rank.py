"""Which fields tell something: an importance learned without labels.

    importance = H / log2(K) · coverage · (1 - redundancy)

H is the entropy in bits of a field's values over at most 16 bins of about equal rows (K of them are used), coverage the
share of rows that have a value, and redundancy the largest uncertainty coefficient I(X; Y) / H(X) of the field X with
any field Y that is ranked before it: 0 when Y tells nothing about X, 1 when X follows from Y. Fields are ranked
greedily, the largest importance first, so that of two fields that say the same only one ranks high.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from tocsin.detectors.outlier.features import Normaliser
from tocsin.detectors.outlier.rowsample import RowSample
from tocsin.errors import ModelError

RANK_BINS = 16


def rank(
    normaliser: Normaliser,
    batches: Iterable[pa.Table],
    *,
    top_n: int | None = None,
    min_importance: float = 0.0,
    seed: int = 0,
) -> pa.Table:
    """Rank the fields over a sample of at most 50,000 of the batches' rows.

    Selected are the `top_n` best whose importance is above zero and at least `min_importance`; a field that is constant
    in the sample is kept among them last, since a value other than its one is worth knowing.

    Returns field, kind, importance, rank (from 1), selected, entropy (bits), coverage, redundancy, redundant_with, best
    first. Raises ModelError when there are no rows.
    """
    kept = RowSample(seed=seed)
    for batch in batches:
        kept.add(batch.select([name for name in batch.column_names if name in normaliser.tables]))
    sample = kept.table()
    if sample.num_rows == 0:
        raise ModelError("there are no rows to rank fields by")
    codes = normaliser.encode(normaliser.read(sample), 0, sample.num_rows)
    bins = np.stack([_coarse(row) for row in codes])
    return _table(normaliser, _greedy(bins, (codes > 0).mean(axis=1)), top_n or len(codes), min_importance)


def _coarse(codes: np.ndarray) -> np.ndarray:
    """Return at most 16 bins of about equal rows from codes whose order means something: (n,) int64."""
    rows = np.bincount(codes)
    middle = np.cumsum(rows) - rows / 2
    bins = np.minimum((middle * RANK_BINS / len(codes)).astype(np.int64), RANK_BINS - 1)
    _, dense = np.unique(bins[codes], return_inverse=True)
    return np.asarray(dense, np.int64).reshape(-1)


def _greedy(bins: np.ndarray, coverage: np.ndarray) -> list[dict[str, float | int]]:
    entropies = np.array([_entropy(np.bincount(row)) for row in bins])
    spread = np.array([np.log2(max(int(row.max()) + 1, 2)) for row in bins])
    redundancy, culprit = np.zeros(len(bins)), np.full(len(bins), -1)
    left, ranked = list(range(len(bins))), []
    while left:
        importance = entropies / spread * coverage * (1 - redundancy)
        best = max(left, key=lambda j: (importance[j], coverage[j], -j))
        left.remove(best)
        ranked.append(
            {
                "index": best,
                "importance": float(importance[best]),
                "entropy": float(entropies[best]),
                "coverage": float(coverage[best]),
                "redundancy": float(redundancy[best]),
                "culprit": int(culprit[best]),
            }
        )
        for j in left:
            shared = _shared(bins[j], bins[best], entropies[j], entropies[best])
            if shared > redundancy[j]:
                redundancy[j], culprit[j] = shared, best
    return ranked


def _entropy(rows: np.ndarray) -> float:
    p = rows[rows > 0] / rows.sum()
    return max(0.0, float(-(p * np.log2(p)).sum()))


def _shared(x: np.ndarray, y: np.ndarray, entropy_x: float, entropy_y: float) -> float:
    """Return I(X; Y) / H(X), 0 to 1, less what two independent fields of so many bins would show by chance."""
    if entropy_x <= 0:
        return 0.0
    width = int(y.max()) + 1
    joint = np.bincount(x * width + y)
    # Miller and Madow: the plug-in information is too large by about (Kx - 1)(Ky - 1) / 2N nats.
    chance = int(x.max()) * (width - 1) / (2 * len(x) * np.log(2))
    return float(np.clip((entropy_x + entropy_y - _entropy(joint) - chance) / entropy_x, 0, 1))


def _table(normaliser: Normaliser, ranked: list[dict[str, float | int]], top_n: int, least: float) -> pa.Table:
    names, kinds = normaliser.names, [spec.kind for spec in normaliser.fields]
    order = [int(one["index"]) for one in ranked]
    constant = [one["entropy"] <= 0 < one["coverage"] for one in ranked]
    wanted = [one["importance"] > 0 or still for one, still in zip(ranked, constant, strict=True)]
    selected = [
        good and position < top_n and (still or one["importance"] >= least)
        for position, (one, good, still) in enumerate(zip(ranked, wanted, constant, strict=True))
    ]
    culprits = [names[int(one["culprit"])] if one["culprit"] >= 0 else None for one in ranked]
    return pa.table(
        {
            "field": [names[j] for j in order],
            "kind": [kinds[j] for j in order],
            "importance": pa.array([one["importance"] for one in ranked], pa.float64()),
            "rank": pa.array(range(1, len(ranked) + 1), pa.int32()),
            "selected": pa.array(selected, pa.bool_()),
            "entropy": pa.array([one["entropy"] for one in ranked], pa.float64()),
            "coverage": pa.array([one["coverage"] for one in ranked], pa.float64()),
            "redundancy": pa.array([one["redundancy"] for one in ranked], pa.float64()),
            "redundant_with": pa.array(culprits, pa.string()),
        }
    )
