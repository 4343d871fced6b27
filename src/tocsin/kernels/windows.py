"""What every record does to its key in a window: times, counts, and bounds that tell when to look closer."""

import numpy as np

from tocsin.kernels.compiler import kernel

ADD, MOST = 0, 1
"""How a step raises a bound: it is added, or the bound is at least that."""


@kernel
def note_times(slots: np.ndarray, times: np.ndarray, rows: np.ndarray) -> None:
    """Widen begin and end, and count.

    Args:
        slots: (n,) int32. times: (n,) int64.
        rows: (slots, 3) int64: begin, end, records.
    """
    for i in range(slots.size):
        # A place without a sign cannot count from the end, so that nothing has to ask whether it does.
        slot, time = np.uint64(slots[i]), times[i]
        rows[slot, 0] = time if time < rows[slot, 0] else rows[slot, 0]
        rows[slot, 1] = time if time > rows[slot, 1] else rows[slot, 1]
        rows[slot, 2] += 1


@kernel
def raise_bounds(slots: np.ndarray, steps: np.ndarray, how: int, rows: np.ndarray, due: np.ndarray) -> int:
    """Raise each slot's bound by its rows' steps and mark the slots whose bound reaches `send_at`.

    Args:
        slots: (n,) int32. steps: (n,) float64; empty: 1 each. Steps that are not positive numbers raise nothing.
        how: ADD or MOST.
        rows: (slots, 2 or more) float64: bound, send_at. due: (slots,) bool, set where reached.

    Returns:
        How many rows found their slot due.
    """
    reached = 0
    for i in range(slots.size):
        slot = np.uint64(slots[i])
        step = steps[i] if steps.size else 1.0
        if how == ADD:
            rows[slot, 0] += step if step > 0.0 else 0.0
        else:
            rows[slot, 0] = step if step > rows[slot, 0] else rows[slot, 0]
        if rows[slot, 0] >= rows[slot, 1]:
            due[slot] = True
            reached += 1
    return reached
