"""Calibration: any raw score to 0–100 on the detector's own history.

A calibrated score is 100 times the share of normal records that score lower, so that 99.9 means the same everywhere.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tocsin.errors import ModelError

CALIBRATION_FORMAT = 1

KNOTS = 1024
"""Knots spread evenly over the ranks, and as many again spread by the logarithm of the distance from the top."""

TOP = 64
"""The largest scores that are knots each: the tail is where the cut-offs lie."""

FLOOR = 1e-8
"""Tail probability below which the score only creeps: nobody has the history to claim less, but bigger stays bigger."""


@dataclass(frozen=True)
class Calibration:
    """What a raw score is worth among the normal records it was fitted on.

    Inside the range of those records the score is their empirical distribution, over n + 1 instead of n: with 200
    records nothing inside their range scores above 99.51. Beyond the largest of them the tail is a generalised Pareto
    distribution fitted to the top scores (Pickands 1975; probability-weighted moments, Hosking and Wallis 1987,
    section 2), with its shape held between 0 (exponential) and 0.5, so that it has no end and bigger stays bigger.

    scores: (m,) float64, ascending raw scores. shares: (m,) float64, the share that scores lower, 0 to 1.
    rows: how many records it was fitted on. tail_scale, tail_shape: the tail beyond the last of `scores`.
    """

    scores: np.ndarray
    shares: np.ndarray
    rows: int
    tail_scale: float
    tail_shape: float

    @classmethod
    def fit(cls, raw: np.ndarray) -> "Calibration":
        """Learn the distribution of the raw scores of normal records.

        Args:
            raw: (n,) float, the detector's own scale; entries that are no finite number are left out.

        Raises:
            ModelError: when no finite score is left.
        """
        ordered = np.asarray(raw, np.float64)
        ordered = np.sort(ordered[np.isfinite(ordered)])
        if len(ordered) == 0:
            raise ModelError("a calibration needs at least one finite score")
        at = np.unique(ordered[_ranks(len(ordered))])
        lower = np.searchsorted(ordered, at, "left") / (len(ordered) + 1)
        upto = np.searchsorted(ordered, at, "right") / (len(ordered) + 1)
        # Two knots a value: records equal to it are not lower, and anything just above it has them below.
        scores = np.column_stack((at, np.nextafter(at, np.inf))).ravel()
        shares = np.column_stack((lower, upto)).ravel()
        kept = np.concatenate(([True], np.diff(scores) > 0))
        scale, shape = _tail(ordered)
        return cls(scores[kept], shares[kept], len(ordered), scale, shape)

    def score(self, raw: np.ndarray) -> np.ndarray:
        """Return how many in a hundred normal records score lower.

        Args:
            raw: (n,) float, the detector's own scale; not-a-number scores 0.

        Returns:
            (n,) float64, 0 to 100, never falling as raw rises.
        """
        raw = np.asarray(raw, np.float64)
        result: np.ndarray = 100.0 * np.interp(raw, self.scores, self.shares)
        beyond = np.flatnonzero(raw > self.scores[-1])
        if len(beyond):
            result[beyond] = 100.0 * (1.0 - self._exceedance(raw[beyond] - self.scores[-1]))
        result[np.isnan(raw)] = 0.0
        return result

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes: two arrays and four numbers."""
        return {
            "format": CALIBRATION_FORMAT,
            "scores": self.scores,
            "shares": self.shares,
            "rows": self.rows,
            "tail_scale": self.tail_scale,
            "tail_shape": self.tail_shape,
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> "Calibration":
        """Take over a state. Raises ModelError when it is of another format or incomplete."""
        if state.get("format") != CALIBRATION_FORMAT:
            raise ModelError(f"calibration format {state.get('format')!r} is not {CALIBRATION_FORMAT}; train again")
        try:
            scores, shares = (np.asarray(state[key], np.float64) for key in ("scores", "shares"))
            made = cls(scores, shares, int(state["rows"]), float(state["tail_scale"]), float(state["tail_shape"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the calibration is incomplete ({error}); train again") from error
        if len(scores) == 0 or scores.shape != shares.shape:
            raise ModelError("the calibration's scores and shares do not fit together; train again")
        return made

    def _exceedance(self, excess: np.ndarray) -> np.ndarray:
        """Return the probability that a normal record goes so far beyond the largest seen, for excess > 0."""
        # log S(x) = log(1/(n+1)) - log(1 + ξ·x/σ)/ξ, and - x/σ for ξ = 0
        steps = excess / self.tail_scale
        fall = np.log1p(self.tail_shape * steps) / self.tail_shape if self.tail_shape > 0 else steps
        log_tail = -np.log(self.rows + 1.0) - fall
        short = np.maximum(np.log(FLOOR) - log_tail, 0.0)
        tail: np.ndarray = np.where(short > 0, FLOOR / (1.0 + short), np.exp(np.maximum(log_tail, np.log(FLOOR))))
        return tail


def _ranks(n: int) -> np.ndarray:
    """Return the ranks that become knots, dense at the top."""
    even = np.linspace(0, n - 1, KNOTS)
    from_top = n - np.geomspace(1, n, KNOTS)
    ranks = np.concatenate((even, from_top, np.arange(max(0, n - TOP), n)))
    return np.unique(np.clip(np.rint(ranks), 0, n - 1).astype(np.int64))


def _tail(ordered: np.ndarray) -> tuple[float, float]:
    """Return scale and shape of the tail beyond the largest score, from the top scores."""
    n = len(ordered)
    count = min(n - 1, max(10, min(n // 50, 2000)))
    threshold = ordered[n - 1 - count] if count > 0 else ordered[0]
    excess = ordered[n - count :] - threshold
    if count < 2 or excess[-1] <= 0:
        return _spread(ordered), 0.0
    # a0 = E[X], a1 = E[X·(1-F(X))]; ξ = 2 - a0/(a0 - 2·a1), σ = 2·a0·a1/(a0 - 2·a1) = a0·(1 - ξ)
    # (Hosking and Wallis 1987, section 2, where ξ is written -k)
    a0 = float(excess.mean())
    a1 = float((excess * (count - 1 - np.arange(count)) / (count - 1)).mean())
    shape = float(np.clip(2 - a0 / (a0 - 2 * a1), 0.0, 0.5)) if a0 > 2 * a1 else 0.0
    scale = a0 * (1 - shape)
    # Above any higher point m the same tail has scale σ + ξ·(m - u).
    return max(scale + shape * float(excess[-1]), 1e-3 * _spread(ordered)), shape


def _spread(ordered: np.ndarray) -> float:
    """Return a scale for a history whose top says nothing: its deviation, or a share of its size."""
    return max(float(ordered.std()), 1e-3 * abs(float(ordered[-1])), 1e-9)
