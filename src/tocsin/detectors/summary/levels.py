"""How many levels a key has passed, from its results."""

import numpy as np

from tocsin.detectors.summary.condition import Growing, Guard
from tocsin.detectors.summary.definition import Summary


def level_count(summary: Summary) -> int:
    """Return how many levels a summary has; a condition without a series is one."""
    return 0 if summary.condition is None else max(len(summary.levels), 1)


def passed(summary: Summary, growing: Growing, values: dict[str, np.ndarray]) -> np.ndarray:
    """Return how many levels each key has passed, (m,) int64. values: guard name -> (m,) float64, NaN: no value."""
    if summary.levels:
        guard = growing.guards()[0]
        held = [holds(Guard(guard.name, level, guard.strict), values) for level in summary.levels]
        return np.asarray(np.sum(held, axis=0), np.int64)
    return _truth(growing, values).astype(np.int64)


def holds(guard: Guard, values: dict[str, np.ndarray]) -> np.ndarray:
    """Return where a guard holds, (m,) bool."""
    with np.errstate(invalid="ignore"):
        column = values[guard.name]
        truth: np.ndarray = column > guard.least if guard.strict else column >= guard.least
    return truth


def next_goal(summary: Summary, growing: Growing, guard: int, value: float) -> float:
    """Return the least value above what is reached at which a guard (by number) next matters; inf when at none.

    A guard that wants more than a number matters from the next larger float on.
    """
    one = growing.guards()[guard]
    goals = summary.levels or (one.least,)
    for goal in goals:
        least = np.nextafter(goal, np.inf) if one.strict else goal
        if not value >= least:
            return float(least)
    return float("inf")


def _truth(growing: Growing, values: dict[str, np.ndarray]) -> np.ndarray:
    if growing.guard is not None:
        return holds(growing.guard, values)
    parts = [_truth(part, values) for part in growing.parts]
    joined: np.ndarray = np.logical_and.reduce(parts) if growing.op == "and" else np.logical_or.reduce(parts)
    return joined
