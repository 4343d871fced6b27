"""The laws of summaries: any split over workers, batch, order of arrival, repetition and restart gives the same."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.testing.summaries import Simulation, a_summary, a_table

EXACT = {
    "count": "count", "sum": "sum", "min": "min", "max": "max", "first_seen": "first_seen", "last_seen": "last_seen",
    "unique": ("unique", {"max": 6}), "hll_unique": ("hll_unique", {"error": 0.1}),
    "quantile": ("quantile", {"q": 0.9}), "sample": ("sample", {"size": 3}),
    "last": ("last", {"size": 2}), "regularity": ("regularity", {"size": 8}),
    "topk": ("topk", {"size": 50}),
}  # fmt: skip
CLOSE = {"average": "average", "variance": "variance", "std_dev": "std_dev"}

hosts = st.sampled_from(["10.0.0.1", "10.0.0.2", "fe80::1", "", None])
values = st.one_of(st.integers(0, 40).map(float), st.none())
seconds = st.integers(0, 400)
records = st.lists(st.tuples(hosts, values, seconds), min_size=1, max_size=60)
shapes = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 30), st.integers(0, 1000))

LATENESS = {"lateness_us": 1_000_000_000}


def _same(one: dict[Any, dict[str, Any]], other: dict[Any, dict[str, Any]]) -> None:
    assert one.keys() == other.keys()
    for key, row in one.items():
        for name, value in row.items():
            its = other[key][name]
            if isinstance(value, float) and isinstance(its, float):
                assert math.isclose(value, its, rel_tol=1e-9, abs_tol=1e-9), (key, name)
            else:
                assert value == its, (key, name)


@settings(max_examples=60, deadline=None)
@given(records, shapes, st.booleans())
def test_any_split_order_and_restart_gives_the_same_results(rows, shape, restart):
    workers, mergers, batch, seed = shape
    summary = a_summary({**EXACT, **CLOSE}, **LATENESS)
    table = a_table(rows)
    single = Simulation([summary]).run(table)
    spread = Simulation([summary], workers=workers, mergers=mergers, seed=seed, orderly=False)
    _same(single.results(), spread.run(table, batch=batch, restart=restart).results())


@settings(max_examples=60, deadline=None)
@given(records, shapes, st.booleans())
def test_thresholds_are_passed_once_and_alike(rows, shape, restart):
    workers, mergers, batch, seed = shape
    summaries = [
        a_summary({"n": "count", "s": "sum"}, "n >= 4 and s > 30", name="both", **LATENESS),
        a_summary({"s": "sum"}, "s", at=[10, 30, 100], name="series", **LATENESS),
        a_summary({"u": ("unique", {"max": 20})}, "u >= 3", name="unique", step_s=20, **LATENESS),
        a_summary({"m": "max", "n": "count"}, "m >= 35 or n >= 9", name="either", **LATENESS),
        a_summary({"a": "average", "n": "count"}, "a >= 20 AND n > 1", name="at the end", **LATENESS),
        a_summary({"s": "sum", "n": "count"}, "s / n", at=[10, 20], name="ratios", **LATENESS),
    ]
    table = a_table(rows)
    single = Simulation(summaries).run(table)
    spread = Simulation(summaries, workers=workers, mergers=mergers, seed=seed, orderly=False)
    spread.run(table, batch=batch, restart=restart)
    assert single.passed() == spread.passed()
    _same(single.results(), spread.results())


@settings(max_examples=40, deadline=None)
@given(records, st.integers(1, 30))
def test_one_worker_tells_the_same_crossings_whatever_the_batch(rows, batch):
    summaries = [
        a_summary({"n": "count", "s": "sum"}, "n >= 4 and s > 30", name="both", **LATENESS),
        a_summary({"s": "sum", "l": ("last", {"size": 1})}, "s", at=[10, 30, 100], name="series", **LATENESS),
        a_summary({"u": ("unique", {"max": 20})}, "u >= 3", name="unique", step_s=20, **LATENESS),
    ]
    table = a_table(rows)

    def told(size: int) -> Counter[str]:
        output = Simulation(summaries).run(table, batch=size).output
        return Counter(repr((c.summary, c.window, c.key, c.values, c.levels, c.begin, c.end)) for c in output.crossings)

    assert told(1) == told(batch) == told(1000)


def test_a_crossing_is_told_at_the_record_that_makes_it():
    summary = a_summary({"failures": "count", "servers": ("unique", {"of": "host", "max": 10})}, "failures >= 20")
    table = a_table([("192.168.56.1", 1.0, second) for second in range(30)])
    [crossing] = Simulation([summary]).run(table).output.crossings
    assert crossing.values == {"failures": 20, "servers": 1}
    assert (crossing.end - crossing.begin).total_seconds() == 19
    assert crossing.records == len(crossing.examples) == 20


@pytest.mark.parametrize("workers", [2, 5, 8, 50])
def test_early_detection_is_early_with_any_number_of_workers(workers):
    """The original's 20 % rule is late beyond five workers."""
    goal = 400
    summary = a_summary({"n": "count"}, f"n >= {goal}")
    simulation = Simulation([summary], workers=workers, mergers=2, seed=workers)
    crossed_at = None
    for number in range(goal + 50):
        simulation.pass_on(
            simulation.workers[number % workers].observe("event", a_table([("a", 1.0, 1)]), _ordinal(number))
        )
        if simulation.output.crossings and crossed_at is None:
            crossed_at = number + 1
    assert crossed_at == goal
    sent = len(simulation.sent)
    assert sent <= 2 * workers * (max(math.log2(goal / (2 * workers)), 0) + 2), sent


def _ordinal(number: int):
    return np.array([number], np.uint64)
