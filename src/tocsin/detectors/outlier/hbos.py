"""The histogram-based outlier score: how many bits the values of a record are worth, alone and together.

The plain method (Goldstein and Dengel 2012) adds -log2 of the share of each field's bin. Two things are added to it.
The bits of a field are a mean over bins of several widths and kinds (`numeric.py`). And fields that go together are
seen together: the places of a record's values (0 to 1, so that no unit counts for more than another) are projected on
the principal axes of the training rows, and each axis has a histogram of its own, as in LODA (Pevný 2016), which
projects on random axes; principal axes need fewer and are the same every time.

    score(x) = Σ_j b_j(x_j) + d · Σ_a w_a · B_a(v_a · (u(x) - ū)),   w_a = λ_a^¼ / Σ λ^¼

with d fields, b_j and B_a the bits of the bin above their mean over the training rows, u the places, and λ_a the
variance along axis a. Single values and combinations of values thus count the same in all; the power lies between that
of a plain distance (an axis counts by its spread, as random axes do in sum) and that of a whitened one (every axis
counts the same, so that axes of mere noise do too). 0 is a usual record.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tocsin.detector import Scored, State
from tocsin.detectors.outlier.features import Normaliser
from tocsin.detectors.outlier.numeric import GRAIN, SMOOTHING
from tocsin.detectors.outlier.spans import over_spans
from tocsin.errors import ModelError
from tocsin.kernels.histograms import explain_rows, project_rows, score_rows

AXES = 32
"""Most axes that are used."""

VARIANCE = 0.99999
"""Share of the variance that the axes cover: thin axes are where fields that go together come apart."""

AXIS_BINS = 10

POWER = 0.25
"""Weight of an axis: its variance to this power."""


@dataclass
class Hbos:
    """A fitted histogram-based outlier score.

    centre: (d,), loadings: (c, d), low, scale: (c,), axis_bits: (c, bins + 2), all float32.
    """

    normaliser: Normaliser
    centre: np.ndarray
    loadings: np.ndarray
    low: np.ndarray
    scale: np.ndarray
    axis_bits: np.ndarray

    members = ("centre", "loadings", "low", "scale", "axis_bits")

    def __post_init__(self) -> None:
        self._worth = _worth(self.normaliser, self.centre)

    @classmethod
    def fit(cls, normaliser: Normaliser, sample: pa.Table, seed: int) -> "Hbos":
        """Find the axes in a sample of the rows and count along them. The seed is not used: nothing is random."""
        codes = normaliser.encode(normaliser.read(sample), 0, sample.num_rows)
        centre, loadings, weights = _axes(normaliser.lookup("place"), codes)
        along = np.empty((len(loadings), codes.shape[1]), np.float32)
        project_rows(codes, _worth(normaliser, centre), loadings, along)
        low, scale, bits = _count_along(along, weights)
        return cls(normaliser, centre, loadings, low, scale, bits)

    def score(self, batch: pa.Table, top: int, threads: int) -> Scored:
        """Score each row and name the fields that made its score."""
        columns = self.normaliser.read(batch)
        n = batch.num_rows
        raw = np.empty(n, np.float32)
        field = np.empty((n, top), np.int16)
        share = np.empty((n, top), np.float32)
        learned = (self._worth, self.loadings, self.low, self.scale, self.axis_bits)

        def span(start: int, end: int) -> None:
            codes = self.normaliser.encode(columns, start, end)
            if top:
                explain_rows(codes, *learned, raw[start:end], field[start:end], share[start:end])
            else:
                score_rows(codes, *learned, raw[start:end])

        over_spans(span, n, threads)
        return Scored(raw.astype(np.float64), self.normaliser.names, field, share)

    def state(self) -> State:
        """Return the arrays."""
        return {name: getattr(self, name) for name in self.members}

    @classmethod
    def restore(cls, state: State, normaliser: Normaliser) -> "Hbos":
        """Take over the arrays. Raises ModelError when one is missing."""
        try:
            return cls(normaliser, *(np.ascontiguousarray(state[name], np.float32) for name in cls.members))
        except KeyError as error:
            raise ModelError(f"the model lacks {error}; train again") from error


def _worth(normaliser: Normaliser, centre: np.ndarray) -> np.ndarray:
    """Return bits and place less the mean place, by field and code: (d, k, 2) float32."""
    return np.ascontiguousarray(
        np.stack([normaliser.lookup("bits"), normaliser.lookup("place") - centre[:, None]], axis=2), np.float32
    )


def _axes(place: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the centre (d,), the principal axes (c, d) and their weights (c,)."""
    d, n = codes.shape
    # Places are whole numbers of 1/4096: every sum below is exact, so the order of the rows does not matter.
    z = np.stack([np.rint(place[j][codes[j]].astype(np.float64) * GRAIN) for j in range(d)])
    total = z.sum(axis=1)
    covariance = (z @ z.T - np.outer(total, total) / n) / n / GRAIN**2
    variance, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    variance, vectors = np.maximum(variance[::-1], 0), vectors[:, ::-1].T
    if variance[0] <= 0:
        return (total / n / GRAIN).astype(np.float32), np.zeros((0, d), np.float32), np.zeros(0)
    enough = int(np.searchsorted(np.cumsum(variance) / variance.sum(), VARIANCE)) + 1
    count = min(enough, AXES, int((variance > 1e-9 * variance[0]).sum()))
    vectors = vectors[:count]
    # An axis has no direction: the largest loading is made positive, so that equal data give equal states.
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    loadings = np.ascontiguousarray(vectors * np.sign(largest), np.float32)
    weights = variance[:count] ** POWER
    return (total / n / GRAIN).astype(np.float32), loadings, d * weights / weights.sum()


def _count_along(along: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each axis's bins begin (c,), their number a unit (c,), and their weighted bits (c, bins + 2)."""
    axes, n = along.shape
    low = along.min(axis=1) if axes else np.zeros(0, np.float32)
    span = (along.max(axis=1) if axes else low) - low
    # A thousandth more than what was seen, so that the largest value is not beyond the last bin by rounding.
    scale = np.where(span > 0, AXIS_BINS / np.where(span > 0, 1.001 * span, 1), 1).astype(np.float32)
    bits = np.empty((axes, AXIS_BINS + 2), np.float32)
    for a in range(axes):
        at = ((along[a] - low[a]) * scale[a]).astype(np.int64) + 1
        rows = np.bincount(at, minlength=AXIS_BINS + 2)
        # As in numeric.py: the share of bin i is its rows with s more, over all rows with s more a bin.
        worth = -np.log2((rows + SMOOTHING) / (n + SMOOTHING * len(rows)))
        bits[a] = weights[a] * (worth - (worth * rows).sum() / n)
    return low.astype(np.float32), scale, bits
