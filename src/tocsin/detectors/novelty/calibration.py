"""What share of a context's own history surprises less: from bits to a score that means the same everywhere."""

from dataclasses import dataclass

import numpy as np

SAMPLE = 8_192
"""Distinct observations that a calibration looks at, about; each that weighs more than its share is one of them."""

BINS_A_BIT = 32
MOST_BITS = 64
BINS = BINS_A_BIT * MOST_BITS

PRIOR = 32.0
"""Observations that the prior weighs: a context knows nothing of itself at first."""


@dataclass(frozen=True)
class Calibration:
    """The surprise of everything that a context knows, as it would be judged now.

    score(r) = (N · F(r - d) + m · (1 - 2^-r)) / (N + m)

    where r is the surprise in bits, F(r) the share of the N observations known that surprise less than r (to 1/32 bit),
    and m = 32 the weight of the prior: an event of r bits happens once in 2^r times. F is a function of the counts
    alone, not of the order in which they came. It is made anew each time the context has grown by an eighth; until then
    what does not come again surprises d = log2(n / N) bits more, n being the observations known now, which must not
    lift it above its like.

    The score is never above 1 - 8^-r, so that 0.99 takes 2.2 bits: where all is alike, what is a little less so is no
    news.

    below: (BINS,) float64, the share that lies in lower bins. weight: N.
    """

    below: np.ndarray
    weight: float

    @classmethod
    def of(cls, raw: np.ndarray, counts: np.ndarray) -> "Calibration":
        """Calibrate on known observations: raw (m,) float64 bits, counts (m,) float64."""
        mass = np.bincount(_bins(raw), weights=counts, minlength=BINS)
        total = float(mass.sum())
        return cls((np.cumsum(mass) - mass) / total if total > 0 else np.zeros(BINS), total)

    def score(self, raw: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Return the score of surprises, (n,) float64 bits; known: (n,) float64, how many observations count by then.

        Returns (n,) float64 in [0, 1].
        """
        grown = np.log2(np.maximum(known / max(self.weight, 1.0), 1.0))
        below = self.weight * self.below[_bins(np.maximum(raw - grown, 0.0))]
        share = (below + PRIOR * -np.expm1(raw * -np.log(2))) / (self.weight + PRIOR)
        score: np.ndarray = np.minimum(share, -np.expm1(raw * -np.log(8)))
        return score


def _bins(raw: np.ndarray) -> np.ndarray:
    bins: np.ndarray = np.minimum(raw * BINS_A_BIT, BINS - 1).astype(np.int64)
    return bins


EMPTY = Calibration(np.zeros(BINS), 0.0)
