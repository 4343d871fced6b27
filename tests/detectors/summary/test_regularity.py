"""Regularity on simulated beacons, chance, and people."""

import numpy as np
import pytest

from tocsin.detectors.summary.accumulator import Values, accumulators
from tocsin.detectors.summary.definition import Reducer

MINUTE = 60_000_000


def _made(slots=1, size=512):
    (accumulator,) = accumulators([Reducer("it", "regularity", options={"size": size, "by": "bytes"})])
    accumulator.grow(slots)
    return accumulator


def _regularity(times, sizes=None, size=512):
    it = _made(size=size)
    times = np.asarray(times, np.int64)
    of = None if sizes is None else np.asarray(sizes, np.float64)
    it.add(np.zeros(len(times), np.int32), Values(times, np.arange(len(times), dtype=np.uint64), size=of))
    return it.results(np.zeros(1, np.int32))["it"].to_pylist()[0]


def _beacon(rng, contacts, jitter):
    return np.cumsum(MINUTE * rng.uniform(1 - jitter, 1 + jitter, contacts)).astype(np.int64)


def _poisson(rng, contacts):
    return np.cumsum(rng.exponential(MINUTE, contacts)).astype(np.int64)


def _person(rng, contacts):
    """Pages read for a while, with their parts at once, in sittings hours apart."""
    times, now = [], 0.0
    while len(times) < contacts:
        now += rng.exponential(3_600e6) if rng.random() < 0.1 else rng.lognormal(np.log(20e6), 1.5)
        times += [now, *(now + rng.exponential(1e6, rng.poisson(3)))]
    return np.sort(times)[:contacts].astype(np.int64)


SEEDS = range(20)


@pytest.mark.parametrize("contacts", [12, 50, 300])
@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.2, 0.3])
def test_beacons_score_high(jitter, contacts):
    scores = [_regularity(_beacon(np.random.default_rng(seed), contacts, jitter)) for seed in SEEDS]
    assert min(scores) > (0.95 if jitter <= 0.2 else 0.6)


@pytest.mark.parametrize(("contacts", "most"), [(50, 0.35), (300, 0.15)])
@pytest.mark.parametrize("arrivals", [_poisson, _person])
def test_chance_and_people_score_low(arrivals, contacts, most):
    scores = [_regularity(arrivals(np.random.default_rng(seed), contacts)) for seed in SEEDS]
    assert max(scores) < most


def test_sleep_missed_beats_and_bursts_cost_little():
    rng = np.random.default_rng(0)
    beats = _beacon(rng, 300, 0.2)
    asleep = beats + np.arange(300) // 100 * 8 * 60 * MINUTE
    missed = beats[rng.random(300) > 0.05]
    bursts = np.sort(np.concatenate([beats, *(beats[rng.random(300) < 0.3] + after for after in (0, 200_000))]))
    assert _regularity(asleep) > 0.95
    assert _regularity(missed) > 0.85
    assert _regularity(bursts) > 0.95


def test_sizes_count_where_they_are_there():
    rng = np.random.default_rng(0)
    beats, chance = _beacon(rng, 200, 0.1), _poisson(rng, 200)
    alike, unlike = rng.uniform(395, 405, 200), rng.lognormal(6, 2, 200)
    assert _regularity(beats, alike) == 1.0
    assert _regularity(beats, unlike) < 0.4
    assert _regularity(chance, alike) < 0.4
    assert _regularity(beats, np.full(200, np.nan)) == 1.0
    assert _regularity(beats, np.where(np.arange(200) % 2, alike, np.nan)) == 1.0


@pytest.mark.parametrize("times", [[], [0], np.arange(4) * MINUTE, [0] * 50, [0, 1, 2, *[9] * 40]], ids=str)
def test_too_few_gaps_are_null(times):
    assert _regularity(times) is None


def test_five_contacts_are_enough():
    assert _regularity(np.arange(5) * MINUTE) == 1.0


def test_only_the_newest_count():
    rng = np.random.default_rng(0)
    times = np.concatenate([_poisson(rng, 300), 10**12 + _beacon(rng, 100, 0.1)])
    assert _regularity(times, size=64) == 1.0
    assert _regularity(times) < 0.4


def test_any_split_and_order_gives_the_same():
    rng = np.random.default_rng(3)
    times, slots = _poisson(rng, 400) // 4, rng.integers(0, 3, 400).astype(np.int32)
    sizes, ordinals = rng.choice([100.0, 101.0, 900.0, np.nan], 400), np.arange(400, dtype=np.uint64)
    whole, merged, every = _made(3, 64), _made(3, 64), np.arange(3, dtype=np.int32)
    whole.add(slots, Values(times, ordinals, size=sizes))
    for worker in np.array_split(rng.permutation(400), 5):
        part = _made(3, 64)
        for rows in np.array_split(worker, 4):
            part.add(slots[rows], Values(times[rows], ordinals[rows], size=sizes[rows]))
        merged.merge(every[::-1], part.partial(every[::-1]))
    assert merged.results(every)["it"].equals(whole.results(every)["it"])
    assert merged.results(every)["it"].null_count == 0
