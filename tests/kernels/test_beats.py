"""The regularity kernel against an obvious version of itself."""

from itertools import pairwise

import numpy as np

from tocsin.kernels.beats import NEAR, SAME, beat, same_sizes


def _slow(times: list[int], sizes: list[float], burst: float) -> list[float]:
    gaps = [b - a for a, b in pairwise(times)]
    long = [gap for gap in gaps if gap >= burst]
    if len(long) * 4 >= len(times):
        gaps = long
    median, size = np.median(gaps), np.median(sizes)
    near = sum(median * (1 - NEAR) <= gap <= median * (1 + NEAR) for gap in gaps)
    same = sum(size * (1 - SAME) <= one <= size * (1 + SAME) for one in sizes)
    return [median, len(gaps), near / len(gaps), same / len(sizes)]


def test_agrees_with_the_obvious_version() -> None:
    rng = np.random.default_rng(0)
    series = [np.sort(rng.integers(0, 10**6, rng.integers(2, 60))) for _ in range(50)]
    sizes = [rng.lognormal(6, 0.1, len(times)) for times in series]
    starts = np.r_[0, np.cumsum([len(times) for times in series])]
    fast = beat(starts, np.concatenate(series), np.concatenate(sizes), 5_000.0)
    slow = [_slow(times.tolist(), of.tolist(), 5_000.0) for times, of in zip(series, sizes, strict=True)]
    np.testing.assert_allclose(fast, slow)


def test_tells_a_beat_from_chance() -> None:
    rng = np.random.default_rng(1)
    steady = np.cumsum(rng.uniform(0.8, 1.2, 500) * 60_000).astype(np.int64)
    chance = np.cumsum(rng.exponential(60_000, 500)).astype(np.int64)
    starts = np.array([0, 500, 1000])
    measured = beat(starts, np.r_[steady, chance], np.full(1000, 400.0), 5_000.0)
    assert measured[0, 2] == 1.0
    assert measured[1, 2] < 0.4


def test_contacts_of_one_burst_count_as_one() -> None:
    beats = np.repeat(np.arange(100) * 60_000, 3) + np.tile([0, 200, 900], 100)
    gap_ms, gaps, on_beat, _ = beat(np.array([0, 300]), beats, np.full(300, 1.0), 5_000.0)[0]
    assert (gaps, on_beat) == (99, 1.0)
    assert gap_ms == 59_100


def test_a_single_event_has_no_beat() -> None:
    assert not beat(np.array([0, 1]), np.array([5]), np.array([1.0]), 5_000.0).any()


def test_sizes_near_their_median_agree_with_the_obvious_version() -> None:
    rng = np.random.default_rng(2)
    series = [np.where(rng.random(n) < 0.2, np.nan, rng.lognormal(6, 0.2, n)) for n in rng.integers(1, 40, 30)]
    starts = np.r_[0, np.cumsum([len(sizes) for sizes in series]), 0]
    starts[-1] = starts[-2]
    shares = same_sizes(starts, np.concatenate(series))
    for share, sizes in zip(shares, [*series, np.empty(0)], strict=True):
        there = sizes[~np.isnan(sizes)]
        near = np.abs(there - np.median(there)) <= SAME * np.median(there) if there.size else np.array([np.nan])
        np.testing.assert_allclose(share, near.mean())
