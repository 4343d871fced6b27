"""DDSketch's buckets: numbers to bucket ids, and counted buckets to quantiles (Masson, Rim and Lee 2019).

A bucket holds the numbers in (γ^(i-1), γ^i], and its mirror the negative ones, γ = (1 + error) / (1 - error); the
middle 2 γ^i / (γ + 1) is within `error` of each of them, relatively. Ids are in the order of the numbers.
"""

import math

import numpy as np

from tocsin.kernels.compiler import kernel
from tocsin.kernels.entries import NO_ID

LEAST, MOST = 1e-9, 1e18
"""Numbers nearer to 0 than LEAST count as 0, those beyond MOST as MOST."""

_ZERO = 1 << 32
_NO_ID = np.uint64(NO_ID)


@kernel
def buckets(numbers: np.ndarray, error: float) -> np.ndarray:
    """Return the buckets of numbers, (n,) float64 -> (n,) uint64; NO_ID of those that are not finite."""
    width = math.log((1.0 + error) / (1.0 - error))
    first = math.ceil(math.log(LEAST) / width) - 1
    ids = np.empty(numbers.size, np.uint64)
    for i in range(numbers.size):
        size = min(abs(numbers[i]), MOST)
        if not math.isfinite(numbers[i]):
            ids[i] = _NO_ID
        elif size < LEAST:
            ids[i] = _ZERO
        else:
            step = np.int64(math.ceil(math.log(size) / width)) - first
            ids[i] = _ZERO + step if numbers[i] > 0.0 else _ZERO - step
    return ids


@kernel
def quantiles(offsets: np.ndarray, ids: np.ndarray, counts: np.ndarray, q: float, error: float) -> np.ndarray:
    """Return the number of rank ⌊q (n - 1)⌋, from 0, in each row's n; NaN where there are none.

    offsets: (m + 1,) int64; row i's buckets are ids[offsets[i]:offsets[i + 1]]: uint64, ascending, with counts int64.
    """
    found = np.full(offsets.size - 1, np.nan)
    for i in range(found.size):
        first, last = offsets[i], offsets[i + 1]
        if first < last:
            rank = np.int64(q * (counts[first:last].sum() - 1))
            while rank >= counts[first]:
                rank -= counts[first]
                first += 1
            found[i] = _middle(np.int64(ids[first]) - _ZERO, error)
    return found


@kernel
def _middle(step, error):
    if step == 0:
        return 0.0
    width = math.log((1.0 + error) / (1.0 - error))
    first = math.ceil(math.log(LEAST) / width) - 1
    # 2 γ^i / (γ + 1) = γ^i (1 - error)
    size = math.exp((abs(step) + first) * width) * (1.0 - error)
    return size if step > 0 else -size
