"""Count, sum, least, most and spread of each slot's numbers, one pass, one row of state a slot.

A slot's state is a row of float64, so that a record touches one or two cache lines. Numbers that are not finite are
skipped. A trace, where asked for, is (n,) float64: a result of the row's slot just after the row.
"""

import numpy as np

from tocsin.kernels.compiler import kernel

COUNT, SUM, LEAST, MOST = 0, 1, 2, 3
"""What a column of the plain state holds, and what can be traced."""


@kernel
def add_plain(state, columns, slots, numbers, traced, trace):
    """Add numbers to what needs no spread.

    state: (slots, k) float64. columns: (4,) int64, the column of COUNT, SUM, LEAST and MOST, -1 where it is not kept.
    slots: (n,) int32. numbers: (n,) float64. traced: one of COUNT, SUM, MOST; trace: (n,) float64, or empty.
    Returns how many numbers were skipped.
    """
    # Places without a sign cannot count from the end, so that nothing has to ask whether they do.
    count, total = np.uint64(columns[COUNT]), np.uint64(columns[SUM])
    least, most, width = np.uint64(columns[LEAST]), np.uint64(columns[MOST]), np.uint64(state.shape[1])
    skipped = 0
    for i in range(slots.size):
        slot, x = np.uint64(slots[i]), numbers[i]
        if not abs(x) < np.inf:
            skipped += 1
        else:
            if count < width:
                state[slot, count] += 1.0
            if total < width:
                state[slot, total] += x
            if least < width:
                state[slot, least] = x if x < state[slot, least] else state[slot, least]
            if most < width:
                state[slot, most] = x if x > state[slot, most] else state[slot, most]
        if trace.size:
            trace[i] = state[slot, columns[traced]]
    return skipped


@kernel
def add_spread(state, slots, numbers, traced, trace):
    """Add numbers to count, least, above, squares and, where there is a fifth column, most.

    above: the sum of x - least. squares: the sum of (x - mean)². With T the sum of x - least over the first n numbers
    (Youngs and Cramer, "Some results relevant to choice of sum and sum-of-product algorithms", Technometrics 13, 1971):
    S += (n x' - T)² / (n (n - 1)), x' = x - least. Shifting by the least number, which the state holds anyway, keeps
    the digits of numbers that lie close together far from 0 (Chan, Golub and LeVeque, "Algorithms for computing the
    sample variance", The American Statistician 37, 1983).

    state: (slots, 4 or 5) float64. The rest as in `add_plain`. Returns how many numbers were skipped.
    """
    has_most = state.shape[1] > 4
    skipped = 0
    for i in range(slots.size):
        slot, x = np.uint64(slots[i]), numbers[i]
        if not abs(x) < np.inf:
            skipped += 1
        else:
            _spread(state, slot, x)
            if has_most:
                state[slot, 4] = x if x > state[slot, 4] else state[slot, 4]
        if trace.size:
            trace[i] = _traced(state, slot, traced)
    return skipped


@kernel
def _spread(state, slot, x):
    # Without branches: a processor that guesses none wrong waits for several cache lines at a time.
    before, known = state[slot, 0], state[slot, 1]
    least = x if x < known else known
    fall = known - least if before > 0.0 else 0.0
    count = before + 1.0
    above = state[slot, 2] + before * fall + (x - least)
    off = count * (x - least) - above
    state[slot, 0] = count
    state[slot, 1] = least
    state[slot, 2] = above
    state[slot, 3] += off * off / max(count * before, 1.0)


@kernel
def _traced(state, slot, traced):
    if traced == COUNT:
        return state[slot, 0]
    if traced == MOST:
        return state[slot, 4]
    return state[slot, 0] * state[slot, 1] + state[slot, 2] if state[slot, 0] > 0.0 else 0.0


@kernel
def merge_spread(state, slots, other):
    """Merge row i of `other` into the row slots[i] of `state`: both as `add_spread` keeps them, slots all different.

    S = S₁ + S₂ + (mean₂ - mean₁)² n₁ n₂ / (n₁ + n₂) (Chan, Golub and LeVeque, "Updating formulae and a
    pairwise algorithm for computing sample variances", 1979, equation 2.1).
    """
    for i in range(slots.size):
        ours, theirs = state[slots[i]], other[i]
        if theirs[0] == 0.0:
            continue
        if ours[0] == 0.0:
            ours[:] = theirs
            continue
        least, count = min(ours[1], theirs[1]), ours[0] + theirs[0]
        apart = (theirs[1] - ours[1]) + (theirs[2] / theirs[0] - ours[2] / ours[0])
        ours[2] += theirs[2] + ours[0] * (ours[1] - least) + theirs[0] * (theirs[1] - least)
        ours[3] += theirs[3] + apart * apart * (ours[0] * theirs[0] / count)
        ours[0] = count
        ours[1] = least
        if ours.size > 4:
            ours[4] = max(ours[4], theirs[4])


@kernel
def count_blanks(blanks, slots, numbers, trace):
    """Count rows without a finite number: blanks (slots,) float64. A trace of the others' count rises by the blanks."""
    for i in range(slots.size):
        if not abs(numbers[i]) < np.inf:
            blanks[slots[i]] += 1.0
        if trace.size:
            trace[i] += blanks[slots[i]]


@kernel
def widen(state, columns, slots, times):
    """Keep each slot's earliest and latest time.

    state: (slots, k) int64. columns: (2,) int64, the column of either, -1 where it is not kept. slots: (n,) int32.
    times: (n,) int64.
    """
    first, last, width = np.uint64(columns[0]), np.uint64(columns[1]), np.uint64(state.shape[1])
    for i in range(slots.size):
        slot, time = np.uint64(slots[i]), times[i]
        if first < width:
            state[slot, first] = min(state[slot, first], time)
        if last < width:
            state[slot, last] = max(state[slot, last], time)
