"""What every record does to its key in a window: times, counts, and bounds that tell when to look closer."""

import numpy as np

from tocsin.kernels.compiler import kernel

ADD, MOST = 0, 1
"""How a step raises a bound: it is added, or the bound is at least that."""


@kernel
def note_times(slots: np.ndarray, times: np.ndarray, begin: np.ndarray, end: np.ndarray, records: np.ndarray) -> None:
    """Widen begin and end, and count: slots (n,) int32, times (n,) int64; the others one a slot, int64."""
    for i in range(slots.size):
        slot, time = slots[i], times[i]
        if time < begin[slot]:
            begin[slot] = time
        if time > end[slot]:
            end[slot] = time
        records[slot] += 1


@kernel
def raise_bounds(
    slots: np.ndarray, steps: np.ndarray, how: int, bound: np.ndarray, send_at: np.ndarray, due: np.ndarray
) -> int:
    """Raise each slot's bound by its rows' steps and mark the slots whose bound reaches `send_at`.

    Args:
        slots: (n,) int32. steps: (n,) float64; empty: 1 each. Steps that are not positive numbers raise nothing.
        how: ADD or MOST.
        bound, send_at: (slots,) float64. due: (slots,) bool, set where reached.

    Returns:
        How many rows found their slot due.
    """
    reached = 0
    for i in range(slots.size):
        slot = slots[i]
        step = steps[i] if steps.size else 1.0
        if how == ADD:
            if step > 0.0:
                bound[slot] += step
        elif step > bound[slot]:
            bound[slot] = step
        if bound[slot] >= send_at[slot]:
            due[slot] = True
            reached += 1
    return reached
