"""How regularly events come: the share of gaps near their own median, for many series at once."""

import numpy as np

from tocsin.kernels.compiler import kernel

NEAR = 0.35
"""A gap is on the beat when it lies within this share of the median gap. Exponential gaps: a quarter of them do."""

SAME = 0.1
"""A size is the same when it lies within this share of the median size."""


@kernel
def near_median(values: np.ndarray, near: float) -> tuple[float, float]:
    """Return the median of values: (n,) float64, sorted, n ≥ 1, and the share within `near` of it, relatively."""
    n = values.shape[0]
    median = values[n // 2] if n % 2 else 0.5 * (values[n // 2 - 1] + values[n // 2])
    low = np.searchsorted(values, median * (1.0 - near), side="left")
    high = np.searchsorted(values, median * (1.0 + near), side="right")
    return median, (high - low) / n


@kernel
def gaps_between(times: np.ndarray, least: float) -> np.ndarray:
    """Return the sorted gaps between times: (n,) int64 ascending, without those under `least`."""
    gaps = np.empty(times.shape[0], np.float64)
    kept = 0
    for i in range(1, times.shape[0]):
        gap = float(times[i] - times[i - 1])
        if gap >= least:
            gaps[kept] = gap
            kept += 1
    return np.sort(gaps[:kept])


@kernel
def beat(starts: np.ndarray, times: np.ndarray, sizes: np.ndarray, burst: float) -> np.ndarray:
    """Measure each series; series i is times[starts[i]:starts[i + 1]], ascending.

    Contacts closer than `burst` count as one, unless most of a series is that close.

    Args:
        starts: (m + 1,) int64, where each series begins.
        times: (n,) int64, any unit.
        sizes: (n,) float64, what came with each event, in bytes.
        burst: gaps under this are within one contact, in the unit of times.

    Returns:
        (m, 4) float64: median gap, number of gaps, share of gaps near the median, share of sizes near their median.
    """
    result = np.zeros((starts.shape[0] - 1, 4))
    for i in range(starts.shape[0] - 1):
        first, last = starts[i], starts[i + 1]
        if last - first < 2:
            continue
        gaps = gaps_between(times[first:last], burst)
        if gaps.shape[0] * 4 < last - first:
            gaps = gaps_between(times[first:last], 0.0)
        result[i, 0], result[i, 2] = near_median(gaps, NEAR)
        result[i, 1] = gaps.shape[0]
        _, result[i, 3] = near_median(np.sort(sizes[first:last]), SAME)
    return result


@kernel
def same_sizes(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the share of each series' sizes near their median, NaN where there is none: (m,) float64.

    starts: (m + 1,) int64. sizes: (n,) float64, those that are NaN are left out.
    """
    result = np.full(starts.shape[0] - 1, np.nan)
    for i in range(starts.shape[0] - 1):
        series = sizes[starts[i] : starts[i + 1]]
        there = np.sort(series[~np.isnan(series)])
        if there.shape[0] > 0:
            _, result[i] = near_median(there, SAME)
    return result
